"""What is asked of a profiler, and what of it is refused before the first worker starts."""

from __future__ import annotations

from pathlib import Path

from bench.errors import UsageError
from bench.model.data import Data
from bench.model.profile import Tool
from bench.profiling import layers, tools
from bench.runner.request import Request
from bench.store import artifacts
from bench.store.files import check_writable

ITERATIONS = 10


class ProfileOptions(Data, frozen=True, kw_only=True):
    """What is asked of a tool: ``iterations`` of each case, ranges for ``modules``, the ``kernel`` that ncu looks at,
    and where its own reports are kept (``raw``, empty: nowhere). ``path`` is the file to write, empty for one in the
    store.
    """

    tool: Tool
    iterations: int = ITERATIONS
    modules: bool = False
    kernel: str = ""
    raw: str = ""
    path: str = ""


def check(request: Request, options: ProfileOptions, kind: str) -> None:
    """Everything that can be refused before the first worker starts on a device of ``kind``."""
    if options.iterations < 1:
        raise UsageError(f"{options.iterations} iterations", where="iterations", fix="--iterations 10")
    if options.kernel and options.tool != "ncu":
        raise UsageError(f"--kernel is for --tool ncu, not {options.tool}", fix="leave --kernel out, or --tool ncu")
    if options.tool == "ncu" and not options.kernel:
        fix = "--kernel NAME; --tool nsys or --tool torch show the names"
        raise UsageError("ncu replays a kernel many times, so it looks at one by its name", fix=fix)
    if options.tool == "layers":
        layers.check_any(request.plan.cases)
    elif kind == "cpu" and options.tool in tools.AROUND:
        what = f"{options.tool} looks at what runs on a GPU, and this is on the CPU"
        raise UsageError(what, where=f"--tool {options.tool}", fix="--tool torch")
    elif kind != "fake" and (missing := tools.recording(options.tool, options.kernel).missing()):
        raise UsageError(missing.reason, where=f"--tool {options.tool}", fix=missing.fix)
    if options.path and Path(options.path).is_dir():
        raise UsageError(
            "this is a folder", where=options.path, fix="--out FILE, or --store DIR for a folder of results"
        )
    if options.path:
        check_writable(Path(options.path).absolute().parent, "another --out FILE")
    else:
        check_writable(Path(request.settings.store))
    artifacts.check_writable(Path(request.settings.cache))
    if options.raw:  # the last, as it makes the folder
        _check_raw(Path(options.raw))


def _check_raw(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot be created: {error.strerror}", where=str(folder), fix="another --raw DIR") from error
    check_writable(folder, "another --raw DIR")

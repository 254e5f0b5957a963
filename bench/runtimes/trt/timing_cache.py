"""The timing cache of builds: the kernel times of earlier builds, kept per GPU and TensorRT version."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench.model.seam import Context
from bench.runtimes.trt import library
from bench.runtimes.trt.cache_files import gpu_file
from bench.runtimes.trt.options import EngineOptions, Options

_REFUSED = "The timing cache will not be used"


@contextlib.contextmanager
def opened(api: library.Api, config: Any, options: EngineOptions, context: Context) -> Iterator[dict[str, Any]]:
    """Kernel times of earlier builds, for the build in the block; afterwards its own times are stored.

    TensorRT-RTX times no kernels while it builds.

    Only build 0 uses and keeps one, so that further builds are independent. Yields fields of ``BuildInfo``, which
    are complete once the block has ended.
    """
    fields: dict[str, Any] = {}
    if not isinstance(options, Options) or not options.timing_cache:
        yield fields
        return
    path = gpu_file(context, "tensorrt", f"{{gpu}}-{api.library or api.version}.timing")
    data = path.read_bytes() if path and path.exists() else b""
    # None for data that another version wrote, False for those of another GPU.
    mark = api.log.newest()
    cache = config.create_timing_cache(data)
    if cache is None or not config.set_timing_cache(cache, False) or is_refused(api, mark):
        fields |= empty(api, config)
    else:
        fields["timing_cache"] = "warm" if data else "cold"
    yield fields
    timings = config.get_timing_cache()
    fields["timing_cache_bytes"] = timings.serialize().nbytes
    if path:
        _merge(config, timings, path)


def is_refused(api: library.Api, mark: library.Line | None) -> bool:
    """Whether TensorRT has said in the log's lines after ``mark`` that it does not use the cache. 8.5 and 8.6 write
    caches with times of Myelin, their compiler for what no kernel fits, that they then cannot read, and may build
    nothing with such a one.
    """
    return any(_REFUSED in line.text for line in api.log.since(mark))


def empty(api: library.Api, config: Any) -> dict[str, Any]:
    """Put an empty cache in place of the one of earlier builds; the field of ``BuildInfo`` that says so."""
    cache = library.create(api, "a timing cache", lambda: config.create_timing_cache(b""))
    config.set_timing_cache(cache, False)
    return {"timing_cache": "cold"}


def _merge(config: Any, addition: Any, path: Path) -> None:
    """Merge the times of ``addition`` into the file; of two builders at once, none loses what it measured."""
    with path.with_suffix(".lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        total = config.create_timing_cache(path.read_bytes()) if path.exists() else None
        if total is None or not total.combine(addition, False):
            total = addition
        scratch = path.with_suffix(f".{os.getpid()}")
        with scratch.open("wb") as file:
            file.write(total.serialize())
        scratch.replace(path)

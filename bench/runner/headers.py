"""The header of a stored run, checked before a run is resumed by it: the file may come from anywhere.

What a header names is used only if it is what a run of trtbench can have. A program, or a file outside of the suite's
folder, is used only if the user's own suite names it too.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path, PurePath

import msgspec

from bench.backends import base
from bench.errors import BenchError, StoreError, UsageError
from bench.model.run import Header
from bench.model.suite import Case, Policy, Toolchain
from bench.store import files, privacy
from bench.suite import reader, yaml_marks
from bench.suite.plan import MAX_PROCESSES

_RUN = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.+-]{0,250}")
_MAX = 1 << 63
# The smallest value of each whole number of a policy.
_LEAST = {
    "min_samples": 1, "max_samples": 1, "max_time_ns": 1, "warmup_calls": 0, "warmup_ns": 0, "warmup_limit_ns": 1,
    "throughput_ns": 1, "replicates": 1, "builds": 1, "energy_ns": 0, "timeout_ns": 1,
}  # fmt: skip


def refuse_impossible(header: Header, path: Path) -> None:
    """StoreError if the run at ``path`` has what no run can have: its file is damaged, or made by hand."""
    for problem in _problems(header):
        raise StoreError(f"its header has {problem}", where=f"{path}:1", fix="start a new run")


def _problems(header: Header) -> Iterator[str]:
    if not _RUN.fullmatch(header.run):
        yield f"a name that no run has: {header.run[:60]!r}"
    if not 0 <= header.seed < _MAX:
        yield f"the seed {header.seed}"
    yield from _problems_of_policy(header.policy)
    if header.policy.replicates * len(header.cases) > MAX_PROCESSES:
        yield f"more than {MAX_PROCESSES:,} processes"
    if len({case.id for case in header.cases}) < len(header.cases):
        yield "a case twice"
    for case in header.cases:
        yield from (f"{problem} in {case.label[:80]}" for problem in _problems_of_case(case, header))


def _problems_of_policy(policy: Policy) -> Iterator[str]:
    for name, least in _LEAST.items():
        most = MAX_PROCESSES if name in ("replicates", "builds") else _MAX - 1
        if not least <= getattr(policy, name) <= most:
            yield f"{name}: {getattr(policy, name)}"
    if not 0 < policy.target_ci < 1:
        yield f"target_ci: {policy.target_ci}"
    if policy.min_samples > policy.max_samples:
        yield "min_samples above max_samples"
    if len(set(policy.boundaries)) < len(policy.boundaries):
        yield "a boundary twice"


def _problems_of_case(case: Case, header: Header) -> Iterator[str]:
    if case.toolchain != "default" and case.toolchain not in header.toolchains:
        yield f"the unknown toolchain {case.toolchain[:60]!r}"
    if not 1 <= case.streams < _MAX:
        yield f"streams: {case.streams}"
    if not all(0 < size < _MAX for size in case.symbols.values()):
        yield "a size that cannot be"
    for spec in case.inputs.values():
        for size in spec.shape:
            if isinstance(size, str) and size not in case.symbols:
                yield f"the symbol {size[:60]!r} without a size"
            elif isinstance(size, int) and not 0 < size < _MAX:
                yield "a size that cannot be"
    for span in case.dynamic.values():
        if not 0 < span.min <= span.opt <= span.max < _MAX:
            yield "a range that cannot be"


def own(header: Header, path: Path, cache: Path | None) -> Header:
    """The header of the run at ``path`` with the suite's place on this machine, and the user's own toolchains.

    UsageError if it names a program that the user's suite does not, or a file outside of the folder of a suite that
    is another than the user's.
    """
    try:
        place = privacy.restore(header.suite_path, cache)
    except ValueError as error:
        raise StoreError("its header has no path of a suite", where=f"{path}:1", fix="start a new run") from error
    suite_path = Path(place)
    toolchains = _own_toolchains(header, path, suite_path)
    if not _is_simulated(header) and not _is_unchanged(header, suite_path):
        _refuse_outside(header, path, suite_path)
    return msgspec.structs.replace(header, suite_path=place, toolchains=toolchains)


def _is_simulated(header: Header) -> bool:
    return all(base.load(case.backend).simulated for case in header.cases)


def _is_unchanged(header: Header, suite_path: Path) -> bool:
    """Whether the suite in its place is the one that the run was planned by."""
    try:
        return privacy.abbreviate(yaml_marks.text_of(suite_path)) == header.suite
    except BenchError:
        return False


def _refuse_outside(header: Header, path: Path, suite_path: Path) -> None:
    """UsageError if the run would execute or read a file outside of its suite's folder, or a suite of elsewhere."""
    what = ""
    if _leaves(header.suite_path):
        what = f"the run is of {header.suite_path}, which is not there or another than it was"
    for case in header.cases:
        names = [name.partition(":")[0] for name in (case.factory, case.metric) if ".py:" in name]
        names += [name for stage in base.load(case.backend).stages(case) for name in stage.files]
        for name in names:
            if _leaves(name):
                what = f"the run names {name}, outside of its suite's folder, and its suite is not there or another"
    if what:
        command = f"trtbench run {files.suite_here(str(suite_path))}"
        raise UsageError(what, where=str(path), fix=f"restore the suite, or start a new run: {command}")


def _leaves(name: str) -> bool:
    return PurePath(name).is_absolute() or ".." in PurePath(name).parts or name.startswith(("~", "$"))


def _own_toolchains(header: Header, path: Path, suite_path: Path) -> dict[str, Toolchain]:
    """The toolchains that the run's cases need, from the user's suite. UsageError if they are not those of the run."""
    names = sorted({case.toolchain for case in header.cases} - {"default"})
    if not names:
        return {}
    try:
        definitions = reader.load(suite_path, base.registry()).toolchains
    except BenchError as error:
        what = f"the run needs the toolchain {names[0]!r}, and its suite cannot be read: {error.what}"
        raise UsageError(what, where=str(path), fix="go to the folder that the run was started in") from error
    for name in names:
        now, before = definitions.get(name), header.toolchains[name]
        if now is None or privacy.toolchain(now) != before:
            what = f"the toolchain {name!r} of the run is not that of {suite_path}"
            raise UsageError(what, where=str(path), fix="define it there as it was, or start a new run")
    return {name: definitions[name] for name in names}

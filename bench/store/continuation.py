"""The command that goes on with a run: it resumes it, or begins a duel again, which cannot be resumed."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench.model.run import Duel, Header
from bench.model.suite import AGAIN, Case, Toolchain
from bench.store.files import resume_command, run_path, store_option, suite_argument
from bench.units import NS_PER_S


def continuation(path: Path, header: Header) -> str:
    """What to type to have measured what the run at ``path``, which has that ``header``, lacks."""
    return resume_command(path) if header.duel is None else "; ".join(duel_commands(header, path))


def duel_commands(header: Header, path: Path | None = None) -> list[str]:
    """Those that begin a duel again: one for each of its contests, so that each has the sides that it had, in the store
    that the duel at ``path`` lies in, and on a device of its kind: which one was asked for is not in the header, and
    the suite's may be another. Cases are named by their ids in the suite. Without a suite file it is the function that
    began it.
    """
    duel = header.duel
    if duel is None:
        return []
    if not header.suite_path.endswith((".yaml", ".yml")):
        return ["bench.duel with the same suite"]
    cases = {case.id: case for case in header.cases}
    contests = [[cases[side] for side in sides if side in cases] for sides in duel.contests]
    begin = f"trtbench duel {suite_argument(header.suite_path)} "
    here = header.environments.get("default")
    root = path.parents[2] if path is not None and len(path.parents) > 2 else None
    in_store = root is not None and here is not None and path == run_path(root, here, header.run)
    into = store_option(root) if root is not None and in_store else ""
    return [begin + shlex.join(_words(header, duel, sides)) + into for sides in contests if len(sides) > 1]


def _words(header: Header, duel: Duel, sides: Sequence[Case]) -> Iterator[str]:
    first, *others = sides
    yield from ("--select", f"id={_id_in_suite(first, header)}")
    if duel.revision:
        yield from ("--against-rev", duel.commit or duel.revision)
    else:
        for case in others:
            yield from ("--against", f"id={_id_in_suite(case, header)}")
    yield from ("--boundary", duel.boundary, "--pairs", str(duel.pairs))
    if (here := header.environments.get("default")) is not None:
        yield from ("--device", here.address.partition(":")[0])
    if duel.max_time_ns:
        yield from ("--max-time", f"{duel.max_time_ns / NS_PER_S:g}s")
    if header.seed:
        yield from ("--seed", str(header.seed))


def _id_in_suite(case: Case, header: Header) -> str:
    """The id without the toolchain that a duel has put a case in, to set it against itself or in a copy."""
    name = case.toolchain
    if header.toolchains.get(name) == Toolchain():
        name = "default"
    elif (own := name.removesuffix(f"-{AGAIN}")) in header.toolchains:
        name = own
    return msgspec.structs.replace(case, toolchain=name).id

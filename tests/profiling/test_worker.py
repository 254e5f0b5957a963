"""A case under a profiler: after which failures it is tried without the tool."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import pytest

from bench.errors import CaseError
from bench.machine.environment import describe
from bench.machine.gpus import State
from bench.model.run import Failure
from bench.model.suite import DEFAULT_POLICY, Case, Input
from bench.profiling import tools
from bench.profiling.options import ProfileOptions
from bench.profiling.worker import ProfiledWorker
from bench.runner import jobs
from bench.runner.hung_factories import HungFactories
from bench.runner.toolchains import Interpreter
from bench.runner.watch import Watch
from bench.system import process
from bench.system.process import Outcome

CASE = Case(model="a", factory="f:m", inputs={"x": Input(shape=("b",))}, backend="eager", symbols={"b": 1})
OTHER = msgspec.structs.replace(CASE, symbols={"b": 2})
HERE = Interpreter(name="default", command=("python",), env={}, environment=describe("fake"))


class Tool:
    """One that a worker runs under, and that leaves no report."""

    def prefix(self, folder: Path) -> Sequence[str]:
        return ("tool",)

    def read(self, folder: Path, case: str, label: str, log: str) -> Any:
        raise CaseError("no report", fix="try another tool")


class Scripted:
    """A worker whose time is over in ``phase`` where the tool precedes it; else it has profiled."""

    begun: list[list[str]]
    phase: str
    log = ""

    def __init__(self, command: list[str], env: dict[str, str], *, keep: Sequence[int] = ()) -> None:
        self.begun.append(command)
        self._hangs = command[0] == "tool"

    def finish(self, job: bytes, limit_ns: int, on_line: Callable[[bytes], None], **_: object) -> Outcome:
        ticket = msgspec.json.decode(job, type=jobs.Profile).ticket
        reply = jobs.Doing(phase=self.phase) if self._hangs else jobs.Profiled(unprofiled_ns=(1,))
        on_line(jobs.encode(msgspec.structs.replace(reply, ticket=ticket)))
        return Outcome(code=-9 if self._hangs else 0, timed_out=self._hangs, log="")

    def close(self) -> None:
        pass


class Profiler:
    """Profiles cases, one after the other, by workers that hang in ``phase`` under the tool."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch, phase: str) -> None:
        self.begun: list[list[str]] = []
        monkeypatch.setattr(process, "Child", type("Child", (Scripted,), {"begun": self.begun, "phase": phase}))
        monkeypatch.setattr(tools, "recording", lambda tool, kernel: Tool())
        self._folder = folder
        card = SimpleNamespace(state=State)
        self._session: Any = SimpleNamespace(
            hung=HungFactories(),
            header=SimpleNamespace(policy=msgspec.structs.replace(DEFAULT_POLICY, timeout_ns=1)),
            settings=SimpleNamespace(cold=False),
            stations=[SimpleNamespace(card=card)],
        )

    def profile(self, case: Case) -> Failure:
        """Why it has no profile."""
        options = ProfileOptions(tool="nsys")
        out = str(self._folder)
        worker = ProfiledWorker(self._session, options, self._folder, lambda event: None, Watch(), simulated=False)
        job = jobs.Profile(
            device="cpu", case=case, policy=DEFAULT_POLICY, artifacts={}, scratch=out, out=out, tool="nsys",
            iterations=1,
        )  # fmt: skip
        end = worker.run(HERE, job)
        assert isinstance(end, Failure)
        return end


def test_a_factory_that_does_not_return_is_called_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    profiler = Profiler(tmp_path, monkeypatch, "load: factory of a")
    first, other = profiler.profile(CASE), profiler.profile(OTHER)
    assert (first.kind, first.stage) == ("Timeout", "load: factory of a")
    assert "without it" not in first.message
    assert other.message == f"not begun, as the same factory did not return in {CASE.label}: {first.message}"
    assert profiler.begun == [["tool", "python"]]


def test_another_timeout_under_a_tool_says_that_the_case_runs_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiler = Profiler(tmp_path, monkeypatch, "first_call")
    assert profiler.profile(CASE).message.partition(" (")[2].startswith("under nsys; without it the case runs)")
    profiler.profile(OTHER)
    assert profiler.begun == [["tool", "python"], ["python"]] * 2

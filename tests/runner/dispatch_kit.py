"""A dispatcher for tests, of workers that run a few lines of Python."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.machine import gpus
from bench.machine.environment import describe
from bench.model.events import Event
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import Case, Policy, Threshold
from bench.runner import jobs
from bench.runner.dispatch import Dispatcher
from bench.runner.toolchains import Interpreter
from bench.runner.watch import Watch
from bench.system import process
from tests.machine.nvml_kit import GIB

HEALTHY = gpus.State(used=GIB // 2, total=80 * GIB)
LOST = gpus.State(lost="NVML says: GPU is lost")
CASE = Case(model="m", factory="f:m", inputs={}, backend="eager")
MEASURE = jobs.Measure(
    device="cuda:0", case=CASE, policy=Policy(), threshold=Threshold(), artifacts={}, scratch="", replicate=0
)
STAGE = Stage(name="reference", kind="reference", producer="eager", key={})


def answer(reply: jobs.Reply) -> str:
    return f"reply({jobs.encode(reply).decode() + chr(10)!r})"


WORKER = """
import json, os, sys
ticket = json.loads(sys.stdin.readline())["ticket"]
write = lambda data: os.write(int(sys.argv[1]), data)
reply = lambda text: write(text.replace('"reply":', f'"ticket":"{ticket}","reply":', 1).encode())
"""


class Parent:
    """A dispatcher whose GPU is in a state that a test sets; ``started`` counts the workers by what they wrote."""

    def __init__(self, folder: Path, state: gpus.State = HEALTHY) -> None:
        self.state = state
        self.started = folder / "started"
        self.started.touch()
        self.told: list[Event] = []
        self._dispatcher = Dispatcher(60_000_000_000, False, self.told.append, lambda: self.state)

    def ask(
        self,
        script: str,
        *,
        device: str = "cuda:0",
        watch: Watch | None = None,
        label: str = "case",
        worker: process.Child | None = None,
        job: jobs.JobType | None = None,
    ) -> jobs.ReplyType | Failure:
        """What comes of a worker that runs ``script``, where ``reply(text)`` answers the job and ``write(data)`` writes
        to the same pipe.
        """
        code = f"{WORKER}\n{script}"
        first = f"open({str(self.started)!r}, 'a').write('x')\n"
        interpreter = Interpreter(
            name="default", command=(sys.executable, "-c", first + code), env={}, environment=describe("fake")
        )
        job = job or jobs.Produce(device=device, case=CASE, stage=STAGE, artifacts={}, out="", scratch="")
        return self._dispatcher.run(interpreter, job, label, watch or Watch(), worker)

    def fail(self, kind: str, message: str) -> Failure:
        found = self.ask(answer(jobs.Failed(kind=kind, stage="measure", message=message, hint="")))
        assert isinstance(found, Failure)
        return found

"""Templates of workers for tests, and what a worker forked from one finds in its process."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from bench.machine.environment import describe
from bench.model.events import Event, Note, Step
from bench.runner import jobs, toolchains
from bench.runner.answers import Answer
from bench.runner.templates import Templates
from bench.system import process

LIMIT_NS = 60_000_000_000

# A metric's file, which a worker executes: it writes what it finds to a file of its own beside it.
LOOK = """
import gc, json, os, random, sys, threading
import numpy
about = {
    "pid": os.getpid(), "modules": [name for name in sys.modules if name.startswith("own_")],
    "random": random.random(), "numpy": float(numpy.random.random()), "frozen": gc.get_freeze_count(),
    "collects": gc.isenabled(), "threads": threading.active_count(), "name": os.environ.get("TRTBENCH_TEST"),
    "stdin": sys.stdin.read(), "path": sys.path[:1], "hash": hash("text"),
    "score": open("/proc/self/oom_score_adj").read(),
    "session": os.getsid(0) == os.getpid(),
    "torch": sys.modules["torch"].initial_seed() if "torch" in sys.modules else None,
}
open(os.path.join(os.path.dirname(__file__), f"{os.getpid()}.json"), "w").write(json.dumps(about))
def metric(outputs, reference): return 0.0
"""


class Runner:
    """Templates of the running interpreter, which finds the modules in ``folder``; the notes are kept."""

    def __init__(self, folder: Path, **settings: Any) -> None:
        self.folder = folder
        self.notes: list[str] = []
        self.imports: list[str] = []
        self.templates = Templates(self._hear, **settings)
        env = toolchains.worker_env(toolchains.package_link(folder), {})
        env["PYTHONPATH"] += os.pathsep + str(folder)
        self.interpreter = toolchains.Interpreter(
            name="default", command=toolchains.worker_command(""), env=env, environment=describe("fake")
        )
        self.look_at(LOOK)

    def _hear(self, event: Event) -> None:
        if isinstance(event, Note):
            self.notes.append(event.text)
        else:
            assert isinstance(event, Step)
            assert (event.worker, event.phase) == (0, "import, once for all workers")
            self.imports.append(event.label)

    def look_at(self, code: str) -> None:
        (self.folder / "look.py").write_text(code)

    def module(self, name: str, code: str = "") -> str:
        """The name of a new module, which notes the processes that import it."""
        name = f"own_{name}_{len(list(self.folder.glob('*.py')))}"
        first = f"import os\nwith open({str(self.folder / name)!r}, 'a') as f: f.write(f'{{os.getpid()}}\\n')\n"
        (self.folder / f"{name}.py").write_text(first + code)
        return name

    def importers(self, name: str) -> list[str]:
        """The processes that have imported a module, as often as they have."""
        path = self.folder / name
        return path.read_text().split() if path.exists() else []

    def look(self, worker: process.Child | None) -> dict[str, Any]:
        """What a worker finds."""
        assert worker is not None
        answer = Answer(jobs.CheckMetrics(device="cpu", metrics=("look.py:metric",), suite_dir=str(self.folder)))
        before = set(self.folder.glob("*.json"))
        outcome = worker.finish(answer.encoded, LIMIT_NS, answer.hear)
        worker.close()
        assert isinstance(answer.reply, jobs.Checked), (answer.reply, outcome)
        assert outcome.code == 0
        [new] = set(self.folder.glob("*.json")) - before
        return dict(json.loads(new.read_text()))

    def fork(self, *names: str) -> process.Child | None:
        return self.templates.fork(self.interpreter, names)

    def new(self) -> process.Child:
        return process.Child(self.interpreter.command, self.interpreter.env)

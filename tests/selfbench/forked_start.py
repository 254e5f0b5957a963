"""What forking saves: the time from a worker's start to its first call, started by itself, forked from a template of
libraries, and where there can be one, from a template that has built the model.

    python -m tests.selfbench.forked_start [SUITE] [--select EXPRESSION] [--device cuda:0] [--times N]

Each case is prepared, called a few times and checked; its artifacts are made before, and Inductor's caches are warm.
A note says which templates cannot be made here, e.g. as an import starts CUDA.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

from bench.backends import base
from bench.machine.environment import describe
from bench.model.events import Event, Note, Step
from bench.model.seam import Stage
from bench.model.suite import Case, Policy, Threshold
from bench.runner import jobs, models_ahead, toolchains
from bench.runner.answers import Answer
from bench.runner.dispatch import UNWATCHED
from bench.runner.templates import Templates
from bench.runner.watch import Watch, open_watch
from bench.suite import plan, reader

LIMIT_NS = 600_000_000_000
SHORT = Policy(
    boundaries=("latency",), warmup_calls=3, warmup_ns=0, warmup_limit_ns=1, min_samples=6, max_samples=6, max_time_ns=1
)


class Starts:
    """Runs jobs in workers of the running interpreter, and notes when each phase begins."""

    def __init__(self, root: Path, suite_dir: Path, device: str) -> None:
        self.root = root
        self.kind = device.partition(":")[0]
        self.common = {"device": device, "suite_dir": str(suite_dir)}
        self.templates = Templates(self.show, measure=True, suite_dir=suite_dir)
        self.interpreter = toolchains.Interpreter(
            name="default",
            command=toolchains.worker_command(""),
            env=toolchains.worker_env(toolchains.package_link(root), {}),
            environment=describe("cpu"),
        )
        self._count = 0

    def show(self, event: Event) -> None:
        if isinstance(event, Note) or (isinstance(event, Step) and event.phase.startswith("load:")):
            print(f"  {event}")

    def build(self, case: Case) -> bool:
        """Have a template build the model of a case; False for one that each worker builds."""
        model = models_ahead.model_of(case, Path(self.common["suite_dir"]))
        if model is not None:
            self.templates.build(self.interpreter, model, case)
            self.templates.wait()
        return model is not None

    def folder(self) -> str:
        self._count += 1
        path = self.root / f"folder-{self._count}"
        path.mkdir()
        return str(path)

    def run(
        self, job: jobs.JobType, watch: Watch = UNWATCHED, *, forks: bool
    ) -> tuple[jobs.ReplyType, dict[str, float]]:
        """The reply, and the seconds from the worker's start to the beginning of each phase, and to its ``end``."""
        start, phases = time.perf_counter(), {}
        answer = Answer(job, lambda step: phases.setdefault(step.phase, time.perf_counter() - start))
        environment = None if forks else {**self.interpreter.env, "TRTBENCH_OWN_START": "1"}
        worker = self.templates.start(self.interpreter, job, watch.descriptors, environment)
        try:
            outcome = worker.finish(answer.encoded, LIMIT_NS, answer.hear, tick=watch.tick)
        finally:
            worker.close()
        phases["end"] = time.perf_counter() - start
        if answer.reply is None or isinstance(answer.reply, jobs.Failed):
            raise SystemExit(f"{job.case.label}: {answer.reply or outcome}")
        return answer.reply, phases

    def artifacts(self, case: Case) -> dict[str, str]:
        done: dict[str, str] = {}
        for stage in base.load(case.backend).stages(case):
            done[stage.name] = self._produce(case, stage, done)
        return done

    def _produce(self, case: Case, stage: Stage, done: dict[str, str]) -> str:
        out = self.folder()
        job = jobs.Produce(case=case, stage=stage, artifacts=done, out=out, scratch=self.folder(), **self.common)
        self.run(job, forks=True)
        return out

    def measure(self, case: Case, artifacts: dict[str, str], *, forks: bool) -> dict[str, float]:
        with open_watch(self.kind) as watch:
            job = jobs.Measure(
                case=case,
                policy=SHORT,
                threshold=Threshold(),
                artifacts=artifacts,
                scratch=self.folder(),
                gate=watch.gate,
                **self.common,
            )
            reply, phases = self.run(job, watch, forks=forks)
        assert isinstance(reply, jobs.Measured)
        if reply.record.failure:
            raise SystemExit(f"{case.label}: {reply.record.failure.message}")
        if reply.record.accuracy is None or not reply.record.accuracy.ok:
            raise SystemExit(f"{case.label}: {reply.record.accuracy}")
        return phases


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("suite", nargs="?", default="suites/smoke.yaml", type=Path)
    parser.add_argument("--select", default="model=bert and (backend=eager or backend=inductor)")
    parser.add_argument("--device", default="cpu", help="cpu or cuda:0")
    parser.add_argument("--times", type=int, default=3)
    words = parser.parse_args()
    read = reader.load(words.suite, base.registry())
    cases = plan.plan(read, base.registry(), device=words.device, select=words.select).cases
    with tempfile.TemporaryDirectory(prefix="trtbench-") as folder:
        starts = Starts(Path(folder), words.suite.resolve().parent, words.device)
        try:
            for case in cases:
                compare(starts, case, words.times)
        finally:
            starts.templates.close()


def compare(starts: Starts, case: Case, times: int) -> None:
    """Print the medians of each kind of start; those that draw their weights take turns."""
    artifacts = starts.artifacts(case)
    first = starts.measure(case, artifacts, forks=True)  # makes the templates, and fills the caches
    seconds: dict[bool, list[dict[str, float]]] = {False: [], True: []}
    for _ in range(times):
        for forks, phases in seconds.items():
            phases.append(starts.measure(case, artifacts, forks=forks))
    print(f"{case.label}: with its templates {first['first_call']:.2f} s")
    show("by itself", seconds[False])
    show("forked", seconds[True])
    if starts.build(case):
        show("with its model", [starts.measure(case, artifacts, forks=True) for _ in range(times)])


def show(kind: str, starts: list[dict[str, float]]) -> None:
    """Print the medians of some starts."""
    medians = {name: statistics.median(each[name] for each in starts) for name in ("load", "first_call", "end")}
    text = ", ".join(f"{name} {value:.2f} s" for name, value in medians.items())
    print(f"  {kind:14s}  {text}")


if __name__ == "__main__":
    main()

"""The child process: takes one job, does it on this interpreter's runtimes, and answers on a pipe of its own.

Needs the standard library, msgspec and NumPy; whatever else, the backend brings. It is started as
``python -m bench.runner.worker FD`` with the job on stdin; stdout and stderr belong to the model and its libraries.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
from pathlib import Path

import msgspec

from bench.backends import base
from bench.machine import environment
from bench.measure import metric
from bench.model.abilities import BuildsModels
from bench.runner import forking, jobs
from bench.runner.phase_log import PhaseLog, Wire
from bench.runner.worker_failures import refusal
from bench.runner.worker_jobs import context_of, inspect, preload, produce, profile
from bench.runner.worker_measure import measure
from bench.system import modules, signals, template

_REFERENCE = "the model by itself does not run at fp32 (the reference): correct its `inputs` in the suite, or the model"


def do(job: jobs.JobType, log: PhaseLog) -> jobs.Reply:
    """The reply to ``job``."""
    match job:
        case jobs.Measure():
            return measure(job, log)
        case jobs.Profile():
            return profile(job, log)
        case jobs.Produce():
            return produce(job, log)
        case jobs.Inspect():
            return inspect(job, log)
        case jobs.CheckMetrics():
            for spec in job.metrics:
                metric.load(spec, Path(job.suite_dir))
            return jobs.Checked()
        case jobs.Ceilings():
            from bench.measure import roofline

            with log("ceilings"):
                return jobs.Rates(ceilings=roofline.ceilings(job.device, job.precisions))
        case jobs.Selftest():
            from bench.measure.selftest import readings

            with log("selftest"):
                return jobs.Read(readings=readings.readings(job.gate, job.runs, log.tell))
        case jobs.Describe():
            ready = {name: base.missing(name, job.device) for name in base.names()}
            here = environment.describe("cpu", job.distributions)
            code = {name: modules.identity(name) for name in job.modules}
            return jobs.Described(environment=here, backends=ready, modules=code, folders=modules.folders())


def main() -> None:
    """Read the job, answer, and leave without running the libraries' exit handlers, which may hang."""
    signals.end_by_interrupts()
    worker = template.Worker(os.getppid(), int(sys.argv[-1]))
    while True:
        die_with(worker.keeper)
        worker = _work(Wire(worker.reply))


def _work(wire: Wire) -> template.Worker:
    """Do the job of this process, and end it. What returns, from the job to be a template, is a worker forked by it."""
    log = PhaseLog(wire)
    job = jobs.decode_job(sys.stdin.buffer.readline())
    wire.ticket = job.ticket
    try:
        if isinstance(job, jobs.Template):
            _become_template(job, log)
            wire.send(jobs.Preloaded())
            worker = template.serve(job.control, [wire.fd])
            forking.refresh()
            return worker
        while isinstance(job, jobs.Preload):
            preload(job, log)
            wire.send(jobs.Preloaded())
            line = sys.stdin.buffer.readline()
            if not line:
                os._exit(0)  # it was not needed after all
            job = jobs.decode_job(line)
            wire.ticket = job.ticket
        assert not isinstance(job, jobs.Template)
        if isinstance(job, jobs.Measure) and job.rounds:
            log.turns = os.fdopen(os.dup(0), "rb", buffering=0)
        os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        reply = do(job, log)
    except BaseException as error:  # noqa: BLE001 - told to the parent, with its traceback
        reply = refusal(error, log.current)
        if isinstance(job, jobs.Produce) and job.stage.name == "reference" and not reply.hint:
            reply = msgspec.structs.replace(reply, hint=_REFERENCE)
    wire.send(reply)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def _become_template(job: jobs.Template, log: PhaseLog) -> None:
    """Import and build what the job says. Unsupported if this process cannot be forked after that."""
    forking.prepare(job.imports)
    if job.model is None:
        return
    backend, context = base.load(job.model.backend), context_of(job, job.model, {}, log, Path(job.suite_dir), {})
    assert isinstance(backend, BuildsModels)
    with forking.memory_limit(job.room), forking.devices_counted_in_a_fork(), forking.collecting():
        backend.build_model(job.model, context)
    forking.settle("building it")


def die_with(parent: int) -> None:
    """Linux: be killed when the parent dies, and be the kernel's first choice when memory runs out."""
    PR_SET_PDEATHSIG = 1
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000")


if __name__ == "__main__":
    main()

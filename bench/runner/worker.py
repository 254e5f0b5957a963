"""The child process: takes one job, does it on this interpreter's runtimes, and answers on a pipe of its own.

Needs the standard library, msgspec and NumPy; whatever else, the backend brings. It is started as
``python -m bench.runner.worker FD`` with the job on stdin; stdout and stderr belong to the model and its libraries.
"""

from __future__ import annotations

import contextlib
import ctypes
import datetime
import errno
import os
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.analysis import fairness
from bench.analysis.host_noise import host_warnings
from bench.backends import base
from bench.errors import BenchError, Unsupported
from bench.machine import environment, gpu_faults
from bench.machine.host import HostTelemetry
from bench.measure import accuracy, host, metric, nvtx, pace, repeat, result
from bench.measure.clock import HostClock
from bench.model.lanes import Lane, Prepared, RemotePrepared, SharesInputs
from bench.model.run import Failure, Record, Warning
from bench.model.suite import Case
from bench.model.telemetry import Telemetry
from bench.runner import forking, jobs
from bench.runner.lane_processes import Beside
from bench.runner.phase_log import PhaseLog, Wire
from bench.runner.worker_jobs import context_of, inspect, preload, produce, profile
from bench.system import modules, template

if TYPE_CHECKING:
    from bench.measure.cuda import CudaClock

LONGEST_MESSAGE = 2000
_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_MORE_ROOM = "free some disk space, or choose another place: TMPDIR=DIR, --cache DIR"
_REFERENCE = "the model by itself does not run at fp32 (the reference): correct its `inputs` in the suite, or the model"


def measure(job: jobs.Measure, log: PhaseLog) -> jobs.Measured:
    """Prepare, measure and check one case; whatever goes wrong becomes the record's failure."""
    started, clock = datetime.datetime.now(datetime.UTC), HostClock()
    start = clock.now()
    draft = Record(
        case=job.case.id,
        label=job.case.label,
        replicate=job.replicate,
        started=started.isoformat(timespec="seconds"),
        toolchain=job.case.toolchain,
        build=job.build,
    )
    watcher = HostTelemetry()
    fields: dict[str, Any] = {}
    try:
        with nvtx.range_(job.case.label):
            _measure_into(fields, job, log, watcher, start)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a model may raise anything; each is a row
        fields["failure"] = failure_of(error, log.current)
    beside: Beside | None = fields.pop("beside", None)
    if not base.load(job.case.backend).simulated:
        figures, peak = watcher.finish(), torch_peak_bytes()
        if beside is not None:
            figures, peak = beside.with_theirs(figures, peak)
        telemetry = fields.get("telemetry", Telemetry())
        fields["telemetry"] = msgspec.structs.replace(telemetry, host=figures, torch_peak_bytes=peak)
        fields["warnings"] = (*fields.get("warnings", ()), *host_warnings(figures))
    fields["phases"] = tuple(log.phases)
    fields["wall_ns"] = clock.now() - start
    spans = fields.pop("spans", {})
    return jobs.Measured(record=msgspec.structs.replace(draft, **fields), spans=spans)


def _measure_into(
    fields: dict[str, Any], job: jobs.Measure, log: PhaseLog, watcher: HostTelemetry, began_ns: int
) -> None:
    case, backend = job.case, base.load(job.case.backend)
    reference = Path(job.artifacts["reference"])
    context = context_of(
        job, case, tensors.read(reference / "inputs.safetensors"), log, Path(job.scratch), job.artifacts
    )
    options = base.options_of(backend, case)
    with backend.prepare(case, options, context) as prepared:
        on_gpu = job.gate >= 0 and not backend.simulated
        lanes = prepared.lanes(1)
        with log("first_call"):
            lanes[0].call()
            first = lanes[0].read()
        log.current = "first_call"  # what it left behind is looked at outside its time
        _check_inputs(lanes[0])
        expected = tensors.read(reference / "outputs.safetensors")
        changes = (repeat.Changes(), repeat.Changes())
        if not backend.simulated:
            changes = (repeat.observe(lanes[0], first, case.precision), repeat.of_reference(reference, expected))
        del first
        if on_gpu:  # a CPU's worker starts sooner without it
            from bench.measure import gpu

            needed = gpu.lanes_needed(case, job.policy)
        else:
            # In a rehearsal no process is started: all lanes are this one's.
            needed = host.lanes_needed(_in_threads(case) if backend.simulated else case, job.policy)
        lanes, fewer = _all_lanes(prepared, needed)
        in_processes = case.lanes == "processes" and not backend.simulated
        beside = fields["beside"] = Beside(job, log, began_ns) if in_processes else None
        pacing = pace.InTurn(log.wait, job.rounds) if job.rounds else pace.ALONE
        overhead_ns = None
        if isinstance(prepared, RemotePrepared):
            overhead_ns = prepared.overhead_ns
            watcher.process = str(prepared.pid)
        watcher.start()
        log.current = "measure"  # whatever of it comes between its phases
        if on_gpu:
            with _cuda_clock(job.gate, prepared) as clock:
                captured = prepared.fairness().get("graph_capture", "none") != "none"
                measured = gpu.measure(
                    lanes, case, job.policy, clock, context.clock, log, captured=captured, pacing=pacing, beside=beside
                )
        else:
            measured = host.measure(lanes, case, job.policy, context.clock, log, pacing=pacing, beside=beside)
        watcher.stop()
        fewer += beside.warnings if beside is not None else ()
        fields["measurements"] = measured.measurements
        fields["warnings"] = (
            *repeat.warnings(*changes),
            *fewer,
            *(w for w in measured.warnings if not fewer or w.kind != fewer[0].kind),
        )
        fields["telemetry"] = Telemetry(clock=measured.facts, loop_overhead_ns=overhead_ns)
        fields["spans"] = measured.spans
        fields["fairness"] = prepared.fairness() | _dtypes(lanes[0])  # of what was timed, whatever validating it meets
        fields["warnings"] += fairness.warnings(fields["fairness"], case)
        with log("validate"):
            outputs = _once_more(lanes[0])
            verdict = accuracy.compare(outputs, expected, job.threshold, case.precision)
            verdict = fields["accuracy"] = repeat.explain(verdict, *changes)
            if not backend.simulated:  # whose outputs are no model's
                fields["warnings"] += accuracy.warnings(expected, case.batch)
            if case.metric:  # last: it is the user's code
                value = metric.evaluate(case.metric, Path(job.suite_dir), outputs, expected)
                fields["accuracy"] = metric.judge(verdict, value, job.threshold.metric, case.metric)


def _in_threads(case: Case) -> Case:
    """The same with all lanes in one process."""
    return msgspec.structs.replace(case, lanes="threads")


def _all_lanes(prepared: Prepared, asked: int) -> tuple[Sequence[Lane], tuple[Warning, ...]]:
    """``asked`` lanes, each called once, or as many as memory has room for: it may have weights of its own, and most
    allocate in their first call.
    """
    asked = min(asked, prepared.max_lanes or asked)
    lanes = prepared.lanes(1)
    for count in range(2, asked + 1):
        try:
            prepared.lanes(count)[-1].call()
        except Exception as error:
            if not gpu_faults.out_of_memory(error):
                raise
            return lanes, (result.no_room(len(lanes), asked),)
        lanes = prepared.lanes(count)
    return lanes, ()


def _check_inputs(lane: Lane) -> None:
    """Unsupported if the first call has changed the resident inputs: each call would be timed on other values, and the
    outputs that are compared would not be those of the case's inputs.
    """
    if isinstance(lane, SharesInputs) and (changed := lane.changed_inputs()):
        names = ", ".join(repr(name) for name in changed)
        fix = f"let forward work on a copy: {changed[0]} = {changed[0]}.clone()"
        raise Unsupported(f"the model changes its input {names} in place", fix=fix)


@contextlib.contextmanager
def _cuda_clock(gate: int, prepared: Prepared) -> Iterator[CudaClock]:
    """The GPU's clock behind the gate that the parent watches."""
    from bench.measure import cuda
    from bench.measure.gate import Gate

    driver = prepared.driver(gate) if isinstance(prepared, RemotePrepared) else cuda.CudaDriver()
    with contextlib.closing(cuda.CudaClock(driver, Gate(gate))) as clock:
        yield clock


def torch_peak_bytes() -> int | None:
    """The peak of torch's allocator on the GPU, where torch was used there."""
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    return int(torch.cuda.max_memory_allocated())


def _dtypes(lane: Lane) -> dict[str, list[str]]:
    """For the fairness report: the types of the resident inputs, and of the outputs as the runtime leaves them."""
    dtypes = {"input_dtypes": sorted({buffer.dtype for buffer in lane.inputs().values()})}
    with contextlib.suppress(RuntimeError):  # of a tensor without memory of its own, which validating it refuses
        dtypes["output_dtypes"] = sorted({buffer.dtype for buffer in lane.outputs().values()})
    return dtypes


def _once_more(lane: Lane) -> dict[str, tensors.Array]:
    """The outputs of one more call, with nothing left of those before."""
    lane.poison()
    lane.call()
    return lane.read()


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
            return jobs.Described(environment=here, backends=ready, modules=code)


def main() -> None:
    """Read the job, answer, and leave without running the libraries' exit handlers, which may hang."""
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
            forking.prepare(job.imports)
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
    except (Exception, SystemExit) as error:  # noqa: BLE001 - told to the parent, with its traceback
        reply = refusal(error, log.current)
        if isinstance(job, jobs.Produce) and job.stage.name == "reference" and not reply.hint:
            reply = msgspec.structs.replace(reply, hint=_REFERENCE, where=reply.where or job.case.source)
    wire.send(reply)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def refusal(error: BaseException, stage: str) -> jobs.Failed:
    """The reply that tells of an exception."""
    failure = failure_of(error, stage)
    return jobs.Failed(
        kind=failure.kind,
        stage=failure.stage,
        message=failure.message,
        where=error.where if isinstance(error, BenchError) else "",
        hint=failure.hint,
        trace=failure.log,
    )


def failure_of(error: BaseException, stage: str) -> Failure:
    """An exception as a row: what the error tree knows, or the exception's class, first lines and traceback."""
    trace = "".join(traceback.format_exception(error))[-LONGEST_MESSAGE * 2 :]
    if isinstance(error, BenchError):
        return Failure(kind=type(error).__name__, stage=stage, message=error.what, hint=error.fix, log=trace)
    if isinstance(error, MemoryError):
        hint = "a smaller batch, or a machine with more memory"
        return Failure(kind="OutOfMemory", stage=stage, message="host memory ran out", hint=hint, log=trace)
    message = f"{type(error).__name__}: {error}".strip()[:LONGEST_MESSAGE]
    hint = _MORE_ROOM if isinstance(error, OSError) and error.errno in _NO_ROOM else ""
    return Failure(kind=type(error).__name__, stage=stage, message=message, hint=hint, log=trace)


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

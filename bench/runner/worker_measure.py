"""A worker's main job: prepares, measures and checks one case, and fills its record."""

from __future__ import annotations

import contextlib
import datetime
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.analysis import fairness
from bench.analysis.host_noise import host_warnings
from bench.backends import base
from bench.errors import Unsupported
from bench.machine import gpu_faults
from bench.machine.host import HostTelemetry
from bench.measure import accuracy, host, metric, nvtx, pace, repeat, result
from bench.measure.clock import HostClock
from bench.model.lanes import Lane, Prepared, RemotePrepared, SharesInputs
from bench.model.run import Record, Warning
from bench.model.seam import QUANTIZED_REFERENCE, Clock
from bench.model.suite import Case, Limit
from bench.model.telemetry import Telemetry
from bench.runner import jobs
from bench.runner.lane_processes import Beside
from bench.runner.phase_log import PhaseLog
from bench.runner.worker_failures import failure_of
from bench.runner.worker_jobs import context_of

if TYPE_CHECKING:
    from bench.measure.cuda import CudaClock


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
    except BaseException as error:  # noqa: BLE001 - a model may raise anything; each is a row
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
    """Fill the ``fields`` of the record as they become known: what fails later leaves those before."""
    case, backend = job.case, base.load(job.case.backend)
    reference = Path(job.artifacts["reference"])
    inputs = tensors.read(reference / "inputs.safetensors")
    context = context_of(job, case, inputs, log, Path(job.scratch), job.artifacts)
    with backend.prepare(case, base.options_of(backend, case), context) as prepared:
        lane = prepared.lanes(1)[0]
        first = _first_call(lane, log)
        expected = tensors.read(reference / tensors.OUTPUTS)
        changes = (repeat.Changes(), repeat.Changes())
        if not backend.simulated:
            changes = (repeat.observe(lane, first, case.precision), repeat.of_reference(reference, expected))
        del first
        lanes, fewer = _all_lanes(prepared, _lanes_needed(job, simulated=backend.simulated))
        in_processes = case.lanes == "processes" and not backend.simulated
        beside = fields["beside"] = Beside(job, log, began_ns) if in_processes else None
        overhead_ns = None
        if isinstance(prepared, RemotePrepared):
            overhead_ns = prepared.overhead_ns
            watcher.process = str(prepared.pid)
        watcher.start()
        log.current = "measure"  # whatever of it comes between its phases
        measured = _measure_lanes(lanes, prepared, job, log, context.clock, beside, simulated=backend.simulated)
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
        fields["fairness"] = prepared.fairness() | _dtypes(lane)  # of what was timed, whatever validating it meets
        fields["warnings"] += fairness.warnings(fields["fairness"], case)
        with log("validate"):
            _validate_into(fields, lane, job, expected, changes, simulated=backend.simulated)


def _first_call(lane: Lane, log: PhaseLog) -> dict[str, tensors.Array]:
    """The outputs of a lane's first call, which is a phase of its own."""
    with log("first_call"):
        lane.call()
        outputs = lane.read()
    log.current = "first_call"  # what it left behind is looked at outside its time
    _check_inputs(lane)
    return outputs


def _holds_streams(job: jobs.Measure, simulated: bool) -> bool:
    """Whether the case is measured on a GPU, by its clock."""
    return job.gate >= 0 and not simulated


def _lanes_needed(job: jobs.Measure, *, simulated: bool) -> int:
    """How many lanes of this process the case is measured with."""
    if _holds_streams(job, simulated):  # a CPU's worker starts sooner without it
        from bench.measure import gpu

        return gpu.lanes_needed(job.case, job.policy)
    # In a rehearsal no process is started: all lanes are this one's.
    return host.lanes_needed(_in_threads(job.case) if simulated else job.case, job.policy)


def _measure_lanes(
    lanes: Sequence[Lane],
    prepared: Prepared,
    job: jobs.Measure,
    log: PhaseLog,
    clock: Clock,
    beside: Beside | None,
    *,
    simulated: bool,
) -> result.CaseMeasurements:
    """All boundaries that the policy asks for, by the GPU's clock or the host's."""
    pacing = pace.InTurn(log.wait, job.rounds) if job.rounds else pace.ALONE
    if not _holds_streams(job, simulated):
        return host.measure(lanes, job.case, job.policy, clock, log, pacing=pacing, beside=beside, simulated=simulated)
    from bench.measure import gpu

    captured = prepared.fairness().get("graph_capture", "none") != "none"
    with _cuda_clock(job.gate, prepared) as cuda_clock:
        return gpu.measure(
            lanes, job.case, job.policy, cuda_clock, clock, log, captured=captured, pacing=pacing, beside=beside
        )


def _validate_into(
    fields: dict[str, Any],
    lane: Lane,
    job: jobs.Measure,
    expected: dict[str, tensors.Array],
    changes: tuple[repeat.Changes, repeat.Changes],
    *,
    simulated: bool,
) -> None:
    """Add the accuracy of one more call, and what limits its meaning, to the ``fields`` of the record."""
    case = job.case
    outputs = _once_more(lane)
    verdict = accuracy.compare(outputs, expected, job.threshold, case.precision)
    if QUANTIZED_REFERENCE in job.artifacts:
        quantized, rounded = _quantized_reference(Path(job.artifacts[QUANTIZED_REFERENCE]))
        verdict, differing = accuracy.compare_quantized(verdict, outputs, quantized, rounded)
        if not any(changes):  # else no two calls need agree
            fields["warnings"] += differing
    verdict = fields["accuracy"] = repeat.explain(verdict, *changes)
    others = fields["warnings"]
    if not simulated or verdict.empty:  # the outputs of a simulation are no model's
        fields["warnings"] = others + accuracy.warnings(expected, case.batch, case.metric)
    if case.metric and simulated:
        numbers, skipped = metric.rehearse(case.metric, Path(job.suite_dir), outputs, expected)
        fields["warnings"] += skipped
        if not skipped:
            unlimited = dict.fromkeys(job.threshold.metric, Limit())  # its numbers are no model's: names alone count
            fields["accuracy"] = metric.judge(verdict, numbers, unlimited, case.metric)
    elif case.metric:  # last: it is the user's code
        numbers = metric.evaluate(case.metric, Path(job.suite_dir), outputs, expected)
        fields["accuracy"] = metric.judge(verdict, numbers, job.threshold.metric, case.metric)
        if not numbers:
            silent = accuracy.warnings(expected, case.batch, case.metric, metric_is_silent=True)
            fields["warnings"] = others + silent


def _quantized_reference(folder: Path) -> tuple[dict[str, tensors.Array], dict[str, tensors.Array]]:
    """Its outputs, and those with values rounded between its layers: none in an artifact that has no such file."""
    rounding = folder / tensors.ROUNDING
    return tensors.read(folder / tensors.OUTPUTS), tensors.read(rounding) if rounding.exists() else {}


def _in_threads(case: Case) -> Case:
    """The same with all lanes in one process."""
    return msgspec.structs.replace(case, lanes="threads")


def _all_lanes(prepared: Prepared, requested: int) -> tuple[Sequence[Lane], tuple[Warning, ...]]:
    """``requested`` lanes, each called once, or as many as memory has room for: it may have weights of its own, and
    most allocate in their first call.
    """
    requested = min(requested, prepared.max_lanes or requested)
    lanes = prepared.lanes(1)
    for count in range(2, requested + 1):
        try:
            prepared.lanes(count)[-1].call()
        except Exception as error:
            if not gpu_faults.out_of_memory(error):
                raise
            return lanes, (result.no_room(len(lanes), requested),)
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

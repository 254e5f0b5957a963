"""The jobs of a worker that measure no case: imports ahead of its turn, artifacts, profiles, the work of models."""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import tensors
from bench.backends import base
from bench.errors import CaseError, ModelError, Unavailable, Unsupported
from bench.measure.clock import FakeClock, HostClock
from bench.model.abilities import PreloadsImports
from bench.model.lanes import Prepared, RecordsNodes, RemotePrepared
from bench.model.seam import Backend, Context
from bench.model.suite import Case
from bench.runner import jobs
from bench.runner.phase_log import PhaseLog

if TYPE_CHECKING:
    from bench.measure.cuda import CudaClock

PRESTART = "prestart"


def produce(job: jobs.Produce, log: PhaseLog) -> jobs.Produced:
    """Make one artifact; a reference also keeps the inputs it was made from."""
    out, case = Path(job.out), job.case
    log.current = job.stage.name  # between the producer's own phases
    _limit_threads(job.threads)
    backend = base.load(job.stage.producer)
    if "reference" in job.artifacts:
        inputs = tensors.read(Path(job.artifacts["reference"]) / "inputs.safetensors")
    else:
        if backend.simulated:  # a rehearsal needs arrays, not large ones
            specs = case.resolved
            specs = {
                k: msgspec.structs.replace(v, shape=tuple(min(int(n), 4) for n in v.shape)) for k, v in specs.items()
            }
            inputs = tensors.seeded_inputs(specs, job.seed)
        else:
            inputs = tensors.case_inputs(case, job.seed, Path(job.suite_dir))
    if job.stage.name == "reference":
        tensors.write(out / "inputs.safetensors", inputs)
    context = context_of(job, case, inputs, log, Path(job.scratch), job.artifacts)
    backend.produce(job.stage, case, context, out)
    # The wait of a worker that was started ahead is no part of what making it takes.
    return jobs.Produced(phases=tuple(phase for phase in log.phases if phase.name != PRESTART))


def _limit_threads(count: int) -> None:
    """At most ``count`` threads of this process in a loop, unless it is 0 or OMP_NUM_THREADS is less."""
    own = os.environ.get("OMP_NUM_THREADS", "").partition(",")[0]  # one number for each level of nesting
    if count and not (own.isdecimal() and int(own) <= count):
        os.environ["OMP_NUM_THREADS"] = str(count)  # for what is not loaded yet
        if "torch" in sys.modules:
            sys.modules["torch"].set_num_threads(count)


def profile(job: jobs.Profile, log: PhaseLog) -> jobs.Profiled:
    """Let a profiler look at a case; a failure in the phase ``profile`` says that the case ran without it."""
    from bench.measure import profiled, profilers, provenance

    case, backend = job.case, base.load(job.case.backend)
    inputs = tensors.read(Path(job.artifacts["reference"]) / "inputs.safetensors")
    context = context_of(job, case, inputs, log, Path(job.scratch), job.artifacts)
    narrated = job.tool in ("torch", "nsys")  # on whose axes of time the nodes of a runtime can be put
    context = msgspec.structs.replace(context, profiled=narrated)
    profiler = profilers.profiler(job.tool, job.device, backend, case)
    recorded = provenance.recorded(backend, Path(job.out))
    with recorded, backend.prepare(case, base.options_of(backend, case), context) as prepared:
        if isinstance(prepared, RemotePrepared):
            what = "a profiler looks at the worker, and executor: cpp runs the model in another process"
            raise Unsupported(what, fix="executor: python, which runs the same artifact")
        if _needs_profiler_early(case, prepared):
            profiler.early()
        with log("first_call"):
            prepared.lanes(1)[0].call()
            prepared.lanes(1)[0].read()
        with _clock(job, backend) as gpu:
            end = profiled.profile(
                prepared, case, job.policy, profiler, context.clock, log, Path(job.out),
                iterations=job.iterations, modules=job.modules, narrated=narrated,
                gpu=gpu, holds=job.tool != "ncu",  # which replays each kernel by itself
            )  # fmt: skip
    return jobs.Profiled(**msgspec.structs.asdict(end))


def _needs_profiler_early(case: Case, prepared: Prepared) -> bool:
    """Whether the profiler has to be loaded before the first call: where graphs are captured, as these are seen only
    then, and beside a runtime that records its nodes by itself. Others are measured before it is attached.
    """
    return case.cuda_graph or prepared.captures_graphs or isinstance(prepared, RecordsNodes)


@contextlib.contextmanager
def _clock(job: jobs.Profile, backend: Backend) -> Iterator[CudaClock | None]:
    """The clock of the GPU behind the gate that the parent watches; None where there is no GPU."""
    if job.device == "cpu" or backend.simulated:
        yield None
        return
    from bench.measure import cuda
    from bench.measure.gate import Gate

    with contextlib.closing(cuda.CudaClock(cuda.CudaDriver(), Gate(job.gate))) as clock:
        yield clock


def inspect(job: jobs.Inspect, log: PhaseLog) -> jobs.Inspected:
    """Count the work of each case once per model, sizes and precision; SuiteError if the suite is wrong."""
    from bench.measure import roofline

    work, failed = {}, {}
    with log("inspect"):
        for case in job.cases:
            context = context_of(job, case, {}, log, Path(job.suite_dir), {})
            try:
                work[case.id] = roofline.count(case, context)
            except (ModelError, Unavailable):  # its rows say so
                continue
            except CaseError as error:
                failed[case.id] = error.what
    return jobs.Inspected(work=work, failed=failed)


def preload(job: jobs.Preload, log: PhaseLog) -> None:
    """Import ahead of the worker's turn. Whatever goes wrong ends it, and the case gets a new one that tells of it.

    RuntimeError if an import has started CUDA: a second context on the GPU would be there while others are measured.
    """
    backend = base.load(job.case.backend)
    assert isinstance(backend, PreloadsImports)
    gc.disable()  # it finds little in imports, and takes a quarter of their time
    try:
        with log(PRESTART):
            backend.preload(job.case, Path(job.suite_dir))
        gc.freeze()  # what was imported stays: no later collection has to look at it
    finally:
        gc.enable()
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        raise RuntimeError(f"what {job.case.label} imports starts CUDA")


def context_of(
    job: jobs.Job, case: Case, inputs: dict[str, tensors.Array], log: PhaseLog, scratch: Path, artifacts: dict[str, str]
) -> Context:
    """What a backend is given to prepare or produce ``case`` for ``job``."""
    simulated = base.load(case.backend).simulated
    return Context(
        device=job.device,
        inputs=inputs,
        artifacts={name: Path(path) for name, path in artifacts.items()},
        scratch=scratch,
        suite_dir=Path(job.suite_dir),
        clock=FakeClock() if simulated else HostClock(),
        phase=log,
        cold=job.cold,
        seed=job.seed,
        replicate=job.replicate if isinstance(job, jobs.Measure) else 0,
        build=job.build if isinstance(job, jobs.Measure | jobs.Produce) else 0,
        shared=Path(job.shared) if isinstance(job, jobs.Measure | jobs.Profile | jobs.Produce) and job.shared else None,
        tell=log.tell,
        tell_layers=log.tell_layers if isinstance(job, jobs.Produce) else lambda layers, current: None,
    )

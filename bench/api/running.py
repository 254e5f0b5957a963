"""Runs: a plan, a part of an earlier run or a model is measured and stored."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.api.results import RESULTS, OnEvent, Run, find, ignore, stored_run
from bench.api.suites import count_of, interruptible, keywords_of, request, settings_of
from bench.errors import SuiteError, UsageError
from bench.model.run import Run as Results
from bench.model.suite import Case, Precision, Suite
from bench.runner.request import Request

if TYPE_CHECKING:
    from bench.model.profile import Layers
    from bench.model.run import Failure


def run(suite: Suite | str | os.PathLike[str], *, on_event: OnEvent | None = None, **options: Any) -> Run:
    """Measure a suite, store every record as it finishes, and read the run back.

    ``options`` are those of ``request``. ``on_event`` is called with each event (a case started, a phase of it, a
    record stored), a struct of ``bench.model.events``; one at a time, also in threads that wait for workers.

    Raises:
        InputError: as ``request``; StoreError if the store or the cache cannot be written.
        SourceChanged: a model's file was edited meanwhile; what was measured before is stored.
        Rescued: the run's file was replaced or removed meanwhile; all records are in another one.
        Interrupted: a signal ended it; what was measured is stored.
    """
    return execute(request(suite, **options), on_event=on_event)


def execute(request: Request, *, on_event: OnEvent | None = None) -> Run:
    """Measure what was requested. As ``run``."""
    from bench.runner.run import run
    from bench.suite import plan

    plan.check_some(request.plan)
    with interruptible():
        return stored_run(run(request, on_event or ignore))


def resume(
    run: Results | str | os.PathLike[str],
    *,
    select: str = "",
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
    rebuild: bool = False,
    prestart: int | None = None,
    devices: int | str = 1,
    replicates: int = 0,
    allow_large: bool = False,
    on_event: OnEvent | None = None,
) -> Run:
    """Measure what is missing of a run, or of the cases of it that ``select`` names, with its own plan and seed.

    ``replicates`` raises its number of processes per case, also of a complete run; 0 leaves it. More than 100,000
    processes need ``allow_large``.

    UsageError if this is another environment than it was made in, or a file that its cases name has changed;
    StoreError if this trtbench cannot run its cases. Else as ``run``.
    """
    from bench.backends import base
    from bench.runner import resume as resuming
    from bench.suite.case_filter import select_cases

    path = find(run, store=store)
    selected = select_cases(cases(path, cache=cache), base.registry(), select) if select else None
    settings = settings_of(store, cache, rebuild=rebuild, prestart=prestart, devices=count_of(devices))
    with interruptible():
        finished = resuming.resume(
            path, settings, on_event or ignore, selected, replicates=replicates, allow_large=allow_large
        )
        return stored_run(finished)


def benchmark(
    model: Any,
    inputs: Any,
    *,
    backends: str | Mapping[str, Any] | Sequence[str | Mapping[str, Any]] = ("eager", "inductor"),
    precision: Precision | Sequence[Precision] | None = None,
    name: str = "",
    measure: Mapping[str, Any] | None = None,
    cache: str | os.PathLike[str] | None = None,
    on_event: OnEvent | None = None,
    **options: Any,
) -> Run:
    """Benchmark a module or function without a suite file: same workers, clock, checks and record as ``run``.

    Workers are other processes, so ``model`` must be reachable from them: its class, or the function, is imported there
    by name, and its weights and plain attributes travel in a safetensors and a JSON file (nothing is pickled). What
    would be another model there is refused; docs/api.md has the list. It is measured in eval mode. A suite is written
    beside these files in the cache; ``run.header.suite_path`` is its place there, as ``$TRTBENCH_CACHE/models/...``.

    Args:
        model: an ``nn.Module`` (an instance), a function of tensors, or a factory as in a suite, e.g.
            ``"torchvision:resnet50"`` or ``"net.py:make"``.
        inputs: the arguments of ``forward``: tensors or arrays by name, a sequence of them in order, or one. Their
            shapes and dtypes count, and of integers the range; the values measured with are seeded random ones, floats
            at the case's precision. The first dimension is called ``batch`` if all inputs share its size.
        backends: a name, or a mapping with options, ``{"name": "inductor", "mode": "max-autotune"}``, or several.
        precision: one, or several: fp32, tf32, fp16, bf16, int8, fp8. By default that of the weights and buffers: fp32,
            fp16 or bf16; fp32 for a function or a factory. A module with several of them needs a choice.
        name: of the model in tables; by default that of its class or function.
        measure: the section ``measure`` of a suite, e.g. ``{"replicates": 7}``; by default one process a case.
        cache: the folder of artifacts, as in ``request``.
        on_event: as in ``run``.
        options: those of ``request`` that are left (``device``, ``quick``, ``store``, ...).

    Raises:
        UsageError: the model cannot reach a worker (defined in ``__main__`` or in a function, with hooks, compiled, or
            with attributes that are no plain data): the message says which part, and what to do. An argument is
            wrong: ``where`` is its name, and nothing is written.
        InputError, Interrupted: as ``run``.
    """
    from bench.runner import adhoc
    from bench.store import artifacts

    adhoc.check_options(options, keywords_of(benchmark, request))
    draft = adhoc.draft(model, inputs, backends=backends, precision=precision, name=name, measure=measure)
    draft.check(lambda suite: request(suite, cache=cache, **options))
    suite = draft.write(Path(cache or artifacts.default_root()))
    try:
        return run(suite, cache=cache, on_event=on_event, **options)
    except SuiteError as error:  # a worker found another program by the model's names
        raise UsageError(error.what, where="model", fix=error.fix) from error


def layers(request: Request, *, on_event: OnEvent | None = None) -> list[tuple[Case, Layers | Failure]]:
    """The layers of each case's engine and their times, measured in a separate pass.

    UsageError for more than 8 cases, or for a backend that cannot list its layers.
    """
    from bench.profiling import layers

    return list(layers.layers(request, on_event or ignore))


def cases(
    run: Results | str | os.PathLike[str],
    *,
    store: str | os.PathLike[str] = RESULTS,
    cache: str | os.PathLike[str] | None = None,
) -> tuple[Case, ...]:
    """The cases of a run that ``resume`` could measure. StoreError or UsageError if it cannot be resumed here."""
    from bench.runner import resume as resuming

    return resuming.resumable_cases(find(run, store=store), Path(cache) if cache else None)

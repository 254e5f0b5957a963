"""Tables of large runs take time in proportion to their cases, however these are spread over models and sizes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bench.model.run import Accuracy, Failure, Measurement, OutputError, Phase, Record, Run, Warning
from bench.model.suite import Case
from bench.report import export, text, trtexec
from tests.counting import assert_linear
from tests.report.conftest import make

BACKENDS = ("eager", "inductor", "torchscript", "onnxruntime")


def case(number: int, **fields: object) -> Case:
    return Case(**{"model": "net", "factory": "zoo.py:net", "inputs": {}, "backend": BACKENDS[number % 4], **fields})  # type: ignore[arg-type]


SHAPES: dict[str, Callable[[int], Case]] = {
    "models": lambda number: case(number, model=f"net{number // 4}"),
    "sizes": lambda number: case(number, symbols={"batch": number // 4 + 1}),
    "options": lambda number: case(number, options={"level": number // 4}),
    "streams": lambda number: case(number, streams=number // 4 + 1),
}


def record(of: Case, number: int) -> Record:
    """Three of four backends have trouble: warnings of other numbers or texts each, failures, wrong outputs."""
    if number % 16 == 3:
        failure = Failure(kind="Crash", stage="compile", message=f"op {number} failed", log="line")
        return Record(case=of.id, label=of.label, failure=failure)
    output = OutputError(name="y", cosine=0.9999994, max_abs=2e-5, rel_l2=3.1e-6, sqnr=110.0)
    warnings = [
        Warning(kind="HostBound", figures={"enqueue_ns": 1000 + number, "gpu_ns": 900, "graph": False}),
        Warning(kind="GraphBreaks", figures={"breaks": 1, "reasons": [f"reason {number}"]}),
    ]
    return Record(
        case=of.id,
        label=of.label,
        measurements=(
            Measurement(boundary="latency", samples=tuple(range(10_000 + 9 * (number % 4), 10_007 + 9 * (number % 4)))),
            Measurement(boundary="throughput", samples=(10_000,), calls=9, window_ns=90_000),
        ),
        phases=(Phase(name="import", ns=5), Phase(name="compile", ns=number)),
        accuracy=Accuracy(ok=number % 16 != 7, outputs=(output,), why="y: cosine"),
        fairness={"threads": 2 + (number % 16 == 6)},
        warnings=tuple(warnings[: number % 4]),
    )


def large(shape: str, size: int) -> Run:
    cases = [SHAPES[shape](number) for number in range(size)]
    return make(cases, [record(of, number) for number, of in enumerate(cases) if number % 16 != 9])


FORMS: dict[str, Callable[[Run], str]] = {
    "text": lambda run: text.render(run, verbose=True, phases=True, stats=True),
    "short": text.render,
    "markdown": export.markdown,
    "csv": export.csv,
    "json": export.json,
    "trtexec": trtexec.render,
}


@pytest.mark.parametrize(
    ("shape", "form"),
    [
        ("models", "short"),
        ("models", "markdown"),
        ("sizes", "text"),
        ("sizes", "trtexec"),
        ("options", "short"),
        ("options", "json"),
        ("streams", "csv"),
    ],
)
def test_a_run_of_twice_the_cases_takes_twice_the_work(shape: str, form: str) -> None:
    def work(size: int) -> Callable[[], object]:
        run = large(shape, size)
        return lambda: FORMS[form](run)

    assert_linear(work, 64)

"""Models whose calls are not alike, measured: what the record says. Models that keep tensors are not blamed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from bench.analysis.rows import rows
from bench.backends import base
from bench.model.run import Record
from bench.model.suite import DEFAULT_THRESHOLDS, Case, Input, Precision
from bench.report import text
from tests.report.conftest import make
from tests.runner.test_worker_measure import SHORT, measured

pytestmark = [pytest.mark.workers, pytest.mark.torch]
pytest.importorskip("torch")

ROWS = {"x": Input(shape=("batch", 8))}
COMPILED = pytest.mark.long


def record(root: Path, name: str, backend: str = "eager", precision: Precision = "fp32", **fields: Any) -> Record:
    lacks = base.load(backend).missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    case = Case(
        model="net",
        factory=f"changing.py:{name}",
        inputs=ROWS,
        symbols={"batch": 4},
        backend=backend,
        precision=precision,
        **fields,
    )
    return measured(case, root, SHORT, DEFAULT_THRESHOLDS[precision])


def changing(measured: Record) -> dict[str, dict[str, Any]]:
    return {w.kind: w.figures for w in measured.warnings if w.kind in ("StateChanges", "OutputsChange")}


@pytest.mark.parametrize(
    "backend", ["eager", "torchscript", pytest.param("inductor", marks=COMPILED), pytest.param("aoti", marks=COMPILED)]
)
def test_state_that_outputs_depend_on_is_named_and_is_not_told_as_inaccuracy(tmp_path: Path, backend: str) -> None:
    found = record(tmp_path, "counter", backend)
    assert found.measurements
    figures = changing(found)
    assert [name.rpartition(".")[2] for name in figures["StateChanges"]["names"]] == ["step"]
    assert list(figures["OutputsChange"]["outputs"]) == ["output"]
    assert found.accuracy is not None
    assert (found.accuracy.ok, found.accuracy.varies) == (False, True)
    assert found.accuracy.why.startswith("the model's outputs change from call to call ('output'), as it keeps state (")


@pytest.mark.parametrize(
    ("backend", "by", "names"),
    [
        ("eager", "program", ["keys: (4, 1, 8) -> (4, 2, 8)"]),
        ("torchscript", "reference", ["keys: (4, 1, 8) -> (4, 2, 8)"]),
        ("onnxruntime", "reference", ["keys: (4, 1, 8) -> (4, 2, 8)"]),
    ],
)
def test_state_that_no_output_shows_is_told_of_programs_made_from_the_model_too(
    tmp_path: Path, backend: str, by: str, names: list[str]
) -> None:
    # torch.export refuses a model that assigns to itself
    found = record(tmp_path, "keys", backend, options={"exporter": "legacy"} if backend == "onnxruntime" else {})
    assert changing(found) == {"StateChanges": {"names": names, "more": 0, "by": by}}
    assert found.accuracy is not None
    assert found.accuracy.ok


def test_a_program_that_leaves_its_inputs_alone_is_not_blamed_for_the_module_that_does_not(tmp_path: Path) -> None:
    found = record(tmp_path, "shifts_in_place", "onnxruntime")
    assert changing(found) == {}
    assert found.accuracy is not None
    assert found.accuracy.ok


@pytest.mark.parametrize("backend", ["eager", "torchscript"])
@pytest.mark.parametrize(("name", "least"), [("dropout", 0.5), ("noisy_scores", 0.1)])
def test_randomness_is_told_as_the_models(tmp_path: Path, backend: str, name: str, least: float) -> None:
    found = record(tmp_path, name, backend)
    figures = changing(found)
    assert set(figures) == {"OutputsChange"}
    assert figures["OutputsChange"]["outputs"]["output"] >= least
    assert found.accuracy is not None
    assert (found.accuracy.ok, found.accuracy.varies) == (False, True)
    assert "as it draws random numbers, keeps state or has a race: they have no reference" in found.accuracy.why


def test_batch_norm_in_training_changes_its_statistics(tmp_path: Path) -> None:
    names = changing(record(tmp_path, "normalises"))["StateChanges"]["names"]
    assert names == ["norm.num_batches_tracked", "norm.running_mean", "norm.running_var"]


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", ["steady", "returns", "masks", "forces"])
def test_what_each_call_writes_again_is_no_change(tmp_path: Path, name: str, precision: Precision) -> None:
    found = record(tmp_path, name, precision=precision)
    assert found.failure is None
    assert changing(found) == {}
    assert found.accuracy is not None
    assert (found.accuracy.ok, found.accuracy.why) == (True, "")


def test_such_rows_have_times_and_neither_ratio_nor_rank(tmp_path: Path) -> None:
    records = []
    for name in ("eager", "torchscript"):
        (tmp_path / name).mkdir()
        records.append(record(tmp_path / name, "keys", name))
    cases = [
        Case(model="net", factory="changing.py:keys", inputs=ROWS, symbols={"batch": 4}, backend=name)
        for name in ("eager", "torchscript")
    ]
    run = make(cases, records)
    assert [(bool(row.times), row.ranked, row.speed, row.fastest) for row in rows(run)] == [
        (True, False, None, False)
    ] * 2
    shown = text.render(run, width=200)
    assert "keys: (4, 1, 8) -> (4, 2, 8)" in shown
    assert "neither ratio nor rank" in shown


# ------------------------------------------------------------------------------------------- outputs that programs keep


@pytest.mark.filterwarnings("ignore:Dynamo detected a call to a `functools.lru_cache`")
@pytest.mark.parametrize(
    ("backend", "name"),
    [
        ("eager", "returns"),
        ("eager", "buffers"),
        ("torchscript", "buffers"),
        *(
            pytest.param(backend, name, marks=COMPILED)
            for backend in ("inductor", "aoti")
            for name in ("returns", "buffers")
        ),
        pytest.param("onnxruntime", "returns", marks=COMPILED),
    ],
)
def test_outputs_that_the_program_keeps_are_not_taken_for_nan(tmp_path: Path, backend: str, name: str) -> None:
    found = record(tmp_path, name, backend)
    assert found.failure is None
    assert found.accuracy is not None
    assert (found.accuracy.why, len(found.accuracy.outputs)) == ("", {"returns": 4, "buffers": 3}[name])


def test_complex_outputs_are_compared(tmp_path: Path) -> None:
    found = record(tmp_path, "complexes")
    assert found.failure is None
    assert found.accuracy is not None
    assert (found.accuracy.ok, len(found.accuracy.outputs)) == (True, 3)


@pytest.mark.parametrize("name", ["forces", "plain_forces"])
def test_a_model_that_computes_gradients_runs_without_inference_mode(tmp_path: Path, name: str) -> None:
    found = record(tmp_path, name)
    assert found.failure is None
    assert found.accuracy is not None
    assert found.accuracy.ok
    assert found.fairness["inference_mode"] is False
    assert record_of_another(tmp_path).fairness["inference_mode"] is True


def record_of_another(root: Path) -> Record:
    (root / "other").mkdir()
    return record(root / "other", "steady")

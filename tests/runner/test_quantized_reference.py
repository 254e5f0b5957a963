"""Cases that are quantized here are compared with the quantized model in PyTorch too, and the record keeps how far."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import tensors
from bench.backends import base
from bench.model.run import Record, Warning
from bench.model.seam import QUANTIZED_REFERENCE
from bench.model.suite import Case, Input, Threshold
from bench.report import export, text
from bench.runner import jobs
from bench.runner.phase_log import PhaseLog
from bench.runner.worker_jobs import produce
from bench.runner.worker_measure import measure
from tests.conftest import Trtbench
from tests.report.conftest import make
from tests.runner.test_worker_measure import SHORT, Silent

SUITES = Path(__file__).parents[2] / "suites"

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")
pytest.importorskip("onnx")
pytestmark = [pytest.mark.torch, pytest.mark.workers]


def case(**options: Any) -> Case:
    return Case(
        model="net", factory="small_resnet.py:small_resnet", inputs={"x": Input(shape=(2, 3, 16, 16))},
        backend="onnxruntime", precision="int8", options={"samples": 8} | options,
    )  # fmt: skip


class Worker:
    """Makes the artifacts of a case and measures it, as workers would, in this process."""

    def __init__(self, root: Path, of: Case) -> None:
        self.case, self.root = of, root
        self.log = PhaseLog(Silent())
        self.artifacts: dict[str, str] = {}
        scratch = root / "scratch"
        scratch.mkdir()
        self.common: dict[str, Any] = {
            "device": "cpu", "case": of, "scratch": str(scratch), "suite_dir": str(SUITES), "cold": True,
        }  # fmt: skip
        for stage in base.load(of.backend).stages(of):
            self.make(stage.name)

    def make(self, name: str, **key: Any) -> None:
        """Make the artifact of a stage in a new folder, with other values in the stage's key if there are some."""
        stage = next(each for each in base.load(self.case.backend).stages(self.case) if each.name == name)
        out = self.root / f"{name}{len(key)}"
        out.mkdir()
        stage = msgspec.structs.replace(stage, key=stage.key | key)
        produce(jobs.Produce(stage=stage, artifacts=self.artifacts, out=str(out), **self.common), self.log)
        self.artifacts = {**self.artifacts, name: str(out)}

    def record(self, threshold: Threshold = Threshold()) -> Record:
        job = jobs.Measure(policy=SHORT, threshold=threshold, artifacts=self.artifacts, **self.common)
        return measure(job, self.log).record


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    return Worker(tmp_path_factory.mktemp("agreeing"), case(placement="mended"))


def unlike(record: Record) -> list[Warning]:
    return [warning for warning in record.warnings if warning.kind == "NotAsQuantized"]


def test_onnx_runtime_computes_what_the_quantized_model_computes_in_pytorch(worker: Worker) -> None:
    record = worker.record()
    assert record.failure is None
    assert record.accuracy is not None
    (output,) = record.accuracy.outputs
    assert output.quantized_cosine is not None
    assert output.cosine is not None
    assert output.quantized_cosine >= 0.999
    assert output.cosine < output.quantized_cosine  # what is left against fp32 is what quantizing costs
    assert output.quantized_sqnr is not None
    assert output.sqnr is not None
    assert output.quantized_sqnr > output.sqnr
    assert not unlike(record)


def test_a_runtime_that_computes_something_else_has_a_warning_or_breaks_the_limit(worker: Worker) -> None:
    agreeing = worker.artifacts
    expected = tensors.read(Path(agreeing[QUANTIZED_REFERENCE]) / "outputs.safetensors")
    other = worker.root / "other"
    other.mkdir(exist_ok=True)
    tensors.write(other / "outputs.safetensors", {name: -value for name, value in expected.items()})
    worker.artifacts = {**agreeing, QUANTIZED_REFERENCE: str(other)}
    try:
        warned, refused = worker.record(), worker.record(Threshold(quantized_cosine=0.9999))
    finally:
        worker.artifacts = agreeing
    assert warned.accuracy is not None
    assert warned.accuracy.ok
    (warning,) = unlike(warned)
    (name,) = expected
    assert warning.figures["outputs"][name]["cosine"] == warned.accuracy.outputs[0].quantized_cosine
    assert refused.accuracy is not None
    assert not refused.accuracy.ok
    assert f"output {name!r}: quantized_cosine " in refused.accuracy.why
    assert "is below 0.9999" in refused.accuracy.why
    assert not unlike(refused)


def test_the_reference_is_of_the_cases_own_placement_and_floating_layers(tmp_path: Path, worker: Worker) -> None:
    def outputs(name: str) -> tensors.Array:
        (array,) = tensors.read(Path(worker.artifacts[name]) / "outputs.safetensors").values()
        return array

    own, kept = outputs(QUANTIZED_REFERENCE), worker.artifacts
    fp32 = outputs("reference")
    worker.make(QUANTIZED_REFERENCE, floating=["head"])
    partly = outputs(QUANTIZED_REFERENCE)
    worker.artifacts = kept
    assert own.shape == fp32.shape
    assert not (own == partly).all()
    assert abs(partly - fp32).sum() < abs(own - fp32).sum()


def test_the_table_the_csv_and_the_json_have_the_cosine(worker: Worker) -> None:
    record = worker.record()
    run = make([worker.case], [record])
    shown = text.render(run, width=200)
    assert "cosine (int8)" in shown
    assert "cosine (int8): with the outputs of the quantized model" in shown
    assert record.accuracy is not None
    cosine = record.accuracy.outputs[0].quantized_cosine
    assert f'"quantized_cosine":{cosine}' in export.json(run).replace(" ", "")
    (line,) = csv.DictReader(io.StringIO(export.csv(run)))
    assert float(line["quantized_cosine"]) == cosine


@pytest.mark.long
def test_both_placements_of_the_shipped_suite_agree_with_the_quantized_model(trtbench: Trtbench) -> None:
    suite = SUITES / "int8_cpu.yaml"
    assert trtbench("run", suite, "--quick", "--select", "precision=int8") == 0
    (run,) = trtbench.runs()
    cosines = [output.quantized_cosine or 0.0 for record in run.records if record.accuracy
               for output in record.accuracy.outputs]  # fmt: skip
    assert len(cosines) == 2
    assert min(cosines) >= 0.999
    assert not [warning for record in run.records for warning in unlike(record)]
    assert trtbench("build", suite, "--select", "precision=int8") == 0
    assert "onnx" in trtbench.out
    assert QUANTIZED_REFERENCE not in trtbench.out

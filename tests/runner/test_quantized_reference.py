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
# Each layer multiplies a difference until values that began alike have nothing in common.
WAVES = """
import torch

class Waves(torch.nn.Module):
    def __init__(self):
        super().__init__()
        draw = torch.Generator().manual_seed(0)
        self.layers = torch.nn.ModuleList(
            torch.nn.Conv2d(32 if n else 3, 32, 3, padding=1, bias=False) for n in range(16)
        )
        for layer in self.layers:
            torch.nn.init.normal_(layer.weight, 0, 4 / (9 * layer.in_channels) ** 0.5, generator=draw)

    def forward(self, x):
        for layer in self.layers:
            x = torch.sin(layer(x))
        return x

def waves():
    return Waves()
"""

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

    def __init__(self, root: Path, of: Case, suite_dir: Path = SUITES) -> None:
        self.case, self.root = of, root
        self.log = PhaseLog(Silent())
        self.artifacts: dict[str, str] = {}
        scratch = root / "scratch"
        scratch.mkdir()
        self.common: dict[str, Any] = {
            "device": "cpu", "case": of, "scratch": str(scratch), "suite_dir": str(suite_dir), "cold": True,
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


@pytest.fixture(scope="module")
def amplifying(tmp_path_factory: pytest.TempPathFactory) -> Worker:
    folder = tmp_path_factory.mktemp("amplifying")
    (folder / "waves.py").write_text(WAVES)
    of = case(samples=1)
    of = msgspec.structs.replace(of, factory="waves.py:waves", inputs={"x": Input(shape=(1, 3, 32, 32))})
    return Worker(folder, of, folder)


def unlike(record: Record) -> list[Warning]:
    """The warnings about the cosine with the quantized model."""
    return [warning for warning in record.warnings if warning.kind in ("NotAsQuantized", "AmplifiesRounding")]


def other_reference(worker: Worker, sign: int, *files: str) -> Path:
    """The quantized reference in a new folder with the named files alone, their values times ``sign``."""
    folder = worker.root / f"other{len(list(worker.root.iterdir()))}"
    folder.mkdir()
    for file in files:
        values = tensors.read(Path(worker.artifacts[QUANTIZED_REFERENCE]) / file)
        tensors.write(folder / file, {name: sign * value for name, value in values.items()})
    return folder


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
    assert output.rounding_cosine is not None
    assert 0.999 <= output.rounding_cosine < 1
    assert not unlike(record)


def test_a_runtime_that_computes_something_else_has_a_warning_or_breaks_the_limit(worker: Worker) -> None:
    agreeing = worker.artifacts
    other = other_reference(worker, -1, tensors.OUTPUTS, tensors.ROUNDING)
    worker.artifacts = {**agreeing, QUANTIZED_REFERENCE: str(other)}
    try:
        warned, refused = worker.record(), worker.record(Threshold(quantized_cosine=0.9999))
    finally:
        worker.artifacts = agreeing
    assert warned.accuracy is not None
    assert warned.accuracy.ok
    (warning,) = unlike(warned)
    (output,) = warned.accuracy.outputs
    assert warning.kind == "NotAsQuantized"
    assert warning.figures["outputs"][output.name]["cosine"] == output.quantized_cosine
    assert warning.figures["outputs"][output.name]["rounding_cosine"] == output.rounding_cosine
    assert refused.accuracy is not None
    assert not refused.accuracy.ok
    assert f"output {output.name!r}: quantized_cosine " in refused.accuracy.why
    assert "is below 0.9999" in refused.accuracy.why
    assert not unlike(refused)


def test_where_rounding_takes_the_quantized_model_as_far_the_runtime_is_not_blamed(amplifying: Worker) -> None:
    record, refused = amplifying.record(), amplifying.record(Threshold(quantized_cosine=0.99))
    assert record.accuracy is not None
    (output,) = record.accuracy.outputs
    assert record.accuracy.ok
    assert output.rounding_cosine is not None
    assert output.rounding_cosine < 0.5
    (warning,) = unlike(record)
    assert warning.kind == "AmplifiesRounding"
    assert warning.figures["outputs"][output.name]["rounding_cosine"] == output.rounding_cosine
    shown = " ".join(text.render(make([amplifying.case], [record]), width=200, verbose=True).split())
    assert "the network amplifies rounding" in shown
    assert f"with float16 between its layers that model has {output.rounding_cosine:.6f} with itself" in shown
    assert refused.accuracy is not None
    assert not refused.accuracy.ok
    assert "is below 0.99" in refused.accuracy.why


def test_a_quantized_reference_without_rounded_outputs_is_compared_as_before(amplifying: Worker) -> None:
    own = amplifying.artifacts
    amplifying.artifacts = {**own, QUANTIZED_REFERENCE: str(other_reference(amplifying, 1, tensors.OUTPUTS))}
    try:
        record = amplifying.record()
    finally:
        amplifying.artifacts = own
    assert record.accuracy is not None
    (output,) = record.accuracy.outputs
    assert output.quantized_cosine is not None
    assert output.rounding_cosine is None
    assert [warning.kind for warning in unlike(record)] == ["NotAsQuantized"]


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
    rounding = record.accuracy.outputs[0].rounding_cosine
    assert f"with float16 between its layers that model has {rounding:.6f} with itself" in " ".join(shown.split())
    assert f'"rounding_cosine":{rounding}' in export.json(run).replace(" ", "")
    (line,) = csv.DictReader(io.StringIO(export.csv(run)))
    assert float(line["rounding_cosine"]) == rounding
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

"""A case whose quantized reference cannot be made is measured with a warning, unless a limit needs that reference."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.backends import base
from bench.lowering import quantized_reference
from bench.machine.environment import describe
from bench.model.run import Failure
from bench.model.seam import REFERENCE, Stage
from bench.model.suite import Case, Input, Threshold
from bench.runner import jobs
from bench.runner.side_by_side import Slots
from bench.runner.stages import Maker, Postponed, Ready
from bench.runner.toolchains import Interpreter
from tests import distribution_kit
from tests.conftest import Trtbench

pytestmark = pytest.mark.workers

CASE = Case(
    model="m", factory="f:m", inputs={"x": Input(shape=(1, 3))}, backend="onnxruntime", precision="int8",
    options={"samples": 8},
)  # fmt: skip
# Its cases have a quantized reference, which fails as the option says, and then a build.
INFORMED = """
from bench.backends import fake
from bench.lowering import quantized_reference
import msgspec

class Options(fake.Options, frozen=True, kw_only=True):
    samples: int = 8
    fail_reference: fake.Way = ""

class Informed(fake.Fake):
    options = Options

    def stages(self, case):
        reference, build = super().stages(case)
        (informs,) = quantized_reference.stages(case)
        key = {"fails": case.options["fail_reference"]}
        informs = msgspec.structs.replace(informs, producer="informed", needs=("reference",), key=key, libraries=())
        return [reference, informs, msgspec.structs.replace(build, producer="informed")]

    def produce(self, stage, case, context, out):
        if stage.name == "quantized_reference":
            fake._fail(case.options["fail_reference"])
        super().produce(stage, msgspec.structs.replace(case, options={"tactics": 0.1}), context, out)

BACKEND = Informed()
"""
SUITE = """\
schema: 1
name: informed
models:
  net:
    factory: zoo.py:net
    inputs: {{x: {{shape: [1, 3], dtype: float32}}}}
matrix:
  model: [net]
  backend: [{{name: informed, tactics: 0.1, fail_reference: {way}}}]
  precision: [int8]
measure: {{replicates: {replicates}, max_time: 1s}}
"""
LIMIT = "accuracy: {int8: {quantized_cosine: 0.99}}\n"


@pytest.fixture
def informed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a suite, with the backend ``informed`` of another distribution."""
    with distribution_kit.installed(tmp_path / "site", "informed", INFORMED, monkeypatch):
        yield tmp_path


def write(folder: Path, way: str, more: str = "", replicates: int = 1) -> Path:
    path = folder / "informed.yaml"
    path.write_text(SUITE.format(way=way, replicates=replicates) + more)
    return path


# ------------------------------------------------------------------------------------------------- the artifacts


class Workers:
    """Make every artifact, but the quantized reference, which ends as ``failure``."""

    def __init__(self, folder: Path, failure: Failure) -> None:
        self.produced: list[str] = []
        self.failure = failure
        self.maker = Maker(folder, None, folder, "cpu", 0, self._run)
        self.stages: list[Stage] = [
            Stage(name=REFERENCE, kind=REFERENCE, producer="fake", key={}),
            *(msgspec.structs.replace(each, needs=(REFERENCE,)) for each in quantized_reference.stages(CASE)),
            Stage(name="build", kind="build", producer="fake", key={}, needs=(REFERENCE,)),
        ]

    def _run(self, interpreter: Interpreter, job: jobs.JobType, label: str) -> jobs.Produced | Failure:
        assert isinstance(job, jobs.Produce)
        self.produced.append(job.stage.name)
        if job.stage.limit:
            return self.failure
        (Path(job.out) / "file").write_text("1")
        return jobs.Produced(phases=())

    def ready(self, limits: Threshold = Threshold(), beside: Slots | None = None) -> Ready | Failure | Postponed:
        here = Interpreter(name="default", command=(), env={}, environment=describe("fake"))
        return self.maker.ready(CASE, self.stages, {"default": here}, lambda event: None, 0, beside, limits)


def test_what_no_limit_needs_may_be_absent_and_is_tried_once(tmp_path: Path) -> None:
    why = "Unsupported: no kernel for aten::x\nwith a trace"
    workers = Workers(tmp_path, Failure(kind="Unsupported", stage="run", message=why, hint="floating: [x]"))
    for _ in range(2):
        ready = workers.ready()
        assert isinstance(ready, Ready)
        assert list(ready.folders) == ["reference", "build"]
        (warning,) = ready.warnings
        assert warning.kind == "NoQuantizedReference"
        assert warning.figures == {
            "failure": "Unsupported", "in": "run", "message": "no kernel for aten::x", "hint": "floating: [x]",
        }  # fmt: skip
    assert workers.produced == ["reference", "quantized_reference", "build"]
    assert workers.ready(Threshold(cosine=0.9, quantized_cosine=0.99)) is workers.failure


def test_beside_others_it_is_left_to_be_tried_alone(tmp_path: Path) -> None:
    workers = Workers(tmp_path, Failure(kind="OutOfMemory", stage="run", message="no memory"))
    postponed = workers.ready(beside=Slots(2))
    assert isinstance(postponed, Postponed)
    assert (postponed.stage, postponed.failure) == ("quantized_reference", workers.failure)
    assert isinstance(workers.ready(), Ready)
    assert workers.produced == ["reference", "quantized_reference", "quantized_reference", "build"]


def test_a_lost_device_is_no_absence(tmp_path: Path) -> None:
    workers = Workers(tmp_path, Failure(kind="DeviceLost", stage="run", message="lost"))
    assert workers.ready() is workers.failure


def test_no_stage_needs_one_that_may_be_absent() -> None:
    for name in ("onnxruntime", "tensorrt", "tensorrt_rtx", "fx2trt"):
        stages = base.load(name).stages(msgspec.structs.replace(CASE, backend=name))
        (absent,) = [stage.name for stage in stages if stage.limit]
        assert not [stage.name for stage in stages if absent in stage.needs]


# ----------------------------------------------------------------------------------------------- whole runs


@pytest.mark.parametrize(
    ("way", "options", "kind"),
    [("memory", ("--prestart", 2), "OutOfMemory"), ("unsupported", ("--cold",), "Unsupported")],
)
def test_without_a_limit_the_case_is_measured_with_a_warning(
    trtbench: Trtbench, informed: Path, way: str, options: tuple[object, ...], kind: str
) -> None:
    assert trtbench("run", write(informed, way, replicates=2), *options) == 0, trtbench.err
    assert "not compared with those of the quantized model in PyTorch" in " ".join(trtbench.out.split())
    (run,) = trtbench.runs()
    assert len(run.records) == 2
    for record in run.records:
        assert record.failure is None
        assert record.accuracy is not None
        assert record.accuracy.outputs[0].quantized_cosine is None
        (warning,) = [each for each in record.warnings if each.kind == "NoQuantizedReference"]
        assert warning.figures["failure"] == kind


def test_with_the_limit_it_is_a_failed_row(trtbench: Trtbench, informed: Path) -> None:
    assert trtbench("run", write(informed, "unsupported", LIMIT)) == 1
    ((record,),) = [run.records for run in trtbench.runs()]
    assert record.failure is not None
    assert (record.failure.kind, record.measurements) == ("Unsupported", ())


@pytest.mark.parametrize(("limit", "code"), [("", 0), (LIMIT, 1)])
def test_build_goes_on_and_says_so_unless_a_limit_needs_it(
    trtbench: Trtbench, informed: Path, limit: str, code: int
) -> None:
    suite = write(informed, "memory", limit)
    assert trtbench("build", suite, "--format", "json", "--progress", "plain") == code, trtbench.err
    (case,) = json.loads(trtbench.out)["cases"]
    assert [stage["stage"] for stage in case["stages"]] == ([] if limit else ["build"])
    assert case["failed"] == ("quantized_reference" if limit else "")
    said = "OutOfMemory in quantized_reference: the fake device has no memory left"
    assert (f"{said}; the case is measured without it" if not limit else said) in trtbench.err

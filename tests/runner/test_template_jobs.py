"""Which jobs have a worker from a template, and what that has imported."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.model.seam import Stage
from bench.model.suite import Case, Policy, Threshold
from bench.runner import jobs, templates
from tests.runner.template_kit import Runner

pytestmark = pytest.mark.workers


CASE = Case(model="m", factory="f:m", inputs={}, backend="fake")
CHECK = jobs.CheckMetrics(device="cpu", metrics=())


def test_a_cold_job_and_one_with_another_environment_have_a_process_of_their_own(
    runner: Runner,
) -> None:
    job = jobs.CheckMetrics(device="cpu", metrics=())
    cold = jobs.CheckMetrics(device="cpu", metrics=(), cold=True)
    other = {**runner.interpreter.env, "TRTBENCH_TEST": "another"}
    start = runner.templates.start
    assert runner.look(start(runner.interpreter, cold))["frozen"] == 0
    own = runner.look(start(runner.interpreter, job, env=other))
    assert (own["frozen"], own["name"]) == (0, "another")
    forked = runner.look(start(runner.interpreter, job))
    assert forked["frozen"] > 0
    assert forked["name"] is None
    assert runner.look(start(runner.interpreter, job, env=dict(runner.interpreter.env)))["frozen"] > 0


BERT = Case(model="m", factory="transformers:BertModel", inputs={}, backend="eager")
CORE = ("torch", "transformers.modeling_utils")


def stage(kind: str, producer: str, **key: object) -> Stage:
    return Stage(name=kind, kind=kind, producer=producer, key=key)


@pytest.mark.parametrize(
    ("changes", "made", "expected"),
    [
        ({}, None, CORE),
        ({"factory": "zoo.py:net"}, None, ("torch",)),
        ({"factory": "mypkg.models:net"}, None, ("torch",)),
        ({"factory": "net.pt2"}, None, ("torch",)),
        ({"factory": "timm:dla34", "backend": "torchscript"}, None, ("torch", "timm")),
        ({"backend": "inductor"}, None, (*CORE, "bench.runtimes.torch.first_compile")),
        ({"backend": "inductor"}, stage("reference", "eager"), CORE),
        ({"backend": "onnxruntime"}, None, ()),
        ({"backend": "onnxruntime"}, stage("onnx", "onnxruntime", exporter="dynamo"), (*CORE, "onnxscript")),
        ({"backend": "tensorrt"}, stage("onnx", "onnxruntime", exporter="legacy"), (*CORE, "onnx")),
        ({"backend": "tensorrt", "factory": "net.onnx"}, stage("onnx", "onnxruntime"), ()),
        ({"backend": "tensorrt"}, None, ("tensorrt",)),
        ({"backend": "torch_tensorrt"}, None, ("torch", "tensorrt")),
        ({"backend": "torch_tensorrt"}, stage("torch_tensorrt", "torch_tensorrt"), (*CORE, "tensorrt")),
        ({"backend": "torch_tensorrt", "options": {"ir": "torch_compile"}}, None, (*CORE, "tensorrt")),
        ({"backend": "fake"}, None, ()),
    ],
)
def test_a_template_has_what_a_case_or_its_stage_imports_of_libraries(
    changes: dict[str, Any], made: Stage | None, expected: tuple[str, ...]
) -> None:
    assert templates.imports_of(msgspec.structs.replace(BERT, **changes), made) == expected


def test_every_job_of_a_run_says_what_its_worker_imports() -> None:
    def names(job: jobs.Job, measure: bool = True) -> tuple[str, ...] | None:
        return templates.imports(job, measure=measure)

    common: dict[str, Any] = {"device": "cpu", "case": msgspec.structs.replace(BERT, backend="inductor")}
    measure = jobs.Measure(policy=Policy(), threshold=Threshold(), artifacts={}, scratch="", **common)
    assert names(measure) == (*CORE, "bench.runtimes.torch.first_compile")
    assert names(measure, measure=False) is None
    made = jobs.Produce(stage=stage("reference", "eager"), artifacts={}, out="", scratch="", **common)
    assert names(made, measure=False) == CORE
    assert names(jobs.Inspect(device="cpu", cases=(common["case"], CASE))) == CORE
    assert names(jobs.Inspect(device="cpu", cases=())) == ()
    assert names(jobs.Ceilings(device="cpu")) == ("torch",)
    assert names(CHECK) == ()
    assert names(jobs.Describe(device="cpu")) is None
    assert names(jobs.Selftest(device="cpu", gate=-1)) is None

"""suites/deploy.yaml: each artifact has both runners, and the chain of tiny operators computes something."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pytest

from bench import store
from bench.analysis import host_cost
from bench.backends import base
from bench.model.run import Run
from tests.conftest import Trtbench
from tests.store import kit
from tests.suites.test_shipped import planned, zoo

SUITE = Path(__file__).parents[2] / "suites" / "deploy.yaml"


def test_every_artifact_has_a_runner_in_python_and_one_in_cpp() -> None:
    cases = planned("deploy").cases
    costs = host_cost.of_run(Run(path="", header=kit.header(cases), records=()))
    assert Counter(bool(line.python and line.cpp) for line in costs.artifacts) == {True: len(costs.artifacts)}
    assert {line.artifact for line in costs.artifacts} == {"torchscript", "aoti", "tensorrt"}
    assert {(line.model, line.lanes) for line in costs.artifacts if line.lanes > 1} == {
        ("resnet18", 2),
        ("tiny_operators", 2),
    }


@pytest.mark.torch
def test_tiny_operators_keep_the_size_of_their_input_and_depend_on_it() -> None:
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    model, x = zoo().tiny_operators(operators=20), torch.randn(3, 32)
    with torch.no_grad():
        output = model(x)
    assert output.shape == (3, 32)
    assert torch.allclose(output.norm(dim=1), x.norm(dim=1), rtol=1e-3)
    assert not torch.allclose(output[0] / output[0].norm(), output[1] / output[1].norm(), atol=1e-2)
    with pytest.raises(ValueError, match="an even number"):
        zoo().tiny_operators(operators=3)


@pytest.mark.torch
@pytest.mark.workers
@pytest.mark.long
def test_the_part_for_a_cpu_runs_and_both_runners_of_each_artifact_agree(trtbench: Trtbench) -> None:
    pytest.importorskip("torch")
    if lacks := base.load("aoti").missing():
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    select = "model=tiny_operators and precision=fp32 and batch=1"
    code = trtbench("run", SUITE, "--device", "cpu", "--quick", "--select", select)
    assert code == 0, trtbench.out + trtbench.err
    (path,) = trtbench.store.rglob("*.jsonl")
    run = store.read(path)
    assert run.footer is not None
    assert run.footer.status == "complete"
    records = {record.label: record for record in run.records}
    assert len(records) == len(run.header.cases)
    assert not [record.failure for record in run.records if record.failure]

    artifacts = host_cost.of_run(run).artifacts
    assert {(line.artifact, line.lanes) for line in artifacts} == {
        (backend, lanes) for backend in ("torchscript", "aoti") for lanes in (1, 2)
    }
    for line in artifacts:
        assert set(line.times) == {"latency", "throughput"}, line
        python, cpp = records[line.python], records[line.cpp]
        assert (python.fairness.get("executor", "python"), cpp.fairness["executor"]) == ("python", "cpp")
        assert python.accuracy is not None
        assert cpp.accuracy is not None
        assert python.accuracy.ok
        assert cpp.accuracy.ok
        for one, other in zip(python.accuracy.outputs, cpp.accuracy.outputs, strict=True):
            assert one.name == other.name
            assert (one.max_abs, one.rel_l2) == pytest.approx((other.max_abs, other.rel_l2))

    assert trtbench("show", run.header.run, "--host-cost", "--format", "json") == 0
    (shown,) = json.loads(trtbench.out)["runs"]
    assert [line["label"] for line in shown["artifacts"] if line["times"]] == [line.label for line in artifacts]

"""suites/deploy.yaml: each artifact has both runners, and the chain of tiny operators computes something."""

from __future__ import annotations

from collections import Counter

import pytest

from bench.analysis import host_cost
from bench.model.run import Run
from tests.store import kit
from tests.suites.test_shipped import planned, zoo


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

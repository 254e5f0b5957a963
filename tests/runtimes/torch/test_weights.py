"""A model in another toolchain computes with the weights of the reference, or says why it cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import CaseError, Unsupported
from bench.model.suite import Case, Input
from bench.runtimes.torch import weights
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
SQUARE = {"x": Input(shape=(4, 4))}
NET = {"conv.weight", "conv.bias", "linear.weight", "linear.bias"}


def foreign(bench: Bench, backend: str = "eager", factory: str = "zoo.py:net", **fields: Any) -> Case:
    return bench.case(backend, factory, toolchain="old", **fields)


@pytest.mark.parametrize("backend", ["eager", "torchscript", "inductor", "aoti"])
def test_a_case_of_another_toolchain_has_its_models_weights_as_an_artifact(bench: Bench, backend: str) -> None:
    here, there = bench.case(backend), foreign(bench, backend)
    stages = {stage.name: stage for stage in base.load(backend).stages(there)}
    assert stages.keys() - {stage.name for stage in base.load(backend).stages(here)} == {"weights"}
    assert (stages["weights"].producer, stages["weights"].toolchain) == ("eager", "default")
    half = msgspec.structs.replace(there, precision="fp16", options={"memory_format": "channels_last"})
    assert stages["weights"] in base.load(backend).stages(half)
    assert all("weights" in stage.needs for stage in stages.values() if stage.toolchain == "old")


def test_the_weights_are_those_of_the_reference(bench: Bench) -> None:
    case = foreign(bench)
    kept = weights.read_weights(bench.artifacts(case)["weights"])
    assert kept.keys() == NET
    # Another torch draws other weights from the same seed: here, another seed does.
    outputs = bench.run(case, seed=1)
    own = bench.run(bench.case("eager"), seed=1, artifacts={"reference": bench.folder()})
    reference = bench.reference(case)
    for name, expected in reference.items():
        np.testing.assert_allclose(outputs[name], expected, rtol=1e-5, atol=1e-6)
        assert not np.allclose(own[name], expected, atol=1e-3)


@pytest.mark.parametrize(
    ("gone", "more", "message"),
    [
        ("conv.bias", {}, "'conv.bias' is a weight here and not there."),
        ("linear.bias", {"linear.bais": (5,)}, "not there. Did you mean 'linear.bais'?"),
        ("", {"head": (1,)}, "'head' is a weight there and not here."),
        ("", {"linear.weight": (5, 3)}, "'linear.weight' has the shape [5, 4] here and [5, 3] there."),
    ],
)
def test_another_model_under_the_same_name_is_told_by_its_first_difference(
    bench: Bench, gone: str, more: dict[str, tuple[int, ...]], message: str
) -> None:
    case = foreign(bench)
    arrays = weights.read_weights(bench.artifacts(case)["weights"])
    arrays.pop(gone, None)
    arrays |= {name: np.zeros(shape, np.float32) for name, shape in more.items()}
    with pytest.raises(CaseError) as caught, bench.prepared(case, artifacts={"weights": written(bench, arrays)}):
        pass
    assert message in caught.value.what
    assert "one version of the model's library" in caught.value.fix


def written(bench: Bench, arrays: dict[str, tensors.Array]) -> Path:
    folder = bench.folder()
    tensors.write(folder / "weights.safetensors", arrays)
    return folder


def test_bfloat16_integers_and_shared_weights_come_back_as_they_were(bench: Bench) -> None:
    case = foreign(bench, factory="states.py:mixed", inputs=SQUARE)
    kept = weights.read_weights(bench.artifacts(case)["weights"])
    kinds = {name: str(array.dtype) for name, array in kept.items()}
    assert (kinds["narrow.weight"], kinds["norm.num_batches_tracked"]) == ("float32", "int64")
    outputs = bench.run(case, seed=1)
    np.testing.assert_allclose(outputs["output"], bench.reference(case)["output"], rtol=1e-5, atol=1e-6)


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize(
    ("factory", "message"),
    [("states.py:waves", "'wave' is torch.complex32"), ("states.py:extra", "'_extra_state' is dict")],
)
def test_a_state_that_numpy_cannot_hold_is_unsupported(bench: Bench, factory: str, message: str) -> None:
    case = foreign(bench, factory=factory, inputs=SQUARE)
    stage = weights.weights_stage(case)
    with pytest.raises(Unsupported) as caught:
        base.load(stage.producer).produce(stage, case, bench.context(case), bench.folder())
    assert f"the weight {message}, which cannot go to another toolchain" in str(caught.value)

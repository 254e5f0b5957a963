"""What converters write, through the oracle against torch, and by the real builder of TensorRT-RTX."""

from __future__ import annotations

import importlib.util
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from bench.errors import Unsupported  # noqa: E402
from bench.lowering import oracle  # noqa: E402
from tests.lowering.converters import kit  # noqa: E402
from tests.lowering.converters.cases import CASES, IMAGE, INDEX, QUERY, X  # noqa: E402

pytestmark = pytest.mark.torch


# One or two of each file of converters; the others in the long session.
EVERYDAY = (
    "gelu", "softplus", "layer_norm", "group_norm", "attention, causal", "attention, groups", "nearest", "sums",
    "variances", "topk", "cumsum", "several indices", "where", "pad", "triangles",
)  # fmt: skip


@pytest.mark.parametrize(
    "name", [name if name in EVERYDAY else pytest.param(name, marks=pytest.mark.long) for name in CASES]
)
def test_a_program_computes_what_the_function_computes(name: str) -> None:
    case = CASES[name]
    kit.check(case.function, *case.inputs, weights=case.weights)


@pytest.mark.long
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
@pytest.mark.parametrize("name", CASES)
def test_a_program_builds(name: str, tmp_path: Path) -> None:
    from tests.lowering.test_rtx_builds import build

    case = CASES[name]
    assert build(kit.program_of(case.function, case.inputs, case.weights), tmp_path)


REFUSALS = {
    "dropout": (lambda q: F.scaled_dot_product_attention(q, q, q, dropout_p=0.5), (QUERY,), r"dropout 0\.5; call eval"),
    "norm by statistics": (
        lambda x, mean: F.instance_norm(x, mean, mean + 1, use_input_stats=False), (IMAGE, X[0, 0, :2]),
        "batch norm computes the same",
    ),
    "interpolate by a fraction": (
        lambda x: F.interpolate(x, scale_factor=1.3), (IMAGE,), r"interpolate by 1\.3 of 4 values.* pass size"
    ),
    "norm of order 3": (lambda x: torch.linalg.vector_norm(x, 3, dim=1), (X,), "a norm of order 3"),
    "topk of the first of five": (lambda x: x.topk(1, 0), (X[None, None],), "dimension 0 of 5; TensorRT takes"),
    "scatter that differs": (
        lambda x, i: x.scatter(0, i.abs()[:1, :, None], x), (X, INDEX), "differ beyond dimension 0"
    ),
    "adding at indices": (
        lambda x, i: x.index_put((i[0],), x[0], accumulate=True), (X, INDEX), "index_put that adds"
    ),
    "several values under a mask": (
        lambda x: x.index_put((x > 0,), x.flatten()[:2]), (X,), "several values under a mask.* use torch.where"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSALS)
def test_arguments_without_a_layer_are_refused(name: str) -> None:
    function, inputs, message = REFUSALS[name]
    with pytest.raises(Unsupported, match=message):
        kit.program_of(function, inputs)


def test_half_precision_is_normalised_in_float32() -> None:
    x = CASES["layer_norm"].inputs[0].repeat(1, 1, 128) + 300  # whose squares sum to more than half precision holds
    kit.check(lambda x: F.layer_norm(x, (512,)), x, tolerance=0.02)


def test_layers_that_a_version_has_replace_those_it_is_computed_by_else() -> None:
    program = kit.program_of(lambda x: (F.gelu(x), x.cumsum(1), F.group_norm(x, 3)), [X])
    namespace: dict[str, object] = {"__name__": "program"}
    exec(program.source, namespace)
    interfaces = {}
    for version in kit.VERSIONS:
        net = oracle.Network(oracle.Module(version), {"x0": X})
        namespace["build"](net.trt, net, program.weights)  # type: ignore[operator]
        interfaces[version] = {layer.interface for layer in net.layers}
    own = {"IActivationLayer", "ICumulativeLayer"}
    assert not own & interfaces["8.6.1"]
    assert {"IUnaryLayer", "IMatrixMultiplyLayer"} <= interfaces["8.6.1"]
    for version in kit.VERSIONS[1:]:
        assert own <= interfaces[version]
        assert "IUnaryLayer" not in interfaces[version]

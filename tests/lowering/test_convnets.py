"""The suites' own networks: lowered, computed by the interpreter at two precisions, and built by TensorRT-RTX."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.lowering import lower, oracle  # noqa: E402
from bench.system import userfile  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import run  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None
NETWORKS: dict[str, tuple[str, dict[str, Any]]] = {
    "efficientnet_b0": ("efficientnet_b0", {}),
    "centernet_resnet50": ("centernet_resnet50", {}),
    "centernet_dla34": ("centernet_dla34", {}),
    "centernet_dla34, deformable": ("centernet_dla34", {"deformable": True}),
}
COSINE = {"fp32": 0.99999, "fp16": 0.999}
# Beside the network without it, what deformable convolution adds is said once: lowering it takes as long as all others.
PRECISIONS = {"centernet_dla34, deformable": ("fp16",)}


def network(name: str) -> Any:
    factory, arguments = NETWORKS[name]
    zoo = userfile.execute(Path(__file__).parents[2] / "suites" / "zoo.py", "_suites_zoo")
    torch.manual_seed(0)
    return getattr(zoo, factory)(**arguments).eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_is_lowered_computes_the_same_and_builds(name: str, tmp_path: Path) -> None:
    model = network(name)
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        expected = model(x)
    expected = list(expected.values()) if isinstance(expected, dict) else [expected]
    for precision in PRECISIONS.get(name, tuple(COSINE)):
        dtype = {"fp32": torch.float32, "fp16": torch.float16}[precision]
        inputs = {"x": x.to(dtype)}
        program = kit.program(model.to(dtype), inputs, precision=precision)
        results = run(program, list(inputs.values()), oracle.LATEST, names=["x"])
        for result, value in zip(results, expected, strict=True):
            assert result.shape == value.shape
            same = torch.nn.functional.cosine_similarity(result.double().flatten(), value.double().flatten(), dim=0)
            assert same >= COSINE[precision], precision
    if HAS_RTX:
        from tests.lowering.test_rtx_builds import build

        assert build(program, tmp_path)


def test_the_detector_raises_its_maps_in_groups_that_can_be_dense() -> None:
    """The counts and sizes of docs/fx2trt.md."""
    model, inputs = network("centernet_dla34"), kit.example((1, 3, 64, 64))
    plain = kit.normalised(model, inputs)
    groups: list[list[int]] = []
    sizes: list[int] = []
    for graph in (lower.run_passes(plain), lower.run_passes(plain, dense_deconvolutions=True)):
        up = [node.kwargs for node in graph.graph.nodes if node.kwargs.get("transposed")]
        groups.append([kwargs["groups"] for kwargs in up])
        sizes.append(sum(graph.get_buffer(kwargs["weight"].target).half().nbytes for kwargs in up))
    assert (len(groups[0]), sum(groups[0]), groups[1]) == (8, 832, [1] * 8)
    assert sizes == [32_768, 4_194_304]
    with torch.no_grad():
        torch.testing.assert_close(
            graph(*inputs.values()), tuple(model(*inputs.values()).values()), rtol=1e-3, atol=1e-3
        )


@pytest.mark.parametrize("name", NETWORKS)
def test_activations_depend_on_the_image_and_neither_vanish_nor_explode(name: str) -> None:
    model = network(name)
    ranges: dict[str, tuple[float, float]] = {}
    for path, module in model.named_modules():
        if isinstance(module, torch.nn.BatchNorm2d | torch.nn.Conv2d | torch.nn.ConvTranspose2d):
            module.register_forward_hook(
                lambda _, __, y, path=path: ranges.update({path: (y.std().item(), (y[0] - y[1]).std().item())})
            )
    with torch.no_grad():
        model(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1)))
    assert len(ranges) > 50
    extreme = {path: each for path, each in ranges.items() if not 0.05 < each[0] < 20}
    assert not extreme
    same = {path: each for path, each in ranges.items() if each[1] < 0.02 * each[0]}
    assert not same

"""Programs in bfloat16, which NumPy lacks: their weights' file, what they compute, and what a builder makes of them."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from torch.nn import functional as F  # noqa: E402

from bench import tensors  # noqa: E402
from bench.lowering import codegen, standalone  # noqa: E402
from tests.lowering import kit as exports  # noqa: E402
from tests.lowering.converters import kit  # noqa: E402
from tests.lowering.modules import Net  # noqa: E402
from tests.lowering.oracle.kit import values  # noqa: E402

pytestmark = pytest.mark.torch
nn = torch.nn
VERSIONS = ("10.0.1", "10.16.1", "11.4.0")  # 8.6 has no such type
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None


def _bf16(*shape: int, seed: int = 0) -> torch.Tensor:
    return values("BF16", shape, seed)


FUNCTIONS: dict[str, tuple[Any, tuple[Any, ...], tuple[Any, ...]]] = {
    "convolutions": (
        lambda x, kernel, bias, up: F.conv_transpose2d(F.max_pool2d(F.conv2d(x, kernel, bias).relu(), 2), up),
        (_bf16(1, 3, 9, 9),),
        (0.2 * _bf16(4, 3, 2, 2, seed=1), _bf16(4, seed=2), 0.2 * _bf16(4, 2, 2, 2, seed=3)),
    ),
    "a convolution of one dimension": (
        lambda x, kernel: F.conv1d(x, kernel), (_bf16(1, 3, 9),), (0.2 * _bf16(4, 3, 2, seed=1),)
    ),
    "normalisation alone": (
        lambda x, scale, bias, mean, var: F.batch_norm(x, mean, var.abs() + 0.5, scale, bias),
        (_bf16(2, 3, 4, 4),), tuple(_bf16(3, seed=seed) for seed in range(1, 5)),
    ),
    "attention": (
        lambda x, kernel, scale, bias: F.gelu(
            F.scaled_dot_product_attention(*(F.layer_norm(F.linear(x, kernel), (8,), scale, bias)[:, None],) * 3)
        ),
        (_bf16(2, 5, 8),), (0.4 * _bf16(8, 8, seed=1), _bf16(8, seed=2), _bf16(8, seed=3)),
    ),
    "numbers": (
        lambda x: (torch.where(x > 0.1, x * 0.3, -1.7), x.clamp(-0.3, 0.7), F.pad(x, (1, 1), value=0.1), x.float()),
        (_bf16(2, 5),), (),
    ),
    "order and sums": (
        lambda x, table: (*x.topk(2), x.cumsum(1), F.rms_norm(x, (5,)), table[x.argmax(1)], F.softplus(x)),
        (_bf16(2, 5),), (_bf16(5, 3, seed=1),),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_program_computes_what_the_function_computes(name: str) -> None:
    function, inputs, weights = FUNCTIONS[name]
    program = kit.check(function, *inputs, weights=weights, versions=VERSIONS)
    assert 'PRECISION = "bf16"' in program.source
    assert "It needs TensorRT 10 or later" in program.source
    assert program.bfloat16 == set(program.weights)


def _linear() -> codegen.Program:
    return kit.program_of(lambda x, kernel, i: F.linear(x, kernel)[:, i], [_bf16(2, 8)],
                          [_bf16(4, 8, seed=1), torch.tensor([3, -1])])  # fmt: skip


def test_weights_are_stored_in_two_bytes_and_read_as_float32_of_the_same_values(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.torch")
    _linear().write(tmp_path)
    path = tmp_path / "weights.safetensors"
    (kernel,) = [name for name, value in safetensors.load_file(path).items() if value.dtype == torch.bfloat16]
    torch.testing.assert_close(safetensors.load_file(path)[kernel], _bf16(4, 8, seed=1), rtol=0, atol=0)
    ours, scripts = tensors.read(path), standalone.read_weights(path)
    assert ours.keys() == scripts.keys()
    assert ours[kernel].dtype == np.float32
    for name, array in ours.items():
        assert scripts[name].dtype == array.dtype
        np.testing.assert_array_equal(scripts[name], array)


def test_weights_that_an_edit_computes_are_rounded() -> None:
    program = _linear()
    kernel = next(iter(program.bfloat16))
    exact = {**program.weights, kernel: program.weights[kernel] * np.float32(1.001)}
    (result,) = kit.run(program._replace(weights=exact), [_bf16(2, 8)])
    rounded = torch.from_numpy(exact[kernel]).bfloat16()
    expected = F.linear(_bf16(2, 8).float(), rounded.float()).bfloat16()[:, [3, -1]]
    torch.testing.assert_close(result, expected, rtol=1e-2, atol=1e-2)


def test_a_version_without_the_type_says_so() -> None:
    with pytest.raises(ValueError, match=r"TensorRT 8\.6\.1 has no type bfloat16"):
        kit.run(_linear(), [_bf16(2, 8)], "8.6.1")


# ------------------------------------------------------------------------------------------- real exports, and builds


class Attention(nn.Module):
    """A block of a transformer over embeddings: ``ids`` [batch, seq] in, [batch, seq, 32] out."""

    def __init__(self) -> None:
        super().__init__()
        self.table = nn.Embedding(50, 32)
        self.layer = nn.TransformerEncoderLayer(32, 4, 64, activation="gelu", batch_first=True, norm_first=True)

    def forward(self, ids: Any) -> Any:
        return self.layer(self.table(ids))


def _convnet() -> nn.Module:
    return Net(
        lambda s, x: s.head(s.pool(s.up(s.norm(s.conv(x)).relu())).flatten(1)),
        conv=nn.Conv2d(3, 16, 3, 2, 1, bias=False), norm=nn.BatchNorm2d(16), up=nn.ConvTranspose2d(16, 8, 4, 2, 1),
        pool=nn.AdaptiveAvgPool2d(1), head=nn.Linear(8, 5),
    )  # fmt: skip


NETS: dict[str, tuple[Any, dict[str, Any]]] = {
    "convnet": (_convnet, {"x": _bf16(2, 3, 32, 32)}),
    "transformer": (Attention, {"ids": torch.arange(24).reshape(2, 12)}),
}


@pytest.mark.long
@pytest.mark.parametrize("name", NETS)
def test_a_network_computes_the_same_and_is_built_by_tensorrt_rtx(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    factory, inputs = NETS[name]
    model = factory().eval()
    with torch.no_grad():
        expected = model(*(each.float() if each.is_floating_point() else each for each in inputs.values()))
    program = exports.program(model.bfloat16(), inputs, precision="bf16")
    assert program.bfloat16
    (result,) = kit.run(program, list(inputs.values()), names=list(inputs))
    assert result.dtype == torch.bfloat16
    same = torch.nn.functional.cosine_similarity(result.double().flatten(), expected.double().flatten(), dim=0)
    assert same >= 0.999
    if HAS_RTX:
        from tests.lowering.test_rtx_builds import build

        assert build(program, tmp_path)


@pytest.mark.long
@pytest.mark.skipif(not HAS_RTX, reason="pip install tensorrt-rtx-cu13")
@pytest.mark.parametrize("name", FUNCTIONS)
def test_a_function_is_built_by_tensorrt_rtx(name: str, tmp_path: Path) -> None:
    from tests.lowering.test_rtx_builds import build

    function, inputs, weights = FUNCTIONS[name]
    assert build(kit.program_of(function, inputs, weights), tmp_path)

"""Networks filled by hand compute what the PyTorch model computes: their layers run one by one in torch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tests.modules import module_of

torch = pytest.importorskip("torch")

FILE = Path(__file__).parents[2] / "suites" / "networks.py"
pytestmark = pytest.mark.torch


def networks() -> Any:
    return module_of(FILE)


class Layer:
    """A layer whose output is computed when it is asked for, after its properties were set."""

    def __init__(self, compute: Any, **properties: Any) -> None:
        self.__dict__.update(properties, compute=compute)

    def get_output(self, index: int) -> Any:
        assert index == 0
        return self.compute(self)


class Executing:
    """An INetworkDefinition that computes; arguments by position, as the functions of suites give them."""

    def add_convolution_nd(self, x: Any, maps: int, size: tuple[int, int], kernel: Any, bias: Any) -> Layer:
        assert kernel.flags.c_contiguous
        assert kernel.shape[0] == maps
        assert tuple(kernel.shape[2:]) == tuple(size)
        run = torch.nn.functional.conv2d
        kernel, bias = torch.from_numpy(kernel), torch.from_numpy(bias)
        return Layer(lambda s: run(x, kernel, bias, s.stride_nd, s.padding_nd), stride_nd=1, padding_nd=0)

    def add_activation(self, x: Any, kind: str) -> Layer:
        return Layer(lambda s: getattr(torch, kind)(x))

    def add_elementwise(self, x: Any, y: Any, kind: str) -> Layer:
        assert x.shape == y.shape
        return Layer(lambda s: getattr(torch, kind)(x, y))

    def add_pooling_nd(self, x: Any, kind: str, size: tuple[int, int]) -> Layer:
        run = getattr(torch.nn.functional, kind)
        return Layer(lambda s: run(x, size, s.stride_nd, s.padding_nd))

    def add_reduce(self, x: Any, kind: str, axes: int, keep: bool) -> Layer:
        dims = [axis for axis in range(x.dim()) if axes >> axis & 1]
        return Layer(lambda s: getattr(torch, kind)(x, dims, keepdim=keep))

    def add_shuffle(self, x: Any) -> Layer:
        return Layer(lambda s: x.reshape([size or x.shape[i] for i, size in enumerate(s.reshape_dims)]))


TRT = SimpleNamespace(
    ActivationType=SimpleNamespace(RELU="relu"),
    ElementWiseOperation=SimpleNamespace(SUM="add"),
    PoolingType=SimpleNamespace(MAX="max_pool2d"),
    ReduceOperation=SimpleNamespace(AVG="mean"),
)


def block(before: int, width: int, after: int, stride: int, deep: bool) -> Any:
    """A residual block with the names that torchvision gives its parts."""
    nn = torch.nn
    sizes = (
        [(before, width, 1), (width, width, 3), (width, after, 1)] if deep else [(before, width, 3), (width, after, 3)]
    )
    strided = 1 if deep else 0

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            for i, (a, b, k) in enumerate(sizes):
                conv = nn.Conv2d(a, b, k, stride if i == strided else 1, k // 2, bias=False)
                self.add_module(f"conv{i + 1}", conv)
                self.add_module(f"bn{i + 1}", nn.BatchNorm2d(b))
            self.downsample = None
            if stride != 1 or before != after:
                self.downsample = nn.Sequential(nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after))

        def forward(self, x: Any) -> Any:
            y = x
            for i in range(1, len(sizes) + 1):
                y = getattr(self, f"bn{i}")(getattr(self, f"conv{i}")(y))
                y = torch.relu(y) if i < len(sizes) else y
            return torch.relu(y + (self.downsample(x) if self.downsample else x))

    return Block()


def small_resnet(deep: bool, counts: tuple[int, ...]) -> Any:
    """A ResNet of narrow layers: the same stem, stages and names as torchvision's."""
    nn, wide = torch.nn, 4 if deep else 1

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv1, self.bn1 = nn.Conv2d(3, 8, 7, 2, 3, bias=False), nn.BatchNorm2d(8)
            before = 8
            for stage, count in enumerate(counts, 1):
                width, blocks = 8 << (stage - 1), []
                for i in range(count):
                    blocks.append(block(before, width, width * wide, 2 if stage > 1 and i == 0 else 1, deep))
                    before = width * wide
                self.add_module(f"layer{stage}", nn.Sequential(*blocks))
            self.fc = nn.Linear(before, 5)

        def forward(self, x: Any) -> Any:
            x = nn.functional.max_pool2d(torch.relu(self.bn1(self.conv1(x))), 3, 2, 1)
            for stage in range(1, 5):
                x = getattr(self, f"layer{stage}")(x)
            return self.fc(x.mean((2, 3)))

    return Net()


@pytest.mark.parametrize(("deep", "counts"), [(False, (2, 1, 1, 1)), (True, (1, 11, 1, 1))])
def test_the_resnet_by_hand_computes_what_the_model_computes(deep: bool, counts: tuple[int, ...]) -> None:
    torch.manual_seed(0)
    model = small_resnet(deep, counts)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, torch.nn.BatchNorm2d):  # as after training: none of its four tensors is trivial
                for tensor in (module.weight, module.bias, module.running_mean):
                    tensor.normal_(0.5, 0.2)
                module.running_var.uniform_(0.5, 2)
        model.eval()
        x = torch.randn(2, 3, 64, 64)
        expected = model(x)
        weights = {name: tensor.numpy() for name, tensor in model.state_dict().items()}
        found = networks().resnet(Executing(), {"x": x}, weights, TRT)["output"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_the_resnet_by_hand_keeps_half_precision_weights_half() -> None:
    seen = []

    class Recording(Executing):
        def add_convolution_nd(self, x: Any, maps: int, size: tuple[int, int], kernel: Any, bias: Any) -> Layer:
            seen.append((kernel.dtype, bias.dtype))
            return super().add_convolution_nd(x, maps, size, kernel.astype(np.float32), bias.astype(np.float32))

    model = small_resnet(False, (1, 1, 1, 1)).eval()
    weights = {name: t.numpy().astype("float16") for name, t in model.state_dict().items() if t.is_floating_point()}
    networks().resnet(Recording(), {"x": torch.randn(1, 3, 64, 64)}, weights, TRT)
    assert set(seen) == {(np.dtype("float16"), np.dtype("float16"))}

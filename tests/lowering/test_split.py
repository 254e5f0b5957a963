"""Programs in parts compute what the model computes, with the interpreter in place of the engines."""

from __future__ import annotations

import ast
import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.errors import Unsupported  # noqa: E402
from bench.system import userfile  # noqa: E402
from tests.lowering import kit, split_kit  # noqa: E402
from tests.lowering.modules import Net  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
nn = torch.nn
F = nn.functional
SQUARE = (2, 4, 4)
inv = torch.linalg.inv


def well(x: Any) -> Any:
    """Matrices that can be inverted."""
    return x.sigmoid() + 4 * torch.eye(4)


def linear() -> nn.Module:
    return Net(lambda s, x: s.last(inv(well(s.first(x))).relu()), first=nn.Linear(4, 4), last=nn.Linear(4, 4))


# A name -> the module, the shapes of its inputs, and how many engines, operators in PyTorch and crossings it has.
CASES: dict[str, tuple[Callable[[], nn.Module], tuple[tuple[int, ...], ...], tuple[int, int, int]]] = {
    "in the middle": (linear, (SQUARE,), (2, 1, 2)),
    "first": (lambda: Net(lambda s, x: s.part(inv(x)).tanh(), part=nn.Linear(4, 4)), (SQUARE,), (1, 1, 1)),
    "last": (lambda: Net(lambda s, x: inv(well(s.part(x))), part=nn.Linear(4, 4)), (SQUARE,), (1, 1, 1)),
    "in both branches": (
        lambda: Net(
            lambda s, x: s.a(inv(well(x)).relu()) + s.b(inv(well(x.tanh())).exp()), a=nn.Linear(4, 4), b=nn.Linear(4, 4)
        ),
        (SQUARE,),
        (2, 2, 4),
    ),
    "in one branch": (
        lambda: Net(lambda s, x: s.a(x).relu() + inv(well(x)), a=nn.Linear(4, 4)), (SQUARE,), (2, 1, 2)
    ),
    "several results": (
        lambda: Net(lambda _, x: sum(part.abs().sum(-1).sum(-1) for part in torch.linalg.qr(well(x)))),
        (SQUARE,),
        (2, 1, 3),
    ),
    "an op whose second result is read": (
        lambda: Net(lambda _, x: F.max_pool1d(x.relu(), 2, return_indices=True)), ((2, 4, 8),), (2, 1, 3)
    ),
    "an argument without a layer": (
        lambda: Net(lambda _, x: F.max_pool2d(x.relu() + 1, 2, dilation=2).exp()), ((1, 2, 12, 12),), (2, 1, 2)
    ),
    "views at the ends": (
        lambda: Net(lambda _, x: inv(well(x).transpose(1, 2))[:, 1:].transpose(1, 2) * 2), (SQUARE,), (2, 1, 2)
    ),
    "an output from PyTorch that is read on": (
        lambda: Net(lambda _, x: {"inverse": (y := inv(well(x))), "double": y * 2, "x": x}), (SQUARE,), (2, 1, 2)
    ),
    "double precision": (lambda: Net(lambda _, x: (x.relu().double() * 2 + 1).float().tanh()), (SQUARE,), (2, 4, 2)),
    "integers at the ends": (
        lambda: Net(lambda _, x: (torch.bincount((x.abs() * 2).long().flatten(), minlength=4)[:4] * 2, x + 1)),
        (SQUARE,),
        (2, 2, 2),
    ),
    "a size that depends on data": (
        lambda: Net(lambda _, x: (x.tanh(), (x * 2).flatten().nonzero())), (SQUARE,), (1, 1, 1)
    ),
    "an input as two outputs": (
        lambda: Net(lambda _, x: {"a": x, "b": x, "c": torch.lgamma(x.relu() + 1).tanh()}), (SQUARE,), (2, 1, 2)
    ),
    "an input that is not read": (lambda: Net(lambda _, x, y: torch.lgamma(x.relu() + 1)), (SQUARE, (2, 3)), (1, 1, 1)),
    "constants in PyTorch": (
        lambda: Net(lambda s, x: inv(well(s.part.weight)) @ x.relu(), part=nn.Linear(4, 4)), (SQUARE,), (1, 1, 1)
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_parts_compute_what_the_model_computes(name: str, tmp_path: Path) -> None:
    make, shapes, counts = CASES[name]
    torch.manual_seed(0)
    module, inputs = make().eval(), kit.example(*shapes)
    parts = split_kit.parts(module, inputs)
    parts.write(tmp_path)
    split_kit.assert_computes(tmp_path, module, inputs)
    assert (parts.facts["engines"], parts.facts["fallback_nodes"], parts.facts["crossings"]) == counts


# -------------------------------------------------------------------------------------------------------- dynamic sizes

SEQUENCE = {0: "batch", 1: "seq"}
# Modules of [batch, seq, 4] and [batch, seq, 4].
DYNAMIC: dict[str, Callable[[], nn.Module]] = {
    "in the middle": lambda: Net(lambda s, x: s.part(roll(s.part(x))).relu() + x, part=nn.Linear(4, 4)),
    "sizes within an engine": lambda: Net(lambda _, x: roll(x.reshape(x.shape[0], -1)).reshape(x.shape).tanh()),
    "sizes in PyTorch": lambda: Net(lambda _, x: roll(x.relu(), x.shape[1] // 2 + 1).exp()),
    "a size that no input of the engine has": lambda: Net(
        lambda _, x: roll(x.flatten())[: 2 * 4].reshape(2, 4).exp() + torch.arange(x.shape[1]).sum()
    ),
    "twice the size": lambda: Net(lambda _, x: roll(torch.cat([x, x.relu()], 1)).reshape(x.shape[0], 2, -1).exp()),
}


def roll(x: Any, by: Any = 1) -> Any:
    """A sort, which has no converter and no decomposition, times a size."""
    return torch.msort(x) * by


@pytest.mark.parametrize("name", DYNAMIC)
def test_sizes_may_be_dynamic_across_the_ends_of_engines(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = DYNAMIC[name]().eval()
    dims = [{0: torch.export.Dim("batch", min=2, max=8), 1: torch.export.Dim("seq", min=2, max=16)}]
    profile = {"x": ((2, 2, 4), (3, 6, 4), (8, 16, 4))}
    parts = split_kit.parts(module, kit.example((3, 6, 4)), dims=dims, profile=profile)
    parts.write(tmp_path)
    assert parts.facts["fallback_nodes"] >= 1
    for shape in ((3, 6, 4), (2, 16, 4), (8, 2, 4)):
        split_kit.assert_computes(tmp_path, module, kit.example(shape))


# ------------------------------------------------------------------------------------------------------- what is told


def test_small_engines_stay_in_pytorch_with_what_they_lie_between(tmp_path: Path) -> None:
    module = Net(lambda s, x: s.last(inv(inv(well(s.first(x))) + 4)).relu().tanh().exp().sigmoid(),
                 first=nn.Linear(4, 4), last=nn.Linear(4, 4))  # fmt: skip
    parts = split_kit.parts(module, kit.example(SQUARE), min_block_size=4)
    assert (parts.facts["engines"], parts.facts["partitions"], parts.facts["fallback_nodes"]) == (1, 2, 6)
    parts.write(tmp_path)
    split_kit.assert_computes(tmp_path, module, kit.example(SQUARE))


def test_a_model_of_which_no_engine_is_left_is_refused() -> None:
    with pytest.raises(Unsupported, match=r"no engine is left .*linalg_inv_ex.default \(1x\)") as caught:
        split_kit.parts(linear(), kit.example(SQUARE), min_block_size=50)
    assert caught.value.fix == "min_block_size: 1"


@pytest.mark.parametrize("where", ["first", "last"])
def test_weights_that_are_nan_are_refused_in_engines_and_in_pytorch(where: str) -> None:
    module = Net(lambda s, x: torch.igamma(s.first(x).relu(), s.last.weight), first=nn.Linear(4, 4),
                 last=nn.Linear(4, 4))  # fmt: skip
    with torch.no_grad():
        getattr(module, where).weight[0, 0] = float("nan")
    with pytest.raises(Unsupported, match=rf"the weight '{where}.weight' has values that are no numbers"):
        split_kit.parts(module, kit.example(SQUARE))


def test_a_weight_that_is_nan_is_named_though_only_what_is_computed_of_it_is_left() -> None:
    module = Net(lambda s, x: x + s.part.weight.exp(), part=nn.Linear(4, 4))
    with torch.no_grad():
        module.part.weight[0, 0] = float("nan")
    with pytest.raises(Unsupported, match=r"the weight 'part.weight' has values that are no numbers"):
        split_kit.parts(module, kit.example(SQUARE))


def test_without_a_fallback_the_model_is_refused_as_before() -> None:
    with pytest.raises(Unsupported, match=r"no converter for 1 operator: aten.linalg_inv_ex.default \(1x"):
        kit.program(linear(), kit.example(SQUARE))


def test_the_source_reads_as_the_model_does_and_has_no_weights_of_engines(tmp_path: Path) -> None:
    module = Net(lambda s, x: inv(well(x)) @ s.part(x), part=nn.Linear(4, 4))
    parts = split_kit.parts(module, kit.example(SQUARE))
    ast.parse(parts.source)
    assert "torch.ops.aten.linalg_inv_ex.default(" in parts.source
    assert max(map(len, parts.source.splitlines())) <= 120
    assert not parts.weights
    parts.write(tmp_path)
    names = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert {"program.py", "weights.safetensors", "engine_0/program.py", "engine_0/weights.safetensors"} <= set(names)
    assert all(name.endswith((".py", ".safetensors")) for name in names)


# --------------------------------------------------------------------------------------------------------- TensorRT-RTX


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
@pytest.mark.parametrize("name", ["in both branches", "several results", "integers at the ends", "twice the size"])
def test_the_engines_build(name: str, tmp_path: Path) -> None:
    import tensorrt_rtx as trt

    options: dict[str, Any] = {}
    if name in DYNAMIC:
        module, inputs = DYNAMIC[name](), kit.example((3, 6, 4))
        options["dims"] = [{0: torch.export.Dim("batch", min=2, max=8), 1: torch.export.Dim("seq", min=2, max=16)}]
        options["profile"] = {"x": ((2, 2, 4), (3, 6, 4), (8, 16, 4))}
    else:
        module, inputs = CASES[name][0](), kit.example(*CASES[name][1])
    parts = split_kit.parts(module, inputs, **options)
    parts.write(tmp_path)
    program = userfile.execute(tmp_path / "program.py", "_tested_parts")
    plans = program.build_engines(trt, trt.Logger(trt.Logger.ERROR))
    assert list(plans) == list(parts.engines)
    assert all(plan.nbytes for plan in plans.values())

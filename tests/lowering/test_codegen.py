"""The source of programs: what a reader sees, and every refusal names its module."""

from __future__ import annotations

import ast
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.errors import Unsupported  # noqa: E402
from tests.lowering import kit, modules  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
nn = torch.nn


class Block(nn.Module):
    """Two linear layers with a sum around them."""

    def __init__(self) -> None:
        super().__init__()
        self.up, self.down = nn.Linear(8, 16), nn.Linear(16, 8)

    def forward(self, x: Any) -> Any:
        return x + self.down(self.up(x).relu())


class Net(nn.Module):
    """Two blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.ModuleList([Block(), Block()])

    def forward(self, x: Any) -> Any:
        for block in self.blocks:
            x = block(x)
        return {"hidden": x, "x": x.tanh()}


def test_a_program_reads_as_its_modules_do() -> None:
    program = kit.program(Net(), kit.example((2, 8)), precision="fp32")
    tree = ast.parse(program.source)
    assert set(program.weights) == {
        f"blocks.{block}.{layer}.{kind}" for block in (0, 1) for layer in ("up", "down") for kind in ("weight", "bias")
    }
    assert program.source.count("# blocks.0\n") >= 1
    assert 'p.out(layer, "blocks.1.up' in program.source or '"blocks.1.up' in program.source
    names = {target.id: ast.literal_eval(node.value) for node in tree.body if isinstance(node, ast.Assign)
             for target in node.targets if isinstance(target, ast.Name) and target.id.isupper()
             and not target.id.startswith("_")}  # fmt: skip
    assert names["INPUTS"] == {"x": ("float32", (2, 8))}
    assert names["OUTPUTS"] == {"hidden": "hidden", "x": "out.x"}  # an output may have an input's name
    assert names["PRECISION"] == "fp32"
    assert max(map(len, program.source.splitlines())) <= 120


def test_a_program_is_the_same_when_it_is_written_again() -> None:
    torch.manual_seed(3)
    net, inputs = Net(), kit.example((2, 8))
    assert kit.program(net, inputs).source == kit.program(net, inputs).source


class Unknown(nn.Module):
    """Operators that have no converter, in a module of a module."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = modules.Net(lambda _, x: torch.linalg.inv(x) @ torch.linalg.inv(x))

    def forward(self, x: Any) -> Any:
        return torch.fft.fft(self.inner(x)).real


def test_all_operators_without_a_converter_are_named_with_their_counts_and_modules() -> None:
    with pytest.raises(Unsupported, match=r"no converter for \d operators: .*linalg_inv.*\(2x in inner") as caught:
        kit.program(Unknown(), kit.example((4, 4)))
    assert "_fft" in caught.value.what
    assert "trtbench ops" in caught.value.fix
    assert "fallback: torch} leaves them to PyTorch" in caught.value.fix


def test_arguments_without_a_layer_are_refused_all_at_once_by_module() -> None:
    both = modules.Net(
        lambda s, x: (s.first(x), s.second(x)),
        first=nn.MaxPool2d(2, dilation=2),
        second=nn.AdaptiveAvgPool2d(5),
    )
    with pytest.raises(Unsupported, match=r"first: max pooling with .*\(modules\.py:\d+\); second: adaptive") as caught:
        kit.program(both, kit.example((1, 2, 12, 12)))
    assert "fallback: torch} leaves such operators to PyTorch" in caught.value.fix


def test_a_weight_that_is_nan_is_named() -> None:
    net = Net()
    with torch.no_grad():
        net.blocks[1].up.weight[0, 0] = float("nan")
    with pytest.raises(Unsupported, match=r"'blocks.1.up.weight' has values that are no numbers"):
        kit.program(net, kit.example((2, 8)))


def test_layers_have_names_of_their_own() -> None:
    linear = nn.Linear(8, 8)
    tied = modules.Net(lambda s, x: s.part(x) @ s.part.weight + s.part(x[0]), part=linear)
    source = kit.program(tied, kit.example((2, 8))).source
    names = [node.args[1].value for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)
             and isinstance(node.func, ast.Attribute) and node.func.attr in ("out", "constant")
             and len(node.args) > 1 and isinstance(node.args[1], ast.Constant)]  # fmt: skip
    assert len(names) > 4
    assert len(names) == len(set(names))


def test_an_unused_input_is_one_of_the_network_all_the_same() -> None:
    program = kit.program(modules.Net(lambda _, x, y: x + 1), kit.example((2, 8), (2, 3)))
    assert 'p.input("y", "float32", (2, 3))' in program.source


def test_modules_that_are_called_like_words_of_python_or_of_the_program() -> None:
    heads = nn.ModuleDict({"class": nn.Linear(8, 4), "class_": nn.Linear(8, 4)})
    net = modules.Net(
        lambda s, x: tuple(nn.functional.gelu(head(s.emit_gelu(x))) for head in s.heads.values()),
        heads=heads,
        emit_gelu=nn.Linear(8, 8),
    )
    inputs = kit.example((2, 8))
    program = kit.program(net, inputs)
    assert {"heads.class_.weight", "heads.class__.weight"} <= set(program.weights)
    assert '"heads.class"' in program.source
    assert '_emit_gelu_bias = p.constant(weights["emit_gelu.bias"]' in program.source
    assert "    emit_gelu = " not in program.source
    assert "gelu = emit_gelu(p, heads_class," in program.source
    kit.assert_computes(kit.normalised(net, inputs), net, inputs)

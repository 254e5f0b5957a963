"""The tensors of a lowered graph, and the same tensors of its program as the oracle computes them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import SuiteError
from bench.model.divergence import GRAPH, MARK, RUN, VALUES, Graph, MarkedRun
from bench.model.suite import Input
from tests.backends.kit import Bench

HERE = Path(__file__).parent
FX: Any = base.load("fx2trt")
pytestmark = pytest.mark.torch


@pytest.fixture
def zoo(tmp_path: Path) -> Bench:
    """Cases of the models that diverge."""
    (tmp_path / "zoo.py").write_text((HERE / "diverging.py").read_text())
    return Bench(root=tmp_path, suite_dir=tmp_path)


def case(zoo: Bench, name: str, **fields: Any) -> Any:
    inputs = {"x": Input(shape=("batch", 8))}
    return zoo.case("fx2trt", factory=f"zoo.py:{name}", inputs=inputs, symbols={"batch": 2}, precision="fp16", **fields)


def values(zoo: Bench, of: Any) -> tuple[Path, Graph]:
    out = zoo.folder()
    FX.produce(FX.values(of), of, zoo.context(of), out)
    return out, msgspec.json.decode((out / GRAPH).read_bytes(), type=Graph)


def run(zoo: Bench, of: Any, folder: Path, marks: tuple[str, ...]) -> tuple[MarkedRun, dict[str, tensors.Array]]:
    out = zoo.folder()
    FX.produce(FX.marked_stage(of, marks, "oracle"), of, zoo.context(of, {"values": folder}), out)
    return msgspec.json.decode((out / RUN).read_bytes(), type=MarkedRun), tensors.read(out / VALUES)


def test_every_floating_point_tensor_has_its_counterpart(zoo: Bench) -> None:
    of = case(zoo, "block")
    folder, graph = values(zoo, of)
    names = tuple(node.name for node in graph.nodes)
    marked, arrays = run(zoo, of, folder, (*names, "nothing"))
    assert marked.absent == ("nothing",)
    assert set(marked.types.values()) == {"float16"}  # the norm's own result too, which is computed in float32
    expected = tensors.read(folder / VALUES)
    assert set(expected) >= set(names)
    for name in names:
        np.testing.assert_allclose(arrays[MARK + name], expected[name], rtol=0.02, atol=0.02, err_msg=name)
    nodes = {node.name: node for node in graph.nodes}
    assert {(node.module, node.op) for node in nodes.values()} >= {("norm", "layer_norm"), ("up", "linear")}
    assert nodes[graph.outputs["y"]].op == "add"
    assert set(graph.outputs) == {"y", "best"}  # the places of the largest values are integers
    for node in nodes.values():
        assert all(names.index(name) < names.index(node.name) for name in node.inputs)


def test_a_weight_that_float16_does_not_hold(zoo: Bench) -> None:
    _, graph = values(zoo, case(zoo, "heavy"))
    assert graph.infinite == ("scale",)
    assert [node.op for node in graph.nodes if "scale" in node.weights] == ["mul"]


def test_a_program_without_a_prelude_has_no_names(zoo: Bench) -> None:
    of = case(zoo, "heavy")
    folder, _ = values(zoo, of)
    path = folder / "program.py"
    path.write_text(path.read_text().replace("Prelude", "Beginning"))
    with pytest.raises(SuiteError, match="no Prelude"):
        run(zoo, of, folder, ())


def edit(folder: Path, old: str, new: str) -> None:
    path = folder / "program.py"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


def test_nodes_have_the_number_of_terms_of_their_layers(zoo: Bench) -> None:
    _, graph = values(zoo, case(zoo, "block"))
    terms = {node.op: node.terms for node in graph.nodes if node.module in ("norm", "down") or node.op == "add"}
    assert terms == {"layer_norm": 8, "linear": 8, "add": 1}


def test_constants_with_nan_are_named(zoo: Bench) -> None:
    of = case(zoo, "cancels")
    folder, _ = values(zoo, of)
    assert run(zoo, of, folder, ())[0].nan_constants == ()
    edit(folder, "1000.0", 'float("nan")')
    marked, _ = run(zoo, of, folder, ("add",))
    assert marked.nan_constants
    assert all(name.startswith(("add", "sub")) for name in marked.nan_constants)


def test_outputs_that_a_program_lacks_or_renames(zoo: Bench) -> None:
    of = case(zoo, "has_nan")
    folder, _ = values(zoo, of)
    edit(folder, '"double", "float16")', '"twice", "float16")')
    with pytest.raises(
        SuiteError, match=r"does not mark the output 'double' and marks the output 'twice', which"
    ) as error:
        run(zoo, of, folder, ())
    assert error.value.fix == "p.output(tensor, 'double', dtype) at the end of build"
    edit(folder, '    p.output(mul_1, "twice", "float16")\n', "")
    with pytest.raises(SuiteError, match=r"program.py does not mark the output 'double'\n"):
        run(zoo, of, folder, ())

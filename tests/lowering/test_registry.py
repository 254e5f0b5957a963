"""The table of ops: each has a converter that says what it does, and takes the arguments of its operator."""

from __future__ import annotations

import ast
import importlib
import inspect
from pathlib import Path

import pytest

from bench.lowering import converters, prelude, registry, standalone


@pytest.mark.parametrize("name", registry.ops())
def test_a_converter_says_what_it_computes_and_has_arguments_by_keyword(name: str) -> None:
    op = registry.ops()[name]
    assert op.about.endswith((".", ";"))
    parameters = list(inspect.signature(op.convert).parameters.values())[1:]
    assert parameters
    assert all(each.kind is inspect.Parameter.KEYWORD_ONLY for each in parameters)


@pytest.mark.torch
@pytest.mark.parametrize("name", registry.ops())
def test_a_converter_takes_arguments_of_its_operator(name: str) -> None:
    torch = pytest.importorskip("torch")
    importlib.import_module("bench.lowering.quantize.operators")  # which registers the operators of trtbench itself
    op = registry.ops()[name]
    overload = torch.ops
    for part in op.aten.split("."):
        overload = getattr(overload, part)
    known = {"input" if each.name == "self" else each.name for each in overload._schema.arguments}
    own = {"transpose_input", "transpose_other"}  # which a pass sets of a matrix product
    assert set(list(inspect.signature(op.convert).parameters)[1:]) <= known | own


def test_no_file_of_converters_imports_torch() -> None:
    for path in Path(converters.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            assert not any(name.partition(".")[0] == "torch" for name in names), path


@pytest.mark.parametrize("module", [prelude, standalone])
def test_what_a_program_carries_imports_only_what_is_there(module: object) -> None:
    source = inspect.getsource(module)  # type: ignore[arg-type]
    body = source.partition("# program: begin\n")[2].partition("# program: end")[0]
    imports = [node for node in ast.walk(ast.parse(body)) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert all(isinstance(node, ast.ImportFrom) and node.module == "safetensors.numpy" for node in imports)


def test_an_operator_is_registered_once() -> None:
    with pytest.raises(ValueError, match="stands for relu already"):
        registry.variant("aten.relu.default", of="tanh")(lambda result: {})

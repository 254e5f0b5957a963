"""Models by import path, programs of torch.export and TorchScript, and arguments that are no tensors."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import BenchError, ModelError, SuiteError, Unavailable, Unsupported
from bench.model.suite import Case, Input
from bench.runtimes.torch import factories, session
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
X = {"x": Input(shape=(2, 8))}

PACKAGE = """
import torch

class Net(torch.nn.Module):
    def __init__(self, width=4):
        super().__init__()
        self.linear = torch.nn.Linear(8, width)

    @classmethod
    def small(cls):
        return cls(2)

    def forward(self, x, scale: int = 1, negate: bool = False, mode: str = "plain", mask=None):
        y = self.linear(x) * scale
        y = -y if negate else y
        return {"y": y.relu() if mode == "relu" else y}

NET = Net()
SIZE = 3

def fails():
    raise ValueError("no weights")
"""


class Plain(torch.nn.Module):  # type: ignore[misc]
    def __init__(self) -> None:
        super().__init__()
        self.linear = torch.nn.Linear(8, 4)

    def forward(self, x: torch.Tensor) -> dict[str, torch.Tensor]:
        y = self.linear(x)
        return {"scores": y, "shares": y.softmax(-1)}


class Scaled(torch.nn.Module):  # type: ignore[misc]
    def forward(self, input: torch.Tensor, *, other: torch.Tensor, factor: int = 1) -> dict[str, torch.Tensor]:
        return {"sum": (input + other) * factor}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Programs beside a suite, and a package on the search path."""
    path = tmp_path_factory.mktemp("programs")
    (path / "userpkg").mkdir()
    (path / "userpkg" / "__init__.py").touch()
    (path / "userpkg" / "models.py").write_text(PACKAGE)
    (path / "userpkg" / "needy.py").write_text("import package_that_is_nowhere")
    (path / "userpkg" / "broken.py").write_text("1 / 0")
    (path / "beside.py").write_text("def net(): ...")
    with session.own_warnings_filtered():
        _save_programs(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(path))
        yield path
    for name in [name for name in sys.modules if name.partition(".")[0] == "userpkg"]:
        del sys.modules[name]


def _save_programs(path: Path) -> None:
    torch.manual_seed(0)
    plain, x = Plain().eval(), torch.randn(2, 8)
    torch.jit.save(torch.jit.trace(plain, (x,), strict=False), str(path / "traced.pt"))
    torch.jit.save(torch.jit.script(plain), str(path / "scripted.ts"))
    torch.export.save(torch.export.export(plain, (x,)), str(path / "net.pt2"))
    keywords = {"other": torch.ones(2, 8), "factor": 3}
    torch.export.save(torch.export.export(Scaled(), (x,), keywords), str(path / "scaled.pt2"))
    torch.save(plain.state_dict(), path / "weights.pt")
    (path / "text.pt2").write_text("no archive")


@pytest.fixture
def own(folder: Path, tmp_path: Path) -> Bench:
    """Cases of the folder, with artifacts of their own."""
    return Bench(tmp_path, suite_dir=folder)


def build(own: Bench, factory: str, inputs: dict[str, Input] = X, **fields: Any) -> Any:
    case = own.case("eager", factory, inputs, source="suite.yaml:7", **fields)
    return factories.build_model(case, own.context(case), device="cpu")


@pytest.mark.parametrize(
    ("factory", "args", "width"),
    [("userpkg.models:Net", {"width": 6}, 6), ("userpkg.models:Net.small", {}, 2), ("torch.nn:Linear", None, 5)],
)
def test_whatever_can_be_imported_and_called_makes_a_model(
    own: Bench, factory: str, args: dict[str, Any] | None, width: int
) -> None:
    args = {"in_features": 8, "out_features": 5} if args is None else args
    first, second = build(own, factory, args=args), build(own, factory, args=args)
    weights = [list(model.parameters())[-1] for model in (first, second)]
    assert weights[0].shape == (width,)
    assert torch.equal(*weights)  # drawn under the seed
    assert not first.training


@pytest.mark.parametrize(
    ("factory", "kind", "what"),
    [
        ("userpkg.models:Nett", SuiteError, "userpkg.models has no 'Nett'. Did you mean 'Net'?"),
        ("userpkg.models:Net.large", SuiteError, "Net has no 'large'"),
        ("userpkg.models:NET", SuiteError, "is a module that was made at import"),
        ("userpkg.models:SIZE", SuiteError, "is a int, which cannot be called"),
        ("userpkg.models:fails", ModelError, "userpkg.models:fails raised ValueError: no weights (userpkg/"),
        ("userpkg.modles:Net", SuiteError, "no module 'userpkg.modles' in the package 'userpkg'"),
        (
            "userpkg.broken:Net",
            ModelError,
            "userpkg.broken cannot be imported: ZeroDivisionError: division by zero (userpkg/broken.py:1)",
        ),
        ("beside:net", SuiteError, "'beside' is no module, but a file beside the suite"),
        ("userpkg.needy:Net", Unavailable, "needs the module 'package_that_is_nowhere', which is not here"),
        ("package_that_is_nowhere.models:net", Unavailable, "no module 'package_that_is_nowhere' can be imported"),
        ("weights.pt", SuiteError, "but a checkpoint of torch.save"),
        ("text.pt2", SuiteError, "text.pt2 is no torch.export program"),
        ("none.pt2", SuiteError, "the model's file 'none.pt2' is not there"),
        ("none.onnx", SuiteError, "the model's file 'none.onnx' is not there"),
    ],
)
def test_what_makes_no_model_is_told_with_a_fix(
    own: Bench, folder: Path, monkeypatch: pytest.MonkeyPatch, factory: str, kind: type[BenchError], what: str
) -> None:
    if factory == "beside:net":  # workers do not have the suite's folder on their path
        monkeypatch.setattr(sys, "path", [path for path in sys.path if path != str(folder)])
    with pytest.raises(kind) as caught:
        build(own, factory)
    assert what in caught.value.what
    assert caught.value.fix
    assert "pip install" not in caught.value.fix  # a stranger's package may have the name of a module


def outputs_of(own: Bench, factory: str, backend: str, **fields: Any) -> dict[str, tensors.Array]:
    case = own.case(backend, factory, X, **fields)
    found = own.run(case)
    wanted = own.reference(case)
    assert list(found) == list(wanted)
    for name, array in wanted.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-4, atol=1e-5)
    return wanted


@pytest.mark.parametrize("backend", ["eager", "torchscript"])
@pytest.mark.parametrize("factory", ["traced.pt", "scripted.ts", "net.pt2"])
def test_a_program_runs_as_it_is_and_its_reference_is_its_own(own: Bench, factory: str, backend: str) -> None:
    wanted = outputs_of(own, factory, backend)
    torch.manual_seed(0)
    x = torch.from_numpy(tensors.seeded_inputs(X, 0)["x"])
    with torch.no_grad():
        for array, tensor in zip(wanted.values(), Plain().eval()(x).values(), strict=True):
            np.testing.assert_allclose(array, tensor.numpy(), rtol=1e-5, atol=1e-6)


def test_who_calls_a_torchscript_file_says_whose_interpreter_runs_it(own: Bench) -> None:
    with own.prepared(own.case("eager", "traced.pt", X)) as prepared:
        assert prepared.fairness()["program"] == "torchscript"


@pytest.mark.long
@pytest.mark.parametrize(
    ("factory", "backend", "options"),
    [
        ("net.pt2", "inductor", {}),
        ("net.pt2", "aoti", {}),
        ("net.pt2", "onnxruntime", {}),
        ("traced.pt", "onnxruntime", {"exporter": "legacy"}),
        ("scripted.ts", "onnxruntime", {"exporter": "legacy"}),
        ("userpkg.models:Net", "aoti", {}),
    ],
)
def test_a_program_is_compiled_and_exported_as_a_module_is(
    own: Bench, factory: str, backend: str, options: dict[str, Any]
) -> None:
    outputs_of(own, factory, backend, options=options)


@pytest.mark.parametrize(
    ("backend", "factory", "why"),
    [
        ("inductor", "traced.pt", "is a TorchScript program, which torch.compile leaves to TorchScript"),
        ("aoti", "scripted.ts", "is a TorchScript program, which torch.export does not take"),
        ("eager", "net.onnx", "is an ONNX file, of which PyTorch makes no module"),
        ("torchscript", "net.onnx", "is an ONNX file"),
        ("eager", "traced.pt", None),
        ("onnxruntime", "net.onnx", None),
    ],
)
def test_what_a_backend_cannot_take_is_left_out_of_the_plan(backend: str, factory: str, why: str | None) -> None:
    case = Case(model="m", factory=factory, inputs=X, backend=backend)
    reason = base.load(backend).unsupported(case, "cpu")
    assert (reason is None) if why is None else (why in (reason or ""))


def test_an_exported_program_takes_inputs_by_name_in_any_order_and_keeps_its_constants(own: Bench) -> None:
    inputs = {"other": Input(shape=(2, 8)), "input": Input(shape=(2, 8))}
    case = own.case("eager", "scaled.pt2", inputs, arguments={"factor": 3})
    arrays = tensors.seeded_inputs(inputs, 0)
    np.testing.assert_allclose(own.run(case)["sum"], (arrays["input"] + arrays["other"]) * 3, rtol=1e-5)


@pytest.mark.parametrize(
    ("inputs", "arguments", "what"),
    [
        ({"x": Input(shape=(2, 8))}, {}, "scaled.pt2 takes the inputs input, other, and the suite has x"),
        (None, {"factor": 2}, "was exported with factor=3, and the suite has 2"),
        (None, {"facter": 3}, "has no argument 'facter'. Did you mean 'factor'?"),
    ],
)
def test_a_suite_that_does_not_fit_an_exported_program_is_told(
    own: Bench, inputs: dict[str, Input] | None, arguments: dict[str, Any], what: str
) -> None:
    inputs = inputs or {"input": Input(shape=(2, 8)), "other": Input(shape=(2, 8))}
    with pytest.raises(SuiteError) as caught:
        build(own, "scaled.pt2", inputs, arguments=arguments)
    assert what in caught.value.what


def test_an_onnx_file_is_no_module(own: Bench, folder: Path) -> None:
    (folder / "net.onnx").touch()
    with pytest.raises(Unsupported, match="of which PyTorch makes no module"):
        build(own, "net.onnx")


ARGUMENTS = {"scale": 3, "negate": True, "mode": "relu", "mask": None}


@pytest.mark.parametrize(
    ("backend", "options"),
    [
        ("eager", {}),
        ("torchscript", {}),
        pytest.param("inductor", {}, marks=pytest.mark.long),
        pytest.param("aoti", {}, marks=pytest.mark.long),
        pytest.param("onnxruntime", {"exporter": "dynamo"}, marks=pytest.mark.long),
        pytest.param("onnxruntime", {"exporter": "legacy"}, marks=pytest.mark.long),
    ],
)
def test_arguments_that_are_no_tensors_reach_forward(own: Bench, backend: str, options: dict[str, Any]) -> None:
    factory = "userpkg.models:Net"
    (wanted,) = outputs_of(own, factory, backend, arguments=ARGUMENTS, options=options).values()
    (plain,) = own.run(own.case("eager", factory, X)).values()
    np.testing.assert_allclose(wanted, np.maximum(-3 * plain, 0), rtol=1e-4, atol=1e-5)

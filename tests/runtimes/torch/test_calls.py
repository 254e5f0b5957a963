"""Inputs by the names of parameters, and the precision that weights have."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch")

from bench.errors import UsageError  # noqa: E402 - needs torch
from bench.runtimes.torch import calls  # noqa: E402
from tests.runtimes.torch import modules, saved_zoo  # noqa: E402

X = torch.ones(4, 8)


@pytest.mark.parametrize(
    ("model", "inputs", "names"),
    [
        (modules.Plain(), X, ["x"]),
        (modules.scaled, [X, X], ["x", "by"]),
        (modules.scaled, {"by": X, "x": X}, ["by", "x"]),
        (saved_zoo.ByKeyword(), {"x": X}, ["x"]),
        (saved_zoo.decorated, X, ["x"]),
        (torch.relu, {"input": X}, ["input"]),
        ("net.py:make", {"anything": X}, ["anything"]),
    ],
)
def test_inputs_have_the_names_of_parameters(model: object, inputs: object, names: list[str]) -> None:
    assert list(calls.inputs_by_name(model, inputs)) == names


@pytest.mark.parametrize(
    ("model", "inputs", "message", "fix"),
    [
        (saved_zoo.Starred(), X, r"takes \*xs, inputs without names", "names its parameters"),
        (saved_zoo.Starred(), {"x": X}, "has no parameter 'x'", ""),
        (saved_zoo.ByKeyword(), X, "takes x by keyword", 'inputs={"x": ...}'),
        (saved_zoo.ByPosition(), {"x": X}, "takes x by position only", "remove the /"),
        (saved_zoo.Bare(), X, "Bare has no forward", "define forward"),
        (saved_zoo.unnamed, X, "wrapped by a function that takes no inputs by name", "pass **keywords on"),
        (torch.relu, X, "relu is built in and names no parameters", 'inputs={"input": ...}'),
        (modules.scaled, {"x": X}, "inputs lack by, which scaled needs", 'inputs={"by": ...}'),
        (modules.scaled, X, "inputs lack by", 'inputs={"by": ...}'),
        (modules.Plain(), {"y": X}, "has no parameter 'y'", "name the inputs x"),
        (modules.Plain(), {"a b": X}, "the key 'a b' of inputs", 'inputs={"x": ...}'),
        (modules.Plain(), {1: X}, "the key 1 of inputs", 'inputs={"x": ...}'),
        ("net.py:make", {"class": X}, "the key 'class' of inputs", 'inputs={"x": ...}'),
        ("net.py:make", X, "inputs of a factory need names", 'inputs={"x": ...}'),
    ],
)
def test_inputs_that_a_model_cannot_be_called_with_are_refused(
    model: object, inputs: object, message: str, fix: str
) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        calls.inputs_by_name(model, inputs)
    assert fix in caught.value.fix


@pytest.mark.parametrize(
    ("model", "precision"),
    [
        (modules.Plain(), "fp32"),
        (modules.Plain().half(), "fp16"),
        (modules.Plain().bfloat16(), "bf16"),
        (saved_zoo.Holder(layer=torch.nn.Identity(), ids=torch.arange(3)), "fp32"),
        (saved_zoo.Buffers(wide=torch.ones(2, dtype=torch.float64)), "fp32"),
        (modules.doubled, "fp32"),
        ("torchvision:resnet50", "fp32"),
    ],
)
def test_the_precision_is_that_of_the_weights(model: object, precision: str) -> None:
    assert calls.precision_of(model) == precision


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (saved_zoo.Buffers(narrow=torch.ones(2).half()), r"float32 \(layer.weight\) and float16 \(narrow\)"),
        (modules.Plain().double(), "the weights are float64"),
    ],
)
def test_weights_of_several_kinds_need_a_choice(model: object, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        calls.precision_of(model)
    assert 'pass precision="fp32"' in caught.value.fix

"""Inputs by the names of parameters, and the precision that weights have."""

from __future__ import annotations

import inspect
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest

import bench

torch = pytest.importorskip("torch")

from bench.errors import SuiteError, Unsupported, UsageError  # noqa: E402 - needs torch
from bench.model.suite import Case, Input  # noqa: E402
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
        (saved_zoo.Masked(), {"x": X, "mas": X, "mask": X}, ["x", "mas", "mask"]),
        (saved_zoo.Masked(), {"x": X, "labels": X}, ["x", "labels"]),
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
        (saved_zoo.Masked(), {"x": X, "mas": X}, "has no parameter 'mas'. Did you mean 'mask'", "rename it, or"),
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


class _Any(torch.nn.Module):
    """Takes whatever keyword, and complains of what it lacks, as models of transformers do."""

    def forward(self, input_ids: torch.Tensor | None = None, **more: object) -> torch.Tensor:
        if input_ids is None:
            raise ValueError("input_ids are needed")
        return input_ids


def _call(model: torch.nn.Module, *inputs: str, **arguments: Any) -> None:
    """Call a model as a case with these inputs and arguments does."""
    specs = {name: Input(shape=(4, 8)) for name in inputs}
    case = Case(model="net", factory="net.py:make", inputs=specs, arguments=arguments, backend="x", source="s.yaml:9")
    with calls.names_checked(model, case):
        model(**dict.fromkeys(inputs, X), **arguments)


@pytest.mark.parametrize(
    ("model", "inputs", "arguments", "message", "fix"),
    [
        (modules.Plain(), ["X"], {}, "Plain.forward has no parameter 'X', which is an input of the suite", "meters: x"),
        (_Any(), ["input_id"], {}, "'input_id', which is an input of the suite. Did you mean 'input_ids'", "input_ids"),
        (saved_zoo.ByKeyword(), [], {}, "the suite has no input 'x', which ByKeyword.forward needs", "meters: x"),
        (saved_zoo.ByPosition(), ["x"], {}, "ByPosition.forward takes x by position only", "remove the /"),
        (modules.Plain(), ["x"], {"fast": True}, "no parameter 'fast', which is an argument of the suite", "meters: x"),
    ],
)
def test_a_call_with_inputs_of_other_names_is_the_suites_fault(
    model: torch.nn.Module, inputs: list[str], arguments: dict[str, bool], message: str, fix: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        _call(model, *inputs, **arguments)
    assert message in caught.value.what
    assert fix in caught.value.fix
    assert caught.value.where == "s.yaml: models.net.inputs"


@pytest.mark.parametrize(
    ("inputs", "arguments", "name", "close", "default"),
    [
        (["x", "mas"], {}, "'mas', which is an input of the suite", "'mask'", "mask: null"),
        (["x"], {"use_cach": False}, "'use_cach', which is an argument of the suite", "'use_cache'", "use_cache: true"),
    ],
)
def test_a_misspelt_name_is_refused_though_a_model_would_take_it(
    inputs: list[str], arguments: dict[str, bool], name: str, close: str, default: str
) -> None:
    with pytest.raises(SuiteError) as caught:
        _call(saved_zoo.Masked(), *inputs, **arguments)
    assert caught.value.what == f"Masked.forward has no parameter {name}. Did you mean {close}?"
    assert f"add `{default}` to its `arguments`" in caught.value.fix


class _Scaled(torch.nn.Module):
    """Passes what it does not name itself on to a function that must not be given anything else."""

    def __init__(self, default: object) -> None:
        super().__init__()

        def forward(image: torch.Tensor, scale: object = default, **more: torch.Tensor) -> torch.Tensor:
            if scale is not default and scale != default:
                raise TypeError(f"scale is {scale!r}")
            return image * more["scales"]

        self.forward = forward


@pytest.mark.parametrize("default", [1.0, 1e-5, 1e22, -3, True, None, "", "on", "1", 'a "b": \\ {c}\n', "\U0001f600é"])
def test_a_name_that_is_no_misspelling_is_taken_as_the_fix_says(tmp_path: Path, default: object) -> None:
    with pytest.raises(SuiteError) as caught:
        _call(_Scaled(default), "image", "scales")
    fix = re.fullmatch(r"rename it; if .* take 'scales', add `(scale: .*)` to its `arguments`", caught.value.fix)
    assert fix is not None
    suite = tmp_path / "s.yaml"
    suite.write_text(
        "schema: 1\nname: s\nmodels:\n  net:\n    factory: zoo.py:net\n"
        "    inputs: {image: {shape: [4, 8]}, scales: {shape: [4, 8]}}\n"
        f"    arguments:\n      {fix[1]}\nmatrix: {{backend: eager}}\n",
        encoding="utf-8",
    )
    arguments = bench.load(suite).models["net"].arguments
    assert [type(value) for value in arguments.values()] == [type(default)]
    _call(_Scaled(default), "image", "scales", **arguments)


@pytest.mark.parametrize("default", [(1, 2), float("inf"), 1 << 63, torch.float16, inspect.Parameter.empty])
def test_a_default_that_no_suite_can_have_is_not_in_the_fix(default: object) -> None:
    with pytest.raises(SuiteError, match=r"has no parameter 'scales'.* Did you mean 'scale'") as caught:
        _call(_Scaled(default), "image", "scales")
    assert caught.value.fix.startswith("rename it, or have the factory return a module whose forward names 'scales'")


def test_after_an_error_of_a_call_no_name_that_is_passed_is_guessed() -> None:
    with pytest.raises(TypeError, match="scale is None"):
        _call(_Scaled(1.0), "image", "scales", scale=None)


def test_other_names_that_a_model_takes_by_any_keyword_pass() -> None:
    _call(saved_zoo.Masked(), "x", "mas", mask=False)
    _call(saved_zoo.Masked(), "x", "labels", fast=True)
    hooked = saved_zoo.Masked()
    hooked.register_forward_pre_hook(lambda module, args, kwargs: (args, kwargs), with_kwargs=True)
    _call(hooked, "x", "mas")


def test_the_keywords_of_transformers_pass_and_misspelt_ones_do_not() -> None:
    transformers = pytest.importorskip("transformers")
    sizes = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    bert = transformers.BertConfig(**sizes, intermediate_size=16)
    for model in (transformers.GPT2LMHeadModel(transformers.GPT2Config(**sizes)), transformers.BertModel(bert)):
        ids = torch.ones(1, 4, dtype=torch.int64)
        more = {"use_cache": False, "return_dict": False, "output_attentions": False, "output_hidden_states": True}
        case = Case(model="net", factory="x:y", inputs={"input_ids": Input(shape=(1, 4))}, backend="x", arguments=more)
        with calls.names_checked(model, case):
            model(ids, **more)
        for inputs in (["inputs_embeds"], ["input_ids", "attention_mask", "position_ids", "labels", "cache_position"]):
            case = msgspec.structs.replace(case, inputs=dict.fromkeys(inputs, Input(shape=(1, 4))))
            with calls.names_checked(model, case):
                pass
        for wrong, right in {"use_cach": "use_cache", "atention_mask": "attention_mask"}.items():
            case = msgspec.structs.replace(case, arguments={wrong: False}, inputs={})
            with pytest.raises(SuiteError, match=f"Did you mean '{right}'"), calls.names_checked(model, case):
                pass


def test_what_a_model_may_take_is_not_refused() -> None:
    with pytest.raises(ValueError, match="input_ids are needed"):
        _call(_Any(), "pixels")


@pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated:DeprecationWarning")
def test_a_scripted_model_is_called_as_it_is() -> None:
    scripted = torch.jit.script(modules.Plain())
    _call(scripted, "x")
    with pytest.raises(RuntimeError, match="argument"):
        _call(scripted, "X")


def test_an_error_that_is_not_of_the_call_passes() -> None:
    case = Case(model="net", factory="net.py:make", inputs={"y": Input(shape=(4,))}, backend="eager", source="s.yaml:9")
    for error in (RuntimeError("no kernel"), Unsupported("told already")):
        with pytest.raises(type(error)), calls.names_checked(modules.Plain(), case):
            raise error

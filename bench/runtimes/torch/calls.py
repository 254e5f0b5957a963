"""How a model is called: its inputs by the names of the parameters, and the precision that its weights have."""

from __future__ import annotations

import contextlib
import inspect
import json
import keyword
import math
from collections.abc import Container, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, SuiteError, UsageError, did_you_mean
from bench.model.suite import Case
from bench.runtimes.spelling import misspelt_from

if TYPE_CHECKING:
    import torch

_PRECISIONS = {"float32": "fp32", "float16": "fp16", "bfloat16": "bf16"}
_SHOWN = 6  # parameters that an error lists
_MAX_INT = 2**63  # what a suite can have
_NO_SLASH = "remove the / from its signature, or give a module that calls it"
_BY_NAME = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)


def inputs_by_name(model: Any, inputs: Any) -> dict[str, Any]:
    """The inputs by the names of the parameters, as a model is called: ``model(**inputs)``.

    ``model`` is a module, a function or the name of a factory, which needs a mapping. UsageError if they do not fit.
    """
    if isinstance(inputs, Mapping):
        for name in inputs:
            if not isinstance(name, str) or not name.isidentifier() or keyword.iskeyword(name):
                what = f"the key {name!r} of inputs cannot be the name of a parameter"
                raise UsageError(what, fix='inputs={"x": ...}, by the parameters of forward')
        named = dict(inputs)
    elif isinstance(model, str):
        raise UsageError("inputs of a factory need names", fix='inputs={"x": ...}, by the parameters of forward')
    else:
        named = _in_order(model, list(inputs) if isinstance(inputs, tuple | list) else [inputs])
    if not isinstance(model, str):
        _check_names(model, named)
    return named


def _in_order(model: Any, values: list[Any]) -> dict[str, Any]:
    title, parameters = _title(model), _parameters(model)
    if parameters is None:
        raise UsageError(f"{title} is built in and names no parameters", fix='inputs={"input": ...}, by their names')
    names = [name for name, each in parameters.items() if each.kind is inspect.Parameter.POSITIONAL_OR_KEYWORD]
    if len(values) <= len(names):
        return dict(zip(names, values, strict=False))
    starred = next((name for name, each in parameters.items() if each.kind is inspect.Parameter.VAR_POSITIONAL), None)
    if starred is not None:
        what = f"{title} takes *{starred}, inputs without names, and inputs are passed by name"
        raise UsageError(what, fix="give a module whose forward names its parameters, and calls this one")
    by_keyword = [name for name, each in parameters.items() if each.kind is inspect.Parameter.KEYWORD_ONLY]
    if by_keyword:
        what = f"{title} takes {', '.join(by_keyword)} by keyword"
        raise UsageError(what, fix=f'inputs={{"{by_keyword[0]}": ...}}')
    what = f"{len(values)} inputs for {len(names)} parameters ({', '.join(names)}) of {title}"
    raise UsageError(what, fix='inputs={"name": ...}')


def _check_names(model: Any, named: Mapping[str, Any]) -> None:
    """UsageError if ``model(**named)`` cannot be called."""
    parameters = _parameters(model)
    if parameters is None:
        return
    title = _title(model)
    kinds = {each.kind for each in parameters.values()}
    if by_position := _by_position(title, parameters):
        raise UsageError(by_position, fix=_NO_SLASH)
    names = _names(parameters)
    for name in named:
        if name not in names and inspect.Parameter.VAR_KEYWORD not in kinds:
            what = f"{title} has no parameter {name!r}.{did_you_mean(name, names)}"
            raise UsageError(what, fix=f"name the inputs {', '.join(names)}" if names else "")
        if close := _misspelt(parameters, name, named):
            what = f"{title} has no parameter {name!r}. Did you mean {close!r}?"
            raise UsageError(what, fix=f"rename it, or give a module whose forward names {name!r} itself")
    missing = [n for n in names if n not in named and parameters[n].default is inspect.Parameter.empty]
    if missing:
        raise UsageError(
            f"inputs lack {', '.join(missing)}, which {title} needs", fix=f'inputs={{"{missing[0]}": ...}}'
        )
    try:
        inspect.signature(_function(model), follow_wrapped=False).bind(**named)
    except TypeError as error:
        what = f"{title} is wrapped by a function that takes no inputs by name: {error}"
        raise UsageError(what, fix="pass **keywords on in the wrapper") from error


@contextlib.contextmanager
def names_checked(model: torch.nn.Module, case: Case, where: str = "") -> Iterator[None]:
    """SuiteError in place of what the block raises, if ``model``, which it calls, has no parameters of the names of the
    case's inputs, or requires more. ``where`` is the place of the model's inputs in the suite.

    Other names are looked at after an error of a call alone: hooks and wrappers may take what the signature does not
    show. Only a misspelling of a parameter that would keep its default is refused before, as ``**kwargs`` takes it
    without a word.
    """
    suite = case.source.rpartition(":")[0]
    place = where or f"{suite}: models.{case.model}.inputs".removeprefix(": ")
    if problem := _swallowed(model, case):
        what, fix = problem
        raise SuiteError(what, where=place, fix=fix)
    try:
        yield
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        # Dynamo has exceptions of its own for what the code that it traces raises.
        is_of_call = isinstance(error, TypeError | ValueError) or "dynamo" in type(error).__module__
        problem = _problem(model, case) if is_of_call else None
        if problem is None:
            raise
        what, fix = problem
        raise SuiteError(what, where=place, fix=fix) from error


def own_module(model: torch.nn.Module) -> torch.nn.Module:
    """The user's module, which ``models.load_model`` may have wrapped to pass arguments or for autocast."""
    while getattr(model, "passes_inputs_on", False):
        model = model.model
    return model


def _swallowed(model: torch.nn.Module, case: Case) -> tuple[str, str] | None:
    """What ``**kwargs`` of the forward would take though it is misspelt, and the fix; None where nothing is."""
    if getattr(model, "_forward_pre_hooks_with_kwargs", None):  # they may rename it
        return None
    parameters = _parameters(model) or {}
    for kind, several in (("input", case.inputs), ("argument", case.arguments)):
        for name in several:
            if close := _misspelt(parameters, name, {*case.inputs, *case.arguments}):
                what = f"{_title(model)} has no parameter {name!r}, which is an {kind} of the suite."
                default = _in_a_suite(parameters[close].default)
                fix = f"rename it, or have the factory return a module whose forward names {name!r} itself"
                if default is not None:
                    fix = f"rename it; if the model does take {name!r}, add `{close}: {default}` to its `arguments`"
                return f"{what} Did you mean {close!r}?", fix
    return None


def _in_a_suite(value: Any) -> str | None:
    """A value as `arguments` of a suite have it; None for one that these cannot have."""
    is_int = type(value) is int and -_MAX_INT <= value < _MAX_INT
    is_float = type(value) is float and math.isfinite(value)
    if value is None or type(value) in (bool, str) or is_int or is_float:
        return json.dumps(value, ensure_ascii=False)  # YAML has no pairs of surrogates
    return None


def _misspelt(parameters: Mapping[str, inspect.Parameter], name: str, passed: Container[str]) -> str | None:
    """The parameter that a name which ``**kwargs`` takes is misspelt from, if it is not ``passed`` itself."""
    if name in parameters or all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in parameters.values()):
        return None
    return misspelt_from(name, [each for each in _names(parameters) if each not in passed])


def _problem(model: torch.nn.Module, case: Case) -> tuple[str, str] | None:
    """What is wrong with the names of a case's inputs, or of its arguments, and the fix; None where nothing is seen.

    A forward that takes any keyword tells only of those that are close to a name of its own.
    """
    parameters = _parameters(model)
    if parameters is None:
        return None
    title, names = _title(model), _names(parameters)
    if by_position := _by_position(title, parameters):
        return by_position, _NO_SLASH
    listed = ", ".join(names[:_SHOWN]) + (f" (and {len(names) - _SHOWN} more)" if len(names) > _SHOWN else "")
    fix = f"correct `inputs` of the model {case.model!r}"
    if names:
        fix = f"name the inputs of the model {case.model!r} as its parameters: {listed}"
    takes_any = any(each.kind is inspect.Parameter.VAR_KEYWORD for each in parameters.values())
    passed = {*case.inputs, *case.arguments}
    for kind, several in (("input", case.inputs), ("argument", case.arguments)):
        for name in several:
            guess = did_you_mean(name, [each for each in names if each not in passed])
            if name not in names and (guess or not takes_any):
                return f"{title} has no parameter {name!r}, which is an {kind} of the suite.{guess}", fix
    missing = [name for name in names if name not in passed and parameters[name].default is inspect.Parameter.empty]
    if missing:
        return f"the suite has no input {missing[0]!r}, which {title} needs", fix
    return None


def _by_position(title: str, parameters: Mapping[str, inspect.Parameter]) -> str:
    """What is wrong with parameters that can be passed by position only; empty if there are none."""
    names = [name for name, each in parameters.items() if each.kind is inspect.Parameter.POSITIONAL_ONLY]
    return f"{title} takes {', '.join(names)} by position only, and inputs are passed by name" if names else ""


def _names(parameters: Mapping[str, inspect.Parameter]) -> list[str]:
    """Those that can be passed by name."""
    return [name for name, each in parameters.items() if each.kind in _BY_NAME]


def _function(model: Any) -> Any:
    import torch

    return model.forward if isinstance(model, torch.nn.Module) else model


def _parameters(model: Any) -> Mapping[str, inspect.Parameter] | None:
    """The parameters of ``forward``, or of a function; None of one that is built in. UsageError without a forward."""
    import torch

    is_module = isinstance(model, torch.nn.Module)
    own = getattr(type(model), "forward", None)  # that of a ScriptModule's class cannot be read
    if is_module and own is torch.nn.Module.forward and "forward" not in vars(model):
        raise UsageError(f"{type(model).__name__} has no forward", fix="define forward(self, x) in its class")
    try:
        return inspect.signature(_function(model)).parameters
    except (ValueError, TypeError):
        return None


def _title(model: Any) -> str:
    function = _function(model)
    name = "__name__" if inspect.isbuiltin(function) else "__qualname__"
    return str(getattr(function, name, "") or type(model).__name__)


def precision_of(model: Any) -> str:
    """The precision of a module's floating-point weights and buffers: fp32 without any, and of a factory.

    UsageError if they are of several of fp32, fp16 and bf16, or all of a wider one: then the caller must choose.
    """
    import torch

    if not isinstance(model, torch.nn.Module):
        return "fp32"
    examples: dict[str, str] = {}
    for name, tensor in (*model.named_parameters(), *model.named_buffers()):
        if tensor.is_floating_point():
            examples.setdefault(str(tensor.dtype).removeprefix("torch."), name)
    precisions = [dtype for dtype in examples if dtype in _PRECISIONS]
    if len(precisions) == 1 or not examples:
        return _PRECISIONS[precisions[0]] if precisions else "fp32"
    if not precisions:
        what = f"the weights are {' and '.join(examples)}, which no precision stands for"
        raise UsageError(what, where="precision", fix='pass precision="fp32"')
    mixture = " and ".join(f"{dtype} ({examples[dtype]})" for dtype in precisions)
    what = f"the weights are of several kinds, {mixture}; a case converts them to one"
    raise UsageError(what, where="precision", fix=f'pass precision="{_PRECISIONS[precisions[0]]}", or another')

"""The section ``models`` of a suite: factories, inputs, arguments, and the limits of a model's own metric."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np

from bench import tensors
from bench.errors import SuiteError, did_you_mean
from bench.model.factory import LIBRARIES, NAMES, SUFFIXES, program_of
from bench.model.suite import Input, Limit, Model
from bench.suite.kinds import (
    ANYTHING,
    IDENTIFIER,
    WORD,
    Field,
    Kind,
    listing,
    named,
    number,
    one_of,
    record,
    text,
    whole,
)
from bench.suite.matrix import RESERVED, symbols_of
from bench.suite.yaml_marks import Node, expected, fail, mapping, sequence

DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
_FILE_FUNCTION = text(r"[^:\0]+\.py:[A-Za-z_]\w*", "zoo.py:centernet")
_DOTTED = r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*"
_PROGRAM = rf"[^:\0]+({'|'.join(map(re.escape, SUFFIXES))})"
_WEIGHTS = (".pth", ".ckpt", ".bin", ".safetensors")  # of checkpoints
_SIZE = whole()
_INPUTS = "inputs: {x: {shape: [batch, 3, 224, 224]}}"


# ---------------------------------------------------------------------------------------------------------- factories


def _factory(node: Node) -> str:
    value: str = text().read(node)
    source, colon, name = value.partition(":")
    if not colon and re.fullmatch(_PROGRAM, value):
        return value
    if source.endswith(".py"):
        # Whether the file and the function are there is found out where they are imported: in the worker.
        return str(_FILE_FUNCTION.read(node))
    if source in LIBRARIES:
        if not re.fullmatch(WORD, name):
            raise expected(node, f"{source}:NAME", "e.g. torchvision:resnet50")
        return value
    # One word close to a library's name is a slip: a package with a name of its own is not taken for one.
    guess = "" if "." in source else did_you_mean(source, LIBRARIES)
    if not guess and re.fullmatch(rf"{_DOTTED}:{_DOTTED}", value):
        return value
    if not colon and PurePosixPath(value).suffix in _WEIGHTS:
        fix = "a function in a file that builds the model and loads it: factory: zoo.py:model, args: {checkpoint: FILE}"
        raise fail(node, f"{value} holds weights, and no model", fix)
    sources = "torchvision:, timm:, transformers:, FILE.py: (beside the suite) or PACKAGE.MODULE:"
    fix = f"write one of {sources} and a name, e.g. torchvision:resnet50, or a file {', '.join(SUFFIXES)}"
    raise fail(node, f"unknown factory {value!r}.{guess}", fix)


_FACTORY = Kind(
    _factory,
    {
        "type": "string",
        "pattern": rf"^({'|'.join(LIBRARIES)}):{WORD}$|{_FILE_FUNCTION.schema['pattern']}"
        rf"|^(?!({'|'.join(LIBRARIES)}):){_DOTTED}:{_DOTTED}$|^{_PROGRAM}$",
    },
)


# ------------------------------------------------------------------------------------------------------------- inputs


def _dimension(node: Node) -> int | str:
    if not isinstance(node.value, str):
        return int(_SIZE.read(node))
    symbol: str = _SYMBOL.read(node)
    if symbol in RESERVED:
        raise fail(node, f"{symbol!r} cannot be a symbol: the word is taken", f"reserved: {', '.join(RESERVED)}")
    return symbol


_SYMBOL = text(IDENTIFIER, "batch (a symbol is one word)")
_DIMENSION = Kind(_dimension, {"anyOf": [_SIZE.schema, _SYMBOL.schema]})


def _span(node: Node) -> tuple[int, int]:
    ends = [whole(None).read(item) for item in sequence(node)]
    if len(ends) != 2 or not ends[0] < ends[1]:
        what = f"{node.key}: a range is [low, high) with low < high"
        raise fail(node, what, "e.g. [0, 100] for the integers 0 to 99")
    return ends[0], ends[1]


_SPAN = Kind(_span, {"type": "array", "items": whole(None).schema, "minItems": 2, "maxItems": 2})
_FILE = text(rf"[^\0]+({'|'.join(map(re.escape, tensors.FILES))})", "inputs.safetensors or images.npz")

INPUT = (
    Field(
        name="shape",
        kind=listing(_DIMENSION),
        description="the sizes: integers and symbols",
        required="shape: [batch, 3, 224, 224]",
    ),
    Field(name="dtype", kind=one_of(DTYPES, "dtype"), description=", ".join(DTYPES), default="float32"),
    Field(
        name="range",
        kind=_SPAN,
        description="for integers: `[low, high]`, with `high` excluded",
        otherwise="`[0, 2]`",
    ),
    Field(
        name="file",
        kind=_FILE,
        description="a `.safetensors`, `.npz` or `.npy` file beside the suite that has the values",
        otherwise="seeded random values",
    ),
    Field(
        name="array",
        kind=text(),
        description="the name of the array in `file`",
        otherwise="the name of the input",
    ),
)


def _input(values: dict[str, Any], node: Node) -> Input:
    dtype = values.get("dtype", "float32")
    if dtype == "float32":
        # Spelled out or not, the default is one value: msgspec omits it only if it is the same object, see Case.id.
        values.pop("dtype", None)
    entries = mapping(node)
    if "array" in values and "file" not in values:
        raise fail(entries["array"], f"{entries['array'].key}: there is no file that has it", "add `file: inputs.npz`")
    if "range" in values:
        place, (low, high) = entries["range"], values["range"]
        if "file" in values:
            raise fail(place, f"{place.key}: the values are those of {values['file']}", "remove it, or `file`")
        if not dtype.startswith(("int", "uint")):
            raise fail(place, f"{place.key}: a range is for integers, and the dtype is {dtype}", "remove it")
        limits = np.iinfo(dtype)
        if low < limits.min or high > int(limits.max) + 1:
            what = f"{place.key}: a range is [low, high) with low < high, within {dtype}"
            raise fail(place, what, "e.g. [0, 100] for the integers 0 to 99")
    return Input(**values)


_NAMED_INPUTS = named(record(INPUT, _input), example=_INPUTS)


def _inputs(node: Node) -> dict[str, Input]:
    """The inputs by name; where a file is named, those of its arrays, with their shapes and dtypes."""
    if not isinstance(node.value, str):
        inputs: dict[str, Input] = _NAMED_INPUTS.read(node)
        return inputs
    file: str = _FILE.read(node)
    try:
        arrays = tensors.describe(Path(node.document.path).parent / file)
    except SuiteError as error:
        raise fail(node, f"{file}: {error.what}", error.fix) from error
    if not arrays or "" in arrays:
        what = f"{file} has no array with a name, which would be that of an argument"
        raise fail(node, what, "save it as .npz or .safetensors, or `inputs: {x: {shape: ..., file: ...}}`")
    for name, spec in arrays.items():
        if 0 in spec.shape:
            raise fail(node, f"{file}: {name} is empty: {list(spec.shape)}", "an array with at least one element")
    # A default must stay the very same object, see Case.id.
    return {
        name: Input(shape=spec.shape, file=file)
        if spec.dtype == "float32"
        else Input(shape=spec.shape, dtype=spec.dtype, file=file)
        for name, spec in arrays.items()
    }


_INPUTS_KIND = Kind(_inputs, {"anyOf": [_NAMED_INPUTS.schema, _FILE.schema]})


# ------------------------------------------------------------------------------------------- arguments and limits


def _argument(node: Node) -> Any:
    if not (node.value is None or isinstance(node.value, bool | int | float | str)):
        raise expected(node, "true, false, a number, a text or null", "what is a tensor stands under `inputs`")
    return node.value


_ARGUMENTS = named(
    Kind(_argument, {"type": ["boolean", "number", "string", "null"]}), pattern=IDENTIFIER, noun="an argument"
)
_NUMBER = number(-1e300, 1e300)

LIMIT = (
    Field(name="min", kind=_NUMBER, description="the minimum", otherwise="not checked"),
    Field(name="max", kind=_NUMBER, description="the maximum", otherwise="not checked"),
)


def _limit(values: dict[str, Any], node: Node) -> Limit:
    if not values:
        raise fail(node, f"{node.key} limits nothing", "e.g. {min: 0.5}")
    limit = Limit(**values)
    if limit.min is not None and limit.max is not None and limit.min > limit.max:
        raise fail(node, f"{node.key}: min {limit.min:g} is above max {limit.max:g}")
    return limit


# -------------------------------------------------------------------------------------------------------------- models

MODEL = (
    Field(
        name="factory",
        kind=_FACTORY,
        description="`torchvision:NAME`, `timm:NAME`, `transformers:CLASS`, `FILE.py:FUNCTION` with the file beside "
        "the suite, `PACKAGE.MODULE:NAME` for all that can be imported, or a program beside the suite: `.pt2`, "
        "`.pt` or `.ts`, `.onnx`",
        required="factory: torchvision:resnet50",
    ),
    Field(
        name="inputs",
        kind=_INPUTS_KIND,
        description="the tensors of one call, by the name of the argument; or a `.safetensors` or `.npz` file that has "
        "all of them",
        required=_INPUTS,
    ),
    Field(
        name="args",
        kind=ANYTHING,
        description="keyword arguments of the factory, passed on as they are; if one names a file, e.g. a "
        "checkpoint, its contents are part of the case's identity",
        otherwise="none",
    ),
    Field(
        name="config",
        kind=ANYTHING,
        description="for transformers only: the configuration class under `transformers`, and its keyword arguments; "
        "one that the class does not have is an error",
        otherwise="none",
    ),
    Field(
        name="arguments",
        kind=_ARGUMENTS,
        description="keyword arguments of `forward` that are not tensors: booleans, numbers, strings, null",
        otherwise="none",
    ),
    Field(
        name="symbols",
        kind=named(_SIZE),
        description="sizes of symbols where the matrix does not name them",
        otherwise="none",
    ),
    Field(
        name="metric",
        kind=_FILE_FUNCTION,
        description="`FILE.py:FUNCTION`, a function `(outputs, reference) -> dict[str, float]` whose numbers are "
        "stored with the accuracy",
        otherwise="none",
    ),
    Field(
        name="limits",
        kind=named(record(LIMIT, _limit, noun="limit"), example="limits: {map50: {min: 0.5}}"),
        description="limits of the metric's numbers, by name; a case beyond them is not accurate",
        otherwise="not checked",
    ),
)


def read_model(values: dict[str, Any], node: Node) -> Model:
    """A model of its entries. SuiteError for entries that contradict each other."""
    model, entries = Model(**values), mapping(node)
    if "config" in entries and not model.factory.startswith("transformers:"):
        what = f"{entries['config'].key} is for transformers models; {model.factory} would not see it"
        raise fail(entries["config"], what, "what the factory takes stands under `args`")
    program = program_of(model.factory)
    if program is not None and model.args:
        what = f"{entries['args'].key}: {model.factory} is a program that exists already; nothing makes it"
        raise fail(entries["args"], what, "remove them; those of its call stand under `arguments`")
    if program == "onnx" and model.arguments:
        what = f"{entries['arguments'].key}: an {NAMES['onnx']} takes tensors only"
        raise fail(entries["arguments"], what, "remove them, or declare them as `inputs`")
    for name in model.arguments:
        if name in model.inputs:
            entry = mapping(entries["arguments"])[name]
            raise fail(entry, f"{name!r} is an input and an argument", "remove one of them")
    if model.limits and not model.metric:
        raise fail(entries["limits"], f"{entries['limits'].key}: there is no metric", "add `metric: zoo.py:function`")
    if "symbols" in entries:
        mapping(entries["symbols"], symbols_of(model), "symbol")
    return model

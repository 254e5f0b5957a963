"""The suite format as JSON Schema, for editors that complete and check while one types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from bench.model.seam import Runtime
from bench.model.suite import ASKABLE, PRECISIONS

VERSION = 1
DTYPES = ("float32", "float16", "bfloat16", "float64", "int64", "int32", "int16", "int8", "uint8", "bool")
LIBRARIES = ("torchvision", "timm", "transformers")
WORD = r"[A-Za-z0-9_][A-Za-z0-9_.+-]*"
SYMBOL = r"[A-Za-z_][A-Za-z0-9_]*"
VARIABLE = r"[A-Za-z_][A-Za-z0-9_]*"

_Schema = dict[str, Any]
_POSITIVE: _Schema = {"type": "integer", "minimum": 1}
# Editors that read YAML 1.2 take a bare on or off for text.
_SWITCH: _Schema = {"enum": [True, False, "on", "off"]}
_TIME: _Schema = {"type": "string", "description": "a time with a unit, e.g. 15s or 200 ms"}
_DIMENSION: _Schema = {"anyOf": [_POSITIVE, {"type": "string", "pattern": f"^{SYMBOL}$"}]}
_FILE_FUNCTION = r"^[^:]+\.py:[A-Za-z_]\w*$"
_RANGE: _Schema = {"type": "array", "items": {"type": "integer"}, "minItems": 2, "maxItems": 2}


def json_schema(registry: Mapping[str, Runtime] | None = None) -> _Schema:
    """JSON Schema (draft 2020-12) of a suite; with a registry also of the backends' names and options.

    It is a little wider than the loader, which also knows what refers to what.
    """
    definitions: _Schema = {}
    backend = _backend(registry, definitions) if registry else {"type": ["string", "object"]}
    axes = _axes(backend)
    entries = {"type": "array", "items": {"type": "object", "minProperties": 1, **axes}}
    matrix = {"include": entries, "exclude": entries}
    dynamic = _closed({"min": _POSITIVE, "opt": _POSITIVE, "max": _POSITIVE, "at": _several(_POSITIVE)}, "min opt max")
    limit = {"type": ["number", "null"]}
    threshold = _closed(dict.fromkeys(("cosine", "sqnr", "max_abs", "rel_l2"), limit))
    keys: _Schema = {
        "schema": {"const": VERSION},
        "name": {"type": "string", "pattern": f"^{WORD}$"},
        "device": {"enum": ["auto", "cpu", "cuda"]},
        "baseline": {"type": "string", "description": "the label of a backend of the matrix, e.g. eager"},
        "models": {**_map(_model()), "minProperties": 1},
        "matrix": {
            "type": "object",
            "required": ["backend"],
            "properties": axes["properties"] | matrix,
            "additionalProperties": axes["additionalProperties"],
        },
        "dynamic": _map(dynamic),
        "measure": _measure(),
        "accuracy": _closed(dict.fromkeys(PRECISIONS, threshold)),
        "toolchains": _toolchains(),
    }
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "trtbench suite",
        **_closed(keys, "schema models matrix"),
        "$defs": definitions,
    }


def toolchains_schema() -> _Schema:
    """JSON Schema of a ``toolchains.yaml``, which holds what a suite has under that name."""
    draft = "https://json-schema.org/draft/2020-12/schema"
    return {"$schema": draft, "title": "trtbench toolchains", **_toolchains()}


def _toolchains() -> _Schema:
    names = {"type": "object", "propertyNames": {"pattern": f"^{VARIABLE}$"}}
    env = {**names, "additionalProperties": {"type": ["string", "number"]}}
    python = {"type": "string", "description": "an interpreter: a path, relative to this file, or a command on PATH"}
    return _map(_closed({"python": python, "env": env}))


def _closed(properties: _Schema, needed: str = "") -> _Schema:
    return {"type": "object", "properties": properties, "required": needed.split(), "additionalProperties": False}


def _map(values: _Schema) -> _Schema:
    return {"type": "object", "additionalProperties": values}


def _several(value: _Schema) -> _Schema:
    return {"anyOf": [value, {"type": "array", "items": value, "minItems": 1}]}


def _axes(backend: _Schema) -> _Schema:
    """The axes as properties; any other key is a symbol."""
    values = {
        "model": {"type": "string"},
        "backend": backend,
        "precision": {"enum": list(PRECISIONS)},
        "cuda_graph": _SWITCH,
        "streams": _POSITIVE,
        "l2": {"enum": ["warm", "cold"]},
        "transfers": _SWITCH,
        "toolchain": {"type": "string"},
        "dynamic": _SWITCH,
    }
    return {
        "properties": {axis: _several(value) for axis, value in values.items()},
        "additionalProperties": _several(_POSITIVE),
    }


def _model() -> _Schema:
    shape = {"type": "array", "items": _DIMENSION}
    tensor = _closed({"shape": shape, "dtype": {"enum": list(DTYPES)}, "range": _RANGE}, "shape")
    factory = rf"^({'|'.join(LIBRARIES)}):{WORD}$|{_FILE_FUNCTION}"
    keys = {
        "factory": {"type": "string", "pattern": factory, "description": "torchvision:resnet50 or zoo.py:function"},
        "inputs": {**_map(tensor), "minProperties": 1},
        "args": {"type": "object", "description": "keyword arguments of the factory"},
        "config": {"type": "object", "description": "configuration of a transformers model"},
        "symbols": _map(_POSITIVE),
        "metric": {"type": "string", "pattern": _FILE_FUNCTION},
    }
    return _closed(keys, "factory inputs")


def _measure() -> _Schema:
    count = {"type": "integer", "minimum": 0}
    fraction = {"anyOf": [{"type": "string"}, {"type": "number", "exclusiveMinimum": 0, "exclusiveMaximum": 1}]}
    keys = {
        "boundaries": _several({"enum": list(ASKABLE)}),
        "target_ci": {**fraction, "description": "half-width of the interval of the median, e.g. 0.5%"},
        "min_samples": _POSITIVE,
        "max_samples": _POSITIVE,
        "max_time": _TIME,
        "warmup": _TIME,
        "warmup_calls": count,
        "warmup_limit": _TIME,
        "throughput_time": _TIME,
        "replicates": _POSITIVE,
        "builds": _POSITIVE,
        "energy": _TIME,
        "timeout": _TIME,
    }
    return _closed(keys)


def _backend(registry: Mapping[str, Runtime], definitions: _Schema) -> _Schema:
    """A name, or a mapping with ``name`` and that backend's options; nested types go to ``definitions``."""
    forms: list[_Schema] = [{"enum": list(registry)}]
    for name, runtime in registry.items():
        template = f"#/$defs/{name}.{{name}}"
        _, parts = msgspec.json.schema_components((runtime.options,), ref_template=template)
        options = parts.pop(runtime.options.__name__)
        definitions |= {f"{name}.{part}": schema for part, schema in parts.items()}
        properties = {"name": {"const": name}} | options["properties"]
        forms.append(_closed(properties, " ".join(["name", *options.get("required", [])])))
    return {"anyOf": forms}

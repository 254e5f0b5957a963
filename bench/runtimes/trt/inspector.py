"""Layers of an engine from the reports of TensorRT's inspector and profiler, in the formats of 8.6, 10 and 11."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from bench.model.profile import Layer, Tensor

Call = Sequence[tuple[str, int]]  # one profiled call: layers by name with their nanoseconds, in the profiler's order

# What a type is called inside a format ("Channel major FP16 format"), or alone ("Half"): the first that is found wins.
_DTYPES = {
    r"bfloat16|bf16": "bfloat16",
    r"fp16|half|float16": "float16",
    r"fp8|float8|e4m3": "float8_e4m3fn",
    r"fp4|float4|e2m1": "float4_e2m1fn",
    r"fp32|float": "float32",
    r"uint8": "uint8",
    r"int8": "int8",
    r"int4": "int4",
    r"int32": "int32",
    r"int64": "int64",
    r"bool": "bool",
}
_PRECISIONS = {
    "float32": "fp32",
    "float16": "fp16",
    "bfloat16": "bf16",
    "float8_e4m3fn": "fp8",
    "float4_e2m1fn": "fp4",
}
_ORIGIN = re.compile(r"\[ONNX Layer: ([^\]\x1e\x1f]*)\]")
# A layer of TensorRT's own copies, or a generated kernel of casts and nothing else.
_REFORMAT = re.compile(r"Reformatting CopyNode |__myl_(Cast)+(_|$)")


def read_report(api: Any, engine: Any, context: Any) -> Any:
    """The inspector's report of a whole engine, parsed; its text where that is no JSON.

    ``context`` must have its shapes set: without them the formats of dynamic tensors are not known.
    """
    inspector = engine.create_engine_inspector()
    inspector.execution_context = context
    text = inspector.get_engine_information(api.module.LayerInformationFormat.JSON)
    try:
        return json.loads(text, strict=False)  # names of nodes are separated by raw control characters
    except ValueError:
        return text


def parse_layers(report: Any) -> list[Layer]:
    """The layers of a report in the order in which they run, without times; names only from a terse engine."""
    entries = report.get("Layers") or () if isinstance(report, dict) else ()
    return [_layer(entry) if isinstance(entry, dict) else Layer(name=str(entry)) for entry in entries]


def with_times(layers: Iterable[Layer], calls: Sequence[Call]) -> tuple[Layer, ...]:
    """``layers`` with the times of all ``calls``. A layer of the profiler only follows its predecessor there.

    Layers of the same name are distinguished by their order.
    """
    times: dict[tuple[str, int], list[int]] = {}
    for call in calls:
        for place, (_, ns) in zip(_places(name for name, _ in call), call, strict=True):
            times.setdefault(place, []).append(ns)
    originals = list(layers)
    by_place = dict(zip(_places(layer.name for layer in originals), originals, strict=True))
    order = list(by_place)
    before = None
    for place in times:
        if place not in by_place:
            by_place[place] = Layer(name=place[0], reformat=bool(_REFORMAT.match(place[0])))
            order.insert(order.index(before) + 1 if before else 0, place)
        before = place
    return tuple(msgspec.structs.replace(by_place[place], ns=tuple(times.get(place, ()))) for place in order)


def precisions(layers: Iterable[Layer]) -> dict[str, int]:
    """How many layers compute in each precision, most first; reformats and constants compute nothing."""
    computing = (layer for layer in layers if not layer.reformat and layer.kind != "Constant")
    return dict(Counter(layer.precision for layer in computing if layer.precision).most_common())


def _places(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with how often it came before."""
    counts: Counter[str] = Counter()
    places = []
    for name in names:
        places.append((name, counts[name]))
        counts[name] += 1
    return places


def _layer(entry: dict[str, Any]) -> Layer:
    name, kind = str(entry.get("Name", "")), str(entry.get("LayerType", ""))
    inputs, outputs = (tuple(_tensor(each) for each in entry.get(side) or ()) for side in ("Inputs", "Outputs"))
    tactic = str(entry.get("TacticName") or entry.get("TacticValue") or "")
    return Layer(
        name=name,
        kind=kind,
        precision=_precision(entry, outputs, tactic),
        tactic="" if re.fullmatch(r"0x0*", tactic) else tactic,
        inputs=inputs,
        outputs=outputs,
        origin=tuple(_ORIGIN.findall(str(entry.get("Metadata") or ""))),
        reformat="Reformat" in (kind, entry.get("ParameterType")) or bool(_REFORMAT.match(name)),
    )


def _tensor(entry: dict[str, Any]) -> Tensor:
    """Up to 10 one text has both type and layout; 11 has a key for each."""
    both = str(entry.get("Format/Datatype") or entry.get("Format/DataType") or "")
    return Tensor(
        name=str(entry.get("Name", "")),
        shape=tuple(int(size) for size in entry.get("Dimensions") or ()),
        dtype=_dtype(str(entry.get("DataType") or entry.get("Datatype") or both)),
        format=both or str(entry.get("Format") or ""),
    )


def _dtype(text: str) -> str:
    return next((name for pattern, name in _DTYPES.items() if re.search(pattern, text, re.IGNORECASE)), "")


def _precision(entry: dict[str, Any], outputs: Sequence[Tensor], tactic: str) -> str:
    """The type of the weights where a layer has some, else of its first output; TF32 shows in a kernel's name only."""
    weights = entry.get("Weights")
    weight_dtype = _dtype(str(weights.get("Type"))) if isinstance(weights, dict) and weights.get("Count") else ""
    dtype = weight_dtype or next((tensor.dtype for tensor in outputs if tensor.dtype), "")
    precision = _PRECISIONS.get(dtype, dtype)
    return "tf32" if precision == "fp32" and "tf32" in tactic.lower() else precision

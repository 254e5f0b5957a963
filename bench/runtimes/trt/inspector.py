"""What TensorRT's inspector and profiler tell of an engine, in the shapes of 8.6, 10 and 11, as layers."""

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


def report(api: Any, engine: Any, context: Any) -> Any:
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


def layers(told: Any) -> list[Layer]:
    """The layers of a report in the order in which they run, without times; names only from a terse engine."""
    entries = told.get("Layers") or () if isinstance(told, dict) else ()
    return [_layer(entry) if isinstance(entry, dict) else Layer(name=str(entry)) for entry in entries]


def timed(found: Iterable[Layer], calls: Sequence[Call]) -> tuple[Layer, ...]:
    """``found`` with the times of all ``calls``; what only the profiler names comes after what it named before it.

    Layers of one name are told apart by their order.
    """
    times: dict[tuple[str, int], list[int]] = {}
    for call in calls:
        for place, (_, ns) in zip(_places(name for name, _ in call), call, strict=True):
            times.setdefault(place, []).append(ns)
    known = list(found)
    keyed = dict(zip(_places(layer.name for layer in known), known, strict=True))
    order = list(keyed)
    before = None
    for place in times:
        if place not in keyed:
            keyed[place] = Layer(name=place[0], reformat=bool(_REFORMAT.match(place[0])))
            order.insert(order.index(before) + 1 if before else 0, place)
        before = place
    return tuple(msgspec.structs.replace(keyed[place], ns=tuple(times.get(place, ()))) for place in order)


def precisions(found: Iterable[Layer]) -> dict[str, int]:
    """How many layers compute in each precision, most first; reformats and constants compute nothing."""
    computing = (layer for layer in found if not layer.reformat and layer.kind != "Constant")
    return dict(Counter(layer.precision for layer in computing if layer.precision).most_common())


def _places(names: Iterable[str]) -> list[tuple[str, int]]:
    """Each name with how often it came before."""
    seen: Counter[str] = Counter()
    places = []
    for name in names:
        places.append((name, seen[name]))
        seen[name] += 1
    return places


def _layer(told: dict[str, Any]) -> Layer:
    name, kind = str(told.get("Name", "")), str(told.get("LayerType", ""))
    inputs, outputs = (tuple(_tensor(each) for each in told.get(side) or ()) for side in ("Inputs", "Outputs"))
    tactic = str(told.get("TacticName") or told.get("TacticValue") or "")
    return Layer(
        name=name,
        kind=kind,
        precision=_precision(told, outputs, tactic),
        tactic="" if re.fullmatch(r"0x0*", tactic) else tactic,
        inputs=inputs,
        outputs=outputs,
        origin=tuple(_ORIGIN.findall(str(told.get("Metadata") or ""))),
        reformat="Reformat" in (kind, told.get("ParameterType")) or bool(_REFORMAT.match(name)),
    )


def _tensor(told: dict[str, Any]) -> Tensor:
    """Up to 10 one text tells type and layout, 11 has a key for each."""
    both = str(told.get("Format/Datatype") or told.get("Format/DataType") or "")
    return Tensor(
        name=str(told.get("Name", "")),
        shape=tuple(int(size) for size in told.get("Dimensions") or ()),
        dtype=_dtype(str(told.get("DataType") or told.get("Datatype") or both)),
        format=both or str(told.get("Format") or ""),
    )


def _dtype(text: str) -> str:
    return next((name for pattern, name in _DTYPES.items() if re.search(pattern, text, re.IGNORECASE)), "")


def _precision(told: dict[str, Any], outputs: Sequence[Tensor], tactic: str) -> str:
    """The type of the weights where a layer has some, else of its first output; TF32 shows in a kernel's name only."""
    weights = told.get("Weights")
    typed = _dtype(str(weights.get("Type"))) if isinstance(weights, dict) and weights.get("Count") else ""
    dtype = typed or next((tensor.dtype for tensor in outputs if tensor.dtype), "")
    precision = _PRECISIONS.get(dtype, dtype)
    return "tf32" if precision == "fp32" and "tf32" in tactic.lower() else precision

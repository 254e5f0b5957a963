"""The one module that knows how TensorRT 8.6, 10, 11 and TensorRT-RTX differ: types, flags, settings, the parser."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

from bench.errors import Unsupported
from bench.model.seam import Context
from bench.runtimes.trt.library import NOISE, Api, create, numbers, refusal
from bench.runtimes.trt.tactics import TacticLog

# TensorRT's type -> the name that numpy, or ml_dtypes where numpy has none, gives it.
_DTYPES = {
    "FLOAT": "float32", "HALF": "float16", "BF16": "bfloat16", "INT64": "int64", "INT32": "int32", "INT8": "int8",
    "UINT8": "uint8", "BOOL": "bool", "FP8": "float8_e4m3fn", "INT4": "int4", "FP4": "float4_e2m1fn",
    "E8M0": "float8_e8m0fnu",
}  # fmt: skip
_MEMBERS = {name: member for member, name in _DTYPES.items()}
_UNSUPPORTED_NODE = "false"  # all that a parser since 10 says of an operator that it knows and does not support
_NODE_NUMBER = re.compile(r"While parsing node number (\d+) \[(\S+)")
_NODE_NAME = re.compile(r'^name: "([^"]+)"', re.MULTILINE)


# --------------------------------------------------------------------------------------------------- shapes and types


def dims(shape: Any) -> tuple[int, ...]:
    """A TensorRT shape as a tuple, -1 for a dynamic size. Unsupported if the rank is not known."""
    try:
        return tuple(int(size) for size in shape)
    except (TypeError, ValueError) as error:  # None, or a rank of -1
        raise Unsupported("TensorRT does not know the rank of a tensor here") from error


def dtype_name(dtype: Any) -> str:
    """``DataType.HALF`` -> ``float16``: the name that ``lanes.Buffer`` uses; fp8 is ``float8_e4m3fn``."""
    return _DTYPES[dtype.name]


def dtype(api: Api, name: str) -> Any:
    """``float16`` -> ``DataType.HALF``. Unsupported if this version has no such type."""
    member = getattr(api.module.DataType, _MEMBERS.get(name, ""), None)
    if member is None:
        raise Unsupported(f"{api.name} has no type {name}")
    return member


def names_in(enum: Any, mask: int) -> list[str]:
    """The names of an enum's members whose bits are set, e.g. of ``TacticSource``."""
    return sorted(name for name, member in enum.__members__.items() if mask >> int(member) & 1)


def device_memory(engine: Any) -> int:
    """Bytes of device memory that one execution context needs besides weights, inputs and outputs."""
    if hasattr(engine, "device_memory_size_v2"):
        return int(engine.device_memory_size_v2)
    return int(engine.device_memory_size)


# ------------------------------------------------------------------------------------------------- building by version


def is_strongly_typed(api: Api, network: Any) -> bool:
    """Whether ``network`` was made with the types of its layers alone."""
    flag = getattr(api.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    get_flag = getattr(network, "get_flag", None)
    return flag is not None and get_flag is not None and bool(get_flag(flag))


def strongly_typed(api: Api, choice: bool | None) -> bool:
    """Whether types are those of the network alone: since 10 unless ``choice`` is False, always since 11."""
    flag = getattr(api.module.NetworkDefinitionCreationFlag, "STRONGLY_TYPED", None)
    if choice and flag is None:
        raise Unsupported(f"{api.name} has no strongly typed networks; 10.0 is the first", fix="strongly_typed: false")
    if choice is False and api.major >= 11:
        raise Unsupported(f"{api.name} has strongly typed networks only", fix="leave strongly_typed out")
    return flag is not None if choice is None else choice


def new_network(api: Api, builder: Any, strong: bool) -> Any:
    """An empty network of explicit batch."""
    flags = api.module.NetworkDefinitionCreationFlag
    names = ["EXPLICIT_BATCH"] * (api.major < 10) + ["STRONGLY_TYPED"] * strong
    mask = sum(1 << int(getattr(flags, name)) for name in names)
    return create(api, "a network", lambda: builder.create_network(mask))


def precision_flags(api: Api, precision: str, strong: bool) -> list[str]:
    """The builder flags that permit ``precision``; a typed network needs none.

    Unsupported if this version lacks the type. TF32 is on by default everywhere: see ``set_flags``.
    """
    flag = {"fp16": "FP16", "bf16": "BF16", "int8": "INT8", "fp8": "FP8"}.get(precision)
    if flag is None:
        return []
    if api.major < 10 and precision in ("bf16", "fp8"):  # 8.6 has the name FP8 and nothing behind it
        raise Unsupported(f"{api.name} has no {precision}; TensorRT 10.0 is the first that has it")
    if strong:
        return []
    return [flag, "FP16"] if precision in ("int8", "fp8") else [flag]  # what is not quantized runs in float16


def set_flags(api: Api, config: Any, names: Iterable[str], *, tf32: bool) -> list[str]:
    """Set the builder flags called ``names``, TF32 on or off; the names of all that are set, read back."""
    flags = api.module.BuilderFlag
    for name in names:
        if not hasattr(flags, name):
            raise Unsupported(f"{api.name} has no builder flag {name}")
        config.set_flag(getattr(flags, name))
    if tf32:
        config.set_flag(flags.TF32)
    else:
        config.clear_flag(flags.TF32)
    return sorted(name for name, flag in flags.__members__.items() if config.get_flag(flag))


def set_property(api: Api, config: Any, name: str, value: Any) -> None:
    """Set a property of the builder's configuration and read it back: TensorRT ignores an invalid value silently."""
    setattr(config, name, value)
    if getattr(config, name) != value:
        raise refusal(api, f"TensorRT does not take {name} = {value}")


def set_workspace(api: Api, config: Any, nbytes: int) -> None:
    """Limit the scratch memory that kernels may use, in bytes."""
    pool = api.module.MemoryPoolType.WORKSPACE
    config.set_memory_pool_limit(pool, nbytes)
    if config.get_memory_pool_limit(pool) != nbytes:
        raise refusal(api, f"TensorRT does not take a workspace of {nbytes:,} bytes")


def set_tactic_sources(api: Api, config: Any, names: Sequence[str]) -> None:
    """Choose kernels from the libraries called ``names`` only. Unsupported for a name that this version lacks."""
    present = api.module.TacticSource.__members__
    if unknown := [name for name in names if name not in present]:
        raise Unsupported(f"{api.name} has no tactic source {unknown[0]!r}; it has {', '.join(sorted(present))}")
    if not config.set_tactic_sources(sum(1 << int(present[name]) for name in names)):
        raise refusal(api, f"TensorRT does not take the tactic sources {', '.join(names)}")


def set_hardware_compatibility(api: Api, config: Any, level: str) -> None:
    """``ampere_plus`` or ``same_compute_capability``: a plan for more GPUs than this one."""
    levels = api.module.HardwareCompatibilityLevel
    if not hasattr(levels, level.upper()):
        raise Unsupported(f"{api.name} has no hardware compatibility level {level}; TensorRT 10.9 has it")
    set_property(api, config, "hardware_compatibility_level", getattr(levels, level.upper()))


def share_profiles(api: Api, config: Any) -> None:
    """Let several contexts use one optimization profile: a preview feature in 8.6 and 10, the rule in 11."""
    feature = getattr(api.module.PreviewFeature, "PROFILE_SHARING_0806", None)
    if feature is not None:
        config.set_preview_feature(feature, True)


def progress(api: Api, config: Any, context: Context) -> TacticLog | None:
    """Have the builder report its progress to ``context``: the reader of its log that does so where TensorRT has no
    monitor (8.6), else None.
    """
    tell = context.tell
    if not hasattr(api.module, "IProgressMonitor"):
        return TacticLog(context.clock, tell, context.tell_layers)
    base: Any = api.module.IProgressMonitor

    class Monitor(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self._steps: dict[str, int] = {}

        def phase_start(self, phase: str, parent: str | None, steps: int) -> None:
            self._steps[phase] = max(steps, 1)

        def step_complete(self, phase: str, step: int) -> bool:
            steps = self._steps.get(phase, 1)
            if (step + 1) * 100 // steps > step * 100 // steps:  # at most once for each percent
                tell(f"{phase} {step + 1}/{steps}")
            return True  # False ends the build

        def phase_finish(self, phase: str) -> None:
            self._steps.pop(phase, None)

    config.progress_monitor = Monitor()
    return None


# ----------------------------------------------------------------------------------------------------------- the parser


def new_parser(api: Api, network: Any) -> Any:
    """An ONNX parser; it must live until the build has ended, as it owns the weights."""
    parser = create(api, "an ONNX parser", lambda: api.module.OnnxParser(network, api.log.logger))
    # Since 10 instance normalisation is a layer and no plugin by default. A parser of 8.6.0 lacks the call, which
    # bindings of 8.6.1 make all the same, and that ends the process.
    if api.major < 10 and numbers(api.library or api.version) == numbers(api.version):
        parser.set_flag(api.module.OnnxParserFlag.NATIVE_INSTANCENORM)
    return parser


def parser_errors(api: Api, parser: Any) -> list[str]:
    """Each error of the parser: the node's operator and name, where in the model it comes from, and what is wrong.

    A parser of 8.6 has only the node's number; its log has the rest.
    """
    nodes = _logged_nodes(api.log.errors())
    messages = []
    for index in range(parser.num_errors):
        error = parser.get_error(index)
        operator, name = nodes.get(error.node(), ("", ""))
        stack: list[str] = []
        if hasattr(error, "node_operator"):  # since 10
            operator, name, stack = error.node_operator(), error.node_name(), error.local_function_stack()
        number = f"(node {error.node()})" if error.node() >= 0 else ""  # -1: it is not about a node
        place = " ".join(part for part in (operator, name, number) if part)
        place += f" in {' > '.join(stack)}" if stack else ""
        text = "\n".join(line for line in error.desc().strip().splitlines() if not NOISE.search(line))
        text = "the parser does not support this operator" if text == _UNSUPPORTED_NODE else text
        messages.append(f"{place}: {text}" if place else text)
    return messages


def _logged_nodes(lines: Iterable[str]) -> dict[int, tuple[str, str]]:
    """Operator and name of each node that the parser's log prints: a line with its number, then the node as text."""
    nodes: dict[int, tuple[str, str]] = {}
    number = -1
    for line in lines:
        if start := _NODE_NUMBER.search(line):
            number = int(start[1])
            nodes[number] = (start[2], "")
        elif number >= 0 and (name := _NODE_NAME.search(line)):
            nodes[number] = (nodes[number][0], name[1])
            number = -1
    return nodes

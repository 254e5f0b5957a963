"""The format of suite files as one table: each key with its kind, limits, meaning and default.

The reader and the JSON Schema are made of it, and docs/suites.md shows it.
"""

from __future__ import annotations

from typing import Any

import msgspec

from bench.errors import UPGRADE
from bench.model.suite import ASKABLE, DEFAULT_POLICY, DEFAULT_THRESHOLDS, PRECISIONS, Policy, Range, Toolchain
from bench.suite.kinds import (
    FRACTION,
    IDENTIFIER,
    SWITCH,
    WORD,
    Field,
    Kind,
    duration,
    named,
    number,
    one_of,
    optional,
    record,
    several,
    text,
    whole,
)
from bench.suite.matrix import Names, matrix
from bench.suite.models import INPUT, LIMIT, MODEL, read_model
from bench.suite.yaml_marks import Node, expected, fail, mapping, sequence
from bench.units import NS_PER_S

__all__ = ["DYNAMIC", "INPUT", "LIMIT", "LIMITS", "MEASURE", "MODEL", "QUANTIZED_LIMITS", "TOOLCHAIN", "TOOLCHAINS",
           "VERSION", "suite"]  # fmt: skip

VERSION = 1
LEAST_ENERGY_NS = 5 * NS_PER_S
_SIZE = whole()
_MODELS = "models: {NAME: {factory: ..., inputs: ...}}"
_MIN_SAMPLES = "minimum samples per boundary and process, unless `max_time` runs out first"


# ----------------------------------------------------------------------------------------------------------- dynamic

DYNAMIC = (
    Field(name="min", kind=_SIZE, description="the minimum size", required="min: 1"),
    Field(name="opt", kind=_SIZE, description="the size to optimize for", required="opt: 8"),
    Field(name="max", kind=_SIZE, description="the maximum size", required="max: 32"),
    Field(
        name="at", kind=several(_SIZE), description="the sizes that are measured", otherwise="`min`, `opt` and `max`"
    ),
)


def _range(values: dict[str, Any], node: Node) -> Range:
    low, opt, high = values["min"], values["opt"], values["max"]
    if not low <= opt <= high:
        raise fail(node, f"{node.key}: min <= opt <= max does not hold: {low}, {opt}, {high}")
    if "at" not in values:
        return Range(min=low, opt=opt, max=high, at=tuple(sorted({low, opt, high})))
    at = mapping(node)["at"]
    for point in sequence(at) if isinstance(at.value, list) else [at]:
        if not low <= point.value <= high:
            raise expected(point, f"a point within {low} to {high}")
    return Range(**values)


# ----------------------------------------------------------------------------------------------------------- measure


def _energy(node: Node) -> int:
    value: int = duration(least=0).read(node)
    if 0 < value < LEAST_ENERGY_NS:  # the card's counter moves in steps of up to 0.1 s
        raise expected(node, "0s, or 5s or more", "energy: 5s")
    return value


MEASURE = (
    Field(
        name="boundaries",
        kind=several(one_of(ASKABLE, "boundary")),
        description=f"any of {', '.join(ASKABLE)}",
        otherwise="CPU: latency, throughput; GPU: gpu, enqueue, latency, throughput",
    ),
    Field(name="replicates", kind=whole(), description="fresh processes per case", default=3),
    Field(
        name="builds",
        kind=whole(),
        description="independent builds of one model that replicates take in turn: engines, packages and compiled "
        "code, which may choose other kernels each time",
        default=1,
    ),
    Field(
        name="energy",
        attribute="energy_ns",
        kind=Kind(_energy, duration().schema),
        description="on a GPU, how long a saturated loop runs to read the energy of one inference (5s or more; "
        "0s: not read)",
        default="0s",
    ),
    Field(
        name="interleave",
        kind=SWITCH,
        description="measure the backends of a model in turn, block by block, by processes that are there at once: "
        "what the host does meanwhile meets all of them",
        default="off",
    ),
    Field(
        name="target_ci",
        kind=FRACTION,
        description="stop when the 95 % interval of the median is within ± this fraction",
        default="0.5%",
    ),
    Field(name="min_samples", kind=whole(), description=_MIN_SAMPLES, default=10),
    Field(name="max_samples", kind=whole(), description="maximum samples per boundary and process", default=100),
    Field(
        name="max_time",
        attribute="max_time_ns",
        kind=duration(),
        description="time for the samples of one boundary; with `min_samples` a second is enough",
        default="15s",
    ),
    Field(
        name="throughput_time",
        attribute="throughput_ns",
        kind=duration(),
        description="length of the throughput loop",
        default="1s",
    ),
    Field(
        name="warmup",
        attribute="warmup_ns",
        kind=duration(least=0),
        description="minimum time before the first sample",
        default="200ms",
    ),
    Field(name="warmup_calls", kind=whole(0), description="minimum calls before the first sample", default=3),
    Field(
        name="warmup_limit",
        attribute="warmup_limit_ns",
        kind=duration(),
        description="give up waiting for a steady state, with a warning; noise that does not drift ends it after 1 s",
        default="10s",
    ),
    Field(
        name="timeout",
        attribute="timeout_ns",
        kind=duration(),
        description="limit for one process, compilation included; then the row is `Timeout`, and of a build by "
        "TensorRT 8 its hint names the layers that took longest",
        default="20min",
    ),
)


def _policy(values: dict[str, Any], node: Node) -> Policy:
    policy = msgspec.structs.replace(DEFAULT_POLICY, **values)
    least, most = policy.min_samples, policy.max_samples
    if least > most and {"min_samples", "max_samples"} <= set(values):
        what = f"measure: min_samples {least} is more than max_samples {most}"
        raise fail(mapping(node).get("min_samples", node), what)
    if least > most:  # the default gives way
        least = most = values.get("min_samples", most)
        return msgspec.structs.replace(policy, min_samples=least, max_samples=most)
    return policy


# ---------------------------------------------------------------------------------------------------------- accuracy

LIMITS = (
    Field(name="cosine", kind=optional(number(-1, 1)), description="minimum cosine", otherwise="see below"),
    Field(
        name="rel_l2",
        kind=optional(number(0)),
        description="maximum relative L2 error: the norm of the error over that of the reference",
        otherwise="see below",
    ),
    Field(
        name="slice_rel_l2",
        kind=optional(number(0)),
        description="maximum `rel_l2` of a slice, or of a group of small values",
        otherwise="see below",
    ),
    Field(
        name="sqnr",
        kind=optional(number(-1e9)),
        description="minimum signal-to-quantization-noise ratio, in dB",
        otherwise="not checked",
    ),
    Field(
        name="max_abs",
        kind=optional(number(0)),
        description="maximum absolute error of one element",
        otherwise="not checked",
    ),
)

_SAME_MODEL = "of `int8`: minimum cosine with the quantized model that PyTorch runs"
QUANTIZED_LIMITS = (  # of int8, whose networks have a quantized reference
    *LIMITS,
    Field(name="quantized_cosine", kind=LIMITS[0].kind, description=_SAME_MODEL, otherwise="a warning below 0.999"),
)


def _thresholds(values: dict[str, Any], node: Node) -> dict[str, Any]:
    """A limit that is not named keeps its default, ``null`` switches it off; a slice may differ like the whole."""
    thresholds = {}
    for precision, limits in values.items():
        default = DEFAULT_THRESHOLDS[precision]
        threshold = msgspec.structs.replace(default, **limits)
        if "slice_rel_l2" not in limits and "rel_l2" in limits:
            whole, part = threshold.rel_l2, default.slice_rel_l2
            limit = None if whole is None or part is None else max(whole, part)
            threshold = msgspec.structs.replace(threshold, slice_rel_l2=limit)
        thresholds[precision] = threshold
    return thresholds


_ACCURACY = record(
    [
        Field(
            name=precision,
            kind=record(QUANTIZED_LIMITS if precision == "int8" else LIMITS, noun="limit"),
            description=f"limits for {precision}; `null` switches a default limit off",
        )
        for precision in PRECISIONS
    ],
    _thresholds,
    noun="precision",
)


# -------------------------------------------------------------------------------------------------------- toolchains


def _check_variable(name: str, node: Node) -> None:
    if name == "CUDA_VISIBLE_DEVICES":
        what = "a run has one device, so a toolchain cannot choose another"
        raise fail(node, what, f"set it for the whole run: {name}={node.value} trtbench run ...")


def _value_of_variable(node: Node) -> str:
    if type(node.value) not in (str, int, float) or "\0" in str(node.value):
        raise expected(node, "text", "put it in quotes")
    return str(node.value)


TOOLCHAIN = (
    Field(
        name="python",
        kind=text(r"[^\0]+", "~/venvs/old/bin/python"),
        description="the interpreter: a path, relative to the folder of the file, or a command on PATH",
        otherwise="the running one",
    ),
    Field(
        name="env",
        kind=named(
            Kind(_value_of_variable, {"type": ["string", "number"]}),
            pattern=IDENTIFIER,
            noun="the name of a variable",
            check=_check_variable,
        ),
        description="variables added to those of the running environment. `CUDA_VISIBLE_DEVICES` is refused: a run has "
        "one device",
        otherwise="none",
    ),
)


def _check_toolchain(name: str, node: Node) -> None:
    if name == "default":
        raise fail(node, "'default' is the running interpreter", "give the toolchain another name")


# What a suite has under this name, and a toolchains.yaml as a whole.
TOOLCHAINS = named(record(TOOLCHAIN, lambda values, node: Toolchain(**values)), pattern=WORD, check=_check_toolchain)


# ------------------------------------------------------------------------------------------------------------- suite


def _version(node: Node) -> int:
    version: int = whole().read(node)
    if version > VERSION:
        what = f"the suite is written in schema {version}; this trtbench reads up to schema {VERSION}"
        raise fail(node, what, UPGRADE)
    return version


def suite(names: Names) -> tuple[Field, ...]:
    """The keys of a suite file; the values of ``matrix`` refer to ``names``."""
    return (
        Field(
            name="schema",
            kind=Kind(_version, {"const": VERSION}),
            description="the version of this format",
            required=f"schema: {VERSION}",
        ),
        Field(name="name", kind=text(WORD, "resnet-18"), description="the suite's name", otherwise="the file's name"),
        Field(
            name="device",
            kind=one_of(("auto", "cpu", "cuda"), "device"),
            description="auto (a GPU where there is one), cpu, cuda",
            default="auto",
        ),
        Field(
            name="baseline",
            kind=text(),
            description="the backend of the matrix that speed is relative to, by its name or label; `eager/fp32` for "
            "all precisions, `eager@TOOLCHAIN` for all toolchains, or both in either order",
            otherwise="`eager`, where the suite has it",
        ),
        Field(
            name="models",
            kind=named(record(MODEL, read_model), pattern=WORD, example=_MODELS),
            description="the models, by the name that tables show: letters, digits and `. _ + -`",
            required=_MODELS,
        ),
        Field(
            name="matrix",
            kind=matrix(names),
            description="the axes; the cases are their product",
            required="matrix: {backend: [eager]}",
        ),
        Field(
            name="dynamic",
            kind=named(record(DYNAMIC, _range), pattern=WORD),
            description="ranges of symbols that stay dynamic in what is built",
            otherwise="none",
        ),
        Field(name="measure", kind=record(MEASURE, _policy), description="how to measure", otherwise="as below"),
        Field(
            name="accuracy",
            kind=_ACCURACY,
            description="error limits of the outputs, by precision",
            otherwise="as below",
        ),
        Field(
            name="toolchains",
            kind=TOOLCHAINS,
            description="interpreters that cases may run in, by name",
            otherwise="none",
        ),
    )

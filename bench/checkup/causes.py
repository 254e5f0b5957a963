"""What a wrong tensor probably comes from, read off its values, the reference's, and those that its layer reads."""

from __future__ import annotations

import math
from collections.abc import Sequence

from bench.checkup.bisection import WrongLayer
from bench.checkup.checks import LEAST
from bench.model.divergence import Cause, Check, Graph
from bench.model.suite import Precision
from bench.runtimes.terms import is_product, is_steep

LARGEST = 65504.0  # of float16
_FALLBACK = (1e-5, 1e-2)  # relative errors of sums of numbers of 8 to 11 bits
_UNDERFLOWS = 0.01  # of a tensor
_SMALLER = 16.0  # a sum of which four bits have cancelled
_PART = 0.25  # of the error, that was there before
_FAR = 0.3  # the largest error that is called rounding, of however many terms
_MARGIN = 8.0  # bits that a layer may lose besides: three; a fourth is a cancellation
_ONE_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_IN_FLOAT32 = 2.0**-24
_TF32 = 2.0**-11
_NARROW = tuple(_ONE_ROUNDING)
_SHOWN = 2  # names of constants
_KEEP = "keep that module in float32 (a cast before it and one after), or scale what it reads"
_IN_PROGRAM = "compare the layer's lines in the program with the module"


def cause(
    finding: WrongLayer,
    graph: Graph,
    precision: Precision,
    nan_constants: Sequence[str] = (),
    compare: str = _IN_PROGRAM,
) -> Cause:
    """The first of the causes below that the figures fit; that a layer computes something else if none does.

    ``nan_constants`` are those of the network that have NaN, ``compare`` says how to look at what a layer computes.
    """
    check = finding.check
    if check.reference.nan and not check.apart:
        return of_reference(check)
    if of_constants := _of_constants(check, graph, precision, nan_constants):
        return of_constants
    overflows = precision == "fp16" and check.reference.largest > LARGEST and _new_non_finite(check) > 0
    if finding.vanishes and not overflows:  # as an output of its own TensorRT may keep it in float32
        what = "it is right as soon as it is an output: the layers are wrong only where the builder fuses them"
        return Cause(kind="fusion", what=what, fix="trtbench layers shows what they were fused to; keep the output")
    before = max((each.rel_l2 or 0.0 for each in finding.inputs), default=0.0)
    if (overflows or check.dtype == "float16") and (at_an_end := _beyond_float16(check, finding.inputs, precision)):
        return at_an_end
    if _new_non_finite(check) > 0:
        what = "values that are not finite come from finite ones, and are in no type's way"
        return Cause(kind="layer", what=what, fix=compare)
    if _cancels(check, finding.inputs, before):
        largest = max(each.reference.largest for each in finding.inputs)
        what = f"values of up to {largest:.4g} cancel to at most {check.reference.largest:.4g}, and their errors stay"
        return Cause(kind="cancellation", what=what, fix=_KEEP)
    if precision == "fp32" and (fallback := _fallback(check, before)):
        return fallback
    if check.rel_l2 is not None and before >= _PART * check.rel_l2:
        what = f"what it reads is off by rel L2 {before:.2g} already: errors of rounding have added up to here"
        return Cause(kind="rounding", what=what, fix="fp32 or tf32 for the modules before it, or a wider limit")
    reads = f"what it reads is right (rel L2 {before:.2g})" if finding.inputs else "no tensor that it reads is compared"
    right = f"{reads}, no value is out of range"
    if check.rel_l2 is None:
        return Cause(kind="layer", what=f"{right}: the layer computes something else", fix=compare)
    one, dtype = _rounding(check, precision)
    wider = "a wider limit, or fp32" if one > _IN_FLOAT32 else "a wider limit"
    if check.rel_l2 <= one:
        what = f"rel L2 {check.rel_l2:.2g} is what one rounding to {dtype} makes: the limit is as narrow as that"
        return Cause(kind="rounding", what=what, fix=wider)
    bound = rounding_bound(check, before, precision)
    if check.rel_l2 <= bound:
        fix = _KEEP if check.dtype in _NARROW else wider
        return Cause(kind="rounding", what=f"{right}: the layer loses digits in {dtype}", fix=fix)
    of_terms = f" of sums of {check.node.terms:,} terms" if check.node.terms > 1 else ""
    what = (
        f"{right}, and rounding{of_terms} in {dtype} would make at most rel L2 {bound:.2g}, "
        f"not {check.rel_l2:.2g}: the layer computes something else"
    )
    return Cause(kind="layer", what=what, fix=compare)


def _of_constants(check: Check, graph: Graph, precision: Precision, nan_constants: Sequence[str]) -> Cause | None:
    """Weights and constants that are no finite numbers."""
    overflows = check.reference.largest > LARGEST  # which makes NaN of its own
    if check.network.nan > check.reference.nan and (names := _nearest(nan_constants, check, of_layer=overflows)):
        what = f"the program has NaN in {' and '.join(names)}, where the model has none"
        return Cause(kind="NaN constant", what=what, fix="a number there, in the program or in the weights beside it")
    if held := [name for name in check.node.weights if name in graph.infinite]:
        what = f"the weight {held[0]} is infinite at {precision}: it has values beyond {LARGEST:,.0f}"
        return Cause(kind="weight overflow", what=what, fix="keep that module in float32, or scale the weight")
    return None


def of_reference(check: Check) -> Cause:
    """Eager has NaN, and the network has it in the same places."""
    what = (
        f"eager itself is NaN in {check.reference.nan:,} of {check.reference.size:,} values, and the network in the "
        "same ones: there is nothing to compare with, and a run calls such a case inaccurate"
    )
    return Cause(kind="reference", what=what, fix="inputs or weights with which the model has no NaN")


def rounding_bound(check: Check, before: float, precision: Precision) -> float:
    """The largest rel L2 that is put down to rounding in a layer's type.

    Rounding each of n partial sums adds up as sqrt(n). Errors of what the layer reads (``before``) do so in a sum too,
    but the sum as well: in proportion they stay as they are, except in exponentials. The margin is for functions that
    are steep, and terms that cancel.
    """
    one, _ = _rounding(check, precision)
    spread = math.sqrt(check.node.terms)
    return min(_MARGIN * max(spread * one, (spread if is_steep(check.node.op) else 1.0) * before), _FAR)


def _rounding(check: Check, precision: Precision) -> tuple[float, str]:
    """The relative error of one rounding in a layer, and the type that it is to."""
    if check.dtype in _NARROW:
        return _ONE_ROUNDING[check.dtype], check.dtype
    if precision == "tf32" and is_product(check.node.op):
        return _TF32, "tf32"
    return _IN_FLOAT32, "float32"


def _nearest(constants: Sequence[str], check: Check, *, of_layer: bool) -> list[str]:
    """The constants of the layer, whose names begin with its own; all where none are, unless only these count."""
    node = check.node
    names = [name for name in constants if name in node.weights or name.startswith(node.name)]
    if not names and not of_layer:
        names = list(constants)
    more = len(names) - _SHOWN
    return [*names[:_SHOWN], *([f"{more} more"] if more > 0 else [])]


def _new_non_finite(check: Check) -> int:
    """How many values more than in the reference are not finite."""
    network, reference = check.network, check.reference
    return network.nan + network.infinite - reference.nan - reference.infinite


def _beyond_float16(check: Check, inputs: tuple[Check, ...], precision: Precision) -> Cause | None:
    """Overflow and underflow."""
    network, reference = check.network, check.reference
    if reference.largest > LARGEST:
        what = f"the values reach {reference.largest:.4g}, and float16 ends at {LARGEST:,.0f}"
        return Cause(kind="overflow", what=what, fix=f"{_KEEP}; or bf16, where the backend has it")
    if _new_non_finite(check) > 0:
        reads = max((each.reference.largest for each in inputs), default=0.0)
        what = (
            f"the values stay within {reference.largest:.4g}, of inputs within {reads:.4g}: a sum or a product inside "
            f"the layer passes {LARGEST:,.0f}, where float16 ends"
        )
        return Cause(kind="overflow", what=what, fix=_KEEP)
    before = max((each.rel_l2 or 0.0 for each in inputs), default=0.0)
    bound = rounding_bound(check, before, precision)
    rounds = check.rel_l2 is not None and check.rel_l2 <= bound and "slice" not in check.why
    if check.underflows > _UNDERFLOWS * network.size and not rounds:  # else what is lost is too small to matter
        what = (
            f"{check.underflows:,} of {network.size:,} values are zero that should not be: float16 has none below "
            f"{LEAST:.2g}"
        )
        return Cause(kind="underflow", what=what, fix=_KEEP)
    return None


def _fallback(check: Check, before: float) -> Cause | None:
    """A layer of a network of float32 that computes in fewer bits."""
    if check.dtype in _NARROW:
        return Cause(kind="precision fallback", what=f"its output is {check.dtype} in a network of float32")
    low, high = _FALLBACK
    if check.rel_l2 is not None and low <= check.rel_l2 <= high and before < _PART * check.rel_l2:
        what = (
            f"rel L2 {check.rel_l2:.2g} of inputs that are right (rel L2 {before:.2g}): this is the rounding of TF32 "
            "or of 16 bits, not of float32"
        )
        return Cause(kind="precision fallback", what=what, fix="precision: tf32, if that is what is wanted")
    return None


def _cancels(check: Check, inputs: tuple[Check, ...], before: float) -> bool:
    """Whether a sum or difference is much smaller than its terms, and no further off than their errors make it."""
    largest = max((each.reference.largest for each in inputs), default=0.0)
    result = check.reference.largest
    if check.node.op.lower() not in ("add", "sub", "rsub", "sum") or largest <= _SMALLER * result:
        return False
    error = max(_ONE_ROUNDING.get(check.dtype, _IN_FLOAT32), before)
    return check.rel_l2 is None or not result or check.rel_l2 <= _MARGIN * error * largest / result

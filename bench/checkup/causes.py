"""What a wrong tensor probably comes from, read off its values, the reference's, and those that its layer reads."""

from __future__ import annotations

import numpy as np

from bench.checkup.bisection import WrongLayer
from bench.model.divergence import Cause, Check, Graph, Side
from bench.model.suite import Precision
from bench.tensors import Array

LARGEST = 65504.0  # of float16
LEAST = 2.0**-24
_FALLBACK = (1e-5, 1e-2)  # relative errors of sums of numbers of 8 to 11 bits
_ZEROS = 0.01  # of a tensor, that only the network has
_SMALLER = 16.0  # a sum of which four bits have cancelled
_PART = 0.25  # of the error, that was there before
_FAR = 0.3
_ONE_ROUNDING = {"float16": 2.0**-11, "bfloat16": 2.0**-8}
_NARROW = tuple(_ONE_ROUNDING)
_KEEP = "keep that module in float32 (a cast before it and one after), or scale what it reads"


def side(values: Array) -> Side:
    """The figures of a tensor's values."""
    finite = np.isfinite(values)
    some = values[finite] if not finite.all() else values
    return Side(
        low=float(some.min()) if some.size else None,
        high=float(some.max()) if some.size else None,
        nan=int(np.isnan(values).sum()),
        infinite=int(np.isinf(values).sum()),
        zeros=int((values == 0).sum()),
        size=int(values.size),
    )


def cause(finding: WrongLayer, graph: Graph, precision: Precision) -> Cause:
    """The first of the causes below that the figures fit; that a layer computes something else if none does."""
    check = finding.check
    if held := [name for name in check.node.weights if name in graph.infinite]:
        what = f"the weight {held[0]} is infinite at {precision}: it has values beyond {LARGEST:,.0f}"
        return Cause(kind="weight overflow", what=what, fix="keep that module in float32, or scale the weight")
    overflows = precision == "fp16" and check.reference.largest > LARGEST and _new_non_finite(check) > 0
    if finding.vanishes and not overflows:  # as an output of its own TensorRT may keep it in float32
        what = "it is right as soon as it is an output: the layers are wrong only where the builder fuses them"
        return Cause(kind="fusion", what=what, fix="trtbench layers shows what they were fused to; keep the output")
    before = max((each.rel_l2 or 0.0 for each in finding.inputs), default=0.0)
    if (overflows or check.dtype == "float16") and (at_an_end := _beyond_float16(check, finding.inputs)):
        return at_an_end
    if _new_non_finite(check) > 0:
        return Cause(kind="layer", what="values that are not finite come from finite ones, and are in no type's way")
    if precision == "fp32" and (fallback := _fallback(check, before)):
        return fallback
    if _cancels(check, finding.inputs):
        largest = max(each.reference.largest for each in finding.inputs)
        what = f"values of up to {largest:.4g} cancel to at most {check.reference.largest:.4g}, and their errors stay"
        return Cause(kind="cancellation", what=what, fix=_KEEP)
    if check.rel_l2 is not None and before >= _PART * check.rel_l2:
        what = f"what it reads is off by rel L2 {before:.2g} already: errors of rounding have added up to here"
        return Cause(kind="rounding", what=what, fix="fp32 or tf32 for the modules before it, or a wider limit")
    reads = f"what it reads is right (rel L2 {before:.2g})" if finding.inputs else "no tensor that it reads is compared"
    right = f"{reads}, no value is out of range"
    if check.rel_l2 is not None and check.rel_l2 < _FAR and check.dtype in _NARROW:
        if check.rel_l2 <= _ONE_ROUNDING[check.dtype]:
            what = (
                f"rel L2 {check.rel_l2:.2g} is what one rounding to {check.dtype} makes: the limit is as narrow as that"
            )
            return Cause(kind="rounding", what=what, fix="a wider limit, or fp32")
        what = f"{right}: the layer loses digits in {check.dtype}"
        return Cause(kind="rounding", what=what, fix=_KEEP)
    what = f"{right}: the layer computes something else"
    return Cause(kind="layer", what=what, fix="compare the layer's lines in the program with the module")


def _new_non_finite(check: Check) -> int:
    """How many values more than in the reference are not finite."""
    network, reference = check.network, check.reference
    return network.nan + network.infinite - reference.nan - reference.infinite


def _beyond_float16(check: Check, inputs: tuple[Check, ...]) -> Cause | None:
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
    lost = network.zeros - reference.zeros
    if lost > _ZEROS * network.size:
        what = f"{lost:,} of {network.size:,} values are zero that should not be: float16 has none below {LEAST:.2g}"
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


def _cancels(check: Check, inputs: tuple[Check, ...]) -> bool:
    """Whether a sum or difference is much smaller than its terms."""
    largest = max((each.reference.largest for each in inputs), default=0.0)
    return check.node.op in ("add", "sub", "rsub") and largest > _SMALLER * check.reference.largest

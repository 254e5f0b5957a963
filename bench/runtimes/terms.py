"""How many terms a layer adds up for one value of its result, which bounds what rounding can do to it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

# Of the rules below: part of the key of what stores their numbers, so that new rules count anew.
VERSION = 2
_PRODUCT = re.compile(r"linear|matmul|addmm|gemm|einsum")
_ATTENTION = re.compile(r"attention")
_OF_EXPONENTIALS = re.compile(r"softmax|logsumexp|attention")
_OF_LAST_AXES = re.compile(r"(layer|rms)_?norm")
_OVER_ONE_AXIS = re.compile(r"softmax|logsumexp|cumsum")
_CHOOSES = re.compile(r"(?<!soft)(max|min)_?(pool|$)|reduce_?(max|min)|nearest")
_RESAMPLES = re.compile(r"upsample|resize|grid_?sample")
_SUM = re.compile(r"norm|sum|mean|reduce|std|var|prod|pool|lstm|gru|rnn")
_OF_CUBIC = 4  # values along an axis that interpolation reads, at most


def is_product(op: str) -> bool:
    """Whether ``op`` multiplies matrices or is a convolution, which TF32 rounds the factors of."""
    name = op.lower()
    of_matrices = _PRODUCT.search(name) is not None and not _RESAMPLES.search(name)
    return of_matrices or _ATTENTION.search(name) is not None or name.startswith("conv")


def is_steep(op: str) -> bool:
    """Whether ``op`` is of exponentials, of which an error of x is x times as large in proportion."""
    return _OF_EXPONENTIALS.search(op.lower()) is not None


def count_terms(op: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """The number of terms of each value that ``op``, of a lowered graph or of ONNX, computes; 1 where nothing is added.

    ``inputs`` are the shapes of what it reads, weights included, in their order; ``output`` is that of the result. The
    number is an upper bound where these do not tell it: all values of a sample for a norm over channels or a pooling,
    the longest axis for a softmax, 4 along each axis for an interpolation.
    """
    name = op.lower()
    if not inputs or not inputs[0] or name.startswith("batch"):
        return 1
    if _CHOOSES.search(name):
        return 1
    first = inputs[0]
    if _RESAMPLES.search(name):
        return int(_OF_CUBIC ** max(len(first) - 2, 0))
    if "conv" in name and len(inputs) > 1 and len(output) > 1:
        return max(math.prod(inputs[1]) // max(output[1], 1), 1)
    if _ATTENTION.search(name):
        return max(first[-1] + max((shape[-2] for shape in inputs if len(shape) > 1), default=0), 1)
    if _PRODUCT.search(name):
        matrices = [math.prod(shape[-2:]) for shape in inputs if len(shape) > 1]
        pair = matrices[-2:] if name == "addmm" else matrices[:2]  # addmm(input, mat1, mat2), Gemm(A, B, C)
        if len(pair) < 2 or len(output) < 2:
            return max(first[-1], 1)
        return max(round(math.sqrt(math.prod(pair) / max(math.prod(output[-2:]), 1))), 1)
    if _OF_LAST_AXES.search(name):
        weight = tuple(inputs[1]) if len(inputs) > 1 else ()
        return math.prod(weight if weight and weight == tuple(first[-len(weight) :]) else first[-1:])
    if _OVER_ONE_AXIS.search(name):
        return max(first[1:] or first)
    if _SUM.search(name):
        ratio = math.prod(first) // max(math.prod(output), 1)
        return max(ratio if ratio > 1 else math.prod(first[1:]), 1)
    return 1

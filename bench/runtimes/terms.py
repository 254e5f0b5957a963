"""How many terms a layer adds up for one value of its result, which bounds what rounding can do to it."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_PRODUCT = re.compile(r"linear|matmul|addmm|gemm|einsum")
_ATTENTION = re.compile(r"attention")
_OVER_ONE_AXIS = re.compile(r"softmax|layer_?norm|rms_?norm|logsumexp")
_SUM = re.compile(r"norm|sum|mean|reduce|std|var|prod|pool|upsample|resize|grid|lstm|gru|rnn")


def count_terms(op: str, inputs: Sequence[Sequence[int]], output: Sequence[int]) -> int:
    """The number of terms of each value that ``op``, of a lowered graph or of ONNX, computes; 1 where nothing is added.

    ``inputs`` are the shapes of what it reads, weights included, in their order; ``output`` is that of the result. The
    number is an upper bound where these do not tell it: all values of a sample for a norm over channels or a pooling.
    """
    name = op.lower()
    if not inputs or not inputs[0] or name.startswith("batch"):
        return 1
    first = inputs[0]
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
    if _OVER_ONE_AXIS.search(name):
        return max(first)
    if _SUM.search(name):
        ratio = math.prod(first) // max(math.prod(output), 1)
        return max(ratio if ratio > 1 else math.prod(first[1:]), 1)
    return 1

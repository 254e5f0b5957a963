"""The enums of TensorRT's Python module that network programs use, with the members that a version has."""

from __future__ import annotations

import enum
import functools
from typing import Any

# Members in the order of their integers, which are the same in 8.6 to 11.4; ``@10.1``: from that version on.
_MEMBERS = {
    "DataType": "FLOAT HALF INT8 INT32 BOOL UINT8 FP8 BF16@10.0 INT64@10.0 INT4@10.0 FP4@10.8 E8M0@10.12",
    "ActivationType": (
        "RELU SIGMOID TANH LEAKY_RELU ELU SELU SOFTSIGN SOFTPLUS CLIP HARD_SIGMOID SCALED_TANH THRESHOLDED_RELU"
        " GELU_ERF@10.0 GELU_TANH@10.0"
    ),
    "ElementWiseOperation": "SUM PROD MAX MIN SUB DIV POW FLOOR_DIV AND OR XOR EQUAL GREATER LESS",
    "UnaryOperation": (
        "EXP LOG SQRT RECIP ABS NEG SIN COS TAN SINH COSH ASIN ACOS ATAN ASINH ACOSH ATANH CEIL FLOOR ERF NOT SIGN"
        " ROUND ISINF ISNAN@10.1"
    ),
    "ReduceOperation": "SUM PROD MAX MIN AVG",
    "PoolingType": "MAX AVERAGE MAX_AVERAGE_BLEND",
    "PaddingMode": "EXPLICIT_ROUND_DOWN EXPLICIT_ROUND_UP SAME_UPPER SAME_LOWER",
    "MatrixOperation": "NONE TRANSPOSE VECTOR",
    "InterpolationMode": "NEAREST LINEAR CUBIC",
    "ResizeCoordinateTransformation": "ALIGN_CORNERS ASYMMETRIC HALF_PIXEL",
    "ResizeSelector": "FORMULA UPPER",
    "ResizeRoundMode": "HALF_UP HALF_DOWN FLOOR CEIL",
    "TopKOperation": "MAX MIN",
    "GatherMode": "DEFAULT ELEMENT ND",
    "ScatterMode": "ELEMENT ND",
    "SampleMode": "STRICT_BOUNDS WRAP CLAMP FILL REFLECT",
    "ScaleMode": "UNIFORM CHANNEL ELEMENTWISE",
    "FillOperation": "LINSPACE RANDOM_UNIFORM RANDOM_NORMAL",
    "TensorFormat": "LINEAR",
    "TensorLocation": "DEVICE HOST",
    "CumulativeOperation@10.8": "SUM",
    "AttentionNormalizationOp@10.14": "NONE SOFTMAX",
    "CausalMaskKind@11.0": "NONE UPPER_LEFT LOWER_RIGHT",
}


def number(version: str) -> tuple[int, int]:
    """``10.13.3.9`` -> ``(10, 13)``."""
    major, minor, *_ = version.split(".")
    return int(major), int(minor)


@functools.cache
def enums(version: str) -> dict[str, type[enum.IntEnum]]:
    """The enums of ``version`` by name."""
    classes: dict[str, type[enum.IntEnum]] = {}
    for key, text in _MEMBERS.items():
        name, _, since = key.partition("@")
        if number(version) >= number(since or "0.0"):
            members = _present(text, version)
            classes[name] = enum.IntEnum(name, members)  # type: ignore[assignment]
    return classes


def _present(text: str, version: str) -> dict[str, Any]:
    members = [word.partition("@") for word in text.split()]
    return {name: value for value, (name, _, since) in enumerate(members) if number(version) >= number(since or "0.0")}

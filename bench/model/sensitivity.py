"""What quantizing costs in accuracy, layer by layer, and which layers are left in floating point to keep a limit."""

from __future__ import annotations

import math
import re
from typing import Literal, NamedTuple, TypeAlias

from bench.errors import UsageError, did_you_mean
from bench.model.data import Data
from bench.model.run import Failure
from bench.model.suite import Case

# The file of the artifact: an ``Accuracy``.
ACCURACY = "accuracy.json"
_TARGET = re.compile(r"\s*([A-Za-z_][\w.]*)\s*>=\s*([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s*(%?)\s*")
_FIX = "e.g. 'top1 >= -0.5 %' (half a point less than fp32), 'cosine >= 0.999', 'sqnr >= 30'"
# A number of a metric; JSON has none that are not finite.
Number: TypeAlias = float | Literal["nan", "inf", "-inf"]
# The metrics where the user has none, and the largest value of each, which fp32 has against itself.
LARGEST = {"cosine": 1.0, "sqnr": math.inf, "top1": 1.0}


class Target(NamedTuple):
    """A lower limit of a metric: its value, or where ``is_change`` its change against fp32, both as fractions where the
    metric is one.
    """

    metric: str
    limit: float
    is_change: bool

    def met(self, value: float, reference: float) -> bool:
        """Whether ``value`` keeps the limit, where fp32 has ``reference``. NaN never does, infinity always."""
        return value == math.inf or value - (reference if self.is_change else 0.0) >= self.limit - 1e-12

    @property
    def text(self) -> str:
        """``top1 >= -0.005 against fp32``."""
        return f"{self.metric} >= {self.limit:.15g}" + (" against fp32" if self.is_change else "")


def parse_target(text: str) -> Target:
    """``top1 >= -0.5 %``: a number with a sign is a change against fp32, one without the value itself; ``%`` are
    hundredths. UsageError for anything else.
    """
    match = _TARGET.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} is no target", where="--target", fix=_FIX)
    metric, number, percent = match.groups()
    return Target(metric, float(number) / (100 if percent else 1), number[0] in "+-")


def check_target(target: Target) -> None:
    """UsageError for a target that no network can meet by the metrics of ``LARGEST``, or of another metric."""
    metric = target.metric
    if metric not in LARGEST:
        what = f"there is no metric {metric!r}.{did_you_mean(metric, LARGEST)}"
        fix = f"one of {', '.join(LARGEST)}, or a metric of yours: --metric FILE.py:FUNCTION"
        raise UsageError(what, where="--target", fix=fix)
    if target.is_change and math.isinf(LARGEST[metric]):
        what = f"{target.text}: fp32 has no error and so an infinite {metric}, which no change leads from"
        raise UsageError(what, where="--target", fix=f"a value without a sign, in dB: '{metric} >= 30'")
    largest = 0.0 if target.is_change else LARGEST[metric]
    if target.limit > largest:
        what = f"{target.text}: no network has more than fp32, whose {metric} is {LARGEST[metric]:g}"
        raise UsageError(what, where="--target", fix=_FIX)


def number(value: float) -> Number:
    """A metric's number as it is stored."""
    if math.isfinite(value):
        return value
    return "nan" if math.isnan(value) else "inf" if value > 0 else "-inf"


class LayerError(Data, frozen=True, kw_only=True):
    """One layer of the quantized network beside the same of the fp32 network, in dB (None: no error, or no signal).

    ``sqnr`` is that of its result, with the errors of all layers before it; ``weight_sqnr`` that of its weights alone,
    None also where they are not quantized.
    """

    name: str
    op: str
    module: str = ""
    sqnr: float | None = None
    weight_sqnr: float | None = None
    quantized: bool = False

    @property
    def label(self) -> str:
        """What ``floating`` in a suite calls the layer: its module, or where there is none its own name."""
        return self.module or self.name


class Sensitivity(Data, frozen=True, kw_only=True):
    """The metrics of a network in which this layer alone is quantized: all layers of its module, such as several calls
    of it, and those below it, of which ``name`` is the first. ``module`` is the ``label``.
    """

    name: str
    module: str = ""
    metrics: dict[str, Number] = {}


class Accuracy(Data, frozen=True, kw_only=True):
    """What quantizing a network costs.

    ``reference`` are the metrics of fp32, ``quantized`` those with all layers quantized, ``assigned`` those with the
    layers ``floating`` left in floating point. ``sensitivity`` is ranked, the most sensitive first; ``networks`` counts
    the networks that were run. ``target`` is empty where none was given; ``unmet`` says why no assignment meets it, and
    is empty where ``floating`` does.
    """

    reference: dict[str, Number]
    quantized: dict[str, Number]
    layers: tuple[LayerError, ...] = ()
    sensitivity: tuple[Sensitivity, ...] = ()
    target: str = ""
    floating: tuple[str, ...] = ()
    assigned: dict[str, Number] = {}
    unmet: str = ""
    networks: int = 0


class QuantizationCost(Data, frozen=True, kw_only=True):
    """The accuracy of a case's quantized network, or why it could not be examined."""

    case: Case
    accuracy: Accuracy | None = None
    failure: Failure | None = None


class Question(Data, frozen=True, kw_only=True):
    """What to examine: a target (see ``parse_target``), the user's metric ``file.py:function`` beside the suite, the
    number of ``samples``, and whether to ``rank`` the layers.
    """

    target: str = ""
    metric: str = ""
    samples: int = 32
    rank: bool = False

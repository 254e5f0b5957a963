"""Where quantize and dequantize layers (Q/DQ) stand in a network, and which of TensorRT's fusions that prevents."""

from __future__ import annotations

from typing import Literal

from bench.model.data import Data
from bench.model.run import Failure
from bench.model.suite import Case

# The file of the artifact: a ``Placement`` without its case.
PLACEMENT = "placement.json"
# The rules, each described in docs/qdq-placement.md. Names of a format: they are never renamed.
Rule = Literal["weights", "batch-norm", "activation", "residual", "concat", "pooling"]


class Finding(Data, frozen=True, kw_only=True):
    """One place that breaks a rule: the module there, the nodes of the graph, what is lost, and what to change.

    ``can_mend`` is False where the pass lacks what it needs, e.g. the range of a tensor that was not calibrated.
    """

    rule: Rule
    module: str
    nodes: tuple[str, ...]
    what: str
    fix: str
    can_mend: bool = True


class Placement(Data, frozen=True, kw_only=True):
    """The findings in one quantized network: a case's, or an ONNX file's (``file``), or why it could not be looked at.

    ``pairs`` counts the Q/DQ pairs, ``weighted`` the layers with weights, ``quantized`` those of them that have their
    input and weights quantized.
    """

    case: Case | None = None
    file: str = ""
    pairs: int = 0
    weighted: int = 0
    quantized: int = 0
    findings: tuple[Finding, ...] = ()
    failure: Failure | None = None

"""A registry without runtimes, and a way to read a suite from text; shared by the suite, plan and selection tests."""

from __future__ import annotations

from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

from bench.model import seam
from bench.model.seam import Missing
from bench.model.suite import Case, Suite
from bench.suite import reader


class NoOptions(seam.Options, frozen=True, kw_only=True):
    pass


class InductorOptions(seam.Options, frozen=True, kw_only=True):
    mode: Literal["default", "reduce-overhead", "max-autotune"] = "default"
    fullgraph: bool = False
    threads: int = 1
    note: str = ""


class Stub:
    def __init__(self, options: type[seam.Options], refuses: str = "", simulated: bool = False) -> None:
        self.options = options
        self.simulated = simulated
        self._refuses = refuses

    def missing(self, device: str = "cpu") -> Missing | None:
        return None

    def unsupported(self, case: Case, device: str) -> str | None:
        return f"no {case.precision} on {device}" if case.precision == self._refuses else None


REGISTRY: dict[str, Any] = {
    "eager": Stub(NoOptions),
    "fake": Stub(NoOptions, simulated=True),
    "inductor": Stub(InductorOptions),
    "onnxruntime": Stub(NoOptions, refuses="bf16"),
}

TEXT = """\
schema: 1
name: tiny
models:
  resnet:
    factory: torchvision:resnet50
    args: {weights: null}
    inputs: {x: {shape: [batch, 3, 224, 224]}}
  bert:
    factory: transformers:BertModel
    config: {transformers: BertConfig, layer_norm_eps: 1e-12}
    inputs:
      ids: {shape: [batch, seq], dtype: int64, range: [0, 100]}
    symbols: {seq: 128}
matrix:
  backend:
    - eager
    - inductor
    - {name: inductor, mode: max-autotune}
  precision: [fp32, fp16]
  batch: [1, 32]
  exclude:
    - {backend: eager, batch: 32}
measure: {target_ci: 0.5%, max_time: 15s}
"""


def write(folder: Path, text: str, name: str = "x.yaml") -> Path:
    path = folder / name
    path.write_text(dedent(text))
    return path


def load(folder: Path, text: str) -> Suite:
    return reader.load(write(folder, text), REGISTRY)

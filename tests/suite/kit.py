"""A registry without runtimes, and ways to read and plan a suite from text; shared by the tests of suites."""

from __future__ import annotations

import functools
import json
from pathlib import Path
from textwrap import dedent
from typing import Any, Literal

import jsonschema
import pytest

from bench.backends import base
from bench.errors import SuiteError
from bench.model import seam
from bench.model.seam import Missing
from bench.model.suite import Case, Plan, Suite
from bench.suite import plan, reader


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


@functools.cache
def editors_schema() -> jsonschema.Draft202012Validator:
    """The schema of suites with the backends of REGISTRY, itself checked: as editors apply it."""
    return _checked(reader.json_schema(REGISTRY))


@functools.cache
def shipped_schema() -> jsonschema.Draft202012Validator:
    """The schema of suites with trtbench's own backends, itself checked."""
    return _checked(reader.json_schema(base.registry()))


def _checked(schema: dict[str, Any]) -> jsonschema.Draft202012Validator:
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def planned(folder: Path, text: str, device: str = "cuda:0", **more: str) -> Plan:
    return plan.plan(load(folder, text), REGISTRY, device=device, **more)


def labels(found: Plan) -> list[str]:
    return [case.label for case in found.cases]


def matrix(**axes: Any) -> str:
    """The tiny suite with another matrix (JSON is YAML)."""
    start = TEXT[: TEXT.index("matrix:")]
    return f"{start}matrix: {json.dumps({'backend': 'eager', 'model': 'resnet', 'batch': 1} | axes)}\n"


def wrong(folder: Path, text: str) -> SuiteError:
    with pytest.raises(SuiteError) as caught:
        load(folder, text)
    return caught.value


def changed(old: str, new: str) -> str:
    assert TEXT.count(old) == 1, old
    return TEXT.replace(old, new)

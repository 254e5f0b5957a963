"""A folder in which stand-in TensorRTs build engines of one case after the other."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.model.seam import Context
from bench.model.suite import Case, Input
from bench.runtimes import onnx_manifest
from bench.runtimes.torch.exports import ExportWarning
from bench.runtimes.trt import builder
from bench.runtimes.trt.options import Options
from tests.backends.kit import StillClock
from tests.runtimes.trt import builder_standin as trt_builder
from tests.runtimes.trt import onnx_standin
from tests.runtimes.trt.script import Script

# Names in the file are neutral; the manifest has those of the model.
OUTPUTS = [["output_0", "HALF", [4, 5]], ["output_1", "HALF", [4]]]
MODEL = {"inputs": [["input_0", "HALF", [4, 3]]], "outputs": OUTPUTS}
TRACED = ExportWarning(kind="TracerWarning", text="a Python boolean", place="net.py:9")


class World:
    """A folder with a suite, artifacts and shared caches, in which engines of one case after the other are built."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        self.told: list[str] = []
        self.layers: list[tuple[dict[str, int], str]] = []
        self.phases: list[str] = []
        self._monkeypatch = monkeypatch
        (root / "export").mkdir()
        self.model(MODEL)
        self.manifest(onnx_manifest.Manifest(("x", "mask"), ("logits", "map"), "legacy", 17, (TRACED,)))

    def manifest(self, manifest: onnx_manifest.Manifest) -> None:
        (self.root / "export/manifest.json").write_bytes(msgspec.json.encode(manifest))

    def model(self, model: dict[str, Any]) -> None:
        (self.root / "export/model.onnx").write_bytes(onnx_standin.encode(model))

    def context(self, **fields: Any) -> Context:
        @contextlib.contextmanager
        def phase(name: str) -> Any:
            self.phases.append(name)
            yield

        artifacts = {name: self.root / name for name in ("export", "weights")}
        return Context(
            device="cuda:0",
            inputs={},
            artifacts=artifacts,
            scratch=self.root,
            suite_dir=self.root,
            clock=StillClock(),
            phase=phase,
            shared=self.root,
            tell=self.told.append,
            tell_layers=lambda layers, current: self.layers.append((dict(layers), current)),
            **fields,
        )

    def build(
        self,
        script: Script,
        precision: str = "fp16",
        case: dict[str, Any] | None = None,
        build: int = 0,
        **options: Any,
    ) -> tuple[dict[str, Any], builder.BuildInfo]:
        """What the builder was asked for, and what is kept of it."""
        trt_builder.install(self._monkeypatch, script, libraries=["libmine.so", "liblisted.so"])
        fields: dict[str, Any] = {"inputs": {"x": Input(shape=(4, 3))}, "precision": precision} | (case or {})
        out = self.root / f"out{len(list(self.root.glob('out*')))}"
        out.mkdir()
        asked = Case(model="m", factory="zoo.py:net", backend="tensorrt", source="s.yaml:3", **fields)
        builder.build(asked, msgspec.convert(options, Options), self.context(build=build), out)
        plan, built = builder.read(out)
        return json.loads(plan), built

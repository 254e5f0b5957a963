"""Cases of tiny models, the context a worker would give, and artifacts that are made once for all tests."""

from __future__ import annotations

import contextlib
import dataclasses
import importlib
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import tensors
from bench.backends import base
from bench.model.data import digest
from bench.model.seam import Context
from bench.model.suite import Case, Input
from bench.system import locks

HERE = Path(__file__).parent
IMAGES = {"x": Input(shape=(4, 3, 8, 8))}


class StillClock:
    """A clock that moves only when it is told to."""

    name = "still"

    def __init__(self) -> None:
        self.time = 0

    def now(self) -> int:
        return self.time

    def advance(self, ns: int) -> None:
        self.time += ns


@dataclasses.dataclass
class Bench:
    """Makes cases and contexts, and the artifacts of cases: each once for all processes with the same folders.

    ``artifacts_in`` is the folder of artifacts, by default in ``root``; ``references_in`` is another for references.
    """

    root: Path
    artifacts_in: Path | None = None
    references_in: Path | None = None
    phases: list[str] = dataclasses.field(default_factory=list)
    device: str = "cpu"
    suite_dir: Path = HERE

    def folder(self) -> Path:
        """A new empty folder."""
        return Path(tempfile.mkdtemp(dir=self.root))

    def case(self, backend: str, factory: str = "zoo.py:net", inputs: dict[str, Input] = IMAGES, **fields: Any) -> Case:
        return Case(model="net", factory=factory, inputs=inputs, backend=backend, **fields)

    def context(self, case: Case, artifacts: dict[str, Path] | None = None, **fields: Any) -> Context:
        @contextlib.contextmanager
        def phase(name: str) -> Iterator[None]:
            self.phases.append(name)
            yield

        scratch = self.folder()
        return Context(
            device=self.device,
            inputs=tensors.case_inputs(case, 0, self.suite_dir),
            artifacts=artifacts or {},
            scratch=scratch,
            suite_dir=self.suite_dir,
            clock=StillClock(),
            phase=phase,
            **fields,
        )

    def artifacts(self, case: Case) -> dict[str, Path]:
        """The folders of all stages of ``case``."""
        folders: dict[str, Path] = {}
        for stage in base.load(case.backend).stages(case):
            own = self.artifacts_in or self.root / "artifacts"
            parent = self.references_in or own if stage.kind == "reference" else own
            parent.mkdir(exist_ok=True)
            finished = parent / f"{stage.kind}-{digest(msgspec.to_builtins(stage.key))}"
            with locks.hold(finished.with_suffix(".lock"), "tests", lambda holder: None):
                if not finished.exists():
                    out = self.folder()
                    with quickly_compiled() if stage.kind == "pt2" else contextlib.nullcontext():
                        base.load(stage.producer).produce(stage, case, self.context(case, folders), out)
                    out.rename(finished)
            folders[stage.name] = finished
        return folders

    def reference(self, case: Case) -> dict[str, tensors.Array]:
        return tensors.read(self.artifacts(case)["reference"] / "outputs.safetensors")

    @contextlib.contextmanager
    def prepared(self, case: Case, **fields: Any) -> Iterator[Any]:
        """The case loaded into its backend, as the worker does it."""
        self.phases.clear()
        backend = base.load(case.backend)
        options = base.options_of(backend, case)
        kept = fields.pop("artifacts", {})
        with backend.prepare(case, options, self.context(case, self.artifacts(case) | kept, **fields)) as prepared:
            yield prepared

    def run(self, case: Case, **fields: Any) -> dict[str, tensors.Array]:
        """The outputs of one call."""
        with self.prepared(case, **fields) as prepared:
            lane = prepared.lanes(1)[0]
            lane.call()
            outputs: dict[str, tensors.Array] = lane.read()
            return outputs


def quickly_compiled() -> contextlib.AbstractContextManager[None]:
    """AOTInductor does not precompile its headers, which takes longer than to compile the one package without them."""
    config = importlib.import_module("torch._inductor.config")
    patched: contextlib.AbstractContextManager[None] = config.patch({"aot_inductor.precompile_headers": False})
    return patched


def cosine(found: tensors.Array, wanted: tensors.Array) -> float:
    """The cosine of the angle between two arrays, 1.0 for equal ones."""
    a, b = found.ravel().astype(np.float64), wanted.ravel().astype(np.float64)
    return float(a @ b / (np.linalg.norm(a) * np.linalg.norm(b)))

"""PyTorch as it is: the module is called. It also makes the reference that every backend is compared with."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from bench import tensors
from bench.model.seam import Context, Missing, Stage
from bench.model.suite import Case
from bench.runtimes.torch import lane, loading, weights


class Options(loading.TorchOptions, frozen=True, kw_only=True):
    """Those of every PyTorch backend."""


class Eager:
    """Calls the module under inference_mode."""

    options = Options
    simulated = False

    def missing(self, device: str = "cpu") -> Missing | None:
        """torch."""
        return loading.missing()

    def unsupported(self, case: Case, device: str) -> str | None:
        """What no PyTorch backend can do."""
        return loading.unsupported(case, device)

    def stages(self, case: Case) -> Sequence[Stage]:
        """The reference, and in another toolchain than the default one its weights."""
        return weights.first_stages(case)

    def preload(self, case: Case, suite_dir: Path) -> None:
        """torch and the library of the case's factory."""
        loading.preload(case, suite_dir)

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """The reference: eager outputs on the case's inputs in fp32 with TF32 off, as ``outputs.safetensors``.

        Or, of kind ``weights``, the model's state dict.
        """
        if stage.kind == "weights":
            with loading.session(case, msgspec.structs.replace(context, device="cpu")):
                weights.write_weights(case, context, out)
            return
        plain = msgspec.structs.replace(case, precision="fp32", options={}, cuda_graph=False, dynamic={})
        with self.prepare(plain, Options(), context) as prepared:
            with context.phase("run"):
                first = prepared.lanes(1)[0]
                first.call()
            tensors.write(out / "outputs.safetensors", first.read())

    @contextlib.contextmanager
    def prepare(self, case: Case, options: Options, context: Context) -> Iterator[lane.TorchPrepared]:
        """Phases: import, load."""
        with loading.session(case, context):
            with context.phase("load"):
                model = loading.load_model(case, options, context, context.device)
            run, held = (lambda inputs: model(**inputs)), (lambda: loading.held_by(model))
            prepared = lane.TorchPrepared(case, options, context, run, held=held)
            with contextlib.closing(prepared):
                yield prepared


BACKEND = Eager()

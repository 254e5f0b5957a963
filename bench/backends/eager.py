"""Eager PyTorch. It also produces the reference outputs that every backend is compared with."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from bench import tensors
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import repeats
from bench.runtimes.torch import factories, models, session, weights
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.lane import TorchPrepared
from bench.runtimes.torch.options import TorchOptions

if TYPE_CHECKING:
    import torch


class Eager(TorchBackend[TorchOptions]):
    """Calls the module under inference_mode."""

    options = TorchOptions

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Write the reference, or for a stage of kind ``weights`` the model's state dict.

        The reference is the outputs on the case's inputs in fp32 with TF32 off, as ``outputs.safetensors``, the
        fingerprint of the model's weights, and what a second call changes (``bench.runtimes.repeats``).
        """
        if stage.kind == "weights":
            with session.torch_session(case, msgspec.structs.replace(context, device="cpu")):
                weights.write_weights(case, context, out)
            return
        plain = msgspec.structs.replace(case, precision="fp32", options={}, cuda_graph=False, dynamic={})
        with _Reference(out).prepare(plain, TorchOptions(), context) as prepared:
            with context.phase("run"):
                lane = prepared.lanes(1)[0]
                lane.call()
            outputs = lane.read()
            tensors.write(out / "outputs.safetensors", outputs)
            repeats.write(out, lane, outputs)

    def load(self, case: Case, options: TorchOptions, context: Context, stack: ExitStack) -> TorchPrepared:
        """Phase: load."""
        with context.phase("load"):
            model = self.load_model(case, options, context)
        # The interpreter of a TorchScript file is TorchScript's, whoever calls it.
        report = {"program": "torchscript"} if program_of(case.factory) == "torchscript" else {}
        return TorchPrepared(
            case,
            options,
            context,
            lambda inputs: model(**inputs),
            program_tensors=lambda: models.module_tensors(model),
            program=model,
            more=lambda: report,
            runs_modules=True,
        )

    def load_model(self, case: Case, options: TorchOptions, context: Context) -> torch.nn.Module:
        """The module that is called."""
        return models.load_model(case, options, context, context.device)


class _Reference(Eager):
    """Eager, which leaves the fingerprint of the model in ``out``."""

    def __init__(self, out: Path) -> None:
        self._out = out

    def load_model(self, case: Case, options: TorchOptions, context: Context) -> torch.nn.Module:
        """The module as the factory made it, but for floats narrower than float32."""
        model = factories.build_model(case, context, device="cpu")
        weights.write_fingerprint(model, self._out)
        return models.to_measured(model, case, options, context.device)


BACKEND = Eager()

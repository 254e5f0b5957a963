"""Eager PyTorch. It also produces the reference outputs that every backend is compared with."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench import tensors
from bench.lowering.quantize import linear_inputs
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import repeats
from bench.runtimes.torch import calls, factories, models, prebuilt, session, weights
from bench.runtimes.torch.backend import TorchBackend
from bench.runtimes.torch.lane import TorchLane, TorchPrepared
from bench.runtimes.torch.options import Fp8Options

if TYPE_CHECKING:
    import torch


class Eager(prebuilt.BuildsModules, TorchBackend[Fp8Options]):
    """Calls the module under inference_mode."""

    options = Fp8Options

    def unsupported(self, case: Case, device: str) -> str | None:
        """As every PyTorch backend, but for fp8; and options of fp8 at another precision."""
        return session.unsupported(case, device, quantizes=True) or linear_inputs.unsupported(case)

    def stages(self, case: Case) -> Sequence[Stage]:
        """As every PyTorch backend; at fp8 with static scales also their calibration."""
        return [*super().stages(case), *linear_inputs.stages(case)]

    def produce(self, stage: Stage, case: Case, context: Context, out: Path) -> None:
        """Write the reference; for a stage of kind ``weights`` the model's state dict; or a calibration for fp8.

        The reference is the outputs on the case's inputs in fp32 with TF32 off, as ``outputs.safetensors``, the
        fingerprint of the model's weights, and what a second call changes (``bench.runtimes.repeats``).
        """
        if stage.kind == "weights":
            with session.torch_session(case, msgspec.structs.replace(context, device="cpu")):
                weights.write_weights(case, context, out)
            return
        if stage.kind == linear_inputs.KIND:
            linear_inputs.produce(case, context, out, stage.key)
            return
        plain = msgspec.structs.replace(case, precision="fp32", options={}, cuda_graph=False, dynamic={})
        reference = _Reference(out)
        with reference.prepare(plain, Fp8Options(), context) as prepared:
            with context.phase("run"), calls.names_checked(reference.model, case):
                lane = prepared.lanes(1)[0]
                lane.call()
            outputs = lane.read()
            tensors.write(out / "outputs.safetensors", outputs)
            assert isinstance(lane, TorchLane)
            lane.restore_inputs()  # the second call is one on equal inputs
            repeats.write(out, lane, outputs)

    def load(self, case: Case, options: Fp8Options, context: Context, stack: ExitStack) -> TorchPrepared:
        """Phase: load."""
        with context.phase("load"):
            model, about_fp8 = self.load_model(case, options, context)
        # The interpreter of a TorchScript file is TorchScript's, whoever calls it.
        report = about_fp8 | ({"program": "torchscript"} if program_of(case.factory) == "torchscript" else {})
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

    def load_model(self, case: Case, options: Fp8Options, context: Context) -> tuple[torch.nn.Module, dict[str, Any]]:
        """The module that is called, and what the fairness report says of it at fp8."""
        return linear_inputs.load_model(case, options, context)


class _Reference(Eager):
    """Eager, which leaves the fingerprint of the model in ``out``; ``model`` is what the factory made."""

    model: torch.nn.Module

    def __init__(self, out: Path) -> None:
        self._out = out

    def load_model(self, case: Case, options: Fp8Options, context: Context) -> tuple[torch.nn.Module, dict[str, Any]]:
        """The module as the factory made it, but for floats narrower than float32."""
        model = factories.build_model(case, context, device="cpu")
        weights.write_fingerprint(model, self._out)
        self.model = model
        return models.to_measured(model, case, options, context.device), {}


BACKEND = Eager()

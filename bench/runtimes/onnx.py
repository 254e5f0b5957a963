"""Exports a PyTorch model to an ONNX file, for every runtime that reads one."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench.errors import Unavailable, Unsupported
from bench.model.distributions import install
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.torch import errors, models, session
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import positional

if TYPE_CHECKING:
    import torch

Exporter = Literal["dynamo", "legacy"]
MODEL = "model.onnx"
# A protobuf message ends at 2 GiB; larger models keep their weights in a file beside it.
_INSIDE = 1_800_000_000


class Manifest(msgspec.Struct, frozen=True):
    """Stored beside the ONNX file: the model's inputs and outputs in the file's order, by their names in the suite.

    Outputs in the file may have other names (one named like an input would clash), so they are matched by position.
    """

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    exporter: str
    opset: int


def stage(case: Case, exporter: Exporter, opset: int | None) -> Stage:
    """The ONNX file of a case, named ``export``: made by ``onnxruntime``'s produce in the default toolchain.

    The measuring toolchain may lack torch. Its key is the same for every runtime that asks for the same file.
    """
    return Stage(
        name="export",
        kind="onnx",
        producer="onnxruntime",
        key={
            "model": shapes.model_key(case),
            "precision": _file_precision(case.precision),
            "exporter": exporter,
            "opset": opset,
        },
        libraries=shapes.libraries(case, "onnx", "onnxscript"),
    )


def export(case: Case, context: Context, out: Path, exporter: Exporter, opset: int | None) -> None:
    """Write ``model.onnx`` and ``manifest.json`` into ``out``. Phases: import, load, export.

    Exported on the CPU whatever the device, as the file is the same. fp16 and bf16 models are converted before, so
    that inputs, weights and outputs have that type. Under no_grad: the exporters reject inference_mode.
    """
    packages = ("onnx", "onnxscript") if exporter == "dynamo" else ("onnx",)
    for package in packages:
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"exporting to ONNX needs the package {package!r}", fix=install(package))
    on_cpu = msgspec.structs.replace(context, device="cpu")
    with session.torch_session(case, on_cpu), session.own_warnings_filtered():
        import torch

        with context.phase("load"):
            model, example = models.load_with_example(case, TorchOptions(), on_cpu)
            module, names = positional(model, example)
        knows_both = "dynamo" in inspect.signature(torch.onnx.export).parameters  # since torch 2.5
        if exporter == "dynamo" and not knows_both:
            raise Unavailable(
                f"torch {torch.__version__} exports by exporter: legacy only", fix="exporter: legacy, or torch >= 2.5"
            )
        with context.phase("export"), torch.no_grad(), _refusals(exporter):
            arguments = (
                _dynamo(module, case)
                if exporter == "dynamo"
                else _legacy(case, {"dynamo": False} if knows_both else {})
            )
            with contextlib.nullcontext() if exporter == "dynamo" else _attention_in_parts():
                torch.onnx.export(
                    module,
                    tuple(example.values()),
                    str(out / MODEL),
                    input_names=list(example),
                    output_names=_file_names(names, example),
                    opset_version=opset,
                    **arguments,
                )
        manifest = Manifest(tuple(example), names, exporter, _opset_of(out / MODEL))
        (out / "manifest.json").write_bytes(msgspec.json.encode(manifest))


@contextlib.contextmanager
def _refusals(exporter: Exporter) -> Iterator[None]:
    """Turn whatever an exporter raises into Unsupported; the fix names the other exporter."""
    try:
        with errors.translate("torch.onnx cannot export this model"):
            yield
    except Unsupported as error:
        other = "legacy" if exporter == "dynamo" else "dynamo, opset: 18 (which TensorRT reads from 10.0 on)"
        raise Unsupported(error.what, fix=error.fix or f"exporter: {other}") from error


def read_manifest(folder: Path) -> Manifest:
    """The manifest of an exported model."""
    return msgspec.json.decode((folder / "manifest.json").read_bytes(), type=Manifest)


def _dynamo(module: torch.nn.Module, case: Case) -> dict[str, Any]:
    """Arguments of the exporter on torch.export, besides names."""
    dims = shapes.dynamic_dims(case)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
    return {
        "dynamo": True,
        "external_data": weights > _INSIDE,
        "dynamic_shapes": None if dims is None else (dims,),
        "verbose": False,
    }


def _legacy(case: Case, choice: dict[str, bool]) -> dict[str, Any]:
    """Arguments of the exporter on TorchScript, besides names; ``choice`` selects it where torch has both."""
    axes = {name: of for name, of in shapes.dynamic_axes(case).items() if of}
    return {**choice, "dynamic_axes": axes or None}


@contextlib.contextmanager
def _attention_in_parts() -> Iterator[None]:
    """No fused operator for nn.MultiheadAttention in the block: ONNX has none. torch 2.2 cannot switch it off."""
    import torch

    switch = getattr(torch.backends, "mha", None)
    if switch is None:
        yield
        return
    before = switch.get_fastpath_enabled()
    switch.set_fastpath_enabled(False)
    try:
        yield
    finally:
        switch.set_fastpath_enabled(before)


def _file_names(names: tuple[str, ...], example: dict[str, Any]) -> list[str]:
    return [f"out.{name}" if name in example else name for name in names]


def _opset_of(path: Path) -> int:
    import onnx

    model = onnx.load(os.fspath(path), load_external_data=False)
    return next(int(entry.version) for entry in model.opset_import if entry.domain in ("", "ai.onnx"))


def _file_precision(precision: str) -> str:
    """fp32 and tf32 are the same file."""
    return "fp32" if precision == "tf32" else precision

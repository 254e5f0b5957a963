"""Exports a PyTorch model to an ONNX file, for every runtime that reads one."""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from bench.errors import SuiteError, Unavailable, Unsupported
from bench.model.distributions import install
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import (
    deconvolutions,
    onnx_constants,
    onnx_deconvolutions,
    onnx_file,
    onnx_manifest,
    onnx_sizes,
    shapes,
)
from bench.runtimes.onnx_manifest import MODEL, Manifest, input_name, output_name, write_manifest
from bench.runtimes.torch import calls, errors, exports, models, session
from bench.runtimes.torch.exports import ExportWarning
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import positional

if TYPE_CHECKING:
    import torch

Exporter = Literal["dynamo", "legacy"]
# What the manifest of a file says that nothing here has exported.
_NO_EXPORTER = "none"
# How the exporters call an operator that they do not know and torch does not own: ``mine::scale``, op='mine.scale'.
_FOREIGN = r"(?!aten|prims?\b|onnx|torch|quantized|c10|at\b|std\b|caffe2)[a-z]\w*"
_OWN_OPERATOR = re.compile(rf"\b({_FOREIGN}::\w+)|op='({_FOREIGN})\.(\w+)'")
_NO_OPERATOR = "another backend (eager, inductor), or a model that computes this by operators of torch"


def stage(case: Case, exporter: Exporter, opset: int | None, *, dense_deconvolutions: bool = False) -> Stage:
    """The ONNX file of a case, named ``export``: made by ``onnxruntime``'s produce in the default toolchain.

    The measuring toolchain may lack torch. Its key is the same for every runtime that asks for the same file. A model
    that is an ONNX file is copied: no exporter is asked. With ``dense_deconvolutions`` it has no transposed
    convolutions in groups whose kernels are constants.
    """
    dense = {deconvolutions.FACT: "dense"} if dense_deconvolutions else {}
    if program_of(case.factory) == "onnx":
        return _stage_of_file(case, dense)
    return Stage(
        name="export",
        kind="onnx",
        producer="onnxruntime",
        key={
            "model": shapes.model_key(case),
            "precision": _file_precision(unquantized(case).precision),
            "exporter": exporter,
            "opset": opset,
            **({"constants": "separate"} if exporter == "legacy" else {}),
            **dense,
        },
        libraries=shapes.libraries(case, "onnx", "onnxscript"),
    )


def _stage_of_file(case: Case, more: Mapping[str, Any]) -> Stage:
    key = {"model": shapes.model_key(case), "precision": _file_precision(case.precision), **more}
    return Stage(name="export", kind="onnx", producer="onnxruntime", key=key)


def take_file(
    case: Case, context: Context, out: Path, *, any_precision: bool = False, dense_deconvolutions: bool = False
) -> None:
    """Copy the user's ONNX file and its external data into ``out``, and write its manifest. With
    ``dense_deconvolutions`` those of the copy are dense.

    Unsupported if its weights are not of the case's precision, SuiteError if it does not take the case's inputs.
    """
    path = context.suite_dir / case.factory
    onnx_file.check(case, path)
    about = onnx_file.describe(path)
    if not any_precision and about.precision != _file_precision(case.precision):
        what = f"{case.factory} is {about.precision}, and a file is converted to no other precision"
        raise Unsupported(what, fix=f"precision: {about.precision}, or another file")
    shutil.copyfile(path, out / MODEL)
    for name in about.external:
        if not onnx_file.is_beside(name) or not (path.parent / name).is_file():
            what = f"{case.factory} has weights in {name!r}, which is no file beside it"
            raise SuiteError(what, where=str(path), fix="put that file beside it, or save the model as one file")
        if (out / name).exists():
            raise SuiteError(f"{case.factory} has weights in {name!r}, its own copy's name", where=str(path))
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path.parent / name, out / name)
    outputs = tuple(value.name for value in about.outputs)
    counts = _with_dense(out / MODEL) if dense_deconvolutions else {}
    manifest = Manifest(tuple(case.inputs), outputs, _NO_EXPORTER, about.opset, own_names=True, deconvolutions=counts)
    write_manifest(manifest, out)


def _with_dense(path: Path) -> dict[str, Any]:
    """Make the deconvolutions of a file dense; the counts. Unavailable without the package onnx."""
    if importlib.util.find_spec("onnx") is None:
        raise Unavailable("deconvolutions: dense of an ONNX file needs the package 'onnx'", fix=install("onnx"))
    return onnx_deconvolutions.make_dense(path)


def export(
    case: Case, context: Context, out: Path, exporter: Exporter, opset: int | None,
    *, dense_deconvolutions: bool = False,
) -> None:  # fmt: skip
    """Write ``model.onnx`` and ``manifest.json`` into ``out``, with ``dense_deconvolutions`` as ``stage`` says.
    Phases: import, load, export; of a file only load.

    Exported on the CPU whatever the device, as the file is the same. fp16 and bf16 models are converted before, so
    that inputs, weights and outputs have that type. Under no_grad: the exporters reject inference_mode.
    """
    if program_of(case.factory) == "onnx":
        with context.phase("load"):
            take_file(case, context, out, dense_deconvolutions=dense_deconvolutions)
        return
    case = unquantized(case)
    _check_packages(exporter)
    on_cpu = msgspec.structs.replace(context, device="cpu")
    with session.torch_session(case, on_cpu), session.own_warnings_filtered():
        import torch

        with context.phase("load"):
            model, example = models.load_with_example(case, TorchOptions(), on_cpu)
            with calls.names_checked(calls.own_module(model), case):
                module, names = positional(model, example)
        knows_both = "dynamo" in inspect.signature(torch.onnx.export).parameters  # since torch 2.5
        if exporter == "dynamo" and not knows_both:
            raise Unavailable(
                f"torch {torch.__version__} exports by exporter: legacy only", fix="exporter: legacy, or torch >= 2.5"
            )
        with context.phase("export"), torch.no_grad(), _refusals(exporter):
            if exporter == "dynamo":
                arguments = _dynamo(module, case)
            else:
                arguments = _legacy(case, {"dynamo": False} if knows_both else {})
            if exporter == "legacy" and program_of(case.factory) == "torchscript":
                # The exporter takes a program as it is, and none within a module that it traces.
                module = torch.jit.trace(module, tuple(example.values()), check_trace=False)
            warnings = _write_file(module, example, names, case, out / MODEL, exporter, opset, arguments)
            _check_outputs(out / MODEL, names)
            counts = _with_dense(out / MODEL) if dense_deconvolutions else {}
            if case.dynamic:
                trial = exports.Trial(case, TorchOptions(), on_cpu, module, names)
                onnx_sizes.check(out / MODEL, case, trial, names)
        opset_of_file = _opset_of(out / MODEL)
        manifest = Manifest(tuple(example), names, exporter, opset_of_file, tuple(warnings), deconvolutions=counts)
        write_manifest(manifest, out)


def _check_packages(exporter: Exporter) -> None:
    for package in ("onnx", "onnxscript") if exporter == "dynamo" else ("onnx",):
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"exporting to ONNX needs the package {package!r}", fix=install(package))


def _write_file(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], names: Sequence[str], case: Case, path: Path,
    exporter: Exporter, opset: int | None, arguments: dict[str, Any],
) -> list[ExportWarning]:  # fmt: skip
    """Have torch write the file at ``path``; the warnings of the exporter."""
    import torch

    attention = contextlib.nullcontext() if exporter == "dynamo" else _attention_in_parts()
    with attention, exports.recorded_warnings() as warnings, exports.size_refusals(case):
        torch.onnx.export(
            module,
            tuple(example.values()),
            str(path),
            input_names=[input_name(index) for index in range(len(example))],
            output_names=[output_name(index) for index in range(len(names))],
            opset_version=opset,
            **arguments,
        )
    if exporter == "legacy":
        onnx_constants.separate(path)
    return warnings


@contextlib.contextmanager
def _refusals(exporter: Exporter) -> Iterator[None]:
    """Turn whatever an exporter raises into Unsupported; the fix names the other exporter."""
    try:
        with errors.translate("torch.onnx cannot export this model"):
            yield
    except Unsupported as error:
        other = "legacy" if exporter == "dynamo" else "dynamo, opset: 18 (which TensorRT reads from 10.0 on)"
        if own := _OWN_OPERATOR.search(error.what):
            name = own[1] or f"{own[2]}::{own[3]}"
            what = f"the model uses the operator {name}, which ONNX does not have: {error.what}"
            raise Unsupported(what[:600], fix=_NO_OPERATOR) from error
        raise Unsupported(error.what, fix=error.fix or f"exporter: {other}") from error


def _dynamo(module: torch.nn.Module, case: Case) -> dict[str, Any]:
    """Arguments of the exporter on torch.export, besides names."""
    dims = shapes.dynamic_dims(case)
    weights = sum(tensor.numel() * tensor.element_size() for tensor in (*module.parameters(), *module.buffers()))
    return {
        "dynamo": True,
        "external_data": weights > onnx_manifest.INSIDE,
        "dynamic_shapes": None if dims is None else (dims,),
        "verbose": False,
    }


def _legacy(case: Case, choice: dict[str, bool]) -> dict[str, Any]:
    """Arguments of the exporter on TorchScript, besides names; ``choice`` selects it where torch has both."""
    axes = {input_name(index): of for index, of in enumerate(shapes.dynamic_axes(case).values()) if of}
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


def _check_outputs(path: Path, names: Sequence[str]) -> None:
    """Unsupported if the file does not have the model's outputs, each by its name and once."""
    outputs = [value.name for value in onnx_manifest.load(path).graph.output]
    expected = [output_name(index) for index in range(len(names))]
    if outputs != expected:
        raise Unsupported(f"the file has the outputs {outputs}, the model has {len(names)}: {', '.join(names)}")


def _opset_of(path: Path) -> int:
    return next(
        int(entry.version) for entry in onnx_manifest.load(path).opset_import if entry.domain in ("", "ai.onnx")
    )


def _file_precision(precision: str) -> str:
    """fp32 and tf32 are the same file."""
    return "fp32" if precision == "tf32" else precision


def unquantized(case: Case) -> Case:
    """The case whose file a runtime quantizes itself."""
    is_file = program_of(case.factory) == "onnx"
    return case if is_file or case.precision != "int8" else msgspec.structs.replace(case, precision="fp32")

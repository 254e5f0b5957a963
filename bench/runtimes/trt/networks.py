"""Fills TensorRT networks: from an ONNX file, or by a function of the suite."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

from bench.errors import BenchError, CaseError, SuiteError, Unsupported
from bench.model.seam import WEIGHTS, Context
from bench.model.suite import Case, resolve_shapes
from bench.runtimes import onnx_file, onnx_manifest, shapes
from bench.runtimes.torch import weights
from bench.runtimes.trt import library, versions
from bench.system import userfile

_NO_MODEL = "save it again; of an exported file --cold makes a new one"
_MAX_ERRORS = 5  # errors of the parser
_FLOATS = ("float32", "float16", "bfloat16")
_NARROW = ("float16", "bfloat16")


class Network(msgspec.Struct, frozen=True, eq=False):
    """A filled network; ``keep`` is what must live until the build has ended: the parser, or the weights.

    ``inputs`` and ``outputs`` map names of the suite to names of tensors; ``fields`` are fields of ``BuildInfo``.
    ``profile`` has the least, the usual and the largest shape of inputs, where the case's ranges are not those.
    """

    network: Any
    inputs: dict[str, str]
    outputs: dict[str, str]
    keep: Any
    fields: dict[str, Any]
    profile: dict[str, Any] | None = None


def parse(api: library.Api, network: Any, context: Context) -> Network:
    """Fill ``network`` from the exported ONNX file. Unsupported with every node that the parser refuses."""
    folder = context.artifacts["export"]
    manifest = onnx_manifest.read_manifest(folder)
    parser = versions.new_parser(api, network)
    if not parser.parse_from_file(str(folder / onnx_manifest.MODEL)):
        messages = versions.parser_errors(api, parser)
        if not messages:
            raise library.refusal(api, f"{api.name} cannot read the ONNX file")
        more = f"; and {len(messages) - _MAX_ERRORS} more" if len(messages) > _MAX_ERRORS else ""
        raise Unsupported(
            f"the ONNX parser of {api.name} refuses the model: {'; '.join(messages[:_MAX_ERRORS])}{more}",
            fix="another opset or exporter, plugins, or network: FILE.py:function",
        )
    if not network.num_outputs:  # a parser takes an empty file, and much that is no model, for an empty one
        raise CaseError("the ONNX file holds no model: it is empty, cut short or another kind of file", fix=_NO_MODEL)
    inputs = [network.get_input(index).name for index in range(network.num_inputs)]
    outputs = [network.get_output(index).name for index in range(network.num_outputs)]
    if sorted(outputs) != sorted(manifest.file_outputs.values()):
        raise Unsupported(f"the model has {len(manifest.outputs)} outputs, its network has {', '.join(outputs)}")
    if not versions.is_strongly_typed(api, network):
        _keep_output_types(api, network, folder / onnx_manifest.MODEL)
    _make_linear(api, network)
    return Network(
        network=network,
        inputs={name: tensor for name, tensor in manifest.file_inputs.items() if tensor in inputs},
        outputs=manifest.file_outputs,
        keep=parser,
        fields={
            "exporter": manifest.exporter,
            "opset": manifest.opset,
            "export_warnings": manifest.warnings,
            **({"calibration": about} if (about := manifest.quantization) else {}),
            "deconvolutions": manifest.deconvolutions,
        },
    )


def _keep_output_types(api: library.Api, network: Any, file: Path) -> None:
    """Give narrow float outputs of a network of TensorRT 8 the types that the file declares, as network programs do.

    An output is float32 there unless its type is set. The parser sets it, and yet the engine of BERT-base in float16,
    a network without float inputs, had float32 outputs, and that of its program, in which each output comes from a
    layer of its own, had not. So outputs get such a layer where their type is another one, or no input is a float.
    """
    declared = {value.name: value.dtype for value in onnx_file.describe(file).outputs}
    has_floats = any(
        versions.dtype_name(network.get_input(index).dtype) in _FLOATS for index in range(network.num_inputs)
    )
    for tensor in [network.get_output(index) for index in range(network.num_outputs)]:
        name = tensor.name
        if declared.get(name) not in _NARROW:
            continue
        kind = versions.dtype(api, declared[name])
        if kind == tensor.dtype and has_floats:
            continue
        network.unmark_output(tensor)
        tensor.name = f"{name} of the model"
        _mark_typed(api, network, tensor, kind, name)


def fix_sizes(network: Any, case: Case) -> None:
    """Give inputs of ``network`` the case's sizes where the file leaves them open and the case does not: an engine has
    ranges of those that the case keeps dynamic only.
    """
    open_axes, inputs = shapes.dynamic_axes(case), case.resolved
    for index in range(network.num_inputs):
        tensor = network.get_input(index)
        sizes = versions.dims(tensor.shape)
        if tensor.name in inputs and any(
            size == -1 and axis not in open_axes[tensor.name] for axis, size in enumerate(sizes)
        ):
            wanted = inputs[tensor.name].shape
            tensor.shape = tuple(
                -1 if axis in open_axes[tensor.name] else int(size) for axis, size in enumerate(wanted)
            )


def from_function(api: library.Api, network: Any, case: Case, spec: str, context: Context) -> Network:
    """Fill ``network`` by the suite's function ``build(network, inputs, weights, trt) -> outputs``.

    ``inputs`` are the ITensors already added, by name, in the case's shapes (-1 where dynamic) and precision: float32
    for int8 and fp8, whose Q/DQ layers the function adds. ``weights`` is the model's state as NumPy arrays, floats as
    float16 at fp16 and as float32 otherwise; an array that the function makes itself is kept alive by its layer.
    ``trt`` is the module. What it returns, ITensors by the names of the model's outputs, is cast to the precision and
    marked.

    SuiteError if the function is missing, raises, or returns anything else.
    """
    function = _function(case, spec, context.suite_dir)
    state = weights.read_weights(context.artifacts[WEIGHTS])
    if case.precision == "fp16":
        state = {name: array.astype("float16") if array.dtype.kind == "f" else array for name, array in state.items()}
    inputs = {}
    for name, input_spec in resolve_shapes(case.inputs, case.symbols | dict.fromkeys(case.dynamic, -1)).items():
        inputs[name] = network.add_input(name, _io_dtype(api, case, input_spec.dtype), input_spec.shape)
        if inputs[name] is None:
            raise library.refusal(api, f"TensorRT does not take the input {name!r}")
    try:
        outputs = function(network, dict(inputs), state, api.module)
    except BenchError:
        raise
    except Exception as error:
        raise _wrong(case, f"{spec} raised {type(error).__name__}: {error}") from error
    tensor = api.module.ITensor
    if not isinstance(outputs, Mapping) or not outputs or not all(isinstance(t, tensor) for t in outputs.values()):
        raise _wrong(case, f"{spec} returned {outputs!r:.200}, not a dict of ITensors by output name")
    names = {name: _mark(api, network, case, name, output) for name, output in outputs.items()}
    _make_linear(api, network)
    return Network(network, {name: name for name in inputs}, names, keep=state, fields={"network": spec})


def _mark(api: library.Api, network: Any, case: Case, name: str, tensor: Any) -> str:
    """Mark an output, through a layer of its own so that any tensor can be one; the name it has in the engine."""
    kind = tensor.dtype
    if versions.dtype_name(kind) in _FLOATS:
        kind = _io_dtype(api, case, "float32")
    own = f"out.{name}" if name in case.inputs else name
    _mark_typed(api, network, tensor, kind, own)
    return own


def _mark_typed(api: library.Api, network: Any, tensor: Any, kind: Any, name: str) -> None:
    """Mark ``tensor`` as an output of the type ``kind``, through a layer of its own.

    TensorRT 8.6 dropped an identity behind BERT-base and made the output float32; a cast is to keep it, which no engine
    has shown yet.
    """
    narrow = versions.dtype_name(kind) in _NARROW and not versions.is_strongly_typed(api, network)
    layer = network.add_cast(tensor, kind) if narrow or kind != tensor.dtype else network.add_identity(tensor)
    if layer is None:
        raise library.refusal(api, f"TensorRT cannot mark the output {name!r}")
    layer.name = f"output {name}"
    output = layer.get_output(0)
    output.name = name
    network.mark_output(output)
    if not versions.is_strongly_typed(api, network):
        output.dtype = kind  # which is float32 otherwise, whatever the layer gives


def _make_linear(api: library.Api, network: Any) -> None:
    """Row-major inputs and outputs, so that buffers hold what NumPy holds."""
    linear = 1 << int(api.module.TensorFormat.LINEAR)
    for index in range(network.num_inputs):
        network.get_input(index).allowed_formats = linear
    for index in range(network.num_outputs):
        network.get_output(index).allowed_formats = linear


def _io_dtype(api: library.Api, case: Case, name: str) -> Any:
    """The type of an input that the suite calls ``asked``: floats at the precision, int64 as int32 where need be."""
    if name.startswith("float"):
        name = {"fp16": "float16", "bf16": "bfloat16"}.get(case.precision, "float32")
    if name == "int64" and not hasattr(api.module.DataType, "INT64"):
        name = "int32"
    return versions.dtype(api, name)


def _function(case: Case, spec: str, suite_dir: Path) -> Any:
    file, _, name = spec.partition(":")
    path = suite_dir / file
    if not path.is_file():
        raise _wrong(case, f"the network's file {file!r} is not beside the suite")
    try:
        module = userfile.execute(path, f"_network_{path.stem}")
    except Exception as error:
        what = f"{file} cannot be imported in the toolchain {case.toolchain!r}: {type(error).__name__}: {error}"
        raise _wrong(case, what) from error
    function = getattr(module, name, None)
    if not callable(function):
        raise _wrong(case, f"{file} has no function {name!r}")
    return function


def _wrong(case: Case, what: str) -> SuiteError:
    return SuiteError(
        what, where=case.source, fix="network: FILE.py:function(network, inputs, weights, trt) -> outputs"
    )

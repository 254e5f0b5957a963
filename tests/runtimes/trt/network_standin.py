"""Networks of the stand-in for TensorRT: tensors, layers, and the parser of what stands for an ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.runtimes.trt import onnx_standin
from tests.runtimes.trt.script import Named, ParseError

NARROW = ("HALF", "BF16")  # an output of 8.6 has these types only where they are set


class ITensor(Named):
    name = ""
    allowed_formats = 0
    dtype: Any = None
    shape: tuple[int, ...] = ()
    _parsed = False


class ILayer(Named):
    """A layer as the network gives it again, whatever its kind: with what all kinds have."""

    def __init__(self, kind: str, output: Any) -> None:
        self._kind, self._output, self._groups = kind, output, [1]

    @property
    def type(self) -> Any:
        return self._trt.LayerType[self._kind]

    def get_output(self, index: int) -> Any:
        assert index == 0
        return self._output


class IDeconvolutionLayer(ILayer):
    @property
    def num_groups(self) -> int:
        return int(self._groups[0])

    @num_groups.setter
    def num_groups(self, groups: int) -> None:
        self._groups[0] = groups


class INetworkDefinition(Named):
    def __init__(self) -> None:
        self._flags = 0
        self._inputs: list[Any] = []
        self._outputs: list[Any] = []
        self._layers: list[Any] = []

    @property
    def num_inputs(self) -> int:
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        return len(self._outputs)

    @property
    def num_layers(self) -> int:
        return len(self._layers)

    def get_input(self, index: int) -> Any:
        return self._inputs[index]

    def get_output(self, index: int) -> Any:
        return self._outputs[index]

    def get_layer(self, index: int) -> Any:
        layer = self._layers[index]
        plain = self._trt.ILayer(layer._kind, layer._output)
        plain._groups = layer._groups
        return plain

    def get_flag(self, flag: Any) -> bool:
        return bool(self._flags >> int(flag) & 1)

    def add_input(self, name: str, dtype: Any, shape: Sequence[int]) -> Any:
        self._inputs.append(self._tensor(name, dtype, shape))
        return self._inputs[-1]

    def add_identity(self, input: Any) -> Any:
        layer = self._layer("IDENTITY", input.dtype, input.shape)
        layer.get_output(0)._parsed = input._parsed
        return layer

    def add_cast(self, input: Any, to_type: Any) -> Any:
        return self._layer("CAST", to_type, input.shape)

    def add_deconvolution_nd(self, input: Any, num_output_maps: int, kernel_shape: Sequence[int], kernel: Any) -> Any:
        return self._layer("DECONVOLUTION", input.dtype, (input.shape[0], num_output_maps, *input.shape[2:]))

    def add_constant(self, shape: Sequence[int], weights: Any) -> Any:
        dtype = self._trt.DataType.HALF if weights.dtype == "float16" else self._trt.DataType.FLOAT
        return self._layer("CONSTANT", dtype, shape)

    def mark_output(self, tensor: Any) -> None:
        assert tensor.name not in [output.name for output in self._outputs]
        if self._script.major < 10 and tensor.dtype.name in NARROW:
            tensor.dtype = self._trt.DataType.FLOAT
        self._outputs.append(tensor)

    def unmark_output(self, tensor: Any) -> None:
        self._outputs.remove(tensor)

    def _layer(self, kind: str, dtype: Any, shape: Sequence[int]) -> Any:
        bound = self._trt.IDeconvolutionLayer if kind == "DECONVOLUTION" else self._trt.ILayer
        self._layers.append(bound(kind, self._tensor(f"layer {len(self._layers)}", dtype, shape)))
        return self._layers[-1]


class OnnxParser(Named):
    def __init__(self, network: Any, logger: Any) -> None:
        self._network = network
        self._logger = logger

    @property
    def num_errors(self) -> int:
        return len(self._script.parse_errors)

    def get_error(self, index: int) -> Any:
        return self._trt.ParserError(self._script.parse_errors[index])

    def set_flag(self, flag: Any) -> None:
        self._script.calls.append(f"parser {flag.name}")

    def parse_from_file(self, model: str) -> bool:
        for line in self._script.parse_log:
            self._logger.log(self._severity.ERROR, line)
        if self._script.parse_errors or self._script.parse_log:
            return False
        found = onnx_standin.read(Path(model))
        for name, dtype, shape in found["inputs"]:
            self._network.add_input(name, self._trt.DataType[dtype], shape)
        for name, dtype, shape in found["outputs"]:
            output = self._network._layer("IDENTITY", self._trt.DataType[dtype], shape).get_output(0)
            output.name = name
            self._network.mark_output(output)
            if not self._script.untyped_outputs:
                output.dtype = self._trt.DataType[dtype]
            output._parsed = True
        for groups in found.get("deconvolutions", ()):
            image = self._network._tensor("image", self._trt.DataType.HALF, (1, 8, 4, 4))
            self._network.add_deconvolution_nd(image, 8, (2, 2), b"").num_groups = groups
        return True


class ParserError(Named):
    def __init__(self, error: ParseError) -> None:
        self._error = error

    def node(self) -> int:
        return self._error.number

    def desc(self) -> str:
        return self._error.text

    def node_operator(self) -> str:
        return self._error.operator

    def node_name(self) -> str:
        return self._error.name

    def local_function_stack(self) -> list[str]:
        return list(self._error.stack)

"""Stands for TensorRT's module and INetworkDefinition: the same calls, computed by torch on the CPU."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from bench.lowering.oracle import indices, pointwise, quantization, resampling, shapes, sums, windows
from bench.lowering.oracle.core import NAMES, TYPES, Dims, Layer, Refusal, Tensor, Weights
from bench.lowering.oracle.enums import enums, number

LATEST = "11.4.0"


class Module:
    """Stands for the module ``tensorrt`` of ``version``: its enums, and the few classes that programs use."""

    Weights = Weights
    Permutation = tuple
    Dims = Dims

    def __init__(self, version: str = LATEST) -> None:
        self.__version__ = version
        self.__name__ = "tensorrt"
        for name, enum in enums(version).items():
            setattr(self, name, enum)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(f"the oracle's TensorRT {self.__dict__.get('__version__')} has no {name!r}")


class _Since:
    """A method that versions from this one on have; to others it is not there."""

    def __init__(self, version: str) -> None:
        self._version = number(version)
        self.function: Callable[..., Any]

    def __call__(self, function: Callable[..., Any]) -> Any:
        self.function = function
        self.__doc__ = function.__doc__
        return self

    def __get__(self, instance: Network | None, owner: type) -> Any:
        if instance is None:
            return self.function
        if instance.version < self._version:
            raise AttributeError(self.function.__name__)  # Network.__getattr__ says why
        return self.function.__get__(instance, owner)


class Network:
    """Stands for an INetworkDefinition, strongly typed whatever the version.

    ``inputs``: the values that ``add_input`` gives out, by name. Every call and every setting is TensorRT's, and what
    it refuses raises Refusal with the program's line and the layer, where TensorRT returns None or an
    output without a shape. ``results`` are the values of the outputs that the program has marked.
    """

    def __init__(self, trt: Module, inputs: Mapping[str, torch.Tensor]) -> None:
        self.trt: Any = trt
        self.version = number(trt.__version__)
        self.name = ""
        self.layers: list[Layer] = []
        self.layer_names: dict[str, Layer] = {}
        self.input_tensors: list[Tensor] = []
        self.output_tensors: list[Tensor] = []
        self._values = dict(inputs)

    # ---------------------------------------------------------------------------------------------- inputs and outputs

    def add_input(self, name: str, dtype: Any, shape: Sequence[int]) -> Tensor:
        """The values of that name; -1 stands for any size. Values of int64 are converted to INT32."""
        place = f"add_input({name!r})"
        if name not in self._values:
            raise Refusal(f"{place}: there are no values of that name, only of {', '.join(self._values) or 'none'}")
        if any(tensor.name == name for tensor in self.input_tensors):
            raise Refusal(f"{place}: there is such an input already")
        value, kind = self._values[name], dtype.name
        if kind not in TYPES:
            raise Refusal(f"{place}: the oracle does not compute {kind}")
        if kind == "INT32" and value.dtype == torch.int64:
            value = value.to(torch.int32)
        if value.dtype != TYPES[kind]:
            raise Refusal(f"{place}: values of {NAMES.get(value.dtype, value.dtype)} for an input of {kind}")
        fits = len(shape) == value.dim() and all(a in (-1, b) for a, b in zip(shape, value.shape, strict=True))
        if not fits:
            raise Refusal(f"{place}: values of shape {tuple(value.shape)} for an input of shape {tuple(shape)}")
        tensor = Tensor(self, None)
        tensor.name, tensor._value = name, value.detach().contiguous()
        self.input_tensors.append(tensor)
        return tensor

    def mark_output(self, tensor: Tensor) -> None:
        """Make a tensor an output, under its name."""
        if tensor.is_network_input or tensor.is_network_output:
            raise Refusal(
                f"mark_output: {tensor.name!r} is an {'input' if tensor.is_network_input else 'output'} already"
            )
        if any(other.name == tensor.name for other in self.output_tensors + self.input_tensors):
            raise Refusal(f"mark_output: two tensors are called {tensor.name!r}")
        self.output_tensors.append(tensor)

    def unmark_output(self, tensor: Tensor) -> None:
        """Make an output a tensor like others."""
        self.output_tensors = [other for other in self.output_tensors if other is not tensor]

    def results(self) -> dict[str, torch.Tensor]:
        """The values of the outputs by name."""
        return {tensor.name: tensor.value for tensor in self.output_tensors}

    num_inputs = property(lambda self: len(self.input_tensors), doc="How many inputs there are.")
    num_outputs = property(lambda self: len(self.output_tensors), doc="How many outputs are marked.")
    num_layers = property(lambda self: len(self.layers), doc="How many layers there are.")

    def get_input(self, index: int) -> Tensor:
        """An input."""
        return self.input_tensors[index]

    def get_output(self, index: int) -> Tensor:
        """An output."""
        return self.output_tensors[index]

    def get_layer(self, index: int) -> Layer:
        """A layer."""
        return self.layers[index]

    def __getattr__(self, name: str) -> Any:
        if isinstance(vars(Network).get(name), _Since):
            raise AttributeError(f"TensorRT {self.trt.__version__} has no {name}")
        raise AttributeError(f"the oracle has no {name!r}")

    # --------------------------------------------------------------------------------------------------- value by value

    def add_activation(self, input: Tensor, type: Any) -> Layer:
        """See ``pointwise.Activation``."""
        return pointwise.Activation(self, "add_activation", [input], type=type)

    def add_unary(self, input: Tensor, op: Any) -> Layer:
        """See ``pointwise.Unary``."""
        return pointwise.Unary(self, "add_unary", [input], op=op)

    def add_elementwise(self, input1: Tensor, input2: Tensor, op: Any) -> Layer:
        """See ``pointwise.ElementWise``."""
        return pointwise.ElementWise(self, "add_elementwise", [input1, input2], op=op)

    def add_scale(self, input: Tensor, mode: Any, shift: Any = None, scale: Any = None, power: Any = None) -> Layer:
        """See ``pointwise.Scale``; the channels are the third dimension from the end."""
        axis = len(input.shape) - 3
        values = {"mode": mode, "shift": shift, "scale": scale, "power": power, "channel_axis": axis}
        return pointwise.Scale(self, "add_scale", [input], **values)

    def add_scale_nd(
        self, input: Tensor, mode: Any, shift: Any = None, scale: Any = None, power: Any = None,
        channel_axis: int | None = None,
    ) -> Layer:  # fmt: skip
        """See ``pointwise.Scale``. ``channel_axis`` has no default in TensorRT."""
        if channel_axis is None:
            raise TypeError("add_scale_nd needs channel_axis")
        values = {"mode": mode, "shift": shift, "scale": scale, "power": power, "channel_axis": channel_axis}
        return pointwise.Scale(self, "add_scale_nd", [input], **values)

    def add_select(self, condition: Tensor, then_input: Tensor, else_input: Tensor) -> Layer:
        """See ``pointwise.Select``."""
        return pointwise.Select(self, "add_select", [condition, then_input, else_input])

    def add_parametric_relu(self, input: Tensor, slopes: Tensor) -> Layer:
        """See ``pointwise.ParametricReLU``."""
        return pointwise.ParametricReLU(self, "add_parametric_relu", [input, slopes])

    def add_cast(self, input: Tensor, to_type: Any) -> Layer:
        """See ``pointwise.Cast``."""
        return pointwise.Cast(self, "add_cast", [input], to_type=to_type)

    def add_identity(self, input: Tensor) -> Layer:
        """The input."""
        return pointwise.Identity(self, "add_identity", [input])

    # ---------------------------------------------------------------------------------------------------------- windows

    def add_convolution_nd(
        self, input: Tensor, num_output_maps: int, kernel_shape: Sequence[int], kernel: Any, bias: Any = None
    ) -> Layer:
        """See ``windows.Convolution``."""
        values = {"num_output_maps": num_output_maps, "kernel_size_nd": tuple(kernel_shape)}
        return windows.Convolution(self, "add_convolution_nd", [input], kernel=kernel, bias=bias, **values)

    def add_deconvolution_nd(
        self, input: Tensor, num_output_maps: int, kernel_shape: Sequence[int], kernel: Any, bias: Any = None
    ) -> Layer:
        """See ``windows.Deconvolution``."""
        values = {"num_output_maps": num_output_maps, "kernel_size_nd": tuple(kernel_shape)}
        return windows.Deconvolution(self, "add_deconvolution_nd", [input], kernel=kernel, bias=bias, **values)

    def add_pooling_nd(self, input: Tensor, type: Any, window_size: Sequence[int]) -> Layer:
        """See ``windows.Pooling``."""
        return windows.Pooling(self, "add_pooling_nd", [input], type=type, window_size_nd=tuple(window_size))

    # ----------------------------------------------------------------------------------------------------------- shapes

    def add_constant(self, shape: Sequence[int], weights: Any) -> Layer:
        """See ``shapes.Constant``."""
        return shapes.Constant(self, "add_constant", [], shape=tuple(shape), weights=weights)

    def add_shuffle(self, input: Tensor) -> Layer:
        """See ``shapes.Shuffle``."""
        return shapes.Shuffle(self, "add_shuffle", [input])

    def add_concatenation(self, inputs: Sequence[Tensor]) -> Layer:
        """See ``shapes.Concatenation``."""
        return shapes.Concatenation(self, "add_concatenation", shapes.inputs_of(inputs))

    def add_slice(self, input: Tensor, start: Sequence[int], shape: Sequence[int], stride: Sequence[int]) -> Layer:
        """See ``shapes.Slice``."""
        values = {"start": tuple(start), "shape": tuple(shape), "stride": tuple(stride)}
        return shapes.Slice(self, "add_slice", [input], **values)

    def add_padding_nd(self, input: Tensor, pre_padding: Sequence[int], post_padding: Sequence[int]) -> Layer:
        """See ``shapes.Padding``."""
        values = {"pre_padding_nd": tuple(pre_padding), "post_padding_nd": tuple(post_padding)}
        return shapes.Padding(self, "add_padding_nd", [input], **values)

    def add_shape(self, input: Tensor) -> Layer:
        """See ``shapes.Shape``."""
        return shapes.Shape(self, "add_shape", [input])

    @_Since("10.7")
    def add_squeeze(self, input: Tensor, axes: Tensor) -> Layer:
        """See ``shapes.Squeeze``."""
        return shapes.Squeeze(self, "add_squeeze", [input, axes])

    @_Since("10.7")
    def add_unsqueeze(self, input: Tensor, axes: Tensor) -> Layer:
        """See ``shapes.Unsqueeze``."""
        return shapes.Unsqueeze(self, "add_unsqueeze", [input, axes])

    def add_fill(self, shape: Sequence[int], op: Any, output_type: Any = None) -> Layer:
        """See ``shapes.Fill``. ``output_type`` from TensorRT 10.0 on."""
        self._require_version(output_type is None, (10, 0), "add_fill takes output_type")
        return shapes.Fill(self, "add_fill", [], shape=tuple(shape), operation=op, to_type=output_type)

    # ---------------------------------------------------------------------------------------------------------- indices

    def add_gather(self, input: Tensor, indices: Tensor, axis: int) -> Layer:
        """See ``indices.Gather``."""
        return _gather(self, "add_gather", [input, indices], axis=axis)

    def add_gather_v2(self, input: Tensor, indices: Tensor, mode: Any) -> Layer:
        """See ``indices.Gather``."""
        return _gather(self, "add_gather_v2", [input, indices], mode=mode)

    def add_scatter(self, data: Tensor, indices: Tensor, updates: Tensor, mode: Any) -> Layer:
        """See ``indices.Scatter``."""
        return _scatter(self, "add_scatter", [data, indices, updates], mode=mode)

    def add_one_hot(self, indices: Tensor, values: Tensor, depth: Tensor, axis: int) -> Layer:
        """See ``indices.OneHot``."""
        return _one_hot(self, "add_one_hot", [indices, values, depth], axis=axis)

    def add_non_zero(self, input: Tensor, indices_type: Any = None) -> Layer:
        """See ``indices.NonZero``. ``indices_type`` from TensorRT 10.14 on."""
        self._require_version(indices_type is None, (10, 14), "add_non_zero takes indices_type")
        return indices.NonZero(self, "add_non_zero", [input], indices_type=indices_type)

    def add_topk(self, input: Tensor, op: Any, k: int, axes: int, indices_type: Any = None) -> Layer:
        """See ``indices.TopK``. ``indices_type`` from TensorRT 10.14 on."""
        self._require_version(indices_type is None, (10, 14), "add_topk takes indices_type")
        return indices.TopK(self, "add_topk", [input], op=op, k=k, axes=axes, indices_type=indices_type)

    @_Since("10.8")
    def add_cumulative(self, input: Tensor, axis: Tensor, op: Any, exclusive: bool, reverse: bool) -> Layer:
        """See ``indices.Cumulative``."""
        values = {"op": op, "exclusive": exclusive, "reverse": reverse}
        return indices.Cumulative(self, "add_cumulative", [input, axis], **values)

    # ------------------------------------------------------------------------------------------------------------- sums

    def add_reduce(self, input: Tensor, op: Any, axes: int, keep_dims: bool) -> Layer:
        """See ``sums.Reduce``."""
        return sums.Reduce(self, "add_reduce", [input], op=op, axes=axes, keep_dims=keep_dims)

    def add_softmax(self, input: Tensor) -> Layer:
        """See ``sums.SoftMax``."""
        return sums.SoftMax(self, "add_softmax", [input])

    def add_normalization(self, input: Tensor, scale: Tensor, bias: Tensor, axesMask: int) -> Layer:
        """See ``sums.Normalization``, version 1."""
        return sums.Normalization(self, "add_normalization", [input, scale, bias], axes=axesMask)

    @_Since("10.15")
    def add_normalization_v2(self, input: Tensor, scale: Tensor, bias: Tensor, axesMask: int) -> Layer:
        """See ``sums.Normalization``, version 2."""
        return sums.Normalization(self, "add_normalization_v2", [input, scale, bias], axes=axesMask, v2=True)

    def add_matrix_multiply(self, input0: Tensor, op0: Any, input1: Tensor, op1: Any) -> Layer:
        """See ``sums.MatrixMultiply``."""
        return sums.MatrixMultiply(self, "add_matrix_multiply", [input0, input1], op0=op0, op1=op1)

    def add_einsum(self, inputs: Sequence[Tensor], equation: str) -> Layer:
        """See ``sums.Einsum``."""
        return sums.Einsum(self, "add_einsum", shapes.inputs_of(inputs), equation=equation)

    @_Since("10.14")
    def add_attention(self, query: Tensor, key: Tensor, value: Tensor, norm_op: Any, causal: bool) -> Layer:
        """See ``sums.Attention``."""
        return sums.Attention(self, "add_attention", [query, key, value], norm_op=norm_op, causal=causal)

    @_Since("11.0")
    def add_attention_v2(self, query: Tensor, key: Tensor, value: Tensor, norm_op: Any, causal_kind: Any) -> Layer:
        """See ``sums.Attention``."""
        return sums.Attention(self, "add_attention_v2", [query, key, value], norm_op=norm_op, causal_kind=causal_kind)

    # ----------------------------------------------------------------------------------------------------- quantization

    def add_quantize(self, input: Tensor, scale: Tensor, output_type: Any = None) -> Layer:
        """See ``quantization.Quantize``. ``output_type`` from TensorRT 10.0 on; since 11.0 there is no other form."""
        self._require_type_argument(output_type, "add_quantize")
        return quantization.Quantize(self, "add_quantize", [input, scale], to_type=output_type)

    def add_dequantize(self, input: Tensor, scale: Tensor, output_type: Any = None) -> Layer:
        """See ``quantization.Dequantize``. ``output_type`` as for ``add_quantize``."""
        self._require_type_argument(output_type, "add_dequantize")
        return quantization.Dequantize(self, "add_dequantize", [input, scale], to_type=output_type)

    def _require_type_argument(self, output_type: Any, call: str) -> None:
        self._require_version(output_type is None, (10, 0), f"{call} takes output_type")
        if output_type is None and self.version >= (11, 0):
            raise TypeError(f"{call} without output_type, in {self.trt.__version__}")

    # ------------------------------------------------------------------------------------------------------- resampling

    def add_resize(self, input: Tensor) -> Layer:
        """See ``resampling.Resize``."""
        return resampling.Resize(self, "add_resize", [input])

    def add_grid_sample(self, input: Tensor, grid: Tensor) -> Layer:
        """See ``resampling.GridSample``."""
        return resampling.GridSample(self, "add_grid_sample", [input, grid])

    def _require_version(self, absent: bool, version: tuple[int, int], what: str) -> None:
        if not absent and self.version < version:
            raise TypeError(f"{what} from TensorRT {version[0]}.{version[1]} on, not in {self.trt.__version__}")


# ``indices`` is also the name of an argument.
_gather, _scatter, _one_hot = indices.Gather, indices.Scatter, indices.OneHot

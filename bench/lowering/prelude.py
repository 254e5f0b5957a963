"""The prelude of a network program: what differs between versions of TensorRT, and checks of every layer.

Its source is copied into each program, so it needs NumPy alone, and the module ``trt`` and the network as arguments.
"""

from __future__ import annotations

from typing import Any

import numpy as np

# program: begin
_TYPES = {
    "float32": "FLOAT", "float16": "HALF", "bfloat16": "BF16", "int64": "INT32", "int32": "INT32", "int8": "INT8",
    "uint8": "UINT8", "bool": "BOOL", "float8_e4m3fn": "FP8",
}  # fmt: skip
_INT32 = np.iinfo(np.int32)


class Prelude:
    """What versions of TensorRT differ in. int64 is INT32 within a network, and only its inputs and outputs may be
    INT64, where the version has that.
    """

    def __init__(self, trt: Any, net: Any) -> None:
        self.trt = trt
        self.net = net
        self.arrays: list[Any] = []  # weights made here, which must live until the engine is built
        self.strongly_typed = trt.__name__ != "tensorrt" or int(trt.__version__.split(".")[0]) >= 10

    def dtype(self, name: str) -> Any:
        """``float16`` -> ``DataType.HALF``; ValueError if this version has no such type."""
        kind = getattr(self.trt.DataType, _TYPES[name], None)
        if kind is None:
            raise ValueError(f"TensorRT {self.trt.__version__} has no type {name}")
        return kind

    def input(self, name: str, dtype: str, shape: tuple[int, ...]) -> Any:
        """A new input of the network."""
        wide = dtype == "int64" and hasattr(self.trt.DataType, "INT64")
        kind = self.trt.DataType.INT64 if wide else self.dtype(dtype)
        tensor = self.net.add_input(name, kind, shape)
        if tensor is None:
            raise ValueError(f"TensorRT does not take the input {name!r}")
        tensor.allowed_formats = 1 << int(self.trt.TensorFormat.LINEAR)
        return self.cast(tensor, dtype, f"{name} as int32") if wide else tensor

    def output(self, tensor: Any, name: str, dtype: str) -> None:
        """Mark an output, through a layer of its own so that any tensor can be one."""
        kind = self.dtype(dtype)
        if dtype == "int64" and hasattr(self.trt.DataType, "INT64"):
            kind = self.trt.DataType.INT64
        layer = self.net.add_identity(tensor) if kind == tensor.dtype else self.net.add_cast(tensor, kind)
        result = self.out(layer, f"output {name}")
        result.name = name
        self.net.mark_output(result)
        if not self.strongly_typed:
            result.dtype = kind  # which is float32 otherwise, whatever the layer gives
        result.allowed_formats = 1 << int(self.trt.TensorFormat.LINEAR)

    def out(self, layer: Any, name: str, index: int = 0) -> Any:
        """An output of a layer that is complete; ValueError if TensorRT refuses the layer."""
        if layer is None:
            raise ValueError(f"TensorRT does not take the layer {name!r}; its log says why")
        layer.name = name
        tensor = layer.get_output(index)
        try:
            tuple(tensor.shape)
        except (AttributeError, RuntimeError, TypeError, ValueError) as error:  # by version; None, or a rank of -1
            raise ValueError(f"the layer {name!r} has no valid output; TensorRT's log says why") from error
        return tensor

    def bfloat16(self, array: Any) -> Any:
        """An argument that is weights, as bfloat16. NumPy lacks that type: ``array`` is float32, rounded here."""
        bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
        bits = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)  # to the nearest, ties to even
        self.arrays.append(bits)
        return self.trt.Weights(self.dtype("bfloat16"), bits.ctypes.data, bits.size)

    def constant(self, array: Any, name: str, dtype: str = "") -> Any:
        """A constant tensor of the array's type, or bfloat16; int64 becomes int32, values beyond it its ends."""
        array = np.asarray(array)
        if dtype == "bfloat16":
            return self.out(self.net.add_constant(array.shape, self.bfloat16(array)), name)
        is_bool = array.dtype == np.bool_
        if array.dtype == np.int64:
            array = array.clip(_INT32.min, _INT32.max)
        if array.dtype.kind in "iub":
            array = array.astype(np.int32)
        shape = array.shape
        array = np.ascontiguousarray(array)
        self.arrays.append(array)
        tensor = self.out(self.net.add_constant(shape, array), name)
        return self.cast(tensor, "bool", f"{name} as bool") if is_bool else tensor

    def scalar(self, value: float, dtype: str, rank: int, name: str) -> Any:
        """One number as a tensor of ``rank`` dimensions of size 1."""
        kind = "float32" if dtype == "bfloat16" else dtype
        return self.constant(np.full((1,) * rank, value, kind), name, dtype)

    def cast(self, tensor: Any, dtype: str, name: str) -> Any:
        """``tensor`` as another type; itself if it has that type."""
        kind = self.dtype(dtype)
        return tensor if tensor.dtype == kind else self.out(self.net.add_cast(tensor, kind), name)

    def size(self, tensor: Any, axis: int, name: str) -> Any:
        """The size of one dimension, as an int32 tensor of one element."""
        shape = self.cast(self.out(self.net.add_shape(tensor), f"{name} shape"), "int32", f"{name} shape as int32")
        return self.out(self.net.add_slice(shape, (axis,), (1,), (1,)), name)

    def sizes(self, parts: tuple[Any, ...], name: str) -> Any:
        """A shape of numbers and such tensors, as an int32 tensor of one dimension."""
        tensors = [
            self.constant(np.array([part], np.int32), f"{name} {index}") if isinstance(part, int) else part
            for index, part in enumerate(parts)
        ]
        layer = self.net.add_concatenation(tensors)
        layer.axis = 0
        return self.out(layer, name)

    def reshape(self, tensor: Any, shape: Any, name: str) -> Any:
        """``shape`` is a tuple, in which 0 takes the size from ``tensor`` and one -1 the rest, or an int32 tensor."""
        layer = self.net.add_shuffle(tensor)
        if isinstance(shape, tuple):
            layer.reshape_dims = shape
        else:
            layer.set_input(1, shape)
        return self.out(layer, name)


# program: end

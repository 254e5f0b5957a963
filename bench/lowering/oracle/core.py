"""Tensors and layers of a network that is computed as it is asked for, and the refusals of what TensorRT refuses."""

from __future__ import annotations

import abc
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import torch

from bench.errors import Unsupported

if TYPE_CHECKING:
    from bench.lowering.oracle.network import Network

_HERE = str(Path(__file__).parent)

# Members of DataType -> the types of torch that hold their values; those of the others are not computed here.
TYPES = {
    "FLOAT": torch.float32, "HALF": torch.float16, "BF16": torch.bfloat16, "INT8": torch.int8, "INT32": torch.int32,
    "INT64": torch.int64, "BOOL": torch.bool, "UINT8": torch.uint8, "FP8": torch.float8_e4m3fn,
}  # fmt: skip
NAMES = {dtype: name for name, dtype in TYPES.items()}
FLOATS = frozenset({"FLOAT", "HALF", "BF16"})
INTEGERS = frozenset({"INT32", "INT64"})
NUMBERS = FLOATS | INTEGERS
MAX_DIMS = 8


class Refusal(Unsupported):
    """TensorRT refuses the layer, or leaves open what it computes: line of the program, layer, why."""


class Dims(tuple[int, ...]):
    """Stands for ``trt.Dims``: a shape, which is compared with a tuple or a list and not with another one."""

    __slots__ = ()
    __hash__ = tuple.__hash__

    def __eq__(self, other: object) -> bool:
        if isinstance(other, Dims) or not isinstance(other, tuple | list):
            raise TypeError("Dims are compared with a tuple: write tuple(a.shape) == tuple(b.shape)")
        return tuple(self) == tuple(other)

    def __ne__(self, other: object) -> bool:
        return not self == other


class Tensor:
    """Stands for an ITensor. Its shape is that of the values at hand: a dynamic size is the one of this run."""

    def __init__(self, network: Network, layer: Layer | None, index: int = 0) -> None:
        self._network = network
        self._layer = layer
        self._index = index
        self._value: torch.Tensor | None = None
        self._name = ""
        self._readers: list[Layer] = []
        self.allowed_formats = 0

    @property
    def value(self) -> torch.Tensor:
        """The values. Raises Refusal if the layer is refused."""
        if self._layer is not None:
            return self._layer.outputs()[self._index]
        assert self._value is not None
        return self._value

    @property
    def shape(self) -> Dims:
        """The sizes."""
        return Dims(self.value.shape)

    @property
    def dtype(self) -> Any:
        """A member of DataType."""
        return self._network.trt.DataType[self.kind]

    @dtype.setter
    def dtype(self, kind: Any) -> None:
        if self._network.version >= (11, 0):
            raise AttributeError("ITensor.dtype cannot be set")
        if not self.is_network_output or kind.name != self.kind:
            raise Refusal(f"tensor {self.name!r}: a type of its own, {kind.name}, by another way than a cast")

    @property
    def kind(self) -> str:
        """The name of the type, ``HALF``."""
        return NAMES[self.value.dtype]

    @property
    def name(self) -> str:
        """As set, or after the layer."""
        if self._name or self._layer is None:
            return self._name
        return f"{self._layer.name}[{self._index}]"

    @name.setter
    def name(self, name: str) -> None:
        self._name = name

    @property
    def is_network_input(self) -> bool:
        """Whether ``add_input`` made it."""
        return self._layer is None

    @property
    def is_network_output(self) -> bool:
        """Whether it is marked."""
        return any(tensor is self for tensor in self._network.output_tensors)


class Layer(abc.ABC):
    """Stands for an ILayer: computes when an output's value, shape or type is asked for, anew after a change.

    ``interface`` is the name of the class in TensorRT. A subclass names in ``settings`` the properties that may be set,
    with their defaults, and computes in ``_compute``.
    """

    interface: ClassVar[str] = "ILayer"
    settings: ClassVar[dict[str, Any]] = {}
    optional_inputs: ClassVar[int] = 0  # how many more than ``add_*`` gives may be set

    def __init__(self, network: Network, call: str, inputs: Sequence[Tensor | None], **values: Any) -> None:
        self._network = network
        self._call = call
        self._line = _line()
        self._outputs: list[torch.Tensor] | None = None
        self._tensors: dict[int, Tensor] = {}
        self._inputs: list[Tensor | None] = []
        self._name = f"(unnamed layer {len(network.layers)})"
        for name, value in (self.settings | values).items():
            object.__setattr__(self, name, value)
        for index, tensor in enumerate(inputs):
            self._put(index, tensor)
        self._settable = len(inputs) + self.optional_inputs
        network.layers.append(self)

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """The settings, which ``__init__`` makes attributes."""

    # --------------------------------------------------------------------------------------------- what programs call

    name = property(lambda self: self._name, lambda self, name: self._rename(name), doc="The name, for messages.")

    @property
    def num_inputs(self) -> int:
        """How many inputs are set."""
        return len(self._inputs)

    @property
    def num_outputs(self) -> int:
        """How many tensors the layer has computed."""
        return len(self.outputs())

    def get_input(self, index: int) -> Tensor | None:
        """An input, None if it is not set."""
        return self._inputs[index] if index < len(self._inputs) else None

    def get_output(self, index: int) -> Tensor:
        """An output, which is computed once its value, shape or type is asked for."""
        if index not in self._tensors:
            self._tensors[index] = Tensor(self._network, self, index)
        return self._tensors[index]

    def set_input(self, index: int, tensor: Tensor) -> None:
        """Replace an input, or give one that ``add_*`` does not take."""
        if not 0 <= index < self._settable:
            raise self.refusal(f"it has no input {index}")
        self._put(index, tensor)
        self._forget()

    def __setattr__(self, name: str, value: Any) -> None:
        if name in self.settings:
            self._check_setting(name, value)
            object.__setattr__(self, name, value)
            self._forget()
        elif name.startswith("_") or name == "name":
            object.__setattr__(self, name, value)
        else:
            raise AttributeError(f"{self._where()}: {self.interface} has no property {name!r} that can be set")

    # ------------------------------------------------------------------------------------------------------ computing

    @abc.abstractmethod
    def _compute(self) -> list[torch.Tensor]:
        """The outputs, from ``inputs`` and the settings."""

    def outputs(self) -> list[torch.Tensor]:
        """The values of all outputs. Raises Refusal."""
        if self._outputs is None:
            try:
                outputs = self._compute()
            except (RuntimeError, IndexError) as error:
                raise self.refusal(str(error).partition("\n")[0]) from error
            for value in outputs:
                self.require(value.dim() <= MAX_DIMS, f"a tensor has at most {MAX_DIMS} dimensions")
            self._outputs = outputs
        return self._outputs

    def value(self, index: int) -> torch.Tensor:
        """The values of an input."""
        tensor = self.get_input(index)
        if tensor is None:
            raise self.refusal(f"its input {index} is not set")
        return tensor.value

    def integers(self, index: int) -> tuple[int, ...]:
        """An input that holds sizes: one dimension of INT32 or INT64."""
        value = self.value(index)
        self.require(
            NAMES[value.dtype] in INTEGERS and value.dim() == 1, f"input {index} must be integers in one dimension"
        )
        return tuple(int(item) for item in value)

    def has(self, index: int) -> bool:
        """Whether an input is set."""
        return self.get_input(index) is not None

    # ------------------------------------------------------------------------------------------------------ refusals

    def refusal(self, why: str) -> Refusal:
        """The error that says why TensorRT does not take this layer."""
        return Refusal(f"{self._where()}: {why}")

    def require(self, condition: bool, why: str) -> None:
        """Raise Refusal unless ``condition``."""
        if not condition:
            raise self.refusal(why)

    def require_type(self, kinds: frozenset[str] | set[str], *indices: int) -> str:
        """The type of these inputs, which must be the same and one of ``kinds``."""
        types = [NAMES[self.value(index).dtype] for index in indices]
        self.require(len(set(types)) == 1, f"inputs of different types: {', '.join(types)}")
        self.require(types[0] in kinds, f"an input of {types[0]}; the layer takes {', '.join(sorted(kinds))}")
        return types[0]

    def member(self, value: Any, enum: str) -> str:
        """The name of ``value``, which must be a member of that enum."""
        if type(value).__name__ != enum:
            raise TypeError(f"{self._where()}: {value!r} is no member of {enum}")
        return str(value.name)

    def axes_of(self, mask: int, rank: int) -> list[int]:
        """The dimensions whose bits are set; one at least, none beyond the rank."""
        axes = [axis for axis in range(MAX_DIMS) if mask >> axis & 1]
        self.require(bool(axes), "no axis is set")
        self.require(mask >> rank == 0, f"axes {axes} of a tensor of {rank} dimensions")
        return axes

    # ------------------------------------------------------------------------------------------------------- internal

    def _where(self) -> str:
        return f"{self._line}: layer {self._name!r} ({self._call})"

    def _rename(self, name: str) -> None:
        names = self._network.layer_names
        self.require(names.get(name, self) is self, f"another layer is called {name!r}, and names must be distinct")
        names.pop(self._name, None)
        names[name] = self
        self._name = name

    def _check_setting(self, name: str, value: Any) -> None:
        default = self.settings[name]
        wrong = value is None and name not in ("bias", "shift", "scale", "power", "mask")
        if wrong or (isinstance(default, bool) and not isinstance(value, bool | int)):
            raise TypeError(f"{self._where()}: {name} = {value!r}")

    def _put(self, index: int, tensor: Tensor | None) -> None:
        if tensor is not None and not isinstance(tensor, Tensor):
            raise TypeError(f"{self._where()}: input {index} is a {type(tensor).__name__}, no tensor of the network")
        self._inputs += [None] * (index + 1 - len(self._inputs))
        self._inputs[index] = tensor
        if tensor is not None:
            if tensor._network is not self._network:
                raise self.refusal(f"input {index} is a tensor of another network")
            _ = tensor.value  # a chain of layers is computed as it grows: recursion stays flat, refusals come early
            tensor._readers.append(self)

    def _forget(self) -> None:
        """Compute anew, and so must all layers that read the outputs."""
        if self._outputs is not None:
            self._outputs = None
            for tensor in self._tensors.values():
                for reader in tensor._readers:
                    reader._forget()


def _line() -> str:
    """``program.py:42``: the outermost line of the file that calls the oracle; where that file carries a prelude, the
    line is thus that of the program and not of the prelude.
    """
    frame = sys._getframe(1)
    while frame.f_back and frame.f_code.co_filename.startswith(_HERE):
        frame = frame.f_back
    name, line = frame.f_code.co_filename, frame.f_lineno
    while frame := frame.f_back:  # type: ignore[assignment]
        if frame.f_code.co_filename == name:
            line = frame.f_lineno
    return f"{Path(name).name}:{line}"


def wide(value: torch.Tensor) -> torch.Tensor:
    """Half precision as float32, in which layers compute; other types as they are."""
    return value.float() if value.dtype in (torch.float16, torch.bfloat16) else value


class Weights:
    """Stands for ``trt.Weights``: none, an array, or a type, an address and how many values lie there."""

    def __init__(self, *args: Any) -> None:
        self.value: torch.Tensor | None = None
        if len(args) == 1 and isinstance(args[0], np.ndarray):
            self.value = array(args[0])
        elif len(args) == 3:
            kind, address, count = args
            dtype = TYPES[kind.name]
            import ctypes

            size = count * dtype.itemsize
            data = (ctypes.c_char * size).from_address(address)
            self.value = torch.frombuffer(data, dtype=dtype).clone() if size else torch.empty(0, dtype=dtype)
        elif args and not (len(args) == 1 and hasattr(args[0], "name")):
            raise TypeError(f"Weights({', '.join(type(arg).__name__ for arg in args)})")


def array(values: np.ndarray[Any, Any]) -> torch.Tensor:
    """An array as values; ValueError for one that TensorRT's binding does not take."""
    if values.dtype.kind + str(values.dtype.itemsize) not in ("f4", "f2", "i8", "i4", "i1", "b1", "u1"):
        raise ValueError(f"weights of {values.dtype} are not taken by TensorRT")
    if not values.flags["C_CONTIGUOUS"]:
        raise ValueError("weights must be contiguous: pass numpy.ascontiguousarray(...)")
    return torch.from_numpy(np.array(values, order="C"))


def weights(value: Any) -> torch.Tensor | None:
    """What is passed for weights, in one dimension; None if it is empty."""
    if isinstance(value, np.ndarray):
        value = Weights(value)
    if value is None or (isinstance(value, Weights) and (value.value is None or value.value.numel() == 0)):
        return None
    if not isinstance(value, Weights):
        raise TypeError(f"weights are an array of NumPy or trt.Weights, not {type(value).__name__}")
    assert value.value is not None
    return value.value.reshape(-1)

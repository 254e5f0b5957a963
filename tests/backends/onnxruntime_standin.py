"""Sessions of ONNX Runtime whose device is the host: bindings, their streams, and a memory that can be full."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

ort = pytest.importorskip("onnxruntime")


class OnHost(ort.InferenceSession):  # type: ignore[misc]
    """The CPU provider under the CUDA provider's name, on the memory of ``Cuda``, which is the host's.

    ``on_cpu`` are the operators that the provider leaves to the CPU's, ``asked`` the providers with options of the
    latest one.
    """

    on_cpu: tuple[str, ...] = ()
    asked: tuple[tuple[str, dict[str, str]], ...] = ()

    def __init__(self, path: str, settings: Any, providers: list[Any]) -> None:
        OnHost.asked = tuple(each for each in providers if isinstance(each, tuple))
        super().__init__(path, settings, providers=["CPUExecutionProvider"])

    def get_providers(self) -> list[str]:
        return ["CUDAExecutionProvider"]

    def io_binding(self) -> Any:
        return Binding(self)

    def get_provider_graph_assignment_info(self) -> list[Any]:
        """As the real one, by node, with the names of the providers that would run it."""
        nodes = [node for part in super().get_provider_graph_assignment_info() for node in part.get_nodes()]
        names = ["CPUExecutionProvider" if node.op_type in self.on_cpu else "CUDAExecutionProvider" for node in nodes]
        return [
            SimpleNamespace(ep_name=name, get_nodes=lambda node=node: [node])
            for name, node in zip(names, nodes, strict=True)
        ]


class Binding(ort.IOBinding):  # type: ignore[misc]
    """Takes addresses of the device for the host's."""

    def bind_input(self, name: str, device_type: str, *rest: Any) -> None:
        super().bind_input(name, device_type.replace("cuda", "cpu"), *rest)

    def bind_output(self, name: str, device_type: str = "cpu", *rest: Any) -> None:
        super().bind_output(name, device_type.replace("cuda", "cpu"), *rest)


class FullBinding(Binding):
    """Finds no memory when outputs are bound, once inputs are."""

    def bind_output(self, name: str, device_type: str = "cpu", *rest: Any) -> None:
        raise RuntimeError("Failed to allocate memory for requested buffer of size 1024")

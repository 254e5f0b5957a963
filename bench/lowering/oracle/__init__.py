"""An interpreter of network programs: computes by torch, on the CPU, what TensorRT's layers are documented to compute.

``trt = Module("10.13.3")`` stands for the module of a version, ``Network(trt, inputs)`` for an empty network; after the
program's ``build(trt, net, weights)`` its outputs are ``net.results()``. It proves that a program computes what the
model computes if TensorRT does what its documentation says; it says nothing about speed, and of half precision only
that each layer's result is rounded to its type. What the documentation leaves open is refused.
"""

from bench.lowering.oracle.core import Refusal
from bench.lowering.oracle.network import LATEST, Module, Network

__all__ = ["LATEST", "Module", "Network", "Refusal"]

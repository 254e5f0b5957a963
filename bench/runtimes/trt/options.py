"""The options that a suite can set for engines of TensorRT and of TensorRT-RTX."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec

from bench.model.factory import program_of
from bench.model.suite import Case
from bench.runtimes import onnx
from bench.runtimes.cpp.program import Executor
from bench.runtimes.quantization import QuantizationOptions, quantization_options
from bench.units import parse_size

Strategy = Literal["lazy", "eager", "none"]
Route = Literal["onnx", "fx2trt"]
Deconvolutions = Literal["grouped", "dense"]
GraphStrategy = Literal["disabled", "whole_graph_capture"]


class EngineOptions(QuantizationOptions, frozen=True, kw_only=True):
    """How an engine is built, whichever of the two builds it; ``null`` is the builder's own default.

    ``exporter`` and ``opset`` make the ONNX file (8.6 reads up to opset 17, and the legacy exporter writes it).
    ``network`` is a function ``zoo.py:build`` that fills the network by hand in place of the file.
    With ``deconvolutions: dense`` transposed convolutions in groups of the file get a single group, and zeros in their
    kernels. ``workspace`` is in bytes or ``4 GiB``. Those of ``QuantizationOptions`` are of precision int8 alone.
    """

    exporter: onnx.Exporter = "legacy"
    opset: Annotated[int, msgspec.Meta(ge=7)] = 17
    network: str = ""
    deconvolutions: Deconvolutions = "grouped"
    workspace: Annotated[int, msgspec.Meta(gt=0)] | str | None = None
    optimization_level: Annotated[int, msgspec.Meta(ge=0, le=5)] | None = None
    tactic_sources: list[str] | None = None
    max_aux_streams: Annotated[int, msgspec.Meta(ge=0)] | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        try:
            empty = self.workspace_bytes == 0
        except ValueError as error:
            raise ValueError(f"workspace: {error}") from error
        if empty:
            raise ValueError("workspace: 0 bytes are no workspace")
        if self.network and not all(self.network.partition(".py:")):
            raise ValueError(f"network: {self.network!r} is not FILE.py:function")
        if self.network and self.dense_deconvolutions:
            raise ValueError(
                f"deconvolutions: dense cannot change the network of {self.network}: remove one of the two options"
            )

    @property
    def dense_deconvolutions(self) -> bool:
        """Whether transposed convolutions in groups get a single one."""
        return self.deconvolutions == "dense"

    @property
    def workspace_bytes(self) -> int | None:
        """``workspace`` as a number."""
        return parse_size(self.workspace) if isinstance(self.workspace, str) else self.workspace


class Options(EngineOptions, frozen=True, kw_only=True):
    """Of TensorRT: ``strongly_typed: null`` is wherever the version has it; ``plugins`` lie beside the suite.

    With ``tactic_heuristic`` the builder guesses which kernels are worth timing, which takes it less time: 8.5 and 8.6.

    ``calibrator`` is implicit int8, of TensorRT 8 alone, in place of Q/DQ in the file: its builder runs the network on
    ``samples`` inputs, drawn or of ``data``, and chooses the scales; or it takes those of ``calibration_cache``, a file
    beside the suite.

    ``executor: cpp`` has a C++ program run the engine, built with the headers in ``tensorrt_include`` (the folder of
    NvInfer.h; empty: the environment variable TENSORRT_INCLUDE, or where packages of the system have them).
    """

    timing_cache: bool = True
    tactic_heuristic: bool = False
    refit: bool = False
    version_compatible: bool = False
    hardware_compatible: Literal["none", "ampere_plus", "same_compute_capability"] = "none"
    strongly_typed: bool | None = None
    plugins: list[str] = []
    calibrator: Literal["entropy", "minmax"] | None = None
    calibration_cache: str = ""
    executor: Executor = "python"
    tensorrt_include: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_calibrator(self, self.calibrator, self.calibration_cache)


def check_calibrator(options: QuantizationOptions, calibrator: str | None, cache: str) -> None:
    """ValueError for a cache without a calibrator, and for options of Q/DQ beside one."""
    if calibrator is None and cache:
        raise ValueError("calibration_cache needs a calibrator, too: calibrator: entropy or minmax")
    if calibrator is not None and (options.producer or options.observer or options.placement or options.floating):
        raise ValueError("producer, observer, placement and floating choose Q/DQ: leave them or calibrator out")


def check_deconvolutions(deconvolutions: Deconvolutions, program: str) -> None:
    """ValueError where a program of the user's, which is not lowered, is to have other deconvolutions."""
    if program and deconvolutions != "grouped":
        raise ValueError(
            f"deconvolutions: {deconvolutions} cannot change the program in {program}: remove one of the two options; "
            f"trtbench codegen with deconvolutions: {deconvolutions} writes a program to edit that has them"
        )


def calibration_files(options: Options) -> list[str]:
    """The files beside the suite that implicit int8 reads."""
    data = (options.data or "").partition(":")[0]
    return [name for name in (data, options.calibration_cache) if name] if options.calibrator else []


class RtxOptions(EngineOptions, frozen=True, kw_only=True):
    """Of TensorRT-RTX.

    ``route: fx2trt`` builds the network program that ``fx2trt`` writes in place of an ONNX file, or the one that
    ``program`` names, a file beside the suite; with ``deconvolutions: dense`` as of ``fx2trt``.
    ``compute_capabilities`` are the GPUs that an engine is for: ``current``, numbers as ``[8.6, 8.9]``, or ``null`` for
    those of the builder's own default. The others say how the engine runs, and are no part of it: whether kernels that
    were compiled just in time are kept for the next process, when kernels are compiled for the sizes of a dynamic case,
    and whether the runtime captures CUDA graphs itself. ``executor`` and ``tensorrt_include`` are as of TensorRT, with
    the environment variable TENSORRT_RTX_INCLUDE; the C++ program keeps no kernels.
    """

    route: Route = "onnx"
    program: str = ""
    compute_capabilities: Literal["current"] | list[Annotated[float, msgspec.Meta(gt=0)]] | None = None
    runtime_cache: bool = True
    kernel_specialization: Strategy | None = None
    cuda_graph_strategy: GraphStrategy | None = None
    executor: Executor = "python"
    tensorrt_include: str = ""

    def __post_init__(self) -> None:
        super().__post_init__()
        plain = EngineOptions()
        if self.route == "onnx" and self.program:
            raise ValueError("program: a network program is one of route: fx2trt")
        check_deconvolutions(self.deconvolutions, self.program)
        if self.route == "fx2trt" and (self.network, self.exporter, self.opset) != ("", plain.exporter, plain.opset):
            raise ValueError("route: fx2trt takes no network, exporter or opset, which are those of the ONNX route")
        if self.program and not self.program.endswith(".py"):
            raise ValueError(f"program: {self.program!r} is no FILE.py")
        if self.compute_capabilities == []:
            raise ValueError("compute_capabilities: an engine for no GPU; leave it out for TensorRT-RTX's default")
        for number in self.compute_capabilities if isinstance(self.compute_capabilities, list) else ():
            if number * 10 != int(number * 10):
                raise ValueError(f"compute_capabilities: {number} is no compute capability, which reads as 8.9")


def no_route(case: Case) -> str | None:
    """Why no network can be made of ``case``: a function in place of an ONNX file, fp8 without either, or options that
    quantize where nothing is quantized here. Whether a file at int8 can be written says ``quantized_file.no_file``.
    """
    is_file, by_hand = program_of(case.factory) == "onnx", bool(case.options.get("network"))
    if is_file and by_hand:
        return f"{case.factory} is a network already; network: FILE.py:function would take its place"
    if calibrator := case.options.get("calibrator"):
        if case.precision != "int8" or by_hand or case.dynamic:
            return (
                f"calibrator: {calibrator} is of precision int8, of a model with fixed sizes, without a network by hand"
            )
        return None
    if by_hand and (names := quantization_options(case)):
        return f"{names}: a network by hand has the Q/DQ that its function adds"
    if case.precision == "fp8" and not by_hand and not is_file:
        return "the exporter writes no fp8 model; a function can: network: FILE.py:function"
    return None

"""The end of a network program: builds its engine as a script. Copied into each program."""

from __future__ import annotations

import argparse
import importlib
import sys
from pathlib import Path
from typing import Any

import numpy as np

PRECISION = "fp32"
PROFILE: dict[str, Any] = {}


def build(trt: Any, net: Any, weights: Any) -> Any:
    """In a program, the network."""


# program: begin
_CODES = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "I8": "|i1", "U8": "|u1",
    "BOOL": "|b1",
}  # fmt: skip


def read_weights(path: Path) -> dict[str, Any]:
    """The arrays of a safetensors file by name; those of bfloat16, which NumPy lacks, as float32.

    OSError if the file cannot be read, or is damaged.
    """
    arrays = {}
    safetensors = importlib.import_module("safetensors")
    try:
        entries = safetensors.deserialize(path.read_bytes())
    except safetensors.SafetensorError as error:
        raise OSError(f"it is damaged: {error}") from error
    for name, entry in entries:
        array = np.frombuffer(entry["data"], _CODES[entry["dtype"]])
        if entry["dtype"] == "BF16":
            array = (array.astype("<u4") << 16).view("<f4")
        arrays[name] = array.reshape(entry["shape"])
    return arrays


def new_network(trt: Any, builder: Any) -> Any:
    """An empty network: strongly typed where TensorRT has that, since 10."""
    flags = trt.NetworkDefinitionCreationFlag
    is_old = int(trt.__version__.split(".")[0]) < 10 and hasattr(flags, "EXPLICIT_BATCH")
    names = ["EXPLICIT_BATCH"] * is_old + ["STRONGLY_TYPED"] * hasattr(flags, "STRONGLY_TYPED")
    return builder.create_network(sum(1 << int(getattr(flags, name)) for name in names))


def build_engine(trt: Any, weights: Any, logger: Any, level: int | None = None) -> Any:
    """The serialised engine of this program; None where TensorRT cannot build it, and its log says why.

    ``level`` is TensorRT's optimization level, 0 (few kernels are timed) to 5; None is its default.
    """
    builder = trt.Builder(logger)
    net = new_network(trt, builder)
    alive = build(trt, net, weights)
    config = builder.create_builder_config()
    flags = {"fp16": ("FP16",), "int8": ("INT8", "FP16")}  # int8: what is not quantized runs in float16
    if not hasattr(trt.NetworkDefinitionCreationFlag, "STRONGLY_TYPED"):
        for name in flags.get(PRECISION, ()):
            config.set_flag(getattr(trt.BuilderFlag, name))
    if PRECISION != "tf32":
        config.clear_flag(trt.BuilderFlag.TF32)
    if level is not None:
        config.builder_optimization_level = level
    if PROFILE:
        profile = builder.create_optimization_profile()
        for name, points in PROFILE.items():
            profile.set_shape(name, *points)
        config.add_optimization_profile(profile)
    plan = builder.build_serialized_network(net, config)
    del alive
    return plan


def main() -> int:
    """Build the engine and write it to the file of the command line."""
    parser = argparse.ArgumentParser(description="Build the TensorRT engine of this network program.")
    parser.add_argument("plan", type=Path, help="the file to write")
    parser.add_argument("--module", default="tensorrt", help="tensorrt or tensorrt_rtx")
    parser.add_argument("--level", type=int, choices=range(6), help="optimization level; 0 builds fastest")
    arguments = parser.parse_args()
    if not arguments.plan.absolute().parent.is_dir():
        parser.error(f"there is no folder {arguments.plan.parent}")
    if arguments.plan.is_dir():
        parser.error(f"{arguments.plan} is a folder; name a file in it, e.g. {arguments.plan / 'engine.plan'}")
    try:
        trt = importlib.import_module(arguments.module)
        weights = read_weights(Path(__file__).with_name("weights.safetensors"))
    except ImportError as error:
        parser.error(f"{error}; install it, or name the module of TensorRT that is here: --module tensorrt_rtx")
    except OSError as error:
        parser.error(f"weights.safetensors, which belongs beside this file, cannot be read: {error}")
    plan = build_engine(trt, weights, trt.Logger(trt.Logger.WARNING), arguments.level)
    if plan is None:
        print("TensorRT could not build the engine; its messages above say why", file=sys.stderr)
        return 1
    try:
        arguments.plan.write_bytes(memoryview(plan))
    except OSError as error:
        parser.error(f"the engine cannot be written: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
# program: end

"""The engines of a program in parts, and its command line. Copied into each such program."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

ENGINES: dict[str, tuple[tuple[str, ...], tuple[str, ...]]] = {}
INPUTS: dict[str, Any] = {}


def forward(engines: Mapping[str, Any], weights: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """In a program, the model."""
    return {}


# program: begin
class Engine:
    """An engine of a block: takes tensors in order and returns a tuple of tensors, on the current stream of torch.

    It runs one call at a time; another stream needs an Engine of its own.
    """

    def __init__(self, trt: Any, engine: Any, inputs: tuple[str, ...], outputs: tuple[str, ...]) -> None:
        self.engine, self.context = engine, engine.create_execution_context()
        if self.context is None:
            raise RuntimeError("TensorRT could not create an execution context; its log says why")
        kinds = {"FLOAT": torch.float32, "HALF": torch.float16, "INT32": torch.int32, "INT64": torch.int64,
                 "BOOL": torch.bool, "BF16": torch.bfloat16}  # fmt: skip
        names = [engine.get_tensor_name(index) for index in range(engine.num_io_tensors)]
        self.types = {name: kinds[engine.get_tensor_dtype(name).name] for name in names}
        self.inputs, self.outputs = inputs, outputs

    def __call__(self, *tensors: Any) -> tuple[Any, ...]:
        """One inference, which is only issued. An input that the network does not use is left out."""
        alive, device = [], tensors[0].device
        for name, tensor in zip(self.inputs, tensors, strict=True):
            if name in self.types:
                alive.append(tensor.to(self.types[name]).contiguous())
                if not self.context.set_input_shape(name, tuple(tensor.shape)):
                    raise RuntimeError(f"the engine does not take {name} of the shape {tuple(tensor.shape)}")
                self.context.set_tensor_address(name, alive[-1].data_ptr())
        results = []
        for name in self.outputs:
            shape = tuple(self.context.get_tensor_shape(name))
            results.append(torch.empty(shape, dtype=self.types[name], device=device))
            self.context.set_tensor_address(name, results[-1].data_ptr())
        if not self.context.execute_async_v3(torch.cuda.current_stream(device).cuda_stream):
            raise RuntimeError("TensorRT could not run the engine; its log says why")
        return tuple(results)


def block_program(name: str) -> Any:
    """The module of an engine's program."""
    path = Path(__file__).parent / name / "program.py"
    spec = importlib.util.spec_from_file_location(f"_{name}", path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} is no Python module")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def build_engines(trt: Any, logger: Any, level: int | None = None) -> dict[str, Any]:
    """The serialised engine of each block. RuntimeError if TensorRT cannot build one; its log says why.

    ``level`` is TensorRT's optimization level, 0 (few kernels are timed) to 5; None is its default.
    """
    plans = {}
    for name in ENGINES:
        program = block_program(name)
        weights = program.read_weights(Path(__file__).parent / name / "weights.safetensors")
        plans[name] = program.build_engine(trt, weights, logger, level)
        if plans[name] is None:
            raise RuntimeError(f"TensorRT could not build {name}; its messages above say why")
    return plans


def main() -> int:
    """Build the engines beside this file; then run the model, if there are inputs."""
    parser = argparse.ArgumentParser(description="Build the engines of this model, and run it.")
    parser.add_argument("--module", default="tensorrt", help="tensorrt or tensorrt_rtx")
    parser.add_argument("--level", type=int, choices=range(6), help="optimization level; 0 builds fastest")
    parser.add_argument("--inputs", type=Path, help="a safetensors file of inputs by name: run the model on a GPU")
    parser.add_argument("--outputs", type=Path, help="the safetensors file to write its outputs to")
    arguments = parser.parse_args()
    if (arguments.inputs is None) != (arguments.outputs is None):
        parser.error("--inputs and --outputs belong together")
    try:
        import safetensors.torch

        trt = importlib.import_module(arguments.module)
    except ImportError as error:
        parser.error(f"{error}; install it, or name the module of TensorRT that is here: --module tensorrt_rtx")
    logger = trt.Logger(trt.Logger.WARNING)
    try:
        plans = build_engines(trt, logger, arguments.level)
    except OSError as error:
        parser.error(f"a file of an engine's program cannot be read: {error}")
    except RuntimeError as error:
        print(error, file=sys.stderr)
        return 1
    try:
        for name, plan in plans.items():
            (Path(__file__).parent / name / "engine.plan").write_bytes(memoryview(plan))
    except OSError as error:
        parser.error(f"the engines cannot be written: {error}")
    if arguments.inputs is None:
        return 0
    runtime = trt.Runtime(logger)
    engines = {name: Engine(trt, runtime.deserialize_cuda_engine(plan), *ENGINES[name]) for name, plan in plans.items()}
    try:
        weights = safetensors.torch.load_file(Path(__file__).parent / "weights.safetensors", device="cuda")
        inputs = safetensors.torch.load_file(arguments.inputs, device="cuda")
    except (OSError, safetensors.SafetensorError) as error:
        parser.error(f"weights.safetensors or {arguments.inputs} cannot be read: {error}")
    if lacking := [name for name in INPUTS if name not in inputs]:
        print(f"{arguments.inputs} has no {lacking[0]!r}; the model takes {', '.join(INPUTS)}", file=sys.stderr)
        return 2
    with torch.inference_mode():
        outputs = forward(engines, weights, inputs)
    contiguous = {name: tensor.detach().clone().contiguous() for name, tensor in outputs.items()}
    try:
        safetensors.torch.save_file(contiguous, arguments.outputs)
    except (OSError, safetensors.SafetensorError) as error:
        parser.error(f"the outputs cannot be written: {error}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
# program: end

"""The converters' cases on a GPU: programs written where PyTorch is new, engines built and run where TensorRT is.

    python -m tests.lowering.converters.on_gpu write FOLDER    # this checkout's PyTorch; no GPU
    python -m tests.lowering.converters.on_gpu run FOLDER      # any PyTorch with CUDA, and tensorrt

``run`` exits with 1 if a case fails to build or differs by more than the tolerance of its type.
"""

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bench import tensors
from bench.system import userfile

TOLERANCE = {"float32": 1e-3, "float16": 2e-2}
Arrays = Mapping[str, np.ndarray[Any, Any]]


def write(folder: Path) -> None:
    """A folder a case: the program, its inputs, and the outputs that PyTorch gives."""
    from tests.lowering.converters import kit
    from tests.lowering.converters.cases import CASES

    for name, case in CASES.items():
        place = folder / re.sub(r"\W+", "_", name)
        place.mkdir(parents=True, exist_ok=True)
        kit.program_of(case.function, case.inputs, case.weights).write(place)
        result = case.function(*case.inputs, *case.weights)
        results = result if isinstance(result, tuple | list) else (result,)
        inputs = {f"x{index}": value.contiguous().numpy() for index, value in enumerate(case.inputs)}
        tensors.write(place / "inputs.safetensors", inputs)
        outputs = {f"y{index}": value.contiguous().numpy() for index, value in enumerate(results)}
        tensors.write(place / "outputs.safetensors", outputs)


def run(folder: Path, module: str = "tensorrt") -> int:
    """How many cases fail."""
    trt = importlib.import_module(module)
    logger = trt.Logger(trt.Logger.ERROR)
    failures = 0
    for place in sorted(path.parent for path in folder.glob("*/program.py")):
        try:
            worst = _difference(trt, logger, place)
        except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
            worst = f"{type(error).__name__}: {error}".splitlines()[0]
        failures += isinstance(worst, str)
        print(f"{place.name:32} {worst if isinstance(worst, str) else f'{worst:.2e}'}", flush=True)
    return failures


def _difference(trt: Any, logger: Any, place: Path) -> float:
    """The largest difference of an output; AssertionError if it is beyond the tolerance."""
    program = userfile.execute(place / "program.py", "_program_on_gpu")
    plan = program.build_engine(trt, tensors.read(place / "weights.safetensors"), logger, 0)  # results, not times
    assert plan is not None, "no engine; TensorRT's messages are above"
    results = _run_engine(trt, logger, plan, tensors.read(place / "inputs.safetensors"))
    worst = 0.0
    for name, expected in tensors.read(place / "outputs.safetensors").items():
        actual = results[name]
        assert actual.shape == expected.shape, f"{name} has the shape {actual.shape}, not {expected.shape}"
        limit = TOLERANCE.get(expected.dtype.name, 0.0)
        wide = expected.astype(np.float64)
        close = np.isclose(actual.astype(np.float64), wide, rtol=limit, atol=limit, equal_nan=True)
        with np.errstate(invalid="ignore"):
            difference = float(np.nanmax(np.abs(actual.astype(np.float64) - wide), initial=0.0))
        assert close.all(), f"{name} differs by up to {difference:.3g} in {int((~close).sum())} of {close.size} values"
        worst = max(worst, difference)
    return worst


def _run_engine(trt: Any, logger: Any, plan: Any, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs of one inference, by PyTorch's memory on the GPU."""
    import torch

    engine = trt.Runtime(logger).deserialize_cuda_engine(plan)
    context = engine.create_execution_context()
    stream = torch.cuda.Stream()
    buffers = {}
    for index in range(engine.num_io_tensors):
        name = engine.get_tensor_name(index)
        kind = torch.from_numpy(np.empty(0, trt.nptype(engine.get_tensor_dtype(name)))).dtype
        if engine.get_tensor_mode(name) == trt.TensorIOMode.INPUT:
            buffers[name] = torch.from_numpy(np.array(inputs[name])).to(kind).cuda().contiguous()
            context.set_input_shape(name, tuple(buffers[name].shape))
        else:
            buffers[name] = torch.empty(tuple(context.get_tensor_shape(name)), dtype=kind, device="cuda")
        context.set_tensor_address(name, buffers[name].data_ptr())
    torch.cuda.synchronize()
    assert context.execute_async_v3(stream.cuda_stream)
    stream.synchronize()
    return {name: buffer.cpu().numpy() for name, buffer in buffers.items()}


if __name__ == "__main__":
    if len(sys.argv) not in (3, 4) or sys.argv[1] not in ("write", "run"):
        sys.exit(__doc__)
    if sys.argv[1] == "write":
        write(Path(sys.argv[2]))
    else:
        sys.exit(bool(run(Path(sys.argv[2]), *sys.argv[3:])))

"""The converters' cases on a GPU: programs written where PyTorch is new, engines built and run where TensorRT is.

    python -m tests.lowering.converters.on_gpu write FOLDER            # this checkout's PyTorch; no GPU
    python -m tests.lowering.converters.on_gpu run FOLDER [MODULE]     # any PyTorch with CUDA, and tensorrt

``run`` exits with 1 if a case fails to build or differs by more than the tolerance of its type, or is not run. One
builder and one runtime serve all cases. ``--shard 1/2`` takes every other case, for one of two GPUs. ``run FOLDER
tensorrt_rtx --build-only`` needs no GPU. Each case is printed as soon as it has ended; SIGTERM or Ctrl-C ends the run
with a summary that names what is left.
"""

from __future__ import annotations

import argparse
import importlib
import itertools
import re
import signal
import sys
import time
from collections.abc import Mapping, Sequence
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


class Shared:
    """TensorRT's module with one builder and one runtime for all programs: making a builder loads its kernels anew."""

    def __init__(self, module: str, *, runtime: bool) -> None:
        self._trt: Any = importlib.import_module(module)
        self.logger = self._trt.Logger(self._trt.Logger.ERROR)
        self._builder = self._trt.Builder(self.logger)
        self._runtime = self._trt.Runtime(self.logger) if runtime else None

    def __getattr__(self, name: str) -> Any:
        return getattr(self._trt, name)

    def Builder(self, logger: Any) -> Any:
        """The builder, in place of another."""
        return self._builder

    def Runtime(self, logger: Any) -> Any:
        """The runtime, in place of another."""
        return self._runtime


def shard(places: Sequence[Path], text: str) -> list[Path]:
    """The places of the part ``I/N``, counted from 1: every N-th, so that parts have the same kinds of cases.

    ValueError if there is no such part.
    """
    match = re.fullmatch(r"([1-9]\d*)/([1-9]\d*)", text)
    if match is None or int(match[1]) > int(match[2]):
        raise ValueError(f"{text!r} is no part I/N, as 1/2 and 2/2")
    return list(places[int(match[1]) - 1 :: int(match[2])])


def run(places: Sequence[Path], trt: Any, *, build_only: bool = False) -> int:
    """How many cases fail or are not run. KeyboardInterrupt ends the run."""
    failures: list[str] = []
    done, began = 0, time.monotonic()
    try:
        for number, place in enumerate(places, 1):
            start = time.monotonic()
            try:
                worst = _difference(trt, place, build_only=build_only)
            except (AssertionError, AttributeError, RuntimeError, TypeError, ValueError) as error:
                worst = f"{type(error).__name__}: {error}".splitlines()[0]
                failures.append(place.name)
            done = number
            text = worst if isinstance(worst, str) else f"{worst:.2e}"
            print(f"[{number}/{len(places)}] {place.name:32} {time.monotonic() - start:6.1f} s  {text}", flush=True)
    except KeyboardInterrupt:
        print("interrupted", flush=True)
    rest = [place.name for place in places[done:]]
    verb = "built" if build_only else "passed"
    print(f"{done - len(failures)} of {len(places)} cases {verb} in {time.monotonic() - began:.0f} s", flush=True)
    for what, names in (("failed", failures), ("not run", rest)):
        if names:
            print(f"{what}: {', '.join(names)}", flush=True)
    return len(failures) + len(rest)


def _difference(trt: Any, place: Path, *, build_only: bool) -> float | str:
    """The largest difference of an output, or the size of an engine that is not run; AssertionError if it is beyond the
    tolerance.
    """
    program = userfile.execute(place / "program.py", "_program_on_gpu")
    plan = program.build_engine(trt, tensors.read(place / "weights.safetensors"), trt.logger, 0)  # results, not times
    assert plan is not None, "no engine; TensorRT's messages are above"
    if build_only:
        return f"{plan.nbytes} bytes"
    results = _run_engine(trt, plan, tensors.read(place / "inputs.safetensors"))
    worst = 0.0
    for name, expected in tensors.read(place / "outputs.safetensors").items():
        actual = results[name]
        assert actual.shape == expected.shape, f"{name} has the shape {actual.shape}, not {expected.shape}"
        limit = TOLERANCE.get(expected.dtype.name, 0.0)
        wide = expected.astype(np.float64)
        close = np.isclose(actual.astype(np.float64), wide, rtol=limit, atol=limit, equal_nan=True)
        if actual.dtype.kind == "f":  # a mask may have another number for minus infinity (docs/measuring.md)
            numbers = [np.finfo(actual.dtype).min, actual.dtype.type(max(-1e38, np.finfo(actual.dtype).min))]
            close |= np.isneginf(wide) & np.isin(actual, numbers)
        with np.errstate(invalid="ignore"):
            difference = float(np.nanmax(np.abs(actual.astype(np.float64) - wide), initial=0.0))
        if not close.all():
            pairs = zip(actual[~close].flat, expected[~close].flat, strict=True)
            first = ", ".join(f"{one:.6g} for {other:.6g}" for one, other in itertools.islice(pairs, 3))
            count = f"{int((~close).sum())} of {close.size} values"
            raise AssertionError(f"{name} differs by up to {difference:.3g} in {count}: {first}")
        worst = max(worst, difference)
    return worst


def _run_engine(trt: Any, plan: Any, inputs: Arrays) -> dict[str, np.ndarray[Any, Any]]:
    """The outputs of one inference, by PyTorch's memory on the GPU."""
    import torch

    engine = trt.Runtime(trt.logger).deserialize_cuda_engine(plan)
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


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("verb", choices=("write", "run"))
    parser.add_argument("folder", type=Path)
    parser.add_argument("module", nargs="?", default="tensorrt", help="tensorrt (the default) or tensorrt_rtx")
    parser.add_argument("--shard", default="1/1", metavar="I/N", help="a part of the cases")
    parser.add_argument("--build-only", action="store_true", help="run no engine")
    arguments = parser.parse_args()
    if arguments.verb == "write":
        write(arguments.folder)
        return 0
    places = sorted(path.parent for path in arguments.folder.glob("*/program.py"))
    if not places:
        parser.error(f"there is no program in {arguments.folder}; write it first")
    try:
        places = shard(places, arguments.shard)
    except ValueError as error:
        parser.error(f"--shard: {error}")
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    return bool(
        run(places, Shared(arguments.module, runtime=not arguments.build_only), build_only=arguments.build_only)
    )


if __name__ == "__main__":
    sys.exit(main())

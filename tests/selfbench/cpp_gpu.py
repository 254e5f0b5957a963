"""The C++ runner on a GPU host: builds it, runs its tests, and measures both executors of the same artifacts.

``PYTHONPATH=. python3 -m tests.selfbench.cpp_gpu --out DIR`` prints how long the build takes, the compiler's output
if it fails, and per artifact the medians of both executors. ``--tensorrt INTERPRETER`` adds engines, in that toolchain;
``TENSORRT_INCLUDE`` then names the folder of NvInfer.h. ``--replicates 7`` has enough processes for verdicts.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from statistics import median

from bench import store
from bench.runtimes.cpp import building
from bench.runtimes.cpp.program import Runner

ZOO = '''\
import torch


def wide():
    layers = [torch.nn.Conv2d(3, 64, 3, padding=1), torch.nn.ReLU()]
    for _ in range(6):
        layers += [torch.nn.Conv2d(64, 64, 3, padding=1), torch.nn.BatchNorm2d(64), torch.nn.ReLU()]
    return torch.nn.Sequential(*layers, torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())


class Many(torch.nn.Module):
    """200 operators of some microseconds: the host is everything."""

    def forward(self, input):
        for step in range(100):
            input = torch.sin(input) + step
        return input


def many():
    return Many()
'''
SUITE = """\
schema: 1
name: cpp-gpu
device: cuda
models:
  wide: {{factory: zoo.py:wide, inputs: {{input: {{shape: [batch, 3, 112, 112]}}}}}}
  many: {{factory: zoo.py:many, inputs: {{input: {{shape: [batch, 1024]}}}}}}
matrix:
  backend: [torchscript, {{name: torchscript, executor: cpp}}, aoti, {{name: aoti, executor: cpp}}]
  precision: fp32
  batch: [1, 32]
  streams: [1, 2]
  include: [{engines}]
measure: {{replicates: {replicates}, max_time: 5s}}
{toolchains}
"""
ENGINE = "{{model: wide, backend: {backend}, precision: fp16, batch: {batch}, streams: {streams}, toolchain: trt}}"
BACKENDS = ("tensorrt", "{name: tensorrt, executor: cpp}")


def main() -> int:
    """Run all steps; 1 if one of them fails."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--tensorrt", default="")
    parser.add_argument("--replicates", type=int, default=3)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    built = _build(arguments.out / "torch")
    tested = _test(arguments.out / "tests")
    return 0 if built and tested and _measure(arguments.out, arguments.tensorrt, arguments.replicates) else 1


def _build(folder: Path) -> bool:
    """Build the runner for torch, and start it once."""
    installed = building.torch_installation()
    definitions = [f"-D{name}={value}" for name, value in installed.definitions.items()]
    with _timed("build of the runner for torch"):
        done = _call(["cmake", "-S", building.SOURCES, "-B", folder, "-DRUNTIME=torch", *definitions]) and _call(
            ["cmake", "--build", folder, "--parallel", "2"]
        )
    if done:
        with contextlib.closing(Runner(folder / building.PROGRAM)) as runner:
            print("runner:", runner.facts)
    return done


def _test(folder: Path) -> bool:
    """The tests of the program, and what its loop adds."""
    configure = ["cmake", "-S", building.SOURCES, "-B", folder, "-DRUNTIME=empty", "-DTRTBENCH_TESTS=ON"]
    done = _call(configure) and _call(["cmake", "--build", folder, "--parallel", "2"])
    if not (done and _call(["ctest", "--test-dir", folder, "--output-on-failure"])):
        return False
    added = subprocess.run([folder / "tests" / "overhead"], check=True, capture_output=True, text=True).stdout.strip()
    print(f"a call that does nothing reads {added} ns (goal <= 1000 ns)")
    return True


def _measure(out: Path, interpreter: str, replicates: int) -> bool:
    """Both executors of each artifact, and their medians."""
    (out / "zoo.py").write_text(ZOO)
    points = [(backend, batch, streams) for batch in (1, 32) for streams in (1, 2) for backend in BACKENDS]
    engines = [ENGINE.format(backend=backend, batch=batch, streams=streams) for backend, batch, streams in points]
    toolchains = f"toolchains: {{trt: {{python: {interpreter}}}}}" if interpreter else ""
    suite = out / "cpp-gpu.yaml"
    text = SUITE.format(engines=", ".join(engines if interpreter else []), replicates=replicates, toolchains=toolchains)
    suite.write_text(text)
    command = [sys.executable, "-m", "bench", "run", suite, "--store", out / "results", "--prestart", "2"]
    _call(command, quiet=False)
    runs = sorted((out / "results").rglob("*.jsonl"))
    if not runs:
        return False
    medians: dict[tuple[str, str], dict[bool, list[float]]] = defaultdict(lambda: defaultdict(list))
    failures = 0
    for record in store.read(runs[-1]).records:
        if record.failure:
            failures += 1
            print(f"{record.label}: {record.failure.kind}: {record.failure.message}\n{record.failure.log}")
        name = record.label.replace("[executor=cpp]", "")
        for each in record.measurements:
            value = each.window_ns / each.calls if each.calls else median(each.samples)
            medians[name, each.boundary][name != record.label].append(value)
    for (name, boundary), sides in sorted(medians.items()):
        if len(sides) == 2:
            python, cpp = (median(sides[side]) / 1000 for side in (False, True))
            print(f"{name:45} {boundary:11} python {python:9.1f} us  cpp {cpp:9.1f} us  {cpp / python:.3f}")
    return not failures


def _call(command: list[str | Path], *, quiet: bool = True) -> bool:
    """Whether a command succeeds; its output is printed if not."""
    texts = [str(word) for word in command]
    done = subprocess.run(texts, stdout=subprocess.PIPE if quiet else None, stderr=subprocess.STDOUT if quiet else None)
    if done.returncode and quiet:
        print(f"$ {' '.join(texts)}\n{done.stdout.decode(errors='replace')}")
    return done.returncode == 0


@contextlib.contextmanager
def _timed(what: str) -> Iterator[None]:
    start = time.monotonic()
    yield
    print(f"{what}: {time.monotonic() - start:.1f} s on {os.cpu_count()} cores (2 jobs)")


if __name__ == "__main__":
    sys.exit(main())

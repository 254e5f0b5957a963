"""Whether explanations hold on a GPU host: a lost fusion, a detector by three routes, and two modes of one compiler.

    PYTHONPATH=. python3 tests/selfbench/explain_gpu.py PART... --out DIR [--toolchain PYTHON] [--dry]

``fusion`` measures the two engines of suites/explain.yaml, with and without a tap at a convolution, and explains the
layers of one against those of the other: the first cause has to be the lost fusion, its cost within 20 % of the
difference of the measured medians. ``detector`` does so for CenterNet by eager PyTorch, ONNX Runtime (fp16 and tf32)
and TensorRT, ``modes`` for ResNet-50 by the modes reduce-overhead and max-autotune of torch.compile, which tries
kernels for some 5 minutes; these two print what explanations say beside what runs measure, and judge nothing.

``--toolchain`` is the interpreter with TensorRT 8.6. DIR keeps everything: ``*.md`` are the explanations, ``*.json``
the layers, the store has the runs and the profiles. ``--dry`` takes a small network and the CPU in place of the suites,
to try the script itself. The exit code is 1 if the lost fusion is not the first cause or costs another time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path
from typing import NamedTuple

import bench
from bench.analysis.explain import Explanation
from bench.errors import BenchError
from bench.report import explain as view
from bench.units import format_time

SUITES = Path(__file__).resolve().parents[2] / "suites"
NEAR = 0.20
ENGINES = "backend=tensorrt and not model=centernet and batch=32"
DRY = """\
schema: 1
name: dry
device: cpu
models: {net: {factory: zoo.py:net, inputs: {x: {shape: [batch, 3, 64, 64]}}}}
matrix:
  batch: 2
  precision: fp32
  backend: [eager, onnxruntime, inductor, {name: inductor, memory_format: channels_last}]
"""
DRY_ZOO = """\
import torch

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = torch.nn.Sequential(
            *[each for n in range(4) for each in (torch.nn.Conv2d(3 if n == 0 else 32, 32, 3), torch.nn.ReLU())]
        )
    def forward(self, x):
        return self.layers(x)

def net():
    return Net()
"""


class Pair(NamedTuple):
    """Two cases, each as `trtbench explain` takes it and by the label that a run has."""

    name: str
    a: str
    b: str


class Place(NamedTuple):
    """Where a part works: the suite, the folder of results, and what all commands have in common."""

    suite: str
    folder: Path
    dry: bool

    @property
    def store(self) -> Path:
        """The runs and profiles of this sitting."""
        return self.folder / "results"

    @property
    def common(self) -> tuple[object, ...]:
        """Options of each command."""
        return ("--cache", self.folder / "cache", "--progress", "plain")


def trtbench(*words: object, out: Path | None = None, check: bool = True) -> None:
    """One command; its output goes to ``out``. CalledProcessError if it fails and ``check``."""
    command = [sys.executable, "-m", "bench", *map(str, words)]
    print("$", " ".join(command[2:]), flush=True)
    began = time.monotonic()
    if out is None:
        subprocess.run(command, check=check)
    else:
        with out.open("w") as file:
            subprocess.run(command, check=check, stdout=file)
    print(f"  took {time.monotonic() - began:.0f} s", flush=True)


def place(suite: str, folder: Path, *, dry: bool) -> Place:
    """The suite by a path that a run may store: of this repository, or beside the results in a rehearsal."""
    if dry:
        (folder / "zoo.py").write_text(DRY_ZOO)
        (folder / "dry.yaml").write_text(DRY)
        return Place(str(folder / "dry.yaml"), folder, dry)
    return Place(os.path.relpath(SUITES / suite), folder, dry)


def fusion(folder: Path, *, dry: bool) -> bool:
    """Explain the tapped engine, and compare the first cause with what a run measures."""
    if dry:
        print("fusion needs TensorRT: nothing to try")
        return True
    here, layers = place("explain.yaml", folder, dry=dry), folder / "layers.json"
    trtbench("layers", here.suite, *here.common, "--select", ENGINES, "--format", "json", out=layers)
    trtbench("run", here.suite, *here.common, "--select", ENGINES, "--store", here.store)
    explanation = bench.explain(f"{layers}:whole", "tapped", across="model")
    show(folder, "fusion", explanation)
    medians = {label.partition("/")[0]: ns for label, ns in measured(here.store).items()}
    difference = medians["tapped"] - medians["whole"]
    part, cause = explanation.parts[0], explanation.parts[0].causes[0]
    error = cause.ns / difference - 1
    print(f"first cause: {cause.kind} in {part.name}, {view.signed(cause.ns)}")
    print(f"measured: {view.signed(round(difference))}, layers: {view.signed(explanation.difference)}")
    print(f"the cause differs from the measured difference by {error:+.1%}")
    return cause.kind == "fusion" and abs(error) <= NEAR


def detector(folder: Path, *, dry: bool) -> bool:
    """Explain the routes of CenterNet against each other."""
    here, layers = place("explain.yaml", folder, dry=dry), folder / "centernet.json"
    model = "" if dry else "model=centernet"
    if not dry:
        engine = ("--select", f"{model} and backend=tensorrt", "--format", "json")
        trtbench("layers", here.suite, *here.common, *engine, out=layers, check=False)
    others = ("--select", "backend=eager or backend=onnxruntime" if dry else f"{model} and not backend=tensorrt")
    trtbench("profile", here.suite, *here.common, *others, "--modules", "--store", here.store, check=False)
    every = () if dry else ("--select", model)
    trtbench("run", here.suite, *here.common, *every, "--quick", "--store", here.store, check=False)
    if dry:
        return compare(here, [Pair("eager-onnxruntime", "eager/fp32", "onnxruntime/fp32")])
    return compare(
        here,
        [
            Pair("eager-tensorrt", "eager/fp16", f"{layers}:tensorrt/fp16"),
            Pair("onnxruntime-tensorrt", "onnxruntime/fp16", f"{layers}:tensorrt/fp16"),
            Pair("eager-onnxruntime", "eager/fp16", "onnxruntime/fp16"),
            Pair("onnxruntime-tf32-fp16", "onnxruntime/tf32", "onnxruntime/fp16"),
            Pair("eager-onnxruntime-tf32", "eager/tf32", "onnxruntime/tf32"),
        ],
    )


def modes(folder: Path, *, dry: bool) -> bool:
    """Explain max-autotune against reduce-overhead."""
    here = place("compile_modes.yaml", folder, dry=dry)
    one, other = ("mode=reduce-overhead", "mode=max-autotune")
    if dry:
        select, pair = (
            ("--select", "backend=inductor"),
            Pair("modes", "net/inductor", "inductor[memory_format=channels_last]"),
        )
    else:
        chosen = [f'label="resnet50/inductor[{each}]/fp16/batch=1"' for each in (one, other)]
        select = ("--select", f'label="resnet50/eager/fp16/batch=1" or {" or ".join(chosen)}')
        pair = Pair("modes", f"inductor[{one}]", f"inductor[{other}]")
    trtbench("profile", here.suite, *here.common, *select, "--modules", "--store", here.store, check=False)
    trtbench("run", here.suite, *here.common, *select, "--quick", "--store", here.store, check=False)
    return compare(here, [pair])


def compare(here: Place, pairs: list[Pair]) -> bool:
    """Each explanation in full, then a line for each: its difference, what runs measure, and the largest causes."""
    medians, lines = measured(here.store), []
    for pair in pairs:
        try:
            explanation = bench.explain(pair.a, pair.b, store=here.store)
        except BenchError as error:
            lines.append(f"{pair.name}: {error}")
            continue
        show(here.folder, pair.name, explanation)
        a, b = (medians.get(side.label) for side in (explanation.a, explanation.b))
        both = view.signed(round(b - a)) if a and b else "unknown"
        lines.append(f"{pair.name}: explained {view.signed(explanation.difference)}, measured {both}")
        lines += [f"    {kind}: {view.signed(ns)} in {count} parts" for kind, ns, count in explanation.totals[:5]]
        lines += [f"    by {explanation.by}; largest: {part.name} {view.signed(part.difference)}"
                  for part in explanation.parts[:3]]  # fmt: skip
    print("\n".join(["", *(f"{label}: {format_time(ns)}" for label, ns in medians.items()), *lines]), flush=True)
    return True


def show(folder: Path, name: str, explanation: Explanation) -> None:
    """Write it, and print it."""
    (folder / f"{name}.md").write_text(view.markdown(explanation, most=25))
    (folder / f"{name}.json").write_text(view.json(explanation))
    print(view.render(explanation, width=120), flush=True)


def measured(store: Path) -> dict[str, float]:
    """The medians of the newest run, ns, by label: of ``gpu``, else of what was measured in its place."""
    try:
        run = bench.read(store=store)
    except BenchError as error:
        print(f"nothing is measured: {error}")
        return {}
    medians = {}
    for row in bench.rows(run):
        figure = row.times.get("gpu") or row.times.get("gpu_unheld") or row.times.get("latency")
        if figure is not None:
            medians[row.label] = figure.value
    return medians


PARTS = {"fusion": fusion, "detector": detector, "modes": modes}


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("parts", nargs="+", choices=tuple(PARTS))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--toolchain", help="the interpreter of TensorRT 8.6 (default: $TORCH22_PYTHON)")
    parser.add_argument("--dry", action="store_true", help="a small network on the CPU")
    options = parser.parse_args()
    if options.toolchain:
        os.environ["TORCH22_PYTHON"] = options.toolchain
    good = True
    for name in options.parts:
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        good = PARTS[name](folder, dry=options.dry) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

"""Whether explanations hold on a GPU host: a lost fusion, a detector by three routes, and two modes of one compiler.

    PYTHONPATH=. python3 tests/selfbench/explain_gpu.py PART... --out DIR [--toolchain PYTHON] [--dry]
    PYTHONPATH=. python3 tests/selfbench/explain_gpu.py detector --out DIR --size 512 --level 2 --timings DIR

``fusion`` measures the two engines of suites/explain.yaml, with and without a tap at a convolution, and explains the
layers of one against those of the other: the first cause has to be the lost fusion, its cost within 20 % of the
difference of the measured medians. ``detector`` does so for CenterNet by eager PyTorch, ONNX Runtime (fp16 and tf32)
and TensorRT, ``modes`` for ResNet-50 by the modes reduce-overhead and max-autotune of torch.compile, which tries
kernels for some 5 minutes; these two print what explanations say beside what runs measure, and judge nothing.

``--toolchain`` is the interpreter with TensorRT 8.6. DIR keeps everything: ``*.md`` are the explanations, ``*.json``
the layers, the store has the runs and the profiles. ``--dry`` takes a small network and the CPU in place of the suites,
to try the script itself. The exit code is 1 if the lost fusion is not the first cause or costs another time.

All parts together take ``--budget`` seconds at most: a step that is over its time is ended, the others go on, and a
table says which. For the detector, whose engine takes longest, ``--size`` is that of its images, ``--level`` TensorRT's
optimization level, ``--heuristic`` its flag for faster builds, ``--engine-limit`` the time for the engine; it is built
beside the exports of the others, which use the CPU alone. ``--timings`` is a folder with TensorRT's timing caches, read
before and written after: with these a second build of the engine times few kernels. ``--cache`` is the artifact cache,
by default a folder in DIR.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from pathlib import Path
from typing import NamedTuple

import bench
from bench.analysis.explain import Explanation
from bench.errors import BenchError
from bench.report import explain as view
from bench.units import format_time
from tests.selfbench.steps import Sitting

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
# TensorRT's cases have the model of the others, in the sizes of one sitting.
DETECTOR = """\
schema: 1
name: detector
device: cuda
toolchains:
  torch22: {{python: $TORCH22_PYTHON}}
models:
  centernet:
    factory: zoo.py:centernet
    inputs: {{x: {{shape: [batch, 3, {size}, {size}], dtype: float32}}}}
matrix:
  model: centernet
  batch: 1
  backend: [eager, onnxruntime]
  precision: [fp16, tf32]
  include:
    - {{model: centernet, backend: {{name: tensorrt{level}}}, precision: fp16, batch: 1, toolchain: torch22}}
baseline: eager
"""
# The cases whose engine is built, and those that are exported meanwhile.
DETECTOR_STEPS = ("backend=tensorrt", "backend=onnxruntime")
DRY_STEPS = ("backend=inductor", "backend=onnxruntime")
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
    """Where a part works: the suite, the folder of results, that of artifacts, and the time that steps have."""

    suite: str
    folder: Path
    cache: Path
    sitting: Sitting

    @property
    def store(self) -> Path:
        """The runs and profiles of this sitting."""
        return self.folder / "results"

    @property
    def common(self) -> tuple[object, ...]:
        """Options of each command."""
        return ("--cache", self.cache, "--progress", "plain")

    @property
    def stored(self) -> tuple[object, ...]:
        """Options of the commands that store what they measure."""
        return (*self.common, "--store", self.store)


def place(suite: str, folder: Path, options: argparse.Namespace) -> Place:
    """The suite by a path that a run may store: of this repository, or beside the results where it is written here."""
    cache = options.cache or folder / "cache"
    if options.dry:
        (folder / "zoo.py").write_text(DRY_ZOO)
        (folder / "dry.yaml").write_text(DRY)
        return Place(str(folder / "dry.yaml"), folder, cache, options.sitting)
    return Place(os.path.relpath(SUITES / suite), folder, cache, options.sitting)


def fusion(folder: Path, options: argparse.Namespace) -> bool:
    """Explain the tapped engine, and compare the first cause with what a run measures."""
    if options.dry:
        print("fusion needs TensorRT: nothing to try")
        return True
    here, layers = place("explain.yaml", folder, options), folder / "layers.json"
    select = ("--select", ENGINES)
    chosen = (here.suite, *here.common, *select, "--format", "json")
    done = here.sitting.run("layers of the engines", "layers", *chosen, limit=options.limit, out=layers)
    done = here.sitting.run("run", "run", here.suite, *here.stored, *select, limit=options.limit) and done
    if not done:
        return False
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


def detector(folder: Path, options: argparse.Namespace) -> bool:
    """Explain the routes of CenterNet against each other."""
    here, layers = detector_place(folder, options), folder / "centernet.json"
    engine, exports = DRY_STEPS if options.dry else DETECTOR_STEPS
    timings = here.cache / "shared" / "tensorrt"
    copy_timings(options.timings, timings)
    # Building times kernels: nothing else may use the GPU meanwhile, and exporting does not.
    build = ("build", here.suite, *here.common, "--select")
    with here.sitting.beside("engine", *build, engine, limit=options.engine_limit, log=folder / "engine.log"):
        here.sitting.run("exports", *build, exports, limit=options.limit)
    copy_timings(timings, options.timings)
    has_engine = here.sitting.steps[-1].end == "ended"
    if has_engine and not options.dry:
        chosen = (here.suite, *here.common, "--select", engine, "--format", "json")
        has_engine = here.sitting.run("layers", "layers", *chosen, limit=options.limit, out=layers)
    others = (here.suite, *here.stored, "--select", "backend=eager or backend=onnxruntime")
    here.sitting.run("profile", "profile", *others, "--modules", limit=options.limit)
    every = (here.suite, *here.stored) if has_engine else others
    here.sitting.run("run", "run", *every, "--quick", limit=options.limit)
    if options.dry:
        return compare(here, [Pair("eager-onnxruntime", "eager/fp32", "onnxruntime/fp32")])
    engines = [
        Pair("eager-tensorrt", "eager/fp16", str(layers)),
        Pair("onnxruntime-tensorrt", "onnxruntime/fp16", str(layers)),
    ]
    return compare(
        here,
        [
            *(engines if has_engine else []),
            Pair("eager-onnxruntime", "eager/fp16", "onnxruntime/fp16"),
            Pair("onnxruntime-tf32-fp16", "onnxruntime/tf32", "onnxruntime/fp16"),
            Pair("eager-onnxruntime-tf32", "eager/tf32", "onnxruntime/tf32"),
        ],
    )


def detector_place(folder: Path, options: argparse.Namespace) -> Place:
    """A suite of the detector at the size and the optimization level that are asked for, beside its model."""
    if options.dry:
        return place("", folder, options)
    shutil.copy(SUITES / "zoo.py", folder)
    level = "" if options.level is None else f", optimization_level: {options.level}"
    level += ", tactic_heuristic: true" * options.heuristic
    (folder / "detector.yaml").write_text(DETECTOR.format(size=options.size, level=level))
    options.sitting.place = folder  # so that runs have the suite by its name
    return Place("detector.yaml", folder, options.cache or folder / "cache", options.sitting)


def copy_timings(source: Path | None, target: Path | None) -> None:
    """Copy TensorRT's timing caches, whose names say for which version and GPU they are."""
    if source is None or target is None or not source.is_dir():
        return
    target.mkdir(parents=True, exist_ok=True)
    for path in source.glob("*.timing"):
        shutil.copy(path, target)
        print(f"timing cache: {target / path.name}, {path.stat().st_size} bytes", flush=True)


def modes(folder: Path, options: argparse.Namespace) -> bool:
    """Explain max-autotune against reduce-overhead."""
    here = place("compile_modes.yaml", folder, options)
    one, other = ("mode=reduce-overhead", "mode=max-autotune")
    if options.dry:
        select, pair = (
            ("--select", "backend=inductor"),
            Pair("modes", "net/inductor", "inductor[memory_format=channels_last]"),
        )
    else:
        chosen = [f'label="resnet50/inductor[{each}]/fp16/batch=1"' for each in (one, other)]
        select = ("--select", f'label="resnet50/eager/fp16/batch=1" or {" or ".join(chosen)}')
        pair = Pair("modes", f"inductor[{one}]", f"inductor[{other}]")
    here.sitting.run("profile", "profile", here.suite, *here.stored, *select, "--modules", limit=options.limit)
    here.sitting.run("run", "run", here.suite, *here.stored, *select, "--quick", limit=options.limit)
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
        work = explanation.b.work - explanation.a.work
        lines.append(f"{pair.name}: work explained {view.signed(work)}, gpu measured {both}")
        lines += [f"    {kind}: {view.signed(ns)} in {count} parts" for kind, ns, count in explanation.totals[:5]]
        lines += [f"    by {explanation.by}; largest: {part.name} {view.signed(part.difference)}"
                  for part in explanation.parts[:3]]  # fmt: skip
    summary = "\n".join(["", *(f"{label}: {format_time(ns)}" for label, ns in medians.items()), "", *lines, ""])
    (here.folder / "summary.txt").write_text(f"{here.sitting.table()}\n{summary}")
    print(summary, flush=True)
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
    parser.add_argument("--size", type=int, default=1024, help="height and width of the detector's images")
    parser.add_argument("--level", type=int, choices=range(6), help="TensorRT's optimization level for the detector")
    parser.add_argument("--heuristic", action="store_true", help="fewer kernels are timed for the detector's engine")
    parser.add_argument("--budget", type=float, default=1800, help="seconds for everything")
    parser.add_argument("--limit", type=float, default=600, help="seconds for a step")
    parser.add_argument("--engine-limit", type=float, default=900, help="seconds for the detector's engine")
    parser.add_argument("--timings", type=Path, metavar="DIR", help="TensorRT's timing caches, read and written")
    parser.add_argument("--cache", type=Path, metavar="DIR", help="the artifact cache")
    options = parser.parse_args()
    if options.toolchain:
        os.environ["TORCH22_PYTHON"] = options.toolchain
    for name in ("out", "cache", "timings"):
        path = getattr(options, name)
        setattr(options, name, path and path.resolve())
    options.sitting = Sitting(options.budget)
    good = True
    for name in options.parts:
        folder = options.out / name
        folder.mkdir(parents=True, exist_ok=True)
        options.sitting.place = None
        good = PARTS[name](folder, options) and good
    print(options.sitting.table(), flush=True)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())

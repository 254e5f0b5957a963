"""Whether explanations hold on a GPU host: a lost fusion against its measured cost, and a detector by three routes.

    PYTHONPATH=. python3 tests/selfbench/explain_gpu.py --out DIR [--toolchain PYTHON] [--only fusion|detector]

``fusion`` measures the two engines of suites/explain.yaml, with and without a tap at a convolution, and explains the
layers of one against those of the other: the first cause has to be the lost fusion, its cost within 20 % of the
difference of the measured medians. ``detector`` profiles CenterNet by eager PyTorch, ONNX Runtime and TensorRT and
writes the explanations of each pair. ``--toolchain`` is the interpreter with TensorRT 8.6. DIR keeps everything:
``*.md`` are the explanations, ``layers.json`` and the store of runs and profiles what they are of. The exit code is 1
if the lost fusion is not the first cause or costs another time.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from pathlib import Path

import bench
from bench.report import explain as view

# As runs have it: no path of this machine gets into results.
SUITE = os.path.relpath(Path(__file__).resolve().parents[2] / "suites" / "explain.yaml")
NEAR = 0.20
ENGINES = "backend=tensorrt and not model=centernet and batch=32"


def trtbench(*words: object, out: Path | None = None) -> None:
    """One command; its output goes to ``out``. CalledProcessError if it fails."""
    command = [sys.executable, "-m", "bench", *map(str, words)]
    print("$", " ".join(command[2:]), flush=True)
    if out is None:
        subprocess.run(command, check=True)
        return
    with out.open("w") as file:
        subprocess.run(command, check=True, stdout=file)


def fusion(folder: Path) -> bool:
    """Explain the tapped engine, and compare the first cause with what a run measures."""
    layers, store = folder / "layers.json", folder / "results"
    common = ("--cache", folder / "cache", "--progress", "plain", "--select", ENGINES)
    trtbench("layers", SUITE, *common, "--format", "json", out=layers)
    trtbench("run", SUITE, *common, "--store", store)
    explanation = bench.explain(f"{layers}:whole", "tapped", across="model")
    (folder / "fusion.md").write_text(view.markdown(explanation))
    print(view.render(explanation, width=120))
    medians = {}
    for row in bench.rows(bench.read(store=store)):
        figure = row.times.get("gpu") or row.times["latency"]
        medians[row.model] = figure.value
    measured = medians["tapped"] - medians["whole"]
    part, cause = explanation.parts[0], explanation.parts[0].causes[0]
    error = cause.ns / measured - 1
    print(f"first cause: {cause.kind} in {part.name}, {view.signed(cause.ns)}")
    print(f"measured: {view.signed(round(measured))}, layers: {view.signed(explanation.difference)}")
    print(f"the cause differs from the measured difference by {error:+.1%}")
    return cause.kind == "fusion" and abs(error) <= NEAR


def detector(folder: Path) -> bool:
    """Explain the routes of CenterNet against each other."""
    layers, store = folder / "centernet.json", folder / "results"
    common = ("--cache", folder / "cache", "--progress", "plain")
    select = "model=centernet and backend=tensorrt"
    trtbench("layers", SUITE, *common, "--select", select, "--format", "json", out=layers)
    select = "model=centernet and not backend=tensorrt"
    trtbench("profile", SUITE, *common, "--select", select, "--modules", "--store", store)
    pairs = {
        "eager-tensorrt": ("eager/fp16", f"{layers}:tensorrt"),
        "eager-onnxruntime": ("eager/fp16", "onnxruntime/fp16"),
        "onnxruntime-tf32-fp16": ("onnxruntime/tf32", "onnxruntime/fp16"),
    }
    for name, (a, b) in pairs.items():
        explanation = bench.explain(a, b, store=store)
        (folder / f"{name}.md").write_text(view.markdown(explanation))
        print(view.render(explanation, width=120))
    return True


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--toolchain", help="the interpreter of TensorRT 8.6 (default: $TORCH22_PYTHON)")
    parser.add_argument("--only", choices=("fusion", "detector"))
    options = parser.parse_args()
    if options.toolchain:
        os.environ["TORCH22_PYTHON"] = options.toolchain
    options.out.mkdir(parents=True, exist_ok=True)
    chosen = [fusion, detector] if not options.only else [{"fusion": fusion, "detector": detector}[options.only]]
    results = [each(options.out) for each in chosen]
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main())

"""What the placement of Q/DQ costs on a GPU: each rule's network of five layers before and after it is mended.

    PYTHONPATH=. python3 tests/selfbench/qdq_gpu.py --out DIR --toolchain PYTHON [--builds N] [RULE ...] [--dry]

``--toolchain`` is the interpreter with TensorRT 8.6; the running one needs PyTorch. Writes the network programs of all
variants and a suite that names them; runs it (`trtbench run`, three builds each, or ``--builds``) and prints its layers
(`trtbench layers`), one rule after the other, so that what was measured is kept if the time ends. ``DIR/qdq.json`` has
for each variant the layers of the engine in order with their kinds and times, the median `gpu` in ns, and whether the
layers that the rule is about are one; the output ends with a table of the same. fp16 is the network without Q/DQ. Of
``residual`` there is also ``both``, in which both inputs of the sum are quantized with one scale.

``--dry`` stops before a GPU is needed: small networks, the suite's plan, and a build of each program by TensorRT-RTX
where that is installed. The exit code is 1 if a mended network is slower than the one before by more than 2 %.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import re
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

import bench
from bench import tensors
from bench.lowering import codegen, normalise
from bench.lowering.passes import edit
from bench.lowering.quantize import placement
from bench.model.placement import Rule
from bench.runtimes.torch.outputs import positional
from bench.system import userfile
from tests.lowering import kit
from tests.lowering.quantize import networks

ROOT = Path(__file__).resolve().parents[2]
SLOWER = 1.02
PYTHON = "TENSORRT_PYTHON"  # the variable that names the interpreter of TensorRT
# The nodes of a mended graph that are to be one layer of the engine.
CHAINS: Mapping[Rule, Sequence[str]] = {
    "weights": ("convolution_1", "relu_1"),
    "batch-norm": ("convolution_1", "relu"),
    "activation": ("convolution_1", "relu_1"),
    "residual": ("convolution_1", "add", "relu_1"),
}
ZOO = """\
import sys

sys.path.insert(0, {root!r})

from tests.lowering.quantize import networks


def net(rule):
    return networks.module(rule, {channels})
"""


class Size(NamedTuple):
    """Of the networks: channels, and the batch and side of the input."""

    channels: int
    batch: int
    side: int


class Variant(NamedTuple):
    """One network: its rule, its name, the program and what is to be one layer."""

    rule: Rule
    name: str
    program: codegen.Program
    chain: tuple[str, ...]

    @property
    def key(self) -> str:
        """The folder of its program."""
        return f"{self.rule}-{self.name}"


def variants(rule: Rule, size: Size) -> list[Variant]:
    """The network of a rule before and mended."""
    network, module = networks.NETWORKS[rule], networks.module(rule, size.channels)
    x = networks.example(size.side, size.batch)
    graph = kit.normalised(module, {"x": x})
    _, names = positional(module, {"x": x})
    plain = networks.folded(graph) if network.folds else graph
    before = networks.quantized(plain, [x], network.behind, coarse=network.coarse)
    graphs = {"before": before, "mended": placement.mend(before)}
    if rule == "residual":
        graphs["both"] = both(before)
    result = []
    for name, each in graphs.items():
        program = codegen.generate(each, list(names), title=f"{rule}, {name}", precision="int8")
        result.append(Variant(rule, name, program, tuple(program.layers[node] for node in CHAINS.get(rule, ()))))
    return result


def both(before: Any) -> Any:
    """The residual network in which the inputs of the sum have the larger of their scales."""
    result = edit.copy_module(before)
    add = next(node for node in result.graph.nodes if normalise.op_name(node) == "add")
    several = [node.kwargs["input"] for node in add.all_input_nodes]
    scale = max(q.kwargs["scale"] for q in several)
    for q in several:
        for node in (q, *q.users):
            node.kwargs = node.kwargs | {"scale": scale}
    return edit.finish(result)


def write_suite(folder: Path, several: Sequence[Variant], size: Size, builds: int) -> Path:
    """The suite, its models' file, and the programs, which lie in folders beside it."""
    for each in several:
        (folder / each.key).mkdir(parents=True, exist_ok=True)
        each.program.write(folder / each.key)
    (folder / "zoo.py").write_text(ZOO.format(root=str(ROOT), channels=size.channels))
    shape = [size.batch, 3, size.side, size.side]
    rules = list(dict.fromkeys(each.rule for each in several))
    inputs = f"{{x: {{shape: {shape}}}}}"
    models = [f"  {rule}: {{factory: 'zoo.py:net', args: {{rule: {rule}}}, inputs: {inputs}}}" for rule in rules]
    cases = [
        f"    - {{model: {each.rule}, precision: int8, toolchain: trt, "
        f"backend: {{name: fx2trt, program: {each.key}/program.py}}}}"
        for each in several
    ]
    lines = [
        "schema: 1", "name: qdq", "device: cuda",
        f"toolchains: {{trt: {{python: ${PYTHON}}}}}",  # by its name, as runs keep the suite and no path of a machine
        "models:", *models,
        "matrix:", f"  model: [{', '.join(rules)}]", "  backend: fx2trt", "  precision: fp16", "  toolchain: trt",
        "  include:", *cases,
        f"measure: {{boundaries: [gpu], builds: {builds}, replicates: {builds}, max_time: 3s}}",
        "accuracy: {int8: {cosine: 0.99}}",
    ]  # fmt: skip
    path = folder / "qdq.yaml"
    path.write_text("\n".join(lines) + "\n")
    return path


def trtbench(*words: object, out: Path | None = None, check: bool = True) -> None:
    """One command; its output goes to ``out``. CalledProcessError if it fails and ``check``."""
    command = [sys.executable, "-m", "bench", *map(str, words)]
    print("$", " ".join(command[2:]), flush=True)
    if out is None:
        subprocess.run(command, check=check)
    else:
        with out.open("w") as file:
            subprocess.run(command, check=check, stdout=file)


def build_by_rtx(folder: Path, several: Sequence[Variant]) -> None:
    """Build each program by TensorRT-RTX, which needs no GPU."""
    import tensorrt_rtx as trt

    for each in several:
        path = folder / each.key
        module = userfile.execute(path / "program.py", f"_program_{each.key}")
        plan = module.build_engine(trt, tensors.read(path / "weights.safetensors"), trt.Logger(trt.Logger.ERROR))
        print(f"{each.key}: {'built' if plan is not None else 'NOT BUILT'} by TensorRT-RTX {trt.__version__}")


def is_one_layer(names: Sequence[str], chain: Sequence[str]) -> bool | None:
    """Whether a layer of an engine, which is named after those it is fused of, has all of ``chain`` in its name."""
    if not chain:
        return None
    patterns = [re.compile(rf"(?<![\w.]){re.escape(name)}(?![\w.])") for name in chain]
    return any(all(pattern.search(name) for pattern in patterns) for name in names)


def measure(folder: Path, suite: Path, several: Sequence[Variant]) -> list[dict[str, Any]]:
    """Run the variants of one rule, take the layers of their engines, and return what ``results`` does."""
    rule = several[0].rule
    common = ("--cache", folder / "cache", "--progress", "plain", "--select", f"model={rule}")
    layers = folder / f"layers-{rule}.json"
    trtbench("run", suite, *common, "--store", folder / "results", check=False)
    trtbench("layers", suite, *common, "--format", "json", out=layers, check=False)
    return results(folder, layers, several)


def results(folder: Path, printed: Path, several: Sequence[Variant]) -> list[dict[str, Any]]:
    """What the newest run measured of each variant and of fp16, in the suite's order, with the ``printed`` layers."""
    medians: dict[str, int] = {}
    for row in bench.rows(bench.read(store=folder / "results")):
        figure = row.times.get("gpu") or row.times.get("gpu_unheld")
        if figure is not None:
            medians[row.label] = round(figure.value)
    cases = json.loads(printed.read_text() or '{"cases": []}')["cases"]
    layers = {each["label"]: each["layers"] for each in cases}
    documents = []
    for rule in dict.fromkeys(each.rule for each in several):
        chosen = [each for each in several if each.rule == rule]
        chain = next(each.chain for each in chosen if each.name == "before")
        keys = {"fp16": (f"{rule}/fx2trt/", chain)}
        keys |= {each.name: (f"{rule}/fx2trt[program={each.key}/", each.chain) for each in chosen}
        for name, (label, nodes) in keys.items():
            engine = next((value for key, value in layers.items() if key.startswith(label)), [])
            gpu = next((value for key, value in medians.items() if key.startswith(label)), None)
            documents.append(
                {
                    "rule": rule,
                    "variant": name,
                    "gpu_ns": gpu,
                    "layers": len(engine),
                    "one_layer": is_one_layer([each["name"] for each in engine], nodes),
                    "engine": engine,
                }
            )
    return documents


def table(documents: Sequence[Mapping[str, Any]]) -> bool:
    """Print a line for each variant; False if a mended one is slower than the one before it."""
    good = True
    before: dict[str, int] = {}
    print(f"\n{'rule':12}{'variant':9}{'layers':>7}  {'one layer':10}{'gpu us':>10}  of before")
    for each in documents:
        if each["variant"] == "before" and each["gpu_ns"]:
            before[each["rule"]] = each["gpu_ns"]
        ratio = each["gpu_ns"] / before[each["rule"]] if each["gpu_ns"] and each["rule"] in before else None
        if each["variant"] == "mended" and ratio is not None and ratio > SLOWER:
            good = False
        one = {True: "yes", False: "no", None: "-"}[each["one_layer"]]
        gpu = f"{each['gpu_ns'] / 1e3:.2f}" if each["gpu_ns"] else "-"
        share = f"{ratio:.3f}" if ratio is not None else ""
        print(f"{each['rule']:12}{each['variant']:9}{each['layers']:7}  {one:10}{gpu:>10}  {share}")
    for each in documents:
        print(f"\n{each['rule']}, {each['variant']}:")
        for layer in each["engine"]:
            print(f"  {layer.get('kind', '')}: {layer['name']}")
    return good


def main() -> int:
    """The exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("rules", nargs="*", metavar="RULE", help=f"some of {', '.join(get_args(Rule))} (default: all)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--toolchain", default=sys.executable, help="the interpreter of TensorRT (default: this one)")
    parser.add_argument("--builds", type=int, default=3, help="engines of each variant (default: 3)")
    parser.add_argument("--dry", action="store_true", help="small networks, and no GPU")
    options = parser.parse_args()
    if unknown := set(options.rules) - set(get_args(Rule)):
        parser.error(f"no rule is called {', '.join(sorted(unknown))}")
    size = Size(8, 2, 16) if options.dry else Size(64, 16, 128)
    folder = options.out.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with torch.no_grad():
        several = [each for rule in options.rules or networks.NETWORKS for each in variants(rule, size)]
    suite = write_suite(folder, several, size, options.builds)
    os.environ[PYTHON] = options.toolchain
    if options.dry:
        trtbench("list", suite, "--device", "cuda")
        if importlib.util.find_spec("tensorrt_rtx") is not None:
            build_by_rtx(folder, several)
        return 0
    documents: list[dict[str, Any]] = []
    for rule in dict.fromkeys(each.rule for each in several):
        documents += measure(folder, suite, [each for each in several if each.rule == rule])
        (folder / "qdq.json").write_text(json.dumps(documents, indent=1))
    return 0 if table(documents) else 1


if __name__ == "__main__":
    sys.exit(main())

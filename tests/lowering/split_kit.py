"""Programs in parts, run with the interpreter of network programs in place of the engines."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from bench import tensors
from bench.lowering import lower, oracle, split
from bench.runtimes.torch.outputs import flatten_outputs, positional
from bench.runtimes.torch.session import own_warnings_filtered
from bench.system import userfile

VERSIONS = ("8.6.1", "11.4.0")


class Interpreted:
    """Stands for the engine of a block: the same calls, computed by the interpreter."""

    def __init__(self, folder: Path, ends: tuple[tuple[str, ...], tuple[str, ...]], version: str) -> None:
        self.module = userfile.execute(folder / "program.py", "_tested_block")
        self.weights = tensors.read(folder / "weights.safetensors")
        self.inputs, self.outputs = ends
        self.trt = oracle.Module(version)

    def __call__(self, *values: torch.Tensor) -> tuple[torch.Tensor, ...]:
        network = oracle.Network(self.trt, dict(zip(self.inputs, values, strict=True)))
        alive = self.module.build(self.trt, network, self.weights)
        assert alive is not None
        results = network.results()
        return tuple(results[name] for name in self.outputs)


def parts(
    module: torch.nn.Module, inputs: Mapping[str, torch.Tensor], *, dims: Any = None, min_block_size: int = 1,
    **options: Any,
) -> split.Parts:  # fmt: skip
    """The parts of a module."""
    with torch.no_grad(), own_warnings_filtered(), warnings.catch_warnings():
        flat, names = positional(module.eval(), dict(inputs))
        return lower.lower_in_parts(
            flat, dict(inputs), names, title="net", dims=dims, below="model.", min_block_size=min_block_size, **options
        )


def run(folder: Path, inputs: Mapping[str, torch.Tensor], version: str = VERSIONS[-1]) -> dict[str, torch.Tensor]:
    """The outputs of a program in parts that was written to ``folder``: nothing of the model is there."""
    from safetensors.torch import load_file

    module = userfile.execute(folder / "program.py", "_tested_parts")
    engines = {name: Interpreted(folder / name, ends, version) for name, ends in module.ENGINES.items()}
    with torch.inference_mode():
        results: dict[str, torch.Tensor] = module.forward(engines, load_file(folder / "weights.safetensors"), inputs)
    return results


def assert_computes(folder: Path, module: torch.nn.Module, inputs: Mapping[str, torch.Tensor]) -> None:
    """The program gives what the module gives, with each version's interpreter."""
    with torch.inference_mode():
        expected = flatten_outputs(module(*inputs.values()))
    for version in VERSIONS:
        torch.testing.assert_close(run(folder, inputs, version), expected, rtol=1e-4, atol=1e-5)

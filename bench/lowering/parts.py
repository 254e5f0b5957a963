"""Programs in parts as a case: their engines are built, and run between what PyTorch runs, in one process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.errors import BenchError, SuiteError
from bench.lowering import artifact, filling
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.torch import lane
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.trt import builder, deconvolutions, library
from bench.runtimes.trt.options import EngineOptions
from bench.system import userfile

if TYPE_CHECKING:
    from types import ModuleType

    import torch

    Engines = dict[str, Callable[..., tuple[torch.Tensor, ...]]]


def build(
    case: Case, options: EngineOptions, context: Context, out: Path, product: library.Product = library.TENSORRT
) -> None:
    """Write a folder with ``engine.plan`` and ``build.json`` for each engine. Phases: import, parse, build.

    Raises:
        Unsupported: TensorRT refuses a layer of an engine, with the line of its program.
    """
    program = context.artifacts[artifact.STAGE]
    for name in artifact.read_manifest(program).engines:
        (out / name).mkdir()
        builder.build(case, options, context, out / name, product, fill=_fill(program / name))


def _fill(folder: Path) -> builder.Fill:
    return lambda api, network: filling.fill_block(api, network, folder)


def layer_count(folder: Path) -> int:
    """The layers of all networks that the engines in ``folder`` were built from."""
    return sum(builder.read_info(each.parent).layers for each in folder.glob(f"*/{builder.BUILD_INFO}"))


def load_module(folder: Path) -> ModuleType:
    """The program that calls the parts. SuiteError if it cannot be imported, as without an operator of a library."""
    try:
        return userfile.execute(folder / artifact.SOURCE, "_program_parts")
    except BenchError:
        raise
    except Exception as error:
        what = f"the program in parts cannot be imported: {type(error).__name__}: {error}"
        raise SuiteError(
            what, where=artifact.SOURCE, fix="the packages of the default toolchain in this one"
        ) from error


def open_engines(api: library.Api, module: ModuleType, folder: Path) -> Callable[[], Engines]:
    """What makes the engines of a program in parts, in ``folder``: each time with execution contexts of their own."""
    engines = {}
    for name in module.ENGINES:
        plan, _ = builder.read(folder / name)
        engines[name] = library.deserialize(api, plan)
    return lambda: {name: module.Engine(api.module, engines[name], *ends) for name, ends in module.ENGINES.items()}


class PartsPrepared(lane.TorchPrepared):
    """A program in parts. An execution context serves one stream at a time, so each lane has engines of its own."""

    def __init__(
        self, case: Case, context: Context, module: ModuleType, engines: Callable[[], Engines], report: dict[str, Any]
    ) -> None:
        from safetensors.torch import load_file

        folder = context.artifacts[artifact.STAGE]
        self._weights = load_file(folder / artifact.WEIGHTS, device=context.device)
        self._module, self._engines = module, engines
        counts = artifact.read_manifest(folder).facts
        super().__init__(
            case,
            TorchOptions(),
            context,
            self._with_engines(),
            program_tensors=lambda: self._weights.values(),
            more=lambda: counts | report,
        )

    def _with_engines(self) -> lane.Run:
        engines, forward, weights = self._engines(), self._module.forward, self._weights
        return lambda inputs: forward(engines, weights, inputs)

    def lanes(self, count: int) -> Sequence[lane.TorchLane]:
        """The first ``count`` lanes, each with execution contexts of its own."""
        wanted = min(count, self.max_lanes or count)
        while len(self._lanes) < wanted:
            if self._lanes:
                self._run = self._with_engines()
            super().lanes(len(self._lanes) + 1)
        return self._lanes[:wanted]

    def close(self) -> None:
        """Release the engines, the weights and the memory of all lanes."""
        super().close()
        self._engines, self._weights = dict, {}


def report(case: Case, api: library.Api, folder: Path) -> dict[str, Any]:
    """Entries of the fairness report on the engines in ``folder``."""
    infos = [builder.read_info(each.parent) for each in sorted(folder.glob(f"*/{builder.BUILD_INFO}"))]
    first = infos[0]
    in_groups = deconvolutions.total(info.grouped_deconvolutions for info in infos)
    return {
        "runtime": api.name,
        "strongly_typed": first.strongly_typed,
        "optimization_level": first.optimization_level,
        "tactic_sources": ", ".join(first.tactic_sources),
        "timing_cache": first.timing_cache,
        "engine": {
            "plan_bytes": sum(info.plan_bytes for info in infos),
            "layers": sum(info.layers for info in infos),
            "build_s": round(sum(info.build_ns for info in infos) / 1e9, 1),
            "warnings": sum(len(info.warnings) for info in infos),
            **({"grouped_deconvolutions": in_groups} if in_groups else {}),
        },
    }

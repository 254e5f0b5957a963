"""A PyTorch module becomes a network program: export, normalise, passes, source."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from bench.lowering import codegen, normalise, split
from bench.lowering.passes import batch_norm, constants, deconvolutions, masks, matmul, views

if TYPE_CHECKING:
    import torch

    Pass = Callable[[torch.fx.GraphModule], torch.fx.GraphModule]

PASSES: tuple[Pass, ...] = (
    views.simplify_views,
    constants.fold_constants,
    masks.drop_open_masks,
    batch_norm.fold_batch_norms,
    matmul.fold_permutes,
)


def run_passes(module: torch.fx.GraphModule, dense_deconvolutions: bool = False) -> torch.fx.GraphModule:
    """The graph after all passes, in their order; ``dense_deconvolutions`` adds that of ``deconvolutions``."""
    for each in (*PASSES, deconvolutions.make_dense) if dense_deconvolutions else PASSES:
        module = each(module)
    return module


def lower(
    module: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    *,
    title: str,
    precision: str = "fp32",
    dims: Sequence[dict[int, Any] | None] | None = None,
    profile: codegen.Profile | None = None,
    below: str = "",
) -> codegen.Program:
    """The program of a module that takes the tensors of ``example`` by position and returns a flat tuple of tensors.

    ``outputs`` are their names; ``dims`` the dynamic dimensions of each input (of torch.export.Dim), ``profile`` their
    ranges. ``below`` is the path of the model in ``module``, e.g. ``model.``.

    Raises:
        Unsupported: operators without a converter, arguments that a converter does not take, or weights that are NaN.
    """
    program = normalise.export(module, tuple(example.values()), dims)
    graph = run_passes(normalise.normalise(program, tuple(example), below=below))
    return codegen.generate(graph, outputs, title=title, precision=precision, profile=profile)


def lower_in_parts(
    module: torch.nn.Module,
    example: Mapping[str, torch.Tensor],
    outputs: Sequence[str],
    *,
    title: str,
    precision: str = "fp32",
    dims: Sequence[dict[int, Any] | None] | None = None,
    profile: codegen.Profile | None = None,
    below: str = "",
    min_block_size: int = 5,
    dense_deconvolutions: bool = False,
) -> split.Parts:
    """The same as a program in parts: what has no converter stays in PyTorch (see ``partition.divide``).

    ``dense_deconvolutions`` are those of the engines.
    """
    program = normalise.export(module, tuple(example.values()), dims)
    graph = run_passes(normalise.normalise(program, tuple(example), below=below, keep_unsupported=True))
    return split.generate(
        graph,
        outputs,
        title=title,
        precision=precision,
        profile=profile,
        min_block_size=min_block_size,
        dense_deconvolutions=dense_deconvolutions,
    )

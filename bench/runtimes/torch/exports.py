"""What an export may lose of a model: the sizes that are to stay dynamic, and what tracers and exporters warned of."""

from __future__ import annotations

import contextlib
import math
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from bench import tensors
from bench.errors import BenchError, Unsupported
from bench.model.data import Data
from bench.model.seam import Context
from bench.model.suite import Case, resolve_shapes
from bench.runtimes import shapes
from bench.runtimes.torch import custom_ops, errors, models
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.session import own_warnings_filtered

if TYPE_CHECKING:
    import torch

TRACER = "TracerWarning"
EXPORTER = "ExporterWarning"
# The key of a fairness report that holds the warnings.
KEY = "export_warnings"
_MOST_WARNINGS = 8
_LONGEST_TEXT = 240
_FOLDERS = re.compile(r"(?<![\w./])/(?:[^\s/:'\"]+/)+")
_PACKAGES = ("site-packages", "dist-packages")
# What says that something will be removed concerns whoever calls it, and not what is exported.
_DEPRECATIONS = (DeprecationWarning, PendingDeprecationWarning, FutureWarning)
# The end of a range is tried if its inputs have at most this many times the elements of the example's.
_MOST_LARGER = 4
# A program that follows the model differs by rounding, one that lacks a part of it by the size of the values.
_FAR = 0.2
_SUGGESTION = re.compile(r"^\s*(\w+)\s*=\s*([^\n]+?)\s*$", re.MULTILINE)
_CONSTANT = re.compile(r"marked (\S+) as dynamic but your code specialized it to be a constant \((\d+)\)")
_PLACE = re.compile(r"\['(\w+)'\]\.size\(\)\[(\d+)\]")
_OPERATORS = "tensor operators in forward in place of Python loops and branches over sizes"
FIXED_FIX = f"{_OPERATORS}; another exporter or backend; or no `dynamic`, and the sizes as an axis of the matrix"

Run = Callable[[Mapping[str, tensors.Array]], Sequence["torch.Tensor"]]


class ExportWarning(Data, frozen=True, kw_only=True):
    """What a tracer or exporter warned of: ``kind`` is TRACER or EXPORTER, ``place`` is ``net.py:9``, the line that it
    concerns, ``count`` how often it came.
    """

    kind: str
    text: str
    place: str
    count: int = 1


class ExportedModel(NamedTuple):
    """A program of torch.export, what the export warned of, and the operators in it that are not torch's."""

    program: Any
    warnings: tuple[ExportWarning, ...]
    operators: tuple[str, ...]


# ------------------------------------------------------------------------------------------------------------ warnings


@contextlib.contextmanager
def recorded_warnings() -> Iterator[list[ExportWarning]]:
    """The warnings of the block, complete when it has ended: each once, the first few, without deprecations and what
    torch warns of in its own code.
    """
    import torch

    result: list[ExportWarning] = []
    with warnings.catch_warnings(record=True) as messages:
        warnings.simplefilter("always")
        for category in _DEPRECATIONS:
            warnings.simplefilter("ignore", category)
        torch.jit.TracerWarning.ignore_lib_warnings()
        with own_warnings_filtered():
            yield result
    result += _distinct(messages)


def _distinct(messages: Iterable[warnings.WarningMessage]) -> list[ExportWarning]:
    counts: dict[tuple[str, str, str], int] = {}
    for message in messages:
        kind = TRACER if message.category.__name__ == TRACER else EXPORTER
        text = _FOLDERS.sub("", " ".join(str(message.message).split()))
        text = text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"
        key = kind, text, f"{_short_path(message.filename)}:{message.lineno}"
        counts[key] = counts.get(key, 0) + 1
    return [
        ExportWarning(kind=kind, text=text, place=place, count=count)
        for (kind, text, place), count in list(counts.items())[:_MOST_WARNINGS]
    ]


def _short_path(name: str) -> str:
    """A path as it is imported, or the name of a file of the user's: records hold no folders of a machine."""
    parts = Path(name).parts
    start = max((parts.index(folder) + 1 for folder in _PACKAGES if folder in parts), default=len(parts) - 1)
    return "/".join(parts[start:])


def warning_report(messages: Iterable[ExportWarning]) -> dict[str, Any]:
    """Warnings as an entry of the fairness report; no entry without one."""
    entries = [{"kind": m.kind, "text": m.text, "place": m.place, "count": m.count} for m in messages]
    return {KEY: entries} if entries else {}


# --------------------------------------------------------------------------------------------------------------- sizes


def other_sizes(case: Case) -> list[dict[str, int]]:
    """The sizes of the dynamic symbols, besides those of the example, at which an exported program is tried: the
    lowest ones; and the highest, or the next above the example where those would take much memory.
    """
    example = shapes.example_sizes(case)
    low = {name: span.min for name, span in case.dynamic.items()}
    high = {name: span.max for name, span in case.dynamic.items()}
    if _elements(case, high) > _MOST_LARGER * _elements(case, example):
        high = {name: min(example[name] + 1, span.max) for name, span in case.dynamic.items()}
    return [sizes for sizes in (low, high) if sizes != example]


def _elements(case: Case, sizes: Mapping[str, int]) -> int:
    specs = resolve_shapes(case.inputs, case.symbols | dict(sizes)).values()
    return sum(math.prod(int(size) for size in spec.shape) for spec in specs)


class Trial:
    """Runs the model, and what was exported of it, at several sizes of a dynamic case.

    ``module`` takes the inputs by position and returns a flat tuple (``positional``); ``names`` are its outputs' names.
    """

    def __init__(
        self,
        case: Case,
        options: TorchOptions,
        context: Context,
        module: torch.nn.Module,
        names: Sequence[str],
    ) -> None:
        self._case = case
        self._options = options
        self._context = context
        self._module = module
        self._names = names
        example = shapes.example_sizes(case)
        self.points = [example, *other_sizes(case)]
        self._outputs = [self._model_outputs(sizes, at_example=sizes is example) for sizes in self.points]

    def arrays(self, sizes: Mapping[str, int]) -> dict[str, tensors.Array]:
        """Seeded inputs at ``sizes``."""
        return tensors.seeded_inputs(
            resolve_shapes(self._case.inputs, self._case.symbols | dict(sizes)), self._context.seed
        )

    def inputs(self, arrays: Mapping[str, tensors.Array]) -> tuple[torch.Tensor, ...]:
        """The tensors of ``arrays`` on the device of the model."""
        values = models.to_tensors(arrays, self._case, self._options.memory_format, self._context.device)
        return tuple(values.values())

    def shapes(self) -> list[list[tuple[int, ...]]]:
        """The shape of each output of the model at each point."""
        return [[tuple(tensor.shape) for tensor in outputs] for outputs in self._outputs]

    def check(self, run: Run, what: str) -> None:
        """Unsupported if ``run``, the program, fails at a size where the model does not, or gives other shapes or
        values. ``what`` names the program: "the traced program".

        Values count only where the program agrees with the model at the example's sizes: a model whose outputs change
        from call to call is told of elsewhere.
        """
        agrees = True
        for sizes, expected in zip(self.points, self._outputs, strict=True):
            at = _at(sizes)
            try:
                outputs = run(self.arrays(sizes))
            except (BenchError, MemoryError):
                raise
            except Exception as error:
                text = f"{what} cannot take {at}, which the model can: {errors.brief(error)}"
                raise Unsupported(text, fix=FIXED_FIX) from error
            for name, output, value in zip(self._names, outputs, expected, strict=True):
                if tuple(output.shape) != tuple(value.shape):
                    texts = f"the shape {list(output.shape)} at {at}, in the model {list(value.shape)}"
                    raise Unsupported(f"the export fixed a size: output {name!r} of {what} has {texts}", fix=FIXED_FIX)
                far = _is_far(output, value)
                if sizes is self.points[0]:
                    agrees = agrees and not far
                elif agrees and far:
                    raise Unsupported(
                        f"the export fixed a choice by size: {what} gives other values than the model at {at} in "
                        f"output {name!r}",
                        fix=FIXED_FIX,
                    )

    def _model_outputs(self, sizes: Mapping[str, int], *, at_example: bool) -> list[torch.Tensor]:
        import torch

        try:
            with torch.no_grad():
                outputs = [tensor.detach() for tensor in self._module(*self.inputs(self.arrays(sizes)))]
        except (BenchError, MemoryError):
            raise
        except Exception as error:
            if at_example:
                raise
            text = f"the model itself cannot take {_at(sizes)}, which the range allows: {errors.brief(error)}"
            fix = "ranges in `dynamic` that the model can take; one symbol for sizes that must be equal"
            raise Unsupported(text, fix=fix) from error
        if len(outputs) != len(self._names):
            text = f"the model returns {len(outputs)} outputs at {_at(sizes)}, and {len(self._names)} at others"
            raise Unsupported(text, fix="a model that returns one tensor for outputs whose number is a size")
        return outputs


def fixed_size(name: str, symbol: str, shape: Sequence[object]) -> Unsupported:
    """The error for an input whose dynamic dimension is a number in what was exported."""
    return Unsupported(
        f"the exporter fixed {symbol!r} of the input {name!r}: its shape is {list(shape)} in what was exported, so "
        "that no other size can run",
        fix=FIXED_FIX,
    )


def refused_sizes(text: str, case: Case) -> Unsupported | None:
    """The error for torch's message that dynamic sizes are fixed in the model, or related; None for another message.

    It says ``n = 4`` or ``m = n`` as suggested fixes, or which size of an input the model has as a constant.
    """
    if "Constraints violated" not in text:
        return None
    suggestions = dict(_SUGGESTION.findall(text.partition("Suggested fixes:")[2].split("\n\n")[0]))
    for place, number in _CONSTANT.findall(text):
        suggestions.setdefault(_symbol_at(place, case), number)
    what, fixes = [], []
    for name, value in suggestions.items():
        what.append(f"{name} = {value}")
        if value.isdigit():
            fixes.append(f"write {value} for {name} in the inputs' shapes, or use {_OPERATORS}")
        elif value.isidentifier():
            fixes.append(f"write {value} for {name} in the inputs' shapes")
    reason = f"it needs {' and '.join(what)}" if what else errors.brief(ValueError(text))
    return Unsupported(f"the model does not take all sizes of the range: {reason}", fix="; ".join(fixes) or FIXED_FIX)


def _symbol_at(place: str, case: Case) -> str:
    """The symbol of a place in torch's words: itself, or ``L['x'].size()[0]``."""
    if match := _PLACE.search(place):
        return shapes.dynamic_axes(case).get(match[1], {}).get(int(match[2]), place)
    return place


@contextlib.contextmanager
def size_refusals(case: Case) -> Iterator[None]:
    """Turn the exceptions that torch.export and torch.compile raise for sizes which are not dynamic to Unsupported."""
    try:
        yield
    except (BenchError, MemoryError):
        raise
    except Exception as error:
        case_error = refused_sizes(str(error), case)
        if case_error is None:
            raise
        raise case_error from error


def check_program(program: Any, case: Case) -> None:
    """Unsupported if a dynamic size of an input is a number in a program of torch.export."""
    users = set(program.graph_signature.user_inputs)
    nodes = [node for node in program.graph.nodes if node.op == "placeholder" and node.name in users]
    if len(nodes) != len(case.inputs):
        return
    for (name, axes), node in zip(shapes.dynamic_axes(case).items(), nodes, strict=True):
        shape = getattr(node.meta.get("val"), "shape", None)
        for axis, symbol in axes.items():
            span = case.dynamic[symbol]
            if shape is not None and isinstance(shape[axis], int) and span.min < span.max:
                raise fixed_size(name, symbol, shape)


def export_model(
    module: torch.nn.Module, example: Mapping[str, torch.Tensor], case: Case, context: Context, dynamic_shapes: Any
) -> ExportedModel:
    """What torch.export makes of a module that takes the tensors of ``example`` by position. Phase: export.

    Unsupported for a model that it cannot take, or not at all sizes of the case. Under no_grad, as torch.export rejects
    inference_mode.
    """
    import torch

    with context.phase("export"), torch.no_grad(), errors.translate("torch.export cannot take this model"):
        with recorded_warnings() as messages, size_refusals(case):
            program = torch.export.export(module, tuple(example.values()), dynamic_shapes=dynamic_shapes)
        check_program(program, case)
        return ExportedModel(program, tuple(messages), custom_ops.names_in(program))


def _at(sizes: Mapping[str, int]) -> str:
    return ", ".join(f"{name} = {size}" for name, size in sizes.items())


def _is_far(output: torch.Tensor, expected: torch.Tensor) -> bool:
    """Whether two tensors of one shape differ by more than rounding; tensors that are not finite are not compared."""
    import torch

    if not expected.numel():
        return False
    if not (expected.is_floating_point() or expected.is_complex()):
        return bool((output.to(expected.device) != expected).float().mean() > _FAR)
    wide = torch.complex128 if expected.is_complex() else torch.float64
    value, other = expected.to("cpu", wide), output.to("cpu", wide)
    if not (torch.isfinite(value).all() and torch.isfinite(other).all()):
        return False
    norm = float(torch.linalg.vector_norm(value))
    return float(torch.linalg.vector_norm(other - value)) > _FAR * norm

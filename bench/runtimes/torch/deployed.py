"""``executor: cpp`` of PyTorch backends: programs saved to a file, and run by the C++ program."""

from __future__ import annotations

import contextlib
import importlib.metadata
from collections.abc import Iterator, Sequence
from typing import Any

from bench.errors import Unavailable, Unsupported
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes.cpp import building
from bench.runtimes.cpp.lanes import CppPrepared, Model
from bench.runtimes.cpp.program import Runner
from bench.runtimes.torch.options import TorchOptions


def is_deployed(case: Case) -> bool:
    """Whether the case is run by the C++ program."""
    return case.options.get("executor") == "cpp"


def runner_stage(case: Case) -> Stage:
    """The program, one for all backends that run programs of torch."""
    return building.stage(case, "torch", "torchscript", ("torch",))


def unsupported(case: Case) -> str | None:
    """What the C++ program does not do, or None."""
    return building.unsupported(case) if is_deployed(case) else None


def without_executor(options: dict[str, Any]) -> dict[str, Any]:
    """The options that an artifact depends on: both executors run the same one."""
    return {name: value for name, value in options.items() if name != "executor"}


def refuse_operators(names: Sequence[str]) -> None:
    """Unsupported for a program with operators that its model's file defines."""
    if names:
        what = f"the operator {names[0]} is defined in Python, which a C++ program does not run"
        raise Unsupported(what, fix="executor: python, or define it in a library of C++")


@contextlib.contextmanager
def prepare(
    case: Case, options: TorchOptions, context: Context, model: Model, more: dict[str, Any]
) -> Iterator[CppPrepared]:
    """The model in the C++ program. Phases: import (the program starts, with its libraries), load."""
    with contextlib.ExitStack() as stack:
        with context.phase("import"):
            version = importlib.metadata.version("torch")
            runner = Runner(building.program_in(context.artifacts[building.STAGE], version))
            stack.callback(runner.close)
            if runner.facts.get("torch") != version:
                what = f"the C++ runner is for torch {runner.facts.get('torch')}, and torch {version} is here"
                raise Unavailable(what, fix="--rebuild builds it again")
        more = {"memory_format": options.memory_format, "autocast": options.autocast, "inference_mode": True} | more
        with context.phase("load"):
            prepared = CppPrepared(runner, model, case, context, more)
        stack.callback(prepared.close)
        yield prepared

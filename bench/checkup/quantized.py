"""Looks into the quantized networks of int8 cases, and of ONNX files: where Q/DQ stand, and what they cost."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from bench.backends import base
from bench.errors import UsageError
from bench.model.abilities import QuantizesModels
from bench.model.data import digest
from bench.model.placement import PLACEMENT, Placement
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.sensitivity import ACCURACY, Accuracy, QuantizationCost, Question, check_target, parse_target
from bench.model.suite import Case
from bench.model.tensor_ranges import SUMMARY, CaseRanges, NetworkRanges
from bench.runner import functions, rounds, run
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.suite import plan

_QUANTIZED = ("int8", "fp8")
_MODULES = "eager"  # the backend whose packages are all that a graph is quantized with


def lint(request: Request, on_event: OnEvent) -> Iterator[Placement]:
    """The placement in each network of a plan, once for cases that share one. It is made on the CPU.

    UsageError if no case has Q/DQ.
    """
    for case, folder, failure in _folders(request, lambda backend, case: backend.placement(case), on_event):
        if failure is not None:
            yield Placement(case=case, failure=failure)
        else:
            result = msgspec.json.decode((folder / PLACEMENT).read_bytes(), type=Placement)
            yield msgspec.structs.replace(result, case=case)


def lint_file(path: Path) -> Placement:
    """The placement in an ONNX file."""
    backend = next(each for each in base.registry().values() if isinstance(each, QuantizesModels))
    return backend.placement_of_file(path)


def accuracy(request: Request, question: Question, on_event: OnEvent) -> Iterator[QuantizationCost]:
    """What quantizing costs in each network of a plan, once for cases that share one. It is computed on the CPU.

    UsageError if no case has Q/DQ, or the target is none, or beyond what its metric can be;
    SuiteError if the metric's file or function is not there.
    """
    if question.target:
        target = parse_target(question.target)
        if not question.metric:
            check_target(target)
    if question.metric:
        fix = "FILE.py:FUNCTION, a path relative to the suite"
        functions.check_metric(Path(request.suite.path).parent, question.metric, "--metric", fix)
    for case, folder, failure in _folders(request, lambda backend, case: backend.accuracy(case, question), on_event):
        if failure is not None:
            yield QuantizationCost(case=case, failure=failure)
        else:
            yield QuantizationCost(
                case=case, accuracy=msgspec.json.decode((folder / ACCURACY).read_bytes(), type=Accuracy)
            )


def ranges(request: Request, on_event: OnEvent) -> Iterator[CaseRanges]:
    """What the calibration of each network observed, once for cases that share one. It is made on the CPU.

    UsageError if no case has Q/DQ.
    """
    for case, folder, failure in _folders(request, lambda backend, case: backend.placement(case)[:1], on_event):
        if failure is not None:
            yield CaseRanges(case=case, failure=failure)
        else:
            observed = msgspec.json.decode((folder / SUMMARY).read_bytes(), type=NetworkRanges)
            yield CaseRanges(case=case, ranges=observed)


def _folders(
    request: Request, needed: Callable[[QuantizesModels, Case], Sequence[Stage]], on_event: OnEvent
) -> Iterator[tuple[Case, Path, Failure | None]]:
    """The first case of each network with the folder of the last stage that is ``needed``, or why there is none.

    Cases of one model that differ in options alone are one case where they are looked at, so they come one by one.
    """
    networks = _stages(request, needed)
    functions.check(request.suite, [_plain(case) for case, _ in networks.values()], metrics=False)
    for done, (original, stages) in enumerate(networks.values()):
        case = _plain(original)
        one = msgspec.structs.replace(request.plan, cases=(case,))
        on_cpu = msgspec.structs.replace(request, plan=one, device="cpu", device_missing="")
        tell = rounds.relabel(rounds.count_from(on_event, done, len(networks)), {case.label: original.label})
        for _, ready in run.make(on_cpu, tell, lambda _, stages=stages: list(stages)):  # type: ignore[misc]
            if isinstance(ready, Failure):
                yield original, Path(), ready
            else:
                yield original, Path(ready.folders[stages[-1].name]), None


def _plain(case: Case) -> Case:
    """The case whose worker looks at the network of ``case``: without the device and its packages."""
    return msgspec.structs.replace(case, backend=_MODULES, options={}, toolchain="default", cuda_graph=False)


def _stages(
    request: Request, needed: Callable[[QuantizesModels, Case], Sequence[Stage]]
) -> dict[str, tuple[Case, Sequence[Stage]]]:
    """The first case of each network that has Q/DQ, with its stages. UsageError if there is none."""
    plan.check_some(request.plan, fix="trtbench list says why of each")
    networks: dict[str, tuple[Case, Sequence[Stage]]] = {}
    for case in request.plan.cases:
        backend = base.load(case.backend)
        if not isinstance(backend, QuantizesModels) or case.precision not in _QUANTIZED:
            continue
        if stages := needed(backend, case):
            networks.setdefault(digest(stages[-1].key), (case, stages))
    if not networks:
        raise _nothing(request)
    return networks


def _nothing(request: Request) -> UsageError:
    """That no case has Q/DQ that are looked at, and what brings cases that have."""
    able = [name for name in base.names() if isinstance(base.load(name), QuantizesModels)]
    if reasons := _reasons(request, able):
        others = len(reasons) - 1
        more = f"; and {others} more reason{'s' * (others > 1)}" if others else ""
        what = f"none of the selected cases has Q/DQ, those of int8 are left out: {reasons[0]}{more}"
        return UsageError(what, fix=f"trtbench list {shlex.quote(request.suite.path)} says why of each")
    precisions = {case.precision for case in request.plan.cases}
    if "fp8" in precisions and "int8" not in precisions:
        what = "what Q/DQ cost and where they stand is looked at for int8, and the selected cases are at fp8"
        more = f"; of fp8, `trtbench run {request.suite.path}` says how accurate it is"
        return UsageError(what, fix=f"{_fix(request, able)}{more}")
    what = "none of the selected cases has Q/DQ: they are those of int8 in " + ", ".join(able)
    return UsageError(what, fix=_fix(request, able))


def _reasons(request: Request, able: Sequence[str]) -> list[str]:
    """Why cases at int8 of the backends ``able`` are left out of the plan; none where the suite has no such case."""
    reasons: dict[str, None] = {}
    for entry in request.plan.left_out:
        parts = entry.label.split("/")
        if "int8" in parts and any(re.split(r"[@[]", part)[0] in able for part in parts):
            reasons[entry.reason] = None
    return list(reasons)


def _fix(request: Request, able: Sequence[str]) -> str:
    """What brings cases at int8 of the backends ``able``: a selection, or where the suite has none an edit of it."""
    parts = (request.suite.matrix, *request.suite.include)
    backends = {entry["name"] for part in parts for entry in part.get("backend", ())}
    by_others = any(case.precision == "int8" for case in request.plan.cases)
    suite_is_able = bool(backends & set(able)) and not by_others
    backend = [] if suite_is_able else [f"--backend {able[0]}"]
    if request.backend and request.backend not in able:
        instead = " or ".join(f"--backend {name}" for name in able) + f" in place of {request.backend}"
        backend = [f"leave --backend {request.backend} out" if suite_is_able else instead]
    if not any("int8" in part.get("precision", ()) for part in parts):
        return ", and ".join([f"`precision: [int8]` in the matrix of {request.suite.path}", *backend])
    separator = ", and " if request.backend else " "
    return separator.join([*backend, '--select "precision=int8"'])

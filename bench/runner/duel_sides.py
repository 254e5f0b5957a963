"""The sides of a duel: which cases two selections name, and which of them are compared with each other; pure."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence, Set
from typing import Any

import msgspec

from bench.errors import SelectionError, UsageError, did_you_mean
from bench.model.seam import Runtime
from bench.model.suite import AGAIN, BETWEEN_PARTS, Case, Toolchain, named
from bench.suite.case_filter import select_cases

# That of the first side, where the second is in a copy of the running interpreter.
HERE = "here"
_OPERATOR = re.compile(r"[=<>~]")
Contests = tuple[tuple[Case, ...], ...]


def select(cases: Sequence[Case], registry: Mapping[str, Runtime], text: str, option: str) -> tuple[Case, ...]:
    """The cases that ``text`` names: parts of labels, ``resnet18/eager``, or an expression of ``--select``.

    Each part is a whole one of a label. A backend goes without its options too, where no label has just that.
    SelectionError if there is none.
    """
    parts = BETWEEN_PARTS.split(text)
    if (len(parts) == 1 and _OPERATOR.search(re.sub(r"\[.*\]", "", text))) or _is_test(parts[0]):
        try:
            return select_cases(cases, registry, text)
        except SelectionError as error:
            raise SelectionError(error.what, where=error.where.replace("--select", option), fix=error.fix) from error
    exact = tuple(case for case in cases if all(part in _parts(case) for part in parts))
    chosen = exact or tuple(case for case in cases if all(part in (*_parts(case), case.backend) for part in parts))
    if not chosen:
        known = tuple(dict.fromkeys(part for case in cases for part in (*_parts(case), case.backend)))
        strangers = [part for part in parts if part not in known]
        guess = did_you_mean(strangers[0], known) if strangers else ""
        labels = ", ".join(case.label for case in cases[:8]) + (", ..." if len(cases) > 8 else "")
        raise SelectionError(f"no case has {text!r} in its label.{guess}", where=option, fix=f"the suite has {labels}")
    return chosen


def contests(first: Sequence[Case], others: Sequence[Sequence[Case]], *, where: str) -> Contests:
    """Each case of ``first`` with its opponents of each of ``others``, those without any left out.

    One case has all of them as opponents. Of several, each has those that agree with it in all that both selections
    have in common: backends are compared per model and size. A case whose only opponent is itself is compared with
    itself, in the toolchain ``again`` or ``NAME-again``. UsageError if nothing has an opponent.
    """
    pairs: dict[str, dict[str, Case]] = {case.id: {case.id: case} for case in first}
    for group in others:
        common = _in_common(first, group) if len(first) > 1 else ()
        for case in first:
            rivals = [each for each in group if all(_value(each, key) == _value(case, key) for key in common)]
            if len(rivals) == 1 and rivals[0].id == case.id:
                rivals = [msgspec.structs.replace(case, toolchain=_again_of(case.toolchain))]
            pairs[case.id] |= {each.id: each for each in rivals if each.id != case.id}
    sides = tuple(tuple(members.values()) for members in pairs.values() if len(members) > 1)
    if not sides:
        what = "no case of the first side has an opponent: they agree in nothing that both sides have"
        raise UsageError(what, where=where, fix="name one case on each side, e.g. --select MODEL/eager --against "
                         "MODEL/inductor")  # fmt: skip
    return sides


def again(cases: Contests, toolchains: Mapping[str, Toolchain]) -> dict[str, Toolchain]:
    """The toolchains that cases are compared with themselves in: the same ones under another name."""
    names = {case.toolchain for members in cases for case in members}
    own = {"default": Toolchain(), **toolchains}
    return {_again_of(name): own[name] for name in sorted(names & own.keys()) if _again_of(name) in names}


def level(cases: Contests, copies: Set[str]) -> Contests:
    """The contests in which both sides start alike: where one is in one of ``copies`` of the running environment, those
    of the default toolchain are in a copy too, ``here``.

    In a toolchain weights are read from a file, where the default one draws them: that alone is 1 to 2 % of the latency
    of ResNet-18 on a GPU.
    """
    return tuple(
        tuple(_in_copy(case) for case in members) if copies & {case.toolchain for case in members} else members
        for members in cases
    )


# ------------------------------------------------------------------------------------------------------------------

_KEYS = ("model", "backend", "precision", "cuda_graph", "streams", "lanes", "l2", "transfers", "toolchain")


def _again_of(toolchain: str) -> str:
    return AGAIN if toolchain == "default" else f"{toolchain}-{AGAIN}"


def _in_copy(case: Case) -> Case:
    return msgspec.structs.replace(case, toolchain=HERE) if case.toolchain == "default" else case


def _parts(case: Case) -> tuple[str, ...]:
    return tuple(BETWEEN_PARTS.split(case.label))


def _is_test(part: str) -> bool:
    """Whether the text before the first ``/`` is the beginning of an expression: ``model=org/net``."""
    return bool(re.match(r"\s*(not\b|\(|[\w.]+\s*(!=|<=|>=|==|[=<>~]))", part)) and not re.fullmatch(r"\w+=\d+", part)


def _value(case: Case, key: str) -> Any:
    if key == "backend":
        return named(case.backend, case.options)
    return case.symbols.get(key) if key not in _KEYS else getattr(case, key)


def _in_common(first: Sequence[Case], second: Sequence[Case]) -> tuple[str, ...]:
    """The keys of which both sides have a value."""
    keys = dict.fromkeys((*_KEYS, *(name for case in (*first, *second) for name in case.symbols)))
    return tuple(key for key in keys if {_value(case, key) for case in first} & {_value(case, key) for case in second})

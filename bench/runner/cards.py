"""The cards of a host that one run measures on: which they are, their locks, and which cases each of them has."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence, Set
from typing import Any

import msgspec

from bench.errors import Unavailable, UsageError
from bench.machine import gpus
from bench.model.data import Data
from bench.model.events import Event, Locked, Note, Waiting
from bench.model.run import Header, Record, Warning
from bench.model.suite import Case
from bench.runner.toolchains import Interpreter
from bench.runner.turns import settled
from bench.system import locks

ALL = 0
# How many cards a rehearsal has with `--devices all`, and at most.
_SIMULATED, _MOST_SIMULATED = 2, 64
_VISIBLE = "CUDA_VISIBLE_DEVICES"
# Threads of one call: OpenMP's, which PyTorch and ONNX Runtime follow. Those of two workers on the same cores wait for
# each other in every parallel loop.
_THREADS = "OMP_NUM_THREADS"
# What cards of one kind have in common, with their limits: what a fingerprint covers.
_KIND = ("device", "arch", "memory")

Group = tuple[object, ...]


class Card(Data, frozen=True, kw_only=True):
    """A device that workers run on: ``id`` as records have it, ``name`` as messages do, ``lock`` the name of its lock
    (empty: none). ``visible`` is the CUDA_VISIBLE_DEVICES of its workers, which see one GPU, ``cuda:0``; None where
    they see what this process does.
    """

    id: str = ""
    name: str = ""
    lock: str = ""
    visible: str | None = None

    def state(self) -> gpus.State:
        """Its memory and processes now, or why it is lost; of a GPU."""
        return gpus.state(visible=self.visible)


def lock_of(card: str) -> str:
    """The name of the lock of the GPU with this id, whichever number CUDA_VISIBLE_DEVICES gives it; "" is unknown."""
    return f"cuda-{card}" if card else "cuda:0"


def find(kind: str, devices: int, on_event: Callable[[Event], None], nvml: Any = None) -> tuple[Card, ...]:
    """The first ``devices`` cards of one kind, or ALL, that this process sees: those that are like the first.

    The slices of a GPU in MIG mode share it: one of them is used, and is a card. A note names what is left out.
    UsageError if there are fewer, or on a CPU.
    """
    if kind == "fake":
        count = min(devices or _SIMULATED, _MOST_SIMULATED)
        return tuple(Card(id=f"simulated-{n}", name=f"simulated device {n}") for n in range(count))
    if devices == 1:
        card = gpus.first_card(nvml) if kind == "cuda" else ""
        return (Card(id=card, name="cuda:0", lock=lock_of(card)) if kind == "cuda" else Card(name="cpu", lock="cpu"),)
    if kind == "cpu":
        raise UsageError("--devices is for GPUs, and this run is on the CPU", fix="leave --devices out")
    try:
        visible = gpus.every(nvml)
    except Unavailable as error:
        raise UsageError(f"--devices: the GPUs cannot be listed: {error.what}", fix=error.fix) from error
    alike = _alike(visible, on_event)
    if len(alike) < devices:
        number = "is 1 GPU" if len(alike) == 1 else f"are {len(alike)} GPUs"
        what = f"--devices {devices}: there {number} of the kind of {visible[0].name} that this process sees"
        raise UsageError(what, fix="--devices all takes those, nvidia-smi -L lists all")
    return tuple(
        Card(id=gpu.card, name=gpu.name, lock=lock_of(gpu.card), visible=gpu.uuid)
        for gpu in alike[: devices or len(alike)]
    )


def _alike(visible: Sequence[gpus.Gpu], on_event: Callable[[Event], None]) -> list[gpus.Gpu]:
    """The GPUs of the kind of the first, each once; a note says why others are not used."""
    alike: dict[str, gpus.Gpu] = {}
    for gpu in visible:
        if gpu.card in alike:
            on_event(Note(text=f"{gpu.name} is not used: it is a part of {alike[gpu.card].name}, which is one card"))
        elif different := _difference(visible[0].description, gpu.description):
            on_event(Note(text=f"{gpu.name} is not used: {different}, other than {visible[0].name}"))
        else:
            alike[gpu.card] = gpu
    return list(alike.values())


def _difference(first: Mapping[str, Any], other: Mapping[str, Any]) -> str:
    """The first thing in which two descriptions of GPUs differ, of the other; empty if they are of one kind."""
    pairs = [(name, _whole(first, name), _whole(other, name)) for name in _KIND]
    limits = sorted({*first["limits"], *other["limits"]})
    pairs += [(name, first["limits"].get(name, "none"), other["limits"].get(name, "none")) for name in limits]
    return next((f"its {name} is {there}" for name, here, there in pairs if here != there), "")


def _whole(description: Mapping[str, Any], name: str) -> str:
    """A field as text; memory in GiB, as a driver keeps some of it for itself."""
    return f"{round(description[name] / 2**30)} GiB" if name == "memory" else str(description[name])


@contextlib.contextmanager
def hold(cards: Iterable[Card], who: str, on_event: Callable[[Event], None]) -> Iterator[None]:
    """Hold the locks of the cards for the block. They are taken in the order of their names, so that two runs that want
    the same ones cannot wait for each other.
    """
    with contextlib.ExitStack() as stack:
        for card in sorted((card for card in cards if card.lock), key=lambda card: card.lock):
            on_wait = _waiting(card, on_event)
            stack.enter_context(locks.hold(locks.lock_path(card.lock), f"{who} (process {os.getpid()})", on_wait))
            on_event(Locked(device=card.name))
        yield


def _waiting(card: Card, on_event: Callable[[Event], None]) -> Callable[[str], None]:
    return lambda holder: on_event(Waiting(device=card.name, holder=holder))


def interpreters_on(card: Card, interpreters: Mapping[str, Interpreter], count: int = 1) -> dict[str, Interpreter]:
    """The interpreters whose workers see this card alone, one of ``count`` at work, and have as many threads as its
    share of the cores, if nothing else is set. UsageError for a toolchain that chooses a GPU itself.
    """
    threads = str(max(1, len(os.sched_getaffinity(0)) // count))
    moved = {}
    for name, interpreter in interpreters.items():
        if card.visible is not None and _VISIBLE in interpreter.variables:
            what = f"the toolchain {name!r} sets {_VISIBLE}, and --devices gives each worker its GPU"
            raise UsageError(what, fix="leave one of them out")
        env = {_THREADS: threads} | interpreter.env if count > 1 else interpreter.env
        env = env if card.visible is None else env | {_VISIBLE: card.visible}
        moved[name] = msgspec.structs.replace(interpreter, env=env, card=card.id)
    return moved


# ------------------------------------------------------------------------------------------------ which cases where


def group(case: Case) -> Group:
    """What is equal for cases that are compared: they are measured on one card."""
    return case.model, tuple(sorted(case.symbols.items()))


class Homes:
    """On which cards the groups of a run were begun, and what is told of a record that another card made.

    Records of a run that was begun on one card have no card: they are of that in its header.
    """

    def __init__(self, header: Header, cards: Sequence[Card], before: Iterable[Record]) -> None:
        environment = header.environments["default"]
        groups = {case.id: group(case) for case in header.cases}
        own = "simulated-0" if environment.kind == "fake" else environment.observed.get("card", "")
        measured = [record for record in before if record.measurements and record.case in groups]
        self.of_group = {groups[record.case]: record.card or own for record in measured}
        self._told = len(cards) > 1 or any(record.card for record in measured)
        self._unnamed = own if measured and not any(record.card for record in measured) else None

    def mark(self, record: Record, case: Case, card: Card, others: int) -> Record:
        """The record with its card, where a run has several; with a warning if its group was begun on another one, or
        if ``others`` were at work meanwhile, which share the host.
        """
        warnings = [*record.warnings]
        if others and any(m.boundary in _OF_THE_HOST for m in record.measurements):
            threads = {name: record.fairness[name] for name in ("threads",) if name in record.fairness}
            warnings.append(Warning(kind="SharedHost", figures={"others": others} | threads))
        if self._told and record.measurements:
            warnings = [each for each in warnings if each != _ON_ANOTHER_CARD]
            moved = self.of_group.get(group(case), card.id) != card.id
            telemetry = msgspec.structs.replace(record.telemetry, resumed_on=card.id if moved else "")
            warnings += [_ON_ANOTHER_CARD] if moved else []
            record = msgspec.structs.replace(record, telemetry=telemetry)
        name = card.id if self._told and card.id != self._unnamed else ""
        return msgspec.structs.replace(record, card=name, warnings=tuple(warnings))


_ON_ANOTHER_CARD = Warning(kind="ResumedElsewhere", figures={"what": "card"})
# The boundaries that have the host in them; `gpu` is measured with the stream held.
_OF_THE_HOST = ("enqueue", "gpu_unheld", "latency", "throughput")


def deal(
    header: Header, wanted: Set[str], before: Sequence[Record], cards: Sequence[Card], homes: Mapping[Group, str]
) -> list[tuple[Card, tuple[Case, ...]]]:
    """The cases of each card that has any to measure, in the order of the plan; the first card, if none has.

    Cases that are compared go together: to the card in ``homes`` that has measured some of them, else, in the order of
    the plan, to the card with the fewest processes so far; of several to the one that had the last group, so that it is
    not the same card that has the larger sizes of each model. Cases that have nothing left go with the first card.
    """
    done, failed = settled(before)
    work: Counter[Group] = Counter()
    for case in header.cases:
        left = case.id in wanted and case.id not in failed
        work[group(case)] += left * sum((case.id, n) not in done for n in range(header.policy.replicates))
    by_id = {card.id: card for card in cards}
    load = dict.fromkeys(by_id, 0)
    places = {key: homes[key] for key in work if work[key] and homes.get(key) in by_id}
    for key, card in places.items():
        load[card] += work[key]
    served = dict.fromkeys(by_id, 0)
    for number, (key, processes) in enumerate(work.items(), 1):
        if processes and key not in places:
            places[key] = min(load, key=lambda card: (load[card], -served[card]))
            load[places[key]] += processes
            served[places[key]] = number
    active = [card for card in cards if load[card.id]] or [cards[0]]
    return [
        (card, tuple(case for case in header.cases if places.get(group(case), active[0].id) == card.id))
        for card in active
    ]

"""Which cards a run has, their locks, and which cases each of them measures."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import UsageError
from bench.machine import environment
from bench.model.events import Event, Locked, Note, Waiting
from bench.model.run import Header, Measurement, Record
from bench.model.suite import Case, Policy
from bench.runner import cards, toolchains
from bench.runner.cards import Card
from bench.system import locks
from tests.machine.nvml_kit import FakeNvml

FIRST, SECOND = FakeNvml.UUIDS
HERE = environment.describe("fake")
TWO = (Card(id="x"), Card(id="y"))


@pytest.fixture(autouse=True)
def own_place(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


class Mixed(FakeNvml):
    """The second GPU differs in one answer."""

    def __init__(self, name: str, answer: Any) -> None:
        super().__init__()
        self._other = name, answer

    def __getattr__(self, name: str) -> Any:
        usual = super().__getattr__(name)
        other, answer = self._other
        return lambda *args: answer if name == other and args[0] == "gpu 1" else usual(*args)


def find(devices: int, nvml: FakeNvml | None = None, kind: str = "cuda") -> tuple[tuple[Card, ...], list[str]]:
    events: list[Event] = []
    return cards.find(kind, devices, events.append, nvml or FakeNvml()), [e.text for e in events if isinstance(e, Note)]


# ------------------------------------------------------------------------------------------------- which there are


def test_all_gpus_of_one_kind_are_taken_each_by_its_uuid() -> None:
    found, notes = find(cards.ALL)
    assert [(card.name, card.visible) for card in found] == [("GPU 0", FIRST), ("GPU 1", SECOND)]
    assert len({card.id for card in found} | {card.lock for card in found}) == 4
    assert notes == []
    assert find(2)[0] == found


def test_the_variable_decides_which_gpus_in_which_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", f"{SECOND},0,-1,1")
    assert [card.visible for card in find(cards.ALL)[0]] == [SECOND, FIRST]


@pytest.mark.parametrize(
    ("name", "answer", "why"),
    [
        ("nvmlDeviceGetName", "NVIDIA L4", "its device is NVIDIA L4"),
        ("nvmlDeviceGetEnforcedPowerLimit", 350_000, "its power_mw is 350000"),
        ("nvmlDeviceGetCudaComputeCapability", (8, 9), "its arch is sm_89"),
    ],
)
def test_a_gpu_of_another_kind_is_left_out_with_the_reason(name: str, answer: Any, why: str) -> None:
    found, notes = find(cards.ALL, Mixed(name, answer))
    assert [card.name for card in found] == ["GPU 0"]
    assert notes == [f"GPU 1 is not used: {why}, other than GPU 0"]
    with pytest.raises(UsageError, match="--devices 2: there is 1 GPU of the kind of GPU 0"):
        find(2, Mixed(name, answer))


def test_more_than_there_are_is_an_error_that_says_how_many() -> None:
    with pytest.raises(UsageError, match="--devices 3: there are 2 GPUs of the kind of GPU 0") as raised:
        find(3)
    assert "--devices all" in raised.value.fix


def test_slices_of_one_gpu_are_one_card(monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeNvml()
    fake.slices = ("1g.10gb", "1g.10gb")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,0")
    found, notes = find(cards.ALL, fake)
    assert len(found) == 1
    assert notes == ["GPU 0 is not used: it is a part of GPU 0, which is one card"]


def test_without_nvml_there_is_one_card_and_several_are_an_error() -> None:
    broken = FakeNvml({"nvmlInit": 12})
    assert find(1, broken)[0] == (Card(name="cuda:0", lock="cuda:0"),)
    with pytest.raises(UsageError, match="--devices: the GPUs cannot be listed"):
        find(2, broken)


def test_on_a_cpu_there_is_one_and_a_rehearsal_has_as_many_as_are_wanted() -> None:
    assert find(1, kind="cpu")[0] == (Card(name="cpu", lock="cpu"),)
    with pytest.raises(UsageError, match="on the CPU"):
        find(2, kind="cpu")
    assert [len(find(devices, kind="fake")[0]) for devices in (cards.ALL, 1, 3)] == [2, 1, 3]


def test_a_card_has_one_lock_however_it_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two runs on one card exclude each other, and those on two do not."""
    first, second = find(cards.ALL)[0]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert find(1)[0][0].lock == second.lock != first.lock
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", FIRST)
    assert find(1)[0][0].lock == first.lock


# ----------------------------------------------------------------------------------------------------------- locks


def test_locks_are_taken_in_one_order_and_a_wait_names_the_card() -> None:
    low, high = Card(name="GPU 1", lock="cuda-1"), Card(name="GPU 0", lock="cuda-2")
    events: list[Event] = []
    waits = threading.Event()

    def take(event: Event) -> None:
        events.append(event)
        if isinstance(event, Waiting):
            waits.set()

    def run() -> None:
        with cards.hold((high, low), "second", take):
            pass

    thread = threading.Thread(target=run)
    with locks.hold(locks.lock_path(low.lock), "first", lambda _: None):
        thread.start()
        assert waits.wait(60)
        with locks.hold(locks.lock_path(high.lock), "free meanwhile", lambda _: pytest.fail("it waits with a lock")):
            pass
    thread.join(60)
    assert events == [Waiting(device="GPU 1", holder="first"), Locked(device="GPU 1"), Locked(device="GPU 0")]


def test_workers_see_their_card_alone_and_a_toolchain_may_not_choose() -> None:
    card = Card(id="a", visible=SECOND)
    interpreter = toolchains.Interpreter(name="default", command=("python",), env={"A": "1"}, environment=HERE)
    moved = cards.interpreters_on(card, {"default": interpreter})["default"]
    assert (moved.card, moved.env) == ("a", {"A": "1", "CUDA_VISIBLE_DEVICES": SECOND})
    assert interpreter.env == {"A": "1"}
    own = toolchains.Interpreter(
        name="own", command=("python",), env={}, environment=HERE, variables={"CUDA_VISIBLE_DEVICES": "1"}
    )
    with pytest.raises(UsageError, match="the toolchain 'own' sets CUDA_VISIBLE_DEVICES"):
        cards.interpreters_on(card, {"own": own})


@pytest.mark.parametrize(("cores", "count", "threads"), [(32, 2, "16"), (3, 2, "1"), (2, 8, "1"), (16, 1, None)])
def test_cards_share_the_cores(monkeypatch: pytest.MonkeyPatch, cores: int, count: int, threads: str | None) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: set(range(cores)))
    interpreter = toolchains.Interpreter(name="default", command=("python",), env={}, environment=HERE)
    user = toolchains.Interpreter(name="own", command=("python",), env={"OMP_NUM_THREADS": "5"}, environment=HERE)
    moved = cards.interpreters_on(Card(id="a"), {"default": interpreter, "own": user}, count)
    assert moved["default"].env.get("OMP_NUM_THREADS") == threads
    assert moved["own"].env["OMP_NUM_THREADS"] == "5"


# ------------------------------------------------------------------------------------------------ which cases where


def header(*cases: Case, replicates: int = 2) -> Header:
    return Header(
        run="r", created="", version="", environments={"default": HERE}, suite="", suite_path="s.yaml", cases=cases,
        policy=Policy(replicates=replicates),
    )  # fmt: skip


def case(model: str, backend: str = "fake", batch: int = 1) -> Case:
    return Case(model=model, factory="f:m", inputs={}, backend=backend, symbols={"batch": batch})


def measured(of: Case, card: str = "", replicate: int = 0) -> Record:
    latency = Measurement(boundary="latency", samples=(1, 2))
    return Record(case=of.id, label=of.label, replicate=replicate, measurements=(latency,), card=card)


def ids(*cases: Case) -> set[str]:
    return {each.id for each in cases}


@given(
    st.lists(st.tuples(st.sampled_from("abcd"), st.sampled_from(["eager", "fake"]), st.integers(1, 3)), unique=True),
    st.integers(1, 4),
)
def test_every_case_has_one_card_which_all_that_is_compared_shares(plan: list[tuple[str, str, int]], n: int) -> None:
    cases = [case(*each) for each in plan]
    available = [Card(id=str(number)) for number in range(n)]
    shares = cards.deal(header(*cases), ids(*cases), (), available, {})
    assert sorted(c.id for _, share in shares for c in share) == sorted(ids(*cases))
    groups = [{cards.group(c) for c in share} for _, share in shares]
    assert sum(map(len, groups)) == len(set().union(*groups))
    assert len(shares) == max(1, min(n, len(set().union(*groups))))
    assert all(list(share) == [c for c in cases if c in share] for _, share in shares)


def test_a_group_goes_to_the_card_with_the_fewest_processes() -> None:
    cases = (case("a"), case("a", "eager"), case("b"), case("c"))
    shares = cards.deal(header(*cases), ids(*cases), (), TWO, {})
    assert [[c.model for c in share] for _, share in shares] == [["a", "a"], ["b", "c"]]


def test_the_larger_size_of_each_model_does_not_go_to_the_same_card() -> None:
    cases = [case(model, batch=batch) for model in "abcd" for batch in (1, 32)]
    for count in (2, 3):
        available = [Card(id=str(number)) for number in range(count)]
        shares = cards.deal(header(*cases), ids(*cases), (), available, {})
        sizes = [[c.symbols["batch"] for c in share] for _, share in shares]
        assert all({1, 32} == set(share) for share in sizes)
        assert max(map(len, sizes)) - min(map(len, sizes)) <= 1


def test_what_is_gone_on_with_stays_on_its_card_and_what_is_done_needs_none() -> None:
    a, b, c = case("a"), case("b"), case("c")
    before = [measured(a, "x"), measured(a, "x", 1), measured(b, "y"), measured(c, "gone")]
    homes = cards.Homes(header(a, b, c), TWO, before)
    shares = cards.deal(header(a, b, c), ids(a, b, c), before, TWO, homes.of_group)
    assert {card.id: [each.model for each in share] for card, share in shares} == {"x": ["a", "c"], "y": ["b"]}
    assert [card.id for card, _ in cards.deal(header(a), ids(a), before, TWO, {})] == ["x"]  # nothing is left


def test_records_have_the_card_where_a_run_has_several() -> None:
    a = case("a")
    alone = cards.Homes(header(a), TWO[:1], ())
    assert alone.mark(measured(a), a, TWO[0], 0) == measured(a)
    several = cards.Homes(header(a), TWO, [measured(a, "x")])
    assert several.mark(measured(a), a, TWO[0], 0) == measured(a, "x")
    moved = several.mark(measured(a), a, TWO[1], 0)
    assert (moved.card, moved.telemetry.resumed_on) == ("y", "y")
    assert [warning.kind for warning in moved.warnings] == ["ResumedElsewhere"]


def test_a_run_that_was_begun_on_one_card_is_gone_on_with_there() -> None:
    a, b = case("a"), case("b")
    own, other = Card(id="simulated-0"), Card(id="simulated-1")
    homes = cards.Homes(header(a, b), (own, other), [measured(a)])
    shares = cards.deal(header(a, b), ids(a, b), [measured(a)], (own, other), homes.of_group)
    assert {card.id: [each.model for each in share] for card, share in shares} == {
        "simulated-0": ["a"],
        "simulated-1": ["b"],
    }
    assert homes.mark(measured(a), a, own, 0).card == ""  # the card of the header, as that of its earlier records
    assert homes.mark(measured(b), b, other, 0) == measured(b, "simulated-1")


def test_what_needs_the_host_is_marked_while_other_cards_are_at_work() -> None:
    a = case("a")
    homes = cards.Homes(header(a), TWO, ())
    (warning,) = homes.mark(measured(a), a, TWO[0], 1).warnings
    assert (warning.kind, warning.figures) == ("SharedHost", {"others": 1})
    counted = msgspec.structs.replace(measured(a), fairness={"threads": 16, "tf32": False})
    assert homes.mark(counted, a, TWO[0], 1).warnings[0].figures == {"others": 1, "threads": 16}
    held = Record(case=a.id, label=a.label, measurements=(Measurement(boundary="gpu", samples=(1, 2)),))
    assert homes.mark(held, a, TWO[0], 1).warnings == ()

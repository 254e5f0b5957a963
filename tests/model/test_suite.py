"""Identity and names: what makes two cases or two environments the same, and how a case reads."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from bench.model.data import digest
from bench.model.run import Environment
from bench.model.suite import Case, Input, Policy, Range, named
from tests.store.kit import case, environment

CHANGES: list[dict[str, Any]] = [
    {"model": "other"},
    {"factory": "zoo.py:other"},
    {"inputs": {"x": Input(shape=(2, 3))}},
    {"inputs": {"y": Input(shape=(1, 3))}},
    {"backend": "eager"},
    {"args": {"weights": None}},
    {"config": {"layers": 2}},
    {"symbols": {"batch": 2}},
    {"options": {"mode": "reduce-overhead"}},
    {"precision": "fp16"},
    {"cuda_graph": True},
    {"streams": 2},
    {"lanes": "processes"},
    {"l2": "cold"},
    {"transfers": False},
    {"toolchain": "old"},
    {"dynamic": {"batch": Range(min=1, opt=2, max=4)}},
    {"metric": "zoo.py:score"},
    {"arguments": {"return_dict": False}},
    {"inputs": {"x": Input(shape=(1, 3), file="x.npz")}},
]


def test_everything_asked_for_is_part_of_a_cases_identity() -> None:
    changed = {case(**change).id for change in CHANGES}
    assert len(changed | {case().id}) == len(CHANGES) + 1
    assert {field for change in CHANGES for field in change} | {"source"} == set(Case.__struct_fields__)


def test_where_a_case_stands_and_the_order_of_its_keys_do_not_change_its_identity() -> None:
    assert case(source="suites/x.yaml:14").id == case().id
    assert case(symbols={"a": 1, "b": 2}).id == case(symbols={"b": 2, "a": 1}).id


def test_a_default_that_is_spelled_out_changes_no_identity_and_none_that_was_sent_to_a_worker() -> None:
    text = msgspec.json.encode(
        msgspec.to_builtins(case()) | {"precision": "fp32", "l2": "warm", "toolchain": "default"}
    )
    spelled = msgspec.json.decode(text, type=Case)
    assert spelled == case()
    assert spelled.id == case().id


def test_a_cases_identity_is_the_same_on_every_machine_and_in_every_version() -> None:
    assert case().id == "61b7b6872689"
    assert len(case().id) == 12


def test_an_identity_that_was_asked_for_is_no_part_of_the_case_nor_of_one_made_of_it() -> None:
    asked, fresh = case(streams=2), case(streams=2)
    identity = asked.id
    assert msgspec.json.encode(asked) == msgspec.json.encode(fresh)
    assert asked == fresh
    assert msgspec.structs.replace(asked, streams=1).id == case().id != identity


def test_a_case_read_back_from_json_is_the_same_case() -> None:
    for change in CHANGES:
        asked = case(**change)
        assert msgspec.json.decode(msgspec.json.encode(asked), type=Case) == asked


@pytest.mark.parametrize(
    ("changes", "label"),
    [
        ({}, "net/fake/fp32"),
        (
            {"backend": "tensorrt", "options": {"optimization_level": 4}, "symbols": {"batch": 32}, "cuda_graph": True},
            "net/tensorrt[optimization_level=4]/fp32/batch=32/graph",
        ),
        (
            {"symbols": {"batch": 8}, "dynamic": {"batch": Range(min=1, opt=8, max=32)}},
            "net/fake/fp32/batch=8 of 1..32",
        ),
        ({"streams": 4, "l2": "cold", "transfers": False}, "net/fake/fp32/streams=4/l2=cold/no-transfers"),
        ({"streams": 2, "lanes": "processes"}, "net/fake/fp32/streams=2/lanes=processes"),
        ({"toolchain": "trt86"}, "net/fake/fp32/@trt86"),
    ],
)
def test_a_label_names_what_differs_from_the_default(changes: dict[str, Any], label: str) -> None:
    assert case(**changes).label == label


def test_options_are_shown_as_a_suite_writes_them() -> None:
    assert named("inductor", {}) == "inductor"
    assert named("inductor", {"mode": "max-autotune", "fullgraph": True}) == "inductor[mode=max-autotune,fullgraph=on]"
    assert named("tensorrt", {"tactic_sources": ["A", "B"], "refit": False}) == "tensorrt[tactic_sources=A+B,refit=off]"


def test_a_batch_is_one_without_the_symbol() -> None:
    assert case().batch == 1
    assert case(symbols={"batch": 32}).batch == 32


def test_a_fingerprint_covers_all_but_the_host_and_what_was_observed() -> None:
    plain = environment().fingerprint
    assert environment(host="a", observed={"clock": "1 GHz"}).fingerprint == plain
    others = {"kind": "cpu", "arch": "sm_90", "device": "H100", "slug": "h100", "memory": 1 << 30, "driver": "570"}
    others |= {"python": "3.12", "libraries": {"torch": "2"}, "limits": {"power": "300 W"}, "flags": {"A": "1"}}
    others |= {"boundaries": "x"}
    assert (
        len({environment(**{name: value}).fingerprint for name, value in others.items()} | {plain}) == len(others) + 1
    )
    # What a system keeps for itself of 64 GiB differs by some MB from one start to the next.
    assert environment(memory=66_000_000_000).fingerprint == environment(memory=66_000_400_000).fingerprint
    assert {*others, "host", "observed"} == set(Environment.__struct_fields__)


def test_data_cannot_be_changed() -> None:
    with pytest.raises(AttributeError):
        case().model = "other"  # type: ignore[misc]


def test_only_what_differs_from_the_default_is_written() -> None:
    assert msgspec.json.encode(Policy(replicates=7)) == b'{"replicates":7}'


def test_a_digest_does_not_depend_on_the_order_of_keys() -> None:
    assert digest({"a": 1, "b": [1, 2]}) == digest({"b": [1, 2], "a": 1})
    assert digest({"a": [1, 2]}) != digest({"a": [2, 1]})

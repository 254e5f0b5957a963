"""Which models are built before the workers that measure them, and how much memory each may take."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.model.suite import Case
from bench.runner import models_ahead
from bench.runner.models_ahead import Model

BERT = Case(model="m", factory="transformers:BertModel", inputs={}, backend="eager")
CORE = ("torch", "transformers.modeling_utils")


def model_of(**changes: Any) -> Model | None:
    return models_ahead.model_of(msgspec.structs.replace(BERT, **changes), Path(__file__).parent)


def test_a_library_s_models_are_built_ahead_for_the_runtimes_that_measure_the_module() -> None:
    eager, inductor = model_of(), model_of(backend="inductor")
    assert eager is not None
    assert inductor is not None
    assert (eager.toolchain, eager.imports) == ("default", CORE)
    assert inductor.imports[:2] == CORE
    assert eager.key == inductor.key
    assert model_of(precision="fp16", symbols={"batch": 8}, options={"autocast": True}) == eager
    for changes in ({"config": {"hidden_size": 8}}, {"args": {"x": 1}}, {"factory": "transformers:GPT2Model"}):
        other = model_of(**changes)
        assert other is not None
        assert other.key != eager.key


@pytest.mark.parametrize(
    "changes",
    [
        {"factory": "zoo.py:net"},
        {"factory": "mypkg.models:net"},
        {"factory": "net.pt2"},
        {"factory": "transformers"},
        {"backend": "torchscript"},
        {"backend": "onnxruntime"},
        {"backend": "fake"},
        {"args": {"checkpoint_path": "kit.py"}},  # a file beside the suite
        {"config": {"nested": ["kit.py"]}},
    ],
)
def test_what_the_user_wrote_and_what_other_runtimes_measure_is_not(changes: dict[str, Any]) -> None:
    assert model_of(**changes) is None


def test_a_model_is_that_of_all_turns_which_begin_with_it() -> None:
    once, twice = BERT, msgspec.structs.replace(BERT, factory="timm:dla34")
    large = msgspec.structs.replace(twice, symbols={"batch": 8})
    mine = msgspec.structs.replace(BERT, factory="zoo.py:net")
    turns = [(mine, 0), (twice, 0), (once, 0), (large, 0), (mine, 1)]
    assert list(models_ahead.uses(turns, Path()).values()) == [[twice, large], [once]]


def test_each_may_take_its_part_of_the_memory_that_workers_leave(monkeypatch: pytest.MonkeyPatch) -> None:
    for free, size, room in ((None, 2, 0), (5 << 30, 2, 1 << 29), (4 << 30, 2, None), (1 << 30, 2, None)):
        monkeypatch.setattr(models_ahead.capacity, "available_bytes", lambda free=free: free)
        assert models_ahead.room(size) == room

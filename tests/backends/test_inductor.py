"""torch.compile: what breaks graphs, what recompiles, where code goes."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.backends import base
from bench.errors import Unsupported
from bench.model import Input, Range
from tests.backends.kit import Bench

pytest.importorskip("torch")
pytestmark = pytest.mark.torch
INDUCTOR = base.load("inductor")


@pytest.fixture(autouse=True)
def compiler() -> None:
    lacks = INDUCTOR.missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")


def test_graph_breaks_are_counted_with_their_reasons(bench: Bench) -> None:
    with bench.prepared(bench.case("inductor", "zoo.py:breaks")) as prepared:
        told = prepared.fairness()
    assert bench.phases[-1] == "compile"
    assert told["graph_breaks"] == 1
    assert told["graphs"] == 2
    assert list(told["break_reasons"].values()) == [1]


def test_fullgraph_makes_a_graph_break_a_row(bench: Bench) -> None:
    with pytest.raises(Unsupported, match="graph_break"):
        bench.run(bench.case("inductor", "zoo.py:breaks", options={"fullgraph": True}))


def test_one_dynamic_program_serves_another_size_without_recompiling(bench: Bench) -> None:
    case = bench.case(
        "inductor",
        inputs={"x": Input(shape=("batch", 3, 16, 16))},
        symbols={"batch": 8},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )
    with bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        told = prepared.fairness()
    assert (told["graphs"], told["recompiles"]) == (1, 0)


def test_a_size_of_one_recompiles_and_the_record_says_so(bench: Bench) -> None:
    case = bench.case(
        "inductor",
        inputs={"x": Input(shape=("batch", 3, 16, 16))},
        symbols={"batch": 1},
        dynamic={"batch": Range(min=1, opt=4, max=8)},
    )
    with bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        assert prepared.fairness()["recompiles"] == 1


def test_generated_code_is_kept_where_the_caller_wants_it(bench: Bench, tmp_path: Path) -> None:
    case = bench.case("inductor", options={"keep_code": True})
    with bench.prepared(case, artifacts={"keep": tmp_path}):
        pass
    (kept,) = tmp_path.glob("*.py")
    assert "def call" in kept.read_text()


def test_a_cold_run_compiles_into_its_scratch_folder(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    case = bench.case("inductor")
    bench.run(case)
    with bench.prepared(case) as prepared:
        assert prepared.fairness()["code_cache"] == "warm"
    with bench.prepared(case, cold=True) as prepared:
        assert prepared.fairness()["code_cache"] == "cold"
    assert any(bench.root.glob("*/inductor/**/*.cpp"))


@pytest.mark.parametrize("mode", ["reduce-overhead", "max-autotune"])
def test_modes_that_capture_graphs_are_left_out_where_that_does_nothing_or_is_done_twice(
    bench: Bench, mode: str
) -> None:
    case = bench.case("inductor", options={"mode": mode})
    assert "a CPU has none" in (INDUCTOR.unsupported(case, "cpu") or "")
    assert INDUCTOR.unsupported(case, "cuda:0") is None
    twice = bench.case("inductor", options={"mode": mode}, cuda_graph=True)
    assert "captures CUDA graphs itself" in (INDUCTOR.unsupported(twice, "cuda:0") or "")


def test_without_a_compiler_the_backend_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    lacks = INDUCTOR.missing()
    assert lacks is not None
    assert lacks.fix == "apt-get install g++"

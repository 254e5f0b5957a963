"""torch.compile: what breaks graphs, what recompiles, where code goes."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import shutil
from pathlib import Path

import pytest

from bench.analysis import fairness
from bench.backends import base
from bench.errors import Unsupported
from bench.model.suite import Input, Range
from bench.report.warnings import describe
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
compiles = pytest.mark.long  # by the C++ compiler, whose first run alone takes half a minute
INDUCTOR = base.load("inductor")


@pytest.fixture(autouse=True)
def compiler() -> None:
    lacks = INDUCTOR.missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")


@compiles
def test_graph_breaks_are_counted_with_their_reasons(bench: Bench) -> None:
    with bench.prepared(bench.case("inductor", "zoo.py:breaks")) as prepared:
        told = prepared.fairness()
    assert bench.phases[-1] == "compile"
    assert told["graph_breaks"] == 1
    assert told["graphs"] == 2
    assert list(told["break_reasons"].values()) == [1]
    assert [warning.kind for warning in fairness.warnings(told, bench.case("inductor"))] == ["GraphBreaks"]


@compiles
def test_fullgraph_makes_a_graph_break_a_row(bench: Bench) -> None:
    with pytest.raises(Unsupported, match="graph_break"):
        bench.run(bench.case("inductor", "zoo.py:breaks", options={"fullgraph": True}))


@compiles
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


@compiles
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
        told = prepared.fairness()
    (warning,) = fairness.warnings(told, case)
    assert (told["recompiles"], warning.kind) == (1, "Recompiled")
    assert warning.figures["recompiles"] == 1
    assert "x.size()[0]" in describe(warning).text


@compiles
def test_a_model_that_compiles_in_each_call_until_torch_gives_up_is_told_with_the_reason(bench: Bench) -> None:
    case = bench.case("inductor", "zoo.py:counts")
    with torch._dynamo.config.patch(recompile_limit=2), bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        for _ in range(3):
            lane.call()
        told = prepared.fairness()
    warning = fairness.warnings(told, case)[-1]
    assert (told["recompiles"], told["recompile_limit"], warning.kind) == (2, True, "Recompiled")
    assert told["recompile_reasons"][0].endswith("calls == 0")
    assert (warning.figures["recompiles"], warning.figures["gave_up"]) == (2, True)
    assert "runs uncompiled" in describe(warning).text


@compiles
@pytest.mark.parametrize(("skipped", "capture"), [(0, "backend"), (1, "backend"), (2, "none")])
def test_graphs_that_inductor_declines_are_told_with_what_it_logs(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, skipped: int, capture: str
) -> None:
    case = bench.case("inductor", "zoo.py:breaks")
    monkeypatch.setattr("bench.backends.inductor._captures", lambda options, device: True)
    with bench.prepared(case) as prepared:
        logger = logging.getLogger("torch._inductor.cudagraph_utils.__cudagraphs")
        for _ in range(skipped):
            logger.warning("skipping cudagraphs due to %s", "mutated inputs (1 instances)\nFound from: x")
        told = prepared.fairness()
    assert (told["graphs"], told["graphs_skipped"], told["graph_capture"]) == (2, skipped, capture)
    assert told.get("skip_reasons", []) == ["skipping cudagraphs due to mutated inputs (1 instances)"] * bool(skipped)
    assert logger.handlers == []


def test_an_environment_that_lets_inductor_capture_graphs_is_seen() -> None:
    import torch._inductor.config

    module = importlib.import_module("bench.backends.inductor")
    assert not module._captures(INDUCTOR.options(), "cuda:0")
    with torch._inductor.config.patch({"triton.cudagraphs": True}):
        assert module._captures(INDUCTOR.options(), "cuda:0")
        assert not module._captures(INDUCTOR.options(), "cpu")


@compiles
def test_kernels_that_are_timed_to_choose_among_them_make_the_autotune_cache_cold(bench: Bench) -> None:
    case = bench.case("inductor", options={"mode": "max-autotune-no-cudagraphs"})
    with bench.prepared(case) as prepared:
        before = prepared.fairness()["autotune_cache"]
        torch._dynamo.utils.counters["inductor"]["select_algorithm_autotune"] += 1
        assert (before, prepared.fairness()["autotune_cache"]) == ("warm", "cold")
    with bench.prepared(bench.case("inductor")) as prepared:
        assert "autotune_cache" not in prepared.fairness()


@compiles
def test_its_caches_are_filled_ahead_by_a_stage_of_its_own(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    case = bench.case("inductor")
    stage = INDUCTOR.compile_stage(case)
    assert stage is not None
    assert stage.times_kernels_on == ()
    out = bench.folder()
    INDUCTOR.produce(stage, case, bench.context(case, bench.artifacts(case)), out)
    assert [path.name for path in out.iterdir()] == ["caches.json"]
    with bench.prepared(case) as prepared:
        assert prepared.fairness()["code_cache"] == "warm"
    shutil.rmtree(tmp_path / "cache")
    again = INDUCTOR.compile_stage(case)
    assert again is not None
    assert (again.key["caches"] != stage.key["caches"], again.key | stage.key) == (True, stage.key)


@pytest.mark.parametrize("mode", ["max-autotune", "max-autotune-no-cudagraphs"])
def test_a_mode_that_times_kernels_is_not_compiled_ahead(bench: Bench, mode: str) -> None:
    assert INDUCTOR.compile_stage(bench.case("inductor", options={"mode": mode})) is None


def test_an_environment_that_times_kernels_lets_nothing_be_compiled_beside_others(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = base.load("aoti")
    assert packages.stages(bench.case("aoti"))[-1].times_kernels_on == ("cuda",)
    monkeypatch.setenv("TORCHINDUCTOR_MAX_AUTOTUNE", "1")
    assert INDUCTOR.compile_stage(bench.case("inductor")) is None
    assert packages.stages(bench.case("aoti"))[-1].times_kernels_on == ("cpu", "cuda")


@compiles
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


def test_for_cuda_it_needs_triton_and_for_a_cpu_not(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "triton" else find(name))
    assert INDUCTOR.missing("cpu") is None
    lacks = INDUCTOR.missing("cuda:0")
    assert lacks is not None
    assert (lacks.reason, lacks.fix) == ("Inductor needs Triton to compile for CUDA", "pip install triton")


def test_without_a_compiler_the_backend_says_how_to_get_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CXX", raising=False)
    lacks = INDUCTOR.missing()
    assert lacks is not None
    assert lacks.fix == "apt-get install g++"


@compiles
def test_kernels_of_a_program_from_the_cache_are_traced_to_its_modules(bench: Bench) -> None:
    case = bench.case("inductor", "zoo.py:breaks")
    with bench.prepared(case):
        compiler, cache = (importlib.import_module(f"torch._inductor.{name}") for name in ("compile_fx", "codecache"))
    before = compiler.compile_fx, cache.PyCodeCache.load_by_key_path
    with INDUCTOR.provenance() as watch, bench.prepared(case) as prepared:
        told = prepared.fairness()
    assert (told["graphs"], told["code_cache"]) == (2, "warm")  # as it is measured without being watched
    assert (compiler.compile_fx, cache.PyCodeCache.load_by_key_path) == before
    calls = watch.provenance().calls
    assert [(each.modules, each.operators) for each in calls if each.extern] == [
        (("conv",), ("aten::convolution",)),
        (("linear",), ("aten::addmm",)),
    ]
    assert any(each.kernel.startswith("cpp_fused") for each in calls)

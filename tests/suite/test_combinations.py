"""The combinations of a suite: how symbols, axes, options and include entries become cases."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from bench.backends import base
from bench.model.suite import Range
from bench.runner import jobs
from bench.suite import plan, reader
from tests.suite.kit import REGISTRY, TEXT, labels, matrix, planned, write


def test_a_case_knows_its_resolved_shapes_and_the_line_of_its_backend(tmp_path: Path) -> None:
    case = planned(tmp_path, TEXT, select="model=bert and option.mode=max-autotune and batch=32").cases[0]
    assert case.resolved["ids"].shape == (32, 128)
    assert case.symbols == {"batch": 32, "seq": 128}
    assert case.config == {"transformers": "BertConfig", "layer_norm_eps": 1e-12}
    line = TEXT.splitlines().index("    - {name: inductor, mode: max-autotune}") + 1
    assert case.source == f"{tmp_path}/x.yaml:{line}"


def test_a_symbol_multiplies_only_the_models_that_use_it(tmp_path: Path) -> None:
    found = labels(planned(tmp_path, matrix(model=["resnet", "bert"], seq=[16, 64])))
    assert found == ["resnet/eager/fp32/batch=1", "bert/eager/fp32/batch=1/seq=16", "bert/eager/fp32/batch=1/seq=64"]


def test_the_matrix_wins_over_the_models_own_size(tmp_path: Path) -> None:
    assert labels(planned(tmp_path, matrix(model="bert", seq=16))) == ["bert/eager/fp32/batch=1/seq=16"]


def test_options_that_equal_their_default_vanish_and_duplicates_with_them(tmp_path: Path) -> None:
    backends = ["inductor", {"name": "inductor", "mode": "default"}, {"name": "inductor", "fullgraph": False}]
    found = planned(tmp_path, matrix(backend=backends))
    assert [(case.label, case.options) for case in found.cases] == [("resnet/inductor/fp32/batch=1", {})]
    assert found.left_out == ()


def test_text_and_number_options_that_equal_their_default_vanish_too(tmp_path: Path) -> None:
    entries: list[Any] = ["fake", {"name": "fake", "time": "1 ms", "noise": 0.01}, {"name": "fake", "time": "2 ms"}]
    registry = {**REGISTRY, "fake": base.load("fake")}
    read = reader.load(write(tmp_path, matrix(backend=entries)), registry)
    found = plan.plan(read, registry, device="cpu")
    assert [case.options for case in found.cases] == [{}, {"time": "2 ms"}]


def test_an_axis_at_its_default_gives_the_case_without_the_axis_here_and_in_a_worker(tmp_path: Path) -> None:
    said = {"precision": ["fp32"], "l2": "warm", "toolchain": "default", "streams": 1, "lanes": "threads"}
    (plain,) = planned(tmp_path, matrix()).cases
    (spelt,) = planned(tmp_path, matrix(**said)).cases
    job = jobs.decode_job(jobs.encode(jobs.Inspect(device="cpu", cases=(spelt,))))
    assert isinstance(job, jobs.Inspect)
    assert plain.id == spelt.id == job.cases[0].id


def test_every_other_axis_reaches_its_case(tmp_path: Path) -> None:
    tools = "toolchains: {old: {python: python3}}\n"
    axes = {"cuda_graph": True, "streams": 4, "lanes": "processes", "l2": "cold", "transfers": False}
    axes |= {"toolchain": "old"}
    (case,) = planned(tmp_path, matrix(**axes) + tools).cases
    assert {axis: getattr(case, axis) for axis in axes} == axes
    assert case.label == "resnet/eager/fp32/batch=1/graph/streams=4/lanes=processes/l2=cold/no-transfers/@old"


def test_one_lane_is_no_case_of_lanes_in_processes(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(streams=[1, 2], lanes=["threads", "processes"]))
    assert [(case.streams, case.lanes) for case in found.cases] == [(1, "threads"), (2, "threads"), (2, "processes")]
    (left,) = found.left_out
    assert "lanes: processes is for streams: 2 and more" in left.reason


def test_a_dynamic_symbol_is_measured_at_its_points_in_a_range_that_the_points_do_not_change(tmp_path: Path) -> None:
    def text(points: str) -> str:
        base = matrix(dynamic=["on", "off"]).replace('"batch": 1, ', "").replace(', "batch": 1', "")
        return f"{base}dynamic: {{batch: {{min: 1, opt: 8, max: 32{points}}}}}\n"

    found = planned(tmp_path, text(""))
    assert [(case.symbols["batch"], bool(case.dynamic)) for case in found.cases] == list(
        itertools.product([1, 8, 32], [True, False])
    )
    assert found.cases[0].dynamic == {"batch": Range(min=1, opt=8, max=32)}
    assert found.cases[0].label == "resnet/eager/fp32/batch=1 of 1..32"
    more = planned(tmp_path, text(", at: [1, 4, 8, 32]"))
    assert {case.id for case in found.cases} < {case.id for case in more.cases}


def test_a_model_without_the_dynamic_symbol_is_planned_once(tmp_path: Path) -> None:
    text = matrix(model=["resnet", "bert"]) + "dynamic: {seq: {min: 1, opt: 2, max: 3}}\n"
    assert [case.model for case in planned(tmp_path, text).cases] == ["resnet", "bert", "bert", "bert"]


def test_an_include_entry_is_measured_at_all_points_of_a_dynamic_symbol(tmp_path: Path) -> None:
    text = matrix(model="bert", include=[{"backend": "inductor", "model": "bert"}])
    found = planned(tmp_path, text + "dynamic: {seq: {min: 1, opt: 2, max: 3}}\n", select="backend=inductor")
    assert [case.symbols["seq"] for case in found.cases] == [1, 2, 3]


def test_an_include_entry_adds_combinations_and_takes_first_values_for_the_rest(tmp_path: Path) -> None:
    include = [{"model": "bert", "backend": ["inductor", {"name": "inductor", "fullgraph": True}], "batch": [1, 64]}]
    found = planned(tmp_path, matrix(precision=["fp16", "fp32"], batch=[8, 16], include=include))
    assert labels(found)[4:] == [
        "bert/inductor/fp16/batch=1/seq=128",
        "bert/inductor[fullgraph=on]/fp16/batch=1/seq=128",
        "bert/inductor/fp16/batch=64/seq=128",
        "bert/inductor[fullgraph=on]/fp16/batch=64/seq=128",
    ]

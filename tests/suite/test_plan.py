from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.backends import base
from bench.errors import SelectionError, SuiteError, UsageError
from bench.model.suite import Case, Plan, Range, Suite
from bench.runner import jobs
from bench.suite import plan, reader
from tests.suite.kit import REGISTRY, TEXT, load, write


def planned(folder: Path, text: str, device: str = "cuda:0", **more: str) -> Plan:
    return plan.plan(load(folder, text), REGISTRY, device=device, **more)


def labels(found: Plan) -> list[str]:
    return [case.label for case in found.cases]


def matrix(**axes: Any) -> str:
    """The tiny suite with another matrix (JSON is YAML)."""
    start = TEXT[: TEXT.index("matrix:")]
    return f"{start}matrix: {json.dumps({'backend': 'eager', 'model': 'resnet', 'batch': 1} | axes)}\n"


def test_the_model_is_outermost_and_the_backend_innermost(tmp_path: Path) -> None:
    assert labels(planned(tmp_path, TEXT, select="model=resnet")) == [
        "resnet/eager/fp32/batch=1",
        "resnet/inductor/fp32/batch=1",
        "resnet/inductor[mode=max-autotune]/fp32/batch=1",
        "resnet/eager/fp16/batch=1",
        "resnet/inductor/fp16/batch=1",
        "resnet/inductor[mode=max-autotune]/fp16/batch=1",
        "resnet/inductor/fp32/batch=32",
        "resnet/inductor[mode=max-autotune]/fp32/batch=32",
        "resnet/inductor/fp16/batch=32",
        "resnet/inductor[mode=max-autotune]/fp16/batch=32",
    ]


def test_what_is_excluded_is_left_out_with_the_line_that_says_so(tmp_path: Path) -> None:
    found = planned(tmp_path, TEXT, select="model=resnet and precision=fp32")
    line = TEXT.splitlines().index("    - {backend: eager, batch: 32}") + 1
    assert [(entry.label, entry.reason) for entry in found.left_out] == [
        ("resnet/eager/fp32/batch=32", f"excluded at {tmp_path}/x.yaml:{line}")
    ]


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


def test_an_included_case_stands_beside_those_it_compares_with(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(batch=[1, 2], include=[{"backend": "inductor", "batch": 1}]))
    assert labels(found) == ["resnet/eager/fp32/batch=1", "resnet/inductor/fp32/batch=1", "resnet/eager/fp32/batch=2"]


def test_an_include_entry_brings_back_what_was_excluded(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(batch=[1, 2], exclude=[{"backend": "eager"}], include=[{"batch": 2}]))
    assert labels(found) == ["resnet/eager/fp32/batch=2"]
    assert [entry.label for entry in found.left_out] == ["resnet/eager/fp32/batch=1"]


@pytest.mark.parametrize(
    ("entry", "kept"),
    [
        ({"backend": "inductor"}, []),
        ({"backend": {"name": "inductor", "mode": "default"}}, ["inductor[mode=max-autotune]"]),
        ({"backend": {"name": "inductor", "mode": "max-autotune"}}, ["inductor", "inductor[fullgraph=on]"]),
        ({"backend": ["eager", "inductor"]}, []),
        ({"cuda_graph": False, "dynamic": False, "model": "resnet"}, []),
    ],
)
def test_an_exclude_entry_agrees_in_all_that_it_names(tmp_path: Path, entry: dict[str, Any], kept: list[str]) -> None:
    backends = ["inductor", {"name": "inductor", "fullgraph": True}, {"name": "inductor", "mode": "max-autotune"}]
    if "dynamic" in entry:
        text = matrix(backend=backends, exclude=[entry]) + "dynamic: {seq: {min: 1, opt: 2, max: 3}}\n"
    else:
        text = matrix(backend=backends, exclude=[entry])
    assert labels(planned(tmp_path, text)) == [f"resnet/{name}/fp32/batch=1" for name in kept]


@pytest.mark.parametrize(
    ("entry", "axis", "there"),
    [
        ({"backend": "onnxruntime"}, "backend", "eager, inductor[mode=max-autotune]"),
        ({"backend": {"name": "inductor", "mode": "default"}}, "backend", "eager, inductor[mode=max-autotune]"),
        ({"batch": 32, "cuda_graph": False}, "batch", "1, 2"),
        ({"batch": 1, "cuda_graph": True}, "cuda_graph", "off"),
        ({"backend": "eager", "seq": 128}, "seq", "none"),
        ({"toolchain": "default", "streams": 2}, "streams", "1"),
    ],
)
def test_an_exclude_entry_that_takes_nothing_away_is_told_with_its_line(
    tmp_path: Path, entry: dict[str, Any], axis: str, there: str
) -> None:
    backends = ["eager", {"name": "inductor", "mode": "max-autotune"}]
    start, line = matrix(backend=backends, batch=[1, 2], exclude=[{"batch": 2}, entry]).rstrip("\n").split("matrix: ")
    head, tail = line.split('{"batch": 2}, ')
    text = start + "matrix:\n  " + head + '{"batch": 2},\n    ' + tail + "\n"
    with pytest.raises(SuiteError) as caught:
        planned(tmp_path, text)
    assert f"no combination of the matrix agrees with its {axis}" in caught.value.what
    assert caught.value.fix.endswith(f"there {axis} is: {there}")
    assert caught.value.where == f"{tmp_path}/x.yaml:{len(text.splitlines())}"


def test_an_exclude_entry_is_judged_by_the_suite_as_it_is_written(tmp_path: Path) -> None:
    text = matrix(backend=["eager", "onnxruntime"], batch=[1, 2], exclude=[{"backend": "eager", "batch": 2}])
    assert labels(planned(tmp_path, text, select="batch=1")) == [
        "resnet/eager/fp32/batch=1",
        "resnet/onnxruntime/fp32/batch=1",
    ]
    assert len(planned(tmp_path, text, backend_override="fake").cases) == 2
    only = matrix(batch=1, include=[{"batch": 2}], exclude=[{"batch": 2}])
    with pytest.raises(SuiteError, match="takes nothing away"):  # an include entry stands above it
        planned(tmp_path, only)


def test_what_cannot_run_on_the_device_is_left_out_with_the_reason(tmp_path: Path) -> None:
    text = matrix(backend=["eager", "onnxruntime"], precision=["fp32", "bf16"], cuda_graph=["off", "on"])
    found = planned(tmp_path, text, device="cpu")
    assert labels(found) == [
        "resnet/eager/fp32/batch=1", "resnet/onnxruntime/fp32/batch=1", "resnet/eager/bf16/batch=1",
    ]  # fmt: skip
    reasons = {entry.label: entry.reason for entry in found.left_out}
    assert reasons["resnet/eager/fp32/batch=1/graph"] == "cuda_graph needs a CUDA device"
    assert reasons["resnet/onnxruntime/bf16/batch=1"] == "no bf16 on cpu"
    assert len(planned(tmp_path, text).cases) == 6


def test_a_cold_l2_is_for_gpus_only(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(l2=["warm", "cold"]), device="cpu")
    assert labels(found) == ["resnet/eager/fp32/batch=1"]
    assert found.left_out[0].reason == "l2: cold needs a CUDA device"


def test_a_rehearsal_replaces_every_backend_and_keeps_one_row_of_each(tmp_path: Path) -> None:
    text = matrix(backend=["eager", {"name": "inductor", "mode": "max-autotune"}], cuda_graph=["off", "on"])
    assert labels(planned(tmp_path, text, device="cpu", backend_override="fake")) == [
        "resnet/fake/fp32/batch=1",
        "resnet/fake/fp32/batch=1/graph",
    ]
    tools = "toolchains: {old: {python: $NOT_SET}}\n"
    elsewhere = planned(tmp_path, matrix(toolchain=["default", "old"]) + tools, backend_override="fake")
    assert [(case.label, case.toolchain) for case in elsewhere.cases] == [("resnet/fake/fp32/batch=1", "default")]
    narrowed = planned(tmp_path, TEXT, select="backend~inductor* and batch=1 and model=bert", backend_override="fake")
    assert labels(narrowed) == ["bert/fake/fp32/batch=1/seq=128", "bert/fake/fp16/batch=1/seq=128"]
    with pytest.raises(UsageError, match="Did you mean 'fake'"):
        planned(tmp_path, TEXT, backend_override="fkae")


def test_a_backend_in_place_of_others_keeps_its_own_cases_with_their_options(tmp_path: Path) -> None:
    own = {"name": "inductor", "mode": "max-autotune"}
    include = [{"backend": {"name": "inductor", "threads": 2}, "batch": 1}]
    text = matrix(backend=["eager", own], batch=[1, 2], include=include)
    found = planned(tmp_path, text, backend_override="inductor")
    assert labels(found) == [
        "resnet/inductor[mode=max-autotune]/fp32/batch=1",
        "resnet/inductor[threads=2]/fp32/batch=1",
        "resnet/inductor[mode=max-autotune]/fp32/batch=2",
    ]
    selected = planned(tmp_path, text, select="backend=eager", backend_override="inductor")
    assert labels(selected) == ["resnet/inductor/fp32/batch=1", "resnet/inductor/fp32/batch=2"]
    part = matrix(backend=["eager"], batch=[1, 2], include=[{"backend": own, "batch": 2}])
    assert labels(planned(tmp_path, part, backend_override="inductor")) == [
        "resnet/inductor/fp32/batch=1",
        "resnet/inductor[mode=max-autotune]/fp32/batch=2",
    ]


def test_a_backend_in_place_of_others_names_the_options_that_its_defaults_drop(tmp_path: Path) -> None:
    def lost(text: str, backend: str = "inductor", **more: str) -> dict[str, tuple[str, ...]]:
        outcome = planned(tmp_path, text, backend_override=backend, **more)
        return {case.label: outcome.options_lost[case.id] for case in outcome.cases if case.id in outcome.options_lost}

    mode, threads = {"name": "inductor", "mode": "max-autotune"}, {"name": "inductor", "threads": 2}
    text = matrix(backend=["eager", mode], batch=[1, 2], include=[{"backend": "onnxruntime", "batch": 1}])
    assert lost(text) == {}
    assert lost(text, "fake") == {}
    assert lost(text, "onnxruntime") == {"resnet/onnxruntime/fp32/batch=2": ("mode",)}
    # Not selected, so its options are dropped as well.
    assert lost(text, select="backend=eager and batch=1") == {"resnet/inductor/fp32/batch=1": ("mode",)}
    part = matrix(backend="eager", batch=[1, 2], include=[{"backend": threads, "batch": 2}])
    assert lost(part) == {}


def test_what_is_not_selected_is_neither_a_case_nor_left_out(tmp_path: Path) -> None:
    found = planned(tmp_path, TEXT, select="not backend=eager")
    assert found.left_out == ()
    assert {case.backend for case in found.cases} == {"inductor"}
    assert planned(tmp_path, TEXT, select="  ") == planned(tmp_path, TEXT)


def test_a_selection_that_matches_nothing_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="no case matches") as caught:
        planned(tmp_path, TEXT, select="precision=int8 and batch>64 and backend=onnxruntime and cuda_graph=on")
    assert caught.value.fix == (
        "the suite has precision: fp32, fp16; batch: 1, 32; backend: eager, inductor, inductor[mode=max-autotune]; "
        "cuda_graph: off"
    )


def test_a_billion_combinations_fail_before_they_are_built(tmp_path: Path) -> None:
    text = matrix(batch=list(range(1, 1001)), streams=list(range(1, 1001)), model="bert", seq=list(range(1, 1001)))
    with pytest.raises(UsageError, match="1,000,000,000 combinations") as caught:
        planned(tmp_path, text)
    assert caught.value.where.startswith(f"{tmp_path}/x.yaml:")


def test_more_than_ten_thousand_cases_want_a_yes(tmp_path: Path) -> None:
    case = planned(tmp_path, matrix()).cases[0]
    plan.check_size(Plan(cases=(case,) * 10_000), 10, yes=False)
    with pytest.raises(UsageError, match="10,001 cases") as caught:
        plan.check_size(Plan(cases=(case,) * 10_001), 1, yes=False)
    assert "--yes" in caught.value.fix
    plan.check_size(Plan(cases=(case,) * 10_001), 99, yes=True)
    with pytest.raises(UsageError, match="100,010 processes"):
        plan.check_size(Plan(cases=(case,) * 10), 10_001, yes=False)


# --------------------------------------------------------------------------------------------------- for any matrix


BACKENDS = st.sampled_from(
    [
        "eager",
        "inductor",
        "onnxruntime",
        {"name": "inductor", "mode": "max-autotune"},
        {"name": "inductor", "threads": 2},
    ]
)
AXES = {
    "model": st.sampled_from(["resnet", "bert"]),
    "precision": st.sampled_from(["fp32", "fp16", "bf16"]),
    "cuda_graph": st.booleans(),
    "streams": st.integers(1, 3),
    "batch": st.integers(1, 4),
    "seq": st.integers(1, 4),
}
ENTRY = st.fixed_dictionaries({}, optional={**AXES, "backend": BACKENDS}).filter(bool)


@st.composite
def matrices(draw: st.DrawFn) -> dict[str, Any]:
    axes = {axis: draw(st.lists(values, min_size=1, max_size=3)) for axis, values in AXES.items()}
    return {"backend": draw(st.lists(BACKENDS, min_size=1, max_size=4)), **axes}


def product(suite: Suite) -> set[tuple[Any, ...]]:
    """The product of the axes written out by hand: a model without `seq` counts once whatever `seq` is."""
    axes = suite.matrix
    return {
        (model, json.dumps(backend), *rest, batch, seq if model == "bert" else None)
        for model in axes["model"]
        for backend in axes["backend"]
        for rest in itertools.product(axes["precision"], axes["cuda_graph"], axes["streams"])
        for batch in axes["batch"]
        for seq in axes["seq"]
    }


def identity(case: Case) -> tuple[Any, ...]:
    backend = json.dumps({"name": case.backend, **case.options})
    sizes = (case.symbols["batch"], case.symbols.get("seq"))
    return (case.model, backend, case.precision, case.cuda_graph, case.streams, *sizes)


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(matrices(), st.lists(ENTRY, max_size=2))
def test_kept_and_excluded_are_the_product(tmp_path: Path, axes: dict[str, Any], exclude: list[Any]) -> None:
    def agrees(entry: Any) -> bool:
        """Whether the entry takes something away; one that does not is an error."""
        try:
            found = planned(tmp_path, matrix(**axes, exclude=[entry]))
        except SuiteError:
            return False
        assert any(left.reason.startswith("excluded") for left in found.left_out)
        return True

    exclude = [entry for entry in exclude if agrees(entry)]
    whole = planned(tmp_path, matrix(**axes))
    read = load(tmp_path, matrix(**axes, exclude=exclude))
    part = plan.plan(read, REGISTRY, device="cpu")
    everything = {
        identity(case) for case in plan.plan(load(tmp_path, matrix(**axes)), _ANYTHING, device="cuda:0").cases
    }
    assert everything == product(read)
    assert len(part.cases) + len(part.left_out) == len(everything)
    assert not {case.label for case in part.cases} & {entry.label for entry in part.left_out}
    assert {case.id for case in part.cases} <= {case.id for case in whole.cases}


_ANYTHING = {name: copy.copy(runtime) for name, runtime in REGISTRY.items()}
_ANYTHING["onnxruntime"] = REGISTRY["eager"]


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(matrices(), st.randoms())
def test_ids_do_not_depend_on_the_order_of_keys(tmp_path: Path, axes: dict[str, Any], random: Any) -> None:
    turned = copy.deepcopy(axes)
    for values in turned.values():
        random.shuffle(values)
    keys = list(turned)
    random.shuffle(keys)
    backends = [dict(reversed(entry.items())) if isinstance(entry, dict) else entry for entry in turned["backend"]]
    shuffled = {key: turned[key] for key in keys} | {"backend": backends}
    one, other = planned(tmp_path, matrix(**axes)), planned(tmp_path, matrix(**shuffled))
    assert {case.id: case.label for case in one.cases} == {case.id: case.label for case in other.cases}


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(matrices())
def test_cases_that_differ_only_in_the_backend_stand_together(tmp_path: Path, axes: dict[str, Any]) -> None:
    rest = [identity(case)[:1] + identity(case)[2:] for case in planned(tmp_path, matrix(**axes)).cases]
    assert len([key for key, _ in itertools.groupby(rest)]) == len(set(rest))
    assert len([key for key, _ in itertools.groupby(part[0] for part in rest)]) == len({part[0] for part in rest})


def test_what_is_left_out_has_the_name_of_the_backend_that_takes_the_place(tmp_path: Path) -> None:
    text = TEXT.replace("[fp32, fp16]", "[fp32, bf16]")
    found = plan.plan(load(tmp_path, text), REGISTRY, device="cpu", backend_override="onnxruntime")
    assert {entry.label.split("/")[1] for entry in found.left_out} == {"onnxruntime"}


@pytest.mark.parametrize("yes", [False, True])
def test_replicates_beyond_reason_are_refused_whatever_is_allowed(tmp_path: Path, yes: bool) -> None:
    with pytest.raises(UsageError, match="the limit"):
        plan.check_size(planned(tmp_path, TEXT), 10**9, yes)

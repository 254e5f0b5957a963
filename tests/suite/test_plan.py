"""The plan as a whole: its order, a backend in place of others, its size."""

from __future__ import annotations

import copy
import itertools
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.errors import SuiteError, UsageError
from bench.model.suite import Case, Plan, Suite
from bench.suite import plan
from tests.suite.kit import REGISTRY, TEXT, labels, load, matrix, planned


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


def test_an_included_case_stands_beside_those_it_compares_with(tmp_path: Path) -> None:
    found = planned(tmp_path, matrix(batch=[1, 2], include=[{"backend": "inductor", "batch": 1}]))
    assert labels(found) == ["resnet/eager/fp32/batch=1", "resnet/inductor/fp32/batch=1", "resnet/eager/fp32/batch=2"]


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

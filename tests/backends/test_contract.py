"""What every backend promises, held against each file in bench/backends without naming one."""

from __future__ import annotations

import gc
import itertools
import json
import subprocess
import sys
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.backends import base
from bench.model.abilities import CompilesAhead
from bench.model.lanes import SharesInputs
from bench.model.seam import Missing
from bench.model.suite import Case
from tests.backends.kit import Bench, cosine

RUNTIMES = {
    "torch",
    "onnxruntime",
    "onnx",
    "tensorrt",
    "tensorrt_rtx",
    "torch_tensorrt",
    "cuda",
    "transformers",
    "torchvision",
    "timm",
}
ALL = base.names()


def _marks(name: str) -> list[pytest.MarkDecorator]:
    """What a backend needs; those that compile or build a program take half a minute for their first."""
    backend = base.load(name)
    stages = backend.stages(Case(model="m", factory="f:m", inputs={}, backend=name))
    builds = isinstance(backend, CompilesAhead) or any(stage.name == "build" for stage in stages)
    return [pytest.mark.torch] * (not backend.simulated) + [pytest.mark.long] * builds


RUNNABLE = [pytest.param(name, marks=_marks(name), id=name) for name in base.names()]


@pytest.fixture(scope="module", params=RUNNABLE)
def case(request: pytest.FixtureRequest, bench: Bench) -> Case:
    """A tiny fp32 case of each backend that is not missing here."""
    lacks = base.load(request.param).missing()
    if lacks is not None:
        pytest.skip(f"{lacks.reason}; {lacks.fix}")
    if not base.load(request.param).simulated:
        pytest.importorskip("torch")
    asked = bench.case(request.param)
    reason = base.load(request.param).unsupported(asked, "cpu")
    if reason is not None:
        pytest.skip(reason)
    return asked


@pytest.fixture(scope="module")
def prepared(case: Case, bench: Bench) -> Iterator[Any]:
    """The case, loaded once for the tests that only call it."""
    with bench.prepared(case) as loaded:
        yield loaded


def assert_right(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    assert list(found) == list(wanted)
    for name, array in found.items():
        assert array.shape == wanted[name].shape
        assert array.dtype == wanted[name].dtype
        assert np.isfinite(array).all()
        assert cosine(array, wanted[name]) > 0.9999


@pytest.mark.parametrize("name", ALL)
def test_importing_a_backend_imports_no_runtime(name: str) -> None:
    names = "print(*{m.split('.')[0] for m in sys.modules})"
    code = f"import sys; from bench.backends import base; base.load({name!r}); {names}"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not RUNTIMES & set(loaded)


@pytest.mark.parametrize("name", ALL)
def test_missing_says_what_and_how_to_mend_it_or_nothing(name: str) -> None:
    lacks = base.load(name).missing()
    assert lacks is None or (isinstance(lacks, Missing) and lacks.reason and lacks.fix)


@pytest.mark.parametrize("name", ALL)
def test_options_have_defaults_and_refuse_an_unknown_key(name: str) -> None:
    options = base.load(name).options
    assert msgspec.to_builtins(options()) == {}
    with pytest.raises(msgspec.ValidationError, match="no_such_option"):
        msgspec.convert({"no_such_option": 1}, options)


@pytest.mark.parametrize("name", ALL)
def test_the_first_stage_is_the_reference_and_every_stage_has_a_producer_and_plain_keys(
    name: str, bench: Bench
) -> None:
    stages = base.load(name).stages(bench.case(name))
    assert stages[0].name == "reference"
    assert len({stage.name for stage in stages}) == len(stages)
    for index, stage in enumerate(stages):
        assert stage.producer in ALL
        assert set(stage.needs) <= {earlier.name for earlier in stages[:index]}
        assert json.loads(json.dumps(stage.key)) == msgspec.to_builtins(stage.key)


@pytest.mark.parametrize("name", ALL)
def test_stages_are_shared_by_cases_that_differ_only_in_how_they_are_measured(name: str, bench: Bench) -> None:
    first, second = bench.case(name), bench.case(name, streams=2, l2="cold", source="elsewhere.yaml:3")
    assert base.load(name).stages(first) == base.load(name).stages(second)


def test_a_call_gives_the_reference(case: Case, prepared: Any, bench: Bench) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    assert_right(lane.read(), bench.reference(case))


def test_poison_spoils_the_outputs_and_a_call_mends_them(case: Case, prepared: Any, bench: Bench) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    lane.poison()
    assert all(np.isnan(array).all() for array in lane.read().values())
    lane.call()
    assert_right(lane.read(), bench.reference(case))


def test_what_was_read_is_a_copy(prepared: Any) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    before = lane.read()
    kept = {name: array.copy() for name, array in before.items()}
    lane.poison()
    lane.call()
    assert all(np.array_equal(before[name], kept[name]) for name in kept)


def test_lanes_are_as_many_as_asked_for_up_to_the_limit_and_stay_the_same(prepared: Any) -> None:
    (first,) = prepared.lanes(1)
    first.call()
    lanes = prepared.lanes(3)
    assert lanes[0] is first
    assert len(lanes) == min(3, prepared.max_lanes or 3)
    assert prepared.max_lanes is None or prepared.max_lanes >= 1


def test_lanes_share_no_memory(case: Case, prepared: Any, bench: Bench) -> None:
    lanes = prepared.lanes(2)
    for lane in lanes:
        lane.call()
    spans = sorted(
        (buffer.ptr, buffer.ptr + buffer.nbytes)
        for lane in lanes
        for buffer in (*lane.inputs().values(), *lane.outputs().values())
    )
    assert all(end <= start for (_, end), (start, _) in itertools.pairwise(spans))
    lanes[-1].poison()
    if len(lanes) > 1:
        assert_right(lanes[0].read(), bench.reference(case))


def test_input_buffers_fit_the_case_and_stay_where_they_are(case: Case, prepared: Any) -> None:
    (lane,) = prepared.lanes(1)
    before = dict(lane.inputs())
    lane.call()
    lane.call()
    assert dict(lane.inputs()) == before
    assert {name: buffer.shape for name, buffer in before.items()} == {n: s.shape for n, s in case.inputs.items()}
    assert all(buffer.nbytes == 4 * int(np.prod(buffer.shape)) for buffer in before.values())


def test_inputs_hold_the_cases_values_after_calls(prepared: Any) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    lane.call()
    assert not isinstance(lane, SharesInputs) or list(lane.changed_inputs()) == []


def test_outputs_tell_where_the_latest_results_lie(prepared: Any) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    read, told = lane.read(), lane.outputs()
    assert list(read) == list(told)
    assert all(told[name].shape == array.shape and told[name].ptr for name, array in read.items())


def test_a_lane_works_from_another_thread(case: Case, prepared: Any, bench: Bench) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    lane.poison()
    thread = threading.Thread(target=lane.call)
    thread.start()
    thread.join()
    assert_right(lane.read(), bench.reference(case))


def test_a_cpu_lane_has_no_stream(prepared: Any) -> None:
    assert [lane.stream for lane in prepared.lanes(2) if lane.stream is not None] == []


def test_fairness_is_plain_data(prepared: Any) -> None:
    (lane,) = prepared.lanes(1)
    lane.call()
    told = prepared.fairness()
    assert json.loads(json.dumps(told)) == told
    assert told
    assert isinstance(prepared.captures_graphs, bool)


def test_steps_before_the_first_call_are_phases(case: Case, bench: Bench) -> None:
    with bench.prepared(case):
        assert "load" in bench.phases


def test_the_exit_lets_go_of_the_lanes_even_when_the_measurement_raises(case: Case, bench: Bench) -> None:
    class Halt(Exception):
        pass

    kept: list[weakref.ref[Any]] = []

    def measure() -> None:
        with bench.prepared(case) as loaded:
            lane = loaded.lanes(1)[0]
            lane.call()
            kept.append(weakref.ref(lane))
            raise Halt

    with pytest.raises(Halt):
        measure()
    gc.collect()
    assert kept[0]() is None

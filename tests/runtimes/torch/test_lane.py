"""Lanes over PyTorch callables: what poison reaches, and the mode that calls run in."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.runtimes.torch.lane import TorchLane  # noqa: E402

pytestmark = pytest.mark.torch


def lane(run: Callable[[Any], Any], **fields: Any) -> TorchLane:
    return TorchLane(lambda inputs: run(inputs["x"]), {"x": torch.ones(2, 3)}, tuple, (), **fields)


def once_more(of: TorchLane) -> dict[str, Any]:
    of.call()
    of.poison()
    of.call()
    return of.read()


def test_fresh_outputs_of_the_latest_two_calls_are_poisoned() -> None:
    seen: list[Any] = []

    def run(x: Any) -> Any:
        seen.append(x * 2)
        return seen[-1]

    of = lane(run)
    of.call()
    of.poison()
    assert len(seen) == 2
    assert all(torch.isnan(each).all() for each in seen)
    of.call()
    assert (of.read()["output"] == 2).all()


def test_an_output_that_is_returned_again_keeps_its_values_and_serves_the_other_outputs() -> None:
    table = torch.arange(3.0)
    outputs = once_more(lane(lambda x: {"y": x * table, "table": table, "part": table[1:]}))
    assert {name: array.tolist() for name, array in outputs.items()} == {
        "y": [[0, 1, 2]] * 2,
        "table": [0, 1, 2],
        "part": [1, 2],
    }


def test_memory_that_calls_must_write_is_poisoned_though_it_is_returned_again() -> None:
    buffer, writes = torch.zeros(2, 3), [True]

    def run(x: Any) -> Any:
        return buffer.copy_(x) if writes[0] else buffer

    of = lane(run, fixed_outputs=True)
    assert (once_more(of)["output"] == 1).all()
    writes[0] = False
    assert np.isnan(once_more(of)["output"]).all()


def test_integers_and_complex_numbers_are_poisoned_too() -> None:
    of = lane(lambda x: {"i": x.argmax(-1), "c": torch.complex(x, x), "b": x > 0})
    of.call()
    of.poison()
    outputs = of.read()
    assert (outputs["i"] == 0x7F7F7F7F7F7F7F7F).all()
    assert np.isnan(outputs["c"]).all()


@pytest.mark.filterwarnings("ignore:ComplexHalf support is experimental")
@pytest.mark.parametrize("dtype", ["complex64", "complex128", "complex32"])
def test_complex_views_are_read_as_they_are_seen(dtype: str) -> None:
    values = torch.tensor([[1 + 2j, 3 - 1j]], dtype=torch.complex64).to(getattr(torch, dtype))
    array = once_more(lane(lambda x: values.conj()))["output"]
    assert array.tolist() == [[1 - 2j, 3 + 1j]]
    assert array.dtype == ("complex128" if dtype == "complex128" else "complex64")


@pytest.mark.parametrize("switch", [True, False])
def test_gradients_in_forward_are_computed_outside_inference_mode(switch: bool) -> None:
    def run(x: Any) -> Any:
        with torch.set_grad_enabled(True) if switch else torch.autograd.set_detect_anomaly(False):
            x = (x * 1).requires_grad_(True) if switch else x.clone().requires_grad_(True)
            return torch.autograd.grad((x**3).sum(), x)[0]

    of = lane(run)
    assert of.inference_mode
    assert (once_more(of)["output"] == 3).all()
    assert not of.inference_mode


def test_an_error_of_the_model_is_raised_as_it_is_and_the_mode_stays() -> None:
    calls: list[int] = []

    def run(x: Any) -> Any:
        calls.append(1)
        raise RuntimeError("shapes do not match")

    of = lane(run)
    with pytest.raises(RuntimeError, match="shapes do not match"):
        of.call()
    assert (len(calls), of.inference_mode) == (1, True)


def test_a_model_that_needs_gradients_which_nothing_gives_fails_with_its_own_error() -> None:
    of = lane(lambda x: torch.autograd.grad((x.detach() * 2).sum(), x))
    with pytest.raises(RuntimeError, match="does not require grad"):
        of.call()


def with_gradients(x: Any) -> Any:
    with torch.enable_grad():
        x = (x * 1).requires_grad_(True)
        return torch.autograd.grad((x**3).sum(), x)[0]


def with_gradients_that_the_caller_enables(x: Any) -> Any:
    x = x.clone().requires_grad_(True)
    return torch.autograd.grad((x**3).sum(), x)[0]


@pytest.mark.parametrize(
    ("model", "inference", "gradients"),
    [
        (lambda x: x * 3, True, False),
        (with_gradients, False, False),
        (with_gradients_that_the_caller_enables, False, True),
    ],
)
def test_a_graph_is_begun_and_ended_outside_of_inference_mode_and_its_model_captured_as_it_is_called(
    monkeypatch: pytest.MonkeyPatch, model: Callable[[Any], Any], inference: bool, gradients: bool
) -> None:
    modes: list[tuple[str, bool, bool]] = []

    def note(what: str) -> None:
        modes.append((what, torch.is_inference_mode_enabled(), torch.is_grad_enabled()))

    @contextlib.contextmanager
    def graph(graph: object, **settings: object) -> Iterator[None]:
        note("begin")
        yield
        note("end")

    stream = SimpleNamespace(cuda_stream=1, device=torch.device("cuda"), synchronize=lambda: None)
    for name, stand_in in {
        "graph": graph,
        "CUDAGraph": lambda: SimpleNamespace(replay=lambda: note("replay")),
        "Stream": lambda device: stream,
        "ExternalStream": lambda handle, device: stream,
        "cudart": lambda: SimpleNamespace(cudaStreamCreate=lambda address: 0),
        "check_error": lambda error: None,
        "device": lambda device: contextlib.nullcontext(),
        "set_stream": lambda stream: None,
        "synchronize": lambda device: None,
    }.items():
        monkeypatch.setattr(torch.cuda, name, stand_in)
    table = torch.ones(2, 3)

    def run(inputs: object) -> Any:
        output = model(table)
        note("run")
        return output

    on_a_gpu: Any = SimpleNamespace(device=torch.device("cuda"))
    with torch.no_grad():  # as torch_session has it
        of = TorchLane(run, {"x": on_a_gpu}, tuple, ())
        of.call()
        modes.clear()
        of.capture()
        of.call()
    mode = ("run", inference, gradients)
    outside = [(what, False, False) for what in ("begin", "end", "replay")]
    assert modes == [mode, mode, mode, outside[0], mode, *outside[1:]]


def of_inputs(value: Any, run: Callable[[Any], Any]) -> TorchLane:
    def fresh() -> dict[str, Any]:
        return {"x": value.clone()}

    return TorchLane(lambda inputs: run(inputs["x"]), fresh(), tuple, (), fresh)


@pytest.mark.parametrize(
    "value",
    [
        torch.tensor([[1.0, float("nan")], [-0.0, 2.0]]),
        torch.full((3,), float("nan"), dtype=torch.bfloat16),
        torch.tensor(float("nan")),
        torch.tensor([True, False]),
        torch.tensor([1.0 + 2.0j, complex("nan")]),
        torch.ones(1, 2, 2, 2).contiguous(memory_format=torch.channels_last),
        torch.ones(0, 2),
    ],
    ids=str,
)
def test_inputs_that_a_model_leaves_alone_have_not_changed_whatever_their_values(value: Any) -> None:
    of = of_inputs(value, lambda x: x * 1)
    of.call()
    assert of.changed_inputs() == []


@pytest.mark.parametrize("run", [lambda x: x.nan_to_num_(), lambda x: x.resize_(3), lambda x: x.neg_().abs_().neg_()])
def test_inputs_that_a_model_changes_are_named_and_restored(run: Callable[[Any], Any]) -> None:
    value = torch.tensor([[1.0, float("nan")], [0.0, 2.0]])
    of = of_inputs(value, run)
    of.call()
    first = of.read()["output"]
    assert of.changed_inputs() == ["x"]
    of.restore_inputs()
    assert of.changed_inputs() == []
    of.call()
    assert np.array_equal(of.read()["output"], first, equal_nan=True)


# ------------------------------------------------------------------------------------------------------------ on a GPU


@pytest.mark.gpu
def test_of_a_captured_graph_only_what_was_returned_again_before_the_capture_is_spared() -> None:
    table = torch.arange(3.0, device="cuda")
    of = TorchLane(
        lambda inputs: {"y": inputs["x"] * table, "table": table}, {"x": torch.ones(2, 3, device="cuda")}, tuple, ()
    )
    of.call()
    of.capture()
    of.call()
    of.poison()
    spoilt = of.read()
    assert np.isnan(spoilt["y"]).all()
    assert spoilt["table"].tolist() == [0, 1, 2]
    of.call()
    assert of.read()["y"].tolist() == [[0, 1, 2]] * 2


@pytest.mark.gpu
@pytest.mark.parametrize("size", [3, 1_000_003])
def test_what_a_program_on_a_gpu_holds_is_compared(size: int) -> None:
    held = {"ring": torch.arange(float(size), device="cuda"), "steady": torch.ones(size, device="cuda")}

    def run(x: Any) -> Any:
        held["ring"] += 1
        return x * 2

    of = TorchLane(lambda inputs: run(inputs["x"]), {"x": torch.ones(2, device="cuda")}, tuple, (), program=held)
    of.call()
    before = of.state()
    assert of.changes_since(before) == []
    of.call()
    assert of.changes_since(before) == ["ring"]

"""What a program holds, and what of it a call changes."""

from __future__ import annotations

import logging
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.runtimes.torch import state  # noqa: E402
from tests.backends import changing  # noqa: E402

pytestmark = pytest.mark.torch
X = torch.linspace(-1, 1, 32).reshape(4, 8)


def changes(model: Any) -> list[str]:
    """What the second call changes."""
    model.eval()
    with torch.inference_mode():
        model(X)
        before = state.snapshot(model)
        model(X)
        return state.changes(before, state.snapshot(model))


@pytest.mark.parametrize(
    ("model", "names"),
    [
        (changing.Counter, ["step"]),
        (changing.Keys, ["keys: (4, 1, 8) -> (4, 2, 8)"]),
        (changing.Normalises, ["norm.num_batches_tracked", "norm.running_mean", "norm.running_var"]),
        (changing.Rolls, ["ring"]),
        (changing.Steady, []),
        (changing.Returns, []),
        (changing.Dropout, []),
    ],
)
def test_the_state_that_a_call_changes_is_named(model: Any, names: list[str]) -> None:
    assert changes(model()) == names


def test_state_outside_the_module_is_reached_from_its_code() -> None:
    names = [name.partition(":")[0] for name in changes(changing.Hides())]
    assert names == ["HISTORY", "calls", "count.total", "memory.hidden", "squares"]


def test_a_tensor_computed_anew_may_differ_by_rounding() -> None:
    values = torch.rand(1000)
    for factor, differs in ((1 + 1e-6, False), (1 + 1e-3, True)):
        one, other = ({"last": each} for each in (values, values * factor))
        assert bool(state.changes(state.snapshot(one), state.snapshot(other))) is differs


@pytest.mark.parametrize(
    "tensor",
    [
        torch.zeros(0),
        torch.zeros(3, 4).t(),
        torch.zeros(1, 4).expand(5, 4),
        torch.zeros(8, 3, 4, 4).to(memory_format=torch.channels_last),
        torch.zeros(10)[::2],
        torch.zeros(4, dtype=torch.complex64).conj(),
        torch.zeros(4, dtype=torch.bfloat16),
        torch.zeros((), dtype=torch.bool),
        torch.eye(3).to_sparse(),
        torch.zeros(2, device="meta"),
    ],
    ids=lambda tensor: f"{tensor.layout}-{tensor.dtype}-{tensor.device}-{tuple(tensor.shape)}",
)
def test_a_tensor_of_any_layout_is_the_same_as_itself(tensor: Any) -> None:
    assert state.changes(state.snapshot([tensor]), state.snapshot([tensor])) == []


def test_one_element_of_a_large_tensor_shows() -> None:
    values = torch.zeros(3_000_001)
    before = state.snapshot({"weights": values})
    values[1_234_567] = 1
    assert state.changes(before, state.snapshot({"weights": values})) == ["weights"]


def test_a_structure_without_end_is_followed_to_its_bound() -> None:
    endless: list[Any] = [torch.ones(1)]
    endless.append(endless)
    many = {"endless": endless, "many": [[n] for n in range(50_000)]}
    assert len(state.snapshot(many)) < 50_000


@pytest.mark.parametrize("kind", [logging.Logger, type("Logger", (logging.Logger,), {"__module__": "a_library"})])
def test_what_a_library_logs_or_locks_is_no_state(kind: type[logging.Logger]) -> None:
    class Logs(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.logger = kind("a model's")

        def forward(self, x: Any) -> Any:
            self.logger.setLevel(self.logger.level + 1)
            return x

    assert changes(Logs()) == []


def test_objects_that_raise_when_they_are_touched_are_passed_over() -> None:
    import weakref

    class Raises(dict[str, int]):
        def items(self) -> Any:
            raise RuntimeError("not now")

    class Gone:
        pass

    gone = Gone()
    proxy = weakref.proxy(gone)
    del gone
    assert list(state.snapshot({"proxy": proxy, "raises": Raises(n=1)})) == ["raises", "raises.n"]

"""A module that is saved as data and restored computes the same; what cannot be saved is refused with what to do."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from bench.errors import UsageError  # noqa: E402 - needs torch
from bench.runtimes.torch import saved  # noqa: E402
from tests.runtimes.torch import modules  # noqa: E402

X = torch.linspace(-1, 1, 32).reshape(4, 8)


@pytest.mark.parametrize("make", [modules.Plain, modules.Tied, modules.Odd, modules.Kinds])
def test_what_is_restored_computes_the_same(make: type, tmp_path: Path) -> None:
    torch.manual_seed(3)
    model = make()
    saved.save(model, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.json", "model.safetensors"]
    again = saved.restore(tmp_path)
    assert type(again) is make
    torch.testing.assert_close(again(X), model(X), rtol=0, atol=0)
    assert {k: (v.dtype, v.shape) for k, v in again.state_dict().items()} == {
        k: (v.dtype, v.shape) for k, v in model.state_dict().items()
    }
    assert [(n, p.requires_grad) for n, p in again.named_parameters()] == [
        (n, p.requires_grad) for n, p in model.named_parameters()
    ]


def test_shared_weights_stay_shared(tmp_path: Path) -> None:
    saved.save(modules.Tied(), tmp_path)
    again = saved.restore(tmp_path)
    assert again.first.weight is again.second.weight
    assert again.first is again.alias


def test_a_function_becomes_a_module_that_calls_it(tmp_path: Path) -> None:
    saved.save(modules.doubled, tmp_path)
    torch.testing.assert_close(saved.restore(tmp_path)(x=X), 2 * X)
    assert saved.forward_names(modules.doubled) == ["x"]
    assert saved.forward_names(modules.Plain()) == ["x"]


def test_the_source_that_is_not_installed_is_known_by_its_hash(tmp_path: Path) -> None:
    saved.save(modules.Plain(), tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    assert list(content["sources"]) == [modules.__name__]
    assert content["paths"] == [str(Path(modules.__file__).parents[3])]


def hooked() -> torch.nn.Module:
    model = modules.Plain()
    model.register_forward_hook(lambda *_: None)
    return model


def holding(value: object) -> torch.nn.Module:
    model = modules.Plain()
    model.extra = value
    return model


def inner() -> torch.nn.Module:
    class Inner(torch.nn.Module):
        pass

    return Inner()


def in_main() -> torch.nn.Module:
    return type("Net", (torch.nn.Module,), {"__module__": "__main__"})()


@pytest.mark.parametrize(
    ("make", "message", "fix"),
    [
        (hooked, "has hooks", "remove them"),
        (inner, "is defined in a function", "move it into a file"),
        (in_main, "is defined in __main__", "move it into a file"),
        (lambda: lambda x: x, "is defined in", "move it into a file"),
        (lambda: torch.compile(modules.Plain()), "was compiled by torch.compile", "give the module itself"),
        (lambda: torch.jit.script(modules.Plain()), "is a ScriptModule", "scripted or traced from"),
        (lambda: holding(iter([1])), "extra is a list_iterator", "give a factory"),
        (lambda: holding(modules.Slotted()), "extra is a Slotted", "give a factory"),
        (lambda: holding(torch.ones(2).to_sparse()), "sparse", "give a factory"),
        (lambda: holding(torch.ones(2, device="meta")), "without values", "give a factory"),
        (lambda: holding(modules.Plain().forward), "the method", "give a factory"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_what_cannot_be_saved_is_refused_by_its_place(make, message: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        saved.save(make(), tmp_path)
    assert fix in caught.value.fix
    assert not list(tmp_path.iterdir())


def test_a_partial_keeps_its_arguments(tmp_path: Path) -> None:
    saved.save(partial(modules.scaled, by=3.0), tmp_path)
    torch.testing.assert_close(saved.restore(tmp_path)(X), 3 * X)

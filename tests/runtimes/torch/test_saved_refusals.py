"""What cannot be saved of a module is refused by its place."""

from __future__ import annotations

from collections import Counter, defaultdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from bench.errors import UsageError  # noqa: E402 - needs torch
from bench.runtimes.torch import saved  # noqa: E402
from tests.runtimes.torch import modules, saved_zoo  # noqa: E402

X = torch.linspace(-1, 1, 32).reshape(4, 8)


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


def rows_of_one_cache() -> torch.nn.Module:
    model = saved_zoo.Holder()
    model.register_buffer("cache", torch.zeros(4, 8))
    model.row = model.cache[1]
    return model


def tied_by_data() -> torch.nn.Module:
    model = saved_zoo.Holder(head=torch.nn.Linear(8, 8))
    model.head.weight.data = model.layer.weight.data
    return model


def partial_with_attribute() -> object:
    function = partial(modules.scaled, by=2)
    function.unit = "m"  # type: ignore[attr-defined]
    return function


def tuple_in_itself() -> torch.nn.Module:
    inner: list[Any] = []
    value = (inner,)
    inner.append(value)
    return holding(value)


def nested(depth: int) -> list[Any]:
    value: list[Any] = []
    for _ in range(depth):
        value = [value]
    return value


def parametrized() -> torch.nn.Module:
    model = saved_zoo.Holder()
    torch.nn.utils.parametrizations.weight_norm(model.layer)
    return model


def pruned() -> torch.nn.Module:
    from torch.nn.utils import prune

    model = saved_zoo.Holder()
    prune.l1_unstructured(model.layer, "weight", amount=0.5)
    return model


def exported_program() -> object:
    return torch.export.export(saved_zoo.Holder(), (X,))


def exported_module() -> torch.nn.Module:
    return exported_program().module()


def compiled_in_place() -> torch.nn.Module:
    model = saved_zoo.Holder()
    model.compile()
    return model


@pytest.mark.parametrize(
    ("make", "message", "fix"),
    [
        (hooked, "has hooks", "remove them"),
        (inner, "is defined in a function", "move it into a file"),
        (lambda: saved_zoo.times(2.0), "is defined in a function and captures by", "give a factory"),
        (lambda: saved_zoo.logged(saved_zoo.plain), "is a wrapper of .*plain and captures function", "give a factory"),
        (in_main, "is defined in __main__", "move it into a file"),
        (lambda: lambda x: x, "is defined in", "move it into a file"),
        (lambda: torch.compile(modules.Plain()), "was compiled by torch.compile", "give the module itself"),
        (lambda: torch.jit.script(modules.Plain()), "is a ScriptModule", "scripted or traced from"),
        (lambda: holding(iter([1])), "extra is a list_iterator", "give a factory"),
        (lambda: holding(modules.Slotted()), "extra is a Slotted", "give a factory"),
        (lambda: holding(torch.ones(2).to_sparse()), "sparse", "give a factory"),
        (lambda: holding(torch.ones(2, device="meta")), "without values", "give a factory"),
        (lambda: holding(modules.Plain().forward), "the method", "give a factory"),
        (lambda: holding(saved_zoo.Text("a")), "extra is a Text, a subclass of str", "give a factory"),
        (lambda: holding([np.str_("a")]), r"extra\[0\] is a str_, a subclass of str", "give a factory"),
        (lambda: holding(np.float64(2)), "extra is a float64, a subclass of float", "give a factory"),
        (lambda: holding(saved_zoo.Items()), "extra is a Items, a subclass of list", "give a factory"),
        (lambda: holding({"a": defaultdict(list)}), r"extra\['a'\] is a defaultdict", "give a factory"),
        (lambda: holding(Counter()), "extra is a Counter, a subclass of dict", "give a factory"),
        (lambda: saved_zoo.Slots(), r"with __slots__ \(factor\)", "give a factory"),
        (
            lambda: saved_zoo.buffers(torch.zeros(4).to(torch.float8_e4m3fn)),
            "Buffers.b0 is a float8_e4m3fn tensor",
            "give a fac",
        ),
        (lambda: saved_zoo.buffers(torch.arange(6).unfold(0, 3, 1)), "elements overlap in memory", "give a factory"),
        (rows_of_one_cache, "Holder.row shares memory with Holder.cache", r".clone()"),
        (tied_by_data, "Holder.head.weight shares memory with Holder.layer.weight", "assign the same tensor"),
        (lambda: holding(partial_with_attribute()), "extra is a partial", "give a factory"),
        (tuple_in_itself, r"extra\[0\]\[0\] contains itself", "give a factory"),
        (lambda: holding(nested(5000)), "nested too deep", "give a factory"),
        (parametrized, r"layer is parametrized \(weight\)", "remove_parametrizations(module, 'weight')"),
        (pruned, "has hooks .*L1Unstructured", "torch.nn.utils.prune.remove(module, 'weight')"),
        (lambda: torch.fx.symbolic_trace(saved_zoo.Holder()), "is a GraphModule", "a function in a file"),
        (exported_module, "is a GraphModule", "a function in a file"),
        (exported_program, "is a program of torch.export", "a function in a file"),
        (lambda: torch.nn.DataParallel(saved_zoo.Holder()), "is a DataParallel", "model.module"),
        (lambda: torch.nn.LazyLinear(4), "has lazy parameters", "call the model once"),
        (compiled_in_place, "was compiled in place", "give one that is not"),
        (lambda: saved_zoo.Holder, "the model is the class Holder", "give an instance: Holder()"),
        (lambda: None, "the model is None", "give an nn.Module"),
        (lambda: 3, "the model is 3", "give an nn.Module"),
        (dict, "the model is {}", "give an nn.Module"),
        (lambda: saved_zoo.Adder(1.0, torch.ones(8)), "is no nn.Module and holds tensors", "make it an nn.Module"),
        (lambda: partial(modules.scaled, by=torch.ones(8)), "is no nn.Module and holds tensors", "make it an nn"),
        (lambda: saved_zoo.Holder().forward, "Holder.forward is the method", "give the module itself"),
    ],
)
@pytest.mark.filterwarnings("ignore:.*torch.jit.script:DeprecationWarning")
def test_what_cannot_be_saved_is_refused_by_its_place(make, message: str, fix: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        saved.save(make(), tmp_path)
    assert fix in caught.value.fix
    assert not list(tmp_path.iterdir())

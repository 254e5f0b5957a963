"""A module that is saved as data and restored computes the same."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.errors import UsageError  # noqa: E402 - needs torch
from bench.runtimes.torch import saved  # noqa: E402
from tests.runtimes.torch import modules, saved_zoo  # noqa: E402

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


def test_the_source_that_is_not_installed_is_known_by_its_hash(tmp_path: Path) -> None:
    saved.save(modules.Plain(), tmp_path)
    content = json.loads((tmp_path / "model.json").read_text())
    assert list(content["sources"]) == [modules.__name__]
    assert content["paths"] == [str(Path(modules.__file__).parents[3])]
    assert content["sources"][modules.__name__]["file"] == modules.__file__


def test_a_partial_keeps_its_arguments(tmp_path: Path) -> None:
    saved.save(partial(modules.scaled, by=3.0), tmp_path)
    torch.testing.assert_close(saved.restore(tmp_path)(X), 3 * X)


def again(model: object, folder: Path) -> torch.nn.Module:
    saved.save(model, folder)
    return saved.restore(folder)


def test_enumerations_are_their_members_again(tmp_path: Path) -> None:
    members = [saved_zoo.Mode.FAST, saved_zoo.Name.FIRST, saved_zoo.Level.HIGH, saved_zoo.Parts.LEFT]
    both = saved_zoo.Parts.LEFT | saved_zoo.Parts.RIGHT
    model = again(saved_zoo.Holder(members=members, both=both, by_mode={saved_zoo.Mode.FAST: 1}), tmp_path)
    assert all(member is before for member, before in zip(model.members, members, strict=True))
    assert model.both is both
    assert [type(key) for key in model.by_mode] == [saved_zoo.Mode]


def test_plain_values_keep_their_type(tmp_path: Path) -> None:
    values = [b"\x00a", 1 - 2j, ..., range(1, 9, 2), saved_zoo.Pair(1, [2]), True, 1, 1.0, torch.device("cuda:1")]
    values += [frozenset({1, 2}), (), float("-inf"), "ü\ud800", -0.0, torch.channels_last]
    model = again(saved_zoo.Holder(values=values), tmp_path)
    assert model.values == values
    assert [type(value) for value in model.values] == [type(value) for value in values]
    assert str(model.values) == str(values)


def test_what_is_the_same_object_stays_so(tmp_path: Path) -> None:
    shared: list[Any] = [{"a": set()}]
    cyclic: list[Any] = [1]
    cyclic.append(cyclic)
    model = saved_zoo.Holder(first=shared, second=(shared, shared[0]["a"]), cyclic=cyclic)
    model.parents = [model]
    restored = again(model, tmp_path)
    assert restored.second[0] is restored.first
    assert restored.second[1] is restored.first[0]["a"]
    assert restored.cyclic[1] is restored.cyclic
    assert restored.parents[0] is restored


def test_views_that_do_not_overlap_are_tensors_of_their_own(tmp_path: Path) -> None:
    left, right = torch.arange(8.0).chunk(2)
    model = again(saved_zoo.buffers(left, right), tmp_path)
    assert (model.b0.tolist(), model.b1.tolist()) == (left.tolist(), right.tolist())


def test_tensors_keep_strides_and_values(tmp_path: Path) -> None:
    conv = torch.nn.Conv2d(4, 4, 3).to(memory_format=torch.channels_last)
    point = torch.nn.Conv2d(4, 4, 1).to(memory_format=torch.channels_last).weight
    wave = torch.randn(8, dtype=torch.complex64)
    values = [
        torch.randn(4, 6).t(), torch.arange(3.0).expand(5, 3), torch.randn(6, 6)[:, ::2], wave.conj(),
        wave.clone().conj().imag, torch.tensor([1, 2**16 - 1], dtype=torch.uint16), torch.zeros(0, 3),
        torch.tensor([2**63], dtype=torch.uint64),
    ]  # fmt: skip
    values.append(point)
    model = saved_zoo.Holder(conv=conv, values=values)
    restored = again(model, tmp_path)
    assert restored.conv.weight.is_contiguous(memory_format=torch.channels_last)
    for value, before in zip([restored.conv.weight, *restored.values], [conv.weight, *values], strict=True):
        assert (value.dtype, value.stride()) == (before.dtype, before.stride())
        assert value.tolist() == before.tolist()


def test_attributes_of_tensors_are_kept(tmp_path: Path) -> None:
    model = saved_zoo.Holder()
    model.layer.weight.scale = [5.0]
    assert again(model, tmp_path).layer.weight.scale == [5.0]


def test_recurrent_layers_compute_the_same_and_follow_a_change_of_weights(tmp_path: Path) -> None:
    x = torch.randn(2, 5, 8)
    model = saved_zoo.Recurrent()
    restored = again(model, tmp_path)
    torch.testing.assert_close(restored(x), model(x), rtol=0, atol=0)
    for each in (model, restored):
        each.double()
    torch.testing.assert_close(restored(x.double()), model(x.double()), rtol=0, atol=0)


@pytest.mark.parametrize(
    ("function", "expected"),
    [
        (saved_zoo.decorated, X + 2),
        (saved_zoo.tripled, X * 3),
        (saved_zoo.Adder(4.0), X + 4),
        (partial(saved_zoo.plain), X + 1),
    ],
)
def test_functions_and_objects_that_can_be_called(function: object, expected: torch.Tensor, tmp_path: Path) -> None:
    torch.testing.assert_close(again(function, tmp_path)(x=X), expected)


@pytest.mark.parametrize("function", [torch.relu, torch.nn.functional.gelu, torch.nn.functional.silu])
def test_functions_of_torch(function: Callable[..., torch.Tensor], tmp_path: Path) -> None:
    torch.testing.assert_close(again(function, tmp_path)(input=X), function(X))


def test_a_method_set_on_an_instance_is_kept(tmp_path: Path) -> None:
    model = saved_zoo.Holder()
    model.forward = saved_zoo.plain
    torch.testing.assert_close(again(model, tmp_path)(X), X + 1)


@pytest.fixture
def torch_setting(request: pytest.FixtureRequest) -> Iterator[None]:
    name = request.param
    if name == "hook":
        handle = torch.nn.modules.module.register_module_forward_hook(lambda module, inputs, output: output)
        yield
        handle.remove()
    elif name == "dtype":
        torch.set_default_dtype(torch.float64)
        yield
        torch.set_default_dtype(torch.float32)
    elif name == "device":
        with torch.device("meta"):
            yield
    else:
        with torch.autocast("cpu"):
            yield


@pytest.mark.parametrize(
    ("torch_setting", "message"),
    [
        ("hook", "register_module_forward_hook was called"),
        ("dtype", "default dtype is torch.float64"),
        ("device", "default device is meta"),
        ("autocast", "autocast is on"),
    ],
    indirect=["torch_setting"],
)
@pytest.mark.usefixtures("torch_setting")
def test_what_torch_is_set_to_in_this_process_alone_is_refused(message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        saved.save(modules.doubled, tmp_path)


RESTORE = """
import json, sys, torch
from pathlib import Path
from bench.errors import SuiteError
from bench.runtimes.torch import saved
for folder in sys.argv[2:]:
    sys.path.insert(0, sys.argv[1])
    try:
        print(json.dumps(saved.restore(Path(folder))(torch.ones(1)).tolist()))
    except SuiteError as error:
        print(json.dumps(str(error)))
"""


def restored(*folders: Path, path: Path) -> list[Any]:
    """What a new process computes with each folder's model of ones, or the error; ``path`` comes first there."""
    command = [sys.executable, "-c", RESTORE, str(path), *map(str, folders)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return [json.loads(line) for line in result.stdout.splitlines()]

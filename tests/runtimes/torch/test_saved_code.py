"""Saved programs whose code another process imports, and code that changed since."""

from __future__ import annotations

import importlib
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

torch = pytest.importorskip("torch")

from bench.errors import SuiteError, UsageError  # noqa: E402 - needs torch
from bench.runtimes.torch import saved  # noqa: E402
from tests.runtimes.torch import saved_zoo  # noqa: E402
from tests.runtimes.torch.test_saved import restored  # noqa: E402

NET = """
import enum
import torch

class Kind(enum.Enum):
    ONE = 1

    def double(self):
        return 2 * self.value

SCALE = 1
TABLE = {"scale": 1}
SHIFT = torch.zeros(1)

def helper(x):
    return x * SCALE * TABLE["scale"] * Kind.ONE.value + SHIFT

class Net(torch.nn.Module):
    factor = 1

    def forward(self, x):
        return torch.nn.functional.relu(helper(x)) * self.factor
"""


@pytest.fixture
def net(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., ModuleType]]:
    """A function that writes a module into a folder, which comes first in the search path, and imports it."""
    names = []

    def load(name: str, text: str = NET, folder: str = "code") -> ModuleType:
        tmp_path.joinpath(folder).mkdir(exist_ok=True)
        tmp_path.joinpath(folder, f"{name}.py").write_text(textwrap.dedent(text))
        monkeypatch.syspath_prepend(str(tmp_path / folder))
        names.append(name)
        importlib.invalidate_caches()
        return importlib.import_module(name)

    yield load
    for name in names:
        sys.modules.pop(name, None)


def patch_method(module: ModuleType) -> None:
    module.Net.forward = saved_zoo.Holder.forward


def patch_constant(module: ModuleType) -> None:
    module.Net.factor = 2


def patch_global(module: ModuleType) -> None:
    module.SCALE = 7


def patch_table(module: ModuleType) -> None:
    module.TABLE["scale"] = 7


def patch_tensor(module: ModuleType) -> None:
    module.SHIFT += 1


def patch_attribute(module: ModuleType) -> None:
    module.helper.by = 7


def patch_enumeration(module: ModuleType) -> None:
    module.Kind.double = saved_zoo.plain


def patch_torch(module: ModuleType) -> None:
    torch.nn.functional.relu = saved_zoo.plain


def patch_helper(module: ModuleType) -> None:
    module.helper = saved_zoo.plain


@pytest.mark.workers
def test_a_program_that_was_changed_after_its_import_is_refused_where_it_is_restored(
    net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.nn.functional, "relu", torch.nn.functional.relu)  # restored at the end
    patches = {
        patch_method: "Net.forward", patch_constant: "Net.factor", patch_global: "SCALE", patch_table: "TABLE",
        patch_tensor: "SHIFT", patch_helper: "helper", patch_attribute: "helper", patch_enumeration: "Kind.double",
        patch_torch: "relu",
    }  # fmt: skip
    folders = []
    for patch in [lambda module: None, *patches]:
        module = net(f"net{len(folders)}")
        patch(module)
        folders.append(tmp_path / module.__name__)
        folders[-1].mkdir()
        saved.save(module.Net(), folders[-1])
    edited = net("edited")
    folders.append(tmp_path / "edited")
    folders[-1].mkdir()
    saved.save(edited.Net(), folders[-1])
    Path(edited.__file__).write_text(NET + "# another line")
    answers = restored(*folders, path=tmp_path)
    assert answers[0] == [1.0]
    for index, part in enumerate(patches.values(), 1):
        assert f":{part}" in answers[index]
        assert "is not what a new process imports" in answers[index]
    assert "edited.py changed after the model was saved" in answers[-1]


@pytest.mark.workers
def test_the_recorded_file_is_imported_though_another_of_its_name_comes_first(net, tmp_path: Path) -> None:
    module = net("same_name")
    (tmp_path / "saved").mkdir()
    saved.save(module.Net(), tmp_path / "saved")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "same_name.py").write_text(NET.replace("factor = 1", "factor = 9"))
    assert restored(tmp_path / "saved", path=tmp_path / "other") == [[1.0]]


def test_another_module_of_the_name_that_is_imported_already_is_refused(net, tmp_path: Path) -> None:
    module = net("twice")
    saved.save(module.Net(), tmp_path)
    del sys.modules["twice"]
    net("twice", NET.replace("factor = 1", "factor = 9"), "other")
    with pytest.raises(SuiteError, match=r"'twice' is .*other.twice.py in a new process.*code.twice.py"):
        saved.restore(tmp_path)


def test_a_file_that_changed_after_the_import_is_refused(net, tmp_path: Path) -> None:
    module = net("stale")
    Path(module.__file__).write_text(NET.replace("SCALE * TABLE", "SCALE + TABLE"))
    with pytest.raises(UsageError, match=r"stale.py changed after .*helper was imported") as caught:
        saved.save(module.Net(), tmp_path)
    assert "restart Python" in caught.value.fix


def test_a_module_that_no_other_process_can_import_is_refused(net, tmp_path: Path) -> None:
    module = net("absent")
    Path(module.__file__).unlink()
    with pytest.raises(UsageError, match=r"absent.py, which 'absent' was imported from, is no longer a file"):
        saved.save(module.Net(), tmp_path)
    made = ModuleType("made_here")
    exec(NET, vars(made))
    sys.modules["made_here"] = made
    try:
        with pytest.raises(UsageError, match="'made_here' was made in this process"):
            saved.save(made.Net(), tmp_path)
    finally:
        del sys.modules["made_here"]


def test_a_method_from_main_is_refused(net, tmp_path: Path) -> None:
    module = net("patched")
    space = {"__name__": "__main__"}
    exec("def forward(self, x): return x", space)
    module.Net.forward = space["forward"]
    with pytest.raises(UsageError, match=r"Net\.forward was replaced by a function of __main__"):
        saved.save(module.Net(), tmp_path)

"""What a factory's call may end in, and what is said of it: no memory, exceptions of every kind, no module."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from bench.errors import MORE_MEMORY, BenchError, ModelError, OutOfMemory, SuiteError
from bench.runtimes.torch import factories
from bench.system import signals
from tests.backends.kit import Bench
from tests.runner.kit import started_with

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch

ZOO = """\
import torch

class Odd(BaseException):
    pass

class Mute(RuntimeError):
    def __str__(self):
        raise ValueError("no text")

class Net(torch.nn.Linear):
    pass

def make(how):
    if how == "interrupt":
        raise KeyboardInterrupt
    if how == "odd":
        raise Odd("of its own kind")
    if how == "mute":
        raise Mute
    if how == "memory":
        raise MemoryError
    if how == "torch":
        torch.empty(1 << 60, dtype=torch.uint8)
    if how == "cuda":
        raise torch.cuda.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
    return {"none": None, "class": Net, "number": 3}[how]
"""


@pytest.fixture(autouse=True)
def imports_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Each test has a file of the same name."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    yield
    for name in [name for name in sys.modules if name.startswith("_trtbench_zoo_")]:
        del sys.modules[name]


@pytest.fixture
def sigint_ends_the_process() -> Iterator[None]:
    """As in a worker, which has a session of its own: what raises KeyboardInterrupt there is the model."""
    before = signal.getsignal(signal.SIGINT)
    signals.end_by_interrupts()
    yield
    signal.signal(signal.SIGINT, before)


def error_of(bench: Bench, folder: Path, how: str = "", text: str = ZOO) -> tuple[BenchError, list[str]]:
    """What building the model raises, and the steps that it has told."""
    (folder / "zoo.py").write_text(text)
    case = bench.case("eager", "zoo.py:make", args={"how": how}, source="suite.yaml:7")
    steps: list[str] = []
    context = msgspec.structs.replace(bench.context(case), suite_dir=folder, tell=steps.append)
    with pytest.raises(BenchError) as caught:
        factories.build_model(case, context, device="cpu")
    assert caught.value.where == "suite.yaml:7"
    return caught.value, steps


@pytest.mark.usefixtures("sigint_ends_the_process")
@pytest.mark.parametrize(
    ("how", "what", "fix"),
    [
        ("interrupt", "raised KeyboardInterrupt (zoo.py:15)", "correct zoo.py:15"),
        ("odd", "raised Odd: of its own kind (zoo.py:17)", "correct zoo.py:17"),
        ("mute", "raised Mute (zoo.py:19)", "correct zoo.py:19"),
        ("none", "returned None, not a torch.nn.Module", "return the module in zoo.py:make"),
        ("class", "returned the class Net, not a torch.nn.Module", "return Net(...) there"),
        ("number", "returned an object of type 'int', not a torch.nn.Module", "return the module in zoo.py:make"),
    ],
)
def test_whatever_a_factory_ends_in_is_an_error_of_its_model(
    bench: Bench, tmp_path: Path, how: str, what: str, fix: str
) -> None:
    error, steps = error_of(bench, tmp_path, how)
    assert type(error) is ModelError
    assert (error.what, error.fix) == (f"the model 'net' cannot be built: zoo.py:make {what}", fix)
    assert steps == ["factory of net", ""]


@pytest.mark.parametrize(
    ("how", "what"),
    [("memory", r"MemoryError \(zoo"), ("torch", "can't allocate memory"), ("cuda", r"CUDA out of memory.*\(zoo")],
)
def test_memory_that_runs_out_in_a_factory_is_told_as_such(bench: Bench, tmp_path: Path, how: str, what: str) -> None:
    error, _ = error_of(bench, tmp_path, how)
    assert (type(error), error.fix) == (OutOfMemory, MORE_MEMORY)
    with pytest.raises(OutOfMemory, match=what):
        raise error


def test_an_interrupt_of_a_process_that_has_them_is_none_of_the_model(bench: Bench, tmp_path: Path) -> None:
    with started_with(signal.SIGINT, signal.default_int_handler):
        assert signals.raises_interrupts()
        with pytest.raises(KeyboardInterrupt):
            error_of(bench, tmp_path, "interrupt")


@pytest.mark.usefixtures("sigint_ends_the_process")
@pytest.mark.parametrize(
    ("line", "kind", "what", "fix"),
    [
        ("raise ValueError('no weights')", ModelError, "ValueError: no weights (zoo.py:2)", "correct zoo.py:2"),
        ("raise KeyboardInterrupt", ModelError, "KeyboardInterrupt (zoo.py:2)", "correct zoo.py:2"),
        ("def net(:", SuiteError, "SyntaxError: invalid syntax (zoo.py:2)", "correct zoo.py:2"),
        ("compile('1 +', 'none.py', 'exec')", ModelError, "SyntaxError: invalid syntax (zoo.py:2)", "correct zoo.py:2"),
        ("raise MemoryError", OutOfMemory, "MemoryError (zoo.py:2)", MORE_MEMORY),
    ],
)
def test_a_file_that_raises_is_told_with_its_line(
    bench: Bench, tmp_path: Path, line: str, kind: type[BenchError], what: str, fix: str
) -> None:
    error, _ = error_of(bench, tmp_path, text=f"import torch\n{line}\n")
    assert (type(error), error.what, error.fix) == (kind, f"zoo.py cannot be imported: {what}", fix)

"""What a suite names and is not there is told before a run waits for its device."""

from __future__ import annotations

import functools
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import pytest

import bench
from bench.backends import base
from bench.errors import InputError
from bench.model.divergence import On
from bench.model.events import Event, Waiting
from bench.model.suite import Case, Suite
from bench.runner import functions
from bench.runner.request import Request
from bench.suite import plan, reader
from bench.system import locks
from tests.conftest import Trtbench

SUITE = """\
schema: 1
models:
  net:
    factory: {factory}
    inputs: {{x: {{shape: [2, 3]}}}}
    metric: {metric}
matrix: {{backend: {backend}}}
"""
GOOD = """\
from torch import nn
import numpy as np

if True:
    def net(): return nn.Tanh().eval()

def score(outputs, reference): return {}
"""


def write(folder: Path, factory: str = "zoo.py:net", metric: str = "zoo.py:score", backend: str = "eager") -> Path:
    (folder / "zoo.py").write_text(GOOD)
    (folder / "broken.py").write_text("def net():\n    return (1,\n")
    path = folder / "suite.yaml"
    path.write_text(SUITE.format(factory=factory, metric=metric, backend=backend))
    return path


def never_waits(event: Event) -> None:
    assert not isinstance(event, Waiting), "it waits for the device"


@pytest.mark.parametrize(
    ("names", "line", "what"),
    [
        ({"factory": "nope.py:net"}, 4, "the factory's file 'nope.py' is not beside the suite"),
        ({"factory": "zoo.py:nett"}, 4, "zoo.py has no function 'nett'. Did you mean 'net'?"),
        ({"factory": "broken.py:net"}, 4, "broken.py cannot be imported: SyntaxError: '(' was never closed"),
        ({"metric": "nope.py:score"}, 6, "the metric's file 'nope.py' is not beside the suite"),
        ({"metric": "zoo.py:scores"}, 6, "zoo.py has no function 'scores'. Did you mean 'score'?"),
    ],
)
def test_what_the_suite_names_wrongly_is_told_while_another_run_has_the_device(
    tmp_path: Path, names: dict[str, str], line: int, what: str
) -> None:
    suite = write(tmp_path, **names)
    with locks.hold(locks.lock_path("cpu"), "another run", lambda holder: None), pytest.raises(InputError) as caught:
        bench.run(suite, device="cpu", store=tmp_path / "r", cache=tmp_path / "c", on_event=never_waits)
    assert caught.value.what.startswith(what)
    assert caught.value.where == f"{suite}:{line}"
    assert caught.value.fix
    assert not (tmp_path / "r").exists()


def diverges(request: Request, folder: Path, on: On) -> object:
    return bench.diverge(request, on=on, on_event=never_waits)


COMMANDS: dict[str, tuple[str, Callable[[Request, Path], object]]] = {
    "profile": ("eager", lambda request, folder: bench.profile(request, on_event=never_waits)),
    "build": ("eager", lambda request, folder: bench.build(request, on_event=never_waits)),
    "build --keep-code": ("inductor", lambda request, folder: bench.keep_code(request, folder, on_event=never_waits)),
    "codegen": ("fx2trt", lambda request, folder: bench.codegen(request, folder, on_event=never_waits)),
    "diverge": ("fx2trt", functools.partial(diverges, on="oracle")),
    "diverge --on engine": ("fx2trt", functools.partial(diverges, on="engine")),
    "lint-qdq": ("fx2trt", lambda request, folder: bench.lint_qdq(request, on_event=never_waits)),
    "quantize": ("fx2trt", lambda request, folder: bench.quantization_cost(request, on_event=never_waits)),
    "quantize --ranges": ("fx2trt", lambda request, folder: bench.calibration_ranges(request, on_event=never_waits)),
}


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_tells_a_factory_that_is_not_there_while_another_run_has_the_device(
    tmp_path: Path, command: str
) -> None:
    backend, call = COMMANDS[command]
    suite = write(tmp_path, factory="zoo.py:nett", metric="nope.py:unused", backend=backend)
    suite.write_text(suite.read_text().replace("matrix: {", "matrix: {precision: [fp32, int8], "))
    where = {"store": tmp_path / "r", "cache": tmp_path / "c", "plan_only": True}
    request = bench.request(suite, device="cuda" if backend == "fx2trt" else "cpu", **where)  # type: ignore[arg-type]
    with locks.hold(locks.lock_path("cpu"), "another run", lambda holder: None), pytest.raises(InputError) as caught:
        call(msgspec.structs.replace(request, device="cpu"), tmp_path / "out")
    assert caught.value.what == "zoo.py has no function 'nett'. Did you mean 'net'?"
    assert caught.value.where == f"{suite}:4"
    assert not (tmp_path / "r").exists()
    assert not (tmp_path / "out" / "program.py").exists()


def test_a_duel_tells_it_too(tmp_path: Path) -> None:
    suite = write(tmp_path, factory="zoo.py:nett", backend="[eager, torchscript]")
    folders = {"store": tmp_path / "r", "cache": tmp_path / "c"}
    with locks.hold(locks.lock_path("cpu"), "another run", lambda holder: None), pytest.raises(InputError) as caught:
        bench.duel(
            suite, select="backend=eager", against="backend=torchscript", device="cpu", on_event=never_waits, **folders
        )
    assert caught.value.what.startswith("zoo.py has no function 'nett'.")


def test_only_what_calls_metrics_asks_for_them(tmp_path: Path) -> None:
    suite = write(tmp_path, metric="nope.py:score", backend="fake")
    assert not any(case.failure for case in bench.build(bench.request(suite, cache=tmp_path / "c")).cases)


@pytest.mark.parametrize("folder", ["store", "cache"])
def test_a_folder_that_cannot_be_written_is_told_while_another_run_has_the_device(tmp_path: Path, folder: str) -> None:
    (tmp_path / folder).write_text("a file")
    places = {name: tmp_path / name for name in ("store", "cache")}
    with locks.hold(locks.lock_path("cpu"), "another run", lambda holder: None), pytest.raises(InputError) as caught:
        bench.run(write(tmp_path), device="cpu", on_event=never_waits, **places)  # type: ignore[arg-type]
    assert str(tmp_path / folder) in caught.value.where


@pytest.mark.workers
def test_a_rehearsal_needs_no_factory(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("run", write(tmp_path, factory="nope.py:net", backend="fake")) == 0


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("import a.b, c as d; from e import f as g", {"a", "d", "g"}),
        ("x, (y, *z) = 1, (2, 3); w: int = 1; v += 1", {"x", "y", "z", "w", "v"}),
        ("def f():\n    global h\n    inner = 1\nclass C:\n    attribute = 1", {"f", "h", "C"}),
        ("with a as b:\n    for c in d: (e := 1)", {"b", "c", "e"}),
        ("match a:\n    case [b, *c]: pass\n    case {'k': d, **e}: pass", {"b", "c", "d", "e"}),
        ("def f(model): return model.eval(), model.modules()", {"f"}),
        ("from a import *", None),
        ("def __getattr__(name): ...", None),
        ("globals()['f'] = 1", None),
        ("import sys\nsetattr(sys.modules[__name__], 'f', 1)", None),
        ("import sys\nsys.modules[__name__].f = 1", None),
        ("import sys as s\ns.modules[__name__].f = 1", None),
        ("from sys import modules\nmodules[__name__].f = 1", None),
        ("import importlib\nimportlib.import_module(__name__).f = 1", None),
        ("import inspect\ninspect.currentframe().f_globals['f'] = 1", None),
        ("import builtins\nbuiltins.exec('def f(): ...')", None),
        ("import builtins\nbuiltins.setattr(object, 'f', 1)", None),
        ("from a import b\nb.exec('def f(): ...')", None),
        ("import a\na.b.setattr(object, 'f', 1)", None),
        ("a = b.__import__(__name__)", None),
        ("import net\nnet.f = 1", None),
        ("import a.net\na.net.f, b = 1, 2", None),
        ("from a import net as n\nn.f = 1", None),
        ("import sys\nm = sys\nm.modules[__name__].f = 1", None),
        ("import sys\nsys.path.append('.')", {"sys"}),
        ("import torch\ntorch.backends.cudnn.benchmark = False", {"torch"}),
        ("def f(model): model.training = False", {"f"}),
        ("import a\na.install(__name__)", None),
        ("import a\na.install(module=__name__)", None),
        ("import a\na.install(*[f'{__name__}'])", None),
        ("import a\n@a.register(__name__)\ndef f(): ...", None),
        ("import a\nname = __name__\na.install(name)", None),
        ("import logging\nlog = logging.getLogger(__name__)", {"logging", "log"}),
        ("from logging import getLogger\nlog = getLogger(name=__name__)", {"getLogger", "log"}),
        ("from a import logging\nlog = logging.get_logger(__name__)", {"logging", "log"}),
        ("def f(): return f.__name__\nif __name__ == '__main__': f()", {"f"}),
        ("def f(x=(g := 1)): ...\n@(h := print)\ndef i(): ...", {"f", "g", "h", "i"}),
        (f"def f(m): return m{'.a()' * 300}", {"f"}),
    ],
)
def test_names_that_a_file_binds(tmp_path: Path, text: str, names: set[str] | None) -> None:
    (tmp_path / "net.py").write_text(text)
    assert functions.names_in(tmp_path / "net.py") == names


def test_a_file_nested_too_deeply_to_parse_is_left_to_who_runs_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(f"x = {' + '.join(['1'] * 100_000)}\ndef f(): ...")
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)  # a library that another test imported may have raised it
    try:
        assert functions.names_in(tmp_path / "net.py") is None
    finally:
        sys.setrecursionlimit(limit)


def test_what_python_warns_of_in_a_file_is_left_to_who_runs_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(r"""a = "\d"; b = 1 is 1
def f(): ...""")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("error")
        assert functions.names_in(tmp_path / "net.py") == {"a", "b", "f"}
    assert not told


def test_a_very_large_file_is_left_to_who_runs_it(tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text(f"def f(): ...\n{'#' * (1 << 20)}")
    assert functions.names_in(tmp_path / "net.py") is None


def test_only_the_running_interpreter_refuses_a_file_for_its_syntax(tmp_path: Path) -> None:
    suite = write(tmp_path, metric="broken.py:score")
    with pytest.raises(InputError, match="SyntaxError"):
        functions.check(*plan_of(suite))
    text = suite.read_text().replace("matrix: {", "toolchains: {other: {}}\nmatrix: {toolchain: other, ")
    suite.write_text(text)
    functions.check(*plan_of(suite))


def plan_of(path: Path) -> tuple[Suite, Sequence[Case]]:
    suite = reader.load(path, base.registry())
    return suite, plan.plan(suite, base.registry(), device="cpu").cases

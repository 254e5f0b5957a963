"""The header of a stored run is not trusted: what it may name, and what of the user's it does not hold."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench import store
from bench.errors import BenchError, StoreError, UsageError
from bench.model.run import Environment, Header
from bench.model.suite import Case, Input, LeftOut, Policy, Range, Toolchain
from bench.runner import headers
from bench.store import codec, privacy
from tests.conftest import Trtbench
from tests.store.kit import header

CASE = Case(model="m", factory="zoo.py:m", inputs={"x": Input(shape=("batch",))}, backend="eager", symbols={"batch": 1})
HERE = {"default": Environment(kind="cpu", arch="cpu", device="d", slug="d")}


def of(*cases: Case, **fields: Any) -> Header:
    return header(environments=HERE, cases=cases or (CASE,), toolchains={}, **fields)


def case(**fields: Any) -> Case:
    return msgspec.structs.replace(CASE, **fields)


def test_the_header_of_a_run_is_possible() -> None:
    headers.refuse_impossible(of(), Path("r"))


@pytest.mark.parametrize(
    "wrong",
    [
        of(run="../../up"),
        of(run="/abs"),
        of(run=""),
        of(seed=-1),
        of(seed=1 << 63),
        of(policy=Policy(builds=0)),
        of(policy=Policy(replicates=0)),
        of(policy=Policy(replicates=10**9)),
        of(policy=Policy(timeout_ns=1 << 63)),
        of(policy=Policy(timeout_ns=0)),
        of(policy=Policy(max_time_ns=-1)),
        of(policy=Policy(min_samples=9, max_samples=8)),
        of(policy=Policy(target_ci=float("nan"))),
        of(policy=Policy(boundaries=("latency", "latency"))),
        of(case(symbols={})),
        of(case(symbols={"batch": 0})),
        of(case(streams=0)),
        of(case(toolchain="old")),
        of(case(dynamic={"batch": Range(min=4, opt=2, max=1)})),
        of(case(inputs={"x": Input(shape=(-1,))})),
        of(CASE, CASE),
    ],
)
def test_what_no_run_can_have_is_refused(wrong: Header) -> None:
    with pytest.raises(StoreError, match="its header has"):
        headers.refuse_impossible(wrong, Path("r"))


@pytest.mark.parametrize(
    "wrong",
    [
        of(case(factory="../zoo.py:m")),
        of(case(factory="/tmp/zoo.py:m")),
        of(case(metric="../../zoo.py:m")),
        of(suite_path="/elsewhere/x.yaml"),
        of(suite_path="../x.yaml"),
        of(suite_path="~/x.yaml"),
        of(suite_path="$TRTBENCH_CACHE/models/../../x.yaml"),
        of(suite_path="a\0b"),
        of(suite_path=""),
    ],
)
def test_a_header_leads_to_no_file_outside_of_the_suite_s_folder(wrong: Header, tmp_path: Path) -> None:
    with pytest.raises(BenchError):
        headers.own(wrong, Path("r"), tmp_path)


def test_what_the_user_s_own_suite_names_may_lie_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("the same")
    mine = of(case(factory="../zoo.py:m"), suite_path=str(tmp_path / "x.yaml"), suite="the same")
    assert headers.own(mine, Path("r"), None).suite_path == str(tmp_path / "x.yaml")
    with pytest.raises(UsageError, match=r"outside of its suite's folder"):
        headers.own(msgspec.structs.replace(mine, suite="another"), Path("r"), None)


def test_what_to_type_where_the_suite_is_another_can_be_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(UsageError, match=r"start a new run: trtbench run SUITE$"):
        headers.own(of(suite_path="~/my suites/x.yaml"), Path("r"), None)
    (tmp_path / "my suites").mkdir()
    (tmp_path / "my suites/x.yaml").write_text("another")
    with pytest.raises(UsageError) as caught:
        headers.own(of(suite_path="~/my suites/x.yaml"), Path("r"), None)
    assert caught.value.fix.endswith(f"trtbench run {shlex.quote(f'{tmp_path}/my suites/x.yaml')}")


SUITE = """\
schema: 1
models: {{net: {{factory: zoo.py:net, inputs: {{x: {{shape: [2]}}}}}}}}
matrix: {{backend: [eager], toolchain: [mine]}}
toolchains: {{mine: {{python: {python}, env: {{A: b}}}}}}
"""


def test_a_header_starts_no_interpreter_but_the_user_s(tmp_path: Path) -> None:
    suite = tmp_path / "x.yaml"
    suite.write_text(SUITE.format(python=sys.executable))
    mine = Toolchain(python=sys.executable, env={"A": "b"})
    stored = of(case(toolchain="mine"), suite_path=str(suite), suite=suite.read_text())
    own = headers.own(msgspec.structs.replace(stored, toolchains={"mine": mine}), Path("r"), None)
    assert own.toolchains == {"mine": mine}
    for other in (Toolchain(python=str(tmp_path / "evil")), Toolchain(python=sys.executable, env={"LD_PRELOAD": "x"})):
        with pytest.raises(UsageError, match="'mine' of the run is not that of"):
            headers.own(msgspec.structs.replace(stored, toolchains={"mine": other}), Path("r"), None)
    suite.unlink()
    with pytest.raises(UsageError, match="its suite cannot be read"):
        headers.own(msgspec.structs.replace(stored, toolchains={"mine": mine}), Path("r"), None)


def test_a_stored_header_has_no_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/ann")
    cache = Path("/home/ann/.cache/trtbench")
    full = header(
        environments=HERE,
        suite="models: /home/ann/net",
        suite_path="/home/ann/.cache/trtbench/models/net/suite.yaml",
        cases=(case(source="/home/ann/s.yaml:3"),),
        left_out=(LeftOut(label="l", reason="excluded at /home/ann/s.yaml:9"),),
        toolchains={"old": Toolchain(python="/home/ann/old/bin/python", env={"P": "/home/ann/lib:/opt"})},
    )
    stored = privacy.without_home(full, cache)
    assert b"ann" not in codec.encode(stored).replace(b"another", b"")
    assert stored.suite_path == "$TRTBENCH_CACHE/models/net/suite.yaml"
    assert privacy.restore(stored.suite_path, cache) == full.suite_path
    assert privacy.restore("~/s.yaml", None) == "/home/ann/s.yaml"
    assert stored.cases[0].id == full.cases[0].id


@pytest.mark.workers
def test_a_run_of_a_suite_below_the_home_folder_is_stored_without_it_and_resumed(
    trtbench: Trtbench, fake_suite: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("LD_PRELOAD", "")
    assert trtbench("run", fake_suite()) == 0
    path = store.runs(trtbench.store, rehearsals=True)[0]
    assert str(tmp_path) not in path.read_text()
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join(lines[:2]))
    assert trtbench("run", "--resume", path.stem) == 0
    assert len(store.read(path).records) == 2


@pytest.mark.workers
def test_list_and_a_rehearsal_say_which_file_is_not_there(trtbench: Trtbench, fake_suite: Callable[..., Path]) -> None:
    suite = fake_suite()
    for words in (("list", suite), ("run", suite, "--backend", "fake"), ("run", suite, "--dry-run")):
        assert trtbench(*words) == 0
        assert f"note: {suite}:5: there is no file 'zoo.py' in the suite's folder" in trtbench.err
    (suite.parent / "zoo.py").write_text("")
    assert trtbench("list", suite) == 0
    assert trtbench.err == ""

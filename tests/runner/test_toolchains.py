"""Interpreters that a suite names: what each holds, runs across two of them, and every way in which one is no good."""

from __future__ import annotations

import importlib.util
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import jsonschema
import msgspec
import pytest

from bench.errors import UsageError
from bench.machine import environment
from bench.model.run import Environment, Failure
from bench.model.seam import Missing
from bench.model.suite import Case, Toolchain
from bench.runner import jobs, sources, toolchains
from bench.runner.dispatch import Dispatcher
from bench.runtimes.torch import weights
from bench.units import NS_PER_S
from tests.conftest import Trtbench
from tests.runner.toolchain_kit import both, script

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]
HERE = environment.describe("fake")


def test_a_backend_and_a_package_are_those_of_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A backend that another package brings may be here only; a package of models may have another content there."""
    for name in ("here", "there"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "toolchain_models.py").write_text(f"name = {name!r}")
    monkeypatch.syspath_prepend(str(tmp_path / "here"))
    toolchain = Toolchain(python=sys.executable, env={"PYTHONPATH": str(tmp_path / "there")})
    link = toolchains.package_link(tmp_path)
    old = toolchains.probe("old", toolchain, tmp_path, HERE, link, "x.yaml:1", modules=("toolchain_models", "nowhere"))
    assert old.modules["nowhere"] == ""
    case = Case(model="m", factory="toolchain_models:build", inputs={}, backend="fake")
    here, there = sources.of_model(case, tmp_path), sources.of_model(case, tmp_path, old.modules)
    assert here.keys() == there.keys() == {"import toolchain_models"}
    assert here != there == {"import toolchain_models": old.modules["toolchain_models"]}
    assert toolchains.missing(old, "fake") is None
    assert toolchains.missing(old, "tiny") == Missing(
        reason="the backend 'tiny' is not installed in the toolchain 'old'", fix="trtbench doctor"
    )


def test_a_suite_runs_in_two_toolchains_side_by_side(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = both(
        fake_suite(replicates=2), "old: {python: ./python, env: {OMP_NUM_THREADS: 7}}\nunused: {python: /nowhere}"
    )
    script(suite.parent, 'echo junk; echo "more junk" >&2; exec PYTHON "$@"')
    assert trtbench("run", suite, "--baseline", "fake") == 0
    (run,) = trtbench.runs()
    assert [record.toolchain for record in run.records] == ["default", "old"] * 2
    assert all(record.accuracy and record.accuracy.ok for record in run.records)
    found = run.header.environments
    assert found["old"].flags["OMP_NUM_THREADS"] == "7"
    assert found["old"].device == found["default"].device
    assert found["old"].fingerprint != found["default"].fingerprint
    assert run.header.toolchains == {"old": Toolchain(python="./python", env={"OMP_NUM_THREADS": "7"})}
    assert f"@old: Python {found['old'].python}" in trtbench.out
    assert "each toolchain against the baseline of its own" in trtbench.out
    assert trtbench("show", run.header.run, "--baseline", "fake@old") == 0
    assert trtbench.out.count("baseline") == 1
    assert trtbench("show", run.header.run, "--baseline", "fake@odl") == 2
    assert "no case of fake has the toolchain 'odl'\n" in trtbench.err


ZOO = """
import importlib.util

def score(outputs, expected):
    if importlib.util.find_spec("of_old"):
        import of_old
        of_old.crash()
    return {"score": 1.0}
"""
OF_OLD = """
import os, sys

def crash():
    print(f"fatal: {__file__}:6", file=sys.stderr, flush=True)
    os.abort()
"""


def test_a_record_has_no_path_of_the_packages_of_its_toolchain(
    trtbench: Trtbench, fake_suite: Suite, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever their folder is called: that of an environment is known by its name."""
    packages = tmp_path_factory.mktemp("packages")
    (packages / "of_old.py").write_text(OF_OLD)
    suite = both(fake_suite(), f"old: {{env: {{PYTHONPATH: {packages}}}}}")
    suite.write_text(suite.read_text().replace("factory: zoo.py:net", "factory: zoo.py:net\n    metric: zoo.py:score"))
    (suite.parent / "zoo.py").write_text(ZOO)
    assert trtbench("run", suite) == 1
    (run,) = trtbench.runs()
    (failure,) = [record.failure for record in run.records if record.failure]
    assert "fatal: of_old.py:6" in failure.log
    assert str(packages) not in msgspec.json.encode(run.records).decode()


def test_a_toolchain_without_an_interpreter_is_the_running_one_with_variables(tmp_path: Path) -> None:
    found = probe(tmp_path, Toolchain(env={"MALLOC_CONF": "x:y"}))
    assert found.command[0] == sys.executable
    assert found.environment.flags["MALLOC_CONF"] == "x:y"
    assert found.backends["fake"] is None


def test_a_toolchain_is_asked_what_it_lacks_for_the_device_of_the_run(tmp_path: Path) -> None:
    package = tmp_path / "packages" / "onnxruntime"  # a build without the CUDA provider
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    toolchain = Toolchain(env={"PYTHONPATH": str(package.parent)})
    reasons = []
    for kind in ("cpu", "cuda"):
        lacks = probe(tmp_path / kind, toolchain, here=msgspec.structs.replace(HERE, kind=kind)).backends["onnxruntime"]
        reasons.append(lacks.reason if lacks else "")
    assert "CUDAExecutionProvider" not in reasons[0]
    assert importlib.util.find_spec("onnx") is None or "CUDAExecutionProvider" in reasons[1]


def probe(
    folder: Path, toolchain: Toolchain, limit_ns: int = 60_000_000_000, here: Environment | None = None
) -> toolchains.Interpreter:
    folder.mkdir(exist_ok=True)
    link = toolchains.package_link(folder)
    return toolchains.probe("old", toolchain, folder, here or HERE, link, "toolchains.yaml:1", limit_ns=limit_ns)


def test_a_toolchain_needs_nothing_but_msgspec_and_numpy(tmp_path: Path) -> None:
    bare = script(tmp_path, 'exec PYTHON -S "$@"')
    packages = tmp_path / "packages"
    packages.mkdir()
    for module in ("msgspec", "numpy"):
        (packages / module).symlink_to(Path(sys.modules[module].__file__ or "").parent)
    libraries = Path(sys.modules["numpy"].__file__ or "").parents[1] / "numpy.libs"
    if libraries.exists():
        (packages / libraries.name).symlink_to(libraries)
    found = probe(tmp_path, Toolchain(python=str(bare), env={"PYTHONPATH": str(packages)}))
    assert found.backends["fake"] is None
    lacking = toolchains.missing(found, "eager")
    assert lacking is not None
    assert lacking.fix == f"{bare} -m pip install torch"


OLD_PYTHON = """exec PYTHON -c 'import sys; sys.version_info = (3, 8, 1); exec(sys.argv.pop(1))' "$2" "$3" """
BAD = {
    "segfault": ("kill -SEGV $$", f"died as a worker started in it: {signal.strsignal(signal.SIGSEGV)}", "see why: "),
    "exit": ("exit 3", "it ended with exit code 3 and no answer", "python -c 'import msgspec, numpy'"),
    "no python": ("echo no such thing >&2; exit 127", "no such thing", "see why: "),
    "bare": ('exec PYTHON -S "$@"', "has no msgspec", "python -m pip install msgspec numpy"),
    "too old": (OLD_PYTHON, "is Python 3.8; a worker needs 3.11 or later", "python3.11 -m venv DIR"),
    "reasons": ("echo 'ImportError: libx.so' >&2; echo 'done' >&2; exit 1", "ImportError: libx.so", "see why: "),
}


@pytest.mark.parametrize("way", BAD)
def test_an_interpreter_in_which_no_worker_starts_ends_the_run_before_it_begins(
    trtbench: Trtbench, fake_suite: Suite, way: str
) -> None:
    text, message, fix = BAD[way]
    suite = both(fake_suite(), "# mine\nold:\n  python: ./python")
    script(suite.parent, text)
    assert trtbench("run", suite) == 2
    assert trtbench.err.startswith(f"trtbench: {suite.parent}/toolchains.yaml:2: toolchain 'old': ")
    assert f"{suite.parent}/python" in trtbench.err.splitlines()[0]
    assert message in trtbench.err
    assert fix in trtbench.err
    assert not trtbench.store.exists()


@pytest.mark.parametrize(
    ("python", "message", "fix"),
    [
        ("/nowhere/bin/python", "there is no interpreter '/nowhere/bin/python'", "correct `python`, or make one"),
        ("no-such-python", "there is no interpreter 'no-such-python'", "correct `python`"),
        ("./", "is a folder", "bin/python"),
        ("./toolchains.yaml", "is not executable", "chmod +x"),
        ("./shebang", "cannot be started: No such file or directory", "see why: "),
        ("$TRTBENCH_NOT_SET/bin/python", "the variable 'TRTBENCH_NOT_SET' is not set", "export TRTBENCH_NOT_SET="),
    ],
)
def test_an_interpreter_that_cannot_be_started_is_told_with_its_line(
    trtbench: Trtbench, fake_suite: Suite, python: str, message: str, fix: str
) -> None:
    suite = both(fake_suite(), f"old: {{python: {python}}}")
    script(suite.parent, "", "shebang").write_text("#!/nowhere/python\n")
    assert trtbench("run", suite) == 2
    assert trtbench.err.startswith(f"trtbench: {suite.parent}/toolchains.yaml:1: toolchain 'old': ")
    assert message in trtbench.err
    assert fix in trtbench.err
    assert not trtbench.store.exists()


def test_a_variable_that_breaks_the_interpreter_is_part_of_the_command_that_shows_why(
    trtbench: Trtbench, fake_suite: Suite
) -> None:
    suite = both(fake_suite(), "old: {env: {PYTHONHOME: /nowhere}}")
    assert trtbench("run", suite) == 2
    assert "No module named 'encodings'" in trtbench.err
    assert f"fix: see why: env PYTHONHOME=/nowhere {sys.executable} -c" in trtbench.err


def test_an_interpreter_that_hangs_is_given_up(tmp_path: Path) -> None:
    hanging = script(tmp_path, "exec tail -f /dev/null")
    with pytest.raises(UsageError, match=r"toolchain 'old': .*/python gave no answer within 200 ms"):
        probe(tmp_path, Toolchain(python=str(hanging)), limit_ns=200_000_000)


def test_a_toolchain_that_no_selected_case_needs_is_not_started(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = both(fake_suite(), "old: {python: /nowhere/bin/python}")
    assert trtbench("run", suite, "--select", "toolchain=default") == 0
    assert trtbench.runs()[0].header.toolchains == {}


def test_paths_and_variables_mean_what_they_mean_in_the_folder_of_their_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLACE", "/opt/x")
    monkeypatch.setenv("HOME", "/home/me")
    on_path = script(tmp_path, "", "mypython")
    monkeypatch.setenv("PATH", str(tmp_path))

    def python(text: str) -> str:
        return toolchains.resolve(Toolchain(python=text), Path("/suites")).python

    assert python("venv/bin/python") == "/suites/venv/bin/python"
    assert python("$PLACE/bin/python") == "/opt/x/bin/python"
    assert python("~/bin/python") == "/home/me/bin/python"
    assert python("mypython") == str(on_path)
    assert python("") == sys.executable
    env = {"LD_LIBRARY_PATH": "${PLACE}/lib:/usr/lib", "COST": "5$$", "BARE": "a$ b"}
    expected = {"LD_LIBRARY_PATH": "/opt/x/lib:/usr/lib", "COST": "5$", "BARE": "a$ b"}
    assert toolchains.resolve(Toolchain(env=env), Path("/suites")).env == expected


def test_a_broken_package_of_a_toolchain_is_missed_there(tmp_path: Path) -> None:
    broken = tmp_path / "packages" / "torch"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise OSError('libcudnn.so.8: cannot open shared object file')\n")
    found = probe(tmp_path, Toolchain(env={"PYTHONPATH": str(broken.parent)}))
    case = Case(model="net", factory="zoo.py:net", inputs={}, backend="eager", toolchain="old")
    job = jobs.Produce(
        case=case,
        stage=weights.weights_stage(case),
        artifacts={},
        out=str(tmp_path),
        scratch=str(tmp_path),
        device="cpu",
    )
    reply = Dispatcher(NS_PER_S * 60, cold=False, on_event=lambda event: None).run(found, job, case.label)
    assert isinstance(reply, Failure)
    assert (reply.kind, reply.stage) == ("Unavailable", "import")
    assert "torch is installed but cannot be imported: libcudnn.so.8" in reply.message


def interpreter(name: str, written: str = "/opt/my python") -> toolchains.Interpreter:
    lacking = Missing(reason="the package 'torch' is not installed", fix="pip install torch")
    here = Environment(kind="cpu", arch="cpu", device="cpu", slug="cpu")
    return toolchains.Interpreter(
        name=name,
        command=("/opt/my python", "-c"),
        python_text=written,
        env={},
        environment=here,
        backends={"eager": lacking},
    )


def test_a_missing_package_is_missed_in_its_toolchain_and_installed_there() -> None:
    failure = Failure(kind="Unavailable", stage="export", message="no onnx", hint="pip install onnx")
    case = Case(model="net", factory="zoo.py:net", inputs={}, backend="tensorrt")
    foreign = msgspec.structs.replace(case, toolchain="old")
    found = toolchains.locate_failure(failure, interpreter("old"), foreign)
    assert found.message == "no onnx (in the toolchain 'old')"
    assert found.hint == "'/opt/my python' -m pip install onnx"
    by_variable = toolchains.locate_failure(failure, interpreter("old", "$OLD_PYTHON"), foreign)
    assert by_variable.hint == "$OLD_PYTHON -m pip install onnx"
    remarked = msgspec.structs.replace(failure, hint="onnx or another: pip install onnx")
    found = toolchains.locate_failure(remarked, interpreter("old", "$OLD_PYTHON"), foreign)
    assert found.hint == "onnx or another: $OLD_PYTHON -m pip install onnx"
    # A stage of that case that the default toolchain makes.
    assert toolchains.locate_failure(failure, interpreter("default"), foreign).message.endswith("'default')")
    assert toolchains.locate_failure(failure, interpreter("default"), case) == failure
    crash = msgspec.structs.replace(failure, kind="Crash")
    assert toolchains.locate_failure(crash, interpreter("old"), foreign) == crash
    assert toolchains.missing(interpreter("default"), "eager") == interpreter("default").backends["eager"]


def test_the_doctor_shows_what_each_toolchain_holds_and_makes_ready(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.checkup.doctor.IMPORTS", ())
    suite = both(fake_suite(), "new: {env: {A: b}}\nold: {python: /nowhere/python}")
    for file in (suite, suite.with_name("toolchains.yaml")):
        assert trtbench("doctor", file) == 0
        new, old = trtbench.out.partition("toolchain new\n")[2].split("toolchain old\n")
        lines = [line.split() for line in new.splitlines()]
        assert ["ready", "python", HERE.python, f"({sys.executable})"] in lines
        assert ["ready", "fake"] in lines
        assert f"numpy {HERE.libraries['numpy']}" in " ".join(new.split())
        assert "broken   python" in old
        assert "there is no interpreter '/nowhere/python'" in old


def test_the_doctor_looks_at_the_suites_folder_by_itself(
    trtbench: Trtbench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("bench.checkup.doctor.IMPORTS", ())
    monkeypatch.chdir(tmp_path)
    assert trtbench("doctor") == 0
    assert "toolchain old" not in trtbench.out
    (tmp_path / "suites").mkdir()
    (tmp_path / "suites" / "toolchains.yaml").write_text("old: {python: /nowhere/python}\n")
    assert trtbench("doctor") == 0
    assert "toolchain old" in trtbench.out


def test_the_schema_of_the_file_is_printed_for_editors(trtbench: Trtbench) -> None:
    assert trtbench("schema", "--toolchains") == 0
    schema = msgspec.json.decode(trtbench.out)
    jsonschema.validate({"old": {"python": "python3", "env": {"A": 1}}}, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({"old": {"pyton": "python3"}}, schema)

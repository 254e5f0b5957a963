"""What the C++ program is built by: its key, and what is said where something is missing or does not fit."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import msgspec
import pytest

from bench.backends import base
from bench.errors import CaseError, Unavailable
from bench.runtimes.cpp import building
from bench.runtimes.cpp.program import Runner
from tests.backends.kit import Bench

TORCHSCRIPT, AOTI = base.load("torchscript"), base.load("aoti")
CPP = {"executor": "cpp"}


def tool(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)
    return path


def produce(bench: Bench) -> None:
    case = bench.case("torchscript", options=CPP)
    building.produce("empty", building.Installation(definitions={}), bench.context(case, {}), bench.folder())


def test_all_backends_and_models_share_one_program(bench: Bench) -> None:
    stages = [
        next(stage for stage in backend.stages(bench.case(name, factory, options=CPP)) if stage.kind == "runner")
        for name, backend in (("torchscript", TORCHSCRIPT), ("aoti", AOTI))
        for factory in ("zoo.py:net", "zoo.py:inverse")
    ]
    assert stages == stages[:1] * 4
    assert not stages[0].of_model


def test_both_executors_run_one_package(bench: Bench) -> None:
    python, cpp = (AOTI.stages(bench.case("aoti", options=options)) for options in ({}, CPP))
    assert list(cpp[: len(python)]) == list(python)


@pytest.mark.parametrize(("name", "value"), [("CXXFLAGS", "-march=native"), ("LDFLAGS", "-s")])
def test_flags_are_part_of_the_key(bench: Bench, monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    case = bench.case("torchscript", options=CPP)
    before = TORCHSCRIPT.stages(case)[-1].key
    monkeypatch.setenv(name, value)
    assert TORCHSCRIPT.stages(case)[-1].key != before


def test_another_compiler_makes_another_program(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = []
    for version in ("c++ 1", "c++ 2"):
        monkeypatch.setenv("CXX", str(tool(tmp_path / version[-1], "mine", f"echo '{version}'")))
        keys.append(TORCHSCRIPT.stages(bench.case("torchscript", options=CPP))[-1].key["compiler"])
    assert keys == ["c++ 1", "c++ 2"]


def test_without_cmake_it_says_what_to_install(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Unavailable, match="no CMake") as raised:
        produce(bench)
    assert "cmake" in raised.value.fix


def test_a_compiler_that_cannot_be_run_is_named(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path / "bin", "cmake", "exit 0")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CXX", "no-such-compiler")
    with pytest.raises(Unavailable, match="no-such-compiler, cannot be run"):
        produce(bench)


@pytest.mark.parametrize(
    ("output", "error", "message"),
    [
        (
            "a.cpp:3:10: fatal error: barrier: No such file or directory\n",
            Unavailable,
            "the header barrier is not here",
        ),
        ("a.cpp:3:10: fatal error: 'NvInfer.h' file not found\n", Unavailable, "the header NvInfer.h is not here"),
        ("ld: undefined reference to `c10::Error(std::__cxx11::basic_string<char>)'", Unavailable, "ABI"),
        ("x.cpp:1:2: error: 'at::Odd' has not been declared\nmore", CaseError, "'at::Odd' has not been declared"),
        ("CMake Error at CMakeLists.txt:4 (message):\n  no torch libraries\n\n", CaseError, "no torch libraries"),
        ("killed", CaseError, "killed"),
    ],
)
def test_a_failed_build_is_told_by_its_cause(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, output: str, error: type[CaseError], message: str
) -> None:
    (tmp_path / "output").write_text(output)
    tool(tmp_path / "bin", "cmake", f"/bin/cat '{tmp_path / 'output'}'; exit 1")
    tool(tmp_path / "bin", "c++", "echo c++ 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CXX", str(tmp_path / "bin" / "c++"))
    with pytest.raises(error) as raised:
        produce(bench)
    assert type(raised.value) is error
    assert message in raised.value.what
    assert raised.value.fix


def test_the_build_tells_how_far_it_is(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tool(tmp_path / "bin", "cmake", "echo '[3/9] Building CXX object'; echo 'CMake Error: stop'; exit 1")
    tool(tmp_path / "bin", "c++", "echo c++ 1")
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    monkeypatch.setenv("CXX", str(tmp_path / "bin" / "c++"))
    texts: list[str] = []
    context = bench.context(bench.case("torchscript", options=CPP), {})
    context = msgspec.structs.replace(context, tell=texts.append)
    with pytest.raises(CaseError, match="stop"):
        building.produce("empty", building.Installation(definitions={}), context, bench.folder())
    assert texts
    assert all(re.fullmatch(r"3 of 9 steps, \d+ s", text) for text in texts)


def test_a_program_of_another_version_is_refused(tmp_path: Path) -> None:
    (tmp_path / "info.json").write_text('{"version": "2.9.0"}')
    assert building.program_in(tmp_path, "2.9.0") == tmp_path / building.PROGRAM
    with pytest.raises(Unavailable, match=r"version 2\.9\.0 of its library, and 2\.11\.0 is here"):
        building.program_in(tmp_path, "2.11.0")


@pytest.mark.long
def test_a_static_standard_library_is_refused(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LDFLAGS", "-static-libstdc++ -static-libgcc")
    with pytest.raises(Unavailable, match="links its standard library statically"):
        produce(bench)


@pytest.mark.long
def test_the_sources_that_are_kept_are_built_by_their_script(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CMAKE_BUILD_TYPE", "Debug")  # which compiles fast
    artifact = bench.folder()
    case = bench.case("torchscript", options=CPP)
    building.produce("empty", building.Installation(definitions={}), bench.context(case, {}), artifact)
    kept = tmp_path / "runner"
    building.copy_sources(artifact, kept)
    assert "export CMAKE_BUILD_TYPE=Debug" in (kept / building.COMMANDS).read_text().splitlines()
    subprocess.run(["sh", building.COMMANDS], cwd=kept, check=True, capture_output=True)
    again = Runner(kept / "build" / building.PROGRAM)
    assert again.facts["compiler"]
    again.close()


@pytest.mark.long
def test_the_tests_of_the_program_pass(tmp_path: Path) -> None:
    configure = ["cmake", "-S", str(building.SOURCES), "-B", str(tmp_path), "-DRUNTIME=empty", "-DTRTBENCH_TESTS=ON"]
    for command in (configure, ["cmake", "--build", str(tmp_path), "--parallel", "2"]):
        subprocess.run(command, check=True, capture_output=True)
    done = subprocess.run(["ctest", "--output-on-failure"], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout

"""Every name of TensorRT that is used exists, in the version whose branch uses it, in the real bindings."""

from __future__ import annotations

import ast
import os
import re
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

import bench
from tests.runtimes.trt import builder_standin
from tests.runtimes.trt import names as trt_names
from tests.runtimes.trt.script import Script

ALL = (*trt_names.VERSIONS, trt_names.RTX_FIRST, trt_names.RTX)
FILES = sorted((Path(bench.__file__).parent / "runtimes" / "trt").glob("*.py"))
MODULE = re.compile(r"^(?:trt|(?:self\._)?api\.module)\.(\w+)(?:\.(\w+))?$")
# What a variable of this name holds in these files.
OBJECTS = {
    "config": "IBuilderConfig", "builder": "Builder", "network": "INetworkDefinition", "parser": "OnnxParser",
    "engine": "ICudaEngine", "runtime": "Runtime", "profile": "IOptimizationProfile", "registry": "IPluginRegistry",
    "self.context": "IExecutionContext", "inspector": "EngineInspector",
    "runtime_config": "IRuntimeConfig",
}  # fmt: skip
TOGETHER = {"progress_monitor": "IProgressMonitor"}  # who has the one has the other
OBJECT = re.compile(rf"^({'|'.join(map(re.escape, OBJECTS))})\.(\w+)$")


def versions_with(name: str, member: str | None) -> set[str]:
    """The versions whose module has ``name``, and in it ``member``."""
    found = set()
    for version in ALL:
        names = trt_names.golden(version)
        inside = names["classes"].get(name, names["enums"].get(name))
        if (
            name in names["functions"]
            or name == "__version__"
            or (inside is not None and (not member or member in inside))
        ):
            found.add(version)
    return found


def used(path: Path) -> set[tuple[str, str | None, bool]]:
    """Names of the module, or members of its classes, in a file, and whether the function asks first if it is there."""
    found = set()
    tree = ast.parse(path.read_text())
    modules = {alias.name for node in tree.body if isinstance(node, ast.ImportFrom) for alias in node.names}
    for function in ast.walk(tree):
        if not isinstance(function, ast.FunctionDef):
            continue
        text = ast.unparse(function)
        for node in ast.walk(function):
            whole = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
            name, member = None, None
            if match := MODULE.match(whole):
                name, member = match[1], match[2]
            elif (match := OBJECT.match(whole)) and match[1] not in modules:
                name, member = OBJECTS[match[1]], match[2]
            if name and not (member or "").startswith("__"):
                asked = "api.major" in text or any(
                    f"'{each}" in text for each in (name, member, TOGETHER.get(member or "")) if each
                )
                found.add((name, member, asked))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_name_that_a_version_lacks_is_used_only_where_it_was_asked_for(path: Path) -> None:
    needed = {trt_names.RTX_FIRST, trt_names.RTX} if path.name == "rtx.py" else set(ALL)
    for name, member, asked in used(path):
        versions = versions_with(name, member)
        place = f"{path.name}: {name}.{member}" if member else f"{path.name}: {name}"
        assert versions, f"{place} is in no version"
        assert asked or needed <= versions, f"{place} is only in {versions}"


def test_the_check_sees_the_names() -> None:
    everything = {(name, member) for path in FILES for name, member, _ in used(path)}
    assert ("Builder", None) in everything
    assert ("IBuilderConfig", "get_tactic_sources") in everything
    assert ("ICudaEngine", "device_memory_size_v2") in everything
    assert ("IBuilderConfig", "set_compute_capability") in everything


@pytest.mark.parametrize("version", ALL)
def test_the_golden_names_are_those_of_the_real_bindings(version: str, tmp_path: Path) -> None:
    folder = os.environ.get("TRTBENCH_BINDINGS", "")
    wheels = (
        [path for path in Path(folder).rglob("*.whl") if path.name.split("-")[1].startswith(version)] if folder else []
    )
    if not wheels:
        pytest.skip(f"no bindings of {version} in TRTBENCH_BINDINGS: nox -s tests fetches those that this Python has")
    if sys.platform != "linux" or shutil.which("gcc") is None:
        pytest.skip("the bindings are imported beside libraries that gcc makes, on Linux")
    assert trt_names.read_wheel(wheels[0], tmp_path) == trt_names.golden(version)


class IBuilderConfig:
    """A stand-in with a name that 8.6 lacks."""

    progress_monitor = None
    builder_optimization_level = 3

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        return True


def test_a_stand_in_has_what_its_version_has() -> None:
    old = trt_names.allow(IBuilderConfig, "IBuilderConfig", "8.6.1")()
    new = trt_names.allow(IBuilderConfig, "IBuilderConfig", "10.16.1")()
    assert not hasattr(old, "progress_monitor")
    assert hasattr(new, "progress_monitor")
    old.builder_optimization_level = 5
    assert (old.builder_optimization_level, new.builder_optimization_level) == (5, 3)
    for name in ("progress_monitor", "builder_optimisation_level"):
        with pytest.raises(AttributeError, match=name):
            setattr(old, name, 1)


def test_the_stand_in_for_the_builder_fits_the_bindings_of_tensorrt_rtx() -> None:
    trt = builder_standin.module(Script(trt_names.RTX))
    assert hasattr(trt.Builder, "build_serialized_network")
    assert not hasattr(trt.BuilderFlag, "FP16")


def test_a_stand_in_with_a_name_that_no_version_has_is_refused() -> None:
    class Invented(IBuilderConfig):
        def set_everything(self) -> None: ...

    with pytest.raises(AssertionError, match="set_everything"):
        trt_names.allow(Invented, "IBuilderConfig", "8.6.1")


def test_a_stand_in_whose_parameters_are_called_otherwise_is_refused() -> None:
    class Renamed(IBuilderConfig):
        def set_timing_cache(self, cache: Any, force: bool) -> bool:
            return True

    with pytest.raises(AssertionError, match="ignore_mismatch"):
        trt_names.allow(Renamed, "IBuilderConfig", "8.6.1")


def test_integers_of_an_enum_are_those_of_the_version() -> None:
    assert int(trt_names.enum_of("TacticSource", "8.6.1")["JIT_CONVOLUTIONS"]) == 4
    assert int(trt_names.enum_of("TacticSource", "11.4.0")["JIT_CONVOLUTIONS"]) == 1

"""The timing cache of builds: cold, warm, shared by builders, and refused."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.errors import Unsupported
from tests.runtimes.trt.builder_world import World
from tests.runtimes.trt.names import VERSIONS
from tests.runtimes.trt.script import Script

V8, V10, _ = VERSIONS


def test_a_timing_cache_is_cold_then_warm_and_grows(world: World) -> None:
    plan, first = world.build(Script(V10, entries=["conv"]))
    assert (plan["cache"], first.timing_cache) == ([], "cold")
    assert first.timing_cache_bytes > 0
    plan, second = world.build(Script(V10, entries=["gemm"]))
    assert (plan["cache"], second.timing_cache) == (["conv"], "warm")
    plan, _ = world.build(Script(V10))
    assert plan["cache"] == ["conv", "gemm"]
    (file,) = (world.root / "tensorrt").glob("*.timing")
    assert file.name == "sm_90-nvidia-example-80gb-10.16.1.timing"


def test_what_another_builder_wrote_meanwhile_is_kept(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.build(Script(V10, entries=["conv"]))
    (file,) = (world.root / "tensorrt").glob("*.timing")

    class Interrupted(Script):
        """Another builder ends while this one builds."""

        @property
        def steps(self) -> Any:  # type: ignore[override]
            file.write_text(json.dumps([V10, ["conv", "theirs"]]))
            return ()

        @steps.setter
        def steps(self, value: Any) -> None: ...

    world.build(Interrupted(V10, entries=["ours"]))
    assert json.loads(file.read_text())[1] == ["conv", "ours", "theirs"]
    assert not [path for path in file.parent.iterdir() if path.suffix not in (".timing", ".lock")]


def test_an_engine_that_is_not_built_with_a_timing_cache_is_built_without(world: World) -> None:
    world.build(Script(V8, entries=["conv"]))
    plan, built = world.build(Script(V8, entries=["myelin"], fails_with_times=True))
    assert (plan["cache"], built.timing_cache) == ([], "cold")
    (file,) = (world.root / "tensorrt").glob("*.timing")
    assert json.loads(file.read_text()) == [V8, ["conv", "myelin"]]
    with pytest.raises(Unsupported, match="could not build this engine"):
        world.build(Script(V8, fails=True))


def test_a_further_build_neither_uses_nor_leaves_a_timing_cache(world: World) -> None:
    world.build(Script(V10, entries=["conv"]))
    plan, built = world.build(Script(V10, entries=["other"]), build=1)
    assert (plan["cache"], built.timing_cache) == ([], "cold")
    plan, _ = world.build(Script(V10))
    assert plan["cache"] == ["conv"]


def test_a_timing_cache_can_be_off(world: World) -> None:
    plan, built = world.build(Script(V8), timing_cache=False)
    assert (plan["cache"], built.timing_cache) == (None, "off")
    assert "DISABLE_TIMING_CACHE" in plan["flags"]
    assert not (world.root / "tensorrt").exists()


def test_a_timing_cache_that_is_refused_is_made_anew(world: World) -> None:
    world.build(Script(V10, entries=["conv"]))
    (file,) = (world.root / "tensorrt").glob("*.timing")
    file.write_text(json.dumps(["10.16.0", ["old"]]))
    plan, built = world.build(Script(V10, entries=["conv"]))
    assert (plan["cache"], built.timing_cache) == ([], "cold")
    assert json.loads(file.read_text()) == [V10, ["conv"]]

"""The script for GPU hosts: its parts of the cases, and what it says of a run that is cut short."""

from __future__ import annotations

import types
from pathlib import Path

import numpy as np
import pytest

from bench import tensors
from tests.lowering.converters import on_gpu

BUILDS = {"good": "return types.SimpleNamespace(nbytes=7)", "none": "return None", "ends": "raise KeyboardInterrupt"}
TRT = types.SimpleNamespace(logger=None)


def places(folder: Path, *kinds: str) -> list[Path]:
    for number, kind in enumerate(kinds):
        place = folder / f"{number}_{kind}"
        place.mkdir()
        source = f"import types\n\n\ndef build_engine(trt, weights, logger, level=None):\n    {BUILDS[kind]}\n"
        (place / "program.py").write_text(source)
        tensors.write(place / "weights.safetensors", {"w": np.zeros(1, np.float32)})
    return sorted(folder.iterdir())


@pytest.mark.parametrize("parts", [1, 2, 3])
def test_the_parts_are_all_cases_once(parts: int) -> None:
    cases = [Path(str(number)) for number in range(7)]
    shards = [on_gpu.shard(cases, f"{number}/{parts}") for number in range(1, parts + 1)]
    assert sorted(case for each in shards for case in each) == cases
    assert max(map(len, shards)) - min(map(len, shards)) <= 1


@pytest.mark.parametrize("text", ["0/2", "3/2", "1", "a/b", "1/2/3"])
def test_what_is_no_part_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no part I/N"):
        on_gpu.shard([], text)


def test_a_run_that_is_cut_short_says_what_it_has_and_what_is_left(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    cases = places(tmp_path, "good", "none", "good", "ends", "good")
    assert on_gpu.run(cases, TRT, build_only=True) == 3
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines[:3]] == [[f"[{n + 1}/5]", cases[n].name] for n in range(3)]
    assert lines[0].endswith("7 bytes")
    assert "no engine" in lines[1]
    assert lines[3] == "interrupted"
    assert lines[4].startswith("2 of 5 cases built in ")
    assert lines[5:] == ["failed: 1_none", "not run: 3_ends, 4_good"]


def test_a_run_without_failures_is_0(tmp_path: Path) -> None:
    assert on_gpu.run(places(tmp_path, "good", "good"), TRT, build_only=True) == 0


@pytest.mark.parametrize(
    ("value", "message"),
    [(-np.inf, ""), (np.finfo(np.float32).min, ""), (1.0, "in 1 of 2 values: 1 for -inf"), (np.nan, "nan for -inf")],
)
def test_a_mask_may_have_the_lowest_number(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], value: float, message: str
) -> None:
    (place,) = places(tmp_path, "good")
    tensors.write(place / "inputs.safetensors", {})
    tensors.write(place / "outputs.safetensors", {"y": np.array([0.5, -np.inf], np.float32)})
    monkeypatch.setattr(on_gpu, "_run_engine", lambda *_: {"y": np.array([0.5, value], np.float32)})
    assert on_gpu.run([place], TRT) == bool(message)
    assert message in capsys.readouterr().out

"""Options of backends of a wrong type, as the errors of a suite have them."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import msgspec
import pytest

from bench.backends import base
from bench.errors import SuiteError
from bench.suite import reader

SUITE = """\
schema: 1
models: {net: {factory: zoo.py:net, inputs: {x: {shape: [4]}}}}
matrix:
  backend:
    - {name: %s}
"""


@pytest.mark.parametrize(
    ("entry", "what", "fix"),
    [
        ("onnxruntime, data: 3", "option 'data' of onnxruntime: expected text or nothing, got 3", "put it in quotes"),
        (
            "fx2trt, deconvolutions: [grouped, dense]",
            "matrix.backend.0.deconvolutions: expected one of grouped, dense, got a list",
            "one backend entry per value, e.g. "
            "[{name: fx2trt, deconvolutions: grouped}, {name: fx2trt, deconvolutions: dense}]",
        ),
        (
            "fx2trt, calibrator: [minmax, 3]",
            "expected one of entropy, minmax, null, got a list",
            "one backend entry per value, e.g. [{name: fx2trt, calibrator: minmax}]",
        ),
        ("fx2trt, deconvolutions: true", "got true", "e.g. deconvolutions: grouped, or leave it out"),
        ("fx2trt, deconvolutions: 1", "got 1", "e.g. deconvolutions: grouped, or leave it out"),
        ("fx2trt, deconvolutions:", "got nothing", "e.g. deconvolutions: grouped, or leave it out"),
        ("fx2trt, hardware_compatible: no", "got no", "e.g. hardware_compatible: none, or leave it out"),
        ("onnxruntime, samples: 0", "expected an integer of at least 1, got 0", ""),
        ("tensorrt, optimization_level: 9", "expected an integer of at most 5, got 9", ""),
        ("tensorrt, plugins: {a: b}", "expected a list, got a mapping", ""),
        ("tensorrt, plugins: [1]", "option 'plugins' of tensorrt: expected text", ""),
        ("eager, autocast: please", "expected on or off, got 'please'", ""),
        ("fake, noise: loud", "expected a number, got 'loud'", ""),
        ("tensorrt, workspace: lots", "options of tensorrt: workspace: 'lots' is not a number with a unit", ""),
    ],
)
def test_a_wrong_value_is_told_in_the_words_of_a_suite(tmp_path: Path, entry: str, what: str, fix: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE % entry)
    with pytest.raises(SuiteError) as caught:
        reader.load(path, base.registry())
    assert what in caught.value.what
    assert "`" not in caught.value.what
    assert (caught.value.fix, caught.value.where) == (fix, f"{path}:5")


class _Options(msgspec.Struct):
    mode: Literal["fast", "off"] = "fast"


class _Backend(type(base.load("eager"))):  # type: ignore[misc]
    options = _Options


@pytest.mark.parametrize(("word", "fix"), [("off", "put it in quotes"), ("no", "e.g. mode: fast, or leave it out")])
def test_quotes_are_the_fix_where_the_word_in_them_is_a_value(tmp_path: Path, word: str, fix: str) -> None:
    path = tmp_path / "suite.yaml"
    path.write_text(SUITE % f"own, mode: {word}")
    with pytest.raises(SuiteError, match=f"expected one of fast, off, got {word}") as caught:
        reader.load(path, {**base.registry(), "own": _Backend()})
    assert caught.value.fix == fix
    path.write_text(SUITE % 'own, mode: "off"')
    reader.load(path, {**base.registry(), "own": _Backend()})

"""Options of backends of a wrong type, as the errors of a suite have them."""

from __future__ import annotations

from pathlib import Path

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

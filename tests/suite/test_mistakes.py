"""What is wrong with a suite is told with its line and what to write."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import SuiteError
from bench.suite import reader
from tests.suite.kit import REGISTRY, TEXT, changed, wrong

RESNET_SHAPE = "inputs: {x: {shape: [batch, 3, 224, 224]}}"
BAD = [
    # old text, new text, the line's start in the new suite, what the message has
    ("name: tiny", "nmae: tiny", "nmae", "unknown key 'nmae'. Did you mean 'name'?"),
    ("name: tiny", "name: 12", "name", "expected text, got 12"),
    ("name: tiny", "name: a/b", "name", "expected something like"),
    ("    args: {weights: null}", "    arg: {weights: null}", "arg:", "unknown key 'arg' in models.resnet"),
    ("    - eager\n", "    - egaer\n", "- egaer", "unknown backend 'egaer'. Did you mean 'eager'?"),
    ("    - eager\n", "    - {mode: default}\n", "- {mode", "has no `name`"),
    ("    - eager\n", "    - {name: eager, mode: x}\n", "- {name: eager", "unknown option 'mode' of eager"),
    ("mode: max-autotune", "mod: max-autotune", "- {name", "unknown option 'mod' of inductor. Did you mean 'mode'?"),
    ("mode: max-autotune", "mode: max-autotun", "- {name", "Did you mean 'max-autotune'?"),
    ("mode: max-autotune", "mode: off", "- {name", "expected one of default"),
    ("mode: max-autotune", "fullgraph: 3", "- {name", "option 'fullgraph' of inductor: expected on or off, got 3"),
    ("mode: max-autotune", "threads: two", "- {name", "of inductor: expected an integer, got 'two'"),
    ("mode: max-autotune", "threads: [1]", "- {name", "of inductor: expected an integer, got a list"),
    ("mode: max-autotune", "threads: 1.5", "- {name", "of inductor: expected an integer, got 1.5"),
    ("[fp32, fp16]", "[fp32, fp61]", "precision", "unknown precision 'fp61'. Did you mean 'fp16'?"),
    ("[fp32, fp16]", "[]", "precision", "matrix.precision is empty"),
    ("[fp32, fp16]", "", "precision", "matrix.precision is empty"),
    ("batch: [1, 32]", "batch: [1, -32]", "batch", "expected an integer of at least 1, got -32"),
    ("batch: [1, 32]", "batch: [0]", "batch", "expected an integer of at least 1, got 0"),
    ("batch: [1, 32]", "batch: [on]", "batch", "expected an integer of at least 1, got on"),
    ("batch: [1, 32]", "batch: [1, yes]", "batch", "expected an integer of at least 1, got yes"),
    ("batch: [1, 32]", "batch: [1]\n  streams: No", "streams", "expected an integer of at least 1, got No"),
    ("mode: max-autotune", "threads: yes", "- {name", "of inductor: expected an integer, got yes"),
    ("batch: [1, 32]", "batch: [1.5]", "batch", "expected an integer of at least 1, got 1.5"),
    ("batch: [1, 32]", "bacth: [1, 32]", "bacth", "unknown axis 'bacth' in matrix. Did you mean 'batch'?"),
    ("batch: [1, 32]", "model: [resnet, brt]\n  batch: 1", "model:", "unknown model 'brt'. Did you mean 'bert'?"),
    ("batch: [1, 32]", "cuda_graph: maybe\n  batch: 1", "cuda_graph", "expected on or off, got 'maybe'"),
    ("batch: [1, 32]", "l2: cool\n  batch: 1", "l2", "unknown l2 'cool'. Did you mean 'cold'?"),
    ("batch: [1, 32]", "toolchain: old\n  batch: 1", "toolchain", "unknown toolchain 'old'"),
    ("batch: [1, 32]", "dynamic: on\n  batch: 1", "dynamic", "needs a section `dynamic`"),
    ("batch: [1, 32]", "batch: 1\n  batch: 2", "batch: 2", "the key 'batch' is here twice"),
    ("batch: [1, 32]", "batch: [1, 32", "exclude", "not YAML"),
    ("batch: [1, 32]", "batch: !x 1", "batch", "the YAML tag '!x' is not supported"),
    ("batch: [1, 32]", "batch: 99999999999999999999", "batch", "does not fit into 64 bits"),
    ("batch: [1, 32]", "1: 2\n  batch: 1", "1: 2", "a key must be text"),
    ("symbols: {seq: 128}", "symbols: {sqe: 128}", "symbols", "unknown symbol 'sqe'"),
    ("    symbols: {seq: 128}\n", "", "ids:", "the symbol 'seq' in the shape of bert's input 'ids' has no value"),
    ("dtype: int64", "dtype: long", "ids:", "unknown dtype 'long'"),
    ("range: [0, 100]", "range: [100, 0]", "ids:", "a range is [low, high)"),
    ("range: [0, 100]", "range: [0]", "ids:", "a range is [low, high)"),
    ("dtype: int64, range: [0, 100]", "dtype: uint8, range: [0, 257]", "ids:", "within uint8"),
    ("dtype: int64, range", "range", "ids:", "a range is for integers, and the dtype is float32"),
    ("[batch, seq]", "[batch, 0]", "ids:", "expected an integer of at least 1, got 0"),
    ("[batch, seq]", "[batch, a-b]", "ids:", "expected something like batch"),
    ("[batch, seq]", "[batch, model]", "ids:", "'model' cannot be a symbol"),
    (RESNET_SHAPE, "inputs: {}", "inputs", "models.resnet.inputs is empty"),
    (RESNET_SHAPE, "inputs: {x: {}}", "inputs", "has no `shape`"),
    ("torchvision:resnet50", "torchvison:resnet50", "factory", "Did you mean 'torchvision'?"),
    ("torchvision:resnet50", "torchvision", "factory", "expected torchvision:NAME"),
    ("torchvision:resnet50", "zoo.py:f g", "factory", "expected something like zoo.py:centernet"),
    ("target_ci: 0.5%", "target_ci: 500%", "measure", "expected a fraction between 0 and 1"),
    ("target_ci: 0.5%", "target: 0.5%", "measure", "Did you mean 'target_ci'?"),
    ("max_time: 15s", "max_time: 15", "measure", "expected a time with a unit, e.g. 15s, got 15\n  fix: write 15s"),
    ("max_time: 15s", "max_time: 0s", "measure", "expected a time longer than 0"),
    ("max_time: 15s", "max_time: 1e400s", "measure", "expected a time with a unit"),
    ("max_time: 15s", "energy: 1s", "measure", "energy: expected 0s, or 5s or more, got '1s'\n  fix: energy: 5s"),
    ("max_time: 15s", "replicates: 0", "measure", "expected an integer of at least 1, got 0"),
    ("max_time: 15s", "min_samples: 9, max_samples: 8", "measure", "min_samples 9 is more than max_samples 8"),
    ("max_time: 15s", "boundaries: [gpus]", "measure", "unknown boundary 'gpus'. Did you mean 'gpu'?"),
    ("{backend: eager, batch: 32}", "{}", "- {}", "matrix.exclude.0 is empty"),
    ("{backend: eager, batch: 32}", "{bakend: eager}", "- {bak", "Did you mean 'backend'?"),
    ("{backend: eager, batch: 32}", "eager", "- eager", "expected a mapping"),
    ("schema: 1", "schema: 2", "schema", "a newer trtbench: git pull"),
    ("schema: 1", "schema: 0", "schema", "expected an integer of at least 1"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "start", "message"), BAD, ids=[f"{new.strip()}" for _, new, _, _ in BAD])
def test_what_is_wrong_is_told_with_its_line(tmp_path: Path, old: str, new: str, start: str, message: str) -> None:
    text = changed(old, new)
    error = wrong(tmp_path, text)
    numbers = [number for number, line in enumerate(text.splitlines(), 1) if line.strip().startswith(start)]
    assert message in str(error)
    assert error.where in [f"{tmp_path}/x.yaml:{number}" for number in numbers]


@pytest.mark.parametrize(
    ("old", "new", "fix"),
    [
        ("batch: [1, 32]", "batch: [1, 0]", "e.g. batch: [1, 8]"),
        ("batch: [1, 32]", "batch: 0", "e.g. batch: 1"),
        ("batch: [1, 32]", 'batch: "8"', "write 8 without quotes"),
        ("batch: [1, 32]", "batch: [x]", "e.g. batch: [1, 8]"),
        ("batch: [1, 32]", "batch: [1, 32", "close each [ { and quote"),
        ("batch: [1, 32]", "batch:\t[1, 32]\n\tstreams: 1", "YAML takes no tabs"),
        ("{backend: eager, batch: 32}", "{}", "name at least one axis, e.g. {backend: eager, batch: 32}"),
        ("  resnet:\n", "  résnet:\n", "use letters (a-z, A-Z), digits and . _ + -, with a letter, digit or _ first"),
        ("    args: {weights: null}", "    config: {weights: null}", "what the factory takes stands under `args`"),
    ],
)
def test_what_is_wrong_is_told_with_what_to_write(tmp_path: Path, old: str, new: str, fix: str) -> None:
    assert fix in wrong(tmp_path, changed(old, new)).fix


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        ("dynamic: {bath: {min: 1, opt: 8, max: 32}}", "no input has the symbol 'bath'. Did you mean 'batch'?"),
        ("dynamic: {seq: {min: 9, opt: 8, max: 32}}", "min <= opt <= max does not hold: 9, 8, 32"),
        ("dynamic: {seq: {min: 1, opt: 8, max: 32, at: [64]}}", "expected a point within 1 to 32, got 64"),
        ("dynamic: {seq: {min: 1, opt: 8}}", "has no `max`"),
        ("accuracy: {fp17: {cosine: 1}}", "unknown precision 'fp17'"),
        ("accuracy: {fp16: {quantized_cosine: 0.9}}", "unknown limit 'quantized_cosine'"),
        ("accuracy: {fp16: {cosine: 2}}", "expected a number of -1 to 1, got 2"),
        ("accuracy: {fp16: {rel_l2: .nan}}", ".nan cannot be stored"),
        ("device: gpu", "unknown device 'gpu'"),
        ("baseline: eagr", "unknown baseline 'eagr'. Did you mean 'eager'?"),
        ("toolchains: {default: {}}", "'default' is the running interpreter"),
        ("toolchains: {a: {env: {B: [1]}}}", "expected text, got a list"),
        ("toolchains: {a b: {}}", "'a b' cannot be a name"),
        ("accuracy:", "accuracy: expected a mapping (`key: value`), got nothing"),
    ],
)
def test_wrong_sections_are_told_with_their_line(tmp_path: Path, extra: str, message: str) -> None:
    error = wrong(tmp_path, f"{TEXT}{extra}\n")
    assert message in str(error)
    assert error.where == f"{tmp_path}/x.yaml:{len(TEXT.splitlines()) + 1}"


def test_of_a_newer_schema_nothing_else_is_told(tmp_path: Path) -> None:
    for text in ("schema: 99\n", "schema: 99\nnmae: x\nmatrix: 3\n"):
        (tmp_path / "suite.yaml").write_text(text)
        with pytest.raises(SuiteError, match="written in schema 99; this trtbench reads up to schema 1") as caught:
            reader.load(tmp_path / "suite.yaml", REGISTRY)
        assert caught.value.where == f"{tmp_path / 'suite.yaml'}:1"

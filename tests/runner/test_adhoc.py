"""Suites made from model objects: what they say of the inputs, and that one object is one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import bench  # noqa: E402 - needs torch
from bench.errors import UsageError  # noqa: E402
from bench.model.suite import Suite  # noqa: E402
from bench.runner import adhoc  # noqa: E402
from tests.runtimes.torch import modules  # noqa: E402

pytestmark = pytest.mark.workers


def suite_of(cache: Path, model: object, inputs: object, **options: object) -> Suite:
    usual = {"backends": ["eager"], "precisions": ["fp32"], "name": "", "measure": {"replicates": 1}}
    return adhoc.write_suite(cache, model, inputs, **(usual | options))  # type: ignore[arg-type]


def test_inputs_are_described_by_shape_dtype_and_range(tmp_path: Path) -> None:
    inputs = {"x": torch.randn(4, 8), "ids": torch.tensor([[3], [5], [9], [4]]), "mask": np.ones((4, 2), np.bool_)}
    suite = suite_of(tmp_path, modules.doubled, inputs)
    specs = suite.models["doubled"].inputs
    assert {name: (spec.shape, spec.dtype, spec.range) for name, spec in specs.items()} == {
        "x": (("batch", 8), "float32", None),
        "ids": (("batch", 1), "int64", (3, 10)),
        "mask": (("batch", 2), "bool", None),
    }
    assert suite.matrix["batch"] == (4,)


def test_inputs_of_different_first_dimensions_have_no_batch(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, modules.scaled, [torch.randn(4, 8), torch.tensor(2.0)])
    assert [spec.shape for spec in suite.models["scaled"].inputs.values()] == [(4, 8), ()]
    assert "batch" not in suite.matrix


def test_the_same_object_is_the_same_folder_and_other_weights_are_another(tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = modules.Plain()
    first = suite_of(tmp_path, model, torch.randn(4, 8)).path
    assert suite_of(tmp_path, model, torch.randn(4, 8)).path == first
    with torch.no_grad():
        model.linear.bias += 1
    assert suite_of(tmp_path, model, torch.randn(4, 8)).path != first
    assert sorted(path.name for path in Path(first).parent.iterdir()) == [
        "model.json", "model.py", "model.safetensors", "suite.yaml",
    ]  # fmt: skip
    assert [path for path in (tmp_path / "models").iterdir() if path.name.startswith("trtbench-")] == []


def test_a_factory_is_named_as_in_a_suite(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("net.py").write_text("import torch\ndef make(): return torch.nn.Linear(8, 2)\n")
    suite = suite_of(tmp_path / "cache", "net.py:make", {"input": torch.randn(4, 8)}, name="Mine 2")
    assert suite.models["mine_2"].factory == "net.py:make"
    with pytest.raises(UsageError, match="inputs of a factory need names"):
        suite_of(tmp_path / "cache", "net.py:make", torch.randn(4, 8))
    with pytest.raises(UsageError, match=r"'other.py' is not there"):
        suite_of(tmp_path / "cache", "other.py:make", {"x": torch.randn(4, 8)})


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([torch.zeros(1)] * 2, "2 inputs for 1 parameters"),
        ({"x": "text"}, "'x' is a str"),
    ],
)
def test_inputs_that_fit_no_model_are_refused(inputs: object, message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        suite_of(tmp_path, modules.Plain(), inputs)


def test_a_cache_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(UsageError, match="the artifact cache cannot be written"):
        suite_of(tmp_path / "file", modules.Plain(), torch.randn(4, 8))


def test_a_module_is_benchmarked_with_its_own_weights(tmp_path: Path) -> None:
    torch.manual_seed(1)
    run = bench.benchmark(
        modules.Plain(),
        torch.randn(4, 8),
        backends=["eager", {"name": "eager", "memory_format": "contiguous"}],
        cache=tmp_path / "cache",
        store=tmp_path / "results",
        quick=True,
    )
    (record,) = run.records
    assert record.failure is None
    assert record.accuracy is not None
    assert record.accuracy.ok
    assert record.label == "plain/eager/fp32/batch=4"
    assert str(tmp_path) not in Path(run.path).read_text().replace(run.header.suite_path, "")

"""Suites made from model objects: what they say of the inputs, and that one object is one folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import bench  # noqa: E402 - needs torch
from bench.backends import base  # noqa: E402
from bench.errors import UsageError  # noqa: E402
from bench.model.suite import Suite  # noqa: E402
from bench.runner import adhoc, sources  # noqa: E402
from bench.suite import plan  # noqa: E402
from tests.runtimes.torch import modules, saved_zoo  # noqa: E402

pytestmark = pytest.mark.workers


def suite_of(cache: Path, model: object, inputs: object, **options: object) -> Suite:
    return adhoc.draft(model, inputs, **({"backends": ["eager"]} | options)).write(cache)  # type: ignore[arg-type]


class Nothing(Exception):
    """Nothing is wrong with the arguments."""


def refuse(model: object, inputs: object, **options: object) -> None:
    """What ``benchmark`` checks before it writes anything."""

    def use(suite: Suite) -> None:
        raise Nothing

    adhoc.draft(model, inputs, **({"backends": ["eager"]} | options)).check(use)  # type: ignore[arg-type]


def test_inputs_are_described_by_shape_dtype_and_range(tmp_path: Path) -> None:
    inputs = {"x": torch.randn(4, 8), "ids": torch.tensor([[3], [5], [9], [4]]), "mask": np.ones((4, 2), np.bool_)}
    suite = suite_of(tmp_path, saved_zoo.masked, inputs)
    specs = suite.models["masked"].inputs
    assert {name: (spec.shape, spec.dtype, spec.range) for name, spec in specs.items()} == {
        "x": (("batch", 8), "float32", None),
        "ids": (("batch", 1), "int64", (3, 10)),
        "mask": (("batch", 2), "bool", None),
    }
    assert suite.matrix["batch"] == (4,)


def test_a_program_is_named_where_it_lies_with_its_weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    onnx = pytest.importorskip("onnx")
    monkeypatch.chdir(tmp_path)
    weights = onnx.numpy_helper.from_array(np.ones((3, 2), np.float32), "w")
    x, y = (onnx.helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 3), ("y", 2)))
    graph = onnx.helper.make_graph([onnx.helper.make_node("MatMul", ["x", "w"], ["y"])], "g", [x], [y], [weights])
    model = onnx.helper.make_model(graph)
    onnx.save_model(model, "net.onnx", save_as_external_data=True, location="w.bin", size_threshold=0)
    suite = suite_of(tmp_path / "cache", "net.onnx", {"x": torch.randn(4, 3)}, backends=["onnxruntime"])
    (factory,) = [spec.factory for spec in suite.models.values()]
    assert factory == str(tmp_path / "net.onnx")
    (case,) = plan.plan(suite, base.registry(), device="cpu").cases
    assert {Path(name).name for name in sources.of_model(case, Path(suite.path).parent)} == {"net.onnx", "w.bin"}
    imported = suite_of(tmp_path / "cache", "torch.nn:Identity", {"input": torch.randn(4, 3)})
    assert [spec.factory for spec in imported.models.values()] == ["torch.nn:Identity"]


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


def test_a_factory_is_named_by_its_file_wherever_that_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "zoo" / "net.py"
    file.parent.mkdir()
    file.write_text("import torch\ndef make(): return torch.nn.Linear(8, 2)\n")
    for name in ("zoo/net.py:make", f"{file}:make"):
        suite = suite_of(tmp_path / "cache", name, {"input": torch.randn(4, 8)}, name="Mine 2")
        assert suite.models["mine_2"].factory == f"{file}:make"
    assert sorted(path.name for path in Path(suite.path).parent.iterdir()) == ["suite.yaml"]
    with pytest.raises(UsageError, match="inputs of a factory need names"):
        suite_of(tmp_path / "cache", f"{file}:make", torch.randn(4, 8))
    with pytest.raises(UsageError, match=r"'other.py' is not there"):
        suite_of(tmp_path / "cache", "other.py:make", {"x": torch.randn(4, 8)})
    with pytest.raises(UsageError, match="names no function"):
        suite_of(tmp_path / "cache", str(file), {"x": torch.randn(4, 8)})


X = torch.zeros(4, 8)
IMAGE = torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last)


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([torch.zeros(1)] * 2, "2 inputs for 1 parameters"),
        ({"x": "text"}, "'x' is a str"),
        ({"x": None}, "'x' is a NoneType"),
        ([[1.0, 2.0], [3.0]], "2 inputs for 1 parameters"),
        ({"x": [[1.0, 2.0], [3.0]]}, "'x' is a list"),
        (2.0, "'x' is a float"),
        (torch.zeros(4, dtype=torch.uint16), "'x' is uint16"),
        (np.zeros(4, np.uint32), "'x' is uint32"),
        (np.array(["a"]), "'x' is <U1"),
        (torch.zeros(4, dtype=torch.complex64), "'x' is complex64"),
        (torch.zeros(4).to(torch.float8_e4m3fn), "'x' is float8_e4m3fn"),
        (torch.zeros(4, 8, device="meta"), "'x' is a meta tensor"),
        (torch.zeros(4, dtype=torch.int64, device="meta"), "'x' is a meta tensor"),
        (torch.eye(4).to_sparse(), "'x' is a sparse_coo tensor"),
        (torch.zeros(0, 8), "'x' has no elements"),
        (torch.tensor([2**63 - 1]), "'x' has 9223372036854775807, the largest integer"),
        (torch.zeros(8, 4).t(), "'x' is not contiguous"),
        (torch.zeros(1, 8).expand(4, 8), "'x' is not contiguous"),
        (np.zeros((8, 4)).T, "'x' is not contiguous"),
        (IMAGE, "'x' is channels_last, and eager would get it contiguous"),
    ],
)
def test_inputs_that_fit_no_model_are_refused(inputs: object, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        refuse(modules.Plain(), inputs)


@pytest.mark.parametrize("backends", [{"name": "eager", "memory_format": "channels_last"}, "onnxruntime"])
def test_channels_last_is_an_option_of_the_backends_that_have_it(backends: object) -> None:
    with pytest.raises(Nothing):
        refuse(modules.Plain(), IMAGE, backends=backends)


@pytest.mark.parametrize(
    ("options", "where", "message"),
    [
        ({"backends": [3]}, "backends", "backends[0] is 3, a int, and must be a name or a mapping"),
        ({"backends": None}, "backends", "backends is a NoneType"),
        ({"backends": []}, "backends", "backends is empty"),
        ({"backends": ["eagre"]}, "backends", "unknown backend 'eagre'. Did you mean 'eager'?"),
        ({"backends": ["eager", {"name": "eager", "mode": 1}]}, "backends", "mode"),
        ({"backends": {"name": "eager", "autocast": torch.float16}}, "backends", "['autocast'] is torch.float16"),
        ({"backends": {"memory_format": "channels_last"}}, "backends", "name"),
        ({"precision": "fp33"}, "precision", "unknown precision 'fp33'"),
        ({"precision": ["fp32", torch.float16]}, "precision", "torch.float16 is a dtype"),
        ({"precision": []}, "precision", "precision is empty"),
        ({"measure": 3}, "measure", "measure is 3, a int, and must be a mapping"),
        ({"measure": {"replicates": 0}}, "measure", "measure.replicates: expected an integer"),
        ({"measure": {"replicate": 2}}, "measure", "unknown key 'replicate' in measure"),
        ({"measure": {"replicates": np.int64(3)}}, "measure", "measure['replicates'] is"),
        ({"measure": {1: 2}}, "", "the key 1 of measure"),
        ({"name": 3}, "", "name is a int"),
    ],
)
def test_an_error_names_the_argument(options: dict[str, object], where: str, message: str) -> None:
    with pytest.raises(UsageError) as caught:
        refuse(modules.Plain(), X, **options)
    assert caught.value.where == where
    assert message in caught.value.what
    assert "matrix" not in str(caught.value)
    assert ".yaml" not in str(caught.value)


def test_an_unknown_factory_is_an_error_of_the_model() -> None:
    with pytest.raises(UsageError, match="unknown factory 'abc'") as caught:
        refuse("abc", {"x": X})
    assert caught.value.where == "model"


def test_one_backend_is_a_list_of_one_and_the_precision_is_that_of_the_weights(tmp_path: Path) -> None:
    suite = suite_of(tmp_path, modules.Plain().half(), X.half(), backends="eager")
    assert suite.matrix["precision"] == ("fp16",)
    assert [entry["name"] for entry in suite.matrix["backend"]] == ["eager"]
    suite = suite_of(tmp_path, modules.Plain().half(), X, precision="bf16", backends={"name": "eager"})
    assert suite.matrix["precision"] == ("bf16",)
    for measure, replicates in ((None, 1), ({}, 1), ({"replicates": 2}, 2)):
        assert suite_of(tmp_path, modules.Plain(), X, measure=measure).measure.replicates == replicates


def test_a_cache_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    tmp_path.joinpath("file").write_text("")
    with pytest.raises(UsageError, match="the artifact cache cannot be written"):
        suite_of(tmp_path / "file", modules.Plain(), torch.randn(4, 8))


@pytest.mark.parametrize(
    ("model", "inputs", "options", "message"),
    [
        (modules.Plain(), X, {"foo": 1}, "benchmark has no argument 'foo'"),
        (modules.Plain(), X, {"backend_": "fake"}, r"no argument 'backend_'. Did you mean 'backend"),
        (modules.Plain(), X, {"device": "gpu0"}, "device: unknown device 'gpu0'"),
        (modules.Plain(), X, {"select": "model=other"}, "unknown model 'other'"),
        (modules.Plain(), X, {"backends": ["nope"]}, "unknown backend 'nope'"),
        (modules.Plain(), X, {"backends": 3}, "backends is a int"),
        (modules.Plain(), "text", {}, "'x' is a str"),
        (modules.Plain, X, {}, "is the class Plain"),
        (modules.Plain(), X, {"baseline": "tensorrt"}, "no case has the backend 'tensorrt'"),
    ],
)
def test_bad_input_writes_nothing(
    model: object, inputs: object, options: dict[str, object], message: str, tmp_path: Path
) -> None:
    with pytest.raises(bench.errors.InputError, match=message):
        bench.benchmark(model, inputs, cache=tmp_path / "cache", store=tmp_path / "results", **options)
    assert list(tmp_path.iterdir()) == []


def test_a_module_that_is_another_in_a_worker_is_an_error_of_the_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(modules.Settings, "scale_of_all", 2.0, raising=False)
    with pytest.raises(UsageError, match=r"Settings\.scale_of_all is not what a new process imports") as caught:
        bench.benchmark(modules.Odd(), X, backends="eager", cache=tmp_path / "cache", store=tmp_path / "results")
    assert caught.value.where == "model"
    assert not (tmp_path / "results").exists()


@pytest.mark.long  # four processes import torch
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

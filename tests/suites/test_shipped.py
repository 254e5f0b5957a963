from __future__ import annotations

import inspect
import re
import sys
import types
from pathlib import Path
from typing import Any

import pytest
import yaml

from bench.backends import base
from bench.model.suite import Plan, Suite
from bench.suite import plan, reader
from tests.modules import module_of
from tests.suite.kit import shipped_schema

FOLDER = Path(__file__).parents[2] / "suites"
SHIPPED = [
    "axes", "centernet", "clock", "compile_modes", "deformable", "deploy", "explain", "fp8_transformers",
    "fx2trt_resnet18", "int8_centernet", "int8_cpu", "int8_resnet50", "native_resnet50", "network_accuracy",
    "network_programs", "overlap", "smoke", "tensorrt_rtx", "transformers", "vision",
]  # fmt: skip
# Of suites about one runtime alone.
BASELINES = {
    "network_accuracy": "",
    "network_programs": "tensorrt",
    "int8_centernet": "fx2trt/fp16",
    "int8_resnet50": "fx2trt/fp16",
}
each = pytest.mark.parametrize("name", SHIPPED)


def read(name: str) -> Suite:
    return reader.load(FOLDER / f"{name}.yaml", base.registry())


def planned(name: str, **more: str) -> Plan:
    loaded = read(name)
    device = "cpu" if loaded.device == "cpu" else "cuda:0"
    return plan.plan(loaded, base.registry(), device=device, **more)


def zoo(file: str = "zoo.py") -> Any:
    return module_of(FOLDER / file)


def test_every_shipped_suite_is_tested_here() -> None:
    assert sorted(path.stem for path in FOLDER.glob("*.yaml")) == SHIPPED


@each
def test_a_shipped_suite_is_rehearsed_in_the_running_interpreter(name: str) -> None:
    found = planned(name, backend_override="fake")
    assert {(case.backend, case.toolchain) for case in found.cases} == {("fake", "default")}
    assert {case.model for case in found.cases} == set(read(name).models)


@each
def test_a_shipped_suite_plans_every_backend_and_model_it_names(name: str) -> None:
    loaded, found = read(name), planned(name)
    assert loaded.name == name
    assert {case.model for case in found.cases} == set(loaded.models)
    entries = [entry for axes in (loaded.matrix, *loaded.include) for entry in axes.get("backend", ())]
    assert {case.backend for case in found.cases} == {entry["name"] for entry in entries}
    assert loaded.baseline == BASELINES.get(name, "eager")


@each
def test_a_shipped_suite_fits_the_schema_that_editors_use(name: str) -> None:
    data = yaml.safe_load((FOLDER / f"{name}.yaml").read_text())
    shipped_schema().validate(data)


@each
def test_a_shipped_suite_can_be_rehearsed(name: str) -> None:
    assert {case.backend for case in planned(name, backend_override="fake").cases} == {"fake"}


@each
def test_a_file_factory_of_a_shipped_suite_is_in_the_zoo(name: str) -> None:
    for model in read(name).models.values():
        file, _, function = model.factory.partition(":")
        assert file in ("torchvision", "timm", "transformers") or callable(getattr(zoo(file), function))


def test_the_reference_names_every_key_of_the_format() -> None:
    def keys(schema: Any) -> set[str]:
        if isinstance(schema, list):
            return {key for item in schema for key in keys(item)}
        if not isinstance(schema, dict):
            return set()
        own = schema.get("properties", {})
        return {*own, *(key for value in schema.values() for key in keys(value)), *keys(list(own.values()))}

    page = (FOLDER.parent / "docs" / "suites.md").read_text()
    found = keys(reader.json_schema())
    assert {"schema", "at", "range", "exclude", "sqnr", "warmup_limit"} <= found
    assert {key for key in found if not re.search(rf"\b{key}\b", page)} == set()


def test_smoke_is_eight_cases_on_the_cpu() -> None:
    assert [case.label for case in planned("smoke").cases] == [
        "bert/eager/fp32/batch=1/seq=64",
        "bert/inductor/fp32/batch=1/seq=64",
        "bert/torchscript/fp32/batch=1/seq=64",
        "bert/aoti/fp32/batch=1/seq=64",
        "bert/onnxruntime/fp32/batch=1/seq=64",
        "resnet18/eager/fp32/batch=1",
        "resnet18/inductor/fp32/batch=1",
        "resnet18/onnxruntime/fp32/batch=1",
    ]
    assert read("smoke").measure.replicates == 1


def test_vision_is_the_whole_product() -> None:
    found = planned("vision")
    assert len(found.cases) + len(found.left_out) == 4 * 2 * 2 * 6


def test_compile_modes_has_eager_and_each_mode_of_torch_compile() -> None:
    found = planned("compile_modes", select="model=dla34 and precision=fp16").cases
    modes = [case.options.get("mode", "default") for case in found if case.backend == "inductor"]
    assert modes == ["default", "reduce-overhead", "max-autotune", "max-autotune-no-cudagraphs"]


@pytest.mark.torch
@pytest.mark.parametrize("name", ["smoke", "transformers", "fp8_transformers"])
def test_the_transformers_models_take_their_configuration_and_their_inputs(name: str) -> None:
    torch, transformers = pytest.importorskip("torch"), pytest.importorskip("transformers")
    for model in read(name).models.values():
        arguments = dict(model.config)
        config = getattr(transformers, arguments.pop("transformers"))(**arguments)
        assert set(arguments) <= set(config.to_dict())
        with torch.device("meta"):
            built = getattr(transformers, model.factory.partition(":")[2])(config)
        assert set(model.inputs) <= set(inspect.signature(built.forward).parameters)
        assert all(spec.range == (0, config.vocab_size) for spec in model.inputs.values() if spec.dtype == "int64")


@pytest.mark.parametrize("model", ["centernet", "resnet50_with_tap", "vit_b_16"])
def test_the_zoo_says_how_to_install_what_it_needs(monkeypatch: pytest.MonkeyPatch, model: str) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(ModuleNotFoundError, match=f"{model} needs .* pip install torchvision") as caught:
        getattr(zoo(), model)()
    assert caught.value.name == "torchvision"


def test_a_deformable_detector_says_how_to_install_what_its_operator_needs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torchvision", None)
    monkeypatch.setitem(sys.modules, "torch", types.ModuleType("torch"))
    with pytest.raises(ModuleNotFoundError, match=r"operator: torchvision needs .* pip install torchvision"):
        zoo().centernet_dla34(deformable=True, operator="torchvision")
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(ModuleNotFoundError, match=r"efficientnet_b0 needs torch, .* pip install torch"):
        zoo().efficientnet_b0()


@pytest.mark.torch
def test_centernet_has_three_heads_at_a_quarter_of_the_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a stand-in for torchvision's ResNet-50: one convolution of its stride and width, then what is cut off."""
    torch = pytest.importorskip("torch")

    def resnet50(weights: str | None) -> Any:
        assert weights is None
        layers = torch.nn.Conv2d(3, 2048, 1, stride=32), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Linear(2048, 1000)
        return torch.nn.Sequential(*layers)

    stand_in: Any = types.ModuleType("torchvision")
    stand_in.models = types.SimpleNamespace(resnet50=resnet50)
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    with torch.device("meta"):
        maps = zoo().centernet(classes=5).eval()(torch.ones(2, 3, 128, 64))
    assert {name: tuple(value.shape) for name, value in maps.items()} == {
        "hm": (2, 5, 32, 16),
        "wh": (2, 2, 32, 16),
        "reg": (2, 2, 32, 16),
    }


@pytest.mark.torch
@pytest.mark.parametrize("weights", [None, "IMAGENET1K_V1"])
def test_the_vit_has_a_last_layer_that_is_not_zero_and_keeps_that_of_a_checkpoint(
    monkeypatch: pytest.MonkeyPatch, weights: str | None
) -> None:
    """With a stand-in for torchvision's ViT-B/16, which leaves zeros there."""
    torch = pytest.importorskip("torch")

    def vit_b_16(weights: str | None) -> Any:
        model = torch.nn.Module()
        model.heads = torch.nn.Module()
        model.heads.head = torch.nn.Linear(768, 1000)
        torch.nn.init.zeros_(model.heads.head.weight)
        return model

    stand_in: Any = types.ModuleType("torchvision")
    stand_in.models = types.SimpleNamespace(vit_b_16=vit_b_16)
    monkeypatch.setitem(sys.modules, "torchvision", stand_in)
    weight = zoo().vit_b_16(weights=weights).heads.head.weight
    assert weight.std().item() == pytest.approx(0.0 if weights else 0.02, rel=0.01)


@pytest.mark.torch
def test_a_tap_is_a_second_output_and_changes_nothing_else() -> None:
    torch = pytest.importorskip("torch")
    torchvision = pytest.importorskip("torchvision")
    x = torch.randn(1, 3, 32, 32)
    torch.manual_seed(0)
    tapped = zoo().resnet50_with_tap(tap="layer1.1").eval()
    plain = torchvision.models.resnet50().eval()
    plain.load_state_dict(tapped.state_dict())
    found = tapped(x)
    assert list(found) == ["output", "tap"]
    assert torch.equal(found["output"], plain(x))
    assert found["tap"].shape == (1, 256, 8, 8)
    with pytest.raises(ValueError, match="'layer9' is no bottleneck"):
        zoo().resnet50_with_tap(tap="layer9")

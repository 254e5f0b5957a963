"""Whole models of transformers, with random weights: lowered, computed by the interpreter and built by TensorRT-RTX."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
transformers = pytest.importorskip("transformers")

from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import run  # noqa: E402
from tests.lowering.test_rtx_builds import build  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
HAS_RTX = importlib.util.find_spec("tensorrt_rtx") is not None


def ids(words: int, rows: int = 2) -> dict[str, torch.Tensor]:
    return {"input_ids": torch.randint(0, words, (rows, 16))}


def images(size: int = 224) -> dict[str, torch.Tensor]:
    return {"pixel_values": torch.randn(1, 3, size, size)}


def _of(kind: str, config: str, **settings: Any) -> Any:
    return getattr(transformers, kind)(getattr(transformers, config)(**settings))


# As many layers as say something: each further one is the same again.
MODELS: dict[str, Callable[[], tuple[Any, dict[str, torch.Tensor]]]] = {
    "resnet18": lambda: (
        _of("ResNetForImageClassification", "ResNetConfig", hidden_sizes=[64, 128, 256, 512], depths=[2, 2, 2, 2],
            layer_type="basic"),
        images(64),
    ),
    "resnet50": lambda: (_of("ResNetForImageClassification", "ResNetConfig"), images(64)),
    "vit": lambda: (_of("ViTForImageClassification", "ViTConfig", num_hidden_layers=2), images()),
    "convnext": lambda: (_of("ConvNextForImageClassification", "ConvNextConfig", depths=[1, 1, 2, 1]), images(64)),
    "bert": lambda: (_of("BertModel", "BertConfig", num_hidden_layers=2, vocab_size=1000), ids(1000)),
    "gpt2": lambda: (_of("GPT2LMHeadModel", "GPT2Config", n_layer=2, vocab_size=1000, use_cache=False), ids(1000)),
    "llama": lambda: (
        _of("LlamaForCausalLM", "LlamaConfig", num_hidden_layers=2, hidden_size=256, intermediate_size=512,
            num_attention_heads=8, num_key_value_heads=4, vocab_size=1000, use_cache=False),
        ids(1000),
    ),
}  # fmt: skip


# At their full depth and size; the others above have theirs, and the networks of suites/zoo.py in test_convnets.
WHOLE: dict[str, Callable[[], tuple[Any, dict[str, torch.Tensor]]]] = {
    "vit": lambda: (_of("ViTForImageClassification", "ViTConfig"), images()),
    "convnext": lambda: (_of("ConvNextForImageClassification", "ConvNextConfig"), images(64)),
    "bert": lambda: (_of("BertModel", "BertConfig"), ids(30522)),
    "gpt2": lambda: (_of("GPT2LMHeadModel", "GPT2Config", use_cache=False), ids(50257, rows=1)),
}


@pytest.mark.parametrize("name", MODELS)
def test_a_model_is_lowered_computes_the_same_and_builds(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = MODELS[name]()
    program = kit.program(model, inputs)
    expected = _outputs(model, inputs)
    results = run(program, list(inputs.values()), "8.6.1", names=list(inputs))
    assert _least_cosine(results, expected) >= 0.99999
    if HAS_RTX:
        assert build(program, tmp_path)


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_model_computes_the_same_in_half_precision_and_builds(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model, inputs = WHOLE[name]()
    expected = _outputs(model, inputs)
    half = {key: value.half() if value.is_floating_point() else value for key, value in inputs.items()}
    program = kit.program(model.half(), half, precision="fp16")
    results = run(program, list(half.values()), names=list(half))
    assert _least_cosine(results, expected) >= 0.999
    if HAS_RTX:
        assert build(program, tmp_path)


def _outputs(model: Any, inputs: Any) -> list[torch.Tensor]:
    with torch.no_grad():
        return list(model.eval()(**inputs).to_tuple())


def _least_cosine(results: list[torch.Tensor], expected: list[torch.Tensor]) -> float:
    pairs = zip(results, expected, strict=True)
    return min(
        float(torch.nn.functional.cosine_similarity(result.double().flatten(), value.double().flatten(), dim=0))
        for result, value in pairs
    )

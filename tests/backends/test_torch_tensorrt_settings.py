"""What reaches the compiler of torch_tensorrt: precision and options, in the words of its version."""

from __future__ import annotations

from typing import Any

import pytest

from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
from tests.backends.torch_tensorrt_kit import of, old  # noqa: E402
from tests.runtimes.torchtrt import standin  # noqa: E402 - needs torch

pytestmark = pytest.mark.torch


@pytest.mark.parametrize(
    ("flavour", "precision", "typing"),
    [
        ("2.2", "fp32", {"enabled_precisions": {torch.float32}}),
        ("2.2", "fp16", {"enabled_precisions": {torch.float16}}),
        ("2.11", "bf16", {"use_explicit_typing": True}),
        ("2.14", "bf16", {}),
    ],
)
@pytest.mark.parametrize("ir", ["dynamo", "torch_compile"])
def test_the_precision_is_said_in_the_words_of_the_version(
    monkeypatch: pytest.MonkeyPatch, own: Bench, ir: str, flavour: str, precision: str, typing: dict[str, Any]
) -> None:
    found = standin.StandIn(monkeypatch, flavour).install()
    with own.prepared(of(own, ir, precision=precision)) as prepared:
        strong = prepared.fairness()["strongly_typed"]
    words = {"enabled_precisions", "use_explicit_typing"}
    assert {key: value for key, value in found.asked[0].items() if key in words} == typing
    assert strong is (flavour == "2.11")


@pytest.mark.parametrize(
    ("ir", "precision", "off"),
    [("dynamo", "fp32", True), ("dynamo", "tf32", None), ("dynamo", "fp16", True), ("ts", "tf32", None),
     ("ts", "fp32", True), ("torch_compile", "tf32", None), ("torch_compile", "fp32", True)],
)  # fmt: skip
def test_tf32_is_on_only_where_the_precision_says_so(
    made: standin.StandIn, own: Bench, ir: str, precision: str, off: bool | None
) -> None:
    own.run(of(own, ir, precision=precision))
    assert made.asked[0].get("disable_tf32") is off


@pytest.mark.parametrize(("precision", "name", "tf32"), [("fp32", "fp32", False), ("tf32", "fp32", True)])
def test_fx_calls_tf32_and_fp32_by_one_name_and_the_builder_is_told_which(
    monkeypatch: pytest.MonkeyPatch, own: Bench, precision: str, name: str, tf32: bool
) -> None:
    found = old(monkeypatch)
    own.run(of(own, "fx", precision=precision))
    assert found.asked[0]["lower_precision"] == name
    assert found.tf32 == [tf32]


def test_options_reach_the_compiler_in_bytes_and_by_the_names_of_the_version(
    monkeypatch: pytest.MonkeyPatch, own: Bench
) -> None:
    found = standin.StandIn(monkeypatch, "2.2").install()
    options = {"workspace": "2 GiB", "optimization_level": 5, "min_block_size": 1, "truncate_double": True}
    own.run(of(own, "dynamo", options=options))
    wanted = {"workspace_size": 2 << 30, "optimization_level": 5, "min_block_size": 1}
    assert wanted.items() <= found.asked[0].items()
    assert found.asked[0]["truncate_long_and_double"] is True

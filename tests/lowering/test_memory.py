"""Lowering copies weights no more often than it must."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.lowering import whole_bert

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = [pytest.mark.torch, pytest.mark.long, pytest.mark.workers]


def test_bert_base_is_lowered_in_three_times_its_weights(tmp_path: Path) -> None:
    spent = whole_bert.codegen(tmp_path)
    assert spent.weights > 430e6  # 110 million of float32
    assert spent.peak <= 3 * spent.weights  # PyTorch's own libraries included

"""What lowering takes, from the command to the written program: printed, not asserted.

Goal: BERT-base within 20 s on two cores. That three times its weights suffice, tests/lowering/test_memory.py asserts.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.units import format_size
from tests.lowering import whole_bert

pytest.importorskip("torch")
pytest.importorskip("transformers")
pytestmark = pytest.mark.selfbench


def test_bert_base(tmp_path: Path) -> None:
    spent = whole_bert.codegen(tmp_path)
    times = spent.peak / spent.weights
    size = format_size(spent.peak)
    print(
        f"\nBERT-base, export, lowering and writing: {spent.seconds:.1f} s of a core, {size}, {times:.1f} x its weights"
    )

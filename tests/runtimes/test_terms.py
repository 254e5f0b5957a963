"""How many numbers a layer adds up for each value of its result."""

from __future__ import annotations

import pytest

from bench.runtimes.terms import count_terms


@pytest.mark.parametrize(
    ("op", "inputs", "output", "expected"),
    [
        ("relu", [(2, 8)], (2, 8), 1),
        ("add", [(2, 8), (8,)], (2, 8), 1),
        ("batch_norm", [(2, 8, 4, 4), (8,)], (2, 8, 4, 4), 1),
        ("convolution", [(2, 16, 9, 9), (8, 16, 3, 3), (8,)], (2, 8, 7, 7), 16 * 9),
        ("convolution", [(2, 8, 9, 9), (8, 1, 3, 3)], (2, 8, 9, 9), 9),  # in groups
        ("ConvTranspose", [(2, 8, 4, 4), (8, 4, 3, 3)], (2, 16, 9, 9), 18),
        ("linear", [(2, 5, 64), (32, 64), (32,)], (2, 5, 32), 64),
        ("Gemm", [(64, 2), (64, 32), (32,)], (2, 32), 64),  # the first one transposed
        ("addmm", [(2, 32), (2, 64), (64, 32)], (2, 32), 64),
        ("MatMul", [(2, 4, 7, 16), (2, 4, 16, 9)], (2, 4, 7, 9), 16),
        ("matmul", [(64,), (64, 3)], (3,), 64),
        ("scaled_dot_product_attention", [(2, 4, 7, 16), (2, 4, 9, 16), (2, 4, 9, 16)], (2, 4, 7, 16), 25),
        ("softmax", [(2, 5, 10)], (2, 5, 10), 10),
        ("LayerNormalization", [(2, 5, 768), (768,)], (2, 5, 768), 768),
        ("group_norm", [(2, 8, 3, 3), (8,)], (2, 8, 3, 3), 72),
        ("ReduceMean", [(2, 8, 6, 6)], (2, 8, 1, 1), 36),
        ("mean", [()], (), 1),
        ("full", [], (2,), 1),
    ],
)  # fmt: skip
def test_terms_of(op: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], expected: int) -> None:
    assert count_terms(op, inputs, output) == expected

"""How many numbers a layer adds up for each value of its result."""

from __future__ import annotations

import pytest

from bench.runtimes.terms import count_terms, is_product, is_steep


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
        ("softmax", [(64, 5, 10)], (64, 5, 10), 10),  # never of the samples of a batch
        ("cumsum", [(2, 3, 9)], (2, 3, 9), 9),
        ("LayerNormalization", [(2, 3136, 96), (96,)], (2, 3136, 96), 96),
        ("layer_norm", [(2, 5, 7, 8), (7, 8), (7, 8)], (2, 5, 7, 8), 56),
        ("rms_norm", [(2, 50, 8)], (2, 50, 8), 8),
        ("upsample_linear", [(2, 64, 56, 56)], (2, 64, 112, 112), 16),
        ("Resize", [(2, 64, 56)], (2, 64, 112), 4),
        ("upsample_nearest", [(2, 64, 56, 56)], (2, 64, 112, 112), 1),
        ("GridSample", [(2, 64, 56, 56), (2, 9, 9, 2)], (2, 64, 9, 9), 16),
        ("max_pool", [(2, 64, 56, 56)], (2, 64, 56, 56), 1),
        ("ReduceMax", [(2, 64, 56, 56)], (2, 64, 1, 1), 1),
        ("amin", [(2, 64, 56, 56)], (2, 64), 1),
        ("argmax", [(2, 64)], (2,), 1),
        ("group_norm", [(2, 8, 3, 3), (8,)], (2, 8, 3, 3), 72),
        ("ReduceMean", [(2, 8, 6, 6)], (2, 8, 1, 1), 36),
        ("mean", [()], (), 1),
        ("full", [], (2,), 1),
    ],
)  # fmt: skip
def test_terms_of(op: str, inputs: list[tuple[int, ...]], output: tuple[int, ...], expected: int) -> None:
    assert count_terms(op, inputs, output) == expected


def test_products_and_functions_of_exponentials() -> None:
    ops = (
        "linear",
        "Conv",
        "convolution",
        "ConvTranspose",
        "MatMul",
        "scaled_dot_product_attention",
        "upsample_linear",
    )
    assert [is_product(op) for op in ops] == [True] * 6 + [False]
    assert [is_steep(op) for op in ("Softmax", "log_softmax", *ops[5:], "add")] == [True, True, True, False, False]

"""The figures of a kernel in words, and only those that are known."""

from __future__ import annotations

import msgspec

from bench.model.profile import KernelFigures
from bench.report import ncu

FIGURES = KernelFigures(
    name="void gemm<4>(float*)",
    ns=12_345,
    grid=(1056, 2, 1),
    block=(256, 1, 1),
    waves=2.0,
    sm=0.452,
    dram=0.8125,
    occupancy=0.331,
    occupancy_limit=0.375,
    registers=168,
)


def test_the_figures_are_shown_in_words() -> None:
    assert ncu.render([FIGURES]).splitlines()[:-1] == [
        "void gemm<4>(float*)",
        "  duration   12.3 us",
        "  SM         45.2% of its peak",
        "  DRAM       81.2% of its peak",
        "  occupancy  33.1% of 37.5% possible",
        "  registers  168 a thread",
        "  grid       2,112 blocks of 256 threads, 2.00 waves",
    ]


def test_what_is_not_known_is_not_shown() -> None:
    assert ncu.render([KernelFigures(name="gemm")]).splitlines()[:-1] == ["gemm"]
    figures = msgspec.structs.replace(FIGURES, occupancy_limit=None, waves=None)
    lines = ncu.render([figures]).splitlines()
    assert "  occupancy  33.1%" in lines
    assert "  grid       2,112 blocks of 256 threads" in lines


def test_a_name_is_one_line_and_cut_to_the_width() -> None:
    lines = ncu.render([KernelFigures(name="x" * 200), KernelFigures(name="a\x1b[31m")], width=40).splitlines()
    assert lines[:2] == ["x" * 39 + "…", "a\\x1b[31m"]

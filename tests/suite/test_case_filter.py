"""Cases that an expression selects."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.errors import SelectionError
from tests.suite.kit import TEXT, planned


def test_what_is_not_selected_is_neither_a_case_nor_left_out(tmp_path: Path) -> None:
    found = planned(tmp_path, TEXT, select="not backend=eager")
    assert found.left_out == ()
    assert {case.backend for case in found.cases} == {"inductor"}
    assert planned(tmp_path, TEXT, select="  ") == planned(tmp_path, TEXT)


def test_a_selection_that_matches_nothing_lists_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(SelectionError, match="no case matches") as caught:
        planned(tmp_path, TEXT, select="precision=int8 and batch>64 and backend=onnxruntime and cuda_graph=on")
    assert caught.value.fix == (
        "the suite has precision: fp32, fp16; batch: 1, 32; backend: eager, inductor, inductor[mode=max-autotune]; "
        "cuda_graph: off"
    )

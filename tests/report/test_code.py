"""The index of generated code: what it says of each case, and which folders it refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.errors import UsageError
from bench.model.code import Call, CaseCode, Code, CodeFile, CodeIndex
from bench.report import code

MM, ABS = Call(kind="operator", name="extern_kernels.mm"), Call(kind="kernel", name="triton_poi_fused_abs_0")
KEPT = CaseCode(
    case="a" * 64, label="net/inductor/fp32", folder="net-inductor-fp32-aaaaaaaa",
    code=Code(
        files=(CodeFile(path="graph_0/output_code.py", what="the compiled program: Python wrapper", bytes=4096),),
        calls=(MM, ABS, ABS, MM), notes=("compiled once more",),
    ),
)  # fmt: skip
NONE = CaseCode(case="b" * 64, label="net/eager/fp32", why="eager compiles no code")
INDEX = CodeIndex(created="2026-11-29T01:00:00+00:00", version="0.2.0", suite="small", cases=(KEPT, NONE))


def test_the_index_has_every_case_and_the_order_of_calls(tmp_path: Path) -> None:
    (tmp_path / KEPT.folder).mkdir()
    code.write(INDEX, tmp_path)
    assert (tmp_path / KEPT.folder / "calls.txt").read_text().splitlines() == [
        "    1  operator  extern_kernels.mm",
        "    2  kernel    triton_poi_fused_abs_0  x2",
        "    4  operator  extern_kernels.mm",
    ]
    text = (tmp_path / "index.txt").read_text()
    assert "calls.txt: 2 calls of kernels, 2 calls of operators" in text
    assert "graph_0/output_code.py" in text
    assert "no code: eager compiles no code" in text
    document = json.loads((tmp_path / "index.json").read_text())
    assert [case["label"] for case in document["cases"]] == [KEPT.label, NONE.label]
    assert code.summary(INDEX, tmp_path).endswith("index.txt: the code of 1 case of 2")
    code.check(tmp_path)  # of an earlier time


def test_a_folder_of_the_users_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.txt").write_text("")
    with pytest.raises(UsageError, match="has files") as error:
        code.check(tmp_path)
    assert error.value.fix == f"--keep-code {tmp_path / 'code'}"
    with pytest.raises(UsageError, match="is a file"):
        code.check(tmp_path / "mine.txt")
    code.check(tmp_path / "new" / "one")
    assert (tmp_path / "new" / "one").is_dir()

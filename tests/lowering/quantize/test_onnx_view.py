"""Lint of ONNX files with Q/DQ, through the API and at the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench import api
from bench.errors import UsageError
from tests.conftest import Trtbench

pytest.importorskip("onnx")

from tests.lowering.quantize import onnx_kit


def test_a_file_is_linted_by_the_same_rules(tmp_path: Path) -> None:
    result = api.lint_qdq_file(onnx_kit.residual(tmp_path / "net.onnx", mended=False))
    assert [each.rule for each in result.findings] == ["weights", "residual"]
    assert result.findings[0].nodes == ("stem", "stem_wdq")
    assert result.findings[1].nodes == ("block", "block_q", "block_dq", "add")
    assert (result.pairs, result.weighted, result.quantized) == (7, 3, 3)


def test_a_file_whose_pairs_are_in_place_has_no_finding(tmp_path: Path) -> None:
    assert api.lint_qdq_file(onnx_kit.residual(tmp_path / "net.onnx", mended=True)).findings == ()


def test_a_transposed_convolution_its_normalisation_and_a_pool(tmp_path: Path) -> None:
    findings = api.lint_qdq_file(onnx_kit.upsampling(tmp_path / "net.onnx")).findings
    assert [each.rule for each in findings] == ["batch-norm", "pooling"]
    assert "transposed convolution" in findings[0].what
    assert findings[0].nodes == ("up", "bn")
    assert "0.03 before and 0.02 behind" in findings[1].what


def test_an_input_of_a_concatenation_whose_range_nothing_tells(tmp_path: Path) -> None:
    (finding,) = api.lint_qdq_file(onnx_kit.concat(tmp_path / "net.onnx")).findings
    assert (finding.rule, finding.can_mend) == ("concat", False)
    assert finding.nodes == ("right", "cat")


def test_at_the_command_line(trtbench: Trtbench, tmp_path: Path) -> None:
    path = str(onnx_kit.residual(tmp_path / "net.onnx", mended=False))
    assert trtbench("lint-qdq", path) == 0
    counts = "7 Q/DQ pairs, 3 of 3 layers with weights quantized, 2 findings"
    assert counts in " ".join(trtbench.out.split())  # the line breaks where the path is long
    assert "  residual: add\n" in trtbench.out
    assert "change  remove them" in trtbench.out
    assert trtbench("lint-qdq", path, "--fail") == 1
    assert trtbench("lint-qdq", path, "--format", "json") == 0
    document = json.loads(trtbench.out)
    assert document["schema"] == 1
    assert [each["rule"] for each in document["networks"][0]["findings"]] == ["weights", "residual"]


def test_without_a_finding_fail_is_no_failure(trtbench: Trtbench, tmp_path: Path) -> None:
    assert trtbench("lint-qdq", str(onnx_kit.residual(tmp_path / "net.onnx", mended=True)), "--fail") == 0
    assert "0 findings" in " ".join(trtbench.out.split())


@pytest.mark.parametrize("content", [None, b"", b"not a model", b"\x00\xff" * 50])
def test_what_is_no_model_is_refused(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "net.onnx"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=r"net\.onnx (cannot be read|is no ONNX model)"):
        api.lint_qdq_file(path)


def test_options_that_a_file_would_ignore_are_refused(trtbench: Trtbench, tmp_path: Path) -> None:
    path = str(onnx_kit.residual(tmp_path / "net.onnx", mended=True))
    assert trtbench("lint-qdq", path, "--select", "batch=1") == 2
    assert "an ONNX file has no cases" in trtbench.err

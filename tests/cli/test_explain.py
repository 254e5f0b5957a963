"""`trtbench explain` at the command line, on printed layers and on profiles of simulated cases."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

import bench
from bench.model.profile import Layers
from tests.analysis.explain_kit import residual
from tests.conftest import Trtbench

Suite = Callable[..., Path]
ROOT = Path(__file__).parents[2]


@pytest.fixture
def printed(tmp_path: Path) -> Path:
    """What `trtbench layers --format json` prints of an engine, and of one with a fusion broken."""
    cases = [
        {
            "case": f"{number}" * 12,
            "label": label,
            **msgspec.to_builtins(
                Layers(runtime="TensorRT 8.6.1", layers=tuple(residual("l.0", broken=broken)), calls=3)
            ),
        }
        for number, (label, broken) in enumerate(
            [("whole/tensorrt/fp16/batch=1", False), ("tapped/tensorrt/fp16/batch=1", True)]
        )
    ]
    path = tmp_path / "layers.json"
    path.write_text(json.dumps({"schema": 1, "cases": cases}))
    return path


def test_a_lost_fusion_of_two_engines_is_explained(trtbench: Trtbench, printed: Path) -> None:
    assert trtbench("explain", f"{printed}:whole", "tapped", "--across", "model") == 0
    assert "fused on one side only, +55.0 us" in trtbench.out
    assert trtbench.err == ""


def test_other_forms(trtbench: Trtbench, printed: Path) -> None:
    arguments = ("explain", f"{printed}:whole", "tapped", "--across", "model")
    assert trtbench(*arguments, "--format", "json") == 0
    assert json.loads(trtbench.out)["parts"][0]["causes"][0]["kind"] == "fusion"
    assert trtbench(*arguments, "--format", "markdown", "--top", "1") == 0
    assert trtbench.out.startswith("A  whole/tensorrt/fp16/batch=1")


def test_layers_have_no_gaps_to_scale(trtbench: Trtbench, printed: Path) -> None:
    arguments = ("explain", f"{printed}:whole", "tapped", "--across", "model", "--gaps", "unprofiled")
    assert trtbench(*arguments) == 2
    assert "has no gaps" in trtbench.err
    assert "leave --gaps out" in trtbench.err


def test_the_function_returns_what_the_command_prints(printed: Path) -> None:
    explanation = bench.explain(f"{printed}:whole", "tapped", across="model")
    assert explanation.difference == 55_000
    copy = printed.with_name("copy.json")
    copy.write_bytes(printed.read_bytes())
    assert bench.explain(f"{printed}:whole", f"{copy}:whole").same


RUN = str(next((ROOT / "results").glob("*/*/*-net-*.jsonl")))
BAD = {
    "one case": (["whole", "whole"], "A and B are one and the same case, whole/tensorrt/fp16/batch=1"),
    "another model": (["whole", "tapped"], "fix: two cases of one model, or --across model"),
    "no such case": (["whole", "nothing"], "no case 'nothing'"),
    "half a command": (["whole"], "the following arguments are required: B"),
    "a run of layers": (["whole", "tapped", "--across", "model", "--run", RUN], "no device is recorded"),
    "no such run": (["whole", "tapped", "--run", "20200101"], "no run '20200101'"),
    "no part": (["whole", "whole", "--top", "0"], "'0' is not an integer of 1 or more"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message(trtbench: Trtbench, printed: Path, name: str) -> None:
    words, expected = BAD[name]
    assert trtbench("explain", *words, "--in", printed) == 2
    assert expected in trtbench.err
    assert "Traceback" not in trtbench.err
    assert trtbench.out == ""


@pytest.mark.parametrize("pair", [("bert/eager", "bert/aoti"), ("bert/aoti", "bert/inductor")])
def test_a_runtime_that_reports_no_operators_is_refused(trtbench: Trtbench, pair: tuple[str, str]) -> None:
    file = "profile-20261128T221311Z-smoke-e2ec3d7"
    assert trtbench("explain", *pair, "--in", file, "--store", ROOT / "results") == 2
    assert "the profile of bert/aoti/fp32/batch=1/seq=64 shows no operator that computes" in trtbench.err
    assert "fix: compare the times alone: trtbench compare RUN --axis backend" in trtbench.err
    assert trtbench.out == ""


@pytest.mark.workers
def test_profiles_of_simulated_cases(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, time: 2 ms}]")
    assert trtbench("profile", suite, "--select", "batch=1", "--store", trtbench.store) == 0
    assert trtbench("explain", "fake", "fake[time=2 ms]", "--store", trtbench.store) == 0
    assert "A  net/fake/fp32/batch=1" in trtbench.out


def blocks(page: Path, command: str) -> list[list[str]]:
    """The lines below each ``command`` in a page's blocks of code."""
    parts = page.read_text().split("```")[1::2]
    return [part.splitlines()[2:] for part in parts if part.strip().startswith(f"$ trtbench {command}")]


@pytest.mark.parametrize(
    "command",
    [
        "explain docs/examples/explain-layers.json:whole tapped --across model --top 1",
        "explain bert/eager bert/torchscript --in profile-20261128T184318Z --top 2",
        "explain eager/fp16 onnxruntime/fp16 --in profile-20261129T131847Z",
        "explain eager/fp16 docs/examples/explain-centernet-layers.json --in profile-20261129T131847Z",
        "explain onnxruntime/fp16 docs/examples/explain-centernet-layers.json --in profile-20261129T131847Z",
    ],
)
def test_the_page_shows_what_the_committed_files_say(
    trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("COLUMNS", "120")
    words = command.split()
    assert trtbench(*words, *([] if "across" in command else ["--store", ROOT / "results"])) == 0
    (lines,) = blocks(ROOT / "docs" / "explain.md", command)
    shown = {line.rstrip() for line in trtbench.out.splitlines()}
    assert [line for line in lines if line.strip("─ ") and line not in shown] == []


def test_the_answer_is_a_screenful(trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "120")
    words = (
        "explain",
        "eager/fp16",
        "onnxruntime/fp16",
        "--in",
        "profile-20261129T101819Z",
        "--store",
        ROOT / "results",
    )
    assert trtbench(*words) == 0
    assert len(trtbench.out.splitlines()) <= 48
    assert max(map(len, trtbench.out.splitlines())) <= 120
    assert "19 more rows: --top 22" in trtbench.out
    assert trtbench(*words, "--top", "22") == 0
    assert "more rows" not in trtbench.out

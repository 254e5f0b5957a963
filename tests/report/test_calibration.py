"""A calibration as it is shown: figures, what they do not say, and texts that cannot steer a terminal."""

from __future__ import annotations

import json

import msgspec

from bench.report import calibration as view
from tests.analysis.test_calibration import sitting
from tests.analysis.test_spreads import CALIBRATION, calibration


def test_the_tables_have_the_figures_and_the_legend() -> None:
    text = view.render(CALIBRATION, "results", width=140)
    assert "2 sittings: A, B; 7 processes a side" in text
    assert "net/eager/fp32/batch=1" in text
    (whole,) = CALIBRATION.boundaries
    assert f"{whole.process.sd:.2%} [{whole.process.low:.2%}, {whole.process.high:.2%}]" in text
    assert f"{whole.without.rate:.1%} [" in text
    need = CALIBRATION.levels[0].needs[-1]
    assert f"{need.one_sitting} (" in text
    assert "2 sittings say little of how sittings differ" in text
    assert "stored in results/sm_90/h100/calibration-1.json" in text
    assert max(map(len, view.render(CALIBRATION, width=80).splitlines())) <= 100


def test_labels_are_broken_between_their_words() -> None:
    label = "resnet50/inductor[mode=max-autotune]/fp16/batch=32/graph"
    long = msgspec.structs.replace(CALIBRATION, levels=[msgspec.structs.replace(CALIBRATION.levels[0], label=label)])
    for width in (60, 80, 100):
        lines = view.render(long, width=width).splitlines()
        start = next(n for n, line in enumerate(lines) if line.startswith("resnet50"))
        rows = lines[start : lines.index(next(each for each in lines[start:] if "graph" in each)) + 1]
        parts = [line.strip().partition("  ")[0].strip() for line in rows]
        assert "".join(parts) == label
        assert all(part.endswith(("/", "[", "-", "]")) for part in parts[:-1])


def test_one_sitting_and_what_is_left_out_are_told() -> None:
    alone = calibration(sitting("A"), sittings=("A",), left_out={"net\x1b[2J": "it failed: Crash"})
    text = view.render(alone, width=120)
    assert "one sitting does not show how sittings differ" in text
    assert "left out, it failed: Crash: net\\x1b[2J" in text
    assert "(" not in text.split("all cases")[0].partition("for 5%")[2]


def test_cases_that_are_left_out_for_one_reason_are_one_line() -> None:
    alone = calibration(sitting("A"), sittings=("A",), left_out={f"net/{name}": "too few" for name in "abcde"})
    (line,) = [line for line in view.remarks(alone) if "too few" in line]
    assert line == "left out, too few: net/a, net/b, net/c and 2 more"


def test_differences_of_settings_have_the_name_that_files_have() -> None:
    differing = msgspec.structs.replace(CALIBRATION, minor_differences=("seed 0 -> 1",))
    assert json.loads(view.json(differing))["told"] == ["seed 0 -> 1"]
    assert msgspec.json.decode(msgspec.json.encode(differing), type=type(differing)) == differing


def test_other_cards_and_settings_are_told() -> None:
    text = view.render(
        msgspec.structs.replace(CALIBRATION, cards=("a", "b"), minor_differences=("seed 0 -> 1",)), width=120
    )
    assert "the sittings are of 2 cards" in text
    assert "the sittings also differ, and the session sd has what that changes: seed 0 -> 1" in text


def test_json_has_every_field_and_markdown_a_table() -> None:
    whole = json.loads(view.json(CALIBRATION))
    assert whole["schema"] == 1
    assert whole["levels"][0]["build"] is None
    assert whole["boundaries"][0]["session"]["sd"] == CALIBRATION.boundaries[0].session.sd
    assert whole["environment"]["device"] == "H100"
    text = view.markdown(CALIBRATION)
    assert "| net/eager/fp32/batch=1 | latency | 14+14 |" in text
    assert "- 2 sittings say little" in text

"""`trtbench layers` on the fake backend: it makes them as a run makes artifacts, and says what it cannot do."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.conftest import Trtbench

pytestmark = pytest.mark.workers

Suite = Callable[..., Path]


def test_layers_of_the_selected_cases_are_printed(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("layers", fake_suite(), "--select", "batch=8") == 0
    assert "net/fake/fp32/batch=8" in trtbench.out
    assert "batch=1" not in trtbench.out
    assert "tanh of x" in trtbench.out
    assert "reformats: 1 of 2 layers, 10% of the time" in trtbench.out
    assert not trtbench.store.exists()


def test_layers_are_found_in_the_cache_unless_cold(trtbench: Trtbench, fake_suite: Suite, tmp_path: Path) -> None:
    arguments = ("layers", fake_suite(), "--select", "batch=8", "--format", "json")
    made = tmp_path / "cache"
    assert trtbench(*arguments) == 0
    first, (document,) = trtbench.out, made.rglob("layers.json")
    written = document.stat().st_mtime_ns
    assert trtbench(*arguments) == 0
    assert trtbench.out == first
    assert trtbench(*arguments, "--cold") == 0
    assert trtbench.out == first
    assert [path.stat().st_mtime_ns for path in made.rglob("layers.json")] == [written]


def test_json_is_one_document_of_all_cases(trtbench: Trtbench, fake_suite: Suite) -> None:
    assert trtbench("layers", fake_suite(), "--format", "json") == 0
    told = json.loads(trtbench.out)
    assert [case["label"] for case in told["cases"]] == ["net/fake/fp32/batch=1", "net/fake/fp32/batch=8"]
    assert told["cases"][0]["layers"][0]["reformat"] is True


def test_a_case_that_fails_is_told_and_the_others_are_printed(trtbench: Trtbench, fake_suite: Suite) -> None:
    suite = fake_suite("[fake, {name: fake, fail: unavailable}]")
    assert trtbench("layers", suite, "--select", "batch=1") == 1
    assert "tanh of x" in trtbench.out
    assert "Unavailable in layers: the fake package is not installed" in trtbench.err
    assert "fix: pip install fake" in trtbench.err
    assert "Traceback" not in trtbench.err


BAD = {
    "a backend that cannot tell": (["--backend", "eager", "--device", "cpu"], "eager cannot report layers"),
    "too many cases": ([], '--select "id='),
    "a selection that matches nothing": (["--select", "batch=3"], "batch"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_message(trtbench: Trtbench, fake_suite: Suite, name: str) -> None:
    arguments, expected = BAD[name]
    suite = fake_suite()
    suite.write_text(suite.read_text().replace("[1, 8]", str(list(range(10, 20)))))
    assert trtbench("layers", suite, *arguments) == 2
    assert expected in trtbench.err
    assert "Traceback" not in trtbench.err
    assert trtbench.out == ""


def test_a_suite_must_be_named(trtbench: Trtbench) -> None:
    assert trtbench("layers") == 2
    assert "no suite is named" in trtbench.err
    assert "fix: trtbench layers suites/native_resnet50.yaml --select" in trtbench.err


def test_a_device_that_is_not_here_is_no_reason_to_ask_a_cpu_for_engines(
    trtbench: Trtbench, fake_suite: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert trtbench("layers", fake_suite("[tensorrt]"), "--device", "cuda") == 2
    assert trtbench.err.endswith("fix: unset CUDA_VISIBLE_DEVICES\n")


def test_a_mixed_selection_says_how_to_leave_only_what_can_tell(trtbench: Trtbench, tmp_path: Path) -> None:
    from bench.errors import UsageError
    from bench.model.suite import Case, Input, Plan, Policy, Suite
    from bench.profiling import layers
    from bench.runner.request import Request, Settings

    cases = tuple(
        Case(model="net", factory="zoo.py:net", inputs={"x": Input(shape=(1,))}, backend=name)
        for name in ("eager", "fake")
    )
    suite = Suite(schema=1, name="s", path=str(tmp_path / "s.yaml"), models={}, matrix={})
    settings = Settings(store="", cache=str(tmp_path))
    request = Request(suite=suite, plan=Plan(cases=cases), policy=Policy(), device="cpu", settings=settings)
    with pytest.raises(UsageError) as caught:
        next(layers.layers(request, lambda event: None))
    assert caught.value.what == "eager cannot report layers"
    assert caught.value.fix == '--select "backend=fake"'

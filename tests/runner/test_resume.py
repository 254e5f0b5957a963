"""Where a run is gone on with: what tells one card or machine from another of its kind."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from bench.errors import UsageError
from bench.model.run import Environment
from bench.report.warnings import describe
from bench.runner import resume
from tests.store.kit import header


def environment(host: str, card: str | None) -> Environment:
    observed = {} if card is None else {"card": card}
    return Environment(kind="cuda", arch="sm_90", device="d", slug="d", host=host, observed=observed)


@pytest.mark.parametrize(
    ("before", "here", "other", "place"),
    [
        (("a", "1"), ("a", "1"), "", ""),
        (("a", "1"), ("b", "1"), "", ""),  # the container was started again
        (("a", "1"), ("a", "2"), "card", "2"),
        (("a", "1"), ("b", "2"), "card", "2"),
        (("a", None), ("b", None), "machine", "b"),
        (("a", "1"), ("b", None), "machine", "b"),
        (("a", None), ("a", "1"), "", ""),
    ],
)
def test_the_card_tells_where_a_run_is_gone_on_with_and_else_the_host(
    before: tuple[str, str | None], here: tuple[str, str | None], other: str, place: str
) -> None:
    was, now = environment(*before), environment(*here)
    (*warnings,) = resume.elsewhere(was, now)
    assert [warning.figures for warning in warnings] == [{"what": other}] * bool(other)
    assert [f"another {other} " in describe(warning).text for warning in warnings] == [True] * bool(other)
    assert resume.place(was, now) == place


@pytest.mark.parametrize(
    ("suite_path", "word"),
    [
        ("my suites/a.yaml", "'my suites/a.yaml'"),
        ("~/my suites/a.yaml", "~/'my suites/a.yaml'"),
        ("-a.yaml", "./-a.yaml"),
        ("removed.yaml", "SUITE"),
        ("$TRTBENCH_CACHE/models/a/suite.yaml", "SUITE"),
    ],
)
def test_what_to_type_for_a_new_run_can_be_typed(
    suite_path: str, word: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my suites").mkdir()
    for name in ("my suites/a.yaml", "-a.yaml"):
        (tmp_path / name).touch()
    begun = header(suite_path=suite_path, environments={"default": environment("a", "1")})
    with pytest.raises(UsageError, match=rf"a new run: trtbench run {re.escape(word)}$"):
        resume.refuse_another(begun, "default", Environment(kind="cpu", arch="x", device="d", slug="d"), Path("r"))


def test_memory_that_differs_by_what_a_system_keeps_is_no_other_environment_nor_named_beside_one() -> None:
    here = Environment(kind="cuda", arch="sm_90", device="d", slug="d", memory=66_000_000_000)
    begun = header(environments={"default": here})
    again = msgspec.structs.replace(here, memory=66_000_400_000)
    resume.refuse_another(begun, "default", again, Path("r"))
    with pytest.raises(UsageError, match="another environment: driver none -> 580\n"):
        resume.refuse_another(begun, "default", msgspec.structs.replace(again, driver="580"), Path("r"))

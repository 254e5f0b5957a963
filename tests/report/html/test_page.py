"""The HTML of a page: one file, no way out, nothing in its data that could be read as HTML."""

from __future__ import annotations

import base64
import hashlib
import re
from html.parser import HTMLParser

import msgspec
import pytest

from bench.model.run import Failure, Record
from bench.report.html import page
from tests.report.conftest import case, example, make, record
from tests.report.html.kit import ASSETS, data_of, page_of, renamed, rows_of

EVIL = "</script><img src=x onerror=alert(1)><!--<script>"


class Elements(HTMLParser):
    """The elements of a page with their attributes, and the texts of its scripts."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attributes)))
        if tag == "script":
            self.scripts.append("")

    def handle_data(self, data: str) -> None:
        if self.lasttag == "script" and self.cdata_elem == "script":
            self.scripts[-1] += data


def test_the_page_names_no_other_file_and_its_policy_allows_its_own_scripts_alone() -> None:
    html = page.render(page_of(example(1)))
    elements = Elements(html)
    addresses = [(tag, value) for tag, attributes in elements.elements for name, value in attributes.items()
                 if name in ("src", "href", "action", "data")]  # fmt: skip
    assert addresses == [("a", "#main")]
    assert "@import" not in html.partition("</style>")[0]
    assert "url(" not in html.partition("</style>")[0]
    policy = next(a["content"] for tag, a in elements.elements if a.get("http-equiv") == "Content-Security-Policy")
    data, *scripts = elements.scripts
    digests = [base64.b64encode(hashlib.sha256(script.encode()).digest()).decode() for script in scripts]
    assert re.findall(r"'sha256-([^']+)'", policy or "") == digests
    assert (policy or "").startswith("default-src 'none'; ")
    assert "unsafe-eval" not in (policy or "")
    assert data.startswith("{")


def test_scripts_of_the_page_are_those_of_the_files() -> None:
    names = {path.name for path in ASSETS.glob("*.js")} | {path.name for path in ASSETS.glob("vendor/*.js")}
    assert names == {*page.LIBRARY, *page.SCRIPTS}
    licences = {path.name for path in ASSETS.glob("vendor/*.txt")}
    assert licences == set(page.LICENCES)
    assert {f"{name.partition('.')[0]}.LICENSE.txt" for name in page.LIBRARY} <= licences


def test_names_that_are_html_stay_texts() -> None:
    of = case(EVIL, EVIL, toolchain=EVIL)
    failure = Failure(kind=EVIL, stage=EVIL, message=EVIL, hint=EVIL, log=EVIL, where=EVIL)
    run = make([of], [Record(case=of.id, label=of.label, failure=failure)])
    run = renamed(run, "20261123T101500Z-evil-1a2b3c4", suite_path=f"{EVIL}.yaml")
    html = page.render(page_of(run, title=EVIL, problems=[EVIL], place=EVIL))
    assert EVIL[9:20] not in html
    data = data_of(html)
    (shown,) = rows_of(data["cases"])
    assert shown["model"] == EVIL
    assert shown["failure_message"] == f"{EVIL}: {EVIL}"
    assert data["problems"] == [EVIL]
    tags = {tag for tag, _ in Elements(html).elements}
    assert tags <= {"html", "head", "meta", "title", "style", "body", "a", "header", "details", "summary", "pre", "p",
                    "nav", "button", "main", "noscript", "footer", "div", "script"}  # fmt: skip


@pytest.mark.parametrize("text", ["\u2028 \u2029", "\x00\x1b[2J", "\u202eabc", "a" * 300, "\u00e9\U0001f600"])
def test_any_text_makes_a_page_that_is_read_back(text: str) -> None:
    of = case(text, "eager")
    html = page.render(page_of(make([of], [record(of, 1.0)])))
    (shown,) = rows_of(data_of(html)["cases"])
    assert shown["model"]
    assert not [character for character in html if character in "\x00\x1b\u2028\u2029\u202e"]


def test_a_slot_in_the_data_is_not_filled() -> None:
    of = case("{{scripts}}", "eager")
    html = page.render(page_of(make([of], [])))
    assert rows_of(data_of(html)["cases"])[0]["model"] == "{{scripts}}"


def test_what_would_end_a_script_is_escaped_within_it() -> None:
    for name in (*page.SCRIPTS, *(f"vendor/{name}" for name in page.LIBRARY)):
        assert not re.search(r"</script|<!--", page.asset(name), re.IGNORECASE), name


@pytest.mark.long
def test_a_page_of_a_thousand_records_stays_below_six_megabytes() -> None:
    of = [case("net", "eager", batch=n) for n in range(1, 335)]
    one = record(of[0], 1.0, boundaries=("gpu", "enqueue", "latency", "h2d", "compute", "d2h"))
    full = [msgspec.structs.replace(m, samples=m.samples * 4) for m in one.measurements]
    records = [
        msgspec.structs.replace(one, case=each.id, label=each.label, replicate=n, measurements=tuple(full))
        for each in of
        for n in range(3)
    ]
    html = page.render(page_of(make(of, records, 3)))
    assert len(records) > 1_000
    assert len(html.encode()) < 6_000_000

"""Pages for tests: the data as a page's scripts unpack it, and runs as files of a store."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import msgspec

from bench import store
from bench.model.run import Run
from bench.report.html.data import page_data
from bench.store import codec

ASSETS = Path(__file__).parents[3] / "bench" / "report" / "html" / "assets"
MADE = "2026-11-28T12:00:00+00:00"


def data_of(html: str) -> dict[str, Any]:
    """The data that a page holds."""
    (text,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', html, re.DOTALL)
    return json.loads(text)


def rows_of(table: dict[str, Any]) -> list[dict[str, Any]]:
    """The rows of a table of columns, as the page's own script unpacks it."""
    columns = {name: unpack(column, table["rows"]) for name, column in table["columns"].items()}
    return [{name: values[row] for name, values in columns.items()} for row in range(table["rows"])]


def unpack(column: Any, rows: int) -> list[Any]:
    if isinstance(column, list):
        return column
    return [column["same"]] * rows if "same" in column else [column["of"][place] for place in column["at"]]


def page_of(*runs: Run, **options: Any) -> dict[str, Any]:
    return page_data(runs, made=MADE, **options)


def stored(root: Path, run: Run) -> Path:
    """The run as a file of the store at ``root``."""
    path = store.create(root, run.header).path
    with path.open("ab") as file:
        for record in run.records:
            file.write(codec.encode(record))
        if run.footer:
            file.write(codec.encode(run.footer))
    return path


def renamed(run: Run, name: str, **header: Any) -> Run:
    """The run as another one, with fields of its header changed."""
    return msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, run=name, **header))


def figure(text: str) -> str:
    """A figure with its interval, whatever blanks the layout has."""
    return " ".join(text.split())

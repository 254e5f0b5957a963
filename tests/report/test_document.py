"""Structs as JSON documents: what msgspec would leave out, or JSON cannot hold."""

from __future__ import annotations

import math

import msgspec

from bench.report import document


class Inner(msgspec.Struct, omit_defaults=True):
    ratio: float = 1.0


class Outer(msgspec.Struct, omit_defaults=True):
    inners: tuple[Inner, ...] = ()
    name: str = ""


def test_all_fields_are_there_and_no_infinity() -> None:
    assert document.full(Outer(inners=(Inner(), Inner(ratio=math.inf)))) == {
        "inners": [{"ratio": 1.0}, {"ratio": None}],
        "name": "",
    }

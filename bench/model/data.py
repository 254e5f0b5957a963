"""The base of all data, and its digest: immutable, keyword-only structs without input, output or formatting."""

from __future__ import annotations

import hashlib
from typing import Any

import msgspec


class Data(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=False, omit_defaults=True):
    """Base of all data here: immutable, keyword-only; a field that equals its default is not written."""


def digest(value: Any) -> str:
    """SHA-256 (hex) of a value of plain data, independent of the order of keys."""
    return hashlib.sha256(msgspec.json.encode(value, order="sorted")).hexdigest()

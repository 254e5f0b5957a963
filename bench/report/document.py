"""Structs as JSON documents."""

from __future__ import annotations

import math
from typing import Any

import msgspec


def full(value: Any) -> Any:
    """A struct as a mapping with all fields, also those that have their defaults; no number that JSON lacks."""
    if isinstance(value, msgspec.Struct):
        names = zip(value.__struct_fields__, value.__struct_encode_fields__, strict=True)
        return {in_file: full(getattr(value, name)) for name, in_file in names}
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return [full(each) for each in value] if isinstance(value, tuple) else value

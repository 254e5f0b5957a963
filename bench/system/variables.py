"""Environment variables for a block, and what they were after it."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping


@contextlib.contextmanager
def override(values: Mapping[str, str]) -> Iterator[None]:
    """Variables of this process with these values in the block; those that were not set are removed after it."""
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value

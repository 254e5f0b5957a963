"""The suite format as JSON Schema, for editors that complete and check while one types."""

from __future__ import annotations

from collections.abc import Mapping

from bench.model.seam import Runtime
from bench.suite import fields
from bench.suite.kinds import Schema, record
from bench.suite.matrix import Names, options_schema

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(registry: Mapping[str, Runtime] | None = None) -> Schema:
    """JSON Schema (draft 2020-12) of a suite; with a registry also of the backends' names and options.

    It is a little wider than the loader, which also knows what refers to what.
    """
    known = registry or {}
    definitions = {
        name: schema
        for backend, runtime in known.items()
        for name, schema in options_schema(backend, runtime)[1].items()
    }
    whole = record(fields.suite(Names(registry=known))).schema
    return {"$schema": _DRAFT, "title": "trtbench suite", **whole, "$defs": definitions}


def toolchains_schema() -> Schema:
    """JSON Schema of a ``toolchains.yaml``, which holds what a suite has under that name."""
    return {"$schema": _DRAFT, "title": "trtbench toolchains", **fields.TOOLCHAINS.schema}

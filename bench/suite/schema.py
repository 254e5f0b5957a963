"""The suite format as JSON Schema, for editors that complete and check suites."""

from __future__ import annotations

from collections.abc import Mapping

from bench.model.seam import Runtime
from bench.suite import fields
from bench.suite.kinds import Schema, record
from bench.suite.matrix import Names, options_schema

_DRAFT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(registry: Mapping[str, Runtime] | None = None) -> Schema:
    """JSON Schema (draft 2020-12) of a suite; with a registry also of the backends' names and options.

    It accepts slightly more than the loader, which also checks references between sections.
    """
    backends = registry or {}
    definitions = {
        name: schema
        for backend, runtime in backends.items()
        for name, schema in options_schema(backend, runtime)[1].items()
    }
    suite = record(fields.suite(Names(registry=backends))).schema
    return {"$schema": _DRAFT, "title": "trtbench suite", **suite, "$defs": definitions}


def toolchains_schema() -> Schema:
    """JSON Schema of a ``toolchains.yaml``, which holds what a suite has under that name."""
    return {"$schema": _DRAFT, "title": "trtbench toolchains", **fields.TOOLCHAINS.schema}

"""The assembly of a page: template, styles, scripts and data in one file that requests nothing from anywhere.

The page's policy allows the scripts below by their hashes and no others, no connection, and no image but those in it.
Vega's expressions are interpreted (vega-embed's ``ast``), so that nothing needs ``eval``.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import html
import re
from importlib import resources
from typing import Any

import msgspec

# In this order, as each uses those before it.
LIBRARY = ("vega.min.js", "vega-lite.min.js", "vega-embed.min.js")
LICENCES = ("vega.LICENSE.txt", "vega-lite.LICENSE.txt", "vega-embed.LICENSE.txt", "third-party.txt")
SCRIPTS = (
    "core.js", "filter.js", "route.js", "copy.js", "marks.js", "charts.js", "draw.js", "plots.js", "overview.js",
    "cases.js", "timeline.js", "profile.js", "explain.js", "case.js", "app.js",
)  # fmt: skip
# What would end a script's element, or begin a comment in it, within a text.
_IN_SCRIPT = re.compile(r"<(?=/script|script|!--)", re.IGNORECASE)
_SLOT = re.compile(r"\{\{(\w+)\}\}")


def render(data: dict[str, Any]) -> str:
    """The HTML of a page with ``data``, as page_data() makes it."""
    scripts = [*(asset(f"vendor/{name}") for name in LIBRARY), *(asset(name) for name in SCRIPTS)]
    bodies = [_IN_SCRIPT.sub(r"\\x3c", script) for script in scripts]
    slots = {
        "title": html.escape(data["title"]),
        "policy": _policy(bodies),
        "styles": asset("style.css") + asset("plots.css") + asset("profiles.css"),
        "data": embed(data),
        "licences": html.escape("\n\n".join(asset(f"vendor/{name}") for name in LICENCES)),
        "scripts": "\n".join(f"<script>{body}</script>" for body in bodies),
    }
    return _SLOT.sub(lambda match: slots[match[1]], asset("page.html"))


def embed(data: Any) -> str:
    """JSON that can stand in an element of HTML: no ``<``, and no separator of lines that JavaScript would obey."""
    text = msgspec.json.encode(data).decode()
    return text.replace("<", "\\u003c").replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _policy(bodies: list[str]) -> str:
    hashes = " ".join(
        f"'sha256-{base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()}'" for body in bodies
    )
    sources = f"default-src 'none'; script-src {hashes}; style-src 'unsafe-inline'; img-src data: blob:"
    return f"{sources}; base-uri 'none'; form-action 'none'"


@functools.cache
def asset(name: str) -> str:
    """The text of a file of assets/."""
    return resources.files("bench.report.html").joinpath("assets", *name.split("/")).read_text(encoding="utf-8")

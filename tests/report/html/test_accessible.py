"""What axe-core finds in each view, light and dark: nothing serious."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from bench.report.html.plots import PLOTS
from tests.profile_kit import eager, replayed
from tests.report.html.profiles_kit import COMPILED, EAGER, FOLDER, file_of, profiled, run_of

pytestmark = pytest.mark.long
# Color contrast and best practices too: whatever axe-core calls serious or critical.
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def axe() -> str:
    """axe-core's script, which ``nox -s long`` fetches by npm; where it is not there the tests are skipped."""
    fetched = os.environ.get("TRTBENCH_AXE", "")
    path = Path(fetched or "node_modules/axe-core/axe.min.js")
    if not path.is_file():
        why = f"no axe-core ({path})"
        if fetched:
            why += ": npm could not fetch it" if shutil.which("npm") else ": there is no npm to fetch it"
        pytest.skip(f"{why}; npm install --no-save axe-core, or TRTBENCH_AXE=axe.min.js")
    return path.read_text(encoding="utf-8")


@pytest.mark.parametrize(("theme", "width"), [("light", 1400), ("dark", 1400), ("light", 390)])
def test_axe_finds_nothing_serious(view, committed, runs, axe: str, theme: str, width: int) -> None:
    screen = {"color_scheme": theme, "viewport": {"width": width, "height": 900}}
    pages = [view(*committed, *runs, screen=screen), view(place="results", problems=["x.jsonl: torn"], screen=screen)]
    both = run_of(EAGER, COMPILED)
    profiles = file_of(profiled(EAGER, eager()), profiled(COMPILED, replayed()))
    pages.append(view(both, profiled={FOLDER: [profiles]}, screen=screen))
    explained = f"{both.header.run}/{COMPILED.id}"
    clock, engines, example = committed[1].header, committed[2].header, runs[0].header
    cases = [f"#/case/{of.run}/{of.cases[0].id}" for of in (clock, engines, example)]
    checks = zip(
        pages,
        (
            ["#/overview", "#/cases?model=resnet50", *(f"#/plots/{plot}" for plot in PLOTS), *cases],
            ["#/overview"],
            ["#/plots/waterfall", f"#/case/{explained}", "#/explain", f"#/explain/{explained}"],
        ),
        strict=True,
    )
    serious = []
    for shown, addresses in checks:
        for address in addresses:
            page = shown.go(address)
            page.evaluate("for (const each of document.querySelectorAll('details')) each.open = true")
            page.evaluate(axe)
            violations = page.evaluate("axe.run({resultTypes: ['violations']}).then((found) => found.violations)")
            serious += [
                (address, each["id"], each["impact"], node["html"], node.get("failureSummary"))
                for each in violations if each["impact"] in SERIOUS for node in each["nodes"][:3]
            ]  # fmt: skip
    assert serious == []

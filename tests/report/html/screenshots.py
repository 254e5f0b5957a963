"""Writes the screenshots of docs/dashboard.md from the committed results: python -m tests.report.html.screenshots

They are PNGs of a few colours where an image program can make them so (``pngquant`` or Pillow), else as Chromium writes
them.
"""

from __future__ import annotations

import contextlib
import sys
import tempfile
from pathlib import Path

import bench
from tests.report.html.browser import View, started
from tests.report.html.kit import data_of, rows_of

ROOT = Path(bench.__file__).parents[1]
OUT = ROOT / "docs" / "dashboard"
CLOCK = "20261128T052852Z-clock-46490c1"
# Name, address, width, height, theme.
SHOTS = (
    ("overview", "#/overview", 1280, 800, "light"),
    ("overview-dark", "#/overview", 1280, 800, "dark"),
    ("cases", "#/cases?model=resnet50&precision=fp16&batch=32&sort=time", 1280, 720, "light"),
    ("case", f"#/case/{CLOCK}/{{case}}", 1280, 1500, "light"),
    ("plots", "#/plots?model=bert_base", 1280, 720, "dark"),
    ("plot-speed", "#/plots/speed", 1280, 900, "dark"),
    ("plot-trade", "#/plots/trade", 1280, 1180, "light"),
    ("cpu", "#/cases?device=AMD+EPYC", 1280, 560, "light"),
    ("phone", "#/overview", 390, 844, "light"),
    ("phone-case", f"#/case/{CLOCK}/{{case}}", 390, 844, "dark"),
)
# A case with few kernels, and one whose parts differ from its baseline's by several causes each; none where results/
# has no such pairs.
SHORT, DETECTOR = "resnet18/inductor/fp16/batch=1", "centernet/onnxruntime/fp16/batch=1"
PROFILED = (
    ("profile", "#/case/{explained}", 1280, 1300, "light"),
    ("plot-waterfall", "#/plots/waterfall", 1280, 800, "light"),
    ("explain", "#/explain/{detector}", 1280, 1300, "dark"),
)


def main() -> None:
    """Write all of them, or those that are named."""
    names = sys.argv[1:]
    OUT.mkdir(exist_ok=True)
    # Beside the store, so that commands on the page name no folder of this machine.
    with tempfile.TemporaryDirectory() as folder, started() as browser, contextlib.chdir(ROOT):
        report = bench.write_report(out=Path(folder, "report.html"), title="trtbench results")
        run = bench.read(CLOCK, packed=True)
        explained, detector = (_explained(Path(report.path), label) for label in (SHORT, DETECTOR))
        for name, address, width, height, theme in SHOTS + (PROFILED if explained and detector else ()):
            if names and name not in names:
                continue
            screen = {"viewport": {"width": width, "height": height}, "color_scheme": theme}
            shown = View(browser, Path(report.path), **screen)
            page = shown.go(address.format(case=run.header.cases[0].id, explained=explained, detector=detector))
            if name == "profile":
                page.get_by_role("heading", name="Profile", exact=True).evaluate("each => each.scrollIntoView()")
            file = OUT / f"{name}.png"
            page.screenshot(path=file)
            shown.context.close()
            _shrink(file)
            print(f"{file.relative_to(ROOT)}: {file.stat().st_size / 1000:.0f} kB")


def _explained(report: Path, label: str) -> str:
    """Run and id of the case with a label, if the page explains it; else empty."""
    data = data_of(report.read_text(encoding="utf-8"))
    for pair in data["explanations"]:
        case = rows_of(data["cases"])[pair["case"]]
        if case["label"] == label:
            return f"{rows_of(data['runs'])[case['run']]['id']}/{case['id']}"
    return ""


def _shrink(file: Path) -> None:
    try:
        from PIL import Image
    except ImportError:
        return
    with Image.open(file) as image:
        image.convert("RGB").quantize(64, dither=Image.Dither.NONE).save(file, optimize=True)


if __name__ == "__main__":
    main()

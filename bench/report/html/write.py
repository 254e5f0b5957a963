"""Reports as files: runs are read for a page, and the page takes the place of the one before at once."""

from __future__ import annotations

import datetime
import shlex
from collections.abc import Mapping, Sequence, Set
from pathlib import Path

from bench import store
from bench.analysis import siblings
from bench.analysis.speed import check_baseline
from bench.errors import NoRuns, StoreError, UsageError
from bench.model.calibration import Calibration
from bench.model.data import Data
from bench.model.folders import RESULTS
from bench.model.profile import ProfileRun
from bench.model.run import Run
from bench.report.html import data, page, places
from bench.store import calibrations, output
from bench.store import profiles as stored


class Report(Data, frozen=True, kw_only=True):
    """A page as written: ``path``, its size in ``bytes``, how much it shows, and the ``problems`` of files, which the
    page shows too.
    """

    path: str
    bytes: int
    runs: int
    cases: int
    problems: tuple[str, ...] = ()


def run_files(root: Path) -> list[Path]:
    """The files of the runs in ``root``, without rehearsals, whether they can be read or not."""
    return store.runs(root)


def files_beside(paths: Sequence[Path]) -> list[Path]:
    """The files that a page of the runs at ``paths`` is made from beside them: profiles and calibrations."""
    folders = dict.fromkeys(path.parent for path in paths)
    return [path for folder in folders for kind in ("profile", "calibration") for path in folder.glob(f"{kind}-*.json")]


def read_store(root: Path) -> tuple[list[Run], list[str]]:
    """The runs in ``root``, newest first, without rehearsals, and what is wrong with files that cannot be shown."""
    if not root.exists() and root != Path(RESULTS):  # without any run the usual folder is not there yet
        raise StoreError(f"there is no folder {root}", fix="trtbench run suites/smoke.yaml, or --store DIR")
    runs, problems = [], []
    seen: dict[str, str] = {}
    for path in run_files(root):
        try:
            run = store.read(path, packed=True)
        except StoreError as error:
            problems.append(f"{error.where or path}: {error.what}")
            continue
        if other := seen.get(run.header.run):
            problems.append(f"{path}: the run {run.header.run} is in {other} too, which is shown")
            continue
        seen[run.header.run] = str(path)
        runs.append(run)
    return runs, problems


def refuse_nothing(root: Path, problems: Sequence[str]) -> None:
    """NoRuns that says why ``root`` has no run to show: no file, rehearsals alone, or none that can be read."""
    if problems:
        what = f"no run in {root} can be read: {problems[0]}"
        if more := len(problems) - 1:
            what += f"; and {more} more"
        listing = f"trtbench runs --store {shlex.quote(str(root))}"
        raise NoRuns(what, fix=f"{listing} says why of each; trtbench run suites/smoke.yaml, or --store DIR")
    if rehearsals := store.runs(root, rehearsals=True):
        fix = f"name it: trtbench report {store.run_argument(rehearsals[0])}; or trtbench run suites/smoke.yaml"
        raise NoRuns(f"there are only rehearsals in {root}", fix=fix)
    raise NoRuns(f"there are no runs in {root}", fix="trtbench run suites/smoke.yaml, or --store DIR")


def refuse_twice(runs: Sequence[Run]) -> None:
    """UsageError if a run is there twice."""
    ids = [run.header.run for run in runs]
    if twice := [name for name in ids if ids.count(name) > 1]:
        raise UsageError(f"the run {twice[0]} is named twice", fix="name each run once")


def write(
    runs: Sequence[Run],
    out: Path,
    *,
    problems: Sequence[str] = (),
    only: Set[str] | None = None,
    baseline: str = "",
    title: str = "",
    place: str = "",
    refresh: int = 0,
) -> Report:
    """Write the page of ``runs`` to ``out``; the file that was there is replaced when the page is whole.

    ``only`` are the ids of the cases to show, None for all: runs that have none of them are left out. A run without the
    ``baseline`` has its own. ``place`` is the folder of the runs. ``refresh`` is after how many seconds the page
    loads itself again, 0 for never.

    UsageError if no run has the baseline; OSError if the file cannot be written.
    """
    every = [*problems, *(run.damage for run in runs if run.damage)]
    if only is not None:
        runs = [run for run in runs if any(case.id in only for case in run.header.cases)]
    named = [places.of_run(run) for run in runs]
    folders = {_folder(run): _folder(other) for run, other in zip(runs, named, strict=True) if run.path}
    profiled, torn = _profiles(folders)
    every += torn
    calibrated = _calibrations(folders)
    baselines = _baselines(runs, baseline)
    names = folders | ({place: places.of_store(place)} if place else {})
    made = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    shown = data.page_data(
        named,
        made=made,
        baselines=baselines,
        only=[only] * len(runs),
        problems=[places.of_text(problem, names) for problem in every],
        title=title or data.TITLE,
        place=places.of_store(place),
        refresh=refresh,
        profiled=profiled,
        calibrations=calibrated,
    )
    text = page.render(shown).encode()
    output.write(out, text)
    cases = shown["cases"]["rows"]
    return Report(path=str(out), bytes=len(text), runs=len(runs), cases=cases, problems=tuple(every))


def _folder(run: Run) -> str:
    return str(Path(run.path).parent)


def _by_name(folders: Mapping[str, str]) -> dict[str, list[Path]]:
    """The folders by the names that the page has for them, each once, however it is written."""
    by_name: dict[str, dict[Path, Path]] = {}
    for folder, name in folders.items():
        by_name.setdefault(name, {})[Path(folder).resolve()] = Path(folder)
    return {name: [*several.values()] for name, several in by_name.items()}


def _profiles(folders: Mapping[str, str]) -> tuple[dict[str, list[ProfileRun]], list[str]]:
    """The profiles in ``folders``, newest first, by the names of these, and what is wrong with files."""
    problems: list[str] = []
    return {
        name: [siblings.with_names(each) for each in stored.newest(several, problems)]
        for name, several in _by_name(folders).items()
    }, problems


def _calibrations(folders: Mapping[str, str]) -> dict[str, list[Calibration]]:
    """The calibrations in ``folders``, newest first, by the names of these."""
    by_name = _by_name(folders).items()
    several = {name: [each for path in paths for each in calibrations.beside(path)] for name, paths in by_name}
    return {name: sorted(each, key=lambda one: one.created, reverse=True) for name, each in several.items()}


def _baselines(runs: Sequence[Run], baseline: str) -> list[str]:
    """The baseline of each run: the one asked for where it has it."""
    names: list[str] = []
    errors: list[UsageError] = []
    for run in runs:
        try:
            check_baseline(run.header.cases, baseline)
            names.append(baseline)
        except UsageError as error:
            errors.append(error)
            names.append("")
    if errors and len(errors) == len(runs):
        raise errors[0]
    return names

"""Why cases differ from their baselines, as a page has it, against what `trtbench explain` prints."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest

import bench
from bench.errors import UsageError
from bench.model.profile import CaseProfile, ProfileRun
from bench.model.run import Failure, Run
from bench.report.html import explanations
from bench.store import profiles as stored
from tests.conftest import Trtbench
from tests.profile_kit import US, eager, on_cpu, replayed
from tests.report.conftest import accuracy, case, make, record
from tests.report.html.kit import data_of, renamed, rows_of, unpack
from tests.report.html.kit import stored as stored_run
from tests.report.html.profiles_kit import COMPILED, EAGER, FOLDER, file_of, profiled, run_of, shown


def test_a_case_is_explained_against_its_baseline_where_both_have_a_profile() -> None:
    both = file_of(profiled(EAGER, eager()), profiled(COMPILED, replayed(kernel_ns=10 * US)))
    run = run_of(EAGER, COMPILED)
    (pair,) = shown(run, both)["explanations"]
    assert (pair["case"], pair["base"]) == (1, 0)
    ((boundary, base, of_case, name),) = pair["measured"]
    assert (boundary, pair["gaps"], name) == ("latency", "measured", run.header.run)
    # The run measured more than the profile's kernels take, so all else is gaps.
    assert [pair["base_ns"], pair["ns"]] == pytest.approx([base, of_case], abs=1)
    assert [pair["base_work"], pair["work"]] == [
        sum(kernel.end - kernel.start for kernel in of.profile().kernels) // 3
        for of in (eager(), replayed(kernel_ns=10 * US))
    ]
    assert sum(ns for _, ns, _ in pair["totals"]) == pair["ns"] - pair["base_ns"]
    assert pair["parts"]
    for part in pair["parts"]:
        assert sum(cause["ns"] - cause["base_ns"] for cause in part["causes"]) == part["ns"] - part["base_ns"]
    assert {kernel for part in pair["parts"] for cause in part["causes"] for kernel in cause["case"]} >= {
        "gemm_0 (10.0 us)"
    }
    assert shown(run, file_of(profiled(COMPILED, replayed())))["explanations"] == []


def store_of(root: Path, run: Run, *files: ProfileRun) -> Path:
    """A store of the run and of files of profiles beside it, which were made on its device."""
    path = stored_run(root, run)
    for each in files:
        whole = msgspec.structs.replace(each, suite="smoke", environments=run.header.environments)
        day = whole.created[:10].replace("-", "")
        stored.write(path.with_name(f"profile-{day}T120000Z-smoke-1a2b3c4.json"), whole)
    return root


def shown_in(root: Path) -> dict:
    bench.write_report(out=root / "page.html", store=root)
    return data_of((root / "page.html").read_text(encoding="utf-8"))


TOGETHER = file_of(profiled(EAGER, eager(kernel_ns=30 * US)), profiled(COMPILED, replayed(kernel_ns=10 * US)))
LATER, LAST = "2026-11-29T12:00:00+00:00", "2026-11-30T12:00:00+00:00"
CRASH = CaseProfile(case=COMPILED.id, label=COMPILED.label, failure=Failure(kind="Crash", stage="x", message="x"))
OF_EAGER = file_of(profiled(EAGER, eager()), created=LATER)
LATER_FILES = {
    "the newest has one of them": ([OF_EAGER], TOGETHER.created),
    "the newest lacks one profile": ([file_of(profiled(EAGER, eager()), CRASH, created=LATER)], TOGETHER.created),
    "each has a newer one alone": (
        [OF_EAGER, file_of(profiled(COMPILED, replayed()), created=LAST)],
        TOGETHER.created,
    ),
    "the newest has both": ([file_of(profiled(EAGER, eager()), profiled(COMPILED, replayed()), created=LATER)], LATER),
}


@pytest.mark.parametrize(("files", "created"), LATER_FILES.values(), ids=LATER_FILES)
def test_a_pair_is_explained_from_the_profiles_that_the_command_takes(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch, files: list[ProfileRun], created: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_of(tmp_path / "store", run_of(EAGER, COMPILED), TOGETHER, *files)
    (pair,) = shown_in(store)["explanations"]
    assert pair["profiles_created"] == [created]
    by_labels = bench.explain(EAGER.label, COMPILED.label, store=store)
    assert (pair["base_ns"], pair["ns"]) == (by_labels.a.window, by_labels.b.window)
    assert (pair["base_work"], pair["work"]) == (by_labels.a.work, by_labels.b.work)
    assert [ns for _, ns, _ in pair["totals"]] == [ns for _, ns, _ in by_labels.totals]
    name, *words = shlex.split(pair["command"])
    assert (name, words[-2:]) == ("trtbench", ["--store", "store"])
    assert trtbench(*words, "--format", "json") == 0
    assert [each["ns"] for each in json.loads(trtbench.out)["totals"]] == [ns for _, ns, _ in pair["totals"]]


@pytest.mark.parametrize(
    ("older", "gaps"), [(("gpu", "latency"), "measured"), (("gpu",), "unprofiled")], ids=["latency", "no latency"]
)
def test_the_command_of_a_pair_takes_the_times_of_the_runs_that_the_page_takes(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch, older: tuple[str, ...], gaps: str
) -> None:
    monkeypatch.chdir(tmp_path)
    both = EAGER, COMPILED
    first = make(both, [record(of, 1.0 + n, boundaries=older) for n, of in enumerate(both)])
    store = store_of(tmp_path / "results", renamed(first, "20261122T101500Z-smoke-1a2b3c4"), TOGETHER)
    later = make(both, [record(of, 3.0 + n, boundaries=("gpu",)) for n, of in enumerate(both)])
    stored_run(store, renamed(later, "20261123T101500Z-smoke-1a2b3c4"))
    (pair,) = shown_in(store)["explanations"]
    by_command = bench.explain(EAGER.label, COMPILED.label, store=store)
    assert (pair["gaps"], by_command.gaps) == (gaps, gaps)
    assert trtbench(*shlex.split(pair["command"])[1:], "--format", "json") == 0
    told = json.loads(trtbench.out)
    assert (pair["ns"] - pair["base_ns"], pair["notes"]) == (told["difference"], told["notes"])
    assert {name: run for name, _, _, run in pair["measured"]} == told["runs"]
    assert [each[1:3] for each in pair["measured"]] == [
        [told[side]["measured"][name] for side in "ab"] for name in told["runs"]
    ]


@pytest.mark.parametrize("place", ["results", "store", "elsewhere/runs", "[a]*"])
@pytest.mark.parametrize("boundaries", [("gpu", "latency"), ("gpu",)], ids=["latency", "no latency"])
def test_the_command_of_a_page_of_some_runs_takes_their_times_and_not_newer_ones(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch, boundaries: tuple[str, ...], place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    both, name = (EAGER, COMPILED), "20261122T101500Z-smoke-1a2b3c4"
    old = make(both, [record(of, 1.0 + n, boundaries=boundaries) for n, of in enumerate(both)])
    store = store_of(Path(place), renamed(old, name), TOGETHER)
    new = make(both, [record(of, 3.0 + n, boundaries=("gpu", "latency")) for n, of in enumerate(both)])
    stored_run(store, renamed(new, "20261129T101500Z-smoke-1a2b3c4"))
    bench.write_report([name], "page.html", store=store)
    (pair,) = data_of(Path("page.html").read_text(encoding="utf-8"))["explanations"]
    assert {run for *_, run in pair["measured"]} == {name}
    words = shlex.split(pair["command"])[1:]
    assert words[words.index("--run") + 1] == name
    assert trtbench(*words, "--format", "json") == 0
    told = json.loads(trtbench.out)
    assert set(told["runs"].values()) == {name}
    assert (pair["ns"] - pair["base_ns"], pair["notes"]) == (told["difference"], told["notes"])
    assert [each[1:3] for each in pair["measured"]] == [
        [told[side]["measured"][boundary] for side in "ab"] for boundary in told["runs"]
    ]


@pytest.mark.parametrize("place", ["elsewhere", "other/results", "st x"])
def test_the_command_of_a_run_outside_of_the_store_names_the_one_that_it_lies_in(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_of(Path(place), run_of(EAGER, COMPILED), TOGETHER)
    (path,) = store.glob("*/*/*.jsonl")
    bench.write_report([path], "page.html")
    (pair,) = data_of(Path("page.html").read_text(encoding="utf-8"))["explanations"]
    assert trtbench.paste(f"{pair['command']} --format json") == 0
    told = json.loads(trtbench.out)
    assert (pair["ns"] - pair["base_ns"], pair["notes"]) == (told["difference"], told["notes"])
    assert set(told["runs"].values()) == {path.stem}


def test_a_run_of_another_store_than_the_profiles_is_named_by_its_file(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    both = EAGER, COMPILED
    newer = make(both, [record(of, 3.0 + n, boundaries=("latency",)) for n, of in enumerate(both)])
    old = make(both, [record(of, 1.0 + n, boundaries=("gpu",)) for n, of in enumerate(both)])
    other = stored_run(Path("other/results"), renamed(newer, "20261129T101500Z-smoke-1a2b3c4"))
    store = store_of(Path("results"), renamed(old, "20261122T101500Z-smoke-1a2b3c4"), TOGETHER)
    (path,) = store.glob("*/*/*.jsonl")
    bench.write_report([path, other], "page.html")
    (pair,) = data_of(Path("page.html").read_text(encoding="utf-8"))["explanations"]
    assert str(other) in shlex.split(pair["command"])
    assert trtbench.paste(f"{pair['command']} --format json") == 0
    told = json.loads(trtbench.out)
    assert told["runs"] == {name: run for name, _, _, run in pair["measured"]} != {}
    assert other.stem in told["runs"].values()


def test_profiles_that_lie_in_no_store_have_no_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    store = store_of(Path("store"), run_of(EAGER, COMPILED), TOGETHER)
    for path in store.glob("*/*/*"):
        path.rename(path.name)
    bench.write_report([*Path().glob("*.jsonl")], "page.html")
    (pair,) = data_of(Path("page.html").read_text(encoding="utf-8"))["explanations"]
    assert (pair["profiles_created"], pair["command"]) == ([TOGETHER.created], "")


def test_the_page_and_the_command_say_why_a_run_that_tells_times_judges_no_case(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    both = EAGER, COMPILED
    name = "20261122T101500Z-smoke-1a2b3c4"
    newest = make(both, [record(of, 1.0 + n, boundaries=("gpu",)) for n, of in enumerate(both)])
    store = store_of(tmp_path / "results", newest, TOGETHER)
    assert trtbench("explain", EAGER.label, COMPILED.label, "--store", "results") == 0
    assert "times A" in trtbench.out
    varying = msgspec.structs.replace(accuracy(ok=False), varies=True)
    records = [record(EAGER, 2.0), record(COMPILED, 1.0, accuracy=varying)]
    stored_run(store, renamed(make(both, records), name))
    assert trtbench("explain", EAGER.label, COMPILED.label, "--store", "results") == 0
    assert "times A" not in trtbench.out
    assert f"no ratio is given: B has other outputs in each call in {name}" in " ".join(trtbench.out.split())
    (pair,) = shown_in(store)["explanations"]
    assert pair["notes"][0] == f"B has other outputs in each call in {name}, so that no ratio holds"


def test_pairs_come_by_the_size_of_their_speed_and_say_where_the_run_measured_something_else() -> None:
    of = {backend: case("net", backend) for backend in ("eager", "inductor", "aoti", "torchscript")}
    times = dict(zip(of, (4.0, 3.0, 1.0, 24.0), strict=True))
    run = make([*of.values()], [record(of[name], ms) for name, ms in times.items()])
    run = msgspec.structs.replace(run, path=f"{FOLDER}/{run.header.run}.jsonl")
    whole = shown(run, file_of(*(profiled(each, on_cpu().profile(device="cpu")) for each in of.values())))
    labels = unpack(whole["cases"]["columns"]["label"], len(of))
    pairs = whole["explanations"]
    assert [labels[pair["case"]].split("/")[1] for pair in pairs] == ["torchscript", "aoti", "inductor"]
    assert pairs[0]["otherwise"].startswith("the run measures a larger difference: latency of B is 20.")


def test_without_a_file_of_both_each_case_has_its_newest_profile(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    alone = file_of(profiled(EAGER, eager()), created=LATER), file_of(profiled(COMPILED, replayed()), created=LAST)
    store = store_of(tmp_path / "store", run_of(EAGER, COMPILED), file_of(profiled(EAGER, eager(2))), *alone)
    (pair,) = shown_in(store)["explanations"]
    assert pair["profiles_created"] == [LATER, LAST]
    assert trtbench(*shlex.split(pair["command"])[1:]) == 0
    with pytest.raises(UsageError) as caught:
        bench.explain(EAGER.label, COMPILED.label, store=store)
    assert caught.value.fix.split()[2].startswith("profile-20261129T120000Z")


def test_a_page_of_a_store_elsewhere_has_commands_for_the_default_one_and_no_folder_of_the_machine(
    tmp_path: Path, trtbench: Trtbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = store_of(tmp_path / "elsewhere" / "runs", run_of(EAGER, COMPILED), TOGETHER)
    (cut,) = store.glob("*/*/profile-*.json")
    cut.with_name("profile-20261129T120000Z-cut-1a2b3c4.json").write_text("{")
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    data = shown_in(store)
    assert str(tmp_path) not in json.dumps(data)
    assert (data["store"], len(data["problems"])) == ("results", 1)
    ((run,), (pair,)) = rows_of(data["runs"]), data["explanations"]
    assert run["show"] == f"trtbench show {run['id']}"
    store.rename(tmp_path / "here" / "results")
    assert trtbench(*shlex.split(pair["command"])[1:]) == 0
    trtbench.store = Path("results")
    assert trtbench(*shlex.split(run["show"])[1:]) == 0


def test_pairs_beyond_what_can_be_compared_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    others = [case("net", "inductor", batch=size) for size in (1, 8)]
    bases = [case("net", "eager", batch=size) for size in (1, 8)]
    both = file_of(*(profiled(of, eager()) for of in bases), *(profiled(of, replayed()) for of in others))
    run = run_of(*bases, *others)
    whole = shown(run, both)
    assert (whole["pairs"], len(whole["explanations"])) == (2, 2)
    monkeypatch.setattr(explanations, "MOST_COMPARED", 40)
    few = shown(run, both)
    assert (few["pairs"], len(few["explanations"])) == (2, 1)


def test_pairs_that_cannot_be_compared_are_not_counted() -> None:
    both = file_of(profiled(EAGER, eager()), profiled(COMPILED, on_cpu().profile(device="cpu")))
    whole = shown(run_of(EAGER, COMPILED), both)
    assert (whole["pairs"], whole["explanations"]) == (0, [])

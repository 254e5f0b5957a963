"""Profiles in the data of a page: which case has which, its parts, events, kernels, layers, and the explanations."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest

import bench
from bench.errors import UsageError
from bench.model.profile import CaseProfile, CondensedProfile, HeldCall, Layer, Layers, Profile, ProfileRun, Tensor
from bench.model.run import Failure, Run
from bench.profiling.condense import condense
from bench.report.html import explanations, page, profiles, write
from bench.store import profiles as stored
from tests.conftest import Trtbench
from tests.profile_kit import US, Timeline, eager, on_cpu, replayed
from tests.report.conftest import accuracy, case, make, record
from tests.report.html.kit import data_of, page_of, renamed, rows_of, unpack
from tests.report.html.kit import stored as stored_run

EVIL = "</script><img src=x onerror=alert(1)>"
FOLDER = "results/sm_90/gpu"
EAGER, COMPILED = case("net", "eager"), case("net", "inductor")


def run_of(*cases) -> Run:
    run = make(cases, [record(of, 1 + n) for n, of in enumerate(cases)])
    return msgspec.structs.replace(run, path=f"{FOLDER}/{run.header.run}.jsonl")


def profiled(of, timeline: Timeline | Profile, **fields) -> CaseProfile:
    whole = timeline if isinstance(timeline, Profile) else timeline.profile(unprofiled_ns=(200 * US,))
    return CaseProfile(case=of.id, label=of.label, condensed=condense(whole), **fields)


def file_of(*cases: CaseProfile, created: str = "2026-11-28T12:00:00+00:00", **fields) -> ProfileRun:
    return ProfileRun(created=created, version="0.2.0", cases=cases, **({"tool": "nsys"} | fields))


def shown(run: Run, *files: ProfileRun) -> dict:
    return page_of(run, profiled={FOLDER: files})


def test_the_parts_of_the_median_inference_add_up_to_its_window() -> None:
    data = shown(run_of(EAGER), file_of(profiled(EAGER, eager())))
    (row,) = rows_of(data["profiles"])
    assert (row["case"], row["places"], row["tool"], row["iterations"]) == (0, [0], "nsys", 3)
    assert sum(row[name] for name in profiles.PARTS) == row["window"]
    (plot,) = [each for each in data["plots"] if each["id"] == "waterfall"]
    bars = rows_of(plot["rows"])
    assert sum(bar["ns"] for bar in bars) == row["window"]
    assert {bar["step"]: bar["ns"] for bar in bars}["kernels"] == 4 * 20 * US


def test_a_profile_has_the_gpu_time_of_its_own_process_beside_its_held_calls() -> None:
    case = profiled(EAGER, eager())
    assert case.condensed is not None
    whole = msgspec.structs.replace(case.condensed.profile, gpu_ns=(90 * US,), recorded_gpu_ns=(95 * US,))
    condensed = msgspec.structs.replace(case.condensed, profile=whole, held=(HeldCall(span=93 * US, busy=80 * US),))
    (row,) = rows_of(shown(run_of(EAGER), file_of(msgspec.structs.replace(case, condensed=condensed)))["profiles"])
    assert (row["own_gpu"], row["recorded_gpu"], row["held"]) == (90 * US, 95 * US, 93 * US)


def test_the_newest_profile_of_a_case_is_shown_and_a_failure_only_where_there_is_none() -> None:
    failed = CaseProfile(case=EAGER.id, label=EAGER.label, failure=Failure(kind="Crash", stage="profile", message="x"))
    new, old = eager(kernel_ns=30 * US), eager(kernel_ns=10 * US)
    data = shown(run_of(EAGER), file_of(failed), file_of(profiled(EAGER, new)), file_of(profiled(EAGER, old)))
    (row,) = rows_of(data["profiles"])
    assert (row["kernels"], row.get("failure")) == (4 * 30 * US, None)
    (row,) = rows_of(shown(run_of(EAGER), file_of(failed))["profiles"])
    assert row["failure"] == "Crash in profile"


def test_profiles_of_another_folder_or_of_no_case_that_is_shown_are_left_out() -> None:
    elsewhere = page_of(run_of(EAGER), profiled={"results/sm_80/other": [file_of(profiled(EAGER, eager()))]})
    assert elsewhere["profiles"]["rows"] == 0
    assert shown(run_of(EAGER), file_of(profiled(COMPILED, eager())))["profiles"]["rows"] == 0


def events_of(data: dict, kind: str) -> list[dict]:
    """The events of the first profile's lanes of a kind, with the starts and the texts that they stand for."""
    (lane,) = [each for each in data["timelines"][0] if each["kind"] == kind]
    now, events = 0, rows_of(lane["events"])
    for event in events:
        now += event["start"]
        event |= {"start": now, "name": data["names"][event["name"]]}
    return events


def test_a_timeline_has_the_events_of_the_median_inference_where_they_were() -> None:
    condensed = condense(eager().profile())
    data = shown(run_of(EAGER), file_of(CaseProfile(case=EAGER.id, label=EAGER.label, condensed=condensed)))
    zero = min(each.start for each in condensed.profile.ranges if each.kind == "phase")
    kernels = [event for event in events_of(data, "stream") if event["kind"] == "kernel"]
    assert [(each["name"], each["start"] + zero, each["ns"]) for each in kernels] == [
        (each.name, each.start, each.end - each.start) for each in condensed.profile.kernels
    ]
    calls = condensed.profile.calls
    assert [each["delay"] for each in kernels] == [
        each.start - calls[each.call].start for each in condensed.profile.kernels if each.call is not None
    ]
    assert [each["name"] for each in events_of(data, "phase")] == ["h2d", "call", "d2h", "wait"]
    assert len(events_of(data, "module")) == 4


def test_of_many_events_the_longest_are_kept_and_the_others_counted() -> None:
    long = eager(kernels=profiles.MOST_EVENTS)
    data = shown(run_of(EAGER), file_of(profiled(EAGER, long)))
    lanes = data["timelines"][0]
    assert sum(lane["events"]["rows"] for lane in lanes) == profiles.MOST_EVENTS
    assert {lane["kind"]: bool(lane["left"]) for lane in lanes} == {
        "phase": False,
        "module": True,
        "call": True,
        "stream": True,
    }
    kept = condense(long.profile()).profile
    phases_modules = sum(each.kind in ("phase", "module") for each in kept.ranges)
    assert sum(lane["left"] for lane in lanes) == (
        phases_modules + len(kept.calls) + len(kept.kernels) + len(kept.copies) - profiles.MOST_EVENTS
    )


def test_kernels_are_those_of_the_terminal_and_the_rest_is_one_line() -> None:
    data = shown(run_of(EAGER), file_of(profiled(EAGER, eager(kernels=25))))
    rows = rows_of(data["kernels"])
    assert len(rows) == profiles.MOST_KERNELS + 1
    assert (rows[-1]["others"], rows[-1]["count"]) == (5, 5)
    assert sum(row["ns"] for row in rows) == 25 * 20 * US
    assert data["names"][rows[0]["name"]].startswith("gemm_")


def test_layers_are_in_the_order_of_the_engine_with_their_share() -> None:
    layers = (
        Layer(name="conv1 + relu", kind="Convolution", precision="FP16", tactic="sm80_x", ns=(30, 32, 31),
              outputs=(Tensor(name="y", format="NHWC8"),)),
        Layer(name="to output", kind="Reformat", reformat=True, ns=(10, 10, 9)),
    )  # fmt: skip
    engine = Profile(
        tool="layers", case=EAGER.id, label=EAGER.label, layers=Layers(runtime="TensorRT 10", layers=layers, calls=3)
    )
    only = CaseProfile(case=EAGER.id, label=EAGER.label, condensed=CondensedProfile(profile=engine))
    data = shown(run_of(EAGER), file_of(only, tool="layers"), file_of(profiled(EAGER, eager())))
    assert data["profiles"]["rows"] == 2  # one with events, one with layers
    first, second = rows_of(data["layers"])
    assert (data["names"][first["name"]], first["ns"], first["format"]) == ("conv1 + relu", 31, "NHWC8")
    assert (second["at"], second["reformat"], second["share"]) == (2, True, pytest.approx(10 / 41, rel=1e-5))


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


def test_names_of_kernels_end_no_script() -> None:
    timeline = Timeline()
    with timeline.range("iteration", "0"), timeline.range("module", EVIL):
        timeline.launch(f"kernel_{EVIL}", 20 * US, module=EVIL)
        timeline.sync()
    html = page.render(shown(run_of(EAGER), file_of(profiled(EAGER, timeline))))
    assert any(EVIL in name for name in data_of(html)["names"])
    assert EVIL not in html


def test_a_page_of_a_store_has_the_profiles_beside_its_runs_and_names_torn_files(tmp_path: Path) -> None:
    run = make([EAGER], [record(EAGER, 1.0)])
    path = stored_run(tmp_path, run)
    stored.write(path.with_name("profile-20261128T120000Z-x-1a2b3c4.json"), file_of(profiled(EAGER, eager())))
    path.with_name("profile-20261127T120000Z-x-1a2b3c4.json").write_text("{", encoding="utf-8")
    runs, problems = write.read_store(tmp_path)
    report = write.write(runs, tmp_path / "page.html", problems=problems)
    data = data_of((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert data["profiles"]["rows"] == 1
    assert len(report.problems) == 1
    assert "profile-20261127T120000Z" in report.problems[0]


def test_profiles_of_a_hundred_cases_stay_small() -> None:
    cases = [case("net", "eager", batch=size) for size in range(1, 101)]
    one = condense(eager(1, kernels=300).profile())
    each = [CaseProfile(case=of.id, label=of.label, condensed=one) for of in cases]
    html = page.render(shown(run_of(*cases), file_of(*each)))
    bare = page.render(page_of(run_of(*cases)))
    assert len(html) - len(bare) < 3_000_000

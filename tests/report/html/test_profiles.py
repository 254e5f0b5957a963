"""Profiles in the data of a page: which case has which, its parts, events, kernels and layers."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.model.profile import CaseProfile, CondensedProfile, HeldCall, Layer, Layers, Profile, Tensor
from bench.model.run import Failure
from bench.profiling.condense import condense
from bench.report.html import page, profiles, write
from bench.store import profiles as stored
from tests.profile_kit import US, Timeline, eager
from tests.report.conftest import case, make, record
from tests.report.html.kit import data_of, page_of, rows_of
from tests.report.html.kit import stored as stored_run
from tests.report.html.profiles_kit import COMPILED, EAGER, EVIL, file_of, profiled, run_of, shown


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

"""The waterfall of a run's cases: what the table shows, what its notes say, and the same as Markdown, CSV and JSON."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import msgspec
import pytest

from bench.analysis import waterfall as parts_of
from bench.analysis import waterfalls
from bench.analysis.waterfalls import ELSEWHERE, RunWaterfalls
from bench.model.profile import CaseProfile, CondensedProfile, HeldCall, Parts, Profile, ProfileRun
from bench.model.run import Failure, Measurement, Record, Run
from bench.model.suite import Case
from bench.report import profiles, waterfall
from tests import profile_kit
from tests.profile_kit import US, Timeline
from tests.store import kit

GOLDEN = Path(__file__).parents[1] / "golden" / "waterfall"
NAMES = ("eager", "inductor", "aoti", "onnxruntime", "tensorrt")
CASES = {name: kit.case("net", backend=name) for name in NAMES}


def condensed(profile: Profile) -> CondensedProfile:
    return CondensedProfile(profile=profile, parts=parts_of.parts(profile))


def of(case: Case, end: Profile | Failure | None) -> CaseProfile:
    if isinstance(end, Failure):
        return CaseProfile(case=case.id, label=case.label, failure=end)
    return CaseProfile(case=case.id, label=case.label, condensed=condensed(end) if end else None)


def beside(condensed: CondensedProfile, gpu: float, recorded_gpu: float, span: float) -> CondensedProfile:
    """A profile with the medians of its process, in us."""
    profile = msgspec.structs.replace(
        condensed.profile, gpu_ns=(round(gpu * US),) * 3, recorded_gpu_ns=(round(recorded_gpu * US),) * 3
    )
    held = 3 * (HeldCall(span=round(span * US), busy=round(span * US / 2)),)
    return msgspec.structs.replace(condensed, profile=profile, held=held)


def file(**profiles: Profile | Failure | None) -> ProfileRun:
    cases = tuple(of(CASES[name], end) for name, end in profiles.items())
    environments = {"default": kit.environment()}
    return ProfileRun(
        created="2026-11-28T10:00:00+00:00", version="1", tool="nsys", environments=environments, cases=cases
    )


def decoder() -> Timeline:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.launch("all", 10 * US)
        timeline.sync(return_ns=5 * US, stack=("model.py:7 forward",))
        timeline.launch("gemm", 100 * US)
        timeline.sync()
    return timeline


def run(*, times: dict[str, int] | None = None) -> Run:
    of_inductor = {"gpu_unheld": 150 * US, "latency": 170 * US}
    several = {"eager": times or {"gpu": 90 * US, "latency": 200 * US}, "inductor": of_inductor}
    records = tuple(
        Record(
            case=CASES[name].id,
            label=CASES[name].label,
            measurements=tuple(Measurement(boundary=boundary, samples=(ns,) * 60) for boundary, ns in each.items()),  # type: ignore[arg-type]
        )
        for name, each in several.items()
    )
    return Run(header=kit.header(tuple(CASES.values())), records=records, path="small.jsonl")


@pytest.fixture
def several() -> RunWaterfalls:
    failure = Failure(kind="Timeout", stage="profile", message="took 600 s", hint="--iterations 3")
    profiles = file(
        eager=profile_kit.eager(3).profile(unprofiled_ns=(140 * US,)),
        inductor=decoder().profile(unprofiled_ns=(120 * US,)),
        aoti=failure,
        tensorrt=profile_kit.replayed(3, kernels=6).profile(unprofiled_ns=(150 * US,)),
    )
    eager, inductor, aoti, tensorrt = profiles.cases
    assert eager.condensed is not None
    assert tensorrt.condensed is not None
    eager = msgspec.structs.replace(eager, condensed=beside(eager.condensed, 92, 93, 91))
    tensorrt = msgspec.structs.replace(tensorrt, condensed=beside(tensorrt.condensed, 120, 131, 132.5))
    profiles = msgspec.structs.replace(profiles, cases=(eager, inductor, aoti, tensorrt))
    cases = waterfalls.of_run(run(), [profiles])
    return RunWaterfalls(run="20261123T101500Z-small-1a2b3c4", cases=cases, make="trtbench profile suites/small.yaml")


@pytest.mark.parametrize("width", [66, 80, 160])
def test_the_table_is_as_it_was(several: RunWaterfalls, width: int) -> None:
    shown = waterfall.show(several, width=width)
    assert max(map(len, shown.splitlines())) <= width
    assert shown == (GOLDEN / f"table-{width}.txt").read_text()


def test_markdown_is_as_it_was(several: RunWaterfalls) -> None:
    assert waterfall.markdown(several) == (GOLDEN / "table.md").read_text()


def test_csv_and_json_have_raw_numbers(several: RunWaterfalls) -> None:
    rows = list(csv.DictReader(io.StringIO(waterfall.csv([several]))))
    assert [(row["label"], row["window_ns"], row["gpu_ns"], row["failure_kind"]) for row in rows] == [
        (CASES["eager"].label, "173000", "90000.0", ""),
        (CASES["inductor"].label, "131000", "", ""),
        (CASES["aoti"].label, "", "", "Timeout"),
        (CASES["onnxruntime"].label, "", "", ""),
        (CASES["tensorrt"].label, "144000", "", ""),
    ]
    assert (rows[0]["busy_ns"], rows[0]["run"]) == ("80000", several.run)
    own = {name: ns for name, ns in rows[0].items() if name.startswith("own_")}
    assert own == {
        "own_gpu_ns": "92000",
        "own_recorded_gpu_ns": "93000",
        "own_span_ns": "91000",
        "own_busy_ns": "45500",
    }
    assert {rows[1][name] for name in own} == {""}
    document = json.loads(waterfall.json([several]))["runs"][0]
    assert document["run"] == several.run
    eager, inductor, *_ = document["cases"]
    assert (eager["parts"]["kernels"], eager["parts"]["wait"]) == (80 * US, 0)
    assert eager["own"] == {"gpu": 92 * US, "recorded_gpu": 93 * US, "span": 91 * US, "busy": 45.5 * US}
    assert inductor["waits"][0]["where"] == "model.py:7 forward"


def test_the_newest_profile_counts_and_a_failure_only_without_any() -> None:
    failure = Failure(kind="Timeout", stage="profile", message="took 600 s")
    old = file(eager=profile_kit.eager(1).profile(), inductor=profile_kit.eager(1).profile())
    new = file(eager=profile_kit.replayed(2).profile(), inductor=failure, tensorrt=failure)
    read: list[int] = []

    def files():  # type: ignore[no-untyped-def]
        for number, each in enumerate((new, old, old)):
            read.append(number)
            yield each

    only = {CASES["eager"].id, CASES["inductor"].id}
    eager, inductor = waterfalls.of_run(run(), files(), only)
    assert (eager.iterations, inductor.iterations, inductor.failure) == (2, 1, None)
    assert read == [0, 1]
    assert waterfalls.of_run(run(), [new])[4].failure == failure


def test_profiles_of_another_environment_say_so() -> None:
    profiles = file(eager=profile_kit.eager(1).profile())
    other = {"default": kit.environment(libraries={"torch": "9"})}
    here, _, *_ = waterfalls.of_run(run(), [profiles])
    there, _, *_ = waterfalls.of_run(run(), [msgspec.structs.replace(profiles, environments=other)])
    assert (here.notes, there.notes) == ((), (ELSEWHERE,))


def test_layers_alone_are_no_profile() -> None:
    layers = ProfileRun(created="", version="", tool="layers", cases=(of(CASES["tensorrt"], None),))
    assert waterfalls.of_profiles(layers) == ()
    assert waterfalls.of_run(run(), [layers])[4].tool == ""


def test_a_bar_adds_up_and_shows_the_largest_remainders() -> None:
    assert waterfall.bar(Parts(window=100, kernels=100)) == "█" * 20
    assert waterfall.bar(Parts(window=100, kernels=52, launch=26, tail=22), 4) == "██▒·"
    assert waterfall.bar(Parts(window=3, operators=1, threads=1, python=1), 10) == "████░░░▒▒▒"
    assert waterfall.bar(Parts(window=0)) == ""
    for launch in range(1, 30):
        assert len(waterfall.bar(Parts(window=100, kernels=100 - launch - 1, launch=launch, wait=1))) == 20


def test_what_is_to_be_doubted_has_a_note() -> None:
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        timeline.launch("gemm", 10 * US)
        timeline.python(50 * US)
    profile = timeline.profile(unprofiled_ns=(20 * US,))
    calm = msgspec.structs.replace(profile, unprofiled_ns=(55 * US,))
    unknown = msgspec.structs.replace(
        profile, calls=(), kernels=tuple(msgspec.structs.replace(k, call=None) for k in profile.kernels)
    )
    assert any("times as long" in note for note in notes(profile))
    assert notes(calm) == []
    assert any("no event explains" in note for note in notes(unknown))


@pytest.mark.parametrize(
    ("gpu", "recorded_gpu", "span", "texts"),
    [
        (90, 94.9, 90, []),
        (90, 96, 90, ["a recorded call on a held stream: 90.0 us, by events 96.0 us (-6.2%)"]),
        (80, 90, 90, ["held stream: 90.0 us, gpu of its process 80.0 us (+12.5%)", "of the run, other processes"]),
        (96, 96, 96, ["gpu of the profiled process: 96.0 us, of the run, other processes: 90.0 us (+6.7%)"]),
    ],
)
def test_a_profile_is_set_beside_gpu_of_its_own_process_and_that_beside_the_run(
    gpu: float, recorded_gpu: float, span: float, texts: list[str]
) -> None:
    profiles = file(eager=profile_kit.eager(3).profile())
    (case,) = profiles.cases
    assert case.condensed is not None
    case = msgspec.structs.replace(case, condensed=beside(case.condensed, gpu, recorded_gpu, span))
    several = waterfalls.of_run(run(), [msgspec.structs.replace(profiles, cases=(case,))], {case.case})
    shown = waterfall.notes(several)
    assert len(shown) == len(texts)
    assert all(text in note for text, note in zip(texts, shown, strict=True))


def notes(profile: Profile) -> list[str]:
    return waterfall.notes(waterfalls.of_profiles(file(eager=profile)))


def test_texts_of_a_file_cannot_steer_a_terminal() -> None:
    case = CASES["eager"]
    evil = CaseProfile(case=case.id, label="net\x1b[31m", condensed=condensed(decoder().profile()))
    assert evil.condensed is not None
    call = msgspec.structs.replace(evil.condensed.profile.calls[1], stack=("a\x1b]8;;b",))
    calls = (evil.condensed.profile.calls[0], call, *evil.condensed.profile.calls[2:])
    profile = msgspec.structs.replace(evil.condensed.profile, calls=calls)
    evil = msgspec.structs.replace(evil, condensed=msgspec.structs.replace(evil.condensed, profile=profile))
    each = ProfileRun(created="", version="", tool="nsys", cases=(evil,))
    shown = waterfall.render(each)
    assert "\x1b" not in shown
    assert "a\\x1b]8;;b" in shown


def test_a_note_of_several_cases_is_one_sentence_that_names_them() -> None:
    slow = msgspec.structs.replace(profile_kit.eager(3).profile(), unprofiled_ns=(10_000,) * 3, notes=("no stacks",))
    calm = msgspec.structs.replace(profile_kit.eager(3).profile(), notes=("no stacks",))
    several = waterfalls.of_profiles(file(eager=slow, inductor=slow, aoti=calm))
    first, second = waterfall.notes(several)
    assert first == "all 3 cases: no stacks"
    ratio = max(each.ratio or 0 for each in several)
    assert second.startswith(f"{CASES['eager'].label}, {CASES['inductor'].label} take up to {ratio:.2f} times as long")
    assert waterfall.whom(list("abcde"), list("abcdef")) == "a, b, c and 2 more cases"
    assert waterfall.whom(["a"], ["a"]) == "a"


def test_figures_are_of_the_window_that_is_shown() -> None:
    windows = (10, 10, 40, 50)  # us
    parts = tuple(Parts(window=ns * US, operators=ns * US) for ns in windows)
    profile = Profile(tool="torch", case="c", label="net/eager", device="cpu", unprofiled_ns=(20 * US, 30 * US))
    case = CaseProfile(case="c", label="net/eager", condensed=CondensedProfile(profile=profile, parts=parts))
    each = ProfileRun(created="", version="", tool="torch", cases=(case,))
    (shown,) = waterfalls.of_profiles(each)
    assert (shown.parts, shown.ratio) == (parts[0], 10 / 25)
    text = " ".join(waterfall.render(each, width=100).split())
    assert "of the 2nd fastest of 4 windows of each profile" in text
    assert "0.40x" in text
    noted = " ".join(profiles.render(each, width=100).split())
    assert "net/eager: the 4 windows of the profile lie far apart, 10.0 us to 50.0 us" in noted


@pytest.mark.parametrize(
    ("counts", "text"),
    [
        ({1}, "the only window"),
        ({2}, "the 1st fastest of 2 windows"),
        ({5}, "the 3rd fastest of 5 windows"),
        ({22}, "the 11th fastest of 22 windows"),
        ({42}, "the 21st fastest of 42 windows"),
        ({3, 10}, "the median window (the faster of the middle two)"),
    ],
)
def test_which_window_is_shown(counts: set[int], text: str) -> None:
    assert waterfall.middle_window(counts) == text

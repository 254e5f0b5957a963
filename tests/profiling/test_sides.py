"""Which cases `trtbench explain` takes, from files of profiles and of layers."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import msgspec
import pytest

import bench
from bench.cli.arguments import parse
from bench.errors import InputError, StoreError, UsageError
from bench.model.profile import CaseProfile, CondensedProfile, HostCall, Kernel, Layers, Profile, ProfileRun, Range
from bench.model.run import Failure
from bench.profiling import sides
from bench.store import profiles
from tests.analysis.explain_kit import residual

LABELS = ("net/eager/fp16/batch=1", "net/tensorrt/fp16/batch=1", "net/tensorrt[network=n.py:f]/fp16/batch=1")


def condensed(label: str) -> CondensedProfile:
    """One kernel that is launched in a range of the module ``stem``."""
    return CondensedProfile(
        profile=Profile(
            tool="torch",
            case=label,
            label=label,
            ranges=(Range(name="stem", kind="module", start=0, end=50),),
            calls=(HostCall(name="cudaLaunchKernel", start=10, end=20),),
            kernels=(Kernel(name="sgemm", start=30, end=60, call=0),),
        )
    )


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """A store with one file of three cases, and a fourth that failed."""
    cases = [
        CaseProfile(case=f"{number}" * 12, label=label, condensed=condensed(label))
        for number, label in enumerate(LABELS)
    ]
    failed = CaseProfile(
        case="f" * 12,
        label="net/aoti/fp16/batch=1",
        failure=Failure(kind="Unavailable", stage="build", message="no compiler"),
    )
    run = ProfileRun(created="2026-11-28T10:00:00+00:00", version="1", tool="torch", cases=(*cases, failed))
    profiles.write(tmp_path / "arch" / "device" / "profile-20261128T100000Z-net-abc1234.json", run)
    return tmp_path


@pytest.mark.parametrize(
    "text",
    [LABELS[0], "net/eager", "eager", "0" * 12, "0000", "profile-20261128T1:eager", "20261128T1:0000", "abc1234:eager"],
)
def test_a_case_is_named_by_its_label_its_parts_or_its_id(store: Path, text: str) -> None:
    a, b, *_ = sides.find(text, LABELS[2], store)
    assert (a.label, b.label) == (LABELS[0], LABELS[2])


def test_kernels_have_the_modules_around_their_launches(store: Path) -> None:
    assert [name.path for name in sides.find("eager", LABELS[1], store)[0].units[0].names] == ["stem"]


def test_a_file_is_named_by_its_path_and_b_is_of_the_same(store: Path) -> None:
    (path,) = store.glob("*/*/*.json")
    a, b, *_ = sides.find(f"{path}:eager", LABELS[2], Path("nowhere"))
    assert (a.label, b.label) == (LABELS[0], LABELS[2])
    assert sides.find("eager", LABELS[1], Path("nowhere"), str(path))[1].label == LABELS[1]


def test_printed_layers_are_sides_too(tmp_path: Path) -> None:
    engine = Layers(runtime="TensorRT 8.6.1", layers=tuple(residual("layer1.0")), calls=3)
    cases = [{"case": "c" * 12, "label": LABELS[1], **msgspec.to_builtins(engine)}]
    path = tmp_path / "layers.json"
    path.write_text(json.dumps({"schema": 1, "cases": cases}))
    copy = tmp_path / "copy.json"
    copy.write_bytes(path.read_bytes())
    side, *_ = sides.find(str(path), str(copy), tmp_path)
    assert (side.kind, side.tool, side.label, len(side.units)) == ("layer", "TensorRT 8.6.1", LABELS[1], 3)


BAD: dict[str, tuple[str, type[InputError], str]] = {
    "no such case": ("onnxruntime", UsageError, "no case 'onnxruntime'"),
    "several": ("net", UsageError, "'net' fits 4 cases"),
    "a failure": ("aoti", UsageError, "could not be profiled: no compiler"),
    "no such file": ("gone.json:eager", StoreError, "there is no such file"),
    "a file of several": ("profile-20261128T100000Z-net-abc1234", UsageError, "it has 4 cases"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_names_are_one_error(store: Path, name: str) -> None:
    text, error, what = BAD[name]
    with pytest.raises(error) as caught:
        sides.find(text, "eager", store)
    assert what in caught.value.what
    assert caught.value.fix


def test_a_case_of_older_profiles_is_named_with_their_file(store: Path) -> None:
    (path,) = store.glob("*/*/*.json")
    other = CaseProfile(
        case="9" * 12, label="other/eager/fp16/batch=1", condensed=condensed("other/eager/fp16/batch=1")
    )
    newer = ProfileRun(created="2026-11-29T10:00:00+00:00", version="1", tool="torch", cases=(other,))
    profiles.write(path.with_name("profile-20261129T100000Z-other-abc1234.json"), newer)
    older = "profile-20261128T100000Z-net-abc1234"
    newest = "profile-20261129T100000Z-other-abc1234"
    assert sides.find("net/eager", f"{older}:net/tensorrt", store).a.label == LABELS[0]
    with pytest.raises(UsageError, match=f"no case 'net/eager'; {older} has both") as caught:
        sides.find("net/eager", "net/tensorrt", store, newest)
    assert fitting(caught.value, store) == (LABELS[0], LABELS[1])
    for a, b, words in (
        ("net/eager", "other/eager", [f"{older}:net/eager", f"{newest}:other/eager"]),
        ("other/eager", "net/eager", [f"{newest}:other/eager", f"{older}:net/eager"]),
    ):
        with pytest.raises(UsageError, match=f"no case 'net/eager', which {older} has") as caught:
            sides.find(a, b, store)
        assert shlex.split(caught.value.fix)[2:4] == words
        fitting(caught.value, store)
    with pytest.raises(UsageError, match="no case 'nothing'"):
        sides.find("net/eager", "nothing", store)


def test_a_name_that_fits_several_cases_of_its_file_is_a_label_in_the_command(store: Path) -> None:
    (path,) = store.glob("*/*/*.json")
    labels = ("other/eager/fp32/batch=8", "other/eager/fp16/batch=1")
    cases = [
        CaseProfile(case=f"{number}" * 12, label=label, condensed=condensed(label))
        for number, label in enumerate(labels, 7)
    ]
    newer = ProfileRun(created="2026-11-29T10:00:00+00:00", version="1", tool="torch", cases=tuple(cases))
    profiles.write(path.with_name("profile-20261129T100000Z-other-abc1234.json"), newer)
    with pytest.raises(
        UsageError, match=r"'other/eager' fits 2 cases of profile-\S+, of which the command names one"
    ) as caught:
        sides.find("other/eager", "net/eager", store)
    assert fitting(caught.value, store) == (labels[1], LABELS[0])  # of the precision and batch size of the other
    assert caught.value.fix.endswith(" --across model")


def test_a_part_of_a_label_behind_a_file_is_no_other_model_in_the_command(store: Path) -> None:
    (path,) = store.glob("*/*/*.json")
    label = "net/inductor/fp16/batch=1"
    case = CaseProfile(case="7" * 12, label=label, condensed=condensed(label))
    newer = ProfileRun(created="2026-11-29T10:00:00+00:00", version="1", tool="torch", cases=(case,))
    name = "profile-20261129T100000Z-net-abc1235"
    profiles.write(path.with_name(f"{name}.json"), newer)
    with pytest.raises(UsageError, match="no case 'eager', which") as caught:
        sides.find(f"{name}:eager", f"{name}:inductor", store)
    assert "--across" not in caught.value.fix
    assert fitting(caught.value, store) == (LABELS[0], label)


def fitting(error: UsageError, store: Path) -> tuple[str, str]:
    """The labels that the command finds which an error names."""
    arguments = parse(shlex.split(error.fix)[1:])
    assert (arguments.command, arguments.store) == ("explain", store)
    pair = sides.find(arguments.a, arguments.b, store, arguments.file or "")
    return pair.a.label, pair.b.label


@pytest.mark.parametrize(("a", "b"), [("eager", "eager"), (LABELS[0], "0000"), ("profile-20261128T1:eager", "eager")])
def test_one_case_is_not_compared_with_itself(store: Path, a: str, b: str) -> None:
    with pytest.raises(UsageError, match=f"A and B are one and the same case, {LABELS[0]}") as caught:
        sides.find(a, b, store)
    assert LABELS[1] in caught.value.fix


NEWER = "profile-20261129T100000Z-net-abc1234"


def newer(store: Path, *cases: CaseProfile, suite: str = "net") -> Path:
    """Profiles of the same suite that are a day younger; the path of their file."""
    (path,) = store.glob("*/*/*.json")
    profiles.write(path, msgspec.structs.replace(profiles.read(path), suite="net"))
    run = ProfileRun(created="2026-11-29T10:00:00+00:00", version="1", tool="torch", suite=suite, cases=cases)
    profiles.write(path.with_name(f"{NEWER}.json"), run)
    return path.with_name(f"{NEWER}.json")


def whole(number: int) -> CaseProfile:
    return CaseProfile(case=f"{number}" * 12, label=LABELS[number], condensed=condensed(LABELS[number]))


def without(number: int) -> CaseProfile:
    failure = Failure(kind="Timeout", stage="profile", message="no result within 60 s")
    return CaseProfile(case=f"{number}" * 12, label=LABELS[number], failure=failure)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


CUT = {
    "a file that ends early": (
        (whole(0), whole(2)),
        "cannot be read (not a file of profiles: Input data was truncated)",
    ),
    "a case that failed": ((whole(0), without(2)), f"have no profile of {LABELS[2]}, which failed"),
    "cases that had no turn": ((whole(0),), "have not all of these cases"),
}  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_profiles_that_were_cut_off_give_way_to_the_newest_complete_ones(store: Path, name: str) -> None:
    cases, lack = CUT[name]
    path = newer(store, *cases)
    if "ends early" in name:
        cut(path)
    pair = sides.find(LABELS[0], LABELS[2], store)
    assert (pair.a.label, pair.b.label) == (LABELS[0], LABELS[2])
    assert pair.source == (
        f"profiles are those of profile-20261128T100000Z-net-abc1234, as the newest, {NEWER}, {lack}"
    )
    explanation = bench.explain(LABELS[0], LABELS[2], store=store)
    assert explanation.notes[0] == pair.source


def test_complete_profiles_and_named_files_are_what_is_read(store: Path) -> None:
    path = newer(store, whole(0), whole(1), without(2))
    assert sides.find(LABELS[0], LABELS[1], store).source == ""
    with pytest.raises(UsageError, match="could not be profiled: no result within 60 s"):
        sides.find(LABELS[0], LABELS[2], store, NEWER)
    cut(path)
    for names in ((f"{NEWER}:eager", LABELS[2]), (str(path), LABELS[2])):
        with pytest.raises(StoreError, match="not a file of profiles"):
            sides.find(*names, store)


def test_newer_profiles_of_another_suite_give_way_too_unless_they_are_named(store: Path) -> None:
    newer(store, whole(0), suite="other")
    older = "profile-20261128T100000Z-net-abc1234"
    assert sides.find(LABELS[0], LABELS[1], store).source == (
        f"profiles are those of {older}, as the newest, {NEWER}, have not all of these cases"
    )
    with pytest.raises(UsageError, match=f"no case {LABELS[1]!r}; {older} has both"):
        sides.find(LABELS[0], LABELS[1], store, NEWER)


def test_profiles_that_were_cut_off_give_way_to_the_newest_of_both_cases_whatever_their_suite(store: Path) -> None:
    path = newer(store, whole(0))
    other = ProfileRun(
        created="2026-11-28T20:00:00+00:00", version="1", tool="torch", suite="other", cases=(whole(0), whole(2))
    )
    profiles.write(path.with_name("profile-20261128T200000Z-other-abc1234.json"), other)
    pair = sides.find(LABELS[0], LABELS[2], store)
    assert pair.source.startswith("profiles are those of profile-20261128T200000Z-other-abc1234,")


def test_a_case_that_failed_everywhere_is_reported_of_the_newest(store: Path) -> None:
    newer(store, without(0), CaseProfile(case="f" * 12, label="net/aoti/fp16/batch=1", failure=without(0).failure))
    with pytest.raises(UsageError, match="could not be profiled: no result within 60 s"):
        sides.find("aoti", "aoti", store)


def test_a_run_has_no_profiles(tmp_path: Path) -> None:
    path = tmp_path / "20261128T100000Z-net-abc1234.jsonl"
    path.write_text("{}")
    with pytest.raises(StoreError, match="a run, which has no profiles"):
        sides.find(f"{path}:a", "b", tmp_path)


def test_a_piece_of_a_label_that_no_other_case_has_names_it(store: Path) -> None:
    assert sides.find("network=n.py", "eager", store).a.label == LABELS[2]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"schema": 1}', '{"schema": 1, "cases": [{}]}', "\x00\xff"])
def test_another_file_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content.encode("latin-1"))
    with pytest.raises(StoreError, match="not a file of profiles"):
        sides.find(f"{path}:a", "b", tmp_path)


def test_a_store_without_profiles_says_how_to_make_them(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        sides.find("a", "b", tmp_path)
    assert caught.value.fix == f"make one: trtbench profile SUITE --store {shlex.quote(str(tmp_path))}"

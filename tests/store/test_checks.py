"""Values that no run has: a file with them is read, the record is reported, and nothing of it becomes a row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench import store
from bench.analysis import times as spent
from bench.analysis.rows import rows
from bench.errors import StoreError
from bench.model.run import Footer
from bench.report import export, text, times
from bench.store import codec
from tests.store.kit import GOLDEN, case, header, record

Change = Callable[[dict[str, Any]], object]


def run_of(tmp_path: Path, *lines: bytes) -> Path:
    path = tmp_path / "20261123T101500Z-small-1a2b3c4.jsonl"
    path.write_bytes(b"".join(lines))
    return path


def changed(line: bytes, change: Change) -> bytes:
    content = json.loads(line)
    change(content)
    return json.dumps(content, separators=(",", ":")).encode() + b"\n"


def first(content: dict[str, Any]) -> dict[str, Any]:
    return content["measurements"][0]


OUTPUT = {"name": "y", "cosine": 0.5, "max_abs": 0.1, "rel_l2": 0.1, "sqnr": None}
WRONG: dict[str, tuple[Change, str]] = {
    "a negative time": (lambda r: first(r).update(samples=[5, -1]), "a time of latency is -1 ns"),
    "a time of zero": (lambda r: first(r).update(samples=[0, 5]), "a time of latency is 0 ns"),
    "a time of ages": (lambda r: first(r).update(samples=[10**18]), "a time of latency is 1000000000000000000 ns"),
    "a huge number": (lambda r: first(r).update(samples=[10**30]), "a time of latency is "),
    "a replicate below zero": (lambda r: r.update(replicate=-1), "replicate is -1"),
    "a build below zero": (lambda r: r.update(build=-7), "build is -7"),
    "a boundary twice": (lambda r: r["measurements"].append(first(r)), "a boundary is there twice"),
    "a window without calls": (lambda r: first(r).update(window_ns=5), "latency has a window without calls"),
    "a negative window": (lambda r: first(r).update(window_ns=-5, calls=3), "window_ns of latency is -5"),
    "another batch": (lambda r: first(r).update(batch=4), "latency is of batch 4, the case of 1"),
    "marks beyond the samples": (lambda r: first(r).update(marked=[99]), "marks samples that it does not have"),
    "a negative phase": (lambda r: r.update(phases=[{"name": "load", "ns": -1}]), "the time of load is -1 ns"),
    "the label of another case": (lambda r: r.update(label="other/eager/fp32"), "its label is 'other/eager/fp32'"),
    "ok with a cosine below its limit": (
        lambda r: r.update(accuracy={"ok": True, "outputs": [OUTPUT | {"cosine": -1}], "threshold": {"cosine": 0.9}}),
        "'y' is called accurate with cosine -1, the limit is 0.9",
    ),
    "ok with an error above its limit": (
        lambda r: r.update(accuracy={"ok": True, "outputs": [OUTPUT], "threshold": {"rel_l2": 0.01}}),
        "'y' is called accurate with rel_l2 0.1, the limit is 0.01",
    ),
    "ok with NaN": (
        lambda r: r.update(accuracy={"ok": True, "outputs": [OUTPUT | {"nan": 3}]}),
        "'y' is called accurate and has NaN",
    ),
    "ok with a cosine below its limit against the quantized reference": (
        lambda r: r.update(
            accuracy={
                "ok": True,
                "outputs": [OUTPUT | {"quantized_cosine": 0.9}],
                "threshold": {"quantized_cosine": 0.99},
            }
        ),
        "'y' is called accurate with quantized_cosine 0.9, the limit is 0.99",
    ),
    "a cosine of 7 with the quantized reference": (
        lambda r: r.update(accuracy={"ok": False, "outputs": [OUTPUT | {"quantized_cosine": 7}]}),
        "the cosine of 'y' is 7",
    ),
    "a cosine of 7 of the quantized reference with itself": (
        lambda r: r.update(accuracy={"ok": False, "outputs": [OUTPUT | {"rounding_cosine": 7}]}),
        "the cosine of 'y' is 7",
    ),
    "a cosine of 7": (
        lambda r: r.update(accuracy={"ok": False, "outputs": [OUTPUT | {"cosine": 7}]}),
        "the cosine of 'y' is 7",
    ),
    "negative memory": (lambda r: r.update(telemetry={"host": {"peak_rss_bytes": -1}}), "peak_rss_bytes is -1"),
    "negative work": (lambda r: r.update(work={"flops": -1, "bytes": 1}), "its work is negative"),
    "a fact of 5,000 digits": (lambda r: r.update(fairness={"threads": 10**4000}), ""),
}


@pytest.mark.parametrize("name", WRONG)
def test_a_record_that_cannot_be_is_reported_and_no_row(tmp_path: Path, name: str) -> None:
    change, message = WRONG[name]
    path = run_of(tmp_path, codec.encode(header()), changed(codec.encode(record()), change))
    run = store.read(path)
    assert run.records == ()
    assert run.damage.startswith(f"{path}:2: skipped, ")
    assert message in run.damage
    assert len(run.damage) < 500
    assert [row.ranked for row in rows(run)] == [False]
    assert len(store.load_frame([path])) == 0
    assert "damaged:" in text.render(run)


def test_a_number_that_is_none_is_reported(tmp_path: Path) -> None:
    for number in (b"NaN", b"Infinity", b"1e999", b"-1e999"):
        line = codec.encode(record()).replace(b'"samples":[10,', b'"samples":[' + number + b",")
        run = store.read(run_of(tmp_path, codec.encode(header()), line))
        assert (run.records, "skipped" in run.damage) == ((), True)


def test_zero_is_a_time_of_parts_that_an_event_rounds_to_nothing(tmp_path: Path) -> None:
    line = changed(codec.encode(record()), lambda r: first(r).update(boundary="h2d", samples=[0, 32]))
    assert store.read(run_of(tmp_path, codec.encode(header()), line)).damage == ""


def test_what_follows_a_second_header_is_another_run(tmp_path: Path) -> None:
    one = [codec.encode(header()), codec.encode(record(samples=(10,)))]
    two = [codec.encode(header(run="20261124T101500Z-other-1a2b3c4")), codec.encode(record(samples=(99,)))]
    path = run_of(tmp_path, *one, *two)
    run = store.read(path)
    assert [found.measurements[0].samples for found in run.records] == [(10,)]
    assert f"{path}:3: a second run begins here, 20261124T101500Z-other-1a2b3c4: its 1 lines are skipped" in run.damage
    assert store.load_frame([path])["median_ns"].tolist() == [10]
    with pytest.raises(StoreError, match="holds two runs"):
        store.reopen(path)


def test_a_process_that_is_there_twice_is_told_unless_it_failed_before(tmp_path: Path) -> None:
    twice = run_of(tmp_path, codec.encode(header()), codec.encode(record()), codec.encode(record(samples=(7,))))
    run = store.read(twice)
    assert f"{twice}:3: process 1 of net/fake/fp32 is there twice, this one counts" in run.damage
    lost = changed(
        codec.encode(record(samples=())),
        lambda r: r.update(failure={"kind": "DeviceLost", "stage": "x", "message": ""}),
    )
    assert store.read(run_of(tmp_path, codec.encode(header()), lost, codec.encode(record()))).damage == ""


def test_a_size_that_no_machine_has_room_for_is_read(tmp_path: Path) -> None:
    """A suite takes it, and its rows say that memory ran out."""
    huge = changed(codec.encode(header()), lambda h: h["cases"][0].update(symbols={"batch": 10**11}))
    assert store.read(run_of(tmp_path, huge)).header.cases[0].symbols == {"batch": 10**11}


@pytest.mark.parametrize(("says", "told"), [(2, False), (1, True), (3, True), (0, True), (-1, True), (10**30, True)])
def test_the_footer_is_compared_with_what_is_there(tmp_path: Path, says: int, told: bool) -> None:
    footer = Footer(finished="now", status="complete", records=says)
    records = [codec.encode(record(replicate=number)) for number in range(2)]
    run = store.read(run_of(tmp_path, codec.encode(header()), *records, codec.encode(footer)))
    assert ("the file has 2 records, and had" in run.damage) == told
    assert run.footer == footer


DUEL: dict[str, object] = {"contests": [], "boundary": "latency", "pairs": 25}
BAD_HEADERS: dict[str, tuple[Change, str]] = {
    "no builds": (lambda h: h.update(policy={"builds": 0}), "builds is 0"),
    "a huge timeout": (lambda h: h.update(policy={"timeout_ns": 10**30}), r"timeout_ns is 2\^99 or more"),
    "no replicates": (lambda h: h.update(policy={"replicates": -3}), "replicates is -3"),
    "an unknown symbol": (lambda h: h["cases"][0]["inputs"]["x"].update(shape=["n", 3]), "'n', a size of an input"),
    "a name that leaves its folder": (lambda h: h.update(run="../../x"), "is no name of a run"),
    "a huge size": (lambda h: h["cases"][0].update(symbols={"batch": 10**20}), "the size batch is"),
    "a duel of two pairs": (lambda h: h.update(duel=DUEL | {"pairs": 2}), "the pairs of the duel are 2"),
    "a duel of too many pairs": (lambda h: h.update(duel=DUEL | {"pairs": 201}), "the pairs of the duel are 201"),
    "a duel of nothing": (
        lambda h: h.update(duel=DUEL | {"contests": [[]]}),
        "a contest of the duel has no side",
    ),
    "a duel of others": (lambda h: h.update(duel=DUEL | {"contests": [["a"]]}), "a side of the duel is none of its"),
}


@pytest.mark.parametrize("name", BAD_HEADERS)
def test_a_header_out_of_range_is_refused_with_what_is_wrong(tmp_path: Path, name: str) -> None:
    change, message = BAD_HEADERS[name]
    with pytest.raises(StoreError, match=message):
        store.read(run_of(tmp_path, changed(codec.encode(header((case(),))), change)))


_LINES = [json.loads(line) for line in GOLDEN.read_bytes().splitlines()]
for _line in _LINES[1:]:
    _line["times"] = {"imports": 1_500_000_000, "measuring": 2_000_000_000}
_VALUES = (
    st.none() | st.booleans() | st.integers(-(10**40), 10**40) | st.floats() | st.text() | st.just([]) | st.just({})
)


def mutate(data: st.DataObject) -> str:
    """The golden run with one to three values of its lines replaced by others."""
    lines = json.loads(json.dumps(_LINES))
    for _ in range(data.draw(st.integers(1, 3))):
        place: Any = data.draw(st.sampled_from(lines))
        while True:
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.integers(0, 3)):
                place = place[key]
                continue
            place[key] = data.draw(_VALUES)
            break
    return "".join(json.dumps(line, separators=(",", ":")) + "\n" for line in lines)


def show_or_refuse(path: Path, content: str) -> None:
    """Read and show a file in every format; only a StoreError may come out."""
    path.write_text(content, encoding="utf-8", errors="surrogatepass")
    try:
        run = store.read(path)
    except StoreError:
        return
    for shown in (text.render(run, verbose=True, phases=True, stats=True), export.markdown(run), export.csv(run)):
        assert shown
    assert json.loads(export.json(run))
    where = spent.of_run(run)
    assert all((times.render(where), times.markdown(where), times.csv([where]), json.loads(times.json([where]))))


@settings(max_examples=100)
@given(st.data())
def test_any_value_in_any_place_is_shown_or_refused(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    show_or_refuse(tmp_path_factory.getbasetemp() / "values.jsonl", mutate(data))


@pytest.mark.long
@settings(max_examples=4_000)  # in each long session others
@given(st.data())
def test_thousands_of_files_are_shown_or_refused(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    show_or_refuse(tmp_path_factory.getbasetemp() / "thousands.jsonl", mutate(data))

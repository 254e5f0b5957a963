"""What the stored pairs of a duel say: ratios by pair, and why a side is not judged."""

from __future__ import annotations

import json
import re

import msgspec
import pytest

from bench.analysis import payback
from bench.analysis.duel import matches
from bench.analysis.rows import rows
from bench.analysis.speed import Speed
from bench.model.run import Accuracy, Duel, Failure, Footer, Header, Measurement, Record, Run, Warning
from bench.model.suite import Case, Input
from bench.report import duel as view
from bench.report import text

A, B, C = (
    Case(model="net", factory="f:m", inputs={"x": Input(shape=(1,))}, backend=name)
    for name in ("eager", "aoti", "fake")
)


def record(case: Case, pair: int, ms: float, **fields: object) -> Record:
    samples = tuple(round(ms * 1e6 * factor) for factor in (1, 1.5, 0.9))
    measured = Measurement(boundary="latency", samples=samples)
    return Record(case=case.id, label=case.label, replicate=pair, measurements=(measured,), **fields)  # type: ignore[arg-type]


def duel(*records: Record, pairs: int = 25, boundary: str = "latency") -> Run:
    header = Header(
        run="r",
        created="",
        version="0",
        environments={},
        suite="",
        suite_path="x.yaml",
        cases=(A, B, C),
        duel=Duel(contests=((A.id, B.id, C.id),), boundary=boundary, pairs=pairs),  # type: ignore[arg-type]
    )
    footer = Footer(finished="", status="complete", records=len(records))
    return Run(path="r.jsonl", header=header, records=records, footer=footer)


def pair(number: int, a: float, b: float, c: float | None = None) -> list[Record]:
    sides = [(A, a), (B, b), *([(C, c)] if c is not None else [])]
    return [record(case, number, ms) for case, ms in sides]


def test_the_processes_of_a_pair_are_compared_with_each_other_and_not_with_those_of_another() -> None:
    # The host is up to ten times slower from pair to pair, B always by a fifth faster.
    run = duel(*(each for number, host in enumerate((1, 10, 3)) for each in pair(number, host, 0.8 * host, host)))
    b, c = matches(run)
    assert b.ratios == pytest.approx((0.8,) * 3)
    assert (b.kind, b.a_label, b.b_label) == ("FASTER", A.label, B.label)
    assert b.b_ns == pytest.approx(0.8 * 30 ** (1 / 3) * 1e6)
    assert (c.kind, c.standing.pairs) == ("SAME", 3)
    assert not b.slower()


def test_the_blocks_of_one_round_are_compared_with_each_other() -> None:
    # The host's speed changes between rounds, and within one of seven; B is always slower by a twentieth.
    host = (1.5, 2.5, 1.5, 2.5, 2.5, 1.5, 2.5)

    def measured(case: Case, number: int, speeds: tuple[float, ...]) -> Record:
        samples = tuple(round(speed * 1e6 * factor) for speed in speeds for factor in (1, 1.2, 0.9))
        blocks = Measurement(boundary="latency", samples=samples, blocks=(3,) * len(speeds))
        return msgspec.structs.replace(record(case, number, 1), measurements=(blocks,))

    records = []
    for number in range(3):
        slower = [1.05 * speed for speed in host]
        slower[number] = 1.05 * 4  # the host's core was taken from B in this round
        records += [measured(A, number, host), measured(B, number, tuple(slower))]
    b, _ = matches(duel(*records))
    assert b.ratios == pytest.approx((1.05,) * 3, rel=1e-6)
    torn = [
        msgspec.structs.replace(
            each, measurements=tuple(msgspec.structs.replace(m, blocks=(2,)) for m in each.measurements)
        )
        for each in records
    ]
    whole, _ = matches(duel(*torn))  # blocks that are not those of the samples say nothing
    assert whole.ratios != pytest.approx((1.05,) * 3, rel=1e-6)


def test_a_process_without_its_partner_is_no_pair() -> None:
    b, c = matches(duel(*pair(0, 1, 2), *pair(1, 1, 2), record(A, 2, 1)))
    assert (b.standing.pairs, b.kind, b.over) == (2, "INCONCLUSIVE", False)
    assert (c.standing.pairs, c.standing.ratio, c.a_ns) == (0, None, None)


def test_throughput_is_compared_as_time_per_inference() -> None:
    def loop(case: Case, calls: int) -> Record:
        measured = Measurement(boundary="throughput", samples=(1,), calls=calls, window_ns=10**9)
        return Record(case=case.id, label=case.label, measurements=(measured,))

    b, _ = matches(duel(loop(A, 100), loop(B, 200), boundary="throughput"))
    assert b.ratios == pytest.approx((0.5,))
    assert b.a_ns == pytest.approx(1e7)


FAILURE = Failure(kind="Timeout", stage="measure", message="no result within 1 s", hint="raise it")
WRONG = Accuracy(ok=False, outputs=(), why="cosine 0.1 is below 0.9")
EMPTY = Accuracy(ok=True, outputs=(), empty=True)


@pytest.mark.parametrize(
    ("record_of_b", "why"),
    [
        (Record(case=B.id, label=B.label, replicate=2, failure=FAILURE), "failed: Timeout"),
        (record(B, 2, 1, accuracy=WRONG), "is inaccurate: cosine 0.1 is below 0.9"),
        (record(B, 2, 1, accuracy=EMPTY), "has only empty outputs"),
        (record(B, 2, 1, warnings=(Warning(kind="OutputsChange"),)), "has calls that are not alike"),
        (Record(case=B.id, label=B.label, replicate=2), "has no latency"),
    ],
)
def test_a_side_that_cannot_be_judged_ends_its_match_with_the_reason(record_of_b: Record, why: str) -> None:
    run = duel(*pair(0, 1, 2, 3), *pair(1, 1, 2, 3), record_of_b)
    b, c = matches(run)
    assert (b.kind, b.over) == ("NONE", True)
    assert why in b.why
    assert b.failure == record_of_b.failure
    assert not c.why
    shown = view.render(run, width=400)
    assert f"not judged, {b.why}" in shown
    (row,) = [line for line in shown.splitlines() if line.startswith(view.title(B.label, A.label))]
    assert re.search(r" ms  - +2  -$", row)  # neither ratio nor spread, as in compare
    flat = json.loads(view.json(run))["matches"][0]
    assert (flat["ratio"], flat["low"], len(flat["ratios"])) == (None, None, 2)
    assert ("Timeout in measure: no result within 1 s" in shown) == (b.failure is not None)


# ----------------------------------------------------------------------------------- the speeds of the table below

# The host is up to ten times slower from pair to pair; B takes four fifths of A's time, C six, each give or take 1 %.
HOST = ((1, 1.0), (10, 1.01), (3, 0.99), (5, 1.0))


def busy(*hosts: tuple[float, float], contests: tuple[tuple[str, ...], ...] = ((A.id, B.id, C.id),)) -> Run:
    run = duel(*(each for n, (host, noise) in enumerate(hosts) for each in pair(n, host, 0.8 * host * noise, 6 * host)))
    of = msgspec.structs.replace(run.header, duel=msgspec.structs.replace(run.header.duel, contests=contests))
    return msgspec.structs.replace(run, header=of)


def speed(run: Run, case: Case, baseline: str = "") -> Speed:
    (of,) = (row.speed for row in rows(run, baseline) if row.case == case.id)
    assert of is not None
    return of


def test_the_speed_of_a_side_is_its_verdict_inverted() -> None:
    run = busy(*HOST)
    b, c = matches(run)
    for match, case in ((b, B), (c, C)):
        of, back = speed(run, case), speed(run, A, case.backend)
        at = match.standing
        assert (1 / of.ratio, 1 / of.high, 1 / of.low) == pytest.approx((at.ratio, at.low, at.high))
        assert (back.ratio, back.low, back.high) == pytest.approx((at.ratio, at.low, at.high))
        assert (of.pairs, back.pairs) == (at.pairs, at.pairs)
    assert b.standing.high / b.standing.low < 1.2  # that of independent processes spans a factor of 40


def test_two_sides_without_a_match_of_their_own_are_compared_by_their_pairs() -> None:
    of, back = speed(busy(*HOST), C, "aoti"), speed(busy(*HOST), B, "fake")
    assert of.ratio == pytest.approx(0.8 / 6, rel=0.01)
    assert 1.0 < of.high / of.low < 1.2
    assert (back.ratio, back.low, back.high) == pytest.approx((1 / of.ratio, 1 / of.high, 1 / of.low))


def test_the_rule_of_a_duel_stops_the_ratio_of_its_table_too() -> None:
    """Pairs after the first decision are of another match, and do not count in either."""
    run = busy(*HOST, (7, 4.0))
    (b, _), of = matches(run), speed(run, B)
    assert (b.standing.pairs, of.pairs) == (3, 3)
    assert 1 / of.ratio == pytest.approx(b.standing.ratio)
    assert len([row for row in rows(run) if row.processes == 5]) == 3


def test_sides_of_two_contests_are_independent() -> None:
    apart = speed(busy(*HOST, contests=((A.id, C.id), (B.id, C.id))), B)
    assert apart.pairs is None
    assert apart.high / apart.low > 10


@pytest.mark.parametrize("pairs", [1, 2])
def test_too_few_pairs_have_a_ratio_without_an_interval(pairs: int) -> None:
    run = busy(*HOST[:pairs])
    of = speed(run, B)
    assert (of.low, of.high, of.pairs) == (None, None, pairs)
    shown = text.render(run, width=200)
    assert "±unknown of a ratio: fewer than 3 pairs do not show how pairs differ" in shown
    assert "--replicates" not in shown


def test_the_table_says_that_its_ratios_are_of_pairs() -> None:
    line = "ratios to the baseline are those of the duel's pairs; their intervals allow for stopping early"
    assert line in text.render(busy(*HOST), width=200)
    assert line not in text.render(busy(*HOST, contests=((A.id,), (B.id,), (C.id,))), width=200)


def test_a_case_of_a_duel_pays_back_by_the_ratio_of_its_pairs() -> None:
    run = busy(*HOST)
    (of,) = (each for each in payback.of_run(run).cases if each.case == B.id)
    at = matches(run)[0].standing
    assert (1 / of.ratio, 1 / of.ratio_high, 1 / of.ratio_low) == pytest.approx((at.ratio, at.low, at.high))


def test_a_run_that_is_no_duel_has_no_matches() -> None:
    run = duel()
    with pytest.raises(ValueError, match="no duel"):
        matches(msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, duel=None)))


def test_a_ratio_that_decides_nothing_does_not_look_like_one_that_does() -> None:
    few = duel(*pair(0, 1, 2))
    wild = duel(*(each for n in range(6) for each in pair(n, 1, (0.01, 80)[n % 2])), pairs=6)
    for shown in (view.render, view.markdown):
        assert "2.000 ±unknown" in shown(few)
        assert "undecided [<0.01, >100]" in shown(wild).replace("\\", "").replace("&lt;", "<")
    assert json.loads(view.json(wild))["matches"][0]["low"] < 0.5


def test_what_would_decide_is_told() -> None:
    few = duel(*pair(0, 1, 2))
    assert "too few to say" in view.render(few, width=400)
    noisy = duel(*(each for n in range(6) for each in pair(n, 1, (0.95, 1.1)[n % 2])), pairs=6)
    (needed,) = (match.standing.needed for match in matches(noisy)[:1])
    assert f"about {needed} would decide" in view.render(noisy, width=400)
    interrupted = msgspec.structs.replace(noisy, footer=None)
    assert "interrupted" in view.render(interrupted, width=400)
    early = msgspec.structs.replace(
        noisy,
        header=msgspec.structs.replace(
            noisy.header, duel=Duel(contests=noisy.header.duel.contests, boundary="latency", pairs=25)
        ),
    )
    assert "as the time was over" in view.render(early, width=400)


def test_json_has_every_pair_and_markdown_one_row_a_match() -> None:
    run = duel(*(each for number in range(3) for each in pair(number, 1, 2, 1)))
    report = json.loads(view.json(run))
    assert [match["verdict"] for match in report["matches"]] == ["SLOWER", "SAME"]
    assert report["matches"][0]["ratios"] == pytest.approx([2, 2, 2])
    rows = [line for line in view.markdown(run).splitlines() if line.startswith("| net")]
    assert len(rows) == 2
    assert "SLOWER" in rows[0]

"""Which rows lead, and which cannot be told from the best."""

import csv
import io
import json
from random import Random

from bench.analysis.rows import rows
from bench.model.run import Measurement
from bench.report import export, text
from tests.report.conftest import case, make, record


def timed(asked, *processes):
    """A record per process of exactly these samples of latency, in nanoseconds."""
    return [
        record(asked, 1.0, number, measurements=(Measurement(boundary="latency", samples=tuple(samples)),))
        for number, samples in enumerate(processes)
    ]


def leaders(*times):
    """``fastest`` and ``tied`` of cases with these processes."""
    names = ("eager", "inductor", "torchscript", "aoti", "onnxruntime")
    cases = [case("bert", name) for name in names[: len(times)]]
    records = [one for asked, processes in zip(cases, times, strict=True) for one in timed(asked, *processes)]
    return [(row.fastest, row.tied) for row in rows(make(cases, records, 3))]


def wide(centre):
    return [[round(centre * factor)] * 10 for factor in (0.7, 1.0, 1.3)]


def test_rows_whose_interval_contains_the_best_tie_with_it_and_others_do_not() -> None:
    assert leaders(wide(1_060_000), wide(1_000_000), wide(9_000_000)) == [(False, True), (True, True), (False, False)]
    assert leaders(wide(1_000_000), wide(9_000_000)) == [(True, False), (False, False)]


def test_a_tie_over_processes_is_judged_by_their_medians() -> None:
    apart = [[n] * 10 for n in (1_000_000, 1_001_000, 1_002_000)]
    near = [[n] * 10 for n in (1_001_500, 1_002_500, 1_000_500)]
    slower = [[n] * 10 for n in (1_101_500, 1_102_500, 1_100_500)]
    assert leaders(apart, near, slower) == [(True, True), (False, True), (False, False)]


def test_one_process_is_told_from_nothing_however_exact_its_samples_are() -> None:
    assert leaders([[1_000_000] * 99], [[474_000_000] * 99]) == [(True, True), (False, True)]
    several = [[n] * 10 for n in (1_000_000, 1_001_000, 1_002_000)]
    assert leaders(several, [[474_000_000] * 99]) == [(True, True), (False, True)]
    assert leaders([[1_000] * 99], several) == [(True, True), (False, True)]


def test_a_tie_is_said_in_every_output() -> None:
    cases = [case("bert", name) for name in ("eager", "inductor")]
    run = make(cases, [one for asked in cases for one in timed(asked, *wide(1_000_000))])
    shown = text.render(run, width=300)
    assert [line.split()[:2] for line in shown.splitlines() if line.startswith(("eager", "inductor"))] == [
        ["eager", "*"],
        ["inductor", "≈"],
    ]
    assert "≈ cannot be told from it" in shown
    page = export.markdown(run)
    assert page.count("| **969 us") == 1
    assert page.count("% ≈ |") + page.count("] ≈ |") + page.count("unknown ≈ |") == 1
    assert "≈ cannot be told from it" in page
    assert [row["tied"] for row in json.loads(export.json(run))["rows"]] == [True, True]
    assert [row["tied"] for row in csv.DictReader(io.StringIO(export.csv(run)))] == ["True", "True"]
    apart = make(cases, [*timed(cases[0], *wide(1_000_000)), *timed(cases[1], *wide(9_000_000))])
    assert "≈" not in text.render(apart, width=300) + export.markdown(apart)


def test_a_wide_interval_does_not_make_a_case_the_fastest() -> None:
    """The one with the lowest time is; what is slower but known too little is not told from it."""
    exact = [[n] * 10 for n in (1_000_000, 1_001_000, 1_002_000, 1_000_500)]
    slower = [[n] * 10 for n in (1_050_000, 1_051_000, 1_052_000, 1_050_500)]
    unknown = [[n] * 10 for n in (1_000_000, 1_800_000, 1_200_000, 2_000_000)]
    assert leaders(exact, slower, unknown) == [(True, True), (False, False), (False, True)]


def test_the_truly_fastest_is_the_lowest_or_not_told_from_it() -> None:
    """Of 200 draws of five cases, one of which is 2 % faster than the others, at most 1 in 20 leaves it out."""
    random, out = Random(7), 0
    for _ in range(200):
        levels = (0.98e6, 1e6, 1e6, 1e6, 1e6)
        drawn = [[[round(level * random.lognormvariate(0, 0.02))] * 6 for _ in range(5)] for level in levels]
        out += not any(leaders(*drawn)[0])
    assert out <= 10

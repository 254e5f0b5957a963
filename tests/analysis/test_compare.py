"""Partners, refusals and what is told of two runs."""

from __future__ import annotations

import json

import msgspec
import numpy as np
import pytest

from bench.analysis import compare
from bench.errors import UsageError
from bench.model.run import (
    Accuracy,
    Environment,
    Failure,
    Header,
    Measurement,
    OutputError,
    Phase,
    Record,
    Run,
    Warning,
)
from bench.model.suite import Case, Policy
from bench.report import compare as view

HERE = Environment(
    kind="cuda", arch="sm_90", device="H100", slug="h100", memory=80 << 30, driver="550", python="3.12.1",
    libraries={"torch": "2.11.0"}, limits={"power": "700 W"}, flags={"OMP_NUM_THREADS": "1"},
)  # fmt: skip
MS = 1_000_000


def case(backend: str = "eager", **fields) -> Case:
    return Case(model="net", factory="zoo.py:net", inputs={}, backend=backend, symbols={"batch": 1}, **fields)


def record(of: Case, ms: float, replicate: int = 0, **fields) -> Record:
    samples = tuple(int(MS * ms * (1 + n / 10_000)) for n in range(-5, 6))
    measured = (Measurement(boundary="latency", samples=samples),)
    return Record(**{"case": of.id, "label": of.label, "replicate": replicate, "measurements": measured} | fields)


def run(
    times: list[tuple[Case, float]],
    name: str = "A",
    here: Environment = HERE,
    processes: int = 7,
    record_fields=None,
    **fields,
) -> Run:
    """Every case takes its milliseconds, in processes that differ by 0.1 %."""
    records = [
        record(of, ms * (1 + n % 3 / 1000), n, **(record_fields or {})) for of, ms in times for n in range(processes)
    ]
    header = Header(
        run=name, created="", version="0.2.0", environments={"default": here}, suite="", suite_path="",
        cases=tuple(of for of, _ in times),
        **{"policy": Policy(replicates=processes)} | fields,
    )  # fmt: skip
    return Run(path="", header=header, records=tuple(records))


EAGER, INDUCTOR = case(), case("inductor")


@pytest.mark.parametrize(("ms", "kind"), [(1.0, "SAME"), (1.1, "SLOWER"), (0.9, "FASTER")])
def test_the_second_run_is_judged_against_the_first(ms: float, kind: str) -> None:
    whole = compare.compare([run([(EAGER, 1.0)])], [run([(EAGER, ms)], "B")])
    (pair,) = whole.pairs
    assert (pair.kind, pair.boundary, pair.why) == (kind, "latency", "")
    assert pair.verdict is not None
    assert pair.verdict.ratio == pytest.approx(ms, rel=1e-3)
    assert pair.b_ns == pytest.approx(ms * MS, rel=2e-3)
    assert len(whole.slower()) == (kind == "SLOWER")
    assert not whole.slower(0.11)


def test_one_process_a_side_decides_nothing() -> None:
    (pair,) = compare.compare([run([(EAGER, 1.0)], processes=1)], [run([(EAGER, 2.0)], "B", processes=1)]).pairs
    assert pair.kind == "INCONCLUSIVE"


def test_what_has_no_partner_is_listed() -> None:
    whole = compare.compare([run([(EAGER, 1.0), (INDUCTOR, 1.0)])], [run([(EAGER, 1.0), (case("aoti"), 1.0)], "B")])
    assert [pair.label for pair in whole.pairs] == [EAGER.label]
    assert (whole.only_a, whole.only_b) == ((INDUCTOR.label,), ("net/aoti/fp32/batch=1",))


def test_nothing_in_common_is_an_error() -> None:
    with pytest.raises(UsageError, match=r"A and B: the two sides have no case in common"):
        compare.compare([run([(EAGER, 1.0)])], [run([(INDUCTOR, 1.0)], "B")])


CHANGES = {
    "library:torch": ({"libraries": {"torch": "2.13.0"}}, "torch 2.11.0 -> 2.13.0", "toolchain"),
    "driver": ({"driver": "570"}, "driver 550 -> 570", "driver"),
    "device": ({"device": "H200"}, "device H100 -> H200", "device"),
    "limit:power": ({"limits": {"power": "350 W"}}, "power 700 W -> 350 W", "device"),
    "flag:OMP_NUM_THREADS": ({"flags": {}}, "OMP_NUM_THREADS 1 -> none", "flag"),
    "python": ({"python": "3.13.0"}, "python 3.12.1 -> 3.13.0", "toolchain"),
}


@pytest.mark.parametrize("dimension", CHANGES)
def test_another_environment_is_refused_unless_its_dimension_is_named(dimension: str) -> None:
    change, text, whole = CHANGES[dimension]
    a, b = run([(EAGER, 1.0)]), run([(EAGER, 1.1)], "B", msgspec.structs.replace(HERE, **change))
    refused = compare.compare([a], [b], across=["library:numpy"])
    assert [(pair.kind, pair.verdict, pair.a_ns) for pair in refused.pairs] == [("REFUSED", None, None)]
    assert [(each.dimension, each.text) for each in refused.refused] == [(dimension, text)]
    for name in (dimension, whole):
        named = compare.compare([a], [b], across=[name])
        assert [pair.kind for pair in named.pairs] == ["SLOWER"]
        assert [each.text for each in named.named_differences] == [text]


def test_another_definition_of_boundaries_cannot_be_named() -> None:
    b = run([(EAGER, 1.0)], "B", msgspec.structs.replace(HERE, boundaries="0123"))
    assert compare.compare([run([(EAGER, 1.0)])], [b]).pairs[0].kind == "REFUSED"
    with pytest.raises(UsageError, match="unknown dimension 'boundaries'"):
        compare.compare([run([(EAGER, 1.0)])], [b], across=["boundaries"])


def test_host_and_clocks_observed_refuse_nothing() -> None:
    there = msgspec.structs.replace(HERE, host="b", observed={"card": "GPU-2"}, memory=HERE.memory + 1)
    whole = compare.compare([run([(EAGER, 1.0)])], [run([(EAGER, 1.0)], "B", there)])
    assert whole.pairs[0].kind == "SAME"
    assert [each.what for each in whole.minor_differences] == ["card"]


def test_other_settings_are_told() -> None:
    b = run([(EAGER, 1.0)], "B", fork=True, cold=True, sources={"zoo.py": "ab"}, policy=Policy(replicates=9))
    whole = compare.compare([run([(EAGER, 1.0)], sources={"zoo.py": "cd"})], [b])
    texts = [each.text for each in whole.minor_differences]
    assert texts == ["measure.replicates 7 -> 9", "fork off -> on", "cold off -> on", "zoo.py cd -> ab"]
    assert whole.pairs[0].kind == "SAME"


def test_that_a_policy_was_made_by_an_option_is_no_other_setting() -> None:
    by_option = run([(EAGER, 1.0)], "B", policy=Policy(replicates=7, quick=True))
    assert not compare.compare([run([(EAGER, 1.0)])], [by_option]).minor_differences


UNSOUND = {
    "B failed: Crash": {"failure": Failure(kind="Crash", stage="measure", message="")},
    "B is inaccurate": {"accuracy": Accuracy(ok=False, outputs=())},
    "B has calls that are not alike": {"warnings": (Warning(kind="StateChanges"),)},
    "B has no samples": {"measurements": ()},
    "no boundary in common": {"measurements": (Measurement(boundary="enqueue", samples=(1,)),)},
}


@pytest.mark.parametrize("why", UNSOUND)
def test_what_is_unsound_gets_no_verdict(why: str) -> None:
    b = run([(EAGER, 2.0)], "B", record_fields=UNSOUND[why])
    whole = compare.compare([run([(EAGER, 1.0)])], [b])
    assert [(pair.kind, pair.why, pair.verdict) for pair in whole.pairs] == [("NONE", why, None)]
    assert not whole.slower()


def test_several_runs_of_a_side_are_pooled() -> None:
    sides = [run([(EAGER, 1.0)], processes=2), run([(EAGER, 1.0)], "A2", processes=3)]
    (pair,) = compare.compare(sides, [run([(EAGER, 1.0)], "B", processes=2)]).pairs
    assert pair.verdict is not None
    assert pair.verdict.processes == (5, 2)
    other = run([(EAGER, 1.0)], "A2", msgspec.structs.replace(HERE, driver="570"))
    assert compare.compare([sides[0], other], [run([(EAGER, 1.0)], "B")]).pairs[0].kind == "REFUSED"


def test_backends_of_a_run_are_compared_with_its_baseline() -> None:
    of_run = run([(INDUCTOR, 1.5), (EAGER, 1.0), (case("inductor", precision="fp16"), 1.0)])
    whole = compare.compare([of_run], axis="backend")
    assert [(pair.label, pair.kind) for pair in whole.pairs] == [(f"{EAGER.label} -> {INDUCTOR.label}", "SLOWER")]
    assert whole.only_a == ("net/inductor/fp16/batch=1",)
    (pair,) = compare.compare([of_run], axis="backend", baseline="inductor").pairs
    assert (pair.label, pair.kind) == (f"{INDUCTOR.label} -> {EAGER.label}", "FASTER")
    for baseline in ("eager/fp32", "eager@default", "eager@default/fp32"):
        (pair,) = compare.compare([of_run], axis="backend", baseline=baseline).pairs
        assert pair.label == f"{EAGER.label} -> {INDUCTOR.label}"
    with pytest.raises(UsageError, match="no two cases differ in cuda_graph alone"):
        compare.compare([of_run], axis="cuda_graph")


def test_two_runs_of_different_backends_are_partners_along_the_axis() -> None:
    (pair,) = compare.compare([run([(EAGER, 1.0)])], [run([(INDUCTOR, 2.0)], "B")], axis="backend").pairs
    assert pair.kind == "SLOWER"
    with pytest.raises(UsageError, match="would have the same partner"):
        compare.compare([run([(EAGER, 1.0)])], [run([(EAGER, 1.0), (INDUCTOR, 2.0)], "B")], axis="backend")


def test_throughput_is_compared_as_time_per_inference() -> None:
    def loop(calls: int) -> dict:
        window = Measurement(boundary="throughput", samples=(MS,), batch=4, calls=calls, window_ns=1_000_000_000)
        return {"measurements": (window,)}

    a, b = (run([(EAGER, 1.0)], name, record_fields=loop(calls)) for name, calls in (("A", 1000), ("B", 500)))
    (pair,) = compare.compare([a], [b], boundary="throughput").pairs
    assert (pair.kind, pair.a_ns, pair.b_ns) == ("SLOWER", pytest.approx(250_000), pytest.approx(500_000))


def test_what_was_made_anew_counts_as_build_time() -> None:
    phases = (Phase(name="export", ns=2), Phase(name="build", ns=3), Phase(name="import", ns=9))
    warm = (Phase(name="build", ns=1, cold=False),)
    a, b = (run([(EAGER, 1.0)], name, record_fields={"phases": of}) for name, of in (("A", phases), ("B", warm)))
    (pair,) = compare.compare([a], [b]).pairs
    assert (pair.a_made_ns, pair.b_made_ns) == (5, None)


def test_a_side_that_failed_alone_is_a_regression_and_one_that_failed_before_is_not() -> None:
    crash = {"failure": Failure(kind="Crash", stage="first_call", message=""), "measurements": ()}
    wrong = {"accuracy": Accuracy(ok=False, outputs=(), why="cosine")}
    good, bad, inaccurate = (run([(EAGER, 1.0)], "G"), *(run([(EAGER, 1.0)], n, record_fields=f) for n, f in
                             (("C", crash), ("W", wrong))))  # fmt: skip
    for broken in (bad, inaccurate):
        whole = compare.compare([good], [broken])
        assert whole.failed == list(whole.pairs)
        assert whole.fails(failed=True)
        assert whole.pairs[0].why == ("B failed: Crash" if broken is bad else "B is inaccurate")
        assert not whole.fails(slower=0.0, inconclusive=True)
        assert not compare.compare([broken], [good]).fails(failed=True)
        assert not compare.compare([broken], [bad if broken is inaccurate else inaccurate]).fails(failed=True)


def test_what_a_comparison_fails_on_is_what_is_named() -> None:
    slower = compare.compare([run([(EAGER, 1.0)])], [run([(EAGER, 1.05)], "B")])
    assert slower.fails(slower=0.02)
    assert not slower.fails(slower=0.06, failed=True, inconclusive=True)
    alone = compare.compare([run([(EAGER, 1.0)], processes=1)], [run([(EAGER, 1.05)], "B", processes=1)])
    assert alone.fails(inconclusive=True)
    assert not alone.fails(slower=0.0, failed=True)


def test_the_mean_of_ratios_is_of_all_pairs_or_of_each_backend() -> None:
    cases = [case(batch) for batch in ("eager", "inductor", "aoti", "fake")]
    a, b = run([(of, 1.0) for of in cases]), run([(of, 1.1 + n / 10) for n, of in enumerate(cases)], "B")
    (mean,) = compare.compare([a], [b]).overall
    assert (mean.of, mean.pairs) == ("", 4)
    assert mean.ratio == pytest.approx((1.1 * 1.2 * 1.3 * 1.4) ** 0.25, rel=1e-3)
    assert mean.low is not None
    assert mean.high is not None
    assert mean.low < mean.ratio < mean.high < mean.low * 1.01
    several = run(
        [
            (each, ms)
            for batch in (1, 8)
            for each, ms in (
                (case("eager", dynamic={}, streams=batch), 1.0),
                (case("inductor", streams=batch), 0.8),
                (case("aoti", streams=batch), 0.5),
            )
        ]
    )
    assert [
        (mean.of, mean.pairs, round(mean.ratio, 2)) for mean in compare.compare([several], axis="backend").overall
    ] == [
        ("inductor", 2, 0.8),
        ("aoti", 2, 0.5),
    ]


def sessions(side: str, rng, session_sd: float, number: int, cases: int = 60) -> list[Run]:
    """Runs of many cases in three processes each, that differ by 0.5 %, in sessions that move each case."""
    runs = []
    for session in range(number):
        levels = np.exp(session_sd * rng.standard_normal(cases))
        whole = run([(case(model_of(n)), float(levels[n])) for n in range(cases)], f"{side}{session}", processes=0)
        noise = np.exp(0.005 * rng.standard_normal((cases, 3)))
        records = [
            record(of, float(levels[n] * noise[n, k]), k) for n, of in enumerate(whole.header.cases) for k in range(3)
        ]
        runs.append(msgspec.structs.replace(whole, records=tuple(records)))
    return runs


def model_of(n: int) -> str:
    return f"backend{n}"


@pytest.mark.parametrize("numbers", [(3, 3), (3, 1)])
def test_sessions_of_a_side_widen_intervals_by_what_they_differ_by(numbers: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    pairs = []
    for _ in range(5):
        whole = compare.compare(sessions("A", rng, 0.02, numbers[0]), sessions("B", rng, 0.02, numbers[1]))
        assert whole.levels.session is not None
        assert whole.levels.session.sd == pytest.approx(0.02, rel=0.4)
        pairs += [pair.verdict for pair in whole.pairs if pair.verdict]
    assert len(pairs) == 300
    assert (
        sum(each.kind in ("FASTER", "SLOWER") for each in pairs) / len(pairs) <= 0.01 + 3 * (0.01 / len(pairs)) ** 0.5
    )
    covered = sum(each.low <= 1 <= each.high for each in pairs if each.low and each.high) / len(pairs)
    assert 0.92 <= covered <= 0.98


def test_sessions_alike_leave_the_interval_to_processes() -> None:
    rng = np.random.default_rng(6)
    whole = compare.compare(sessions("A", rng, 0.0, 2), sessions("B", rng, 0.0, 2))
    assert whole.levels.session is not None
    assert whole.levels.session.sd < 0.002
    assert sum(pair.kind == "SAME" for pair in whole.pairs) >= 0.9 * len(whole.pairs)


def test_builds_are_a_source_of_variance_of_their_backend() -> None:
    def built(name: str, steps: tuple[float, ...]) -> Run:
        whole = run([(EAGER, 1.0)], name, processes=0)
        records = [record(EAGER, steps[n % 3] * (1 + n / 10_000), n, build=n % 3) for n in range(9)]
        return msgspec.structs.replace(whole, records=tuple(records))

    whole = compare.compare([built("A", (1.0, 1.03, 0.97))], [built("B", (1.1, 1.13, 1.07))])
    (pair,) = whole.pairs
    assert whole.levels.builds["eager"].sd == pytest.approx(0.029, rel=0.1)
    assert pair.verdict is not None
    assert pair.verdict.error == pytest.approx(0.029 * (2 / 3) ** 0.5, rel=0.1)
    assert pair.verdict.dof == pytest.approx(4, abs=0.5)


NO_ELEMENT = OutputError(name="y", cosine=None, max_abs=None, rel_l2=None, sqnr=None, empty=True)
ELEMENTS = OutputError(name="y", cosine=1.0, max_abs=0.0, rel_l2=0.0, sqnr=None)
EMPTY = Accuracy(ok=True, outputs=(NO_ELEMENT,), empty=True)
COMPARED = Accuracy(ok=True, outputs=(ELEMENTS,))


@pytest.mark.parametrize(
    ("a", "b", "side", "fails"),
    [
        (COMPARED, EMPTY, "B", True),
        (EMPTY, EMPTY, "A", False),
        (EMPTY, COMPARED, "A", False),
        (None, EMPTY, "B", False),
    ],
)
def test_a_side_that_returns_nothing_is_not_judged(a, b, side: str, fails: bool) -> None:
    """And fails the gate where the other one was compared."""
    sides = [run([(EAGER, 1.0)], name, record_fields={"accuracy": of}) for name, of in (("A", a), ("B", b))]
    whole = compare.compare(sides[:1], sides[1:])
    (pair,) = whole.pairs
    assert (pair.kind, pair.why) == ("NONE", f"{side} has only empty outputs")
    assert whole.fails(slower=0.0, failed=True) is fails
    (flat,) = json.loads(view.json(whole))["pairs"]
    assert [flat[name] for name in ("a_ok", "b_ok")] == [True if of == COMPARED else None for of in (a, b)]


def test_a_metric_of_empty_outputs_is_a_comparison() -> None:
    judged = msgspec.structs.replace(EMPTY, metric={"boxes": 0.0})
    (pair,) = compare.compare([run([(EAGER, 1.0)], record_fields={"accuracy": judged})],
                              [run([(EAGER, 1.0)], "B", record_fields={"accuracy": judged})]).pairs  # fmt: skip
    assert pair.kind == "SAME"

"""After how many requests a runtime has paid back what came before its first answer."""

from __future__ import annotations

import pytest

from bench.analysis import payback
from bench.analysis.payback import Payback
from bench.errors import UsageError
from bench.model.run import Accuracy, Failure, Phase, Record, Run
from tests.analysis.test_compare import EAGER, INDUCTOR, MS, case, record, run

ORT = case("onnxruntime")
EAGER_START = (Phase(name="import", ns=20 * MS), Phase(name="load", ns=80 * MS), Phase(name="first_call", ns=50 * MS))


def phases(*made: Phase, start: int = 100, first: int = 50) -> tuple[Phase, ...]:
    """Of a process: what it needs, 100 ms of imports and loading, and a first call of 50 ms."""
    return (*made, Phase(name="load", ns=start * MS), Phase(name="first_call", ns=first * MS))


def compiled(ms: int, **fields) -> Phase:
    return Phase(name="compile", ns=ms * MS, **fields)


def of(own: tuple[Phase, ...] | list[tuple[Phase, ...]], ms: float = 5.0, *, cold: bool = False, **fields) -> Payback:
    """The case `inductor`, of that many ms a request, against an eager one of 10 ms; a list has the phases of each
    process.
    """
    several = own if isinstance(own, list) else [own]
    records = [record(EAGER, 10.0, phases=EAGER_START)]
    records += [record(INDUCTOR, ms, n, phases=each, **fields) for n, each in enumerate(several)]
    whole = run([(EAGER, 10.0), (INDUCTOR, ms)], cold=cold)
    base, ours = payback.of_run(Run(path="", header=whole.header, records=tuple(records))).cases
    assert (base.outcome, base.build_ns, base.making) == ("baseline", 0, "none")
    return ours


def test_requests_are_what_makes_both_totals_equal() -> None:
    ours = of(phases(compiled(1000)))
    assert (ours.outcome, ours.against, ours.boundary) == ("after", EAGER.label, "latency")
    assert ours.first_answer_ns == 1150 * MS
    assert ours.requests == 1 + 1000 / 5  # 1 s more before the second request, 5 ms less with each from then on
    assert ours.hours(10) == pytest.approx(201 / 10 / 3600)


@pytest.mark.parametrize(
    ("own", "ms", "outcome", "requests"),
    [
        (phases(start=90), 5.0, "at_once", 1),
        (phases(compiled(1000)), 12.0, "never", None),
        (phases(compiled(1000)), 10.0, "never", None),
        (phases(start=50), 12.0, "until", 26),  # 50 ms less at first, 2 ms more with each
    ],
)
def test_the_other_outcomes(own: tuple[Phase, ...], ms: float, outcome: str, requests: int | None) -> None:
    ours = of(own, ms)
    assert (ours.outcome, ours.requests) == (outcome, requests)


@pytest.mark.parametrize(
    ("own", "making"),
    [
        (phases(compiled(1000, cold=False)), "cached"),
        (phases(Phase(name="export", ns=MS), Phase(name="build", ns=MS, beside=True)), "beside"),
    ],
)
def test_a_build_without_a_time_of_its_own_is_unknown_and_not_0(own: tuple[Phase, ...], making: str) -> None:
    ours = of(own)
    assert (ours.making, ours.build_ns, ours.first_answer_ns) == (making, None, None)
    assert (ours.outcome, ours.why, ours.requests) == ("unknown", making, None)
    assert ours.ratio == pytest.approx(2)  # what is known is told


def test_a_warm_cache_of_the_compiler_is_a_cached_build() -> None:
    assert of(phases(compiled(10)), fairness={"code_cache": "cold"}).making == "measured"
    assert of(phases(compiled(10)), fairness={"code_cache": "warm"}).making == "cached"


def test_the_processes_that_built_are_the_ones_that_count() -> None:
    built, loaded = phases(Phase(name="build", ns=900 * MS)), phases(Phase(name="build", ns=900 * MS, cold=False))
    assert of([built, loaded, loaded]).build_ns == 900 * MS
    assert of([loaded, loaded]).making == "cached"
    assert of([loaded, loaded], cold=True).build_ns == 900 * MS  # made in this run, for another case


def test_weights_for_another_toolchain_are_no_build() -> None:
    assert of(phases(Phase(name="weights", ns=9 * MS, cold=False))).making == "none"


def test_imports_count_where_both_sides_show_them() -> None:
    ahead = (Phase(name="prestart", ns=9000 * MS), Phase(name="import", ns=0), *phases(compiled(1000)))
    ours = of(ahead)
    assert (ours.ahead, ours.start_ns) == (True, 100 * MS)
    assert (ours.outcome, ours.why) == ("unknown", "one of the two imported its libraries ahead of its turn")

    both = run([], record_fields={})
    records = (
        record(EAGER, 10.0, phases=(Phase(name="prestart", ns=MS), *EAGER_START)),
        record(INDUCTOR, 5.0, phases=ahead),
    )
    header = run([(EAGER, 10.0), (INDUCTOR, 5.0)]).header
    base, ours = payback.of_run(Run(path=both.path, header=header, records=records)).cases
    assert base.start_ns == 80 * MS  # loading alone
    assert (ours.outcome, ours.requests) == ("after", 1 + (1150 - 130) / 5)


def test_requests_have_an_interval_where_the_ratio_has_one() -> None:
    def outcome(ms: list[float]) -> Payback:
        records: list[Record] = []
        for n, each in enumerate(ms):
            records += [record(EAGER, 10.0 + n / 100, n, phases=EAGER_START)]
            records += [record(INDUCTOR, each, n, phases=phases(compiled(1000)))]
        header = run([(EAGER, 10.0), (INDUCTOR, 5.0)]).header
        return payback.of_run(Run(path="", header=header, records=tuple(records))).cases[1]

    sure = outcome([5.0, 5.1, 5.2])
    assert sure.low is not None
    assert sure.high is not None
    assert sure.requests is not None
    assert 150 < sure.low < sure.requests < sure.high < 300
    doubtful = outcome([8.0, 9.5, 11.0])  # faster, but perhaps slower
    assert doubtful.outcome == "after"
    assert doubtful.low is not None
    assert doubtful.high is None
    slower = outcome([9.0, 10.5, 12.0])
    assert (slower.outcome, slower.requests, slower.high) == ("never", None, None)
    assert slower.low is not None


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"failure": Failure(kind="Timeout", stage="compile", message=""), "measurements": ()}, "it failed: Timeout"),
        ({"accuracy": Accuracy(ok=False, outputs=())}, "it is inaccurate"),
    ],
)
def test_a_case_without_a_sound_result_is_unknown(fields: dict[str, object], why: str) -> None:
    ours = of(phases(compiled(1000)), **fields)
    assert (ours.outcome, ours.why) == ("unknown", why)


def test_without_a_baseline_of_its_size_a_case_stands_alone() -> None:
    whole = run([(ORT, 3.0)])
    (ours,) = payback.of_run(whole).cases
    assert (ours.outcome, ours.why) == ("unknown", "no sound eager of its model and sizes")
    with pytest.raises(UsageError, match="no case has the backend 'eeger'"):
        payback.of_run(whole, "eeger")


def test_requests_that_never_make_up_have_no_number() -> None:
    assert payback.requests(10.0, 0.0) is None
    assert payback.requests(10.0, -1.0) is None
    assert payback.requests(1.0, 5e-324) is None
    assert payback.requests(10.0, 4.0) == 4
    assert payback.requests(-10.0, -4.0) == 3

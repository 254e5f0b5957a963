"""What is read of cases with equal reports is read once, and is what is read of each by itself."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from bench.analysis import conditions
from bench.analysis.conditions import CONDITIONS, FACTS, Condition, Subject
from bench.analysis.readings import Readings

REPORTS = st.fixed_dictionaries(
    {},
    optional={
        "tf32": st.sampled_from([({"matmul": True, "cudnn": True},), ({"matmul": True, "cudnn": False},)]),
        "threads": st.sampled_from([(1,), (2,), (1, 2), (True,)]),
        "graph_capture": st.sampled_from([("none",), ("harness",), ("none", "backend")]),
        "graph_breaks": st.sampled_from([(0,), (3,), (1, 3)]),
        "break_reasons": st.sampled_from([(["print"],), (["print"], ["item"])]),
        "engine": st.sampled_from([({"precisions": {"fp32": 2, "fp16": 3}},), ("of another program",)]),
    },
)
SUBJECTS = st.lists(
    st.tuples(
        REPORTS,
        st.sampled_from(["fp32", "fp16"]),
        st.booleans(),
        st.sampled_from([{}, {"OMP_NUM_THREADS": "1"}, {"OMP_NUM_THREADS": "2"}]),
    ),
    max_size=6,
)


def subject(number: int, facts: dict[str, Any], precision: str, on_gpu: bool, flags: dict[str, str]) -> Subject:
    return Subject(
        case=str(number), name="eager", backend="eager", precision=precision, group=0, facts=facts,
        boundaries=frozenset(), on_gpu=on_gpu, flags=flags,
    )  # fmt: skip


@given(SUBJECTS)
def test_each_case_is_read_as_by_itself(content: list[tuple[dict[str, Any], str, bool, dict[str, str]]]) -> None:
    subjects = [subject(number, *each) for number, each in enumerate(content)]
    readings = Readings(subjects)
    for condition in CONDITIONS:
        alone = [conditions.values(condition, each) for each in subjects]
        assert [readings.values(condition, each) for each in subjects] == alone
        assert readings.alike(condition, subjects) == (len({texts for texts in alone if texts}) < 2)
        assert readings.alike(condition, subjects) or not readings.equal(subjects)
    for fact in FACTS:
        assert [readings.figures(fact, each) for each in subjects] == [conditions.figures(fact, e) for e in subjects]


def test_cases_with_one_report_are_read_once() -> None:
    def read(of: Subject) -> tuple[str, ...]:
        reads.append(of.case)
        return ("on",)

    reads: list[str] = []
    subjects = [subject(number, {"a": (number % 2,)}, "fp32", False, {}) for number in range(10)]
    readings, condition = Readings(subjects), Condition("tf32", "a", read)
    assert [readings.values(condition, each) for each in subjects] == [("on",)] * 10
    assert readings.alike(condition, subjects)
    assert readings.equal(subjects[::2])
    assert not readings.equal(subjects)
    assert reads == ["0", "1"]

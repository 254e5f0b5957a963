"""Records read with their samples packed: the same numbers as in the usual way, and no line that it would refuse."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.model.run import Measurement, Record
from bench.stats import Ascending
from bench.store import codec, packed
from tests.store.kit import case, record

SERIES = st.lists(st.lists(st.integers(1, 10**18 - 1), min_size=1, max_size=8), min_size=1, max_size=4)
BOUNDARIES = ("gpu", "latency", "enqueue", "throughput")


def of_series(series: list[list[int]]) -> Record:
    named = zip(BOUNDARIES, series, strict=False)
    measured = tuple(Measurement(boundary=name, samples=tuple(values)) for name, values in named)  # type: ignore[arg-type]
    return msgspec.structs.replace(record(case()), measurements=measured)


@given(SERIES)
def test_samples_are_those_of_the_line_in_order(series: list[list[int]]) -> None:
    whole = of_series(series)
    line = codec.encode(whole)
    both = packed.decode(line)
    assert both is not None
    of, beside = both
    assert [each.samples for each in of.measurements] == [tuple(sorted(values)) for values in series]
    assert all(isinstance(each.samples, Ascending) for each in of.measurements)
    bare = tuple(msgspec.structs.replace(each, samples=()) for each in whole.measurements)
    assert codec.decode(beside) == msgspec.structs.replace(whole, measurements=bare)


@pytest.mark.parametrize(
    "samples",
    [
        "",
        "1,",
        ",1",
        "1,,2",
        "01",
        "1,02",
        "0",
        "3,0,1",
        "-1",
        "1.0",
        "1e3",
        "1 ",
        "null",
        '"1"',
        "1" * 19,
        "9" * 30,
        "[1",
    ],
)
def test_what_is_no_list_of_times_is_left_to_the_usual_way(samples: str) -> None:
    line = codec.encode(of_series([[12345], [7]])).replace(b"12345", samples.encode())
    assert packed.decode(line) is None


@pytest.mark.parametrize(
    ("text", "other"),
    [
        (b'"boundary":"gpu","samples":[5]', b'"samples":[5],"boundary":"gpu"'),
        (b'"boundary":"gpu","samples":[5]', b'"boundary":"gpu","samples": [5]'),
        (b'"boundary":"gpu","samples":[5]', b'"boundary":"gpu","samples":[5],"samples":[6]'),
        (b'"measurements"', b'"fairness":{"samples":[1]},"measurements"'),
    ],
)
def test_a_line_that_is_written_otherwise_is_left_to_the_usual_way(text: bytes, other: bytes) -> None:
    line = codec.encode(of_series([[5], [7]]))
    assert text in line
    assert packed.decode(line.replace(text, other)) is None


def test_samples_in_blocks_keep_their_order() -> None:
    blocks = Measurement(boundary="latency", samples=(30, 10, 20), blocks=(1, 2))
    line = codec.encode(msgspec.structs.replace(record(case()), measurements=(blocks,)))
    assert packed.decode(line) is None  # so that they are read in the usual way

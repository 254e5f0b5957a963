"""Which runs of an overview are of one machine, and in what machines of one name differ."""

from __future__ import annotations

import msgspec
import pytest

from bench.analysis import overview
from bench.model.run import Run
from tests.report.conftest import case, make


def on(**fields: object) -> Run:
    run = make([case("net", "eager")], [])
    here = msgspec.structs.replace(run.header.environments["default"], **fields)
    return msgspec.structs.replace(run, header=msgspec.structs.replace(run.header, environments={"default": here}))


@pytest.mark.parametrize(
    ("first", "second", "texts"),
    [
        ({"driver": "580.1"}, {"driver": "570.2"}, ["driver 580.1", "driver 570.2"]),
        ({"memory": 40 * 2**30}, {"memory": 80 * 2**30}, ["40 GiB", "80 GiB"]),
        ({"limits": {"power_mw": "700"}}, {"limits": {"power_mw": "350"}}, ["power_mw 700", "power_mw 350"]),
        ({"host": "aaaaaaaa"}, {"host": "bbbbbbbb"}, ["host aaaaaa", "host bbbbbb"]),
    ],
)
def test_machines_of_one_name_are_told_apart(first: dict, second: dict, texts: list[str]) -> None:
    machines, places = overview.machines([on(**first), on(**second), on(**first)])
    assert [machine.differs for machine in machines] == texts
    assert places == [0, 1, 0]


def test_other_libraries_make_no_other_machine_and_no_environment_is_one_too() -> None:
    bare = make([case("net", "eager")], [])
    bare = msgspec.structs.replace(bare, header=msgspec.structs.replace(bare.header, environments={}))
    machines, places = overview.machines([on(), on(libraries={"torch": "2.2.0"}), bare])
    assert places == [0, 0, 1]
    assert [machine.device for machine in machines] == ["Example CPU @ 2.50GHz", "unknown machine"]

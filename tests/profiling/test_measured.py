"""What a run has measured of two cases that were profiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.model.run import Footer, Measurement, Record
from bench.profiling import measured
from tests.store import kit

A, B, C = (kit.case(backend=backend) for backend in ("eager", "inductor", "aoti"))
RUN = "2026112{day}T101500Z-small-1a2b3c4"


def write(root: Path, day: int, gpu: dict[str, int], **header: object) -> Path:
    """A run of a day with ``gpu`` of each backend, ns, and a latency of twice that."""
    cases = tuple(case for case in (A, B, C) if case.backend in gpu)
    writer = store.create(root, kit.header(cases, run=RUN.format(day=day), **header))
    for case in cases:
        ns = gpu[case.backend]
        several = tuple(
            Measurement(boundary=boundary, samples=(times * ns,) * 9)
            for boundary, times in (("gpu", 1), ("latency", 2))
            if ns
        )
        writer.append(Record(case=case.id, label=case.label, measurements=several))
    writer.finish(Footer(finished="", status="complete", records=len(cases)))
    return next(path for path in root.glob("*/*/*.jsonl") if path.stem == RUN.format(day=day)).parent


def test_the_newest_run_with_both_cases_tells(tmp_path: Path) -> None:
    write(tmp_path, 3, {"eager": 100, "inductor": 60})
    folder = write(tmp_path, 4, {"eager": 200, "inductor": 90})
    write(tmp_path, 5, {"eager": 300, "aoti": 70})
    write(tmp_path, 6, {"eager": 300, "inductor": 0})
    run = measured.newest([folder], kit.environment(), A.id, B.id)
    assert run == (RUN.format(day=4), {"gpu": 200, "latency": 400}, {"gpu": 90, "latency": 180})


def test_another_device_a_file_that_is_no_run_and_none_at_all_tell_nothing(tmp_path: Path) -> None:
    other = kit.environment(slug="another")
    folder = write(tmp_path, 3, {"eager": 100, "inductor": 60}, environments={"default": other})
    (folder / f"{RUN.format(day=9)}.jsonl").write_text("not a run\n")
    assert measured.newest([folder], kit.environment(), A.id, B.id) == measured.NOTHING
    assert measured.newest([folder], other, A.id, B.id).run == RUN.format(day=3)
    assert measured.newest([tmp_path / "gone"], other, A.id, B.id) == measured.NOTHING


@pytest.mark.parametrize("name", ["eager", "inductor"])
def test_one_case_alone_is_not_enough(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, 3, {name: 100, "aoti": 60})
    assert measured.newest([folder], kit.environment(), A.id, B.id) == measured.NOTHING

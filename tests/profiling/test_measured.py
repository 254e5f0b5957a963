"""What a run has measured of two cases that were profiled."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import store
from bench.errors import StoreError, UsageError
from bench.model.run import Accuracy, Footer, Measurement, Record
from bench.model.suite import Boundary, Policy
from bench.profiling import measured
from tests.store import kit

A, B, C = (kit.case(backend=backend) for backend in ("eager", "inductor", "aoti"))
RUN = "2026112{day}T101500Z-small-1a2b3c4"


def write(
    root: Path, day: int, gpu: dict[str, int], boundaries: tuple[Boundary, ...] = ("gpu", "latency"), **header: object
) -> Path:
    """A run of a day with ``gpu`` of each backend, ns, and a latency of twice that, as far as they are ``boundaries``;
    backends without ``gpu`` have failed.
    """
    cases = tuple(case for case in (A, B, C) if case.backend in gpu)
    writer = store.create(root, kit.header(cases, run=RUN.format(day=day), **header))
    for case in cases:
        ns = gpu[case.backend]
        several = tuple(
            Measurement(boundary=boundary, samples=(times * ns,) * 9)
            for boundary, times in (("gpu", 1), ("gpu_unheld", 1), ("latency", 2))
            if ns and boundary in boundaries
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
    runs = dict.fromkeys(("gpu", "latency"), RUN.format(day=4))
    assert run[:3] == (runs, {"gpu": 200, "latency": 400}, {"gpu": 90, "latency": 180})
    assert (run.flaw_a, run.flaw_b) == ("", "")


def test_of_each_boundary_the_newest_run_that_has_it_of_both_cases_tells(tmp_path: Path) -> None:
    both = {"eager": 100, "inductor": 60}
    write(tmp_path, 1, {"eager": 900, "inductor": 900})
    write(tmp_path, 2, both)
    write(tmp_path, 3, {"eager": 300, "inductor": 90}, ("latency",))
    write(tmp_path, 4, {"eager": 400, "inductor": 0})
    folder = write(tmp_path, 5, {"eager": 500, "inductor": 80}, ("gpu_unheld",))
    times = measured.newest([folder], kit.environment(kind="cuda"), A.id, B.id)
    assert times.runs == {each: RUN.format(day=day) for each, day in (("gpu", 2), ("gpu_unheld", 5), ("latency", 3))}
    assert times.a == {"gpu": 100, "gpu_unheld": 500, "latency": 600}
    assert times.b == {"gpu": 60, "gpu_unheld": 80, "latency": 180}


def test_a_run_that_was_not_to_measure_what_is_still_needed_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = {"eager": 100, "inductor": 60}
    write(tmp_path, 1, both, policy=Policy(boundaries=("gpu",)))
    write(tmp_path, 2, both, ("latency",), policy=Policy(boundaries=("latency",)))
    folder = write(tmp_path, 3, both, ("latency",), policy=Policy(boundaries=("latency",)))
    read: list[str] = []
    monkeypatch.setattr(measured.reader, "read", lambda path, **how: read.append(path.stem) or store.read(path, **how))
    times = measured.newest([folder], kit.environment(kind="cuda"), A.id, B.id)
    assert times.runs == {"gpu": RUN.format(day=1), "latency": RUN.format(day=3)}
    assert read == [RUN.format(day=3), RUN.format(day=1)]
    read.clear()
    times = measured.newest([folder], kit.environment(kind="cpu"), A.id, B.id)
    assert (times.runs, read) == ({"latency": RUN.format(day=3)}, [RUN.format(day=3)])


def test_a_run_that_cannot_judge_a_case_says_why(tmp_path: Path) -> None:
    header = kit.header((A, B), run=RUN.format(day=2))
    writer = store.create(tmp_path, header)
    for case, ok in ((A, True), (B, False)):
        record = Record(
            case=case.id,
            label=case.label,
            measurements=(Measurement(boundary="latency", samples=(100,) * 9),),
            accuracy=Accuracy(ok=ok, outputs=(), varies=not ok),
        )
        writer.append(record)
    writer.finish(Footer(finished="", status="complete", records=2))
    (path,) = tmp_path.glob("*/*/*.jsonl")
    times = measured.newest([path.parent], kit.environment(), A.id, B.id)
    assert times.runs == {"latency": RUN.format(day=2)}
    assert times.flaw_b == f"has other outputs in each call in {RUN.format(day=2)}"


def test_another_device_a_file_that_is_no_run_and_none_at_all_tell_nothing(tmp_path: Path) -> None:
    other = kit.environment(slug="another")
    folder = write(tmp_path, 3, {"eager": 100, "inductor": 60}, environments={"default": other})
    (folder / f"{RUN.format(day=9)}.jsonl").write_text("not a run\n")
    assert measured.newest([folder], kit.environment(), A.id, B.id) == measured.NOTHING
    assert measured.newest([folder], other, A.id, B.id).runs["gpu"] == RUN.format(day=3)
    assert measured.newest([tmp_path / "gone"], other, A.id, B.id) == measured.NOTHING


@pytest.mark.parametrize("name", ["eager", "inductor"])
def test_one_case_alone_is_not_enough(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path, 3, {name: 100, "aoti": 60})
    assert measured.newest([folder], kit.environment(), A.id, B.id) == measured.NOTHING


def test_runs_that_are_named_tell_and_no_newer_ones(tmp_path: Path) -> None:
    both = {"eager": 100, "inductor": 60}
    for day, boundaries in ((1, ("gpu", "latency")), (2, ("gpu",)), (3, ("gpu", "latency"))):
        folder = write(tmp_path, day, {name: ns * day for name, ns in both.items()}, boundaries)
    first, second = (folder / f"{RUN.format(day=day)}.jsonl" for day in (1, 2))
    times = measured.of_runs([first, second], kit.environment(kind="cuda"), A.id, B.id)
    assert times.runs == {"gpu": RUN.format(day=2), "latency": RUN.format(day=1)}
    assert times.a == {"gpu": 200, "latency": 200}
    assert measured.of_runs([first], kit.environment(), A.id, B.id).b == {"gpu": 60, "latency": 120}


def test_a_named_run_that_tells_nothing_is_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, 1, {"eager": 100, "inductor": 60})
    write(tmp_path, 2, {"eager": 100, "inductor": 60})
    write(tmp_path, 3, {"eager": 100, "aoti": 60})
    older, newer, other = (folder / f"{RUN.format(day=day)}.jsonl" for day in (1, 2, 3))
    for paths in ([newer, other], [newer, older]):
        with pytest.raises(UsageError, match="the run has no time of both cases on ") as caught:
            measured.of_runs(paths, kit.environment(), A.id, B.id)
        assert caught.value.where == str(paths[1])
    with pytest.raises(UsageError, match="no time of both cases"):
        measured.of_runs([newer], kit.environment(slug="another"), A.id, B.id)
    newer.write_text("not a run\n")
    with pytest.raises(StoreError):
        measured.of_runs([newer], kit.environment(), A.id, B.id)

"""The public face: what the command line does, from Python, with the same errors."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

import bench
from bench import api
from bench.errors import SelectionError, StoreError, SuiteError, UsageError
from bench.model import events

Suite = Callable[..., Path]


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("TRTBENCH_CACHE", str(tmp_path / "cache"))
    return tmp_path / "results"


@pytest.mark.workers
def test_a_suite_is_loaded_planned_run_and_read(fake_suite: Suite, store: Path) -> None:
    suite = bench.load(fake_suite(replicates=2))
    plan = bench.plan(suite, select="batch=8")
    assert [case.label for case in plan.cases] == ["net/fake/fp32/batch=8"]
    seen: list[events.Event] = []
    run = bench.run(suite, select="batch=8", store=store, on_event=seen.append)
    assert [record.label for record in run.records] == ["net/fake/fp32/batch=8"] * 2
    assert [event.record.replicate for event in seen if isinstance(event, events.Stored)] == [0, 1]
    at_work = {event.worker: event.work for event in seen if isinstance(event, events.Step) and event.worker}
    assert list(at_work.values()) == ["reference", "measure", "measure"]
    assert [event.worker for event in seen if isinstance(event, events.Ended)] == list(at_work)
    spent = bench.times(run)
    assert isinstance(seen[-1], events.End)
    assert spent.total == run.times == seen[-1].times
    assert spent.cases[0].processes == 2
    assert min(record.times["measuring"] for record in run.records) > 0
    assert spent.rest is not None
    assert spent.rest["start_up"] > 0
    assert bench.succeeded(run)
    again = bench.read(run.path)
    assert again == bench.read(run.header.run[:20], store=store) == bench.read(run.path)
    assert again.records == run.records
    assert bench.find(run) == Path(run.path)
    with pytest.raises(StoreError, match="there are only rehearsals"):
        bench.find(store=store)


@pytest.mark.workers
def test_a_run_has_a_frame_rows_and_tables(fake_suite: Suite, store: Path) -> None:
    run = bench.run(fake_suite("[fake, {name: fake, noise: 0.1}]"), store=store)
    frame = run.frame()
    assert set(frame["boundary"]) == {"latency", "throughput"}
    assert frame["median_ns"].notna().all()
    assert [row.label for row in bench.rows(run)] == [case.label for case in run.header.cases]
    assert bench.rows(run, baseline="fake[noise=0.1]")[0].speed is not None
    assert "4 cases x 1 process: 4 of 4 measured" in bench.tables(run, width=100)
    assert max(map(len, bench.tables(run, width=60).splitlines())) <= 60
    assert repr(run) == f"Run({run.header.run!r}, 4 cases, 4 records, complete)"
    with pytest.raises(UsageError, match="no case has the backend 'eager'"):
        bench.rows(run, baseline="eager")


@pytest.mark.workers
def test_quick_and_replicates_are_those_of_the_command_line(fake_suite: Suite, store: Path) -> None:
    path = fake_suite(replicates=3)
    assert bench.request(path).policy.replicates == 3
    quick = bench.request(path, quick=True).policy
    assert (quick.replicates, quick.target_ci, quick.max_time_ns) == (1, 0.02, 1_000_000_000)
    assert quick.throughput_ns == 500_000_000
    assert quick.quick  # a longer max_time in the suite would not do
    assert not bench.request(path).policy.quick
    assert bench.request(path, quick=True, replicates=2).policy.replicates == 2
    request = bench.request(path, select="batch=1", store=store)
    assert not store.exists()
    assert [record.replicate for record in bench.execute(request).records] == [0, 1, 2]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"select": "nope=1"}, SelectionError, "nope"),
        ({"backend": "fak"}, UsageError, "Did you mean 'fake'"),
        ({"baseline": "eager"}, UsageError, "no case has the backend 'eager'"),
        ({"replicates": 200_000}, UsageError, "more than 100,000"),
        ({"cold": True, "prestart": 2}, UsageError, "--cold"),
        ({"device": "cuda"}, UsageError, "no CUDA device can be used"),
        ({"device": "gpu0"}, UsageError, "device: unknown device 'gpu0'"),
    ],
)
def test_bad_input_is_an_error_and_nothing_is_written(
    options: dict[str, object],
    error: type[Exception],
    message: str,
    fake_suite: Suite,
    store: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    with pytest.raises(error, match=message):
        bench.run(fake_suite(), store=store, **options)
    assert not store.exists()


@pytest.mark.workers
def test_a_file_that_is_no_suite_says_what_it_is(fake_suite: Suite, store: Path, tmp_path: Path) -> None:
    run = bench.run(fake_suite(), store=store)
    with pytest.raises(UsageError, match="a run, where a suite is expected"):
        bench.load(run.path)
    with pytest.raises(SuiteError):
        bench.load(tmp_path / "absent.yaml")
    with pytest.raises(StoreError, match="no runs"):
        bench.read(store=tmp_path / "empty")


def test_a_plan_needs_no_device_and_says_which_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    request = bench.request("suites/vision.yaml", device="cuda", plan_only=True)
    assert "no CUDA device" in request.device_missing
    assert bench.plan("suites/vision.yaml", device="cuda").cases == request.plan.cases
    assert bench.request("suites/vision.yaml", backend="fake").device_missing == ""


@pytest.mark.workers
def test_an_interrupt_raises_with_the_run_and_resume_does_the_rest(fake_suite: Suite, store: Path) -> None:
    def interrupt(event: events.Event) -> None:
        if isinstance(event, events.Stored):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(bench.Interrupted, match="trtbench run --resume") as caught:
        bench.run(fake_suite(replicates=2), store=store, on_event=interrupt)
    run = caught.value.run
    assert (len(run.records), run.footer and run.footer.status) == (1, "interrupted")
    part = bench.resume(run, select="batch=1")
    assert {record.label for record in part.records} == {"net/fake/fp32/batch=1"}
    whole = bench.resume(run)
    assert (len(whole.records), whole.footer and whole.footer.status) == (4, "complete")
    sittings = [each.footer.times for each in (run, part, whole) if each.footer]
    assert whole.times["measuring"] == sum(times["measuring"] for times in sittings)


@pytest.mark.workers
def test_a_failure_is_a_record_and_no_exception(fake_suite: Suite, store: Path) -> None:
    run = bench.run(fake_suite("[fake, {name: fake, fail: raise}]"), store=store)
    assert not bench.succeeded(run)
    assert not api.nothing_available(run)
    missing = bench.run(fake_suite("[{name: fake, fail: unavailable}]"), store=store)
    assert api.nothing_available(missing)
    assert not bench.succeeded(missing)


@pytest.mark.workers
def test_runs_outside_the_main_thread_need_no_signal_handlers(fake_suite: Suite, store: Path) -> None:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        run = pool.submit(bench.run, fake_suite(), store=store).result()
    assert run.footer is not None
    assert run.footer.status == "complete"


def test_every_public_name_is_there_and_documented() -> None:
    for name in bench.__all__:
        member = getattr(bench, name)
        assert member is getattr(api, name)
        assert member.__doc__
    assert set(bench.__all__) <= set(dir(bench))
    assert not set(bench.__all__) & {path.name for path in Path(bench.__file__).parent.iterdir() if path.is_dir()}
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        bench.nope  # noqa: B018


def test_errors_and_events_are_there_without_an_import_of_their_own() -> None:
    code = (
        "import sys, bench; assert not {'torch', 'msgspec', 'numpy'} & set(sys.modules), 'not lazy'; "
        "print(bench.errors.UsageError.__name__, bench.model.events.Stored.__name__, {'model'} <= set(dir(bench)))"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert result.stdout == "UsageError Stored True\n", result.stderr


def test_the_page_on_the_api_and_the_package_have_the_same_functions() -> None:
    page = Path(__file__).parents[1].joinpath("docs", "api.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| `")]
    documented = {name for row in rows for name in re.findall(r"`(\w+)\(", row)}
    functions = {name for name in bench.__all__ if not isinstance(getattr(bench, name), type)}
    assert documented == functions
    assert [name for name in bench.__all__ if f"`{name}" not in page] == []


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_what_is_no_file_in_the_place_of_a_run_is_refused_and_never_waited_for(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "results" / "sm_90" / "h100" / "20261123T101500Z-odd-1a2b3c4.jsonl"
    path.parent.mkdir(parents=True)
    (tmp_path / "file").write_text("")
    os.mkfifo(path) if kind == "pipe" else path.symlink_to(tmp_path / "file")
    for name in (path, path.stem, None):
        with pytest.raises(StoreError, match=f"this is a {kind}, a run is a file"):
            bench.read(name, store=tmp_path / "results")


@pytest.mark.parametrize(
    ("call", "message", "known"),
    [
        (
            lambda suite: bench.diverge(bench.request(suite), on="orcale"),
            "on 'orcale'. Did you mean 'oracle'?",
            "engine",
        ),
        (lambda suite: bench.explain("a", "b", gaps="profield"), "gaps 'profield'. Did you mean 'profiled'?", "unprof"),
        (lambda suite: bench.profile(bench.request(suite), tool="nsis"), "tool 'nsis'. Did you mean 'nsys'?", "layers"),
        (lambda suite: bench.duel(suite, "a", "b", device="gpu"), "device 'gpu'", "cuda"),
        (lambda suite: bench.history("a", boundary="gpuu"), "boundary 'gpuu'. Did you mean 'gpu'?", "latency"),
    ],
)
def test_a_word_that_an_argument_does_not_know_is_told_with_those_that_it_knows(
    call: Callable[[Path], object], message: str, known: str, fake_suite: Suite, store: Path
) -> None:
    with pytest.raises(UsageError, match="unknown ") as caught:
        call(fake_suite())
    assert message in caught.value.what
    assert caught.value.fix.startswith("known: ")
    assert known in caught.value.fix

"""Views of the runner's events: what they say, when they draw, and that they never lose a failure."""

import io
import json

import msgspec
from rich.console import Console

from bench.model import events as told
from bench.model.run import Failure, Record, Warning
from bench.report import progress

from .conftest import accuracy, case, record

FAILED = Failure(kind="OutOfMemory", stage="build", message="no memory left", hint="a smaller batch")


def events():
    fine, bad = case("bert", "eager"), case("bert", "aoti")
    return [
        told.Waiting(device="cpu", holder="20261123-other (process 7)"),
        told.Note(text="the reference of bert was corrupt and is made again"),
        told.Started(label=fine.label, done=0, total=3),
        told.Step(label=fine.label, phase="load"),
        told.Step(label=fine.label, phase="warmup"),
        told.Step(label=fine.label, phase="measure", timed=True),
        told.Stored(record=record(fine, 2.0), done=1, total=3),
        told.Started(label=bad.label, done=1, total=3),
        told.Stored(record=Record(case=bad.id, label=bad.label, failure=FAILED), done=2, total=3),
        told.Started(label=fine.label, done=2, total=3, replicate=1),
    ]


class Clock:
    def __init__(self):
        self.seconds = 0.0

    def __call__(self):
        return self.seconds


def play(width=120, shown=None):
    """The frames that a Live view drew, one per draw, and its console."""
    clock, frames = Clock(), []
    console = Console(file=io.StringIO(), width=width, force_terminal=True, color_system=None)
    with progress.Live(console, clock) as view:
        for event in shown or events():
            clock.seconds += 10
            before = console.file.getvalue()
            view(event)
            frames.append(str(view.draw()) if console.file.getvalue() != before else None)
    return frames, console.file.getvalue()


def test_live_says_what_runs_how_much_is_done_and_what_came_out_last() -> None:
    frames, _ = play()
    assert frames[0].splitlines()[1] == "now   waiting for cpu, held by 20261123-other (process 7)"
    assert frames[3].splitlines()[1] == "now   bert/eager/fp32/batch=1/seq=128: load"
    summary, now, last = frames[-1].splitlines()
    assert summary == "2/3 done, 1:40, about 0:50 left"
    assert now == "now   bert/eager/fp32/batch=1/seq=128 #2"
    assert last == "last  bert/aoti/fp32/batch=1/seq=128  FAILED: OutOfMemory in build: no memory left"


def test_live_gives_no_time_left_before_a_process_has_finished() -> None:
    frames, _ = play()
    assert "left" not in frames[3].splitlines()[0]


def test_live_time_left_counts_only_what_this_session_did() -> None:
    asked = case("bert", "eager")
    resumed = [
        told.Started(label=asked.label, done=90, total=100),
        told.Stored(record=record(asked, 2.0), done=91, total=100),
    ]
    frames, _ = play(shown=resumed)
    assert frames[-1].splitlines()[0] == "91/100 done, 0:20, about 3:00 left"


def test_live_does_not_draw_when_a_timed_step_begins_after_warm_up() -> None:
    frames, _ = play()
    drawn = [frame is not None for frame in frames]
    assert drawn == [True] * 5 + [False] + [True] * 4
    assert "warmup, then measure" in frames[4]


def test_live_prints_failure_message_and_hint_at_once_and_notes_too() -> None:
    _, output = play()
    assert "FAILED: OutOfMemory in build: no memory left" in output
    assert "try: a smaller batch" in output
    assert "the reference of bert was corrupt" in output


def test_live_shows_what_is_made_and_how_many_others_are_at_work() -> None:
    told_steps = [
        told.Step(label="a", phase="load", worker=1, work="reference"),
        told.Step(label="b", phase="build", worker=2, work="build"),
        told.Step(label="c", phase="start", worker=3, work="measure"),
        told.Ended(label="a", worker=1),
        told.Ended(label="b", worker=2),
    ]
    frames, _ = play(shown=told_steps)
    assert frames[0].splitlines()[0] == "before the first case, 0:10"
    lines = [frame.splitlines()[1] for frame in frames]
    assert lines[:3] == [
        "now   a: reference, load",
        "now   b: build; 1 other at work",
        "now   c: start; 2 others at work",
    ]
    assert lines[-1] == "now   c: start"


def test_live_draws_nothing_of_others_while_one_is_timed() -> None:
    frames, _ = play(
        shown=[
            told.Step(label="a", phase="load", worker=1, work="measure"),
            told.Step(label="b", phase="load", worker=2, work="measure"),
            told.Step(label="b", phase="warmup", worker=2, work="measure"),
            told.Step(label="b", phase="measure", worker=2, work="measure", timed=True),
            told.Step(label="a", phase="run", worker=1, work="measure"),
            told.Ended(label="a", worker=1),
            told.Step(label="b", phase="validate", worker=2, work="measure"),
        ]
    )
    assert [frame is not None for frame in frames] == [True, True, True, False, False, False, True]


def test_live_waits_for_a_device_until_it_holds_it() -> None:
    frames, _ = play(shown=[told.Waiting(device="cpu", holder="another"), told.Locked(device="cpu")])
    assert "waiting for cpu" in frames[0]
    assert frames[1].splitlines()[1] == "now   getting ready"
    assert "waiting" not in frames[1]


def test_live_lines_never_exceed_the_terminal() -> None:
    frames, _ = play(width=40)
    assert max(len(line) for frame in frames if frame for line in frame.splitlines()) <= 40


def test_plain_writes_a_line_per_process_with_its_result() -> None:
    stream = io.StringIO()
    with progress.Plain(stream) as view:
        for event in events():
            view(event)
    lines = stream.getvalue().splitlines()
    assert lines[0] == "waiting for cpu, held by 20261123-other (process 7)"
    assert lines[1] == "the reference of bert was corrupt and is made again"
    assert lines[2].startswith("[1/3] bert/eager/fp32/batch=1/seq=128 ... latency 2.0")
    assert lines[2].endswith(", accuracy ok")
    assert lines[3] == "[2/3] bert/aoti/fp32/batch=1/seq=128 ... FAILED: OutOfMemory in build: no memory left"
    assert lines[4] == "    try: a smaller batch"
    assert lines[5] == "[3/3] bert/eager/fp32/batch=1/seq=128 #2 ..."
    assert stream.getvalue().endswith("\n")


def test_plain_tells_what_is_running_before_it_has_finished() -> None:
    stream = io.StringIO()
    progress.Plain(stream)(told.Started(label="bert/eager/fp32", done=0, total=3))
    assert stream.getvalue() == "[1/3] bert/eager/fp32 ..."


def test_plain_says_what_comes_before_the_first_case() -> None:
    stream = io.StringIO()
    view = progress.Plain(stream)
    for phase in ("start", "inspect", "inspect"):
        view(told.Step(label="models", phase=phase, work="preflight"))
    view(told.Step(label="this machine's ceilings", phase="ceilings", work="preflight"))
    expected = ["counting the work of the models", "measuring the ceilings of this machine"]
    assert stream.getvalue().splitlines() == expected
    view(told.Started(label="net/eager/fp32", done=0, total=2))
    view(told.Step(label="models", phase="inspect", work="preflight"))  # beside a case: its line stays whole
    assert stream.getvalue().splitlines() == [*expected, "[1/2] net/eager/fp32 ..."]


def test_plain_names_steps_that_may_take_minutes_as_they_begin() -> None:
    stream, asked = io.StringIO(), case("bert", "aoti")
    view = progress.Plain(stream)
    view(told.Started(label=asked.label, done=0, total=1))
    for phase in ("import", "load", "export", "build: 10 of 20", "build: 11 of 20"):
        view(told.Step(label=asked.label, phase=phase))
    assert stream.getvalue() == f"[1/1] {asked.label} ... export, build"
    view(told.Step(label=asked.label, phase="warmup"))
    view(told.Step(label=asked.label, phase="measure", timed=True))
    assert stream.getvalue().endswith(" build")
    view(told.Stored(record=record(asked, 2.0), done=1, total=1))
    assert " ... export, build, latency " in stream.getvalue()


def test_plain_tells_every_half_a_minute_how_far_a_long_step_is() -> None:
    clock, stream, asked = Clock(), io.StringIO(), case("bert", "aoti")
    view = progress.Plain(stream, clock)

    def build(label: str) -> None:
        for seconds in (0, 10, 20, 30, 40):
            text = f"compile: {seconds // 5} of 9 steps, {seconds} s" if seconds else "compile"
            view(told.Step(label=label, phase=text, work="runner"))
            clock.seconds += 10

    build("x")
    view(told.Started(label=asked.label, done=0, total=1))
    build(asked.label)
    assert stream.getvalue() == (
        f"x: C++ runner\nx: C++ runner (6 of 9 steps, 30 s)\n[1/1] {asked.label} ... C++ runner (6 of 9 steps, 30 s)"
    )


def test_plain_names_what_is_made_before_the_first_case_and_nothing_of_others_after_that() -> None:
    stream, asked = io.StringIO(), case("bert", "aoti")
    view = progress.Plain(stream)
    for label, phase in (("x", "load"), ("x", "build: 1 of 2"), ("x", "build: 2 of 2"), ("y", "export")):
        view(told.Step(label=label, phase=phase, worker=1, work="build"))
    view(told.Started(label=asked.label, done=0, total=1))
    view(told.Step(label="y", phase="build", worker=2, work="build"))
    view(told.Step(label=asked.label, phase="build", worker=3, work="build"))
    assert stream.getvalue() == f"x: build\ny: export\n[1/1] {asked.label} ... build"


def test_plain_keeps_a_note_in_the_middle_of_a_case_on_a_line_of_its_own() -> None:
    stream, asked = io.StringIO(), case("bert", "eager")
    view = progress.Plain(stream)
    view(told.Started(label=asked.label, done=0, total=1))
    view(told.Note(text="a note"))
    view(told.Stored(record=record(asked, 2.0), done=1, total=1))
    first, note, result = stream.getvalue().splitlines()
    assert (first, note) == (f"[1/1] {asked.label} ...", "a note")
    assert result.startswith(f"[1/1] {asked.label} ... latency")


def test_no_line_ends_in_a_comma_whatever_ends_it() -> None:
    stream, asked = io.StringIO(), case("bert", "aoti")
    with progress.Plain(stream) as view:
        for done in range(2):
            view(told.Started(label=asked.label, done=done, total=2))
            view(told.Step(label=asked.label, phase="export"))
            view(told.Step(label=asked.label, phase="build"))
            view(told.Note(text="a note")) if not done else None
    assert stream.getvalue().splitlines() == [
        f"[1/2] {asked.label} ... export, build",
        "a note",
        f"[2/2] {asked.label} ... export, build",
    ]
    after = "now   bert/eager/fp32/batch=1/seq=128: reference"
    step = told.Step(label=case("bert", "eager").label, phase="compile: 3 of 9 steps", work="reference")
    for width in range(len(after), len(after) + 12):
        frames, _ = play(width, [*events()[:3], step])
        assert not frames[-1].splitlines()[1].rstrip("…").endswith((",", " "))


def test_plain_says_why_a_case_is_inaccurate_and_what_warned() -> None:
    stream, asked = io.StringIO(), case("bert", "eager")
    twice = (Warning(kind="NotSteady", figures={"calls": 1}), Warning(kind="NotSteady", figures={"calls": 2}))
    wrong = record(asked, 2.0, accuracy=accuracy(False, 0.2, why="y: cosine 0.2 < 0.99999"), warnings=twice)
    progress.Plain(stream)(told.Stored(record=wrong, done=1, total=1))
    assert stream.getvalue().endswith("accuracy FAIL: y: cosine 0.2 < 0.99999, warnings: NotSteady\n")


class Flushed(io.StringIO):
    """Remembers what had been written at each flush."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def flush(self):
        self.seen.append(self.getvalue())


def test_json_is_one_decodable_flushed_line_per_event() -> None:
    stream = Flushed()
    with progress.Json(stream) as view:
        for event in events():
            view(event)
    lines = stream.getvalue().splitlines()
    assert [json.loads(line)["event"] for line in lines] == [type(event).__name__.lower() for event in events()]
    assert [seen.count("\n") for seen in stream.seen] == list(range(1, len(lines) + 1))
    stored = msgspec.json.decode(lines[6], type=told.Stored)
    assert stored.record.label == "bert/eager/fp32/batch=1/seq=128"


def test_live_ticks_while_it_waits_and_never_while_a_child_is_timed() -> None:
    clock = Clock()
    console = Console(file=io.StringIO(), width=120, force_terminal=True, color_system=None)
    asked = case("bert", "eager")
    quiet = []
    with progress.Live(console, clock) as view:
        for event in (
            told.Waiting(device="cpu", holder="another"),
            told.Started(label=asked.label, done=0, total=2),
            told.Step(label=asked.label, phase="compile"),
            told.Step(label=asked.label, phase="warmup"),
            told.Step(label=asked.label, phase="measure", timed=True),
            told.Step(label=asked.label, phase="validate"),
            told.Stored(record=record(asked, 2.0), done=1, total=2),
        ):
            view(event)
            clock.seconds += 60
            before = console.file.getvalue()
            view.tick()
            quiet.append(console.file.getvalue() == before)
            assert quiet[-1] or f"{view.draw()}".splitlines()[0] in console.file.getvalue()[len(before) :]
    assert quiet == [False, False, False, True, True, False, False]


def test_json_names_the_run_first_and_how_it_ended_last() -> None:
    stream = io.StringIO()
    view = progress.Json(stream)
    view(told.Begin(run="r", path="results/r.jsonl", cases=1, total=3))
    view(told.End(run="r", path="results/r.jsonl", status="interrupted", records=2))
    first, last = map(json.loads, stream.getvalue().splitlines())
    assert (first["event"], first["run"], first["total"]) == ("begin", "r", 3)
    assert (last["event"], last["status"], last["records"]) == ("end", "interrupted", 2)


def pairs():
    side, other = "net/inductor/fp32", "net/eager/fp32"
    bad = Record(case="x", label=side, failure=FAILED)
    standing = {"label": side, "against": other, "pairs": 25}
    return [
        told.Started(label=other, against=(side,), done=0, total=25),
        told.Stored(record=record(case("bert", "eager"), 2.0), done=1, total=50),
        told.Compared(**standing, pair=1, kind="INCONCLUSIVE", ratio=0.7, low=None, high=None, over=False),
        told.Compared(**standing, pair=3, kind="FASTER", ratio=0.71, low=0.6, high=0.8, over=True),
        told.Stored(record=bad, done=4, total=50),
        told.Compared(**standing, pair=4, kind="NONE", ratio=None, low=None, high=None, over=True, why="it failed"),
    ]


def test_of_a_duel_a_line_tells_where_a_match_stands_and_what_failed() -> None:
    stream = io.StringIO()
    with progress.Plain(stream) as view:
        for event in pairs():
            view(event)
    assert stream.getvalue().splitlines() == [
        "[1/25] 0.700  net/fp32: inductor against eager",
        "[3/25] 0.710 [0.600, 0.800] FASTER  net/fp32: inductor against eager",
        "net/inductor/fp32  FAILED: OutOfMemory in build: no memory left",
        "    try: a smaller batch",
        "[4/25] not judged  net/fp32: inductor against eager: it failed",
    ]


def test_live_shows_the_interval_narrowing_and_keeps_what_is_over() -> None:
    frames, printed = play(shown=pairs())
    assert frames[2].splitlines()[0].startswith("1/25 done")
    assert frames[2].splitlines()[-1] == "last  0.700  net/fp32: inductor against eager"
    assert "0.710 [0.600, 0.800] FASTER  net/fp32: inductor against eager" in printed
    assert "no memory left" in printed

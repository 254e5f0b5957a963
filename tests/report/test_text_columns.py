"""Which columns of the tables stay at a width, and how long names are broken."""

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from bench import store
from bench.model.run import Failure, Record, Warning
from bench.report import folding, table, text

from .conftest import case, make, record


@pytest.mark.parametrize("width", [60, 80, 100, 140, 200])
def test_no_line_of_a_table_is_longer_than_the_terminal(run, width) -> None:
    shown = text.render(run, width=width, phases=True, verbose=True)
    long = [line for line in shown.splitlines() if len(line) > width]
    assert all(line.lstrip().startswith("trtbench ") for line in long)  # a command is one line, to be pasted


def test_a_wider_terminal_only_adds_columns(run) -> None:
    def titles(width):
        return [line.split() for line in text.render(run, width=width).splitlines() if line.startswith("backend")]

    for narrow, wide in zip(titles(80), titles(160), strict=True):
        assert set(narrow) < set(wide)


def test_columns_that_do_not_fit_are_named_below_and_none_is_at_full_width(run) -> None:
    assert "not shown at 80 columns: rel L2, cosine" in text.render(run, width=80)
    assert "not shown" not in text.render(run, width=160)


@pytest.mark.parametrize("width", [40, 60, 72, 80, 100])
def test_a_backend_that_is_too_long_goes_over_several_lines_and_loses_nothing(width) -> None:
    spare = {"memory_format": "channels_last"}
    modes = ("max-autotune-no-cudagraphs", "max-autotune", "reduce-overhead")
    cases = [case("bert", "inductor", options=spare | {"mode": mode}, symbols={"batch": 1}) for mode in modes]
    cases.append(
        case("bert", "tensorrt", options={"network": "a_folder/of_networks.py:filled_by_hand"}, symbols={"batch": 1})
    )
    records = [record(c, n + 1.0, replicate) for n, c in enumerate(cases) for replicate in range(3)]
    shown = text.render(make(cases, records, 3), width=width)
    body = shown.partition("───\n")[2].partition("not shown")[0]
    assert max(map(len, body.splitlines())) <= width
    rows = re.split(r"\n(?=inductor|tensorrt)", body)
    names = ["".join(line.split("  ", 1)[0] if not n else line.strip() for n, line in enumerate(row.splitlines()))
             for row in rows]  # fmt: skip
    starred = ["inductor[memory_format=channels_last,mode=max-autotune-no-cudagraphs] *",
               "inductor[memory_format=channels_last,mode=max-autotune]",
               "inductor[memory_format=channels_last,mode=reduce-overhead]",
               "tensorrt[network=a_folder/of_networks.py:filled_by_hand]"]  # fmt: skip
    assert [name.replace(" *", "*") for name in names] == [name.replace(" *", "*") for name in starred]


def test_a_short_name_that_was_broken_to_fit_stays_broken() -> None:
    columns = [
        table.names("backend", ["fake", "fake[noise=0.1]"], 55, 35),
        table.Column(title="t", cells=("1" * 46,) * 2),
    ]
    fitting, _ = table.fit(columns, 60)
    assert fitting[0].cells == ("fake", "fake[\n  noise=0.1]")
    assert max(map(len, table.draw(fitting, 60, spans={}, styles={}))) <= 60


RESULTS = Path(__file__).parents[2] / "results"


@pytest.mark.parametrize(
    "name",
    [
        "20261128T145513Z-net",  # a toolchain of 40 digits
        "20261129T044304Z-deploy",  # uneven intervals and many notes
        "20261123T160736Z-native_resnet50",  # long options, sizes and settings
        "20261123T215447Z-transformers",  # a ratio of another time than the first
        "20261126T184119Z-vision",
        "20261130T122228Z-deformable",  # rows that have not the first time
    ],
)
def test_at_80_columns_stay_the_backend_its_time_its_speed_and_its_accuracy(name) -> None:
    (path,) = RESULTS.rglob(f"{name}*.jsonl")
    lines = text.render(store.read(path), width=80).splitlines()
    rules = [n for n, line in enumerate(lines) if line and set(line) == {"─"}]
    tables = [n for n in rules if lines[n - 1].startswith("backend")]
    assert tables
    for rule in tables:
        words = {*lines[rule - 2].split(), *lines[rule - 1].split()}  # of a title of one line or two
        assert {"acc", "vs"} <= words
        assert {"gpu", "latency"} & words
        end = next(n for n in range(rule, len(lines)) if lines[n].startswith(("not shown", "  1 ")))
        assert max(map(len, lines[rule - 1 : end])) <= 80


def test_at_80_columns_stays_a_time_of_the_rows_that_have_not_the_first() -> None:
    """Engines whose GPU could not be held have no `gpu`; `setting`, accuracy and `note` stay too, as intervals take a
    second line, and names are broken between words.
    """
    (path,) = RESULTS.rglob("20261130T122228Z-deformable-24f0429.jsonl")
    shown = text.render(store.read(path), width=80).partition("dla34 · ")[2]
    titles, _, *rows = shown.partition("not shown")[0].splitlines()[1:]
    assert max(map(len, [titles, *rows])) <= 80
    assert titles.split() == ["backend", "setting", "gpu", "gpu_unheld", "vs", "eager", "acc", "note"]
    assert all(" ms" in row or " us" in row for row in rows if not row.startswith("  "))
    assert sum(row.count("±") for row in rows) == 7  # five times and two ratios
    words = " ".join(row[:18].strip() for row in rows)
    assert "fx2trt[ optimization_ level=1] fx2trt[ deconvolutions= dense, optimization_ level=1] * tensorrt[" in words


@pytest.mark.parametrize(
    ("room", "lines"),
    [
        (16, "a[\n  optimization_\n  level=1]"),
        (17, "a[\n  deconvolutions=\n  dense]"),
        (16, "a[\n  deconvolutions\n  =dense]"),
        (12, "a[\n  x=a_\n  folder/of_\n  networks]"),
        (10, "a[\n  abcdefgh\n  ijkl]"),
    ],
)
def test_a_name_is_broken_between_its_words(room, lines) -> None:
    (broken,) = folding.names(["".join(line.strip() for line in lines.split("\n"))], room)
    assert broken == lines


def test_an_interval_takes_a_second_line_before_a_speed_leaves() -> None:
    cells = ("2.48 ms ±0.6%", "7.01 ms [6.1, 8.2]", "-")
    column = table.with_intervals("gpu", cells, 38, -2, 10)
    names = table.Column(title="b", cells=("x" * 10,) * 3)
    at = {width: table.fit([names, column], width)[0][-1].cells for width in (30, 26, 22, 18)}
    assert at[30] == cells
    assert at[26] == ("2.48 ms ±0.6%", "7.01 ms\n[6.1, 8.2]", "-")
    assert at[22] == ("2.48 ms\n±0.6%", "7.01 ms\n[6.1, 8.2]", "-")


def test_what_was_folded_for_a_column_that_left_all_the_same_is_not() -> None:
    names = table.names("case", ["a[first=1,second=2]", "b"], 30)
    times = table.with_intervals("time", ["464 ms [408, 527]", "1.00 ms ±1.0%"], 20)
    notes = table.Column(title="a title of thirty characters !", cells=("x", "y"), drop=10)
    assert table.fit([names, times, notes], 45) == ([*table.fit([names, times], 45)[0]], [notes.title])
    assert [column.width for column in table.fit([names, times, notes], 45)[0]] == [19, 17]
    kept, omitted_titles = table.fit([names, times, notes], 61)
    assert (omitted_titles, kept[1].cells) == ([], ("464 ms\n[408, 527]", "1.00 ms ±1.0%"))
    shown = [str(line) for line in table.draw(kept, 61, spans={}, styles={})]
    assert shown[2].split() == ["a[first=1,", "464", "ms", "x"]
    assert shown[3].split() == ["second=2]", "[408,", "527]"]


def test_a_title_of_two_lines_stands_above_its_rule() -> None:
    column = table.with_intervals("vs eager (latency)", ["1.02x [0.99, 1.05]"], 1)
    kept, _ = table.fit([table.names("case", ["a"], 2), column], 18)
    shown = [str(line) for line in table.draw(kept, 18, spans={}, styles={})]
    assert shown[:2] == ["          vs eager", "case     (latency)"]
    assert shown[3:] == ["a            1.02x", "      [0.99, 1.05]"]


def test_what_a_clock_suite_is_for_stays_at_120_columns_beside_long_names() -> None:
    options = [{"memory_format": "channels_last"}, {"memory_format": "channels_last", "mode": "reduce-overhead"}]
    cases = [case("resnet", "eager", options=o, symbols={"batch": 32}) for o in options]
    boundaries = ("gpu", "gpu_unheld", "latency", "enqueue", "h2d", "compute", "d2h")
    found = [record(c, 2.0, n, boundaries) for c in cases for n in range(3)]
    (titles,) = [line for line in text.render(make(cases, found, 3), width=120).splitlines() if " gpu " in line]
    assert {"gpu", "gpu_unheld", "QPS", "vs baseline", "acc"} <= set(re.split(r"\s{2,}", titles))


def test_the_number_of_a_failure_s_note_is_never_cut_off() -> None:
    options = {"network": "engine_zoo.py:branches_by_hand", "max_aux_streams": 3}
    cases = [case("bert", name, options=options, streams=2, cuda_graph=True) for name in ("tensorrt", "fake")]
    failed = Failure(kind="Unsupported", stage="deserialize", message="x")
    run = make(cases, [record(cases[0], 2.0), Record(case=cases[1].id, label=cases[1].label, failure=failed)])
    for width in (60, 80, 100, 200):
        assert " note 1: " in text.render(run, width=width)


def test_the_widest_identity_still_fits_80_columns_and_keeps_its_time_and_note() -> None:
    options = {"mode": "max-autotune-no-cudagraphs", "fullgraph": True}
    cases = [case("bert", "inductor", precision, batch, options=options, symbols={"batch": batch, "seq": 64 * batch},
                  streams=2, cuda_graph=True) for precision in ("fp32", "fp16") for batch in (1, 256)]  # fmt: skip
    warned = (Warning(kind="NotSteady", figures={"calls": 1, "ns": 1, "spread": 0.1}),)
    boundaries = ("gpu", "latency", "enqueue", "h2d", "compute", "d2h")
    found = [record(c, 2.0, boundaries=boundaries, warnings=warned) for c in cases]
    lines = text.render(make(cases, found), width=80).splitlines()
    assert max(map(len, lines)) <= 80
    (titles,) = [line.split() for line in lines if line.startswith("backend")]
    assert {"prec", "batch", "seq", "setting", "gpu", "note"} <= set(titles)


COMMANDS = [
    "trtbench run --resume 20261123T101500Z-a-suite-with-a-long-name-1a2b3c4",
    "trtbench run suites/smoke.yaml --select 'model=resnet50 and batch=32' --backend fake --store DIR",
    "pip install -c constraints.txt torch transformers nvidia-cuda-runtime-cu12",
    "nvidia-smi -lgc MHZ",
    "apt-get install g++",
]


@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("width", [30, 40, 60])
def test_a_command_that_can_be_pasted_is_never_broken(command, width) -> None:
    for said in (f"try: {command}, or something else that takes some words", f"it helps ({command}) or so; and more"):
        lines = table.wrap(said, width, "    ")
        assert [line for line in lines if command in line]
        assert " ".join(line.strip() for line in lines) == said
        assert all(len(line) <= width for line in lines if not any(c[:9] in line for c in COMMANDS))


# What a line of a terminal can show, with much of what a shell quotes.
PATHS = st.text(st.sampled_from(" '\"()$,;:-\\a/") | st.characters(exclude_categories=("C", "Zl", "Zp")), min_size=1)


@example(path="0" * 19, width=20)  # a value as long as a line
@given(path=PATHS, width=st.integers(20, 100))
def test_a_path_that_a_shell_needs_quotes_for_is_never_broken(path: str, width: int) -> None:
    assume(path[-1] not in ",:" or path != shlex.quote(path))  # without quotes these end a command
    for command in (
        f"trtbench run --resume {shlex.quote(path)} --replicates 7",
        f"trtbench history --store {shlex.quote(path)} --since main",
        f"{shlex.quote(f'/{path}/bin/python3.11')} -m pip install tensorrt-cu13",
    ):
        lines = table.wrap(f"3 cases are undecided, which more processes may change: {command}", width)
        assert [line for line in lines if line.endswith(command)], lines
    quoted = shlex.quote(path)
    assert [line for line in table.wrap(f"the runs lie elsewhere: --store {quoted}", width) if line.endswith(quoted)]
    absolute = shlex.quote(f"/{path}")
    assert [line for line in table.wrap(f"there are no runs in {absolute} of that name", width) if absolute in line]


def test_apostrophes_of_prose_hold_no_words_together() -> None:
    lines = table.wrap(
        "trtbench doctor's table has the user's file, and 'eager fp16' is not what the case's own is", 20
    )
    assert max(map(len, lines)) <= 20


def test_a_word_longer_than_a_line_is_broken_unless_it_may_be_a_path() -> None:
    word, path = "x" * 130, f"/{'y' * 70}/zoo.py"
    lines = table.wrap(f"ValueError: {word} in {path}: and so on", 60, "    ", "  1 ")
    assert lines == [
        "  1 ValueError:", f"    {'x' * 56}", f"    {'x' * 56}", f"    {'x' * 18} in", f"    {path}:", "    and so on"
    ]  # fmt: skip


def test_prose_around_a_command_is_wrapped() -> None:
    lines = table.wrap("trtbench doctor says what to install where it is missing, and so it goes on", 20, "")
    assert lines[0] == "trtbench doctor says"

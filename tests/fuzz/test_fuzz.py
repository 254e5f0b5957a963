"""Every language that comes from outside, mutated: an error of ours and no traceback, in ``long`` of thousands."""

from __future__ import annotations

import contextlib
import io
import random
from pathlib import Path

import msgspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench import api, store
from bench.cli import arguments
from bench.errors import InputError
from bench.model.run import Footer, Measurement, Record
from bench.model.suite import Case, Input, Policy, Threshold
from bench.report import export
from bench.runner import headers, jobs
from bench.runner.answers import Answer
from bench.store import codec
from bench.suite import plan, reader, selection
from tests.store import kit as store_kit
from tests.suite.kit import REGISTRY, TEXT

FEW = settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
SEEDS = st.integers(0, 1 << 32)
WORDS = (
    b"-1", b"0", b"1e999", b"nan", b".inf", b"null", b"{}", b"[]", b"''", b"~", b"*a", b"&a ", b"<<: ", b"!!int ''",
    b"\n", b": ", b"9" * 30, b"\\ud800", b'"\\U00110000"', b"\xff", b"\0", b"\x1b[2J", "\u202e\xe9".encode(), b"[" * 60,
    b"../..", b"true", b"2e9",
)  # fmt: skip


def mutated(text: bytes, seed: int) -> bytes:
    """``text`` with a few changes of the kinds that hands, disks and programs make."""
    rng = random.Random(seed)
    data = bytearray(text)
    for _ in range(rng.randint(1, 4)):
        at, length = rng.randrange(len(data) + 1), rng.choice([0, 1, 1, 3, 20])
        kind = rng.randrange(5)
        if kind == 0:
            data[at : at + length] = rng.choice(WORDS)
        elif kind == 1:
            data[at : at + length] = b""
        elif kind == 2:
            data[at:at] = data[at : at + length * 5]
        elif kind == 3:
            data[at : at + 1] = bytes([rng.randrange(256)])
        else:
            pieces = data.split(b"\n")
            rng.shuffle(pieces) if rng.random() < 0.1 else pieces.append(rng.choice(pieces))
            data = bytearray(b"\n".join(pieces))
    return bytes(data)


def read_suite(path: Path, data: bytes) -> bool:
    """Whether ``data`` is a suite; what is not is an error with a place."""
    path.write_bytes(data)
    try:
        suite = reader.load(path, REGISTRY)
        plan.plan(suite, REGISTRY, device="cpu")
    except InputError as error:
        if not error.where:
            raise
        return False
    return True


RECORD = Record(case="c", label="l", measurements=(Measurement(boundary="latency", samples=(5, 6, 7)),))
LINES = b"".join(
    map(codec.encode, (store_kit.header(), RECORD, RECORD, Footer(finished="f", status="complete", records=2)))
)


def read_results(path: Path, data: bytes) -> bool:
    """Whether ``data`` is a run that can be shown; what is not is an error."""
    path.write_bytes(data)
    try:
        run = store.read(path)
        headers.refuse_impossible(run.header, path)
        api.rows(run)
        export.json(run, "")
    except InputError:
        return False
    return True


@FEW
@given(SEEDS)
def test_a_mutated_suite_is_a_suite_or_an_error(tmp_path: Path, seed: int) -> None:
    read_suite(tmp_path / "x.yaml", mutated(TEXT.encode(), seed))


@FEW
@given(SEEDS)
def test_a_mutated_results_file_is_a_run_or_an_error(tmp_path: Path, seed: int) -> None:
    read_results(tmp_path / "x.jsonl", mutated(LINES, seed))


@pytest.mark.long
def test_ten_thousand_mutated_suites_of_which_some_are_still_suites(tmp_path: Path) -> None:
    suites = sum(read_suite(tmp_path / "x.yaml", mutated(TEXT.encode(), seed)) for seed in range(10_000))
    assert 0 < suites < 10_000


@pytest.mark.long
def test_ten_thousand_mutated_results_files_of_which_some_are_still_runs(tmp_path: Path) -> None:
    runs = sum(read_results(tmp_path / "x.jsonl", mutated(LINES, seed)) for seed in range(10_000))
    assert 0 < runs < 10_000


WORDING = selection.Vocabulary(symbols=("batch",), options=("mode",), values={"model": ("net",)})


@FEW
@given(SEEDS)
def test_a_mutated_selection_is_an_expression_or_an_error(seed: int) -> None:
    text = mutated(b"model=net and (batch<=8 or not backend~'induc*') or option.mode != x", seed).decode(
        errors="replace"
    )
    with contextlib.suppress(InputError):
        selection.matches(selection.parse(text, WORDING), CASE, {})


CASE = Case(
    model="net", factory="zoo.py:net", inputs={"x": Input(shape=("batch",))}, backend="eager", symbols={"batch": 1}
)
JOB = jobs.Measure(device="cpu", case=CASE, policy=Policy(), threshold=Threshold(), artifacts={}, scratch="")


@FEW
@given(SEEDS)
def test_a_mutated_reply_is_the_job_s_or_a_problem(seed: int) -> None:
    answer = Answer(JOB)
    record = msgspec.structs.replace(RECORD, case=CASE.id, label=CASE.label)
    good = jobs.encode(jobs.Measured(record=record, ticket=answer.job.ticket))
    for line in mutated(good, seed).split(b"\n"):
        answer.hear(line)
    assert answer.problem or answer.reply is not None
    if answer.complete:
        assert isinstance(answer.reply, jobs.Measured)
        assert answer.reply.record.case == CASE.id


ARGUMENTS = (
    "run", "show", "list", "x.yaml", "--select", "--replicates", "--seed", "--as", "trtexec", "-1", "", "9" * 5000,
    "--store", "\udcff", "--backend", "fake", "--prestart", "\xb2", "--resume", "a\0b", "--format", "json",
)  # fmt: skip


@FEW
@given(st.lists(st.sampled_from(ARGUMENTS), max_size=6))
def test_any_arguments_are_a_command_or_an_error(words: list[str]) -> None:
    with contextlib.redirect_stderr(io.TextIOWrapper(io.BytesIO(), errors="replace")):
        try:
            assert arguments.parse(words).command in words
        except SystemExit as end:
            code = end.code
        else:
            code = 2
    assert code == 2

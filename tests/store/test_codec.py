"""Lines of a run's file: what is written is read back, the golden file never changes, other files are refused."""

from __future__ import annotations

import math

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench import store
from bench.errors import StoreError
from bench.model.run import Accuracy, Footer, Header, Measurement, Record, Warning, Work
from bench.model.telemetry import GpuFigures, HostFigures, Telemetry
from bench.store import codec
from tests.store import kit as store_kit
from tests.store.kit import GOLDEN, GOLDEN_V1, golden_run, golden_run_v1


def test_the_golden_file_reads_back_to_the_value_it_was_made_from() -> None:
    assert store.read(GOLDEN) == golden_run()


def test_the_golden_file_of_schema_1_is_still_read() -> None:
    assert store.read(GOLDEN_V1) == golden_run_v1()


def test_the_golden_value_is_written_as_the_same_bytes() -> None:
    run = golden_run()
    assert run.footer is not None
    assert b"".join(codec.encode(item) for item in (run.header, *run.records, run.footer)) == GOLDEN.read_bytes()


def test_an_old_run_keeps_the_limits_that_it_was_begun_with() -> None:
    limits = store.read(GOLDEN).header.thresholds["fp16"]
    assert (limits.cosine, limits.rel_l2) == (0.999, None)


def test_an_old_run_keeps_the_numbers_of_samples_and_calls_that_were_the_defaults_then() -> None:
    policy = store.read(GOLDEN).header.policy
    assert (policy.min_samples, policy.max_samples, policy.warmup_calls) == (50, 256, 10)


def test_every_schema_has_a_dated_history_a_golden_file_and_a_migration_from_the_one_before() -> None:
    versions = set(range(1, codec.SCHEMA + 1))
    assert set(codec.HISTORY) == versions
    assert all(text[:10].count("-") == 2 for text in codec.HISTORY.values())
    assert {path.name for path in GOLDEN.parent.glob("run-v*.jsonl")} == {f"run-v{n}.jsonl" for n in versions}
    assert set(codec.MIGRATIONS) == versions - {codec.SCHEMA}
    assert store_kit.header().schema == codec.SCHEMA


text = st.text(max_size=20)
number = st.sampled_from([math.nan, math.inf, -math.inf]) | st.floats()
samples = st.lists(st.integers(0, 10**12), max_size=20).map(tuple)
records = st.builds(
    Record,
    case=text,
    label=text,
    replicate=st.integers(0, 99),
    measurements=st.lists(st.builds(Measurement, boundary=st.just("latency"), samples=samples), max_size=3).map(tuple),
    accuracy=st.none()
    | st.builds(Accuracy, ok=st.booleans(), outputs=st.just(()), metric=st.dictionaries(text, number, max_size=3)),
    work=st.none()
    | st.builds(Work, flops=st.just(1), bytes=st.just(1), fraction=st.dictionaries(text, number, max_size=3)),
    telemetry=st.builds(
        Telemetry,
        host=st.none() | st.builds(HostFigures, rss_bytes=st.none() | st.integers(0, 2**62), cores=st.integers(1, 256)),
        gpu=st.none() | st.builds(GpuFigures, lost=st.booleans(), readings=st.none() | st.integers(0, 99)),
        resumed_on=text,
        other=st.dictionaries(text, st.none() | st.integers() | text | st.lists(st.booleans(), max_size=2), max_size=3),
    ),
    warnings=st.lists(
        st.builds(Warning, kind=text, figures=st.dictionaries(text, st.integers() | text, max_size=3)), max_size=2
    ).map(tuple),
)


def finite(record: Record) -> Record:
    """What must be read back: mappings of plain numbers without NaN and infinity."""
    keep = {"accuracy": record.accuracy, "work": record.work}
    if record.accuracy:
        metric = {k: v for k, v in record.accuracy.metric.items() if math.isfinite(v)}
        keep["accuracy"] = msgspec.structs.replace(record.accuracy, metric=metric)
    if record.work:
        fraction = {k: v for k, v in record.work.fraction.items() if math.isfinite(v)}
        keep["work"] = msgspec.structs.replace(record.work, fraction=fraction)
    return msgspec.structs.replace(record, **keep)


@given(records)
def test_a_record_is_one_line_that_reads_back(record: Record) -> None:
    line = codec.encode(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert codec.decode(line) == finite(record)


@given(records)
def test_no_line_holds_nan_or_infinity(record: Record) -> None:
    def refuse(constant: str) -> None:
        raise AssertionError(constant)

    import json

    json.loads(codec.encode(record), parse_constant=refuse)


@given(records, st.integers(0, 200))
def test_a_record_cut_anywhere_is_no_record(record: Record, cut: int) -> None:
    line = codec.encode(record)
    with pytest.raises(StoreError):
        codec.decode(line[: cut % (len(line) - 1)])


@given(st.binary(max_size=100))
def test_other_bytes_are_a_store_error(line: bytes) -> None:
    with pytest.raises(StoreError):
        codec.decode(line)


NOT_OURS = [
    b"",
    b"\n",
    b"{}\n",
    b"[1, 2]\n",
    b"null",
    b'{"line": "header"}\n',
    b'{"line": "header", "schema": 0}\n',
    b'{"line": "header", "schema": true}\n',
    b'{"line": "header", "schema": 1}\n',
    b'{"line": "results", "schema": 1}\n',
    b'{"line": 3}\n',
    b'{"line": "record", "case": "x"}\n',
    b'{"line": "record", "case": "x", "label": "\xff"}\n',
    b'{"line": "record", "case": ' + b"[" * 100_000,
    b'{"line": "footer", "finished": "", "status": "half"}\n',
]


@pytest.mark.parametrize("line", NOT_OURS, ids=lambda line: repr(line[:40]))
def test_json_that_is_not_ours_is_a_store_error_with_its_place(line: bytes) -> None:
    with pytest.raises(StoreError) as caught:
        codec.decode(line, where="x.jsonl:3")
    assert str(caught.value).startswith("x.jsonl:3: ")


def test_a_newer_schema_says_which_and_how_to_read_it() -> None:
    line = codec.encode(store_kit.header()).replace(b'"schema":2', b'"schema":12')
    with pytest.raises(StoreError, match=r"schema 12; this trtbench reads up to 2\n  fix: a newer trtbench: git pull"):
        codec.decode(line)


@pytest.mark.parametrize("item", [store_kit.header(), store_kit.record(), store_kit.FOOTER])
def test_unknown_fields_of_the_same_schema_are_ignored(item: Header | Record | Footer) -> None:
    line = codec.encode(item)
    assert codec.decode(line[:-2] + b',"later":{"a":[1,{}]}}\n') == item


def test_text_without_a_utf8_form_is_a_store_error() -> None:
    with pytest.raises(StoreError, match="not valid Unicode"):
        codec.encode(store_kit.header(suite_path="suites/\udcff.yaml"))


def test_a_gpu_record_of_256_samples_a_series_stays_near_12_kb() -> None:
    typical = {"gpu": 550_000, "enqueue": 60_000, "latency": 620_000, "h2d": 50_000, "compute": 551_000, "d2h": 9_000}
    typical["throughput"] = 1_100_000
    measured = tuple(
        Measurement(boundary=name, samples=tuple(range(ns, ns + 256)), stop="max_samples")  # type: ignore[arg-type]
        for name, ns in typical.items()
    )
    assert len(codec.encode(msgspec.structs.replace(store_kit.record(), measurements=measured))) <= 12.5 * 1024


def test_a_number_that_is_not_finite_costs_only_itself() -> None:
    metric = {"good": 0.5, "nan": math.nan, "inf": math.inf}
    accuracy = Accuracy(ok=True, outputs=(), metric=metric)
    work = Work(flops=1, bytes=1, fraction={"gpu": -math.inf, "latency": 0.25})
    item = msgspec.structs.replace(store_kit.record(), accuracy=accuracy, work=work)
    found = codec.decode(codec.encode(item))
    assert isinstance(found, Record)
    assert found.accuracy == Accuracy(ok=True, outputs=(), metric={"good": 0.5})
    assert found.work == Work(flops=1, bytes=1, fraction={"latency": 0.25})
    top = store_kit.header(ceilings={"fp32": math.nan, "copy": 1e10})
    assert codec.decode(codec.encode(top)) == store_kit.header(ceilings={"copy": 1e10})


def test_a_header_without_a_schema_version_says_so() -> None:
    with pytest.raises(StoreError, match="no schema version"):
        codec.schema_of(b'{"line": "header", "run": "x"}\n')


def rename(line: dict[str, object]) -> dict[str, object]:
    """Schema 1 -> 2: a record's ``name`` became ``label``."""
    if line["line"] == "record":
        line = {**line, "label": line["name"]}
        del line["name"]
    return line


def number_replicates(line: dict[str, object]) -> dict[str, object]:
    """Schema 2 -> 3: replicates counted from one before."""
    return {**line, "replicate": line["replicate"] - 1} if line["line"] == "record" else line  # type: ignore[operator]


STEPS = {1: rename, 2: number_replicates}
OLD = {"line": "record", "case": "c", "name": "n", "replicate": 1}


@pytest.mark.parametrize(
    ("version", "line", "migrated"),
    [
        (1, OLD, {"line": "record", "case": "c", "label": "n", "replicate": 0}),
        (2, {"line": "record", "label": "n", "replicate": 1}, {"line": "record", "label": "n", "replicate": 0}),
        (3, {"line": "record", "label": "n"}, {"line": "record", "label": "n"}),
        (1, {"line": "header", "schema": 1}, {"line": "header", "schema": 3}),
    ],
)
def test_a_line_is_migrated_step_by_step_from_its_version(
    version: int, line: dict[str, object], migrated: dict[str, object]
) -> None:
    before = dict(line)
    assert codec.migrate(line, version, 3, STEPS) == migrated
    assert line == before


def test_a_line_of_an_older_file_is_migrated_when_it_is_decoded(monkeypatch: pytest.MonkeyPatch) -> None:
    header = codec.encode(store_kit.header()).replace(b'"schema":2', b'"schema":1')
    monkeypatch.setattr(codec, "SCHEMA", 3)
    monkeypatch.setattr(codec, "MIGRATIONS", STEPS)
    assert codec.decode(msgspec.json.encode(OLD), 1) == Record(case="c", label="n", replicate=0)
    assert codec.schema_of(header) == 1
    assert codec.decode(header) == store_kit.header(schema=3)
    with pytest.raises(StoreError, match="not a line of a trtbench run"):
        codec.decode(b'{"line": "record", "case": "damaged"}', 1)

"""A run that uses every field, and small ones made on demand."""

from __future__ import annotations

from pathlib import Path

import msgspec

from bench import store
from bench.model.run import (
    Accuracy,
    Environment,
    Failure,
    Footer,
    Header,
    Measurement,
    OutputError,
    Phase,
    Record,
    Run,
    Warning,
    Work,
)
from bench.model.suite import Case, Input, LeftOut, Policy, Range, Threshold, Toolchain
from bench.model.telemetry import ClockFigures, GpuFigures, HostFigures, Telemetry

GOLDEN = Path(__file__).parents[1] / "golden" / "run-v2.jsonl"
GOLDEN_V1 = GOLDEN.with_name("run-v1.jsonl")


def case(model: str = "net", **changes: object) -> Case:
    inputs = {"x": Input(shape=(1, 3), dtype="float32")}
    return Case(**{"model": model, "factory": "zoo.py:net", "inputs": inputs, "backend": "fake", **changes})  # type: ignore[arg-type]


def environment(**changes: object) -> Environment:
    fixed = {"kind": "fake", "arch": "fake", "device": "simulated", "slug": "simulated"}
    return Environment(**{**fixed, **changes})  # type: ignore[arg-type]


def header(cases: tuple[Case, ...] = (), **changes: object) -> Header:
    fixed = {
        "run": "20261123T101500Z-small-1a2b3c4",
        "created": "2026-11-23T10:15:00+00:00",
        "version": "0.1.0",
        "environments": {"default": environment()},
        "suite": "schema: 1\n",
        "suite_path": "suites/small.yaml",
        "cases": cases or (case(),),
    }
    return Header(**{**fixed, **changes})  # type: ignore[arg-type]


def record(of: Case | None = None, replicate: int = 0, samples: tuple[int, ...] = (10, 20, 30)) -> Record:
    asked = of or case()
    measured = (
        (Measurement(boundary="latency", samples=samples, batch=asked.batch, stop="target_ci"),) if samples else ()
    )
    return Record(case=asked.id, label=asked.label, replicate=replicate, measurements=measured)


FOOTER = Footer(finished="2026-11-23T10:20:00+00:00", status="complete", records=1)


def _golden_cases() -> tuple[Case, ...]:
    bert = case(
        "bert",
        factory="transformers:BertModel",
        inputs={"input_ids": Input(shape=(8, 128), dtype="int64", range=(0, 30522))},
        backend="inductor",
        args={"weights": None, "scale": 0.5},
        config={"transformers": "BertConfig", "num_hidden_layers": 12},
        symbols={"batch": 8, "seq": 128},
        options={"mode": "max-autotune", "fullgraph": True},
        precision="fp16",
        cuda_graph=True,
        streams=2,
        l2="cold",
        transfers=False,
        toolchain="old",
        dynamic={"batch": Range(min=1, opt=8, max=32, at=(1, 8, 32))},
        metric="zoo.py:score",
        source="suites/golden.yaml:14",
    )
    return case("naïve „net“ </script>", symbols={"batch": 1}), bert


def _golden_records(plain: Case, bert: Case) -> tuple[Record, ...]:
    measured = Record(
        case=bert.id,
        label=bert.label,
        replicate=1,
        started="2026-11-23T10:16:00+00:00",
        wall_ns=12_345_678_901,
        toolchain="old",
        phases=(Phase(name="import", ns=1_500_000_000), Phase(name="compile", ns=9_000_000_000, cold=False)),
        measurements=(
            Measurement(boundary="gpu", samples=(550_000, 551_200, 549_900), batch=8, stop="target_ci", marked=(1,)),
            Measurement(
                boundary="throughput",
                samples=(1_100_000, 1_090_000),
                batch=8,
                stop="max_time",
                calls=1800,
                window_ns=1_000_000_123,
                lane_count=2,
                depth=2,
            ),
        ),
        accuracy=Accuracy(
            ok=True,
            outputs=(OutputError(name="0", cosine=0.99995, max_abs=0.0125, rel_l2=0.001, sqnr=None, nan=0),),
            threshold=Threshold(cosine=0.999, sqnr=20.0, max_abs=0.1, rel_l2=0.01),
            metric={"score": 0.75},
            why="checked",
        ),
        work=Work(
            flops=22_000_000_000, bytes=440_000_000, parameters=110_000_000, bound="memory", fraction={"gpu": 0.5}
        ),
        fairness={"tf32": False, "graph_breaks": 0, "caches": {"inductor": "cold"}},
        telemetry=Telemetry(
            host=HostFigures(window_ns=5_000_000_000, rss_bytes=1_000_000_000, load_average=0.5),
            gpu=GpuFigures(readings=7, sm_mhz_median=1980, throttle_reasons={"SwPowerCap": 0.25}, power_w_max=250.5),
            clock=ClockFigures(gpu_floor_ns=1280.5, saturated_inferences=640),
            torch_peak_bytes=3 * 2**30,
            inference_j=0.75,
            resumed_on="0123456789ab",
        ),
        warnings=(
            Warning(kind="HostBound", figures={"enqueue_ns": 700_000, "gpu_ns": 550_000.5, "graph": False}),
            Warning(kind="GraphBreaks", figures={"breaks": 1, "reasons": ["print() in forward"]}),
        ),
    )
    failed = Record(
        case=plain.id,
        label=plain.label,
        failure=Failure(
            kind="Crash",
            stage="first_call",
            message="ended by SIGSEGV",
            hint="rerun with --traceback",
            log="line 1\nline 2\t\x1b[31mred\u2028\U0001f4a5",
            where="suites/golden.yaml:9",
        ),
    )
    return failed, measured


def golden_run_v1() -> Run:
    """The value that is read from tests/golden/run-v1.jsonl: what that schema kept otherwise has a place of its own."""
    run = golden_run()
    failed, measured = run.records
    older = msgspec.structs.replace(
        measured,
        telemetry=Telemetry(
            host=HostFigures(rss_bytes=1_000_000_000), other={"power_w": [250.5, None], "throttled": []}
        ),
        warnings=(Warning(kind="HostBound", message="enqueue > gpu", hint="cuda_graph: on"),),
    )
    return msgspec.structs.replace(run, path=str(GOLDEN_V1), records=(failed, older))


def golden_run() -> Run:
    """The value of tests/golden/run-v2.jsonl."""
    plain, bert = _golden_cases()
    described = environment(
        kind="cuda",
        arch="sm_90",
        device="NVIDIA H100 80GB HBM3",
        slug="nvidia-h100-80gb-hbm3",
        memory=85_000_000_000,
        driver="570.1",
        python="3.11.7",
        libraries={"torch": "2.13.0"},
        limits={"power": "700 W"},
        flags={"OMP_NUM_THREADS": "2"},
        boundaries="abcdef",
        host="node",
        observed={"clock": "1980 MHz"},
    )
    top = header(
        (plain, bert),
        run="20261123T101500Z-golden-1a2b3c4",
        environments={"default": environment(), "old": described},
        suite="schema: 1\nname: golden\n",
        suite_path="suites/golden.yaml",
        left_out=(LeftOut(label="bert/aoti/int8", reason="aoti knows no int8"),),
        policy=Policy(boundaries=("gpu", "throughput"), target_ci=0.01, replicates=2),
        baseline="eager",
        thresholds={"fp16": Threshold(cosine=0.999)},
        toolchains={"old": Toolchain(python="/opt/old/bin/python", env={"A": "b"})},
        ceilings={"fp16": 9.5e14},
    )
    footer = Footer(finished="2026-11-23T10:20:00+00:00", status="interrupted", records=2)
    return Run(path=str(GOLDEN), header=top, records=_golden_records(plain, bert), footer=footer)


def started(root: Path, replicates: int = 3, top: Header | None = None) -> Path:
    """A run with ``replicates`` records and no footer."""
    writer = store.create(root, top or header())
    for replicate in range(replicates):
        writer.append(record(replicate=replicate))
    writer.close()
    return writer.path


def replicates(path: Path) -> list[int]:
    return [found.replicate for found in store.read(path).records]

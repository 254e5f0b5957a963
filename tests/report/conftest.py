"""A made-up run: two models, four backends, every kind of trouble, 1 or 3 processes per case."""

from __future__ import annotations

import zlib

import msgspec
import numpy as np
import pytest

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
from bench.model.suite import Case, LeftOut, Policy
from bench.model.telemetry import HostFigures, Telemetry

MS = 1_000_000
BACKENDS = {  # latency of bert at batch 1 in ms; resnet18 takes 3 times as long
    "eager": (1.90, {}),
    "inductor": (1.24, {}),
    "inductor[mode=max-autotune]": (1.10, {"mode": "max-autotune"}),
    "torchscript": (1.60, {}),
    "onnxruntime": (1.21, {}),
}


def case(model: str, backend: str, precision: str = "fp32", batch: int = 1, **fields) -> Case:
    name, options = backend.split("[")[0], BACKENDS.get(backend, (0, {}))[1]
    symbols = {"batch": batch, "seq": 128} if model == "bert" else {"batch": batch}
    fields = {"options": options, "symbols": symbols, "precision": precision} | fields
    return Case(model=model, factory=f"zoo.py:{model}", inputs={}, backend=name, **fields)


def accuracy(ok: bool = True, cosine: float | None = 0.9999994, nan: int = 0, why: str = "") -> Accuracy:
    output = OutputError(name="y", cosine=cosine, max_abs=2e-5, rel_l2=3.1e-6, sqnr=110.0, nan=nan)
    return Accuracy(ok=ok, outputs=(output,), why=why)


def record(of: Case, ms: float, replicate: int = 0, boundaries=("latency",), **fields) -> Record:
    """Samples around ``ms`` with 0.4 % between processes and 1 % within, and a throughput window of about 1 s."""
    rng = np.random.default_rng([zlib.crc32(of.label.encode()), replicate])
    centre = ms * MS * float(np.exp(rng.normal(0, 0.004)))
    measured = []
    for boundary in boundaries:
        share = {"gpu": 0.8, "enqueue": 0.3, "h2d": 0.05, "compute": 0.82, "d2h": 0.02}.get(boundary, 1.0)
        samples = tuple(int(x) for x in centre * share * np.exp(rng.normal(0, 0.01, 60)))
        measured.append(Measurement(boundary=boundary, samples=samples, batch=of.batch))
    calls = int(1e9 / centre)
    loop = Measurement(
        boundary="throughput", samples=samples, batch=of.batch, calls=calls, window_ns=int(calls * centre)
    )
    defaults = {
        "measurements": (*measured, loop),
        "accuracy": accuracy(),
        "work": Work(flops=1, bytes=1, bound="compute", fraction={"latency": 0.5 / ms, "gpu": 0.6 / ms}),
        "fairness": {"threads": 2, "tf32": False},
        "telemetry": Telemetry(host=HostFigures(peak_rss_bytes=400 * 2**20)),
        "phases": (
            Phase(name="import", ns=900 * MS),
            Phase(name="compile", ns=30_000 * MS if replicate == 0 else 2_000 * MS, cold=replicate == 0),
            Phase(name="first_call", ns=5 * MS),
        ),
    }
    return Record(case=of.id, label=of.label, replicate=replicate, **(defaults | fields))


def make(cases, records, replicates: int = 1, **fields) -> Run:
    here = Environment(
        kind="cpu", arch="cpu-x86_64", device="Example CPU @ 2.50GHz", slug="example",
        libraries={"torch": "2.13.0", "onnxruntime": "1.23.2"},
    )  # fmt: skip
    header = Header(
        run="20261123T101500Z-smoke-1a2b3c4",
        created="2026-11-23T10:15:00+00:00",
        version="0.1.0",
        environments={"default": here},
        suite="",
        suite_path="suites/smoke.yaml",
        cases=tuple(cases),
        policy=Policy(replicates=replicates),
        left_out=tuple(
            LeftOut(label=f"bert/torchscript/fp32/batch={n}/graph", reason="CUDA graphs need a GPU")
            for n in (1, 8, 32, 64, 128)
        ),
    )
    footer = Footer(finished="2026-11-23T10:20:00+00:00", status="complete", records=len(records))
    path = f"results/{here.arch}/{here.slug}/{header.run}.jsonl"
    run = Run(path=path, header=header, records=tuple(records), footer=footer)
    return msgspec.structs.replace(run, **fields)


def example(replicates: int) -> Run:
    cases, records = [], []
    for replicate in range(replicates):
        for name, scale, batches in (("bert", 1.0, (1, 8)), ("resnet18", 3.0, (1,))):
            for batch in batches:
                for backend, (ms, _) in BACKENDS.items():
                    asked = case(name, backend, batch=batch)
                    cases += [asked] if replicate == 0 else []
                    records.append(record(asked, ms * scale * batch**0.9, replicate, **quirk(name, backend, batch)))
    failed = case("bert", "aoti")
    failure = Failure(
        kind="Timeout", stage="compile", message="no result within 1200 s", log="[autotune] 412 of 9000\n",
        hint="raise `measure: {timeout: ...}` in the suite, or see the log for what it waits on",
    )  # fmt: skip
    crashed = Record(case=failed.id, label=failed.label, failure=failure)
    return make([*cases, failed, case("resnet18", "aoti")], [*records, crashed], replicates)


def deployed(boundaries=("gpu", "enqueue", "latency"), replicates: int = 3) -> Run:
    """Python and a C++ program run the same package and, at batch 8, the same TorchScript; the GPU takes as long."""
    cases, records = (
        [case("bert", "eager")],
        [record(case("bert", "eager"), 1.9, n, boundaries) for n in range(replicates)],
    )
    for backend, batch in (("aoti", 1), ("torchscript", 8)):
        for options, host in (({}, 1.0), ({"executor": "cpp"}, 0.6)):
            of = case("bert", backend, batch=batch, options=options)
            cases.append(of)
            for replicate in range(replicates):
                shown = record(of, 1.2 * batch, replicate, boundaries)
                gpu = record(cases[1], 1.2 * batch, replicate, ("gpu",)).measurements[0]
                measured = [gpu if m.boundary == "gpu" else slower(m, host) for m in shown.measurements]
                records.append(msgspec.structs.replace(shown, measurements=tuple(measured)))
    return make(cases, records, replicates)


def quantized() -> Run:
    """A case at fp32, and one at int8 whose output was also compared with the quantized model in PyTorch."""
    cases = [case("resnet18", "eager"), case("resnet18", "onnxruntime", "int8")]
    whole = accuracy(cosine=0.99998)
    (output,) = whole.outputs
    output = msgspec.structs.replace(output, quantized_cosine=0.9999995, quantized_sqnr=60.7, rounding_cosine=0.9876)
    int8 = record(cases[1], 1.9, accuracy=msgspec.structs.replace(whole, outputs=(output,)))
    return make(cases, [record(cases[0], 5.7), int8])


def slower(measured: Measurement, factor: float) -> Measurement:
    """With each sample, or the window of a loop, so many times as long."""
    samples = tuple(round(ns * factor) for ns in measured.samples)
    return msgspec.structs.replace(measured, samples=samples, window_ns=round(measured.window_ns * factor))


def quirk(name: str, backend: str, batch: int) -> dict:
    if backend == "torchscript" and name == "bert":
        figures = {"calls": 40, "ns": 10_000 * MS, "spread": batch / 100 + 0.002}
        return {"warnings": (Warning(kind="NotSteady", figures=figures),)}
    if backend == "onnxruntime":
        odd = {"fairness": {"threads": 4, "tf32": False}}
        return odd | {"accuracy": accuracy(False, 0.97, why="y: cosine 0.97 < 0.99999")} if batch == 1 else odd
    return {}


@pytest.fixture(params=[1, 3], ids=["1-process", "3-processes"])
def run(request) -> Run:
    return example(request.param)

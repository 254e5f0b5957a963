"""Run by a Python with TensorRT on a GPU: loads plans that are whole, cut short, altered, and shapes out of range.

``plan_check.py FOLDER`` takes the folder of an engine that was built for batch sizes 1 to 16 of x[batch, 32, 32, 32].
Prints one line of JSON: what each attempt ended with, as [kind, message].
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from bench.errors import CaseError
from bench.measure.clock import HostClock
from bench.model.seam import Context
from bench.model.suite import Case, Input
from bench.runtimes.trt import builder, execution, library

HEADER = 40


def main() -> None:
    plan, built = builder.read(Path(sys.argv[1]))
    api = library.open_api()
    told: dict[str, Any] = {"header": plan[:HEADER].hex()}

    def load(data: bytes) -> Callable[[], Any]:
        return lambda: library.deserialize(api, data)

    told["whole"] = attempt(api, load(plan))
    told["half"] = attempt(api, load(plan[: len(plan) // 2]))
    told["empty"] = attempt(api, load(b""))
    told["text"] = attempt(api, load(b"this is no plan " * 100))
    for index in range(HEADER):
        altered = plan[:index] + bytes([plan[index] ^ 0x55]) + plan[index + 1 :]
        told[f"byte {index}"] = attempt(api, load(altered))
    engine = library.deserialize(api, plan)
    for batch in (16, 17):
        told[f"batch {batch}"] = attempt(api, lambda batch=batch: run(api, engine, built, batch))
    print(json.dumps(told))


def attempt(api: library.Api, action: Callable[[], Any]) -> list[str]:
    api.log.lines.clear()
    try:
        action()
    except CaseError as error:
        return [type(error).__name__, error.what, error.fix]
    return ["ok", "", ""]


def run(api: library.Api, engine: Any, built: builder.BuildInfo, batch: int) -> None:
    @contextlib.contextmanager
    def phase(name: str) -> Iterator[None]:
        yield

    inputs = {"x": np.ones((batch, 32, 32, 32), np.float16)}
    case = Case(
        model="m", factory="m:m", backend="tensorrt", precision="fp16", inputs={"x": Input(shape=inputs["x"].shape)}
    )
    context = Context(
        device="cuda:0", inputs=inputs, artifacts={}, scratch=Path(tempfile.mkdtemp()), suite_dir=Path.cwd(),
        clock=HostClock(), phase=phase,
    )  # fmt: skip
    with contextlib.closing(execution.EnginePrepared(case, context, api, engine, built)) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        assert lane.read()["output"].shape == (batch, 128, 32, 32)


main()

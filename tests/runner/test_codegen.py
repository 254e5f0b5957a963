"""`codegen` beside others: it waits for no measurement, and a program that another process writes stays whole."""

from __future__ import annotations

from pathlib import Path

import pytest

import bench
from bench.api import codegen, request
from bench.errors import UsageError
from bench.model.events import Event, Started, Waiting
from bench.system import locks

pytestmark = [pytest.mark.workers, pytest.mark.torch]
pytest.importorskip("torch")

SUITE = """\
schema: 1
models: {net: {factory: 'torch.nn:Tanh', inputs: {input: {shape: [2, 3]}}}}
matrix: {backend: [fx2trt]}
"""


def test_it_waits_for_no_measurement_and_leaves_a_program_that_another_process_writes_meanwhile(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_text(SUITE)
    wanted = request(bench.load(tmp_path / "s.yaml"), plan_only=True, device="cuda", cache=tmp_path / "cache")
    out, theirs = tmp_path / "out", tmp_path / "theirs"

    def never_waits(event: Event) -> None:
        assert not isinstance(event, Waiting)

    with locks.hold(locks.lock_path("cpu"), "a run", lambda holder: None):
        [program] = codegen(wanted, out, on_event=never_waits)
    assert program.failure is None
    written = sorted(path.name for path in out.iterdir())
    assert written == ["manifest.json", "program.py", "weights.safetensors"]

    def another_process(event: Event) -> None:
        if isinstance(event, Started):
            theirs.mkdir()
            (theirs / "program.py").write_text("theirs")

    with pytest.raises(UsageError, match="has a program already") as caught:
        codegen(wanted, theirs, on_event=another_process)
    assert caught.value.where == "out"
    assert [(path.name, path.read_text()) for path in theirs.iterdir()] == [("program.py", "theirs")]

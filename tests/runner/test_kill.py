"""kill -9 at random points of a run loses no finished record, and --resume runs exactly the rest."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from bench import store

pytestmark = pytest.mark.workers


def stored_before_kill(command: list[str], env: dict[str, str], delay: float) -> tuple[list[tuple[str, int]], bool]:
    """Run ``command``, kill it after ``delay`` seconds: what it said it had stored, and whether it ended by itself."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as child:
        timer = threading.Timer(delay, child.kill)
        timer.start()
        assert child.stdout is not None
        output = child.stdout.read()
        timer.cancel()
        timer.join()
    told = []
    for line in output.splitlines():
        try:
            event = msgspec.json.decode(line)
        except msgspec.DecodeError:  # the last line, cut by the kill
            continue
        if event["event"] == "stored":
            told.append((event["record"]["case"], event["record"].get("replicate", 0)))
    return told, child.returncode == 0


@pytest.mark.parametrize(("kills", "batches"), [(4, 6), pytest.param(200, 40, marks=pytest.mark.long)])
def test_kills_lose_nothing_and_resume_runs_exactly_the_rest(
    tmp_path: Path, fake_suite: Callable[..., Path], kills: int, batches: int
) -> None:
    suite = fake_suite()
    suite.write_text(suite.read_text().replace("[1, 8]", str(list(range(1, batches + 1)))))
    results = tmp_path / "results"
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    env = {**os.environ, "TRTBENCH_CACHE": str(tmp_path / "cache"), "TMPDIR": str(temporary)}
    base = [sys.executable, "-m", "bench", "run", "--store", str(results), "--progress", "json"]
    rng = random.Random(20261123)
    told: dict[str, list[tuple[str, int]]] = {}
    killed, current = 0, ""
    while killed < kills:
        command = [*base, "--resume", current] if current else [*base, str(suite)]
        said, ended = stored_before_kill(command, env, rng.uniform(0.05, 1.2))
        killed += not ended
        if not current:
            fresh = (
                [path for path in store.runs(results, rehearsals=True) if path.stem not in told]
                if results.exists()
                else []
            )
            if not fresh:
                assert said == []
                continue
            current = fresh[0].stem
            told[current] = []
        told[current] += said
        path = store.resolve(results, current)
        if path.read_bytes().count(b"\n"):
            kept = [(record.case, record.replicate) for record in store.read(path).records]
            assert set(told[current]) <= set(kept)
            assert len(kept) == len(set(kept))
        else:
            assert told[current] == []
            path.unlink()
            ended = True
        if ended:
            current = ""
    for name, said in told.items():
        if not (results / "fake" / "simulated" / f"{name}.jsonl").exists():
            continue
        rest, ended = stored_before_kill([*base, "--resume", name], env, 120)
        assert ended
        run = store.read(store.resolve(results, name))
        assert sorted(said + rest, key=str) == sorted(set(said + rest), key=str)
        assert {case.id for case in run.header.cases} == {record.case for record in run.records}
        assert len(run.records) == batches
        assert set(said) | set(rest) <= {(record.case, record.replicate) for record in run.records}
    # What the killed ones left the next have removed: the last of all ended by itself.
    _, ended = stored_before_kill([*base, str(suite)], env, 120)
    assert ended
    assert [path.name for path in temporary.glob("trtbench-*") if path.suffix != ".lock"] == []
    assert [path.name for path in (tmp_path / "cache").rglob(".making-*")] == []

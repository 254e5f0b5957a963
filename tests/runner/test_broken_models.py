"""Models whose factories, or their files, raise are failed rows beside the others; a factory that is not there, or a
file that is no Python, ends the run.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest

from bench.api import plan
from bench.runner import jobs, worker_jobs
from bench.runner.phase_log import PhaseLog, Wire
from tests.conftest import Trtbench

pytestmark = [pytest.mark.workers, pytest.mark.torch]
pytest.importorskip("torch")

ZOO = """\
import tempfile
import torch

class Broken(torch.nn.Module):
    def __init__(self, width):
        super().__init__()
        self.layer = layer_of(width)

def layer_of(width):
    raise ValueError(f"no layer of {width}")

def good():
    tempfile.mkstemp(prefix="left-by-a-model")
    return torch.nn.Linear(3, 3)
"""
RAISES = "import json\n\nSIZES = json.loads('{')\n\ndef net():\n    return None\n"
MODELS = {
    "broken": "factory: 'zoo.py:Broken', args: {width: 7}",
    "raises": "factory: 'raises.py:net'",
    "good": "factory: 'zoo.py:good'",
}
AT_IMPORT = "raises.py cannot be imported: JSONDecodeError: Expecting property name"
FAILURE = "the model 'broken' cannot be built: zoo.py:Broken raised ValueError: no layer of 7 (zoo.py:10)"


def write(folder: Path, backend: str, models: dict[str, str]) -> Path:
    (folder / "zoo.py").write_text(ZOO)
    (folder / "raises.py").write_text(RAISES)
    texts = "\n".join(f"  {name}: {{{text}, inputs: {{input: {{shape: [2, 3]}}}}}}" for name, text in models.items())
    measure = "measure: {replicates: 1, max_time: 1s, warmup: 0s, boundaries: [latency]}"
    path = folder / "s.yaml"
    path.write_text(f"schema: 1\nmodels:\n{texts}\nmatrix: {{backend: [{backend}]}}\n{measure}\n")
    return path


@pytest.mark.long
def test_a_model_that_cannot_be_built_is_a_failed_row_and_the_others_are_measured(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    assert trtbench("run", write(tmp_path, "eager", MODELS)) == 1, trtbench.err
    (run,) = trtbench.runs()
    rows = {record.label.split("/")[0]: record for record in run.records}
    failure = rows["broken"].failure
    assert failure is not None
    assert (failure.kind, failure.message, failure.hint) == ("ModelError", FAILURE, "correct zoo.py:10")
    assert failure.stage
    assert "in layer_of" in failure.log
    at_import = rows["raises"].failure
    assert at_import is not None
    assert (at_import.kind, at_import.hint) == ("ModelError", "correct raises.py:3")
    assert at_import.message.startswith(AT_IMPORT)
    assert rows["good"].failure is None
    assert rows["good"].measurements
    assert FAILURE in " ".join(trtbench.out.split())
    assert not list(Path(tempfile.gettempdir()).rglob("left-by-a-model*"))


def test_codegen_of_two_models_writes_the_one_that_can_be_built(trtbench: Trtbench, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert trtbench("codegen", write(tmp_path, "fx2trt", MODELS), "--out", out) == 1
    assert [path.parent.name for path in out.rglob("program.py")] == ["good-fp32"]
    assert FAILURE in trtbench.err
    assert AT_IMPORT in trtbench.err


def test_the_work_of_the_other_models_is_counted(tmp_path: Path) -> None:
    cases = plan(write(tmp_path, "eager", MODELS)).cases
    job = jobs.Inspect(cases=cases, device="cpu", suite_dir=str(tmp_path))
    reply = worker_jobs.inspect(job, PhaseLog(Wire(os.open(os.devnull, os.O_WRONLY))))
    good = next(case.id for case in cases if case.model == "good")
    assert (list(reply.work), reply.failed) == ([good], {})


def test_a_factory_that_the_suite_names_wrongly_ends_the_run_before_anything_is_measured(
    trtbench: Trtbench, tmp_path: Path
) -> None:
    suite = write(tmp_path, "eager", {**MODELS, "wrong": "factory: 'zoo.py:goood'"})
    assert trtbench("run", suite) == 2
    assert f"{suite}:6: zoo.py has no function 'goood'. Did you mean 'good'?" in trtbench.err
    assert not trtbench.runs()


def test_a_file_that_is_no_python_ends_the_run_before_anything_is_measured(trtbench: Trtbench, tmp_path: Path) -> None:
    suite = write(tmp_path, "eager", MODELS)
    (tmp_path / "raises.py").write_text("def net():\n    return (1,\n")
    assert trtbench("run", suite) == 2
    assert f"{suite}:4: raises.py cannot be imported: SyntaxError: '(' was never closed (raises.py:2)" in trtbench.err
    assert "fix: correct raises.py:2" in trtbench.err
    assert not trtbench.runs()

"""Workers that fail on a GPU: what their failure is called, what to try, and that the next one starts clean."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from bench import store
from bench.machine import gpu_faults, gpus
from bench.model.run import Failure, Record, Warning
from bench.runner import jobs
from bench.runner.watch import Watch
from bench.store import privacy
from bench.system import process
from tests.conftest import Trtbench
from tests.machine.nvml_kit import GIB
from tests.runner.dispatch_kit import CASE, HEALTHY, LOST, MEASURE, Parent, answer

pytestmark = pytest.mark.workers


@pytest.mark.parametrize(
    ("kind", "message", "expected", "hint"),
    [
        ("AcceleratorError", "CUDA error: an illegal memory access was encountered", "CudaFailure", "sanitizer"),
        ("CudaFailure", "CUDA_ERROR_ILLEGAL_ADDRESS in a CUDA call", "CudaFailure", "CUDA_LAUNCH_BLOCKING=1"),
        ("RuntimeError", "CUDA error: device-side assert triggered", "CudaFailure", "compute-sanitizer"),
        ("RuntimeError", "CUDA error: hardware stack error", "CudaFailure", "compute-sanitizer"),
        ("RuntimeError", "CUDA error: invalid program counter", "CudaFailure", "compute-sanitizer"),
        (
            "RuntimeError",
            "CUDA error: operation not supported on global/shared address space",
            "CudaFailure",
            "compute-sanitizer",
        ),
        ("RuntimeError", "CUDA error: CUDA-capable device(s) is/are busy or unavailable", "Unavailable", "-c DEFAULT"),
        ("RuntimeError", "all CUDA-capable devices are busy or unavailable", "Unavailable", "-c DEFAULT"),
        ("RuntimeError", "CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`", "OutOfMemory", "batch"),
        ("CudaFailure", "CUDA_ERROR_NO_DEVICE in a CUDA call", "Unavailable", "CUDA_VISIBLE_DEVICES"),
        ("RuntimeError", 'Function "cuStreamWaitValue32_v2" not found', "Unavailable", "newer NVIDIA driver"),
        ("RuntimeError", "The NVIDIA driver on your system is too old (found version 11040).", "Unavailable", "driver"),
        ("RuntimeError", "CUDA error: no kernel image is available for execution", "Unavailable", "architecture"),
        ("CudaFailure", "CUDA_ERROR_DEVICE_UNAVAILABLE in a CUDA call", "Unavailable", "nvidia-smi -c DEFAULT"),
        ("CudaFailure", "CUDA_ERROR_ECC_UNCORRECTABLE in a CUDA call", "CudaFailure", "nvidia-smi -q -d ECC"),
        ("RuntimeError", "RuntimeError: cudaStreamSynchronize failed: cudaErrorIllegalAddress", "CudaFailure",
         "compute-sanitizer"),
        ("RuntimeError", "RuntimeError: cudaGraphLaunch failed: cudaErrorLaunchFailure", "CudaFailure", "sanitizer"),
        ("RuntimeError", "RuntimeError: cudaMemset failed: cudaErrorMemoryAllocation", "OutOfMemory", "batch"),
        ("RuntimeError", "RuntimeError: cudaStreamCreateWithFlags failed: cudaErrorDevicesUnavailable", "Unavailable",
         "nvidia-smi -c DEFAULT"),
        ("RuntimeError", "RuntimeError: cudaMemset failed: cudaErrorInvalidDevicePointer", "RuntimeError", ""),
        ("Unsupported", "torch.jit.trace cannot take this model: CUDA error: unspecified launch failure",
         "CudaFailure", "compute-sanitizer"),
        ("Unavailable", "TensorRT needs an NVIDIA GPU: cudaSetDevice failed: cudaErrorDevicesUnavailable",
         "Unavailable", "nvidia-smi -c DEFAULT"),
        ("Unavailable", "torch is not installed", "Unavailable", ""),
        ("ValueError", "no such size", "ValueError", ""),
    ],
)  # fmt: skip
def test_a_failure_on_a_gpu_has_a_kind_and_says_what_to_try(
    parent: Parent, kind: str, message: str, expected: str, hint: str
) -> None:
    found = parent.fail(kind, message)
    assert (found.kind, found.message) == (expected, message)
    assert hint in found.hint
    assert bool(found.hint) is bool(hint)


def test_errors_of_the_cuda_runtime_are_told_as_the_same_ones_of_the_driver() -> None:
    pytest.importorskip("cuda.bindings", reason="pip install cuda-bindings (part of the extra dev)")
    from cuda.bindings import driver, runtime

    def told(name: str) -> tuple[str, str]:
        failure = Failure(kind="RuntimeError", stage="measure", message=f"a call failed: {name}")
        found = gpu_faults.explain(failure, HEALTHY)
        return found.kind, found.hint

    names = {int(error): error.name for error in driver.CUresult}
    both = [(names[int(error)], error.name) for error in runtime.cudaError_t if int(error) in names]
    assert {name: told(name) for _, name in both} == {name: told(drivers) for drivers, name in both}
    # Nothing else, such as cudaErrorInvalidDeviceFunction, is taken for one of them; CUDA 12 has more that are its own.
    own = {error.name: told(error.name)[0] for error in runtime.cudaError_t if int(error) not in names}
    known = {name for name, kind in own.items() if kind != "RuntimeError"}
    assert known - {"cudaErrorCallRequiresNewerDriver"} == {"cudaErrorInsufficientDriver"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ("ILLEGAL_ADDRESS", "CudaFailure"),
        ("TENSOR_MEMORY_LEAK", "CudaFailure"),
        ("CONTAINED", "CudaFailure"),
        ("CALL_REQUIRES_NEWER_DRIVER", "Unavailable"),
    ],
)
def test_errors_that_end_a_context_or_need_another_driver_are_known(error: str, kind: str) -> None:
    failure = Failure(kind="RuntimeError", stage="measure", message=f"CUDA_ERROR_{error} in a CUDA call")
    assert gpu_faults.explain(failure, HEALTHY).kind == kind


def test_on_a_cpu_a_failure_stays_as_the_worker_told_it(parent: Parent) -> None:
    parent.state = LOST
    failed = jobs.Failed(kind="RuntimeError", stage="measure", message="CUDA error: out of memory")
    found = parent.ask(answer(failed), device="cpu")
    assert isinstance(found, Failure)
    assert (found.kind, found.hint) == ("RuntimeError", "")


def test_a_crash_is_explained_by_what_it_printed(parent: Parent) -> None:
    found = parent.ask("print('CUDA error: an illegal memory access was encountered', flush=True); os.abort()")
    assert isinstance(found, Failure)
    assert (found.kind, found.message) == ("Crash", "the worker was ended by SIGABRT: a native library crashed")
    assert "compute-sanitizer" in found.hint


@pytest.mark.parametrize(
    ("name", "end", "hint"),
    [
        ("SIGTERM", "SIGTERM from outside (kill, job scheduler, container stop)", "--resume RUN measures it again"),
        ("SIGHUP", "SIGHUP from outside (terminal closed, kill -HUP)", "--resume RUN measures it again"),
        ("SIGINT", "SIGINT from outside (Ctrl-C, kill -INT)", "--resume RUN measures it again"),
        ("SIGKILL", "SIGKILL from outside (out-of-memory killer, kill -KILL, container stop)", "a smaller batch"),
        *(
            (name, f"{name}: a native library crashed", "set PYTHONFAULTHANDLER=1: the log")
            for name in ("SIGSEGV", "SIGBUS", "SIGILL", "SIGFPE", "SIGTRAP")
        ),
        ("SIGPIPE", "SIGPIPE", ""),
    ],
)
def test_a_signal_from_outside_is_no_crash_of_a_library(parent: Parent, name: str, end: str, hint: str) -> None:
    script = f"import signal; signal.signal(signal.{name}, signal.SIG_DFL) if '{name}' != 'SIGKILL' else None"
    failure = parent.ask(f"{script}; os.kill(os.getpid(), signal.{name})", device="cpu")
    assert isinstance(failure, Failure)
    assert (failure.kind, failure.message) == ("Crash", f"the worker was ended by {end}")
    assert hint in failure.hint
    assert ("PYTHONFAULTHANDLER" in failure.hint) == ("PYTHONFAULTHANDLER" in hint)
    assert "--verbose" not in failure.hint  # it has written nothing


def test_a_crash_whose_log_has_the_line_of_python_is_not_told_how_to_get_it(parent: Parent) -> None:
    found = parent.ask("import faulthandler; faulthandler.enable(); os.kill(os.getpid(), 11)", device="cpu")
    assert isinstance(found, Failure)
    assert (found.message, found.hint) == (
        "the worker was ended by SIGSEGV: a native library crashed", "--verbose shows what it wrote last",
    )  # fmt: skip


def test_a_worker_that_a_signal_without_a_name_ends_is_a_crash_too(parent: Parent) -> None:
    found = parent.ask("print('a word', flush=True); os.kill(os.getpid(), 40)", device="cpu")
    assert isinstance(found, Failure)
    assert (found.kind, found.message) == ("Crash", "the worker was ended by signal 40")
    assert found.hint == "--verbose shows what it wrote last"
    ended = parent.ask("os._exit(3)", device="cpu")
    assert isinstance(ended, Failure)
    assert ended.message == "the worker ended with exit code 3 and no answer"
    assert "nothing: look for os._exit" in ended.hint


def test_after_an_illegal_access_the_next_worker_starts_clean(parent: Parent) -> None:
    parent.fail("AcceleratorError", "CUDA error: an illegal memory access was encountered")
    assert isinstance(parent.ask(answer(jobs.Produced(phases=()))), jobs.Produced)
    assert parent.started.read_text() == "xx"


def test_out_of_memory_tells_who_uses_the_gpu(parent: Parent) -> None:
    parent.state = gpus.State(used=60 * GIB, total=80 * GIB, processes={7: 0, 123: 10 * GIB, 124: 49 * GIB})
    found = parent.fail("OutOfMemory", "the GPU has no memory left")
    assert found.message == (
        "the GPU has no memory left; others use 60.0 GiB of its 80.0 GiB: "
        "process 124 (49.0 GiB), process 123 (10.0 GiB)"
    )
    assert "nvidia-smi" in found.hint


def test_out_of_memory_on_a_gpu_that_nobody_else_uses_is_the_cases_own(parent: Parent) -> None:
    assert parent.fail("OutOfMemory", "the GPU has no memory left").message == "the GPU has no memory left"


# -------------------------------------------------------------------------------------------------------------- texts


def test_half_a_surrogate_pair_in_a_message_reaches_the_parent_escaped(parent: Parent) -> None:
    failed = jobs.Failed(kind="RuntimeError", stage="measure", message="bad \udcff name")
    found = parent.ask(answer(failed), device="cpu")
    assert isinstance(found, Failure)
    assert found.message == "bad \\udcff name"


# -------------------------------------------------------------------------------------------------------- a lost card


def test_after_the_gpu_was_lost_every_other_case_fails_at_once_and_says_where(parent: Parent) -> None:
    parent.state = LOST
    found = parent.fail("CudaFailure", "CUDA_ERROR_UNKNOWN in a CUDA call")
    assert found.kind == "DeviceLost"
    assert "NVML says: GPU is lost" in found.message
    assert "CUDA_ERROR_UNKNOWN" in found.message
    assert "trtbench run --resume" in found.hint
    for _ in range(20):
        next_one = parent.ask(answer(jobs.Produced(phases=())), label="another")
        assert isinstance(next_one, Failure)
        assert (next_one.kind, next_one.message) == ("DeviceLost", "the GPU was lost in case")
        assert next_one.hint == found.hint
    assert parent.started.read_text() == "x"


def test_a_case_that_ends_well_is_not_asked_about(parent: Parent) -> None:
    parent.state = LOST
    assert isinstance(parent.ask(answer(jobs.Produced(phases=()))), jobs.Produced)


def test_what_was_measured_before_the_loss_is_kept(parent: Parent) -> None:
    parent.state = LOST
    failure = Failure(kind="CudaFailure", stage="measure", message="m")
    record = Record(case=CASE.id, label=CASE.label, wall_ns=5, failure=failure)
    found = parent.ask(answer(jobs.Measured(record=record)), job=MEASURE)
    assert isinstance(found, jobs.Measured)
    assert found.record.failure is not None
    assert (found.record.failure.kind, found.record.wall_ns) == ("DeviceLost", 5)


def test_a_worker_started_ahead_is_ended_when_the_gpu_was_lost(parent: Parent) -> None:
    parent.state = LOST
    parent.fail("CudaFailure", "CUDA_ERROR_UNKNOWN in a CUDA call")
    waiting = process.Child((sys.executable, "-c", "input()"), {})
    assert waiting.alive
    found = parent.ask(answer(jobs.Produced(phases=())), worker=waiting)
    assert isinstance(found, Failure)
    assert (found.kind, waiting.alive) == ("DeviceLost", False)


def test_a_worker_that_waits_for_a_lost_gpu_is_ended_at_once(parent: Parent) -> None:
    class Seeing(Watch):
        def __init__(self) -> None:
            self.tick = self._tick

        def _tick(self, worker: int) -> None:
            raise gpus.DeviceLost("NVML finds it no more")

    found = parent.ask("import select; select.select([], [], [])", watch=Seeing())
    assert isinstance(found, Failure)
    assert (found.kind, found.message) == ("DeviceLost", "the GPU was lost: NVML finds it no more")
    assert isinstance(parent.ask(answer(jobs.Produced(phases=()))), Failure)


def test_cases_that_a_lost_gpu_left_are_run_on_resume(trtbench: Trtbench, fake_suite: Callable[..., Path]) -> None:
    assert trtbench("run", fake_suite(replicates=2)) == 0
    path = store.runs(trtbench.store, rehearsals=True)[0]
    kept, *others = store.read(path).records
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:2]))  # the header and the first record
    failure = Failure(kind="DeviceLost", stage="start", message="the GPU was lost in another case")
    writer, _ = store.reopen(path)
    for r in others:
        writer.append(Record(case=r.case, label=r.label, replicate=r.replicate, failure=failure))
    writer.close()
    assert trtbench("show", path.stem) == 0
    assert "DeviceLost" in trtbench.out
    assert trtbench("run", "--resume", path.stem) == 0
    assert store.read(path).records[0] == kept
    assert "4 of 4 measured" in trtbench.out
    assert "DeviceLost" not in trtbench.out


def test_a_record_keeps_no_path_of_the_machine_it_was_made_on(tmp_path: Path) -> None:
    home = Path.home()
    log = (
        f'File "/opt/some/venv/lib/python3.12/site-packages/torch/_ops.py", line 1\n'
        f'File "/tmp/trtbench-ab12_x/package/bench/worker.py", line 2\n'
        f'File "/tmp/cache_me/hn/c{"a2" * 25}z.py", line 4\n'
        f'File "{tmp_path}/zoo.py", line 3; {home}/models/x; /tmp/trtbench-ab12_x/scratch/model.onnx; 3/4 of 1/2\n'
        'File "/opt/site-torch22/torch_tensorrt/fx/lower.py", line 5; /opt/site-torch22/inner/x.so; /opt/site-torch/y; '
        "/srv/opt/site-torch22/z"
    )
    found = privacy.without_paths(
        Record(
            case="c",
            label="net/eager/fp32",
            failure=Failure(kind="X", stage="load", message=f"no {tmp_path}/a.so", log=log),
            warnings=(Warning(kind="GraphBreaks", figures={"breaks": 1, "reasons": [log.splitlines()[0]]}),),
            fairness={"break_reasons": {"why": 1}, "skip_reasons": [log.splitlines()[0]], "threads": 2},
        ),
        tmp_path,
        ("/opt/site-torch22", "/opt/site-torch22/inner/", "/", f"{tmp_path}"),
    )
    assert found.failure is not None
    assert found.failure.message == "no ./a.so"
    assert found.failure.log == (
        'File "lib/python3.12/site-packages/torch/_ops.py", line 1\n'
        'File "bench/worker.py", line 2\n'
        f'File "hn/c{"a2" * 25}z.py", line 4\n'
        'File "./zoo.py", line 3; ~/models/x; scratch/model.onnx; 3/4 of 1/2\n'
        'File "torch_tensorrt/fx/lower.py", line 5; x.so; /opt/site-torch/y; /srv/opt/site-torch22/z'
    )
    line = 'File "lib/python3.12/site-packages/torch/_ops.py", line 1'
    assert found.warnings[0].figures == {"breaks": 1, "reasons": [line]}
    assert found.fairness == {
        "break_reasons": {"why": 1},
        "skip_reasons": ['File "lib/python3.12/site-packages/torch/_ops.py", line 1'],
        "threads": 2,
    }

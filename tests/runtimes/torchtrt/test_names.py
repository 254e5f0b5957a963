"""The names and signatures of torch_tensorrt that are used, held against real packages.

Where they are, environment variables say: TRTBENCH_TORCH22 is a Python with torch 2.2, torch_tensorrt 2.2, TensorRT 8.6
and msgspec (it needs no GPU), TRTBENCH_BINDINGS a folder with a wheel of torch_tensorrt 2.11.
"""

from __future__ import annotations

import ast
import inspect
import os
import subprocess
import zipfile
from pathlib import Path

import msgspec
import pytest

pytest.importorskip("torch")
from tests.runtimes.torchtrt import standin

pytestmark = pytest.mark.torch
ROOT = Path(__file__).parents[3]


def test_fx2trt_of_torch_tensorrt_2_2_takes_what_it_is_given() -> None:
    """Runs the real tracer, splitter and Lowerer on the CPU; only TRTInterpreter and TRTModule are stand-ins."""
    python = os.environ.get("TRTBENCH_TORCH22")
    if not python:
        pytest.skip("set TRTBENCH_TORCH22 to a Python with torch 2.2, torch_tensorrt 2.2, TensorRT 8.6 and msgspec")
    script = Path(__file__).with_name("torch22_check.py")
    env = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run([python, str(script)], capture_output=True, text=True, env=env)
    assert done.returncode == 0, done.stderr[-3000:]
    told = msgspec.json.decode(done.stdout.splitlines()[-1].encode())
    assert told["whole"] == {"engines": 1, "partitions": 1, "fallbacks": [], "equal": True, "reloaded": True}
    assert told["split"] == {"engines": 2, "partitions": 3, "fallbacks": ["special_erfcx"], "equal": True}
    assert told["ranges"] == [[[1, 3, 64, 64], [4, 3, 64, 64], [8, 3, 64, 64]]]
    assert told["timing_cache"] == [False, True]
    assert told["settings"] == {
        "dynamo": ["disable_tf32", "enabled_precisions", "output_format", "pass_through_build_failures"],
        "torch_compile": ["disable_tf32", "enabled_precisions", "output_format", "pass_through_build_failures"],
        "ts": ["disable_tf32", "enabled_precisions"],
    }
    assert told["dynamic"] == [1, 4, 8]
    assert told["backend"] == "torch_tensorrt_backend"


def sources(wheel: str, *more: str) -> dict[str, str]:
    """Files of the package in a wheel by their names; skips if the wheel is not there."""
    found = next(Path(os.environ.get("TRTBENCH_BINDINGS", "nowhere")).glob(f"{wheel}.*.whl"), None)
    if found is None:
        name = wheel.replace("_", "-").replace("-2", "==2")
        pytest.skip(f"set TRTBENCH_BINDINGS to a folder with a wheel: pip download --no-deps {name}.0")
    names = (
        "_compile.py", "dynamo/_compiler.py", "dynamo/_settings.py", "dynamo/backend/backends.py", "_Input.py",
        "logging.py", "dynamo/partitioning/_global_partitioner.py", "dynamo/runtime/_TorchTensorRTModule.py",
    )  # fmt: skip
    with zipfile.ZipFile(found) as package:
        return {name: package.read(f"torch_tensorrt/{name}").decode() for name in (*names, *more)}


@pytest.mark.parametrize(
    ("wheel", "gone"),
    [("torch_tensorrt-2.11", set()), ("torch_tensorrt_rtx-2.14", {"use_explicit_typing", "use_python_runtime"})],
)
def test_a_newer_torch_tensorrt_has_the_names_that_are_used(wheel: str, gone: set[str]) -> None:
    read = sources(wheel)
    asked = set(standin.LATEST) - {"arg_inputs"} - gone
    assert asked | {"inputs"} <= parameters(read["dynamo/_compiler.py"], "compile")
    fields = {node.target.id for node in ast.walk(ast.parse(read["dynamo/_settings.py"])) if _is_field(node)}
    assert asked <= fields
    assert {"file_path", "inputs", "retrace"} <= parameters(read["_compile.py"], "save")
    assert inspect.signature(standin.StandIn.save).parameters.keys() - {"self"} <= parameters(
        read["_compile.py"], "save"
    )
    assert 'register_backend(name="tensorrt")' in read["dynamo/backend/backends.py"]
    assert "min_shape" in read["_Input.py"]
    assert 'getLogger("torch_tensorrt [TensorRT Conversion Context]")' in read["logging.py"]
    assert "Unsupported or Excluded Nodes" in read["dynamo/partitioning/_global_partitioner.py"]
    assert "self.serialized_engine" in read["dynamo/runtime/_TorchTensorRTModule.py"]


def test_that_for_tensorrt_rtx_goes_by_its_distribution_and_keeps_kernels_in_a_file() -> None:
    read = sources("torch_tensorrt_rtx-2.14", "_TensorRTProxyModule.py", "dynamo/_defaults.py")
    assert '"torch-tensorrt-rtx" in normalized' in read["_TensorRTProxyModule.py"]
    assert 'sys.modules["tensorrt"] = proxy' in read["_TensorRTProxyModule.py"]
    assert "RUNTIME_CACHE_PATH = " in read["dynamo/_defaults.py"]


def parameters(source: str, function: str) -> set[str]:
    """The names of a module-level function's parameters."""
    (found,) = (node for node in ast.parse(source).body if isinstance(node, ast.FunctionDef) and node.name == function)
    return {argument.arg for argument in (*found.args.args, *found.args.kwonlyargs)}


def _is_field(node: ast.AST) -> bool:
    return isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name)

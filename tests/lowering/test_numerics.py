"""Programs compute what their modules compute, by the interpreter in torch, in each version of TensorRT."""

from __future__ import annotations

from pathlib import Path

import pytest

torch = pytest.importorskip("torch")
oracle = pytest.importorskip("bench.lowering.oracle")

from bench import tensors  # noqa: E402
from bench.system import userfile  # noqa: E402
from tests.lowering import kit, modules  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
VERSIONS = ("8.6.1", "10.13.3", "11.4.0")
TOLERANCE = {"fp32": 1e-4, "fp16": 2e-2}


# Half precision is what TensorRT-RTX builds in other tests; here a few say that rounding is all it adds.
CASES = [(name, "fp32") for name in modules.MODULES] + [
    (name, "fp16") for name in ("arithmetic", "comparisons", "clamp", "log softmax", "products", "linear")
]


@pytest.mark.parametrize(("name", "precision"), CASES)
def test_a_program_computes_what_its_module_computes(name: str, precision: str, tmp_path: Path) -> None:
    module, inputs = modules.make(name, half=precision == "fp16")
    with torch.no_grad():
        expected = module(*inputs.values())
    kit.program_of(name, precision).write(tmp_path)
    source = userfile.execute(tmp_path / "program.py", "_tested_program")
    for version in VERSIONS:
        trt = oracle.Module(version)
        network = oracle.Network(trt, dict(inputs))
        source.build(trt, network, tensors.read(tmp_path / "weights.safetensors"))
        results = network.results().values()
        for result, value in zip(results, [expected] if isinstance(expected, torch.Tensor) else expected, strict=True):
            assert result.shape == value.shape
            tolerance = TOLERANCE[precision]
            torch.testing.assert_close(result.to(value.dtype), value, rtol=tolerance, atol=tolerance)

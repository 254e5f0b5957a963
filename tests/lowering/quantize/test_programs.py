"""The networks of the rules as network programs, before and after mending: run by the oracle, built by TensorRT-RTX."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.lowering import codegen  # noqa: E402
from bench.lowering.quantize import placement  # noqa: E402
from bench.model.placement import Rule  # noqa: E402
from tests.lowering.quantize import networks  # noqa: E402
from tests.lowering.quantize.test_placement import before, computed  # noqa: E402
from tests.lowering.test_rtx_builds import build  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
VARIANTS = {"before": before, "mended": lambda rule: placement.mend(before(rule))}


def program(rule: Rule, variant: str) -> codegen.Program:
    return codegen.generate(VARIANTS[variant](rule), ["y"], title="net", precision="int8")


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", networks.NETWORKS)
@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
def test_tensorrt_rtx_builds_each_program(rule: Rule, variant: str, tmp_path: Path) -> None:
    assert build(program(rule, variant), tmp_path)


@pytest.mark.parametrize("version", ["8.6.1", "11.4.0"])
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_the_oracle_computes_what_the_graph_does(rule: Rule, variant: str, version: str, tmp_path: Path) -> None:
    result = run(program(rule, variant), version, tmp_path)
    expected = computed(VARIANTS[variant](rule))
    assert float((result - expected).norm() / expected.norm()) < 5e-3


def run(written: codegen.Program, version: str, folder: Path) -> Any:
    """The output of a program on the example, by the oracle."""
    from bench import tensors
    from bench.lowering import oracle
    from bench.system import userfile

    written.write(folder)
    trt = oracle.Module(version)
    network = oracle.Network(trt, {"x": networks.example()})
    module = userfile.execute(folder / "program.py", "_tested_program")
    with torch.no_grad():
        module.build(trt, network, tensors.read(folder / "weights.safetensors"))
        (result,) = network.results().values()
    return result

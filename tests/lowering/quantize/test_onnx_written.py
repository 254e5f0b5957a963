"""The networks of the rules as ONNX files: lint says the same of a file, and other readers compute the same."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("onnx")

from bench import api  # noqa: E402
from bench.lowering.quantize import placement  # noqa: E402
from bench.model.placement import Rule  # noqa: E402
from tests.lowering.quantize import networks, onnx_writer  # noqa: E402
from tests.lowering.quantize.test_placement import before  # noqa: E402

pytestmark = [pytest.mark.torch, pytest.mark.long]
VARIANTS = {"before": before, "mended": lambda rule: placement.mend(before(rule))}


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_of_a_file_lint_says_what_it_says_of_the_graph(rule: Rule, variant: str, tmp_path: Path) -> None:
    graph = VARIANTS[variant](rule)
    findings = api.lint_qdq_file(onnx_writer.write(graph, tmp_path / "net.onnx")).findings
    assert [(each.rule, each.what) for each in findings] == [(each.rule, each.what) for each in placement.lint(graph)]


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_onnx_runtime_computes_what_the_graph_does(rule: Rule, variant: str, tmp_path: Path) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    graph = VARIANTS[variant](rule)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    path = str(onnx_writer.write(graph, tmp_path / "net.onnx"))
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    (result,) = session.run(None, {"x": networks.example().numpy()})
    (expected,) = graph(networks.example())
    error = (torch.from_numpy(result) - expected).norm() / expected.norm()
    assert error < 5e-3  # where a sum is near the middle of two steps, another order of it rounds the other way


@pytest.mark.skipif(
    importlib.util.find_spec("tensorrt_rtx") is None,
    reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
)
@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("rule", networks.NETWORKS)
def test_tensorrt_rtx_builds_each_network(rule: Rule, variant: str, tmp_path: Path) -> None:
    import tensorrt_rtx as trt

    messages: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                messages.append(text)

    logger = Logger()
    builder = trt.Builder(logger)
    network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
    parser = trt.OnnxParser(network, logger)
    assert parser.parse(onnx_writer.write(VARIANTS[variant](rule), tmp_path / "net.onnx").read_bytes()), messages
    assert builder.build_serialized_network(network, builder.create_builder_config()) is not None, messages

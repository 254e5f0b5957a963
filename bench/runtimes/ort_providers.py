"""Execution providers of ONNX Runtime: which are here, their options, and which nodes they run."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any, Literal

from bench.errors import Unsupported
from bench.model.suite import Case
from bench.runtimes import ort_plugin

Provider = Literal["auto", "cpu", "cuda", "tensorrt", "tensorrt_rtx"]
NAMES = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "tensorrt_rtx": ort_plugin.PROVIDER,
}
NO_PROVIDER = "this onnxruntime has no {}"
GPU_BUILD = "pip uninstall onnxruntime && pip install onnxruntime-gpu"
# What helps where a provider has no kernel for an operator of the file.
NO_KERNEL = "another precision, opset or provider"
_SHOWN_OPERATORS = 5


def has_cuda() -> bool:
    """Whether the installed build has the CUDA provider, which is a library of its own; nothing is imported."""
    spec = importlib.util.find_spec("onnxruntime")
    folders = spec.submodule_search_locations if spec else None
    return any(any(Path(folder, "capi").glob("*onnxruntime_providers_cuda*")) for folder in folders or ())


def placement(session: Any, search: str) -> dict[str, Any]:
    """For the fairness report: how many nodes run on the CPU though a GPU's provider was chosen, and their operators;
    how the CUDA provider chooses algorithms, ``search``, if it runs convolutions.

    Unsupported if all run on the CPU, as the row would measure that. Before onnxruntime 1.24, which does not tell who
    runs what, the search alone.
    """
    if not hasattr(session, "get_provider_graph_assignment_info"):
        return {"cudnn_search": search}
    nodes = [(part.ep_name, node) for part in session.get_provider_graph_assignment_info() for node in part.get_nodes()]
    on_cpu = [node.op_type for name, node in nodes if name == NAMES["cpu"]]
    operators = list(dict.fromkeys(on_cpu))[:_SHOWN_OPERATORS]
    if nodes and len(on_cpu) == len(nodes):
        what = f"ONNX Runtime runs all {len(nodes)} nodes on the CPU: the provider has no {', '.join(operators)}"
        raise Unsupported(what, fix=f"{NO_KERNEL}; or --device cpu")
    report: dict[str, Any] = {"fallback_nodes": len(on_cpu)} | ({"fallback_ops": operators} if on_cpu else {})
    searches = any(name == NAMES["cuda"] and "Conv" in node.op_type for name, node in nodes)
    return report | ({"cudnn_search": search} if searches else {})


def options(case: Case, device: str, provider: str, stream: int | None, search: str) -> list[Any]:
    """Providers in the order of preference, each with its options. ONNX Runtime's own default is TF32 on."""
    if provider == "cpu":
        return [NAMES["cpu"]]
    common = {"device_id": device.partition(":")[2] or "0", "user_compute_stream": str(stream)}
    graph = "1" if case.cuda_graph else "0"
    tf32 = "1" if case.precision == "tf32" else "0"
    cuda = common | {"use_tf32": tf32, "enable_cuda_graph": graph, "cudnn_conv_algo_search": search.upper()}
    if provider == "cuda":
        return [(NAMES["cuda"], cuda), NAMES["cpu"]]
    engine = common | {"trt_cuda_graph_enable": graph}
    if case.precision in ("fp16", "bf16"):
        engine[f"trt_{case.precision}_enable"] = "1"
    return [
        (NAMES["tensorrt"], engine),
        (NAMES["cuda"], cuda | {"enable_cuda_graph": "0"}),
        NAMES["cpu"],
    ]

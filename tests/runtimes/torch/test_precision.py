"""Precision in PyTorch: TF32 in both libraries, what a factory's file cannot undo, and what no device computes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench.backends import base
from bench.model.suite import Input
from bench.runtimes.torch import precision
from tests.backends.kit import Bench, cosine

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
SQUARE = {"x": Input(shape=(4, 4))}


@pytest.mark.parametrize("on", [True, False])
def test_tf32_is_set_in_both_libraries_and_put_back(on: bool) -> None:
    matmul, cudnn = torch.backends.cuda.matmul, torch.backends.cudnn
    before = matmul.allow_tf32, cudnn.allow_tf32
    with precision.tf32(on):
        assert (matmul.allow_tf32, cudnn.allow_tf32) == (on, on)
    assert (matmul.allow_tf32, cudnn.allow_tf32) == before


def settings() -> list[Any]:
    """TF32 and what else float32 may be computed as, in a form that every torch can tell."""
    found = [
        torch.get_float32_matmul_precision(),
        torch.backends.cuda.matmul.allow_tf32,
        torch.backends.cudnn.allow_tf32,
    ]
    mkldnn = torch.backends.mkldnn
    places = (torch.backends, torch.backends.cudnn, mkldnn, getattr(mkldnn, "conv", None), getattr(mkldnn, "rnn", None))
    newer = [getattr(place, "fp32_precision", "none") for place in places]
    return [*found, *newer]


@pytest.mark.parametrize(
    "own",
    [
        'torch.set_float32_matmul_precision("high")',
        'torch.set_float32_matmul_precision("medium")',
        "torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True",
        'torch.backends.fp32_precision = "tf32"',
        'torch.backends.cudnn.fp32_precision = "tf32"',
        'torch.backends.cuda.matmul.fp32_precision = "tf32"',
        'torch.backends.mkldnn.conv.fp32_precision = "bf16"',
    ],
)
def test_a_factorys_file_cannot_undo_the_precision_of_its_case_or_of_the_reference(
    bench: Bench, tmp_path: Path, own: str
) -> None:
    if "fp32_precision" in own and not hasattr(torch.backends, "fp32_precision"):
        pytest.skip("this torch has the older API only")
    code = f"import torch\n{own}\n\ndef net():\n    {own}\n    return Net()\n"
    code += "\nclass Net(torch.nn.Module):\n    def forward(self, x):\n        return x @ x\n"
    (tmp_path / "fast.py").write_text(code)
    case = bench.case("eager", "fast.py:net", SQUARE)
    backend, context = base.load("eager"), msgspec.structs.replace(bench.context(case), suite_dir=tmp_path)
    with precision.tf32(False):
        wanted = settings()
        with backend.prepare(case, base.options_of(backend, case), context) as prepared:
            assert settings() == wanted
            assert prepared.fairness()["tf32"] == {"matmul": False, "cudnn": False}
        backend.produce(backend.stages(case)[0], case, context, bench.folder())
        assert settings() == wanted


@pytest.mark.parametrize("backend", ["eager", "inductor", "torchscript", "aoti"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"precision": "tf32"}, "TF32 is a CUDA format"),
        ({"precision": "int8"}, "int8"),
        ({"cuda_graph": True}, "CUDA device"),
        ({"options": {"autocast": True}}, "fp16 or bf16"),
    ],
)
def test_what_can_never_run_on_a_cpu_has_a_reason(
    bench: Bench, backend: str, fields: dict[str, Any], reason: str
) -> None:
    found = base.load(backend).unsupported(bench.case(backend, **fields), "cpu")
    assert found is not None
    assert reason in found


def test_tf32_and_graphs_are_fine_on_a_gpu(bench: Bench) -> None:
    assert base.load("eager").unsupported(bench.case("eager", precision="tf32", cuda_graph=True), "cuda:0") is None


@pytest.mark.parametrize("backend", ["eager", "torchscript"])
@pytest.mark.parametrize(
    ("precision", "options", "dtype", "limit"),
    [
        ("fp16", {}, "float16", 0.9999),
        ("bf16", {}, "bfloat16", 0.999),
        ("bf16", {"autocast": True}, "bfloat16", 0.999),
        ("fp32", {"memory_format": "channels_last"}, "float32", 0.99999),
    ],
)
def test_precision_is_that_of_inputs_and_outputs(
    bench: Bench, backend: str, precision: str, options: dict[str, Any], dtype: str, limit: float
) -> None:
    case = bench.case(backend, precision=precision, options=options)
    with bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        assert {b.dtype for b in (*lane.inputs().values(), *lane.outputs().values())} == {dtype}
        told = prepared.fairness()
        found = lane.read()
    assert told["autocast"] is options.get("autocast", False)
    assert told["memory_format"] == options.get("memory_format", "contiguous")
    wanted = bench.reference(case)
    assert all(found[name].dtype == np.float32 and cosine(found[name], wanted[name]) > limit for name in wanted)

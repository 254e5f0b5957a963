"""The real builder of TensorRT-RTX, which needs no GPU, builds the programs: what PyTorch computes is not compared."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench import tensors  # noqa: E402
from bench.system import userfile  # noqa: E402
from tests.lowering import kit, modules  # noqa: E402
from tests.lowering.converters import kit as traced  # noqa: E402

pytestmark = [
    pytest.mark.torch,
    pytest.mark.long,
    pytest.mark.skipif(
        importlib.util.find_spec("tensorrt_rtx") is None,
        reason="tensorrt_rtx is not installed: pip install tensorrt-rtx-cu13 (Linux on x86-64)",
    ),
]


# What a trace has as operators of Python's, or as some that only the decompositions of an export know.
EXPORTED = (
    "comparisons", "movedim and einsum", "values at indices", "pooling rounded up with padding", "writes into views",
    "compound functions",
)  # fmt: skip


def build(program: Any, folder: Path) -> bytes:
    """The engine of a program, written to ``folder`` and imported from there; fails with TensorRT's messages."""
    import tensorrt_rtx as trt

    program.write(folder)
    messages: list[str] = []

    class Logger(trt.ILogger):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.ILogger.__init__(self)

        def log(self, severity: Any, text: str) -> None:
            if severity.name in ("ERROR", "INTERNAL_ERROR"):
                messages.append(text)

    module = userfile.execute(folder / "program.py", "_tested_program")
    try:
        plan = module.build_engine(trt, tensors.read(folder / "weights.safetensors"), Logger())
    except ValueError as error:
        pytest.fail(f"{error}: {messages}")
    assert plan is not None, messages
    return bytes(memoryview(plan))


@pytest.mark.parametrize("name", modules.MODULES)
def test_each_module_builds_in_half_precision(name: str, tmp_path: Path) -> None:
    if name in EXPORTED:
        assert build(kit.program_of(name, "fp16"), tmp_path)
        return
    # Traced, in a tenth of an export's time; test_numerics exports each of them.
    module, inputs = modules.make(name, half=True)
    state = {key: value.detach() for key, value in (*module.named_parameters(), *module.named_buffers())}

    def function(*values: Any) -> Any:
        own = dict(zip(state, values[len(inputs) :], strict=True))
        return torch.func.functional_call(module, own, values[: len(inputs)])

    assert build(traced.program_of(function, list(inputs.values()), list(state.values())), tmp_path)


@pytest.mark.parametrize("name", ["arithmetic", "comparisons", "linear", "convolution, normalisation, pooling"])
def test_a_module_builds_in_single_precision(name: str, tmp_path: Path) -> None:
    assert build(kit.program_of(name, "fp32"), tmp_path)


@pytest.mark.parametrize("name", modules.DYNAMIC)
def test_each_module_builds_with_sizes_that_are_dynamic(name: str, tmp_path: Path) -> None:
    module, inputs = modules.make(name)
    sizes = {1: torch.export.Dim("seq", min=3, max=16)} if modules.DYNAMIC[name] else {}
    dims = [{0: torch.export.Dim("batch", min=1, max=8)} | sizes for _ in inputs]
    profile = {}
    for key, value in inputs.items():
        rest = tuple(value.shape[2:]) if sizes else tuple(value.shape[1:])
        points = ((1, 3), tuple(value.shape[:2]), (8, 16)) if sizes else ((1,), (value.shape[0],), (8,))
        profile[key] = tuple(point + rest for point in points)
    assert build(kit.program(module, inputs, dims=dims, profile=profile), tmp_path)


def test_a_program_that_was_edited_builds_another_network(tmp_path: Path) -> None:
    module, inputs = modules.make("convolution, normalisation, pooling")
    program = kit.program(module, inputs)
    edited = program._replace(source=program.source.replace("trt.ActivationType.RELU", "trt.ActivationType.TANH"))
    assert edited.source != program.source
    for name, each in (("first", program), ("second", edited)):
        (tmp_path / name).mkdir()
        assert build(each, tmp_path / name)
    first, second = ((tmp_path / name / "weights.safetensors").read_bytes() for name in ("first", "second"))
    assert first == second


def test_an_error_of_tensorrt_names_the_layer(tmp_path: Path) -> None:
    module, inputs = modules.make("linear")
    program = kit.program(module, inputs)
    wrong = program.source.replace("trt.MatrixOperation.TRANSPOSE", "trt.MatrixOperation.NONE")
    with pytest.raises(pytest.fail.Exception, match=r"the layer 'linear.*has no valid output"):
        build(program._replace(source=wrong), tmp_path)

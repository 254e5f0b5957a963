"""Builds the sides of an explanation: engines of named layers, and runs of kernels."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis import explain_sides
from bench.analysis.causes import Cause
from bench.analysis.explain import Explanation
from bench.analysis.explain_sides import Side
from bench.model.profile import CondensedProfile, Copy, Kernel, Layer, Layers, Parts, Profile

US = 1_000
CONV, BN, RELU = "sm80_xmma_fprop_implicit_gemm_f16f16", "bn_fw_inf_1C11_kernel_NCHW", "relu_elementwise_kernel"


def first(explanation: Explanation) -> Cause:
    return explanation.parts[0].causes[0]


def layer(name: str, us: float, kind: str = "CaskConvolution", tactic: str = "k", precision: str = "fp16") -> Layer:
    reformat = name.startswith("Reformatting")
    ns = (round(us * US),) * 3
    return Layer(name=name, kind=kind, tactic=tactic, precision=precision, reformat=reformat, ns=ns)


def engine(*layers: Layer, label: str = "net/tensorrt/fp16/batch=1") -> Side:
    return explain_sides.of_layers("c0ffee", label, Layers(runtime="TensorRT 8.6.1", layers=layers, calls=3))


def residual(block: str, *, broken: bool = False) -> list[Layer]:
    """The layers of a bottleneck of ResNet-50 as TensorRT 8.6 fuses them; ``broken``: its last convolution alone."""
    p = f"/layer1/{block}/"
    start = [
        layer(f"{p}conv1/Conv + {p}relu/Relu", 20),
        layer(f"{p}conv2/Conv + {p}relu_1/Relu", 30),
    ]
    if not broken:
        return [*start, layer(f"{p}conv3/Conv + {p}Add + {p}relu_2/Relu", 60)]
    return [
        *start,
        layer(f"{p}conv3/Conv", 40, tactic="k2"),
        layer(f"Reformatting CopyNode for Output Tensor 0 to {p}conv3/Conv", 25, "Reformat"),
        layer(f"PWN({p}Add, {p}relu_2/Relu)", 50, "PointWiseV2"),
    ]


def kernels(
    *rows: tuple[str, float] | tuple[str, float, str] | tuple[str, float, str, str],
    gap_us: float = 0,
    graph: bool = False,
    copies: Sequence[Copy] = (),
    label: str = "net/eager/fp16/batch=1",
    notes: tuple[str, ...] = (),
    unprofiled_us: float = 0,
) -> Side:
    """A side of kernels: name, us, module, operator; the GPU waits ``gap_us`` for launches in all."""
    several, now = [], 0
    for node, row in enumerate(rows):
        name, us, module, operator = (*row, *("",) * (4 - len(row)))
        end = now + round(float(us) * US)
        several.append(
            Kernel(
                name=str(name), start=now, end=end, node=node if graph else None, module=str(module),
                operator=str(operator),
            )
        )  # fmt: skip
        now = end
    busy = now + sum(copy.end - copy.start for copy in copies)
    parts = Parts(window=busy + round(gap_us * US), kernels=now, copies=busy - now, launch=round(gap_us * US))
    profile = Profile(
        tool="nsys", tool_version="2025.1", case="c0ffee", label=label, kernels=tuple(several), copies=tuple(copies),
        notes=notes, unprofiled_ns=(round(unprofiled_us * US),) * bool(unprofiled_us),
    )  # fmt: skip
    return explain_sides.of_condensed("c0ffee", label, CondensedProfile(profile=profile, parts=(parts,) * 3))

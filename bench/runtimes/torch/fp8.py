"""Linear layers at fp8: weights and inputs as float8 (e4m3) with one scale each, multiplied by ``torch._scaled_mm``.

All else of a model runs in float16.
"""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from bench.errors import SuiteError, Unsupported, did_you_mean
from bench.model.data import Data
from bench.runtimes.torch import errors

if TYPE_CHECKING:
    import torch

# The largest number of float8_e4m3fn (Micikevicius et al., FP8 Formats for Deep Learning, 2022).
LARGEST = 448.0
_MULTIPLE = 16  # of both sizes of a weight that torch._scaled_mm takes
_FIRST_CAPABILITY = (8, 9)
SCALED_MM, REFERENCE = "torch._scaled_mm", "float32 product of dequantized values"


class Scales(Data, frozen=True, kw_only=True):
    """What the inputs of linear layers are scaled by. ``limits`` are the largest magnitudes of those that a calibration
    has seen, by the path of the module; None where each call measures its own. Modules in ``floating``, and below them,
    stay in float16.
    """

    limits: Mapping[str, float] | None = None
    floating: tuple[str, ...] = ()


def convert(
    model: torch.nn.Module, scales: Scales, device: str
) -> tuple[dict[torch.nn.Module, torch.nn.Module], dict[str, Any]]:
    """The module at fp8 on ``device`` for each linear layer of ``model`` that has one, and for the fairness report how
    many these are, how many stay in float16 by reason, and what multiplies. ``model`` has the weights of its factory.

    Raises:
        SuiteError: a module of ``floating`` has no linear layer.
        Unsupported: the GPU has no fp8, no layer can be converted, or a weight is all zeros.
    """
    by = implementation(device)
    layers = linear_layers(model)
    for name in scales.floating:
        if not any(_is_below(path, name) for path in layers):
            what = f"floating: {name!r} has no linear layer.{did_you_mean(name, layers)}"
            raise SuiteError(what, fix="a path as model.named_modules() has them")
    reasons = {path: _why_not(path, layer, scales) for path, layer in layers.items()}
    left = Counter(reason for reason in reasons.values() if reason)
    if len(layers) == left.total():
        why = ", ".join(f"{count} {reason}" for reason, count in left.items()) or "it has no nn.Linear that is called"
        raise Unsupported(f"no layer of the model can run at fp8: {why}", fix="precision: fp16")
    replacements = {
        layer: _fp8_linear()(layer, path, scales.limits[path] if scales.limits else None, by).to(device)
        for path, layer in layers.items()
        if not reasons[path]
    }
    report: dict[str, Any] = {
        "product": by,
        "scales": "dynamic" if scales.limits is None else "static",
        "layers": len(replacements),
        "rest": "fp16",
    }
    if left:
        report["layers_at_fp16"] = dict(left)
    return replacements, {"fp8": report}


def replace(model: torch.nn.Module, replacements: Mapping[torch.nn.Module, torch.nn.Module]) -> torch.nn.Module:
    """``model`` with its children changed as ``replacements`` says, wherever they are used; or the replacement of
    ``model`` itself.
    """
    for parent in list(model.modules()):
        for name, child in list(parent._modules.items()):
            if child in replacements:
                setattr(parent, name, replacements[child])
    return replacements.get(model, model)


def linear_layers(model: torch.nn.Module) -> dict[str, torch.nn.Module]:
    """The linear layers whose call is a product with their weight, by path. Subclasses of ``nn.Linear`` are left out,
    and what lies in ``nn.TransformerEncoderLayer``, whose own kernel reads the weights of its parts.
    """
    import torch

    own = [
        path for path, module in model.named_modules() if isinstance(module, torch.nn.TransformerEncoderLayer)
    ]  # fmt: skip
    return {
        path: module
        for path, module in model.named_modules()
        if type(module) is torch.nn.Linear and not any(_is_below(path, name) for name in own)
    }


def implementation(device: str) -> str:
    """What multiplies on ``device``: torch._scaled_mm, or on a CPU whose torch lacks it the reference.

    Raises:
        Unsupported: a GPU without fp8, or a torch that refuses a product of 16 x 16 there.
        OutOfMemory: the GPU has no memory for it.
    """
    import torch

    if device != "cpu" and (capability := torch.cuda.get_device_capability(device)) < _FIRST_CAPABILITY:
        what = f"fp8 needs compute capability 8.9, and this GPU has {capability[0]}.{capability[1]}"
        raise Unsupported(what, fix="precision: fp16")
    try:
        _try_product(device)
    except Unsupported:
        if device != "cpu":
            raise
        return REFERENCE  # which the record names: accuracy can be checked on any CPU
    return SCALED_MM


def _try_product(device: str) -> None:
    """Multiply ones by torch._scaled_mm. Unsupported if this torch cannot do so on ``device``."""
    import torch

    with errors.translate(f"torch {torch.__version__} has no fp8 product here"):
        ones = torch.ones(16, 16, device=device).to(torch.float8_e4m3fn)
        bias, scale = torch.zeros(16, device=device, dtype=torch.float16), torch.ones((), device=device)
        if not bool((_scaled_product(ones, ones, scale, scale, bias) == 16).all()):
            raise ArithmeticError("a product of ones is wrong")


def _why_not(path: str, layer: Any, scales: Scales) -> str:
    """Why a linear layer stays in float16; empty if it need not."""
    import torch

    if any(_is_below(path, name) for name in scales.floating):
        return "floating"
    if layer.in_features % _MULTIPLE or layer.out_features % _MULTIPLE:
        return f"of a size that is no multiple of {_MULTIPLE}"
    if layer.weight.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        return f"with weights of {str(layer.weight.dtype).removeprefix('torch.')}"
    if scales.limits is not None and path not in scales.limits:
        return "never called in calibration"
    return ""


def _is_below(path: str, name: str) -> bool:
    return not name or path == name or path.startswith(f"{name}.")


def _scaled_product(
    left: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, of_weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """float8 (m, k) and (n, k) with their scales, and float16 (n): float16 (m, n)."""
    import torch

    product: torch.Tensor = torch._scaled_mm(
        left, weight.t(), scale_a=scale, scale_b=of_weight, bias=bias, out_dtype=torch.float16, use_fast_accum=True
    )
    return product


def _reference_product(
    left: torch.Tensor, weight: torch.Tensor, scale: torch.Tensor, of_weight: torch.Tensor, bias: torch.Tensor | None
) -> torch.Tensor:
    """The same by a float32 product."""
    product = (left.float() @ weight.float().t()) * (scale * of_weight)
    return (product if bias is None else product + bias.float()).half()


@functools.cache
def _fp8_linear() -> type[torch.nn.Module]:
    """The class of a linear layer at fp8."""
    import torch

    class Fp8Linear(torch.nn.Module):  # type: ignore[misc]
        """y = (x / s to float8) (w / t to float8)^T s t + b; x (..., k) of any float type, y (..., n) of float16.

        ``limit`` is the magnitude of x that becomes 448, larger ones too; None takes that of each x.
        """

        def __init__(self, linear: torch.nn.Linear, path: str, limit: float | None, by: str) -> None:
            super().__init__()
            self.in_features, self.out_features, self.training = linear.in_features, linear.out_features, False
            weight = linear.weight.detach().float()
            scale = weight.abs().amax() / LARGEST
            if not (scale > 0 and torch.isfinite(scale)):
                what = f"{path or 'the model'}: a weight that is zero or not finite has no scale"
                raise Unsupported(what, fix="floating: the path of this module")
            self.register_buffer("weight_fp8", _to_float8(weight / scale))
            self.register_buffer("weight_scale", scale)
            self.register_buffer("bias", None if linear.bias is None else linear.bias.detach().half())
            # A number for the multiplication, which keeps float16 in float16; a tensor for the product.
            self.factor = None if limit is None else LARGEST / limit
            self.register_buffer("input_scale", None if limit is None else torch.tensor(limit / LARGEST))
            self._product = _scaled_product if by == SCALED_MM else _reference_product

        @property
        def weight(self) -> torch.Tensor:
            """What the weight stands for, in float16: of modules that look at the weights of others."""
            return (self.weight_fp8.float() * self.weight_scale).half()

        def forward(self, input: torch.Tensor) -> torch.Tensor:
            rows = input.reshape(-1, self.in_features)
            if self.factor is None:
                wide = rows.float()
                scale = (wide.abs().amax() / LARGEST).clamp(min=torch.finfo(torch.float32).tiny)
                narrow = _to_float8(wide / scale)
            else:
                scale, narrow = self.input_scale, _to_float8(rows * self.factor)
            product = self._product(narrow, self.weight_fp8, scale, self.weight_scale, self.bias)
            return product.reshape(*input.shape[:-1], self.out_features)

        def extra_repr(self) -> str:
            return f"{self.in_features}, {self.out_features}, static={self.factor is not None}"

    return Fp8Linear


def _to_float8(value: torch.Tensor) -> torch.Tensor:
    """As float8, to the nearest; beyond +-448 these, where a cast alone makes NaN."""
    import torch

    return value.clamp(-LARGEST, LARGEST).to(torch.float8_e4m3fn)

"""Linear layers at fp8: which they are, what they compute, and what is refused."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.errors import OutOfMemory, SuiteError, Unsupported
from bench.runtimes.torch import fp8
from bench.runtimes.torch.fp8 import LARGEST, Scales

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
DYNAMIC = Scales()
# Half a step of a number with three bits of mantissa, of each factor.
ROUNDING = 2**-4


def at_fp8(model: Any, scales: Scales = DYNAMIC) -> tuple[Any, dict[str, Any]]:
    replacements, report = fp8.convert(model, scales, "cpu")
    return fp8.replace(model.half(), replacements), report["fp8"]


def seeded(*layers: Any) -> Any:
    return torch.nn.Sequential(*layers).eval()


def relative(value: Any, expected: Any) -> float:
    return float((value.detach().float() - expected).norm() / expected.norm())


@given(
    magnitude=st.sampled_from([1e-4, 1e-2, 1.0, 1e3]),
    rows=st.integers(1, 5),
    sizes=st.tuples(st.sampled_from([16, 48]), st.sampled_from([16, 32])),
    biased=st.booleans(),
    static=st.booleans(),
)
def test_a_layer_keeps_to_the_rounding_of_both_factors(
    magnitude: float, rows: int, sizes: tuple[int, int], biased: bool, static: bool
) -> None:
    torch.manual_seed(0)
    layer, x = torch.nn.Linear(*sizes, bias=biased), magnitude * torch.randn(rows, 2, sizes[0])
    expected = layer(x).detach()
    limit = float(x.abs().max())
    scales = Scales(limits={"": limit}) if static else DYNAMIC
    converted, report = at_fp8(layer, scales)
    assert report["scales"] == ("static" if static else "dynamic")
    found = converted(x.half())
    assert (found.dtype, found.shape) == (torch.float16, expected.shape)
    assert relative(found, expected) < 2 * ROUNDING


def test_both_products_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    if fp8.implementation("cpu") == fp8.REFERENCE:
        pytest.skip("this torch has no _scaled_mm for a CPU")
    torch.manual_seed(0)
    x, found = torch.randn(8, 64).half(), []
    for by in (fp8.SCALED_MM, fp8.REFERENCE):
        torch.manual_seed(1)
        monkeypatch.setattr(fp8, "implementation", lambda device, by=by: by)
        model, report = at_fp8(torch.nn.Linear(64, 32), Scales(limits={"": 3.0}))
        assert report["product"] == by
        found.append(model(x))
    assert relative(found[0], found[1].float()) < 1e-3


def test_values_beyond_the_limit_become_the_limit_and_a_nan_stays() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(16, 16, bias=False)
    model, _ = at_fp8(layer, Scales(limits={"": 1.0}))
    inside, beyond = torch.ones(1, 16).half(), torch.full((1, 16), 60_000.0).half()
    assert torch.equal(model(inside), model(beyond))
    assert model(torch.full((1, 16), float("nan")).half()).isnan().all()


def test_a_weight_is_rounded_to_a_scale_of_its_largest_value() -> None:
    torch.manual_seed(0)
    layer = torch.nn.Linear(32, 16)
    model, _ = at_fp8(layer)
    assert model.weight_fp8.dtype == torch.float8_e4m3fn
    assert float(model.weight_fp8.float().abs().max()) == LARGEST
    assert float(model.weight_scale) == pytest.approx(float(layer.weight.detach().abs().max()) / LARGEST, rel=1e-3)
    assert (model.weight.dtype, model.weight.shape) == (torch.float16, (16, 32))
    assert relative(model.weight, layer.weight.detach()) < ROUNDING


class Mixed(torch.nn.Module):  # type: ignore[misc]
    """A layer in two places, one of an odd size, one of float64, one that is never called, and attention."""

    def __init__(self) -> None:
        super().__init__()
        self.first = torch.nn.Linear(32, 32)
        self.again = self.first
        self.odd = torch.nn.Linear(32, 20)
        self.wide = torch.nn.Linear(32, 32).double()
        self.unused = torch.nn.Linear(32, 32)
        self.attention = torch.nn.MultiheadAttention(32, 2, batch_first=True)
        self.encoder = torch.nn.TransformerEncoderLayer(32, 2, 32, batch_first=True)

    def forward(self, x: Any) -> Any:
        x = self.again(self.first(x))
        return self.odd(self.encoder(self.attention(x, x, x)[0]))


def test_what_is_no_plain_product_or_has_no_scale_stays_and_is_counted() -> None:
    torch.manual_seed(0)
    model = Mixed().eval()
    x = torch.randn(2, 4, 32)
    expected = model(x).detach()
    assert list(fp8.linear_layers(model)) == ["first", "odd", "wide", "unused"]
    converted, report = at_fp8(model, Scales(limits={"first": 4.0, "odd": 2.0, "wide": 1.0}))
    assert report["layers"] == 1
    assert report["layers_at_fp16"] == {
        "of a size that is no multiple of 16": 1,
        "with weights of float64": 1,
        "never called in calibration": 1,
    }
    assert converted.first is converted.again
    assert type(converted.first).__name__ == "Fp8Linear"
    assert relative(converted(x.half()), expected) < 0.3


def test_modules_in_floating_stay_with_all_below_them() -> None:
    model = seeded(torch.nn.Linear(16, 16), seeded(torch.nn.Linear(16, 16), torch.nn.Linear(16, 16)))
    converted, report = at_fp8(model, Scales(floating=("1",)))
    assert (report["layers"], report["layers_at_fp16"]) == (1, {"floating": 2})
    assert type(converted[1][0]) is torch.nn.Linear


@pytest.mark.parametrize(
    ("layers", "scales", "why"),
    [
        ((torch.nn.Conv2d(16, 16, 1),), DYNAMIC, "no layer of the model can run at fp8: it has no nn.Linear"),
        ((torch.nn.Linear(16, 20),), DYNAMIC, "fp8: 1 of a size that is no multiple of 16"),
        ((torch.nn.Linear(16, 16),), Scales(limits={}), "1 never called in calibration"),
    ],
)
def test_a_model_of_which_nothing_would_run_at_fp8_is_refused(layers: Any, scales: Scales, why: str) -> None:
    with pytest.raises(Unsupported) as caught:
        fp8.convert(seeded(*layers), scales, "cpu")
    assert why in caught.value.what


def test_a_module_that_is_not_there_cannot_stay_in_float16() -> None:
    with pytest.raises(SuiteError, match=r"floating: '1' has no linear layer"):
        fp8.convert(seeded(torch.nn.Linear(16, 16)), Scales(floating=("1",)), "cpu")


@pytest.mark.parametrize("value", [0.0, float("inf")])
def test_a_weight_without_a_scale_names_its_module(value: float) -> None:
    model = seeded(torch.nn.Linear(16, 16))
    torch.nn.init.constant_(model[0].weight, value)
    with pytest.raises(Unsupported, match=r"^0: a weight that is zero or not finite"):
        fp8.convert(model, DYNAMIC, "cpu")


def test_a_gpu_without_fp8_is_refused_by_its_compute_capability(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (8, 6))
    with pytest.raises(Unsupported, match=r"fp8 needs compute capability 8\.9, and this GPU has 8\.6"):
        fp8.convert(seeded(torch.nn.Linear(16, 16)), DYNAMIC, "cuda:0")


def test_a_lack_of_memory_is_no_lack_of_fp8(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*args: object, **kwargs: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB")

    monkeypatch.setattr(torch, "_scaled_mm", full, raising=False)
    with pytest.raises(OutOfMemory, match="Tried to allocate"):
        fp8.implementation("cpu")


def test_an_older_torch_on_a_cpu_multiplies_by_the_reference(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(torch, "_scaled_mm", raising=False)
    torch.manual_seed(0)
    model, x = torch.nn.Linear(32, 16), torch.randn(4, 32)
    expected = model(x).detach()
    converted, report = at_fp8(model)
    assert report["product"] == fp8.REFERENCE
    assert relative(converted(x.half()), expected) < 2 * ROUNDING

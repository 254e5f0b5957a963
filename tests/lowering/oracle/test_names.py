"""What the oracle plays of a version is in that version's real bindings: calls, arguments, settings, enum members."""

from __future__ import annotations

import inspect
import re
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from bench.lowering import oracle  # noqa: E402
from bench.lowering.oracle import core, indices, pointwise, resampling, shapes, sums, windows  # noqa: E402
from tests.runtimes.trt import names  # noqa: E402

pytestmark = pytest.mark.torch
MODULES = (indices, pointwise, resampling, shapes, sums, windows)
LAYERS = [
    value for module in MODULES for value in vars(module).values()
    if isinstance(value, type) and issubclass(value, core.Layer) and value.interface != "ILayer"
]  # fmt: skip
ADD = [name for name in vars(oracle.Network) if name.startswith("add_")]
# Of the oracle's own, for tests that look at values.
OWN = {"value", "kind"}


@pytest.mark.parametrize("version", names.VERSIONS)
def test_enums_have_the_members_and_integers_of_the_version(version: str) -> None:
    module, real = oracle.Module(version), names.golden(version)["enums"]
    enums = {name: value for name, value in vars(module).items() if hasattr(value, "__members__")}
    assert len(enums) >= 20
    for name, enum in enums.items():
        for member in enum:
            assert real[name][member.name] == int(member), f"{name}.{member.name}"
        if name not in ("TensorFormat", "ReduceOperation"):  # which is of use to one version each
            assert set(enum.__members__) >= set(real[name]) - {"DEFAULT", "CAFFE_ROUND_DOWN", "CAFFE_ROUND_UP"}, name


@pytest.mark.parametrize("version", names.VERSIONS)
@pytest.mark.parametrize("name", ADD)
def test_a_call_is_there_and_takes_the_arguments_that_it_takes_in_the_version(name: str, version: str) -> None:
    real = names.golden(version)["classes"]["INetworkDefinition"].get(name)
    net = oracle.Network(oracle.Module(version), {})
    assert hasattr(net, name) == (real is not None)
    if real is None:
        return
    own = [parameter for parameter in inspect.signature(getattr(net, name)).parameters if parameter != "self"]
    overloads = [re.findall(r"\w+", overload) for overload in real.split(" | ")]
    longest = max(overloads, key=len)
    assert own[: len(longest)] == longest
    later = own[len(longest) :]
    assert later in ([], ["indices_type"], ["output_type"]), "an argument that only later versions have"


@pytest.mark.parametrize("version", names.VERSIONS)
@pytest.mark.parametrize("layer", LAYERS, ids=lambda layer: str(layer.interface))
def test_settings_are_properties_of_the_real_layer(layer: Any, version: str) -> None:
    real = names.golden(version)["classes"].get(layer.interface)
    if real is None:
        assert layer.interface in ("ICumulativeLayer", "ISqueezeLayer", "IUnsqueezeLayer", "IAttention")
        return
    later = {"indices_type", "to_type", "causal_kind", "axes"}  # refused or checked by the layer itself
    assert set(layer.settings) - later <= set(real)
    assert {"name", "get_output", "set_input", "num_inputs"} <= set(real)


def test_a_tensor_has_what_an_itensor_has() -> None:
    for version in names.VERSIONS:
        real = names.golden(version)["classes"]["ITensor"]
        own = {name for name in vars(core.Tensor) if not name.startswith("_")} - OWN
        assert own | {"allowed_formats"} <= set(real)


@pytest.mark.parametrize("call", ["add_cumulative", "add_attention", "add_squeeze", "add_normalization_v2"])
def test_a_layer_that_8_6_lacks_is_no_attribute(call: str) -> None:
    old, new = (oracle.Network(oracle.Module(version), {}) for version in ("8.6.1", "11.4.0"))
    assert hasattr(new, call)
    with pytest.raises(AttributeError, match=rf"8\.6\.1 has no {call}"):
        getattr(old, call)


def test_a_name_that_the_oracle_does_not_know_is_no_attribute() -> None:
    with pytest.raises(AttributeError, match="the oracle has no 'add_loop'"):
        _ = oracle.Network(oracle.Module(), {}).add_loop
    with pytest.raises(AttributeError, match=r"8\.6\.1 has no 'CausalMaskKind'"):
        _ = oracle.Module("8.6.1").CausalMaskKind

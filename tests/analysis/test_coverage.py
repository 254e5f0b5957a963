"""Cases on a CPU whose profile lacks what they compute are refused, and no cause is made of what it lacks."""

from __future__ import annotations

import pytest

from bench.analysis import explain_sides
from bench.analysis.explain import explain
from bench.analysis.explain_sides import Side
from bench.errors import UsageError
from bench.model.profile import CondensedProfile, Profile, Range
from tests.analysis.explain_kit import US

CRUMBS = ("aten::empty", "aten::expand", "aten::resolve_conj", "aten::copy_", "aten::transpose")


def on_cpu(backend: str, *names: str, idle_us: int = 0) -> Side:
    """A side of operators of 10 us each, one after the other, and ``idle_us`` in none."""
    ranges = [
        Range(name=name, kind="operator", start=at * 10 * US, end=(at + 1) * 10 * US) for at, name in enumerate(names)
    ]
    whole = Range(name="0", kind="iteration", start=0, end=(10 * len(names) + idle_us) * US)
    profile = Profile(tool="torch", case="c", label=f"net/{backend}", device="cpu", ranges=(whole, *ranges))
    return explain_sides.of_condensed("c", profile.label, CondensedProfile(profile=profile))


EAGER = on_cpu("eager", *("aten::conv2d", "aten::batch_norm", "aten::relu") * 8, idle_us=900)


@pytest.mark.parametrize("turned", [False, True])
def test_operators_that_compute_nothing_are_no_side(turned: bool) -> None:
    sides = (EAGER, on_cpu("aoti", *CRUMBS, idle_us=150))
    with pytest.raises(UsageError, match="net/aoti shows no operator that computes: 150 us of 200 us") as error:
        explain(*(sides[::-1] if turned else sides))
    assert "trtbench compare RUN --axis backend" in error.value.fix


def test_convolutions_alone_are_not_all_of_a_network() -> None:
    with pytest.raises(UsageError, match=r"net/aoti shows only aten::_convolution: 80\.0 us of 160 us"):
        explain(EAGER, on_cpu("aoti", *("aten::_convolution",) * 8, idle_us=80))


@pytest.mark.parametrize(
    "other",
    [
        on_cpu("eager", *("aten::conv2d", "aten::batch_norm", "aten::relu") * 8, idle_us=5_000),
        on_cpu("onnxruntime", *("Conv+Relu",) * 8, idle_us=20),
        on_cpu("onnxruntime", "Gemm+Relu", "Gemm", idle_us=200),
        on_cpu("onnxruntime", *("Conv+Relu", *("Shape", "Unsqueeze", "Reshape") * 20) * 8, idle_us=20),
        on_cpu("inductor", *("aten::convolution", "graph_0_cpp_fused_relu_0") * 8, idle_us=500),
    ],
)
def test_time_in_python_and_fused_operators_are_no_lack(other: Side) -> None:
    explanation = explain(EAGER, other)
    assert sum(part.difference for part in explanation.parts) == explanation.difference


def test_convolutions_alone_are_explained_against_their_like() -> None:
    a, b = (on_cpu("aoti", "aten::_convolution", idle_us=us) for us in (80, 90))
    (part,) = (part for part in explain(a, b).parts if part.difference)
    assert part.causes[0].text == "Python, the framework, waiting, and code that reports no operators"

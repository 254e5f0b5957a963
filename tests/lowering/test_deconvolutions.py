"""Transposed convolutions in groups that become dense: the graph computes what it did, and so does its program."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

torch = pytest.importorskip("torch")

from bench.errors import Unsupported  # noqa: E402
from bench.lowering import lower, normalise, split  # noqa: E402
from bench.lowering.passes import deconvolutions, edit  # noqa: E402
from tests.lowering import kit  # noqa: E402
from tests.lowering.converters.kit import check, graph_of, program_of  # noqa: E402
from tests.lowering.oracle.kit import values  # noqa: E402

pytestmark = pytest.mark.torch
F = torch.nn.functional
UP = (F.conv_transpose1d, F.conv_transpose2d, F.conv_transpose3d)
IMAGE = (2, 4, 5, 6)


def convolutions(graph: kit.Graph) -> list[tuple[int, str]]:
    """The groups of each convolution of a graph, and the name of its kernel."""
    nodes = [node for node in graph.graph.nodes if normalise.op_name(node) == "convolution"]
    return [(node.kwargs["groups"], str(node.kwargs["weight"].target)) for node in nodes]


def assert_same(after: kit.Graph, before: kit.Graph, *inputs: Any) -> None:
    for result, expected in zip(after(*inputs), before(*inputs), strict=True):
        torch.testing.assert_close(result, expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=40, derandomize=True, deadline=None)
@given(data=st.data(), dims=st.sampled_from((1, 2, 2, 3)), groups=st.integers(2, 4), has_bias=st.booleans())
def test_a_dense_one_computes_what_the_groups_do(data: st.DataObject, dims: int, groups: int, has_bias: bool) -> None:
    def each(least: int, most: int, name: str) -> list[int]:
        return data.draw(st.lists(st.integers(least, most), min_size=dims, max_size=dims), label=name)

    inputs, outputs = (data.draw(st.integers(1, 3), label=name) for name in ("inputs", "outputs"))
    size, stride, dilation = each(2, 4, "size"), each(1, 3, "stride"), each(1, 2, "dilation")
    kernel, padding, more = each(1, 4, "kernel"), each(0, 2, "padding"), each(0, 2, "output_padding")
    assume(all(o < max(s, d) for o, s, d in zip(more, stride, dilation, strict=True)))
    ends = zip(size, stride, dilation, kernel, padding, more, strict=True)
    assume(all((n - 1) * s - 2 * p + d * (k - 1) + o + 1 > 0 for n, s, d, k, p, o in ends))
    x, weight = values("FLOAT", (2, groups * inputs, *size), 0), values("FLOAT", (groups * inputs, outputs, *kernel), 1)
    weights = (weight, values("FLOAT", (groups * outputs,), 2)) if has_bias else (weight,)

    def function(x: Any, weight: Any, bias: Any = None) -> Any:
        return UP[dims - 1](x, weight, bias, stride, padding, more, groups, dilation)

    before = graph_of(function, [x], weights)
    after = deconvolutions.make_dense(before)
    assert convolutions(before) == [(groups, "weight.0")]
    assert convolutions(after) == [(1, "weight.0")]
    assert after.get_buffer("weight.0").shape == (groups * inputs, groups * outputs, *kernel)
    assert_same(after, before, x)


def test_kernels_have_zeros_between_their_groups_and_the_type_that_they_had() -> None:
    kernel = torch.arange(1.0, 9.0, dtype=torch.float16).reshape(4, 2, 1)
    dense = deconvolutions.on_diagonal(kernel, 2)
    assert dense.dtype == torch.float16
    assert dense[..., 0].tolist() == [[1, 2, 0, 0], [3, 4, 0, 0], [0, 0, 5, 6], [0, 0, 7, 8]]


def _twice(x: Any, weight: Any) -> Any:
    return UP[1](UP[1](x, weight, groups=4).relu(), weight, groups=4, stride=2)


def _in_two_ways(x: Any, weight: Any) -> Any:
    return UP[1](x, weight, groups=4), UP[1](x, weight, groups=2)


def _also_forward(x: Any, weight: Any) -> Any:
    return UP[1](x, weight, groups=4), F.conv2d(x, weight, groups=4)


def _also_read(x: Any, weight: Any) -> Any:
    return UP[1](x, weight, groups=4), x[:, :, :2, :2] + weight[:, 0]


def _also_returned(x: Any, weight: Any) -> Any:
    return UP[1](x, weight, groups=4), weight


def _its_own_input(x: Any, weight: Any) -> Any:
    return UP[1](x, weight, groups=2), UP[1](weight, weight, groups=2)


SHARED = {
    "by two of the same groups": (_twice, [(1, "weight.0"), (1, "weight.0")], (4, 1, 2, 2)),
    "by two of other groups": (
        _in_two_ways, [(1, "weight.0_of_4_groups"), (1, "weight.0_of_2_groups")], (4, 1, 2, 2)
    ),
    "with a convolution": (_also_forward, [(1, "weight.0_of_4_groups"), (4, "weight.0")], (4, 1, 2, 2)),
    "with another op": (_also_read, [(1, "weight.0_of_4_groups")], (4, 1, 2, 2)),
    "with its own input": (_its_own_input, [(1, "weight.0_of_2_groups")] * 2, (4, 4, 2, 2)),
    "with the caller": (_also_returned, [(1, "weight.0_of_4_groups")], (4, 1, 2, 2)),
}  # fmt: skip


@pytest.mark.parametrize("name", SHARED)
def test_a_kernel_that_is_shared_stays_for_others(name: str) -> None:
    function, expected, shape = SHARED[name]
    x, weight = values("FLOAT", IMAGE, 0), values("FLOAT", shape, 1)
    before = graph_of(function, [x], [weight])
    after = deconvolutions.make_dense(before)
    assert convolutions(after) == expected
    assert ("weight.0" in edit.tensors(after)) == (name != "by two of other groups")
    assert len([node for node in after.graph.nodes if node.op == "get_attr"]) == len(edit.tensors(after))
    assert_same(after, before, x)
    assert_same(before, graph_of(function, [x], [weight]), x)  # the pass left its argument alone


def test_a_name_that_the_graph_has_already_is_not_taken() -> None:
    x, weight = values("FLOAT", IMAGE, 0), values("FLOAT", (4, 1, 2, 2), 1)

    def function(x: Any, weight: Any, other: Any) -> Any:
        return UP[1](x, weight, groups=4), F.conv2d(x, weight, groups=4) + other

    before = graph_of(function, [x], [weight, values("FLOAT", (1,), 2)])
    for node in before.graph.nodes:
        if node.op == "get_attr" and node.target == "weight.1":
            edit.add(before, "weight.0_of_4_groups", before.get_buffer("weight.1"))
            node.target = "weight.0_of_4_groups"
    before.recompile()
    after = deconvolutions.make_dense(before)
    assert convolutions(after) == [(1, "weight.0_of_4_groups_"), (4, "weight.0")]
    assert_same(after, before, x)


OTHERS = {
    "one group": (lambda x, w: UP[1](x, w), (4, 3, 2, 2)),
    "not transposed": (lambda x, w: F.conv2d(x, w, groups=2), (4, 2, 2, 2)),
    "a computed kernel": (lambda x, w: UP[1](x, w * x.mean(), groups=2), (4, 3, 2, 2)),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_convolutions_stay_as_they_are(name: str) -> None:
    function, shape = OTHERS[name]
    before = graph_of(function, [values("FLOAT", IMAGE, 0)], [values("FLOAT", shape, 1)])
    nodes = [str(node.kwargs) for node in before.graph.nodes]
    assert [str(node.kwargs) for node in deconvolutions.make_dense(before).graph.nodes] == nodes


def test_a_kernel_that_would_be_too_large_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = values("FLOAT", (4, 3, 2, 2), 1)
    before = graph_of(lambda x, w: UP[1](x, w, groups=2), [values("FLOAT", IMAGE, 0)], [weight])
    for most, groups in ((96, 1), (95, 2)):
        monkeypatch.setattr("bench.runtimes.deconvolutions.MOST_VALUES", most)
        after = deconvolutions.make_dense(before)
        assert convolutions(after) == [(groups, "weight.0")]
        assert after.meta[deconvolutions.FACT]["dense"] == 2 - groups
    assert after.meta[deconvolutions.FACT] == {
        "in_groups": 1,
        "dense": 0,
        "reasons": ["the model itself: its dense kernel would have 96 values, more than 95"],
    }


def test_what_keeps_its_groups_is_counted_with_the_reason() -> None:
    def function(x: Any, a: Any, b: Any) -> Any:
        return UP[1](UP[1](x, a, groups=4) + UP[1](x, a), b * x.mean(), groups=2)

    after = deconvolutions.make_dense(graph_of(function, [values("FLOAT", IMAGE, 0)], _kernels((4, 1), (4, 2))))
    reasons = ["the model itself: its kernel depends on the inputs"]
    assert after.meta[deconvolutions.FACT] == {"in_groups": 2, "dense": 1, "reasons": reasons}
    assert deconvolutions.about(after.meta[deconvolutions.FACT]).startswith("deconvolutions: dense: 1 of 2 grouped")


def _kernels(*ends: tuple[int, int]) -> list[Any]:
    return [values("FLOAT", (*each, 2, 2), seed) for seed, each in enumerate(ends, 1)]


def test_what_stays_in_pytorch_keeps_its_groups() -> None:
    def function(x: Any, weight: Any) -> Any:
        x = UP[1](x, weight, None, 1, 0, 0, 4).relu()
        return UP[1](x, weight, None, 2, 0, 1, 4)  # no converter has an output_padding larger than the padding

    graph = graph_of(function, [values("FLOAT", IMAGE, 0)], _kernels((4, 1)))
    options = {"title": "a test", "precision": "fp32", "min_block_size": 1, "dense_deconvolutions": True}
    parts = split.generate(graph, ["y"], **options)
    assert parts.engines["engine_0"].weights["weight.0"].shape == (4, 4, 2, 2)
    assert "num_groups" not in parts.engines["engine_0"].source
    assert parts.weights["weight.0"].shape == (4, 1, 2, 2)
    assert "groups=4" in parts.source
    assert parts.facts[deconvolutions.FACT] == {
        "in_groups": 2,
        "dense": 1,
        "reasons": ["the model itself: it stays in PyTorch"],
    }
    for source in (parts.source, parts.engines["engine_0"].source):
        assert "\ndeconvolutions: dense: 1 of 2 grouped transposed convolutions" in source
    assert deconvolutions.FACT not in split.generate(graph, ["y"], **options | {"dense_deconvolutions": False}).facts


@pytest.mark.parametrize("dims", [1, 2, 3])
@pytest.mark.parametrize(("stride", "dilation"), [(2, 2), (3, 2)])
def test_a_stride_and_a_dilation_together_are_refused(dims: int, stride: int, dilation: int) -> None:
    x, weight = values("FLOAT", (1, 4, *[5] * dims), 0), values("FLOAT", (4, 1, *[3] * dims), 1)
    with pytest.raises(Unsupported, match="takes only one of the two above 1") as error:
        program_of(lambda x, w: UP[dims - 1](x, w, None, stride, 0, 0, 4, dilation), [x], [weight])
    assert "fallback: torch" in (error.value.fix or "")
    for alone in ((stride, 1), (1, dilation)):
        check(lambda x, w, alone=alone: UP[dims - 1](x, w, None, alone[0], 0, 0, 4, alone[1]), x, weights=[weight])


def test_they_are_refused_in_different_dimensions_too() -> None:
    x, weight = values("FLOAT", IMAGE, 0), values("FLOAT", (4, 2, 3, 3), 1)
    with pytest.raises(Unsupported, match=r"stride \[2, 1\] and dilation \[1, 2\]"):
        program_of(lambda x, w: UP[1](x, w, None, (2, 1), 0, 0, 1, (1, 2)), [x], [weight])


def test_a_dilation_of_a_single_value_is_left_out() -> None:
    x, weight = values("FLOAT", IMAGE, 0), values("FLOAT", (4, 2, 1, 1), 1)
    program = check(lambda x, w: UP[1](x, w, None, 2, 0, 0, 1, 2), x, weights=[weight])
    assert "dilation_nd" not in program.source


def _normalised(x: Any, weight: Any, mean: Any, variance: Any, gain: Any, shift: Any) -> Any:
    return F.batch_norm(UP[1](x, weight, groups=2, stride=2), mean, variance, gain, shift).relu()


def test_batch_normalisation_is_folded_before_or_after() -> None:
    x, weight = values("FLOAT", IMAGE, 0), values("FLOAT", (4, 3, 2, 2), 1)
    statistics = [values("FLOAT", (6,), seed).abs() + 0.5 for seed in range(2, 6)]
    before = graph_of(_normalised, [x], [weight, *statistics])
    assert kit.ops(before) == ["convolution", "batch_norm", "relu"]
    after = lower.run_passes(before, dense_deconvolutions=True)
    for graph in (after, lower.run_passes(deconvolutions.make_dense(before))):
        assert kit.ops(graph) == ["convolution", "relu"]
        assert convolutions(graph) == [(1, "weight.0")]
        assert_same(graph, before, x)
    assert convolutions(lower.run_passes(before)) == [(2, "weight.0")]


PROGRAMS = {
    "depthwise": (lambda x, w, b: UP[1](x, w, b, 2, 1, 0, 4), (2, 4, 5, 6), (4, 1, 4, 4)),
    "an output padding": (lambda x, w, b: UP[1](x, w, b, 2, 1, 1, 2), (2, 4, 5, 6), (4, 2, 3, 3)),
    "one dimension": (lambda x, w, b: UP[0](x, w, b, 2, 1, 0, 2), (2, 4, 5), (4, 2, 4)),
    "three dimensions": (lambda x, w, b: UP[2](x, w, b, 2, 0, 0, 2), (1, 4, 3, 2, 3), (4, 2, 2, 2, 2)),
}


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_has_no_groups_and_computes_the_same_on_each_version(name: str) -> None:
    function, shape, kernel = PROGRAMS[name]
    x, weights = values("FLOAT", shape, 0), [values("FLOAT", kernel, 1), values("FLOAT", (4,), 2)]
    program = check(function, x, weights=weights, dense_deconvolutions=True)
    assert "num_groups" not in program.source
    assert 'weights["weight.0"]' in program.source
    assert program.weights["weight.0"].shape == (4, 4, *kernel[2:])
    assert "num_groups" in program_of(function, [x], weights).source


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_program_of_half_precision_does_too(dtype: Any) -> None:
    function, shape, kernel = PROGRAMS["depthwise"]
    weights = [values("FLOAT", kernel, 1).to(dtype), values("FLOAT", (4,), 2).to(dtype)]
    versions = ("8.6.1", "11.4.0") if dtype == torch.float16 else ("11.4.0",)
    check(function, values("FLOAT", shape, 0).to(dtype), weights=weights, versions=versions, dense_deconvolutions=True)


@pytest.mark.long
@pytest.mark.parametrize("name", PROGRAMS)
def test_tensorrt_rtx_builds_it(name: str, tmp_path: Path) -> None:
    pytest.importorskip("tensorrt_rtx")
    from tests.lowering.test_rtx_builds import build

    function, shape, kernel = PROGRAMS[name]
    weights = [values("FLOAT", kernel, 1).half(), values("FLOAT", (4,), 2).half()]
    assert build(program_of(function, [values("FLOAT", shape, 0).half()], weights, dense_deconvolutions=True), tmp_path)

"""Calls that wait inside of an inference: how long, how often, from which line; the last one is none of them."""

from __future__ import annotations

from bench.analysis.waits import waits
from tests import profile_kit
from tests.profile_kit import US, Timeline

STACK = (
    "~/lib/python3.11/site-packages/torch/_tensor.py:30 wrapped",
    "~/lib/python3.11/site-packages/transformers/masking_utils.py:310 find_packed_sequence_indices",
    "zoo.py:12 forward",
)


def decoder(stack: tuple[str, ...]) -> Timeline:
    """Two waits from one line while the GPU works, one in the model's own code, and the wait for the output."""
    timeline = Timeline()
    with timeline.range("iteration", "0"):
        for _ in range(2):
            with timeline.range("module", "model.mask"), timeline.range("operator", "aten::item"):
                timeline.launch("all", 10 * US)
                timeline.sync(return_ns=5 * US, stack=stack)
        timeline.launch("gemm", 10 * US)
        timeline.sync("cudaMemcpy_v3020", return_ns=1 * US)
        timeline.launch("gemm", 10 * US)
        timeline.sync(return_ns=2 * US)
    return timeline


def test_a_wait_is_named_with_the_line_of_the_model_that_causes_it() -> None:
    several = waits(decoder(STACK).profile())
    # The wait begins 5 after its launch began, 2 before the kernel, which takes 10; then it returns 5 late.
    assert [(each.name, each.where, each.count, each.ns, each.idle_ns) for each in several] == [
        ("cudaStreamSynchronize", STACK[1], 2, 34 * US, 14 * US),
        ("cudaMemcpy", "", 1, 13 * US, 3 * US),
    ]


def test_without_a_stack_the_operator_and_the_module_name_the_place() -> None:
    assert waits(decoder(()).profile())[0].where == "aten::item in model.mask"


def test_the_wait_for_the_output_is_no_wait_within() -> None:
    assert waits(profile_kit.eager(1).profile()) == ()
    assert waits(profile_kit.replayed(1).profile()) == ()
    assert waits(profile_kit.on_cpu(1).profile(device="cpu")) == ()
    assert waits(Timeline().profile()) == ()

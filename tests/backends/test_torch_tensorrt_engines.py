"""What torch_tensorrt made of a model on the stand-in: engines, what stays in PyTorch, and what was refused."""

from __future__ import annotations

import logging
from typing import Any

import pytest

from bench.backends import base
from bench.errors import OutOfMemory, Unsupported
from bench.model.suite import Input, Range
from bench.runtimes.torchtrt import modules
from bench.runtimes.trt import library
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
from tests.backends.torch_tensorrt_kit import of, old  # noqa: E402
from tests.runtimes.torchtrt import standin  # noqa: E402 - needs torch

pytestmark = pytest.mark.torch
TT = base.load("torch_tensorrt")


@pytest.mark.parametrize("ir", ["dynamo", "torch_compile"])
def test_nodes_that_stay_in_pytorch_are_counted_and_named(made: standin.StandIn, own: Bench, ir: str) -> None:
    made.rest = True
    with own.prepared(of(own, ir)) as prepared:
        told = prepared.fairness()
    assert (told["engines"], told["partitions"], told["fallback_nodes"]) == (1, 2, 2)
    assert told["fallback_ops"] == ["aten.clone.default"]
    assert told["engine"] == {"plan_bytes": len(standin.TorchTensorRTModule.serialized_engine)}


def test_parts_between_engines_are_counted_as_they_alternate() -> None:
    graph = torch.fx.Graph()
    value = graph.placeholder("x")
    for part in ("engine", "relu", "relu", "engine", "engine", "relu"):
        value = graph.call_module("e", (value,)) if part == "engine" else graph.call_function(torch.relu, (value,))
    graph.output(value)
    module = torch.fx.GraphModule(torch.nn.ModuleDict({"e": standin.TorchTensorRTModule(None)}), graph)
    found = modules.census(module)
    assert (found.engines, found.partitions, found.fallbacks) == (3, 5, ("relu", "relu", "relu"))


@pytest.mark.parametrize("ir", ["dynamo", "torch_compile"])
def test_a_model_without_an_engine_is_unsupported_and_not_a_measurement_of_pytorch(
    made: standin.StandIn, own: Bench, ir: str
) -> None:
    made.convert = False
    with pytest.raises(Unsupported, match="left the whole model to PyTorch") as caught:
        own.run(of(own, ir))
    assert caught.value.fix == "min_block_size: 1"


def test_a_refusal_names_the_operators_without_a_converter(made: standin.StandIn, own: Bench) -> None:
    def fail(*_: Any, **__: Any) -> None:
        logger = logging.getLogger("torch_tensorrt.dynamo.partitioning._global_partitioner")
        logger.debug("\nUnsupported or Excluded Nodes:\n- torch.ops.aten.erfc + Operator Count: 2\n- aten.foo + 1\n")
        raise AssertionError("the model is not fully supported")

    made.compile = fail  # type: ignore[method-assign]
    made.install()
    with pytest.raises(Unsupported, match=r"not fully supported; without a converter: torch\.ops\.aten\.erfc, aten\.f"):
        own.run(of(own, "dynamo", options={"require_full_compilation": True}))


def test_a_compiled_program_that_cannot_be_read_is_unsupported(made: standin.StandIn, own: Bench) -> None:
    class Broken:
        graph_signature = ()

        def module(self) -> None:
            raise SyntaxError("closing parenthesis does not match")  # as of torch_tensorrt 2.2

    made.compile = lambda *_, **__: Broken()  # type: ignore[method-assign]
    made.install()
    with pytest.raises(Unsupported, match="cannot compile this model with ir dynamo: closing parenthesis"):
        own.run(of(own, "dynamo"))


@pytest.mark.parametrize(
    ("line", "kind"), [("no implementation for node {conv}", Unsupported), ("Out of memory", OutOfMemory)]
)
def test_a_builder_that_builds_nothing_is_told_with_its_log(
    made: standin.StandIn, own: Bench, line: str, kind: type[Exception]
) -> None:
    def fail(*_: Any, **__: Any) -> None:
        logging.getLogger("torch_tensorrt [TensorRT Conversion Context]").error(line)
        raise AssertionError

    made.compile = fail  # type: ignore[method-assign]
    made.install()
    with pytest.raises(kind, match=line):
        own.run(of(own, "dynamo"))


def test_an_engine_that_fx2trt_does_not_get_is_told_with_tensorrts_log(
    monkeypatch: pytest.MonkeyPatch, own: Bench
) -> None:
    found = old(monkeypatch)
    found.builds = False
    found.log.lines.append(library.Line("ERROR", "could not find any implementation"))
    with pytest.raises(Unsupported, match="could not make an engine: could not find any implementation"):
        own.run(of(own, "fx"))


def test_a_plan_of_fx2trt_that_cannot_be_loaded_is_told_with_tensorrts_log(
    monkeypatch: pytest.MonkeyPatch, own: Bench
) -> None:
    found = old(monkeypatch)
    case = of(own, "fx")
    own.artifacts(case)
    monkeypatch.setattr(standin.TRTModule, "LOST", True)
    found.log.lines.append(library.Line("ERROR", "the plan is of another version"))
    with pytest.raises(Unsupported, match="the plan is of another version"):
        own.run(case)


def test_memory_that_runs_out_is_told_as_such(made: standin.StandIn, own: Bench) -> None:
    made.error = RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB")
    with pytest.raises(OutOfMemory):
        own.run(of(own, "dynamo"))


def test_a_trace_that_holds_for_one_size_is_refused_and_one_that_python_decided_is_told(
    made: standin.StandIn, own: Bench
) -> None:
    rows = own.case(
        "torch_tensorrt",
        "exports_zoo.py:rows",
        {"x": Input(shape=("n", 8))},
        options={"ir": "ts"},
        symbols={"n": 4},
        dynamic={"n": Range(min=2, opt=4, max=8)},
    )
    with pytest.raises(Unsupported, match="the traced program cannot take n = 2, which the model can"):
        own.run(rows)
    early = own.case("torch_tensorrt", "exports_zoo.py:early", {"x": Input(shape=(2, 8))}, options={"ir": "ts"})
    with own.prepared(early) as prepared:
        (entry,) = prepared.fairness()["export_warnings"]
    assert (entry["kind"], entry["place"].split(":")[0]) == ("TracerWarning", "exports_zoo.py")

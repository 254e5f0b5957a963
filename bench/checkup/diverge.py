"""Finds where the network of a case leaves eager: runs it with more and more of its tensors as outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import tensors
from bench.backends import base
from bench.checkup import causes
from bench.checkup.bisection import Search, WrongLayer
from bench.errors import UsageError
from bench.measure import accuracy
from bench.model.abilities import MarksTensors
from bench.model.divergence import GRAPH, MARK, RUN, VALUES, Cause, Check, Divergence, Graph, MarkedRun, Node, On
from bench.model.events import Started
from bench.model.run import Failure
from bench.model.seam import Stage
from bench.model.suite import DEFAULT_THRESHOLDS, Case, Precision, Threshold
from bench.runner import rounds, run
from bench.runner.dispatch import OnEvent
from bench.runner.request import Request
from bench.runner.session import Session
from bench.runner.stages import Ready
from bench.suite import plan
from bench.tensors import Array

MOST = 8
_ALL = 1 << 30
_MODULES = "eager"  # the backend whose packages are all that the oracle needs
_OUTPUTS = "outputs.safetensors"

_FUSION = Cause(
    kind="fusion",
    what="the outputs are right as soon as a tensor within is one: layers are wrong only where the builder fuses them",
    fix="trtbench layers shows what they were fused to",
)


class _Stop(Exception):
    """An artifact that cannot be made ends the search of its case."""

    def __init__(self, failure: Failure) -> None:
        self.failure = failure


class Limits(NamedTuple):
    """Of the model's outputs, and of the tensors within."""

    outputs: Threshold
    tensors: Threshold


def diverge(request: Request, on: On, at_once: int, limit: float | None, on_event: OnEvent) -> Iterator[Divergence]:
    """The divergence of each case of a plan, or its failure.

    ``on`` is what runs the networks: the oracle, on the CPU without the device, or engines. ``at_once`` tensors are
    outputs at a time (0: one for engines, all for the oracle, whose values do not depend on what is an output).
    ``limit`` is the rel L2 that outputs and tensors must keep, in place of the suite's limits.

    Cases of backends whose networks cannot be run with other outputs are left out. UsageError if no case is left, more
    than MOST, or one whose tensors have nothing to be compared with.
    """
    originals = _cases(request)
    cases = list(originals)
    if on == "oracle":
        request = msgspec.structs.replace(request, device="cpu", device_missing="")
        cases = [
            msgspec.structs.replace(case, backend=_MODULES, options={}, toolchain="default", cuda_graph=False)
            for case in originals
        ]
    within = msgspec.structs.replace(request.plan, cases=tuple({case.id: case for case in cases}.values()))
    request = msgspec.structs.replace(request, plan=within)
    labels = {case.label: original.label for case, original in zip(cases, originals, strict=True)}
    with run.new_session(request, rounds.relabel(on_event, labels)) as session:
        session.open()
        examinations = [  # all of them first: a case that is refused is so before anything is made of another
            _Examination(
                session, case, original, on, _limits(request.suite.accuracy.get(case.precision), original, limit)
            )
            for case, original in zip(cases, originals, strict=True)
        ]
        for index, original in enumerate(originals):
            examination = examinations.pop(0)  # it holds the tensors of its graph: of no other case meanwhile
            on_event(Started(label=original.label, done=index, total=len(cases)))
            try:
                yield examination.divergence(at_once or (_ALL if on == "oracle" else 1))
            except _Stop as stop:
                yield Divergence(case=original, networks=examination.networks, failure=stop.failure)


class _Examination:
    """One case: its reference, the values that its tensors should have, and runs of its network."""

    def __init__(self, session: Session, case: Case, original: Case, on: On, limits: Limits) -> None:
        self._session = session
        self._case = case
        self._original = original
        self._on = on
        self._limits = limits
        backend = base.load(original.backend)
        assert isinstance(backend, MarksTensors)
        self._backend = backend
        self._stages: list[Stage] = [base.load(case.backend).stages(case)[0], backend.values(original)]
        self._mended = False  # whether all outputs were right in a network that has others
        self.networks = 0

    def divergence(self, at_once: int) -> Divergence:
        """Compare the model's outputs, and if one is wrong, search for where it begins to be."""
        folders = self._artifacts(self._stages)
        self._reference = tensors.read(folders["reference"] / _OUTPUTS)
        self._graph = msgspec.json.decode((folders["values"] / GRAPH).read_bytes(), type=Graph)
        self._nodes = {node.name: node for node in self._graph.nodes}
        self._values = tensors.read(folders["values"] / VALUES)
        run_, arrays = self._network(())
        outputs = tuple(self._output(name, arrays) for name in self._reference)
        result = Divergence(
            case=self._original, runtime=run_.runtime, tensors=len(self._nodes), networks=1, outputs=outputs
        )
        wrong = [self._graph.outputs[each.node.name] for each in outputs
                 if not each.ok and each.node.name in self._graph.outputs]  # fmt: skip
        if all(each.ok for each in outputs):
            return result
        places = {node.name: place for place, node in enumerate(self._graph.nodes)}
        if any("slice_rel_l2" in each.why for each in outputs):  # else a tensor would have to be wrong as a whole
            within = msgspec.structs.replace(self._limits.tensors, slice_rel_l2=self._limits.outputs.slice_rel_l2)
            self._limits = Limits(self._limits.outputs, within)
        search = Search(self._graph, self._checks, at_once)
        finding: WrongLayer | None = None
        for name in sorted(wrong, key=places.__getitem__):
            finding = search.first(name)
            if finding is not None:
                break
        result = msgspec.structs.replace(result, networks=self.networks)
        if finding is None:
            outside = [each for each in outputs if not each.ok]
            if self._mended:
                return msgspec.structs.replace(result, cause=_FUSION)
            return msgspec.structs.replace(result, cause=_of_the_graph(outside, wrong, self._case.precision))
        return msgspec.structs.replace(
            result,
            first=finding.check,
            inputs=finding.inputs,
            cause=causes.cause(finding, self._graph, self._case.precision),
        )

    def _checks(self, names: Sequence[str]) -> dict[str, Check]:
        """Those of a network in which the tensors ``names`` are outputs."""
        run_, arrays = self._network(names)
        self._mended |= all(self._output(name, arrays).ok for name in self._reference)
        return {
            name: _check(
                self._nodes[name], arrays[MARK + name], self._values[name], self._limits.tensors, self._case,
                run_.types[name],
            )
            for name in names
            if name in run_.types
        }  # fmt: skip

    def _network(self, marks: Sequence[str]) -> tuple[MarkedRun, Mapping[str, Array]]:
        stage = self._backend.marked_stage(self._original, tuple(marks), self._on)
        folder = self._artifacts([*self._stages, stage])[stage.name]
        self.networks += 1
        run_ = msgspec.json.decode((folder / RUN).read_bytes(), type=MarkedRun)
        return run_, tensors.read(folder / VALUES)

    def _artifacts(self, stages: Sequence[Stage]) -> dict[str, Path]:
        """The folders of artifacts. Raises _Stop for one that cannot be made."""
        ready = self._session.artifacts(self._case, stages)
        if isinstance(ready, Failure):
            raise _Stop(ready)
        assert isinstance(ready, Ready)  # what is made alone is not postponed
        return {name: Path(folder) for name, folder in ready.folders.items()}

    def _output(self, name: str, arrays: Mapping[str, Array]) -> Check:
        """An output of the model against eager."""
        node = Node(name=name, op="output", inputs=(self._graph.outputs[name],) if name in self._graph.outputs else ())
        dtype = self._nodes[node.inputs[0]].dtype if node.inputs else str(arrays[name].dtype)
        return _check(node, arrays[name], self._reference[name], self._limits.outputs, self._case, dtype)


def _check(node: Node, values: Array, expected: Array, limits: Threshold, case: Case, dtype: str) -> Check:
    judged = accuracy.compare({node.name: values}, {node.name: expected}, limits, case.precision)
    error = judged.outputs[0]
    return Check(
        node=node,
        ok=judged.ok,
        reference=causes.side(expected),
        network=causes.side(values),
        dtype=dtype,
        rel_l2=error.rel_l2,
        cosine=error.cosine,
        why=judged.why.replace(f"output {node.name!r}: ", ""),
    )


def _of_the_graph(outputs: Sequence[Check], wrong: Sequence[str], precision: Precision) -> Cause:
    """What makes ``outputs`` wrong where every tensor agrees with the graph that was lowered."""
    if wrong and all(each.why.startswith("max_abs") for each in outputs):
        what = f"no tensor leaves the limits of cosine and rel L2; of {outputs[0].node.name}, {outputs[0].why}"
        return Cause(kind="rounding", what=what)
    if not wrong:
        what = "only outputs of integers are wrong: they follow from values that keep the limits"
        return Cause(kind="rounding", what=what)
    what = "the network computes what its lowered graph does, and eager at float32 computes something else"
    if precision in ("fp32", "tf32"):
        return Cause(kind="lowering", what=f"{what}: a pass of the lowering, whose folded weights are rounded anew too")
    what = f"{what}: the weights rounded to {precision}, or a pass of the lowering"
    return Cause(kind="lowering", what=what, fix="the same case at fp32 tells which: its weights are not rounded")


def _limits(of_suite: Threshold | None, case: Case, limit: float | None) -> Limits:
    """Those of the case. A tensor within keeps the cosine and rel L2 of an output: other limits are in the output's own
    scale.
    """
    if limit is not None:
        both = Threshold(rel_l2=limit)
        return Limits(both, both)
    usual = DEFAULT_THRESHOLDS[case.precision]
    outputs = of_suite or usual
    within = Threshold(cosine=outputs.cosine, rel_l2=outputs.rel_l2, sqnr=outputs.sqnr)
    if within == Threshold():
        within = Threshold(cosine=usual.cosine, rel_l2=usual.rel_l2)
    return Limits(outputs, within)


def _cases(request: Request) -> Sequence[Case]:
    """Those of the plan whose networks can be looked into. UsageError if there are none, or too many."""
    plan.check_some(request.plan, fix="trtbench list says why of each")
    cases = [case for case in request.plan.cases if isinstance(base.load(case.backend), MarksTensors)]
    if not cases:
        able = [name for name in base.names() if isinstance(base.load(name), MarksTensors)]
        others = ", ".join(dict.fromkeys(case.backend for case in request.plan.cases))
        what = f"the tensors within a network of {others} cannot be looked at"
        raise UsageError(what, fix=f"--backend {able[0]}")
    if len(cases) > MOST:
        what = f"{len(cases)} cases are selected; at most {MOST} are examined"
        raise UsageError(what, fix=f'one of them: --select "id={cases[0].id}"  (trtbench list shows every id)')
    return cases

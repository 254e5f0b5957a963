"""Finds where the network of a case leaves eager: runs it with more and more of its tensors as outputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import msgspec

from bench import tensors
from bench.backends import base
from bench.checkup import causes, checks
from bench.checkup.bisection import Search, WrongLayer
from bench.errors import UsageError
from bench.model.abilities import MarksTensors, WritesPrograms
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
        self._nan_is_equal = False  # whether NaN in the same places of both is no error
        self._nan_constants: tuple[str, ...] = ()
        self.networks = 0

    def divergence(self, at_once: int) -> Divergence:
        """Compare the model's outputs, and if one is wrong, search for where it begins to be."""
        folders = self._artifacts(self._stages)
        self._reference = tensors.read(folders["reference"] / _OUTPUTS)
        self._graph = msgspec.json.decode((folders["values"] / GRAPH).read_bytes(), type=Graph)
        self._nodes = {node.name: node for node in self._graph.nodes}
        self._values = tensors.read(folders["values"] / VALUES)
        run_, arrays = self._network(())
        if missing := [name for name in self._reference if name not in arrays]:
            raise _Stop(self._without_outputs(missing, arrays))
        outputs = tuple(self._output(name, arrays) for name in self._reference)
        result = Divergence(
            case=self._original, runtime=run_.runtime, tensors=len(self._nodes), networks=1, outputs=outputs
        )
        if all(each.ok for each in outputs):
            return result
        self._nan_is_equal = True
        broken = [each for name in self._reference if not (each := self._output(name, arrays)).ok]
        if not broken:  # all that is wrong is NaN in eager too: the search is for where it begins there
            self._nan_is_equal = False
            broken = [each for each in outputs if not each.ok]
        wrong = [self._graph.outputs[each.node.name] for each in broken if each.node.name in self._graph.outputs]
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
            return msgspec.structs.replace(result, cause=self._cause_outside(broken, wrong, arrays))
        program = self._original.options.get("program") or "the program"
        compare = f"compare the layer's lines in {program} with the module"
        if not isinstance(self._backend, WritesPrograms):
            compare = "compare that node of the ONNX file with the module; another exporter or opset may write another"
        return msgspec.structs.replace(
            result,
            first=finding.check,
            inputs=finding.inputs,
            cause=causes.cause(finding, self._graph, self._case.precision, self._nan_constants, compare),
        )

    def _without_outputs(self, missing: Sequence[str], arrays: Mapping[str, Array]) -> Failure:
        """Of a network that lacks outputs of the model, as the OUTPUTS of an edited program do."""
        names = ", ".join(map(repr, missing))
        what = f"the network has no output {names} of the model's; it has {', '.join(arrays) or 'none'}"
        program = self._original.options.get("program")
        fix = f"a line for each in OUTPUTS of {program}" if program else "an ONNX file of the same model"
        return Failure(kind="SuiteError", stage="run", message=what, hint=fix, where=self._original.source)

    def _cause_outside(self, broken: Sequence[Check], wrong: Sequence[str], arrays: Mapping[str, Array]) -> Cause:
        """What makes the outputs ``broken`` wrong where no tensor of the graph is; ``arrays`` are those of the network
        without other outputs.
        """
        if self._mended:
            return _FUSION
        for each in broken:
            if each.reference.nan and not each.apart:
                return causes.of_reference(each)
            if (cause := self._of_output(each.node.name, arrays[each.node.name])) is not None:
                return cause
        return _of_the_graph(broken, wrong, self._case.precision)

    def _of_output(self, name: str, values: Array) -> Cause | None:
        """The cause where the network returns another tensor as the output ``name`` than it should."""
        limits, precision = self._limits.tensors, self._case.precision
        own = self._graph.outputs.get(name)
        if own is not None and checks.counterpart(name, values, {own: self._values[own]}, limits, precision):
            return None
        others = {other: array for other, array in self._reference.items() if other != name}
        within = {node.name: self._values[node.name] for node in self._graph.nodes if node.name != own}
        if (other := checks.counterpart(name, values, others, limits, precision)) is not None:
            what = f"output {name} has the values that output {other} should have"
        elif own is None:
            return None
        elif (other := checks.counterpart(name, values, within, limits, precision)) is not None:
            what = f"output {name} has the values of the tensor {other}, and should have those of {own}"
        else:
            what = f"{own} is right, and output {name}, which should have its values, has others"
        if not isinstance(self._backend, WritesPrograms):
            return Cause(kind="outputs", what=what, fix="compare the outputs of the ONNX file with the model's")
        program = self._original.options.get("program") or "the program"
        return Cause(kind="outputs", what=what, fix=f"the lines `p.output(...)` at the end of {program}")

    def _checks(self, names: Sequence[str]) -> dict[str, Check]:
        """Those of a network in which the tensors ``names`` are outputs."""
        run_, arrays = self._network(names)
        self._nan_constants = run_.nan_constants
        self._mended |= all(self._output(name, arrays).ok for name in self._reference)
        return {
            name: checks.check(
                self._nodes[name], arrays[MARK + name], self._values[name], self._limits.tensors, self._case.precision,
                run_.types[name], nan_is_equal=self._nan_is_equal,
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
        return checks.check(
            node, arrays[name], self._reference[name], self._limits.outputs, self._case.precision, dtype,
            nan_is_equal=self._nan_is_equal,
        )  # fmt: skip


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

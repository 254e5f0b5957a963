"""Findings on the fairness of a run: a sentence each, and what to try; text, Markdown, CSV and JSON."""

from __future__ import annotations

import csv as csv_format
import io
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from bench.analysis.conditions import Kind
from bench.analysis.effects import Effect
from bench.analysis.lint import Finding, Side, has_effect, lint
from bench.analysis.pool import Pool
from bench.model.run import Run
from bench.report import cells, escape, table
from bench.report.document import full
from bench.report.figures import enumeration

if TYPE_CHECKING:
    from rich.text import Text

JSON_SCHEMA = 1
# Names that a sentence lists, and pairs of cases that the text lists below it.
_NAMES, _PAIRS, _REASONS = 4, 8, 3
# What is told by a warning of the rows, too, and so not again at the end of the tables.
_WARNED: tuple[Kind, ...] = ("graphs_skipped", "graph_breaks", "recompiles")
NONE = "no finding: as far as the records tell, compared cases ran under equal conditions"

# What differs, by the key that tells it.
_SUBJECTS = {
    "tf32": "TF32",
    "memory_format": "memory format of the model and its inputs",
    "graph_capture": "CUDA graphs",
    "graph_inputs": "inputs of CUDA graphs",
    "input_dtypes": "types of the resident inputs",
    "output_dtypes": "types of the outputs",
    "autocast": "autocast",
    "inference_mode": "inference mode",
    "onednn_allowed": "oneDNN",
    "threads": "threads",
    "flags": "variables for threads",
    "cudnn_benchmark": "cuDNN's algorithms chosen by timing",
    "autotune_cache": "Inductor's choice of kernels",
    "timing_cache": "TensorRT's choice of tactics",
    "runtime_cache": "TensorRT-RTX's kernels",
    "optimization_level": "TensorRT's optimization level",
    "graph_optimization": "ONNX Runtime's graph optimization",
}
# What to try, by the key.
_FIXES = {
    "tf32": "precision: fp32 or precision: tf32 sets it for every backend; look for what sets allow_tf32 in the model",
    "memory_format": "memory_format: channels_last, or contiguous, for each of PyTorch's backends",
    "graph_capture": "cuda_graph: on (of inductor also mode: reduce-overhead) for each backend, or for none",
    "graph_inputs": "mode: default (or max-autotune-no-cudagraphs) and cuda_graph: on, in place of one that captures",
    "input_dtypes": "a model or file whose inputs have the type of the precision",
    "output_dtypes": "a model or file whose outputs have the type of the precision",
    "autocast": "autocast: false, or true, for each of PyTorch's backends",
    "inference_mode": "look for what in the model refuses inference mode",
    "onednn_allowed": "the same builds and variables of PyTorch for all toolchains",
    "threads": "threads: N of onnxruntime, or OMP_NUM_THREADS for all",
    "flags": "the same variables in `env` of each toolchain",
    "cudnn_benchmark": "cudnn_search: heuristic of onnxruntime, or torch.backends.cudnn.benchmark in each model's code",
    "autotune_cache": "--cold for all, or once more with the caches that this run has filled",
    "timing_cache": "--cold for all, or once more with the cache that this run has filled",
    "runtime_cache": "--cold for all, or once more with the kernels that this run has compiled",
    "optimization_level": "optimization_level: N alike for each backend that builds engines",
    "graph_optimization": "graph_optimization: all",
    "graphs_skipped": "what the reasons name; or mode: default and cuda_graph: on",
    "graph_breaks": "fullgraph: true shows the first one with its line",
    "recompiles": "dynamic: false, or inputs of one shape; TORCH_LOGS=recompiles shows each",
    "frames_skipped": "fullgraph: true shows what is not compiled",
    "fallback_nodes": "another opset or version that has these operators; of torch_tensorrt also min_block_size: 1",
    "graph_program": "trtbench profile both and explain them; look for what in the model asks whether it is captured, "
    "as the masks of transformers do",
    "engine": "strongly_typed: true (TensorRT 10.0 or later), or a network whose layers have the precision",
}


def sentence(finding: Finding) -> str:
    """What is unequal, who has what, and what it does to times where that was measured."""
    if len(finding.sides) > 1:
        text = f"{_SUBJECTS.get(finding.key, finding.key)}: {', '.join(map(_side, finding.sides))}"
    else:
        text = _HAPPENED[finding.kind](finding.figures, _who(finding.sides[0]))
    return escape.line("; ".join(filter(None, (text, *_effects(finding.effects)))))


def fix(finding: Finding) -> str:
    """What to try, a key of the suite or an option of the command where there is one."""
    return _FIXES.get(finding.key, finding.option)


def short(findings: Sequence[Finding], run: str, width: int) -> list[str]:
    """The lines below the tables of ``run`` (its argument for a command): a sentence for each finding but those whose
    warnings the rows have, and those that were measured to do nothing; none without one.
    """
    shown = [each for each in findings if each.kind not in _WARNED and has_effect(each)]
    lines: list[str] = []
    for finding in shown:
        lines += table.wrap(sentence(finding), width, " " * 4, "  - ")
    if lines:
        lines += table.wrap(f"try: trtbench show {run} --fairness", width, " " * 9, " " * 4)
    return lines


def render(run: Run, findings: Sequence[Finding], *, width: int = 80, color: bool = False) -> str:
    """All findings in lines of at most ``width`` characters: the sentence, what to try, the pairs of cases that its
    effect was measured with.
    """
    labels = _labels(run)
    lines: list[Text | str] = [_text(f"{run.header.run}: fairness", "bold"), ""]
    for number, finding in enumerate(findings, 1):
        lines += table.wrap(f"{finding.kind}: {sentence(finding)}", width, " " * 4, f"{number:>3} ")
        lines += table.wrap(f"cases: {_cases(finding, labels)}", width, " " * 9, " " * 4)
        if finding.boundaries:
            lines += table.wrap(f"touches: {', '.join(finding.boundaries)}", width, " " * 9, " " * 4)
        if hint := fix(finding):
            lines += table.wrap(f"try: {hint}", width, " " * 9, " " * 4)
        for effect in finding.effects[:_PAIRS]:
            lines += [_text(line, "dim") for line in table.wrap(_pair(effect, labels), width, " " * 8, " " * 6)]
    if not findings:
        lines += table.wrap(NONE, width)
    return table.show(lines, color)


def markdown(run: Run, findings: Sequence[Finding]) -> str:
    """The same as a list."""
    labels = _labels(run)
    lines = [f"`{escape.name(run.header.run)}`: fairness", ""]
    for finding in findings:
        lines.append(f"- **{finding.kind}**: {escape.markdown(sentence(finding))}")
        lines.append(f"  - cases: {escape.markdown(_cases(finding, labels))}")
        lines += [f"  - try: {escape.markdown(fix(finding))}"] if fix(finding) else []
        lines += [f"  - {escape.markdown(_pair(effect, labels))}" for effect in finding.effects[:_PAIRS]]
    return escape.lines("\n".join(lines if findings else [*lines, f"{NONE[0].upper()}{NONE[1:]}."]), sys.maxsize) + "\n"


def csv(several: Sequence[tuple[Run, Sequence[Finding]]]) -> str:
    """A line for each finding of all runs under a header line; names and ids of cases are separated by blanks."""
    names = ["run", "kind", "key", "option", "sentence", "fix", "cases", "boundaries"]
    buffer = io.StringIO()
    writer = csv_format.DictWriter(buffer, names, lineterminator="\n")
    writer.writeheader()
    for run, findings in several:
        for each in findings:
            values = {
                "run": run.header.run,
                "kind": each.kind,
                "key": each.key,
                "option": each.option,
                "sentence": sentence(each),
                "fix": fix(each),
                "cases": " ".join(each.cases),
                "boundaries": " ".join(each.boundaries),
            }
            writer.writerow({name: escape.cell(value) for name, value in values.items()})
    return buffer.getvalue()


def json(several: Sequence[tuple[Run, Sequence[Finding]]]) -> str:
    """One object: ``schema`` and ``runs``, each with ``run`` and ``findings``: all fields of ``bench.analysis.lint``'s
    Finding, its ``sentence`` and ``fix``.
    """
    runs = [
        {
            "run": run.header.run,
            "findings": [{**full(each), "sentence": sentence(each), "fix": fix(each)} for each in findings],
        }
        for run, findings in several
    ]
    document = {"schema": JSON_SCHEMA, "runs": runs}
    return escape.in_json(msgspec.json.format(msgspec.json.encode(document), indent=2).decode()) + "\n"


def of_run(run: Run, pools: Sequence[Pool] | None = None) -> list[str]:
    """A sentence for each finding of a run, for a page; ``pools`` as for lint()."""
    return [f"fairness: {sentence(each)}; try: {fix(each)}" for each in lint(run, pools=pools) if has_effect(each)]


# --------------------------------------------------------------------------------------------------------- sentences


def _side(side: Side) -> str:
    return f"{' and '.join(side.values)} ({_who(side)})"


def _who(side: Side) -> str:
    names = [escape.name(name) for name in side.names]
    more = f" and {len(names) - _NAMES} more" if len(names) > _NAMES else ""
    return ", ".join(names[:_NAMES]) + more


def _effects(effects: Sequence[Effect]) -> list[str]:
    """``time of not captured / captured: 1.03 to 1.25 at gpu, 1.14 to 4.89 at latency (8 pairs measured)``, and whether
    one process was all that a side had.
    """
    if not effects:
        return []
    values = {(effect.a_value, effect.b_value) for effect in effects}
    parts = []
    for boundary in dict.fromkeys(effect.boundary for effect in effects):
        ratios = [effect.ratio for effect in effects if effect.boundary == boundary]
        low, high = f"{min(ratios):.2f}", f"{max(ratios):.2f}"
        parts.append(f"{low if low == high else f'{low} to {high}'} at {boundary}")
    pairs = len({(effect.a, effect.b) for effect in effects})
    of = f"{_value(effects[0].a_value)} / {_value(effects[0].b_value)}" if len(values) == 1 else "one / the other"
    alone = ", one process on a side" if any(effect.low is None for effect in effects) else ""
    return [f"time of {of}: {', '.join(parts)} ({cells.count(pairs, 'pair')} measured{alone})"]


def _value(text: str) -> str:
    return escape.name(text)


def _labels(run: Run) -> dict[str, str]:
    return {case.id: escape.name(case.label) for case in run.header.cases}


def _cases(finding: Finding, labels: Mapping[str, str]) -> str:
    """``4 + 8``, with the labels of the first side, which is the smaller one."""
    first, *others = finding.sides
    more = f" and {len(first.cases) - _NAMES} more" if len(first.cases) > _NAMES else ""
    text = ", ".join(labels.get(case, case) for case in first.cases[:_NAMES]) + more
    return text + (f"; against {cells.count(sum(len(side.cases) for side in others), 'case')}" if others else "")


def _pair(effect: Effect, labels: Mapping[str, str]) -> str:
    """``a / b, gpu: 1.250 [1.240, 1.260]``, or ``1.250 ±unknown`` where a side has one process."""
    a, b = labels.get(effect.a, effect.a), labels.get(effect.b, effect.b)
    who = f"{a} / {b}" if effect.a != effect.b else f"{a}, {effect.a_value} / {effect.b_value}"
    unknown = effect.low is None or effect.high is None
    interval = cells.UNKNOWN if unknown else f"[{effect.low:.3f}, {effect.high:.3f}]"
    return f"{who}, {effect.boundary}: {effect.ratio:.3f} {interval}"


def _reasons(figures: Mapping[str, Any], name: str = "reasons") -> str:
    texts = [escape.line(str(text), 200) for text in figures.get(name, ())]
    return f": {', '.join(texts[:_REASONS])}" if texts else ""


def _fallback(figures: Mapping[str, Any], who: str) -> str:
    parts = f", in {figures['partitions']} parts" if figures.get("partitions", 0) > 1 else ""
    nodes = cells.count(int(figures["nodes"]), "node")
    return f"{nodes} left to another runtime by {who}{parts}{_reasons(figures, 'operators')}"


def _counts(figures: Mapping[str, Any]) -> str:
    """``3 of 83 and 3 of 66``: of each engine in turn where they differ."""
    counts = [str(count) for count in figures["counts"]]
    more = [cells.count(len(counts) - _NAMES, "other count")] if len(counts) > _NAMES else []
    return enumeration([*counts[:_NAMES], *more], "and")


_HAPPENED: dict[Kind, Callable[[Mapping[str, Any], str], str]] = {
    "graphs_skipped": lambda f, who: (
        f"Inductor captured no CUDA graph of {cells.count(f['skipped'], 'graph')} of {who}" + _reasons(f)
    ),
    "graph_breaks": lambda f, who: f"{cells.count(f['breaks'], 'graph break')} in {who}" + _reasons(f),
    "recompiles": lambda f, who: f"recompiled {cells.count(f['recompiles'], 'time')}: {who}" + _reasons(f),
    "uncompiled": lambda f, who: f"{cells.count(f['functions'], 'function')} left to Python in {who}",
    "fallback": _fallback,
    "higher_precision": lambda f, who: (
        f"layers that compute in {' and '.join(f['precisions'])}, wider than the precision: {_counts(f)} in {who}"
    ),
    "graph_program": lambda f, who: (
        f"a CUDA graph that is another program than the one without it: {who}, up to {f['ratio']:.2f} times as long on "
        "the GPU"
    ),
}


def _text(text: str, style: str) -> Text:
    from rich.text import Text

    return Text(text, style=style)

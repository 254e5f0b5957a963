"""Warnings about what was measured: how a backend compiled it, its state and outputs, its reference."""

from __future__ import annotations

from collections.abc import Sequence

from bench.analysis.flaws import hides_all
from bench.report.advice import Advice, Figures, Sentence
from bench.report.figures import Number, because, enumeration, format_span, number, percent, times

_MOST_OUTPUTS = 3
# What a normalisation layer counts while it is in training.
_NORM_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")


def _graphs_by_backend(f: Figures) -> Advice:
    text = "the backend captured CUDA graphs itself, though the case says cuda_graph: off"
    return Advice(text, "compare it with rows of cuda_graph: on")


def _graphs_skipped(f: Figures) -> Advice:
    text = f"the backend was to capture CUDA graphs and declined {times(f['skipped'])}{because(f['reasons'])}"
    return Advice(text, "change what the reason names, or take a mode without graphs with cuda_graph: on")


def _graph_breaks(f: Figures) -> Advice:
    text = f"the compiler broke the model's graph {times(f['breaks'])}, and Python runs in between"
    hint = "fullgraph: true ends at the first break and shows its line; rewrite what it names"
    return Advice(text + because(f["reasons"]), hint)


def _recompiled(f: Figures) -> Advice:
    text = f"the model was compiled again {times(f['recompiles'])}"
    if f.get("gave_up"):
        text += " until the compiler gave up: a part of it runs uncompiled"
    hint = "dynamic: true for sizes that vary; a number that the model counts up is better a tensor"
    return Advice(text + because(f["reasons"]), hint)


def _state_changes(f: Figures) -> Advice:
    what = _with_more(f["names"], f["more"])
    text = f"each call changes what the program holds ({what}), so no call is like the one before"
    if f["by"] == "reference":
        text = f"each call of the model changes its state ({what}), of which a program made from it may have but one"
    hint = "state as an input and an output, or a factory that does without it"
    if any(name.partition(":")[0].endswith(_NORM_STATISTICS) for name in f["names"]):
        hint = "keep layers out of training: eval() was called, so `train` or `forward` of the model undoes it"
    return Advice(f"{text}: neither ratio nor rank", hint)


def _outputs_change(f: Figures) -> Advice:
    shares = [f"{name!r} by {format_span(part, _share)}" for name, part in f["outputs"].items()]
    whose = "two calls" if f["by"] == "program" else "two calls of the model that made the reference"
    text = f"{whose} on equal inputs return other values ({_with_more(shares, f['more'])})"
    hint = "a factory without dropout or noise in forward, without state, and whose kernels wait for their inputs"
    return Advice(f"{text}: neither ratio nor rank", hint)


def _share(fraction: float) -> str:
    """A part of one: ``73%``, or two digits of what is less than a tenth."""
    return f"{fraction:.0%}" if fraction >= 0.0995 else f"{100 * fraction:.2g}%"


def _with_more(names: Sequence[str], more: Number) -> str:
    return ", ".join(names) + (f" and {number(more)} more" if more else "")


def _logged_errors(f: Figures) -> Advice:
    text = f"the runtime logged errors though its calls succeeded{because(reversed(f['errors']))}"
    return Advice(text, "read them: the engine may not do what was requested")


def _not_dense(f: Figures) -> Advice:
    if not f["in_groups"]:
        text = "deconvolutions: dense changed nothing: the model has no grouped transposed convolutions"
    else:
        of = f"{number(f['grouped'])} of {number(f['in_groups'])} grouped transposed convolutions"
        text = f"deconvolutions: dense left {of} unchanged{because(f['reasons'])}"
    if f["grouped"] == f["in_groups"]:
        return Advice(text, "leave the option out: the network is the same without it")
    return Advice(text, "compare the row as one of a network that is dense in part")


def _partly_quantized(f: Figures) -> Advice:
    of = f"{number(f['quantized'])} of {number(f['layers'])} layers with weights"
    text = f"{of} are quantized; left in floating point{because(f['reasons'])}"
    return Advice(text, "compare it as a row that is quantized in part; docs/quantization.md lists what is covered")


def _grouped_deconvolutions(f: Figures) -> Advice:
    layers = "1 grouped transposed convolution" if f["layers"] == 1 else "{} grouped transposed convolutions"
    text = (
        f"the engine has {layers.format(number(f['layers']))} with {number(f['groups'])} groups in all, and TensorRT 8 "
        "computes one group after the other"
    )
    if f["by_hand"]:
        return Advice(text, f"a single group in {f['by_hand']}, with zeros in the kernel between those of the groups")
    return Advice(text, "deconvolutions: dense, for a single group with zeros in the kernel")


def _said(f: Figures) -> str:
    """The first text of a tracer's or exporter's warnings, and where."""
    text = str(f["text"])
    sentence, stop, _ = text.partition(". ")
    others = f"; and at {enumeration(list(f['others']), 'and')}" if f["others"] else ""
    return f"warned {times(f['warnings'])}: {sentence if stop else text.rstrip('.')} ({f['place']}{others})"


def _tracer_warning(f: Figures) -> Advice:
    return Advice(
        f"the tracer {_said(f)}",
        "what Python decided there is fixed in the program, whatever the inputs are: let tensor operators decide "
        "(torch.where, torch.cond); or a backend that does not trace",
    )


def _exporter_warning(f: Figures) -> Advice:
    return Advice(f"the exporter {_said(f)}", "look at whether the file does what the model does; another exporter")


def _judge(f: Figures, nothing: str, result: str, case: str = "the case") -> tuple[str, str]:
    """What is known of outputs of which the reference says ``nothing``, by whether the model has a metric, with the
    ``result`` for the ``case``; and what else could judge them, for the advice.
    """
    if "metric_numbers" in f:  # 0: else it says something of the outputs
        what = f"{nothing}, and {f['metric']} returned no number, so the case {result}"
        return what, ", or a number that the `metric` returns for such outputs"
    if "metric" in f:
        return f"only {f['metric']} judges the outputs", ""
    return f"{nothing}, so {case} {result}", ", or a `metric` of the model"


def _blind_reference(f: Figures) -> Advice:
    constant = {n: value if isinstance(value, str) else number(value, ".6g") for n, value in f["constant"].items()}
    reasons = [f"output {name!r} is {value} everywhere" for name, value in constant.items()]
    reasons += [f"output {name!r} is the same for all {number(f['samples'])} samples" for name in f["repeated"]]
    more = f"; and {len(reasons) - _MOST_OUTPUTS} more" if len(reasons) > _MOST_OUTPUTS else ""
    what, judge = "the accuracy says little", ""
    if hides_all(f):
        what, judge = _judge(f, "the accuracy says nothing", "does not rank")
    return Advice(
        f"{what}: in the reference {'; '.join(reasons[:_MOST_OUTPUTS])}{more}",
        f"initialise the last layer in the model's factory, or load a checkpoint{judge}",
    )


def _not_as_quantized(f: Figures) -> Advice:
    seen = []
    for name, each in f["outputs"].items():
        others = f"{number(each['fp32_cosine'], '.6g')} with fp32"
        if "rounding_cosine" in each:
            others += f"; that model with float16 between its layers has {number(each['rounding_cosine'], '.6g')}"
        seen.append(f"{number(each['cosine'], '.6g')} for output {name!r} ({others})")
    seen += [f"undefined for output {name!r}" for name in f["undefined"]]
    text = "the runtime computes other outputs than the quantized model in PyTorch: their cosine is"
    return Advice(
        f"{text} {_with_more(seen, f['more'])}, where at least {number(f['least'], 'g')} is expected",
        "trtbench layers shows in which precision the layers of an engine run; onnxruntime with graph_optimization: "
        "disabled runs the file as it is",
    )


def _no_quantized_reference(f: Figures) -> Advice:
    place = f" in {f['in']}" if f["in"] else ""
    text = "the outputs were not compared with those of the quantized model in PyTorch, which could not be computed"
    fail = "a limit `quantized_cosine` of int8 in the suite's `accuracy` makes it a failed row, which has the log"
    return Advice(f"{text}: {f['failure']}{place}: {f['message']}", "; ".join(filter(None, [f["hint"], fail])))


def _amplifies_rounding(f: Figures) -> Advice:
    seen = [
        f"{number(each['rounding_cosine'], '.6g')} for output {name!r} (the runtime has "
        f"{number(each['cosine'], '.6g')}, and {number(each['fp32_cosine'], '.6g')} with fp32)"
        for name, each in f["outputs"].items()
    ]
    return Advice(
        "the network amplifies rounding: with float16 between its layers the quantized model in PyTorch has a cosine "
        f"with itself of {_with_more(seen, f['more'])}, so less than {number(f['least'], 'g')} here is no sign that "
        "the runtime computes something else",
        "a checkpoint in place of random weights; a `metric` of the model says what its outputs are worth",
    )


def _metric_not_rehearsed(f: Figures) -> Advice:
    outputs: Sequence[str] = f["outputs"]
    names = ", ".join(repr(name) for name in outputs[:_MOST_OUTPUTS]) + (", ..." if outputs[_MOST_OUTPUTS:] else "")
    text = f"{f['metric']} was not computed: {f['error']}. It was given simulated outputs ({names}), not the model's"
    return Advice(text, "check the function, unless it only misses the model's output names or shapes")


def _empty_output(f: Figures) -> Advice:
    names: Sequence[str] = f["empty"]
    shown = ", ".join(repr(name) for name in names[:_MOST_OUTPUTS])
    more = f" and {len(names) - _MOST_OUTPUTS} more" if len(names) > _MOST_OUTPUTS else ""
    what, judge = "nothing of it could be compared", ""
    if len(names) == f["outputs"]:
        what, judge = _judge(f, "the case has only empty outputs", "does not pass", "it")
    return Advice(
        f"{what}: the reference has no element in {'output' if len(names) == 1 else 'outputs'} {shown}{more}",
        f"inputs of which the model makes some (`inputs: {{NAME: {{file: FILE}}}}`), or a checkpoint{judge}",
    )


def _faster_than_light(f: Figures) -> Advice:
    return Advice(
        f"{f['boundary']} is at {percent(f['fraction'], '.0%')} of the ceiling for {f['precision']}: that was read "
        "too low, or the case does less arithmetic than is counted, or does it in another precision",
        "a new run, which measures the ceilings again; if it says so too, look at what the case computes",
    )


SENTENCES: dict[str, Sentence] = {
    "AmplifiesRounding": _amplifies_rounding,
    "BlindReference": _blind_reference,
    "EmptyOutput": _empty_output,
    "ExporterWarning": _exporter_warning,
    "FasterThanLight": _faster_than_light,
    "GraphBreaks": _graph_breaks,
    "GraphsByBackend": _graphs_by_backend,
    "GraphsSkipped": _graphs_skipped,
    "GroupedDeconvolutions": _grouped_deconvolutions,
    "LoggedErrors": _logged_errors,
    "MetricNotRehearsed": _metric_not_rehearsed,
    "NoQuantizedReference": _no_quantized_reference,
    "NotAsQuantized": _not_as_quantized,
    "NotDense": _not_dense,
    "OutputsChange": _outputs_change,
    "PartlyQuantized": _partly_quantized,
    "Recompiled": _recompiled,
    "StateChanges": _state_changes,
    "TracerWarning": _tracer_warning,
}

"""The network program of a case as an artifact: its stages, and the lowering that makes it."""

from __future__ import annotations

import contextlib
import hashlib
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from bench.errors import Unavailable, Unsupported, UsageError
from bench.lowering.quantize import artifact as quantization
from bench.lowering.quantize import insert
from bench.model.factory import program_of
from bench.model.seam import Context, Stage
from bench.model.sensitivity import Question
from bench.model.suite import Case
from bench.runtimes import deconvolutions, shapes, terms
from bench.runtimes.quantization import OBSERVER_OF_FP8, quantization_options, settings, without_quantization
from bench.runtimes.torch.exports import ExportWarning

if TYPE_CHECKING:
    import torch

    from bench.lowering import codegen

STAGE, MARKED = "program", "marked"
PLACEMENT_STAGE, ACCURACY_STAGE = "placement", "accuracy"
SOURCE, WEIGHTS, MANIFEST = "program.py", "weights.safetensors", "manifest.json"
QUANTIZED = ("int8", "fp8")
_BROKEN = "the model by itself does not run with these inputs: correct its `inputs` in the suite, or the model"
_FIRST_TORCH = (2, 6)
_TRACED = "the backend tensorrt, whose exporter traces one path; or torch.where in place of a branch on values"


class Manifest(msgspec.Struct, frozen=True):
    """Stored beside a program: how many nodes it was written from, the warnings of torch.export, and of a program in
    parts the names of its engines. ``facts`` are counts: see ``partition.Division.facts``, and for a program with
    ``deconvolutions: dense`` the ``deconvolutions.count``. Of one at int8 who quantized it, by which observer and
    samples, and where its Q/DQ stand.
    """

    ops: int
    warnings: tuple[ExportWarning, ...] = ()
    engines: tuple[str, ...] = ()
    facts: dict[str, Any] = {}
    quantization: dict[str, Any] = {}


def unsupported(case: Case) -> str | None:
    """Why no program can be written for a case; None if one may."""
    if kind := program_of(case.factory):
        return f"{case.factory} is a program of {kind}, of which torch.export makes no graph"
    if case.precision not in QUANTIZED and (options := quantization_options(case)):
        return f"{options}: of precision int8 alone"
    if case.precision in QUANTIZED:
        if case.precision == "fp8" and case.options.get("placement") == "mended":
            return "placement: mended is of int8; at fp8 the layers end in floating point"
        if case.precision == "fp8" and case.options.get("observer") == "entropy":
            return "observer: entropy is of int8, whose steps are of one size: minmax, moving_average or percentile"
        if case.precision == "fp8" and case.options.get("producer", "trtbench") != "trtbench":
            return f"producer: {case.options['producer']} is of int8; at fp8 trtbench observes"
        if case.dynamic:
            return "calibration needs fixed sizes, and the case has dynamic ones"
        if case.options.get("fallback") == "torch":
            return "a model in parts is not quantized: fallback: none"
    return None


def program_case(case: Case) -> Case:
    """The case whose program is written for ``case``: at float32 where TensorRT's calibrator chooses the scales."""
    if not case.options.get("calibrator"):
        return case
    return msgspec.structs.replace(case, precision="fp32", options=without_quantization(case.options))


def stage(case: Case, min_block_size: int | None = None) -> Stage:
    """The program of a case, shared by its points of batch size only where that is dynamic.

    With ``min_block_size`` a program in parts, in which what has no converter stays in PyTorch.
    """
    key: dict[str, Any] = {"model": shapes.model_key(case), "precision": case.precision, "lowering": _digest()}
    if min_block_size is not None:
        key["min_block_size"] = min_block_size
    if deconvolutions.are_dense(case.options):
        key[deconvolutions.FACT] = "dense"
    needs: tuple[str, ...] = ()
    if case.precision in QUANTIZED:
        how = settings(case.options)
        key |= {"calibration": calibration_stage(case).key, "placement": how.placement}
        if how.floating:
            key["floating"] = list(how.floating)
        needs = (quantization.STAGE,)
    return Stage(name=STAGE, kind="program", producer="fx2trt", key=key, needs=needs, libraries=shapes.libraries(case))


def calibration_stage(case: Case) -> Stage:
    """The calibration that the program of a case at int8 or fp8 is written by. At fp8 it observes other tensors, and by
    default their largest magnitudes: the steps of float8 grow with the value. It observes no weights, so that it is the
    same with dense deconvolutions.
    """
    if case.precision != "fp8":
        return quantization.stage(case, _digest())
    of_fp8 = {"observer": OBSERVER_OF_FP8} | dict(case.options)
    stage = quantization.stage(msgspec.structs.replace(case, options=of_fp8), _digest())
    return msgspec.structs.replace(stage, key=stage.key | {"precision": "fp8"})


def stages(case: Case, min_block_size: int | None = None) -> list[Stage]:
    """The program, after what it needs."""
    return [calibration_stage(case)] * (case.precision in QUANTIZED) + [stage(case, min_block_size)]


def calibrate(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Lower the model in float32, run it on the calibration inputs, and write the ranges. ``key`` is the stage's.

    Errors as of ``produce``; Unsupported, before anything is run, where no layer can be quantized, and for weights that
    have no scale.
    """
    in_float32 = msgspec.structs.replace(case, precision="int8")
    with lowered_graph(in_float32, context) as (graph, _, _):
        if case.precision == "fp8":
            graph.meta[insert.TO] = insert.FP8
        insert.check(graph)
        quantization.produce(graph, case, context, out, settings(key))


def examination_stages(case: Case, question: Question | None) -> list[Stage]:
    """Where the Q/DQ of a case at int8 stand, or with a question what they cost in accuracy; after the calibration."""
    if case.precision != "int8":
        what = f"what Q/DQ cost and where they stand is looked at for int8, and this case is at {case.precision}"
        raise UsageError(what, where=case.label, fix='--select "precision=int8"')
    program = stage(case)
    key = program.key | {"data": settings(case.options).data}
    files: tuple[str, ...] = ()
    if question is not None:
        key |= {"question": msgspec.to_builtins(question)}
        files = tuple(name.partition(":")[0] for name in (question.metric, key["data"]) if name)
    name = PLACEMENT_STAGE if question is None else ACCURACY_STAGE
    return [
        calibration_stage(case), msgspec.structs.replace(program, name=name, kind=name, key=key, files=files)
    ]  # fmt: skip


def examine(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Quantize the model as its program has it, and write what the stage with this ``key`` asks about it into ``out``.

    Errors as of ``produce``; UsageError for a target that no assignment meets.
    """
    from bench.lowering.quantize import examination, sensitivity

    with lowered_graph(case, context, key) as (graph, names, _):
        with context.phase("quantize"):
            ranges = quantization.read(context.artifacts[quantization.STAGE], case)
            with_pairs = examination.quantized(graph, ranges, key["placement"], key.get("floating", ()))
        if "question" not in key:
            examination.write_placement(with_pairs, out)
            return
        question = msgspec.convert(key["question"], Question)
        networks = sensitivity.Networks(graph, with_pairs, names)
        examination.write_accuracy(networks, case, context, question, key, out)


def values_stage(case: Case) -> Stage:
    """The program of a case with the values of its tensors, for the sizes of this case and its inputs."""
    key = {**stage(case).key, "symbols": case.symbols, "values": terms.VERSION}
    return Stage(
        name="values", kind="values", producer="fx2trt", key=key, needs=("reference",), libraries=shapes.libraries(case)
    )


def oracle_stage(case: Case, marks: Sequence[str], program: str = "") -> Stage:
    """A run of the program of a case, or of the user's file ``program``, by the oracle."""
    return Stage(
        name=MARKED,
        kind="marked",
        producer="fx2trt",
        key={"lowering": _digest(), "on": "oracle", "marks": list(marks), "program": program},
        needs=("reference", "values"),
        libraries=("torch",),
        files=files_of(program),
    )


def files_of(program: str) -> tuple[str, ...]:
    """The files beside the suite that a program of the user's is read from; none without one."""
    return (program, str(Path(program).with_name(WEIGHTS))) if program else ()


def produce(
    case: Case,
    context: Context,
    out: Path,
    key: Mapping[str, Any],
    also: Callable[[Any, codegen.Program, Sequence[str]], None] | None = None,
) -> None:
    """Write ``program.py``, its weights and a manifest into ``out``. Phases: import, load, export, lower.

    ``key`` is the stage's. With ``min_block_size`` also a folder for each engine. At int8 quantized by the case's
    calibration, its Q/DQ around each op, or where ``placement`` is ``mended``, where TensorRT fuses them; modules in
    ``floating`` have none. ``also`` is called with the graph, its program, and the names of the model's outputs.

    Raises:
        Unavailable: torch is older than 2.6.
        Unsupported: torch.export cannot take the model, or it has operators or arguments without a converter.
    """
    from bench.lowering import codegen, normalise, split
    from bench.lowering.passes.deconvolutions import about as about_deconvolutions
    from bench.lowering.quantize import examination, products, widening

    min_block_size, placed, floating = key.get("min_block_size"), key.get("placement", "fx"), key.get("floating", ())
    in_parts = min_block_size is not None
    with lowered_graph(case, context, key, in_parts=in_parts) as (graph, names, warnings), context.phase("lower"):
        facts = {name: graph.meta[name] for name in (deconvolutions.FACT,) if name in graph.meta}
        about_scales: dict[str, Any] = {}
        if case.precision in QUANTIZED:
            ranges = quantization.read(context.artifacts[quantization.STAGE], case)
            graph = examination.quantized(graph, ranges, placed, floating)
            about_scales = quantization.facts(context.artifacts[quantization.STAGE]) | {"placement": placed}
            about_scales |= examination.coverage(graph, floating)
            graph = products.as_products(widening.widen(graph), full_rank=True)
        title = "\n\n".join([_title(case), *map(about_deconvolutions, facts.values())])
        about: dict[str, Any] = {"title": title, "precision": case.precision, "profile": shapes.profile(case)}
        if in_parts:
            about |= {"min_block_size": min_block_size, "dense_deconvolutions": deconvolutions.are_dense(key)}
        parts = split.generate(graph, names, **about) if in_parts else None
        program = parts or codegen.generate(graph, names, **about)
        program.write(out)
        if also is not None and isinstance(program, codegen.Program):
            also(graph, program, names)
        ops = sum(1 for node in graph.graph.nodes if normalise.op_name(node))
        engines, facts = (tuple(parts.engines), parts.facts) if parts else ((), facts)
        (out / MANIFEST).write_bytes(msgspec.json.encode(Manifest(ops, warnings, engines, facts, about_scales)))


@contextlib.contextmanager
def lowered_graph(
    case: Case, context: Context, key: Mapping[str, Any] | None = None, *, in_parts: bool = False
) -> Iterator[tuple[torch.fx.GraphModule, tuple[str, ...], tuple[ExportWarning, ...]]]:
    """The graph of a case's model after all passes, the names of its outputs, and the warnings of torch.export.

    Of a case at int8 in float32, at fp8 in float16; with dense deconvolutions if the ``key`` of the stage has them,
    unless it is ``in_parts``: what stays in PyTorch keeps its groups.
    Phases: import, load, export, lower. Raises what ``produce`` does.
    """
    from bench.lowering import lower, normalise
    from bench.runtimes.torch import calls, errors, exports, models, session
    from bench.runtimes.torch.options import TorchOptions
    from bench.runtimes.torch.outputs import positional_unrun

    on_cpu = msgspec.structs.replace(context, device="cpu")
    if case.precision == "int8":
        case = msgspec.structs.replace(case, precision="fp32")
    with session.torch_session(case, on_cpu), session.own_warnings_filtered():
        import torch

        if tuple(int(part) for part in torch.__version__.split(".")[:2]) < _FIRST_TORCH:
            what = f"torch {torch.__version__} cannot export for fx2trt; 2.6 is the first that can"
            raise Unavailable(what, fix="pip install 'torch>=2.6' in the default toolchain")
        with context.phase("load"):
            model, example = models.load_with_example(case, TorchOptions(), on_cpu)
            module, traced = positional_unrun(model, tuple(example))
        with (
            context.phase("export"),
            torch.no_grad(),
            _with_place(module, tuple(example.values())),
            errors.translate("torch.export cannot take this model", fix=_TRACED),
            exports.recorded_warnings() as warnings,
            exports.size_refusals(case),
            calls.names_checked(calls.own_module(model), case),
        ):
            exported = normalise.export(module, tuple(example.values()), shapes.dynamic_dims(case))
            exports.check_program(exported, case)
        names = tuple(traced)
        with context.phase("lower"), torch.no_grad():
            graph = lower.run_passes(
                normalise.normalise(exported, tuple(example), below="model.", keep_unsupported=in_parts),
                deconvolutions.are_dense(key or {}) and not in_parts,
            )
            if case.dynamic:
                trial = exports.Trial(case, TorchOptions(), on_cpu, module, names)
                trial.check(lambda arrays: graph(*trial.inputs(arrays)), "the lowered graph")
        if case.precision == "fp8":
            graph.meta[insert.TO] = insert.FP8
        with torch.no_grad():
            yield graph, names, tuple(warnings)


@contextlib.contextmanager
def _with_place(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> Iterator[None]:
    """Have an Unsupported begin with the module whose code raised its cause, and the line. Its advice is about exports
    only where the module itself runs.
    """
    try:
        yield
    except Unsupported as error:
        place = _place(module, error.__cause__)
        fix = error.fix if error.fix != _TRACED or _runs(module, inputs) else _BROKEN
        raise Unsupported(f"{place}{error.what}", where=error.where, fix=fix) from error.__cause__


def _runs(module: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> bool:
    import torch

    try:
        with torch.no_grad():
            module(*inputs)
    except Exception:  # noqa: BLE001 - whatever the user's model raises; the export's error is the one that is told
        return False
    return True


def _place(module: torch.nn.Module, error: BaseException | None) -> str:
    """``head (Head), net.py:9: ``, where the innermost forward of a module of the model was; empty for none."""
    names = {id(each): name for name, each in module.named_modules() if each is not module}
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__ if error else None):
        code = frame.f_code
        own = frame.f_locals.get(code.co_varnames[0]) if code.co_argcount else None
        if code.co_name == "forward" and id(own) in names:
            name = names[id(own)].removeprefix("model").lstrip(".") or "the model"
            place = f"{name} ({type(own).__name__}), {Path(code.co_filename).name}:{line}: "
    return place


def read_manifest(folder: Path) -> Manifest:
    """What was stored beside a program."""
    return msgspec.json.decode((folder / MANIFEST).read_bytes(), type=Manifest)


def _title(case: Case) -> str:
    """``dyn (net.py:dyn) at fp16: x [2, 3, 4..8, 6].``, with the ranges of sizes that stay dynamic."""
    axes, texts = shapes.dynamic_axes(case), []
    for name, spec in case.resolved.items():
        sizes = {axis: str(size) for axis, size in enumerate(spec.shape)}
        sizes |= {axis: f"{(span := case.dynamic[symbol]).min}..{span.max}" for axis, symbol in axes[name].items()}
        texts.append(f"{name} [{', '.join(sizes.values())}]")
    return f"{case.model} ({case.factory}) at {case.precision}: {', '.join(texts)}."


def _digest() -> str:
    """A digest of the code that lowers."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.rglob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]

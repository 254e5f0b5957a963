"""Runs a network with some of its tensors as further outputs: a program by the oracle on a CPU, or an engine."""

from __future__ import annotations

import contextlib
import types
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import tensors
from bench.lowering import filling
from bench.model.divergence import MARK, RUN, VALUES, MarkedRun
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes.trt import builder, execution, library, networks, versions
from bench.runtimes.trt.options import Options

_CAST = " as "  # the prelude ends some ops with a cast, whose layer is called after the op's


class Source(msgspec.Struct, frozen=True):
    """The program of a case: its folder, and the suite's file where it is the user's."""

    folder: Path
    source: str = ""


class _Tensors:
    """The tensors of a program as it makes them."""

    def __init__(self) -> None:
        self._tensors: dict[str, Any] = {}
        self._nan_constants: dict[str, None] = {}

    @property
    def nan_constants(self) -> tuple[str, ...]:
        """The weights and constants that have NaN."""
        return tuple(self._nan_constants)

    def observe_constant(self, name: str, array: Any) -> None:
        """Keep the name of a constant that has NaN."""
        values = np.asarray(array)
        if values.dtype.kind == "f" and np.isnan(values).any():
            self._nan_constants[name] = None

    def observe(self, name: str, tensor: Any) -> None:
        """Keep a tensor. An op of several layers ends with one of its own name, or with a cast of that."""
        self._tensors[name] = tensor

    def of(self, name: str) -> Any:
        """The result of the op ``name``; None if the program has none of that name."""
        result = self._tensors.get(name)
        for other, tensor in self._tensors.items():
            if result is not None and other.startswith(f"{name}{_CAST}"):
                result = tensor
        return result


def by_oracle(case: Case, context: Context, source: Source, marks: Sequence[str], out: Path) -> None:
    """Run the program by ``bench.lowering.oracle``, which stands for its latest TensorRT.

    Writes ``run.json`` (``MarkedRun``) and ``values.safetensors``: the model's outputs by their names, and the tensors
    ``marks`` as ``mark.NAME``; half precision as float32. Phases: import, run.
    """
    with context.phase("import"):
        import torch

        from bench.lowering import oracle

    version = oracle.LATEST
    trt = oracle.Module(version)
    log = library.Log(types.SimpleNamespace(ILogger=object))  # which stays empty: the oracle raises its refusals
    api = library.Api(trt, version, "", log)
    half = {"fp16": torch.float16, "bf16": torch.bfloat16}
    float_type, inputs = half.get(case.precision, torch.float32), {}
    for name, array in context.inputs.items():
        value = torch.from_numpy(np.ascontiguousarray(array))
        inputs[name] = value.to(float_type) if value.is_floating_point() else value
    with context.phase("run"), torch.no_grad():
        network = oracle.Network(trt, inputs)
        watched = _Tensors()
        definition = filling.fill(
            api, network, case, source.folder, source.source, watched.observe, watched.observe_constant
        )
        present = {name: tensor for name in marks if (tensor := watched.of(name)) is not None}
        results = network.results()
        values = {name: results[tensor] for name, tensor in definition.outputs.items()}
        values |= {MARK + name: tensor.value for name, tensor in present.items()}
        arrays = {name: _array(value) for name, value in values.items()}
    kinds = {name: versions.dtype_name(tensor.dtype) for name, tensor in present.items()}
    _write(out, f"the oracle of TensorRT {version}", kinds, marks, arrays, watched.nan_constants)


class Marked:
    """Fills a network by a program, and makes each of ``marks`` an output called ``mark.INDEX``, through an identity
    layer. ``kinds`` are the types of those that the program has.
    """

    def __init__(self, case: Case, source: Source, marks: Sequence[str]) -> None:
        self._case = case
        self._source = source
        self._marks = marks
        self.kinds: dict[str, str] = {}
        self.nan_constants: tuple[str, ...] = ()

    def __call__(self, api: library.Api, network: Any) -> networks.Network:
        """The network, whose outputs are those of the model and ``mark.NAME``."""
        watched = _Tensors()
        folder, source = self._source.folder, self._source.source
        definition = filling.fill(api, network, self._case, folder, source, watched.observe, watched.observe_constant)
        self.nan_constants = watched.nan_constants
        outputs = dict(definition.outputs)
        for index, name in enumerate(self._marks):
            tensor = watched.of(name)
            if tensor is not None:
                outputs[MARK + name] = _mark(api, network, tensor, f"{MARK}{index}")
                self.kinds[name] = versions.dtype_name(tensor.dtype)
        return msgspec.structs.replace(definition, outputs=outputs)


def by_engine(case: Case, context: Context, source: Source, marks: Sequence[str], out: Path, options: Options) -> None:
    """Build the program as an engine in which ``marks`` are outputs, and run it once; writes what ``by_oracle`` does.

    Phases: import, parse, build, deserialize, run.
    """
    fill = Marked(case, source, marks)
    _run_engine(case, context, fill, marks, out, options)


def of_file(case: Case, context: Context, marks: Sequence[str], out: Path, options: Options) -> None:
    """The same of the case's ONNX file, whose tensors have their names in the network. Phases: as ``by_engine``."""
    in_values = msgspec.structs.replace(context, artifacts=context.artifacts | {"export": context.artifacts["values"]})
    _run_engine(case, context, MarkedFile(case, in_values, marks), marks, out, options)


class MarkedFile:
    """Fills a network by an ONNX file, and makes outputs as ``Marked`` does."""

    def __init__(self, case: Case, context: Context, marks: Sequence[str]) -> None:
        self._case = case
        self._context = context
        self._marks = marks
        self.kinds: dict[str, str] = {}
        self.nan_constants: tuple[str, ...] = ()

    def __call__(self, api: library.Api, network: Any) -> networks.Network:
        """The network, whose outputs are those of the model and ``mark.NAME``."""
        definition = networks.parse(api, network, self._context)
        networks.fix_sizes(network, self._case)
        tensors_of: dict[str, Any] = {}
        for index in range(network.num_layers):
            layer = network.get_layer(index)
            for place in range(layer.num_outputs):
                if (tensor := layer.get_output(place)) is not None:
                    tensors_of[tensor.name] = tensor
        outputs = dict(definition.outputs)
        for index, name in enumerate(self._marks):
            if (tensor := tensors_of.get(name)) is not None:
                outputs[MARK + name] = _mark(api, network, tensor, f"{MARK}{index}")
                self.kinds[name] = versions.dtype_name(tensor.dtype)
        return msgspec.structs.replace(definition, outputs=outputs)


def _run_engine(
    case: Case, context: Context, fill: Marked | MarkedFile, marks: Sequence[str], out: Path, options: Options
) -> None:
    plan = context.scratch / "plan"
    plan.mkdir()
    builder.build(case, options, context, plan, fill=fill)
    api = library.open_api(builder.libraries(options, context.suite_dir), context.device)
    with context.phase("deserialize"):
        data, info = builder.read(plan)
        engine = library.deserialize(api, data, host_code=info.version_compatible)
    with context.phase("run"):
        arrays = _outputs(case, context, api, engine, info)
    _write(out, info.runtime, fill.kinds, marks, arrays, fill.nan_constants)


def _mark(api: library.Api, network: Any, tensor: Any, name: str) -> str:
    """Make a tensor an output called ``name``; its name."""
    layer = network.add_identity(tensor)
    if layer is None:
        raise library.refusal(api, f"{api.name} cannot make a tensor an output")
    output = layer.get_output(0)
    output.name = name
    network.mark_output(output)
    output.allowed_formats = 1 << int(api.module.TensorFormat.LINEAR)
    return name


def _outputs(
    case: Case, context: Context, api: library.Api, engine: Any, info: builder.BuildInfo
) -> dict[str, tensors.Array]:
    """All outputs of one call."""
    plain = msgspec.structs.replace(case, cuda_graph=False)
    with contextlib.closing(execution.EnginePrepared(plain, context, api, engine, info)) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        return lane.read()


def _array(value: Any) -> tensors.Array:
    wide = value.float() if value.is_floating_point() else value
    return np.ascontiguousarray(wide.detach().cpu().numpy())


def _write(
    out: Path,
    runtime: str,
    kinds: Mapping[str, str],
    marks: Sequence[str],
    arrays: Mapping[str, tensors.Array],
    nan_constants: tuple[str, ...],
) -> None:
    absent = tuple(name for name in marks if name not in kinds)
    run = MarkedRun(runtime=runtime, types=dict(kinds), absent=absent, nan_constants=nan_constants)
    (out / RUN).write_bytes(msgspec.json.encode(run))
    tensors.write(out / VALUES, arrays)

"""Builds TensorRT engines: settings, optimization profile, description."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Literal

import msgspec

from bench.errors import CaseError, Unsupported
from bench.model.data import Data
from bench.model.seam import Context
from bench.model.suite import Case, resolve_shapes
from bench.runtimes import shapes
from bench.runtimes.torch.exports import ExportWarning
from bench.runtimes.trt import calibrators, deconvolutions, library, networks, rtx, timing_cache, versions
from bench.runtimes.trt.options import EngineOptions, Options, RtxOptions
from bench.units import format_size

PLAN = "engine.plan"
BUILD_INFO = "build.json"
_MAX_WARNINGS = 20  # warnings that are kept
_NOT_CONSISTENT = re.compile(r"Profile k(MIN|OPT|MAX) values are not self-consistent\.\s*(.*)", re.DOTALL)

Fill = Callable[[library.Api, Any], networks.Network]


class BuildInfo(Data, frozen=True, kw_only=True):
    """The description of an engine, stored beside its plan in ``build.json``.

    ``inputs`` and ``outputs`` map names of the suite to tensors of the engine; an input that the model does not use may
    be absent. ``timing_cache`` is ``warm`` if an earlier build had left one. ``layers`` counts those of the network,
    before the builder fuses them. ``profile`` holds min, opt and max of each dynamic input, by its name in the suite.
    ``compute_capabilities`` are those that were requested, none where a runtime has no such setting or its own default.
    ``calibration`` says who quantized and by how many samples, ``deconvolutions`` how many transposed convolutions in
    groups were made dense, where a program was written with ``deconvolutions: dense``; ``grouped_deconvolutions`` how
    many ``layers`` of a network of TensorRT 8 are such convolutions, and their ``groups`` in all.
    ``slowest_layers`` are those that the builder of TensorRT 8 spent most time on, in ns, while it timed kernels.
    ``warnings`` are TensorRT's, ``export_warnings`` those of the exporter that made the ONNX file.
    """

    runtime: str
    plan_bytes: int
    build_ns: int
    inputs: dict[str, str]
    outputs: dict[str, str]
    layers: int
    strongly_typed: bool
    optimization_level: int
    timing_cache: Literal["cold", "warm", "off"] = "off"
    timing_cache_bytes: int = 0
    tactic_sources: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    opset: int = 0
    exporter: str = ""
    network: str = ""
    version_compatible: bool = False
    compute_capabilities: tuple[str, ...] = ()
    calibration: dict[str, Any] = {}
    deconvolutions: dict[str, Any] = {}
    grouped_deconvolutions: dict[str, int] = {}
    profile: dict[str, tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]] = {}
    warnings: tuple[str, ...] = ()
    export_warnings: tuple[ExportWarning, ...] = ()
    slowest_layers: dict[str, int] = {}


def libraries(options: EngineOptions, suite_dir: Path) -> list[Path]:
    """The plugin libraries that a case names."""
    return [suite_dir / name for name in options.plugins] if isinstance(options, Options) else []


def read(folder: Path) -> tuple[bytes, BuildInfo]:
    """A plan and its description."""
    return (folder / PLAN).read_bytes(), read_info(folder)


def read_info(folder: Path) -> BuildInfo:
    """The description of a plan, which may be large itself."""
    return msgspec.json.decode((folder / BUILD_INFO).read_bytes(), type=BuildInfo)


def build(
    case: Case,
    options: EngineOptions,
    context: Context,
    out: Path,
    product: library.Product = library.TENSORRT,
    *,
    fill: Fill | None = None,
) -> None:
    """Write ``engine.plan`` and ``build.json`` into ``out``. Phases: import, parse, build.

    ``fill`` fills the empty network in place of the parser and of the function that the options name.

    Raises:
        Unavailable: TensorRT, its libraries or a GPU that it needs are not there.
        Unsupported: this version does not have an option, its parser refuses a node, or no kernel fits.
        OutOfMemory: the builder found no memory.
        CaseError: the engine cannot be written.
        SuiteError: the function of ``network`` is wrong.
    """
    if isinstance(options, RtxOptions):
        rtx.check_device(options, context.device)
    with context.phase("import"):
        api = library.open_api(libraries(options, context.suite_dir), context.device, product)
        builder = library.create(api, "a builder", lambda: api.module.Builder(api.log.logger))
        config = library.create(api, "a builder configuration", builder.create_builder_config)
    strong = versions.strongly_typed(api, options.strongly_typed if isinstance(options, Options) else None)
    flags = versions.precision_flags(api, case.precision, strong)
    flags = _configure(api, config, options, flags, tf32=case.precision == "tf32")
    with context.phase("parse"):
        definition = _define(api, versions.new_network(api, builder, strong), case, options, context, fill)
        profile = _add_profile(api, builder, config, definition, case)
        in_groups = deconvolutions.in_groups(api, definition.network) if api.major < 10 else {}
    tactics = versions.progress(api, config, context)
    plain = options if isinstance(options, Options) else Options()
    with (
        timing_cache.opened(api, config, options, context) as cache,
        calibrators.calibration(api, config, case, plain, context, definition.inputs, out) as calibrated,
    ):
        start = context.clock.now()
        with context.phase("build"), api.log.read_by(tactics.read if tactics else None):
            plan, mark = _serialized(api, builder, definition, config, cache)
        if plan is None:
            raise library.refusal(api, f"{api.name} could not build this engine")
        _check_ends(api.log.since(mark), case)
        build_ns = context.clock.now() - start
    info = BuildInfo(
        runtime=api.name,
        plan_bytes=plan.nbytes,
        build_ns=build_ns,
        inputs=definition.inputs,
        outputs=definition.outputs,
        layers=definition.network.num_layers,
        strongly_typed=strong,
        flags=tuple(flags),
        grouped_deconvolutions=in_groups,
        profile=profile,
        warnings=tuple(api.log.warnings()[:_MAX_WARNINGS]),
        slowest_layers=tactics.times() if tactics else {},
        **_settings_in_force(api, config, options),
        # What TensorRT chose while it calibrated stands in place of what the program says of Q/DQ.
        **(definition.fields | cache | calibrated),
    )
    _write(plan, info, out)


def _define(
    api: library.Api, empty: Any, case: Case, options: EngineOptions, context: Context, fill: Fill | None
) -> networks.Network:
    """The network: by ``fill``, by the function that the options name, or from the ONNX file."""
    if fill is not None:
        return fill(api, empty)
    if options.network:
        return networks.from_function(api, empty, case, options.network, context)
    definition = networks.parse(api, empty, context)
    networks.fix_sizes(definition.network, case)
    return definition


def _serialized(
    api: library.Api, builder: Any, definition: networks.Network, config: Any, cache: dict[str, Any]
) -> tuple[Any, library.Line | None]:
    """The plan, None if TensorRT builds none, and the log's newest line before that build. Built again with an
    empty timing cache if that of earlier builds may be why there is none; ``cache`` then says so.
    """
    mark = api.log.newest()
    plan = builder.build_serialized_network(definition.network, config)
    if plan is None and timing_cache.is_refused(api, mark):
        cache |= timing_cache.empty(api, config)
        mark = api.log.newest()
        plan = builder.build_serialized_network(definition.network, config)
    return plan, mark


def _write(plan: Any, info: BuildInfo, out: Path) -> None:
    try:
        with (out / PLAN).open("wb") as file:
            file.write(plan)
        (out / BUILD_INFO).write_bytes(msgspec.json.encode(info))
    except OSError as error:
        what = f"the engine ({format_size(plan.nbytes)}) cannot be written: {error.strerror or error}"
        raise CaseError(what, fix="free some disk space, or choose another place: --cache DIR") from error


# ------------------------------------------------------------------------------------------------------------ settings


def _configure(api: library.Api, config: Any, options: EngineOptions, flags: list[str], *, tf32: bool) -> list[str]:
    """Apply the options; the names of all flags that are set."""
    versions.set_property(api, config, "profiling_verbosity", api.module.ProfilingVerbosity.DETAILED)
    if options.workspace_bytes is not None:
        versions.set_workspace(api, config, options.workspace_bytes)
    if options.optimization_level is not None:
        versions.set_property(api, config, "builder_optimization_level", options.optimization_level)
    if options.tactic_sources is not None:
        versions.set_tactic_sources(api, config, options.tactic_sources)
    if options.max_aux_streams is not None:
        versions.set_property(api, config, "max_aux_streams", options.max_aux_streams)
    if isinstance(options, RtxOptions):
        rtx.set_capabilities(api, config, options)
    if isinstance(options, Options):
        if options.hardware_compatible != "none":
            versions.set_hardware_compatibility(api, config, options.hardware_compatible)
        flags = flags + ["REFIT"] * options.refit + ["VERSION_COMPATIBLE"] * options.version_compatible
        flags += ["DISABLE_TIMING_CACHE"] * (not options.timing_cache)
        flags += ["ENABLE_TACTIC_HEURISTIC"] * options.tactic_heuristic
    return versions.set_flags(api, config, flags, tf32=tf32)


def _settings_in_force(api: library.Api, config: Any, options: EngineOptions) -> dict[str, Any]:
    """Fields of ``BuildInfo``: what the builder works with, be it requested or its own default."""
    return {
        "optimization_level": config.builder_optimization_level,
        "tactic_sources": tuple(versions.names_in(api.module.TacticSource, config.get_tactic_sources())),
        "version_compatible": isinstance(options, Options) and options.version_compatible,
        "compute_capabilities": rtx.capabilities(config) if isinstance(options, RtxOptions) else (),
    }


def _add_profile(
    api: library.Api, builder: Any, config: Any, definition: networks.Network, case: Case
) -> dict[str, Any]:
    """One profile from the case's ranges, if it has any; min, opt and max of each dynamic input."""
    ranges = _ranges(definition, case) if definition.profile is None else definition.profile
    if not ranges:
        return {}
    profile = builder.create_optimization_profile()
    for name, points in ranges.items():
        profile.set_shape(definition.inputs.get(name, name), *points)
    if config.add_optimization_profile(profile) < 0:
        raise library.refusal(api, f"TensorRT does not take the ranges {ranges}")
    versions.share_profiles(api, config)
    return ranges


def _ranges(definition: networks.Network, case: Case) -> dict[str, Any]:
    """Min, opt and max of each dynamic input, from the case's ranges."""
    axes = {name: of for name, of in shapes.dynamic_axes(case).items() if of and name in definition.inputs}
    ranges = {}
    points = [case.symbols | {n: getattr(span, at) for n, span in case.dynamic.items()} for at in ("min", "opt", "max")]
    tensors = {
        definition.network.get_input(i).name: definition.network.get_input(i)
        for i in range(definition.network.num_inputs)
    }
    for name, of in axes.items():
        shape = versions.dims(tensors[definition.inputs[name]].shape)
        if fixed := [symbol for axis, symbol in of.items() if shape[axis] != -1]:
            raise Unsupported(f"the exporter fixed {fixed[0]!r} of the input {name!r}: {shape}", fix="another exporter")
        ranges[name] = tuple(tuple(int(n) for n in resolve_shapes(case.inputs, sizes)[name].shape) for sizes in points)
    return ranges


def _check_ends(lines: Iterable[library.Line], case: Case) -> None:
    """Unsupported if the model does not run at an end of its ranges: TensorRT-RTX warns of it and builds the engine."""
    for line in lines:
        if match := _NOT_CONSISTENT.search(line.text):
            sizes = ", ".join(f"{name}={getattr(span, match[1].lower())}" for name, span in case.dynamic.items())
            what = f"the model does not run with {sizes}, which is in the range of its engine: {match[2]}"
            raise Unsupported(what, fix="a range in `dynamic` that the model takes, or the other exporter")

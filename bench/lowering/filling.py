"""The network that a program fills, in the toolchain that builds it; errors in it with their line and module."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Collection, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from bench import tensors
from bench.errors import BenchError, SuiteError
from bench.lowering import artifact
from bench.lowering.calls import output_name
from bench.model.suite import Case
from bench.runtimes import shapes
from bench.runtimes.trt import library, networks
from bench.system import userfile

_FIX = "trtbench codegen writes one for this case"

# Called with each tensor that a program makes: the name of its layer, ``topk[1]`` where it is not the first output.
Observe = Callable[[str, Any], None]
# Called with the name and the array of each weight beside a program, and of each constant that it makes itself: of a
# layer with weights of its own making its name.
ObserveConstant = Callable[[str, Any], None]


def fill_block(api: library.Api, network: Any, folder: Path) -> networks.Network:
    """Fill ``network`` by the program of an engine of a program in parts.

    Raises:
        Unsupported: TensorRT refuses a layer, with the line of the program that adds it.
    """
    path = folder / artifact.SOURCE
    module = userfile.execute(path, f"_program_{folder.name}")
    arrays = tensors.read(folder / artifact.WEIGHTS)
    try:
        alive = module.build(api.module, network, arrays)
    except Exception as error:
        what = f"{type(error).__name__} in the network program: {error}"
        raise library.refusal(api, f"line {_place(error, path)} of {folder.name}: {what}") from error
    inputs = {network.get_input(index).name for index in range(network.num_inputs)}
    profile = {name: points for name, points in module.PROFILE.items() if name in inputs}
    return networks.Network(
        network=network,
        inputs={name: name for name in module.INPUTS if name in inputs},
        outputs=dict(module.OUTPUTS),
        keep=(alive, arrays),
        fields={"network": f"{folder.name}/{artifact.SOURCE}"},
        profile=profile,
    )


def fill(
    api: library.Api,
    network: Any,
    case: Case,
    folder: Path,
    source: str = "",
    observe: Observe | None = None,
    observe_constant: ObserveConstant | None = None,
) -> networks.Network:
    """Fill ``network`` by the program in ``folder``; ``source`` is the suite's file where the program is the user's.

    Raises:
        SuiteError: a program of the user's has an error, with the file and line; or it is of another case.
        Unsupported: TensorRT refuses a layer, with the line of the program that adds it.
    """
    path = folder / (Path(source).name if source else artifact.SOURCE)
    module = _load(path, case, source or path.name)
    _check(module, case, path)
    if observe is not None:
        _observed(module, observe)
    try:
        arrays = tensors.read(path.with_name(artifact.WEIGHTS))
    except FileNotFoundError as error:
        what = f"{path.name} has no weights beside it: there is no file {artifact.WEIGHTS!r}"
        raise SuiteError(what, where=case.source, fix=_FIX) from error
    except (OSError, ValueError) as error:
        what = f"the weights beside {path.name} cannot be read: {error}"
        raise SuiteError(what, where=case.source, fix=_FIX) from error
    filled = network
    if observe_constant is not None:
        filled = _observed_constants(module, network, arrays, observe_constant)
    try:
        alive = module.build(api.module, filled, arrays)
    except BenchError:
        raise
    except Exception as error:
        place = _place(error, path)
        what = f"{type(error).__name__} in the network program: {error}"
        if source:
            raise SuiteError(what, where=f"{source}:{place}", fix="correct that line of the program") from error
        refusal = library.refusal(api, f"line {place} of the program: {what}")
        raise refusal from error
    _check_outputs(network, module.OUTPUTS, source or path.name, case)
    inputs = {network.get_input(index).name for index in range(network.num_inputs)}
    manifest = path.with_name(artifact.MANIFEST)
    fields: dict[str, Any] = {"network": source or artifact.SOURCE}
    if manifest.is_file():
        about = artifact.read_manifest(folder)
        fields |= {"export_warnings": about.warnings, **({"calibration": q} if (q := about.quantization) else {})}
        if not source:  # a program of the user's may have other layers than when its manifest was written
            fields["deconvolutions"] = about.facts.get("deconvolutions", {})
    return networks.Network(
        network=network,
        inputs={name: name for name in case.inputs if name in inputs},
        outputs=dict(module.OUTPUTS),
        keep=(alive, arrays),
        fields=fields,
    )


def _load(path: Path, case: Case, name: str) -> ModuleType:
    """The module of a program, which errors call ``name``. SuiteError with the line of an error in it."""
    if not path.is_file():
        raise SuiteError(f"there is no program {path.name!r} beside the suite", where=case.source, fix=_FIX)
    try:
        return userfile.execute(path, f"_program_{path.stem}")
    except SyntaxError as error:
        raise SuiteError(
            f"the network program is no Python: {error.msg}", where=f"{name}:{error.lineno}", fix="correct it"
        ) from error
    except Exception as error:
        place = _place(error, path)
        what = f"the network program cannot be imported: {type(error).__name__}: {error}"
        raise SuiteError(what, where=f"{name}:{place}", fix="correct it") from error


def _observed(module: ModuleType, observe: Observe) -> None:
    """Have ``observe`` called with each tensor, in the order of the program."""
    prelude = getattr(module, "Prelude", None)
    if prelude is None:
        raise SuiteError("the program has no Prelude, by which its tensors have names", fix=_FIX)
    out = prelude.out

    def observed(self: Any, layer: Any, name: str, index: int = 0) -> Any:
        tensor = out(self, layer, name, index)
        observe(output_name(name, index), tensor)
        return tensor

    prelude.out = observed


class _Watched:
    """A network whose calls pass on, and which knows the arrays of the layers that it has added."""

    def __init__(self, network: Any, weights: Collection[Any]) -> None:
        self._network = network
        self._weights = weights  # which are observed by their own names
        self.arrays: list[tuple[Any, Any]] = []  # layers and arrays

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._network, name)
        if not name.startswith("add_") or name == "add_constant":
            return attribute

        def add(*args: Any, **kwargs: Any) -> Any:
            layer = attribute(*args, **kwargs)
            for array in (*args, *kwargs.values()):
                if isinstance(array, np.ndarray) and not any(np.may_share_memory(array, own) for own in self._weights):
                    self.arrays.append((layer, array))
            return layer

        return add


def _observed_constants(module: ModuleType, network: Any, weights: Mapping[str, Any], observe: ObserveConstant) -> Any:
    """The network for a program to fill, of whose constants ``observe`` is called."""
    prelude, watched = module.Prelude, _Watched(network, weights.values())
    out, constant = prelude.out, prelude.constant
    for name, array in weights.items():
        observe(name, array)

    def observed_constant(self: Any, array: Any, name: str, dtype: str = "") -> Any:
        observe(name, array)
        return constant(self, array, name, dtype)

    def observed_out(self: Any, layer: Any, name: str, index: int = 0) -> Any:
        for owner, array in watched.arrays:
            if owner is layer:
                observe(name, array)
        return out(self, layer, name, index)

    prelude.out, prelude.constant = observed_out, observed_constant
    return watched


def _check(module: ModuleType, case: Case, path: Path) -> None:
    """SuiteError if a program is not of this case."""
    lacking = [name for name in ("INPUTS", "OUTPUTS", "PRECISION", "build") if not hasattr(module, name)]
    if lacking:
        raise SuiteError(f"{path.name} is no network program: it has no {lacking[0]}", where=case.source, fix=_FIX)
    if case.precision != module.PRECISION:
        what = f"{path.name} is a program at {module.PRECISION}, and the case at {case.precision}"
        raise SuiteError(what, where=case.source, fix=f"precision: {module.PRECISION}, or another program")
    axes = shapes.dynamic_axes(case)
    expected = {
        name: tuple(-1 if axis in axes[name] else size for axis, size in enumerate(spec.shape))
        for name, spec in case.resolved.items()
    }
    declared = {name: tuple(shape) for name, (_, shape) in module.INPUTS.items()}
    if declared != expected:
        what = f"{path.name} takes the inputs {declared}, and the case has {expected}"
        raise SuiteError(what, where=case.source, fix="the sizes of the program, or " + _FIX)


def _check_outputs(network: Any, outputs: Mapping[str, str], source: str, case: Case) -> None:
    """SuiteError if the outputs of a network are not those that its program names in OUTPUTS."""
    marked = [network.get_output(index).name for index in range(network.num_outputs)]
    missing = [name for name in outputs.values() if name not in marked]
    unknown = [name for name in marked if name not in outputs.values()]
    if not missing and not unknown:
        return
    parts = [f"does not mark {_outputs(missing)}"] * bool(missing)
    parts += [f"marks {_outputs(unknown)}, which OUTPUTS has not"] * bool(unknown)
    name = (missing or unknown)[0]
    fix = f"p.output(tensor, {name!r}, dtype) at the end of build" if missing else "a line for each in OUTPUTS"
    raise SuiteError(f"{source} {' and '.join(parts)}", where=case.source, fix=fix)


def _outputs(names: Sequence[str]) -> str:
    return f"the output{'s' * (len(names) > 1)} {', '.join(map(repr, names))}"


def _place(error: BaseException, path: Path) -> str:
    """The innermost line of ``path`` outside its prelude's class that an error passed, and the module it is of."""
    lines = path.read_text().splitlines()
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    builds = [frame for frame in frames if frame.name == "build"] or frames
    if not builds or builds[-1].lineno is None:
        return "?"
    number = builds[-1].lineno
    section = next((line.strip() for line in reversed(lines[:number]) if line.startswith("    # ")), "")
    return f"{number}" + (f" ({section.removeprefix('# ')})" if section else "")

"""Whether the user's files fit the cases of a plan: inputs, programs, calibration data, from their headers alone."""

from __future__ import annotations

from pathlib import Path

from bench import tensors
from bench.backends import base
from bench.errors import SuiteError
from bench.model.factory import program_of
from bench.model.suite import Case, Input, Plan, Suite
from bench.runtimes import calibration_data, onnx_file
from bench.runtimes.quantization import QuantizationOptions
from bench.runtimes.torch.options import Fp8Options
from bench.suite.reader import locate


def check(suite: Suite, plan: Plan) -> None:
    """SuiteError at the line of the suite for the first file that is not there, or does not have what a case takes.

    Of calibration data that a function yields nothing is looked at.
    """
    folder = Path(suite.path).parent
    headers: dict[str, dict[str, Input]] = {}
    checked: set[tuple[str, ...]] = set()
    for case in plan.cases:
        sizes = case.model, *(f"{name}={size}" for name, size in sorted(case.symbols.items()))
        if sizes not in checked:
            checked.add(sizes)
            _check(suite, case, folder, headers)
        data = _calibration_data(case)
        if data and (*sizes, data) not in checked:
            checked.add((*sizes, data))
            calibration_data.check(case, folder, data)


def _check(suite: Suite, case: Case, folder: Path, headers: dict[str, dict[str, Input]]) -> None:
    for name, spec in case.inputs.items():
        if spec.file:
            try:
                if spec.file not in headers:
                    headers[spec.file] = tensors.describe(folder / spec.file)
                tensors.check_input(name, spec, case.symbols, headers[spec.file], folder / spec.file)
            except SuiteError as error:
                what = f"{spec.file}: {error.what}"
                raise SuiteError(
                    what, where=locate(suite, f"models.{case.model}.inputs.{name}"), fix=error.fix
                ) from error
    program = program_of(case.factory)
    if program is not None and not (folder / case.factory).is_file():
        what, fix = f"the model's file {case.factory!r} is not there", f"create {folder / case.factory}"
        raise SuiteError(what, where=locate(suite, f"models.{case.model}.factory"), fix=fix)
    if program == "onnx":
        try:
            onnx_file.check(case, folder / case.factory)
        except SuiteError as error:
            raise SuiteError(error.what, where=locate(suite, f"models.{case.model}.factory"), fix=error.fix) from error


def _calibration_data(case: Case) -> str:
    """The file or function that a case is calibrated with; empty where it needs none."""
    backend = base.load(case.backend)
    if not case.options.get("data") or not issubclass(backend.options, QuantizationOptions | Fp8Options):
        return ""
    data = str(case.options["data"])
    return data if any(data.partition(":")[0] in stage.files for stage in backend.stages(case)) else ""

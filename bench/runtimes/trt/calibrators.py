"""Implicit int8 of TensorRT 8.6: the builder runs the network on calibration inputs and chooses the scales itself."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from bench.errors import BenchError, SuiteError, Unsupported
from bench.model.seam import Context
from bench.model.suite import Case
from bench.runtimes import calibration_data, memory
from bench.runtimes.quantization import SAMPLES
from bench.runtimes.trt import library
from bench.tensors import Array

if TYPE_CHECKING:
    from bench.runtimes.trt.options import Options

Name = Literal["entropy", "minmax"]
CACHE = "calibration.cache"
_CLASSES = {"entropy": "IInt8EntropyCalibrator2", "minmax": "IInt8MinMaxCalibrator"}


class Feed:
    """Batches on the device, one after the other: each input has memory of its own that every batch overwrites."""

    def __init__(self, batches: Iterator[Mapping[str, Array]], names: Mapping[str, str], device: str) -> None:
        self._batches = batches
        self._names = {inner: name for name, inner in names.items()}  # of the network -> of the suite
        self._device = device
        self._blocks: dict[str, memory.Block] = {}
        self.error: Exception | None = None
        self.count = 0

    def next(self, names: list[str]) -> list[int] | None:
        """The addresses of the next batch's inputs in the order of ``names``; None after the last one.

        An error ends the batches and is kept in ``error``: the builder would only print it.
        """
        try:
            arrays = next(self._batches, None)
            if arrays is None:
                return None
            self.count += 1
            return [self._write(name, arrays[self._names[name]]) for name in names]
        except (BenchError, KeyError, OSError, ValueError) as error:
            self.error = error
            return None

    def _write(self, name: str, array: Array) -> int:
        if name not in self._blocks:
            self._blocks[name] = memory.block(array.nbytes, self._device)
        self._blocks[name].write(np.ascontiguousarray(array))
        return int(self._blocks[name].ptr)

    def close(self) -> None:
        """Free the memory."""
        for block in self._blocks.values():
            block.free()


@contextlib.contextmanager
def calibration(
    api: library.Api, config: Any, case: Case, options: Options, context: Context, inputs: Mapping[str, str], out: Path
) -> Iterator[dict[str, Any]]:
    """A configuration that calibrates in the block, where the options ask for it; what is recorded of it, filled at the
    end. The calibration cache is written into ``out``.

    Raises:
        Unsupported: this version has no implicit int8.
        SuiteError: the data or the cache is wrong.
    """
    fields: dict[str, Any] = {}
    if options.calibrator is None:
        yield fields
        return
    if api.major >= 10 or not hasattr(api.module, _CLASSES[options.calibrator]):
        what = f"{api.name} is not calibrated: implicit int8 is of TensorRT 8"
        raise Unsupported(what, fix="the backend fx2trt at int8, or an ONNX file with QuantizeLinear")
    cache = _read_cache(options.calibration_cache, context, list(inputs.values()))
    samples = options.samples or SAMPLES
    batches = calibration_data.batches(case, context, samples, options.data or "")
    with contextlib.closing(Feed(batches, inputs, context.device)) as feed:
        calibrator = create(api, options.calibrator, feed, case.batch, cache)
        config.int8_calibrator = calibrator
        try:
            yield fields
        finally:
            if feed.error is not None:
                raise feed.error
        (out / CACHE).write_bytes(calibrator.written or cache or b"")
        fields["calibration"] = {
            "quantizer": api.name, "calibrator": options.calibrator, "samples": feed.count * case.batch,
            "from_cache": options.calibration_cache or "",
        }  # fmt: skip


def _read_cache(name: str, context: Context, inputs: list[str]) -> bytes | None:
    if not name:
        return None
    path = context.suite_dir / name
    try:
        cache = path.read_bytes()
    except OSError as error:
        what = f"the calibration cache {name!r} beside the suite cannot be read: {error.strerror}"
        raise SuiteError(what, fix="leave calibration_cache out") from error
    check_cache(cache, inputs, name)
    return cache


def create(api: library.Api, name: Name, feed: Feed, batch: int, cache: bytes | None) -> Any:
    """The calibrator of TensorRT that reads ``feed``, or in its place ``cache``; ``written`` is the cache it leaves."""
    base: Any = getattr(api.module, _CLASSES[name])

    class Calibrator(base):  # type: ignore[misc]
        def __init__(self) -> None:
            base.__init__(self)
            self._written = b""

        @property
        def written(self) -> bytes:
            return self._written

        def get_batch_size(self) -> int:
            return batch

        def get_batch(self, names: list[str]) -> list[int] | None:
            return feed.next(list(names))

        def read_calibration_cache(self) -> bytes | None:
            return cache

        def write_calibration_cache(self, written: Any) -> None:
            self._written = bytes(written)

    return Calibrator()


def check_cache(cache: bytes, inputs: list[str], where: str) -> None:
    """SuiteError if a calibration cache is none, or is of a network with other inputs.

    Lines are ``name: scale``, the scale as the bits of a float in hexadecimal digits, after one that names the version.
    """
    lines = cache.decode(errors="replace").splitlines()
    if not lines or not lines[0].startswith("TRT-"):
        raise SuiteError(f"{where} is no calibration cache of TensorRT", fix="calibration_cache: the file it wrote")
    scales = dict(line.rsplit(": ", 1) for line in lines[1:] if ": " in line)
    for name in inputs:
        if name not in scales:
            what = f"{where} is the calibration of another network: it has no scale for the input {name!r}"
            raise SuiteError(what, fix="calibrate anew: leave calibration_cache out")
    if zero := sorted(name for name, bits in scales.items() if not bits.strip("0 ")):
        raise SuiteError(f"{where} has a scale of zero for {zero[0]!r}", fix="calibrate anew: leave it out")

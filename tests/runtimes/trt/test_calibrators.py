"""What TensorRT's calibrators read: batches on the device, calibration caches."""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from bench.errors import SuiteError
from bench.runtimes.trt import calibrators

CACHE = b"TRT-8601-EntropyCalibration2\nx: 3c010a14\nconv1: 3d020408\n"


def batches(count: int) -> Iterator[dict[str, Any]]:
    for index in range(count):
        yield {"x": np.full((2, 3), index, np.float32), "ids": np.full(2, index, np.int32)}


def test_batches_come_in_the_order_of_the_names_that_are_asked_for_and_then_end() -> None:
    feed = calibrators.Feed(batches(2), {"x": "input_0", "ids": "input_1"}, "cpu")
    for index in range(2):
        addresses = feed.next(["input_1", "input_0"])
        assert addresses is not None
        ids = np.ctypeslib.as_array(ctypes.cast(addresses[0], ctypes.POINTER(ctypes.c_int32)), (2,))
        x = np.ctypeslib.as_array(ctypes.cast(addresses[1], ctypes.POINTER(ctypes.c_float)), (6,))
        assert (ids.tolist(), x.tolist()) == ([index] * 2, [float(index)] * 6)
    assert feed.next(["input_1", "input_0"]) is None
    assert (feed.count, feed.error) == (2, None)
    feed.close()


def test_an_error_of_the_data_ends_the_batches_and_is_kept_for_the_build_to_raise() -> None:
    def broken() -> Iterator[dict[str, Any]]:
        yield from batches(1)
        raise SuiteError("data.py:batches raised ValueError: torn")

    feed = calibrators.Feed(broken(), {"x": "x", "ids": "ids"}, "cpu")
    assert feed.next(["x"]) is not None
    assert feed.next(["x"]) is None
    assert "torn" in str(feed.error)
    feed.close()


def test_a_cache_of_the_network_is_taken() -> None:
    calibrators.check_cache(CACHE, ["x"], "calibration.cache")


@pytest.mark.parametrize(
    ("cache", "inputs", "message"),
    [
        (b"", ["x"], "is no calibration cache of TensorRT"),
        (b"\x00\x01", ["x"], "is no calibration cache of TensorRT"),
        (CACHE, ["images"], "is the calibration of another network: it has no scale for the input 'images'"),
        (CACHE.replace(b"3d020408", b"00000000"), ["x"], "has a scale of zero for 'conv1'"),
    ],
)
def test_a_cache_of_something_else_is_refused(cache: bytes, inputs: list[str], message: str) -> None:
    with pytest.raises(SuiteError, match=message):
        calibrators.check_cache(cache, inputs, "calibration.cache")

"""Calibrations on disk: what is written is read, of every schema, and what cannot be is refused."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from bench.errors import StoreError
from bench.model.calibration import Calibration
from bench.store import calibrations
from tests.analysis.test_spreads import CALIBRATION as EXAMPLE

GOLDEN = Path(__file__).parents[1] / "golden" / "calibration-v1.json"
NAME = "calibration-20261128T120000Z-0123abc"
CALIBRATION = msgspec.structs.replace(EXAMPLE, calibration=NAME)


def test_what_is_written_is_read_and_looked_up(tmp_path: Path) -> None:
    path = calibrations.write(tmp_path, CALIBRATION)
    assert path == tmp_path / "sm_90" / "h100" / f"{NAME}.json"
    assert calibrations.read(path) == CALIBRATION
    assert calibrations.resolve(tmp_path, NAME.rpartition("-")[2]) == path
    newer = calibrations.write(tmp_path, msgspec.structs.replace(CALIBRATION, calibration=NAME.replace("1128", "1129")))
    assert calibrations.files(tmp_path) == [newer, path]
    assert [*tmp_path.rglob("*.part")] == []
    assert calibrations.resolve(tmp_path, "calibration-20261128") == path
    assert calibrations.resolve(tmp_path, "20261128") == path
    assert calibrations.resolve(tmp_path, str(newer)) == newer
    with pytest.raises(StoreError, match="fits 2 calibrations"):
        calibrations.resolve(tmp_path, "calibration-2026112")
    with pytest.raises(StoreError, match=f"Did you mean '{NAME}'"):
        calibrations.resolve(tmp_path, NAME.replace("calibration", "calibraton"))
    with pytest.raises(StoreError, match="no calibration 'x' in "):
        calibrations.resolve(tmp_path / "empty", "x")


def test_a_folder_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "sm_90").write_text("a file")
    with pytest.raises(StoreError, match="cannot be written"):
        calibrations.write(tmp_path, CALIBRATION)


def test_the_file_of_schema_1_is_read() -> None:
    golden = calibrations.read(GOLDEN)
    assert golden.schema == 1
    assert golden.sittings == ("A", "B")
    assert {level.label for level in golden.levels} == {"net/eager/fp32/batch=1"}
    (whole,) = golden.boundaries
    assert whole.session.sd == pytest.approx(0.0141, abs=0.002)
    assert whole.without.rate > 0.9
    assert whole.needs[-1].one_sitting is not None
    assert calibrations.SCHEMA in calibrations.HISTORY


def changed(**fields: object) -> bytes:
    return msgspec.json.encode(msgspec.to_builtins(CALIBRATION) | fields)


def level(**fields: object) -> dict[str, object]:
    (whole,) = CALIBRATION.boundaries
    return {"boundaries": [msgspec.to_builtins(whole) | fields]}


@pytest.mark.parametrize(
    ("content", "what"),
    [
        (b"", "not a calibration"),
        (b"[1]", "not a calibration"),
        (b"{}", "it has no schema"),
        (b'{"schema": 99}', "it has schema 99; this trtbench reads calibrations up to 1"),
        (b'{"schema": 1}', "missing required field"),
        (changed(replicates=1), "replicates is 1"),
        (changed(**level(process={"sd": -0.1, "low": 0, "high": 1, "dof": 3})), "a standard deviation of -0.1"),
        (changed(**level(process={"sd": 1e999, "low": 0, "high": 1, "dof": 3})), "not a calibration"),
        (changed(**level(one_sitting=-1)), "one_sitting is -1"),
        (
            changed(**level(within={"replicates": 7, "splits": 0, "alarms": 0, "pairs": 0, "low": 0, "high": 1})),
            "0 alarms of 0",
        ),
    ],
)
def test_what_is_no_calibration_is_refused(tmp_path: Path, content: bytes, what: str) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=what):
        calibrations.read(path)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="cannot be read: No such file"):
        calibrations.read(tmp_path / "c.json")


def test_unknown_fields_of_a_newer_version_are_ignored(tmp_path: Path) -> None:
    path = tmp_path / "c.json"
    path.write_bytes(changed(later=1))
    assert isinstance(calibrations.read(path), Calibration)

"""What the stand-in for TensorRT does in a test: its version, the errors that it tells, and objects bound to both."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

from tests.runtimes.trt import names as trt_names


@dataclasses.dataclass
class Script:
    """One version, and what it does: see the fields' names. ``entries`` are what the build adds to its timing cache."""

    version: str
    gpu: bool = True
    plugins: bool = True
    parse_errors: Sequence[ParseError] = ()
    parse_log: Sequence[str] = ()
    build_log: Sequence[tuple[str, str]] = ()
    load_log: Sequence[str] = ()
    fails: bool = False
    fails_with_times: bool = False  # builds nothing with a timing cache of Myelin's, and says so
    entries: Sequence[str] = ("conv",)
    refused: Sequence[str] = ()  # properties of the configuration that keep their value
    steps: Sequence[tuple[str, str | None, int]] = ()
    untyped_outputs: bool = False  # the parser leaves the outputs of the network with the type that they have
    calls: list[str] = dataclasses.field(default_factory=list)

    @property
    def major(self) -> int:
        return int(self.version.split(".")[0])


@dataclasses.dataclass
class ParseError:
    """An error as the parser of 10 tells it; 8.6 has the number and the text alone."""

    number: int
    text: str
    operator: str = ""
    name: str = ""
    stack: Sequence[str] = ()


class Named:
    """Base of the stand-ins: the module and the script that each is made for."""

    _trt: Any
    _script: Script

    @property
    def _severity(self) -> Any:
        return trt_names.enum_of("ILogger.Severity", self._script.version)

    def _tensor(self, name: str, dtype: Any, shape: Sequence[int]) -> Any:
        made = self._trt.ITensor()
        made.name, made.dtype, made.shape = name, dtype, tuple(shape)
        return made

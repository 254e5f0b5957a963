"""Generated code that is kept: the files of each case, and the order in which its program calls kernels."""

from __future__ import annotations

from typing import Literal

from bench.model.data import Data

# In the payload of a stage of kind ``code``: its description, and the folder of its files.
ABOUT, FILES = "code.json", "files"


class CodeFile(Data, frozen=True, kw_only=True):
    """A file: ``path`` is relative to the case's folder, ``what`` says what it holds, ``bytes`` is its size."""

    path: str
    what: str
    bytes: int


class Call(Data, frozen=True, kw_only=True):
    """One call of a compiled program: a ``kernel`` that its compiler wrote, or an ``operator`` of a library."""

    kind: Literal["kernel", "operator"]
    name: str


class Code(Data, frozen=True, kw_only=True):
    """What the compiler of one case wrote; ``calls`` are in the order of the program, graph by graph."""

    files: tuple[CodeFile, ...] = ()
    calls: tuple[Call, ...] = ()
    notes: tuple[str, ...] = ()


class CaseCode(Data, frozen=True, kw_only=True):
    """A case and its code in ``folder``, relative to the index; without code ``why`` says why."""

    case: str
    label: str
    folder: str = ""
    code: Code = Code()
    why: str = ""


class CodeIndex(Data, frozen=True, kw_only=True):
    """What ``--keep-code`` has kept, in the order of the plan."""

    created: str
    version: str
    suite: str
    cases: tuple[CaseCode, ...] = ()

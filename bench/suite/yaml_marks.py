"""YAML with a line for every key, and the SuiteErrors that name the file and the line of a wrong value."""

from __future__ import annotations

import math
import os
import re
import shlex
import stat
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec
import yaml

from bench.errors import SuiteError, did_you_mean
from bench.system import plainfile

MAX_BYTES = 1 << 20  # PyYAML reads some 100 KB a second
MAX_NODES = 100_000
MAX_DEPTH = 50
_MAX_INT = 2**63
_TAG = "tag:yaml.org,2002:"
_MERGE = _TAG + "merge"


class Document(msgspec.Struct, frozen=True):
    """Where a file's values stand: ``lines`` maps a dotted key such as ``matrix.backend.2`` to its line; its text.
    ``switches`` are the words that stand for on or off, by key: ``yes``, ``False``.
    """

    path: str
    lines: dict[str, int]
    text: str = ""
    switches: dict[str, str] = {}


class Node(msgspec.Struct, frozen=True):
    """A value of plain data (dict, list, str, int, float, bool, None) that knows its place."""

    value: Any
    key: str
    document: Document


class _Loader(yaml.SafeLoader):
    """The YAML 1.1 loader, which reads ``1e-3`` as text, taught the numbers of YAML 1.2."""


_Loader.add_implicit_resolver(
    _TAG + "float", re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+\Z"), list("-+0123456789")
)


def read(path: Path) -> Node:
    """The whole file. SuiteError if it cannot be read, does not parse, or has a key twice."""
    text = text_of(path)
    loader: _Loader | None = None
    try:
        loader = _Loader(text)
        root = loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        what = ", ".join(part for part in (error.context, error.problem) if part)
        place = f"{path}:{mark.line + 1 if mark else 1}"
        raise SuiteError(f"not YAML: {what}", where=place, fix=_syntax_fix(what)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        what = f"not YAML: character #x{ord(text[error.position]):04x} is not allowed"
        raise SuiteError(what, where=f"{path}:{line}", fix="remove the character") from error
    except RecursionError as error:
        fix = "close each bracket, and nest less"
        raise SuiteError("nested too deep", where=f"{path}:1", fix=fix) from error
    except (ValueError, OverflowError, LookupError, TypeError, AttributeError) as error:
        # Where PyYAML does not check: escapes beyond Unicode, directives of thousands of digits.
        place = f"{path}:{loader.line + 1 if loader else 1}"
        raise SuiteError(f"not YAML: {error}"[:200], where=place, fix=_syntax_fix("")) from error
    if root is None:
        raise SuiteError("the file is empty", where=f"{path}:1", fix="start from a file in suites/")
    reader = _Reader(str(path), loader)
    return Node(reader.plain(root, "", 0), "", Document(str(path), reader.lines, text, reader.switches))


def _syntax_fix(what: str) -> str:
    if "\\t" in what:
        return "indent with blanks, YAML takes no tabs"
    if "expected a single document" in what:
        return "remove the line `---`: a file holds one suite"
    return "there or just above: close each [ { and quote, indent alike, and put text that has `: ` or ` #` in quotes"


def locate(path: str, lines: Mapping[str, int], key: str) -> str:
    """``suites/x.yaml:14``: the line of a dotted key, or of its nearest parent that has one."""
    while key and key not in lines:
        key = key.rpartition(".")[0]
    return f"{path}:{lines.get(key, 1)}"


def text_of(path: Path) -> str:
    """The text of a plain file. SuiteError if it is none, too large, or cannot be read as UTF-8."""
    try:
        data = _bytes_of(path)
    except FileNotFoundError as error:
        names, fix = _beside(path.parent)
        raise SuiteError(f"there is no such file.{did_you_mean(path.name, names)}", where=str(path), fix=fix) from error
    except ValueError as error:
        raise SuiteError("this cannot be the path of a file", where=repr(str(path))) from error
    except OSError as error:
        fix = f"ls -l {shlex.quote(str(path))}, to see who may read it"
        raise SuiteError(f"the file cannot be read: {error.strerror}", where=str(path), fix=fix) from error
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"not YAML: the text is not UTF-8: byte 0x{data[error.start]:02x} at offset {error.start}"
        name = shlex.quote(str(path))
        fix = f"save it as UTF-8, e.g. iconv -f latin1 -t utf-8 {name} -o utf8.yaml"
        raise SuiteError(what, where=f"{path}:{line}", fix=fix) from error


def _bytes_of(path: Path) -> bytes:
    """What a plain file holds; nothing is opened that is none, and no pipe is waited for."""
    kind = plainfile.other_kind(path)
    if kind == "a folder":
        raise SuiteError("this is a folder, a suite is a file", where=str(path), fix=_beside(path)[1])
    if kind == "a link":  # what is beside the link is not what is beside the file
        what = "this is a link, a suite is a file: what it names lies beside it"
        raise SuiteError(what, where=str(path), fix=f"name the file: {shlex.quote(str(path.resolve()))}")
    if kind:  # its folder is where factories are looked up, and its place is stored, so that the run can be resumed
        raise SuiteError(f"this is {kind}, a suite is a file", where=str(path), fix="save it first: cat > suite.yaml")
    fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise SuiteError("this is no file", where=str(path))
        data = file.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        what = f"the file is larger than {MAX_BYTES >> 20} MiB, and no suite is"
        raise SuiteError(what, where=str(path), fix=_beside(path.parent)[1])
    return data


def _beside(folder: Path) -> tuple[list[str], str]:
    """The suites of a folder, and a fix that names them."""
    files = [file.name for file in folder.glob("*.y*ml")] if folder.is_dir() else []
    names = sorted(name for name in files if not name.startswith("."))
    what = "this folder" if folder == Path() else folder
    return names, f"{what} has {', '.join(names)}" if names else "the path of a suite, a YAML file (docs/suites.md)"


class _Reader:
    """Turns composed nodes into plain data and notes the lines on the way."""

    def __init__(self, path: str, loader: _Loader) -> None:
        self.lines: dict[str, int] = {}
        self.switches: dict[str, str] = {}
        self._path = path
        self._loader = loader
        self._count = 0

    def plain(self, node: yaml.Node, key: str, depth: int) -> Any:
        self._count += 1
        self.lines.setdefault(key, node.start_mark.line + 1)
        # A few lines of aliases can stand for billions of values, or for themselves.
        if self._count > MAX_NODES or depth > MAX_DEPTH:
            raise self._fail(node, "too many values, or nested too deep")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.plain(item, _join(key, index), depth + 1) for index, item in enumerate(node.value)]
        value = self._scalar(node)
        if isinstance(value, bool):
            self.switches[key] = node.value
        return value

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, Any]:
        values = self._merge(node, key, depth)
        names = set()
        for name_node, value_node in node.value:
            if name_node.tag == _MERGE:
                continue
            name = self._scalar(name_node) if isinstance(name_node, yaml.ScalarNode) else None
            if not isinstance(name, str) or not name:
                raise self._fail(name_node, "a key must be text", "put it in quotes")
            if name in names:
                raise self._fail(name_node, f"the key {name!r} is here twice", "remove one of them")
            names.add(name)
            self.lines[_join(key, name)] = name_node.start_mark.line + 1
            values[name] = self.plain(value_node, _join(key, name), depth + 1)
        return values

    def _merge(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, Any]:
        """What ``<<: *anchor`` brings along; of several anchors the first wins."""
        values: dict[str, Any] = {}
        for name_node, value_node in node.value:
            if name_node.tag == _MERGE:
                is_list = isinstance(value_node, yaml.SequenceNode)
                for other in reversed(value_node.value) if is_list else [value_node]:
                    if not isinstance(other, yaml.MappingNode):
                        raise self._fail(other, "`<<` merges mappings only")
                    values.update(self.plain(other, key, depth + 1))
        return values

    def _scalar(self, node: yaml.Node) -> Any:
        tag = node.tag.removeprefix(_TAG)
        if tag in ("str", "timestamp", "value"):
            value: Any = node.value
        elif tag in ("int", "float", "bool", "null"):
            try:
                value = self._loader.construct_object(node)
            except (ValueError, LookupError, TypeError, OverflowError, yaml.YAMLError) as error:
                raise self._fail(node, f"{node.value!r} is not a number", "put text in quotes") from error
        else:
            raise self._fail(node, f"the YAML tag {node.tag!r} is not supported", "write plain YAML")
        if isinstance(value, int) and not -_MAX_INT <= value < _MAX_INT:
            raise self._fail(node, "the number does not fit into 64 bits")
        if isinstance(value, float) and not math.isfinite(value):  # JSON has no word for it
            raise self._fail(node, f"{node.value} cannot be stored", "a number, or text in quotes")
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= char <= "\udfff" for char in value):
            raise self._fail(node, "half a surrogate pair is not text")
        return value

    def _fail(self, node: yaml.Node, what: str, fix: str = "") -> SuiteError:
        return SuiteError(what, where=f"{self._path}:{node.start_mark.line + 1}", fix=fix)


def _join(key: str, name: object) -> str:
    return f"{key}.{name}" if key else str(name)


# ------------------------------------------------------------------------------------------------------- the checks


def fail(node: Node, what: str, fix: str = "") -> SuiteError:
    """The error to raise about ``node``."""
    return SuiteError(what, where=locate(node.document.path, node.document.lines, node.key), fix=fix)


def expected(node: Node, description: str, fix: str = "") -> SuiteError:
    """The error to raise when the value of ``node`` does not match ``description``."""
    return fail(node, f"{node.key or 'the suite'}: expected {description}, got {describe(node)}", fix)


def describe(node: Node) -> str:
    """A value of a suite as errors name it, in at most 60 characters: a switch by its word in the file."""
    value = node.value
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else "a list"
    if value is None or isinstance(value, bool):
        return "nothing" if value is None else node.document.switches.get(node.key, "on" if value else "off")
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "..."


def mapping(node: Node, keys: Collection[str] | None = None, noun: str = "key") -> dict[str, Node]:
    """The entries by key. SuiteError if it is no mapping, or a key is not among those known."""
    if not isinstance(node.value, dict):
        raise expected(node, "a mapping (`key: value`)")
    entries = {name: Node(value, _join(node.key, name), node.document) for name, value in node.value.items()}
    for name, entry in entries.items():
        if keys is not None and name not in keys:
            place = f" in {node.key}" if node.key else ""
            what = f"unknown {noun} {name!r}{place}.{did_you_mean(name, keys)}"
            raise fail(entry, what, f"known: {', '.join(keys)}" if keys else f"leave it out: there is no {noun} here")
    return entries


def sequence(node: Node) -> list[Node]:
    """The items of a list. SuiteError for anything else."""
    if not isinstance(node.value, list):
        raise expected(node, "a list")
    return [Node(value, _join(node.key, index), node.document) for index, value in enumerate(node.value)]


def several_items(node: Node) -> list[Node]:
    """The items of a list with at least one item; a single value is a list of one."""
    items = sequence(node) if isinstance(node.value, list) else [node]
    if not items or node.value is None:
        raise fail(node, f"{node.key} is empty", "give it a value, or remove it")
    return items

"""What names of layers, nodes and modules say of a model's structure: which modules a kernel or a layer computes.

Module paths are those of torch (``layer1.0.conv1``). The grammars read are those of

- torch: paths, several joined by ``+``
- ONNX nodes from scopes: ``/layer1/layer1.0/conv1/Conv``
- TensorRT: ``a + b``, ``a || b``, ``PWN(a, b)``, ``Reformatting CopyNode for Input Tensor 0 to a``,
  ``{ForeignNode[a...b]}``, ``squeeze_after_a``, ``a_myl0_3``, ``(Unnamed Layer* 3) [Activation]``
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from bench.model.data import Data

_REFORMAT = re.compile(r"Reformatting CopyNode for (?:Input|Output) Tensor \d+ (?:to|from) ")
_FOREIGN = re.compile(r"\{ForeignNode\[(.*)\.\.\.(.*)\]\}", re.DOTALL)
_UNNAMED = re.compile(r"\(Unnamed Layer\* ?\d+\) ?\[([^\]]*)\]")
_WRAPPED = re.compile(r"(?:PWN|ONNXTRT_\w+|fused|copied)\((.*)\)", re.DOTALL)
# What TensorRT puts in front of the name of a node for the shuffles and copies around it, and Myelin behind it.
_AROUND = re.compile(
    r"(?:copied_)?(?:squeeze|reshape|shuffle|unsqueeze|transpose)(?:_(?:node|tensor))?_(?:after|before|between)_"
)
_MYELIN = re.compile(r"_myl\d+_\d+$|\+?_myl\d+$")
_GENERATED = re.compile(r"__my[le]")
_CLONE = re.compile(r" ?(?:_clone_\d+|\[[\w ]*\]|_\d+ \d+)$")
# A constant is no module.
_PARAMETER = re.compile(r"(?:^|\.)(?:weight|bias|running_mean|running_var)$")
_NUMBERED = re.compile(r"_\d+$")
_TOP_LEVEL = re.compile(r"[A-Z][A-Za-z]*_\d+")


class Name(Data, frozen=True):
    """One node or module: ``exact`` as the runtime has it, its module ``path`` in torch's words (empty where the name
    does not tell; ``.`` is the model itself), and the type of its ``operator`` if it is a node's.
    """

    exact: str
    path: str = ""
    operator: str = ""


class Names(Data, frozen=True):
    """What one text names. ``span``: the first and last of ``names`` stand for all between them. ``operators`` are the
    types of layers without a name.
    """

    names: tuple[Name, ...] = ()
    operators: tuple[str, ...] = ()
    reformat: bool = False
    span: bool = False


def parse(text: str) -> Names:
    """The nodes and modules that ``text``, the name of a layer or the module of a kernel, consists of."""
    rest = _REFORMAT.sub("", text)
    reformat = rest != text
    foreign = _FOREIGN.search(rest)
    pieces = [foreign[1], foreign[2]] if foreign else list(_pieces(rest))
    names: list[Name] = []
    operators: list[str] = []
    for piece in pieces:
        if unnamed := _UNNAMED.search(piece):
            operators.append(unnamed[1])
        elif name := one(piece):
            names.append(name)
    return Names(tuple(dict.fromkeys(names)), tuple(operators), reformat, foreign is not None)


def one(text: str) -> Name | None:
    """A single node or module; None for what is a constant or of the runtime itself."""
    exact = _MYELIN.sub("", _CLONE.sub("", _AROUND.sub("", text.strip())))
    if not exact or _GENERATED.match(exact) or _PARAMETER.search(exact):
        return None
    if exact.startswith("/"):
        *scopes, operator = exact.strip("/").split("/")
        return Name(exact, path_of(scopes), _NUMBERED.sub("", operator))
    if "/" in exact:  # names of other exporters
        return Name(exact, operator=_NUMBERED.sub("", exact.rpartition("/")[2]))
    if _TOP_LEVEL.fullmatch(exact):  # of the legacy exporter, outside of all modules: Identity_0
        return Name(exact, operator=_NUMBERED.sub("", exact))
    if exact.startswith("node_"):
        return Name(exact, operator=_NUMBERED.sub("", exact.removeprefix("node_")))
    return Name(exact, exact)


def path_of(scopes: list[str]) -> str:
    """``["layer1", "layer1.0", "conv1"]`` -> ``layer1.0.conv1``: children of a Sequential repeat its name."""
    parts: list[str] = []
    for scope in scopes:
        if parts and scope.startswith(f"{parts[-1]}."):
            parts[-1] = scope
        else:
            parts.append(scope)
    return ".".join(parts) or "."


def common(paths: list[str]) -> str:
    """The module that all ``paths`` lie in: ``layer1.0`` of ``layer1.0.conv1`` and ``layer1.0.relu``; may be empty."""
    parts = [[] if path == "." else path.split(".") for path in paths]
    shared = []
    for levels in zip(*parts, strict=False):
        if len(set(levels)) > 1:
            break
        shared.append(levels[0])
    return ".".join(shared)


def _pieces(text: str) -> Iterator[str]:
    """Split at ``+``, ``||`` and, within PWN(...), commas, outside of brackets."""
    wrapped = _WRAPPED.fullmatch(text.strip())
    if wrapped:
        text = wrapped[1]
    depth, start = 0, 0
    at = 0
    while at < len(text):
        character = text[at]
        depth += (character in "([{") - (character in ")]}")
        width = 2 if text.startswith("||", at) else 1 if character == "+" or (wrapped and character == ",") else 0
        if width and depth == 0:
            yield from _inside(text[start:at])
            start = at + width
            at = start
        else:
            at += 1
    yield from _inside(text[start:])


def _inside(piece: str) -> Iterator[str]:
    piece = piece.strip()
    if _WRAPPED.fullmatch(piece):
        yield from _pieces(piece)
    elif piece:
        yield piece

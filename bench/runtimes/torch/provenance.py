"""Which modules and operators each kernel of Inductor's programs computes, read while they are compiled or loaded.

Everything is read from what exists anyway: the comments in the generated code name the nodes of Dynamo's graph and
the operators of each kernel call, and the nodes of that graph have their modules. So nothing of the program or its
cache keys changes, and programs that come from Inductor's cache tell as much as new ones.
``torch._inductor.config.trace.provenance_tracking_level`` would be another way: since torch 2.13 it is part of the key
of the cache, so that what was compiled for a measurement is compiled again, and where kernels are timed to choose among
them, others may be chosen.

Kernels in C++ for CPUs have no such comments: of them the code has the name only. A profiler shows them only if
``torch._inductor.config.cpp.enable_kernel_profile`` was set when they were compiled, which does change the code.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from unittest import mock

from bench.model.provenance import KernelCall, Provenance
from bench.runtimes.torch.session import own_warnings_filtered

_SOURCES = re.compile(
    r"\s*(?:#|//) (?:Topologically Sorted |Unsorted )?Source Nodes: \[(.*?)\], Original ATen: \[(.*?)\]"
)
_MAPPING = re.compile(r"\s*(?:#|//)   (\w+) => ([\w, ]+)$")
_DEFINITION = re.compile(r"(\w+) = async_compile\.\w+\(")
# A kernel of Inductor's own, in Python and C++ wrappers, and a function of a library.
_OWN = re.compile(r"\b(?:(triton_\w+)\.run\(|call_(triton_\w+)\(|(cpp_\w*fused\w*)\()")
_EXTERN = re.compile(r"\b(extern_kernels\.\w+|torch\.ops\.[\w.]+|aoti_torch_\w+)\(")
# What computes nothing: a kernel's comments have it where it reads through a view.
_VIEWS = frozenset(
    ("view", "_unsafe_view", "reshape", "t", "permute", "transpose", "expand", "unsqueeze", "squeeze", "slice",
     "select", "alias", "detach", "unbind", "split", "split_with_sizes", "getitem", "as_strided")
)  # fmt: skip
_NUMBER = re.compile(r"_\d+$")

# Paths of modules by the names of nodes of Dynamo's graph.
Paths = Mapping[str, str]


class _Comment(NamedTuple):
    """The nodes and operators that a comment names; ``views`` are the places of nodes that are views alone."""

    nodes: tuple[str, ...]
    operators: tuple[str, ...]
    views: frozenset[int] = frozenset()


_NOTHING = _Comment((), ())


class Watch:
    """The graphs that were compiled or loaded since, each with the file of its code and the paths of its nodes."""

    def __init__(self) -> None:
        self._graphs: list[tuple[Path, Paths]] = []
        self._compiling: list[Paths] = []

    @contextlib.contextmanager
    def graph(self, module: Any) -> Iterator[None]:
        """What is loaded in the block is the code of ``module``, Dynamo's GraphModule."""
        self._compiling.append(paths_of(module))  # now, as the compiler changes the graph
        try:
            yield
        finally:
            self._compiling.pop()

    def loaded(self, path: str) -> None:
        """A file of generated code was imported."""
        self._graphs.append((Path(path), self._compiling[-1] if self._compiling else {}))

    def provenance(self) -> Provenance:
        """Of all graphs; a file that is gone by now, or has no kernel call, adds nothing."""
        calls: list[KernelCall] = []
        for path, paths in self._graphs:
            with contextlib.suppress(OSError):
                calls += parse(path.read_text(errors="replace"), paths)
        return Provenance(calls=tuple(calls))


@contextlib.contextmanager
def watch() -> Iterator[Watch]:
    """Observe what ``torch.compile`` compiles with Inductor, or loads from its cache, in the block.

    For workers that profile: those that measure run without it. A torch that has other functions there tells nothing.
    """
    with own_warnings_filtered():
        import torch._inductor.codecache as codecache
        import torch._inductor.compile_fx as compile_fx

    seen = Watch()
    with contextlib.ExitStack() as stack:
        compiler = getattr(compile_fx, "compile_fx", None)
        loader = getattr(getattr(codecache, "PyCodeCache", None), "load_by_key_path", None)
        if compiler is not None and loader is not None:
            stack.enter_context(mock.patch.object(compile_fx, "compile_fx", _observed(compiler, seen)))
            stack.enter_context(mock.patch.object(codecache.PyCodeCache, "load_by_key_path", _recorded(loader, seen)))
        yield seen


def _observed(compiler: Callable[..., Any], seen: Watch) -> Callable[..., Any]:
    def compile_fx(model_: Any, *args: Any, **kwargs: Any) -> Any:
        with seen.graph(model_):
            return compiler(model_, *args, **kwargs)

    return compile_fx


def _recorded(loader: Callable[..., Any], seen: Watch) -> Callable[..., Any]:
    def load_by_key_path(key: str, path: str, *args: Any, **kwargs: Any) -> Any:
        module = loader(key, path, *args, **kwargs)
        seen.loaded(path)
        return module

    return load_by_key_path


# ------------------------------------------------------------------------------------------------------------- modules


def paths_of(module: Any) -> Paths:
    """The path of the innermost module that each node of a GraphModule belongs to; those of the model itself have none.
    Empty for what is no GraphModule.
    """
    graph = getattr(module, "graph", None)
    paths = {}
    for node in getattr(graph, "nodes", ()):
        stack = node.meta.get("nn_module_stack")
        if not stack:
            continue
        innermost = list(stack.values())[-1]
        if path := module_path(str(innermost[0] if isinstance(innermost, tuple) else innermost)):
            paths[str(node.name)] = path
    return paths


def module_path(expression: str) -> str:
    """``L['self'].layer1.0.conv1`` as ``layer1.0.conv1``; the spellings of older versions too, as
    ``L['self']._modules['layer1']`` and ``getattr(L['self'].layer1, '0')``.
    """
    text = expression
    while (plain := re.sub(r"getattr\(([^()]*), '(\w+)'\)", r"\1.\2", text)) != text:
        text = plain
    text = re.sub(r"^[LG]\['\w+'\]", "", text)
    text = re.sub(
        r"\._modules\['(\w+)'\]|\['(\w+)'\]|\[(\d+)\]", lambda match: f".{next(filter(None, match.groups()))}", text
    )
    return text.strip(".")


# ---------------------------------------------------------------------------------------------------------------- code


def parse(code: str, paths: Paths) -> list[KernelCall]:
    """The kernel calls of a file of Inductor's code, with the modules of their nodes by ``paths``."""
    definitions: dict[str, _Comment] = {}
    calls: list[KernelCall] = []
    comment = _NOTHING
    targets: dict[str, list[str]] = {}
    for line in code.splitlines():
        if match := _SOURCES.match(line):
            comment, targets = _Comment(_split(match[1]), _split(match[2])), {}
        elif match := _MAPPING.match(line):
            targets[match[1]] = list(_split(match[2]))
        elif match := _DEFINITION.match(line):
            definitions[match[1]] = comment._replace(views=_views(comment.nodes, targets))
            comment = _NOTHING
        elif match := _OWN.search(line):
            name = next(filter(None, match.groups()))
            if name in definitions or comment is not _NOTHING:
                calls.append(_own(name, comment, definitions.get(name, _NOTHING), paths))
                comment = _NOTHING
        elif comment is not _NOTHING and (match := _EXTERN.search(line)):
            calls.append(_extern(match[1], comment, paths))
            comment = _NOTHING
    return calls


def _split(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())


def _views(nodes: Sequence[str], targets: Mapping[str, Sequence[str]]) -> frozenset[int]:
    """The places of ``nodes`` of which the kernel has views alone."""
    return frozenset(
        place
        for place, node in enumerate(nodes)
        if targets.get(node) and all(_NUMBER.sub("", name) in _VIEWS for name in targets[node])
    )


def _own(name: str, call: _Comment, definition: _Comment, paths: Paths) -> KernelCall:
    """A kernel that several calls share has the comment of its definition from one of them."""
    comment = call if call is not _NOTHING else definition
    views = definition.views if len(comment.nodes) == len(definition.nodes) else frozenset()
    nodes = [node for place, node in enumerate(comment.nodes) if place not in views]
    return KernelCall(kernel=name, modules=_modules(nodes, paths), operators=_operators(comment.operators))


def _extern(name: str, comment: _Comment, paths: Paths) -> KernelCall:
    """Its comment names first what its inputs were computed by, through views of them, and last what it computes."""
    operators = _operators(comment.operators)
    return KernelCall(kernel=name, modules=_modules(comment.nodes[-1:], paths), operators=operators[-1:], extern=True)


def _modules(nodes: Sequence[str], paths: Paths) -> tuple[str, ...]:
    return tuple(dict.fromkeys(paths[node] for node in nodes if node in paths))


def _operators(names: Sequence[str]) -> tuple[str, ...]:
    computing = [name for name in names if name.rpartition(".")[2] not in _VIEWS]
    return tuple(name.replace(".", "::", 1) for name in computing or names)

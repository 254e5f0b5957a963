"""Code that Inductor and AOTInductor generate: which files it consists of, and in which order it calls kernels."""

from __future__ import annotations

import ast
import contextlib
import re
import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.errors import Unavailable
from bench.model.code import ABOUT, FILES, Call, Code, CodeFile
from bench.runtimes.torch import caches

# What files hold, by the end of their names; the first that fits counts. What fits none is not kept.
_KINDS = {
    "output_code.py": "the compiled program: Python wrapper",
    "fx_graph_runnable.py": "graph before compiling, as a script that runs alone",
    "fx_graph_readable.py": "graph before compiling",
    "fx_graph_transformed.py": "graph after Inductor's passes",
    "ir_pre_fusion.txt": "Inductor's nodes before fusion",
    "ir_post_fusion.txt": "Inductor's nodes after fusion",
    ".wrapper.cpp": "the compiled program: C++ wrapper",
    ".kernel.cpp": "kernels: C++ source",
    "_metadata.json": "for which device it was compiled",
    ".main.cpp": "kernels: C++ source",
    ".cpp": "C++ source",
    ".cu": "CUDA source",
    ".ttir": "kernel: Triton IR",
    ".ttgir": "kernel: Triton GPU IR",
    ".llir": "kernel: LLVM IR",
    ".ptx": "kernel: PTX",
    ".cubin": "kernel: compiled for one kind of GPU",
    ".so": "compiled for this CPU",
    ".json": "settings of a kernel",
    ".py": "kernel: Triton source",
}
_TRITON = "@triton.jit"
_CPP_PROGRAM = "cpp_wrapper_src"
# Where the body of a program in C++ begins; it ends with a comment that repeats the name.
_CPP_BODY = re.compile(r"\bvoid (AOTInductorModel::run_impl|inductor_entry_impl)\(")
# In the order of a line: a kernel of Triton's or its launch, one of the CPU's, an operator of a library.
_CPP_CALL = re.compile(
    r"\bcall_(?P<triton>\w+)\(|\blaunchKernel\(kernels_?\.(?P<launch>\w+)|\b(?P<cpu>cpp_fused\w*)\("
    r"|\baoti_torch_(?:cpu|cuda|xpu|mps)_(?P<shim>\w+)\(|\baoti_torch_(?P<out>\w+_out)\("
    r'|\baoti_torch_call_dispatcher\("(?P<operator>[\w:.]+)"|\baoti_torch_proxy_executor_(?P<proxy>\w+)\('
)
_OPERATORS = ("extern_kernels.", "torch.ops.", "aten.")
_NESTED = "self.partitions"


def of_package(package: Path, out: Path) -> None:
    """Write what a package of AOTInductor holds to the payload ``out``."""
    folder = out / FILES
    with zipfile.ZipFile(package) as archive:
        for member in archive.infolist():
            name = Path(member.filename).name
            if not member.is_dir() and what_of(name):
                folder.mkdir(exist_ok=True)
                (folder / name).write_bytes(archive.read(member))
    write(out, "the package that the case runs")


@contextlib.contextmanager
def compiling(out: Path, scratch: Path) -> Iterator[None]:
    """Write what Inductor compiles in the block to the payload ``out``: nothing comes from earlier caches.

    Unavailable if nothing was written.
    """
    import torch._inductor.config as config

    trace, cached = scratch / "trace", scratch / "caches"
    settings = {"trace.enabled": True, "trace.debug_dir": str(trace), "trace.graph_diagram": False}
    with caches.caches_in(cached), config.patch(settings):
        yield
    graphs = sorted({path.parent for path in trace.rglob("output_code.*")})
    if not graphs:
        what = "torch.compile wrote no code of this case into its debug trace (torch._inductor.config.trace)"
        raise Unavailable(what, fix="another version of torch")
    for number, graph in enumerate(graphs):
        _copy(graph, out / FILES / f"graph_{number}")
    for name in ("inductor", "triton"):
        _copy(cached / name, out / FILES / name, only_kernels=name == "inductor")
    write(out, "compiled once more with empty caches: kernels chosen by timing may be others than were measured")


def write(out: Path, note: str) -> None:
    """The description of the files of ``out``."""
    folder = out / FILES
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = [
        CodeFile(path=str(path.relative_to(folder)), what=what_of(path.name), bytes=path.stat().st_size)
        for path in paths
    ]
    programs = [path for path in paths if what_of(path.name).startswith("the compiled program")]
    calls = tuple(call for path in programs for call in calls_of(path.read_text(errors="replace")))
    (out / ABOUT).write_bytes(msgspec.json.encode(Code(files=tuple(files), calls=calls, notes=(note,))))


def what_of(name: str) -> str:
    """What a file of this name holds; empty for one that is not kept."""
    return next((what for end, what in _KINDS.items() if name.endswith(end)), "")


def _copy(source: Path, target: Path, *, only_kernels: bool = False) -> None:
    """The files that are kept; with ``only_kernels`` of Python's only those of Triton's kernels: the wrapper and the
    trace are there already.
    """
    for path in source.rglob("*"):
        if not path.is_file() or path.is_symlink() or not what_of(path.name):
            continue
        if only_kernels and (path.suffix in (".json", ".txt") or _is_wrapper(path)):
            continue
        place = target / path.relative_to(source)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, place)


def _is_wrapper(path: Path) -> bool:
    if path.suffix != ".py":
        return False
    text = path.read_text(errors="replace")
    return _TRITON not in text or "async_compile" in text


# ------------------------------------------------------------------------------------------------------ order of calls


def calls_of(program: str) -> list[Call]:
    """The calls of a compiled program, Python's wrapper or C++'s, in the order of its source: what is called in a loop
    or in one of two branches is there once. A kernel's name is that in its source.
    """
    if _CPP_PROGRAM in program or _CPP_BODY.search(program):
        return _of_cpp(program)
    try:
        tree = ast.parse(program)
    except SyntaxError:
        return []
    functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
    return _of_python(functions["call"], functions, _kernels(tree)) if "call" in functions else []


def _kernels(tree: ast.Module) -> set[str]:
    """The names that a wrapper gives to what ``async_compile`` compiles."""
    return {
        target.id
        for node in tree.body
        if isinstance(node, ast.Assign) and ast.unparse(node.value).startswith("async_compile.")
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def _of_python(function: ast.FunctionDef, functions: dict[str, ast.FunctionDef], kernels: set[str]) -> list[Call]:
    nodes = [node for node in ast.walk(function) if isinstance(node, ast.Call)]
    calls: list[Call] = []
    for node in sorted(nodes, key=lambda node: (node.lineno, node.col_offset)):
        name = ast.unparse(node.func)
        if name.startswith(_NESTED):
            name = f"partition_{ast.unparse(node.func).removeprefix(_NESTED).strip('[]')}"
        kernel = name.removesuffix(".run")
        if kernel in kernels:
            calls.append(Call(kind="kernel", name=kernel))
        elif name.startswith(_OPERATORS):
            calls.append(Call(kind="operator", name=name))
        elif name in functions and functions[name] is not function and name.startswith("partition_"):
            calls += _of_python(functions[name], functions, kernels)
    return calls


def _of_cpp(program: str) -> list[Call]:
    bodies = []
    for start in _CPP_BODY.finditer(program):
        end = program.find(f"// {start[1]}", start.end())
        bodies.append(program[start.end() : end if end > 0 else len(program)])
    calls = []
    for match in _CPP_CALL.finditer("\n".join(bodies)):
        parts = {name: text for name, text in match.groupdict().items() if text}
        kernel = parts.get("triton") or parts.get("launch") or parts.get("cpu")
        operator = parts.get("shim") or parts.get("out") or parts.get("operator") or parts.get("proxy") or ""
        calls.append(Call(kind="kernel", name=kernel) if kernel else Call(kind="operator", name=operator))
    return calls

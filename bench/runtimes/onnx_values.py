"""The tensors of an ONNX file: as ONNX Runtime's CPU computes them at float32, and at the case's precision."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from bench import tensors
from bench.errors import Unavailable, Unsupported
from bench.model.distributions import install
from bench.model.divergence import GRAPH, MARK, RUN, VALUES, Graph, MarkedRun, Node
from bench.model.seam import Context, Stage
from bench.model.suite import Case
from bench.runtimes import deconvolutions, onnx, onnx_manifest, onnx_nodes, shapes, terms

_LIBRARIES = ("onnx", "onnxruntime", "onnxruntime-gpu")


def stage(case: Case, exporter: onnx.Exporter, opset: int | None, *, dense_deconvolutions: bool = False) -> Stage:
    """The ONNX file of a case with the values of its tensors, for the sizes of this case and its inputs."""
    file = onnx.stage(case, exporter, opset, dense_deconvolutions=dense_deconvolutions)
    key = {**file.key, "exporter": exporter, "opset": opset, "symbols": case.symbols, "terms": terms.VERSION}
    libraries = shapes.libraries(case, "onnxscript", *_LIBRARIES)
    return Stage(name="values", kind="values", producer="tensorrt", key=key, needs=("reference",), libraries=libraries)


def marked_stage(marks: Sequence[str]) -> Stage:
    """A run of that file by ONNX Runtime on the CPU."""
    key = {"on": "oracle", "marks": list(marks)}
    needs = ("reference", "values")
    return Stage(name="marked", kind="marked", producer="tensorrt", key=key, needs=needs, libraries=_LIBRARIES)


def produce(case: Case, context: Context, out: Path, key: Mapping[str, Any]) -> None:
    """Write the case's ONNX file, ``graph.json`` (``Graph``) and ``values.safetensors`` into ``out``; ``key`` is the
    stage's.

    The values are those of the same model exported at float32, of the tensors that both files have.
    """
    _require()
    exporter, opset, dense = key["exporter"], key["opset"], deconvolutions.are_dense(key)
    onnx.export(case, context, out, exporter, opset, dense_deconvolutions=dense)
    folder = out
    if case.precision not in ("fp32", "tf32"):
        folder = context.scratch / "float32"
        folder.mkdir()
        in_float32 = msgspec.structs.replace(case, precision="fp32")
        onnx.export(in_float32, context, folder, exporter, opset, dense_deconvolutions=dense)
    nodes = onnx_nodes.nodes_of(out / onnx_manifest.MODEL)
    shared = {name for node in onnx_nodes.nodes_of(folder / onnx_manifest.MODEL) for name in node.outputs if name}
    names = [name for node in nodes for name in node.outputs if name in shared]
    arrays, _ = _run(context, folder, names)
    values = {name: arrays[MARK + name] for name in names if arrays[MARK + name].dtype.kind == "f"}
    sizes = {name: arrays[MARK + name].shape for name in names} | {
        name: context.inputs[suite_name].shape
        for suite_name, name in onnx_manifest.read_manifest(out).file_inputs.items()
    }
    graph = _graph(out, nodes, sizes, set(values), "float16" if case.precision == "fp16" else "float32")
    (out / GRAPH).write_bytes(msgspec.json.encode(graph))
    tensors.write(out / VALUES, values)


def run_marked(context: Context, marks: Sequence[str], out: Path) -> None:
    """Run the case's ONNX file; writes ``run.json`` (``MarkedRun``) and ``values.safetensors``. Phase: run.

    Nothing is fused, and each node's result is rounded to its type: it is what the file computes as written.
    """
    _require()
    import onnxruntime

    arrays, types = _run(context, context.artifacts["values"], marks)
    run = MarkedRun(runtime=f"ONNX Runtime {onnxruntime.__version__} on the CPU", types=types)
    (out / RUN).write_bytes(msgspec.json.encode(run))
    tensors.write(out / VALUES, arrays)


def _run(context: Context, folder: Path, marks: Sequence[str]) -> tuple[dict[str, tensors.Array], dict[str, str]]:
    """The model's outputs and ``mark.NAME``, floats as float32; the types of the marks.

    Each node is run by itself: ONNX Runtime computes a chain of float16 nodes in float32 where it has no kernels for
    them, and would not round in between.
    """
    import onnx as onnx_package
    from onnx import numpy_helper

    manifest = onnx_manifest.read_manifest(folder)
    model = onnx_package.load(str(folder / onnx_manifest.MODEL))
    values = {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}
    for name, of_file in manifest.file_inputs.items():
        values[of_file] = context.inputs[name]
    for each in model.graph.input:
        if each.name in values:
            kind = onnx_package.helper.tensor_dtype_to_np_dtype(each.type.tensor_type.elem_type)
            values[each.name] = np.asarray(values[each.name]).astype(kind)
    with context.phase("run"):
        for node in model.graph.node:
            values |= _run_node(model, node, values)
    arrays = {name: _wide(values[of_file]) for name, of_file in manifest.file_outputs.items()}
    arrays |= {MARK + name: _wide(values[name]) for name in marks}
    return arrays, {name: str(values[name].dtype) for name in marks}


def _run_node(model: Any, node: Any, values: Mapping[str, Any]) -> dict[str, Any]:
    """The outputs of one node, as a model of its own. Unsupported for what ONNX Runtime's CPU does not compute."""
    import onnx as onnx_package
    import onnxruntime

    reads = {name: values[name] for name in dict.fromkeys(_reads(node)) if name in values}
    inputs = [
        onnx_package.helper.make_tensor_value_info(
            name, onnx_package.helper.np_dtype_to_tensor_dtype(array.dtype), array.shape
        )
        for name, array in reads.items()
    ]
    outputs = [onnx_package.ValueInfoProto(name=name) for name in node.output if name]
    alone = onnx_package.helper.make_model(
        onnx_package.helper.make_graph([node], "node", inputs, outputs),
        opset_imports=model.opset_import, functions=model.functions, ir_version=model.ir_version,
    )  # fmt: skip
    settings = onnxruntime.SessionOptions()
    settings.log_severity_level = 3
    settings.intra_op_num_threads = 0
    try:
        session = onnxruntime.InferenceSession(alone.SerializeToString(), settings, providers=["CPUExecutionProvider"])
        results = session.run(None, reads)
    except Exception as error:  # onnxruntime's own classes derive from Exception alone
        what = f"ONNX Runtime's CPU does not compute {node.op_type} {node.name!r}: {error}"
        raise Unsupported(what, fix="--on engine, or another opset or exporter") from error
    return dict(zip([each.name for each in outputs], results, strict=True))


def _reads(node: Any) -> list[str]:
    """The names that a node reads, those of its subgraphs too."""
    names = [name for name in node.input if name]
    for attribute in node.attribute:
        for graph in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            names += [name for inner in graph.node for name in _reads(inner)]
    return names


def _graph(
    folder: Path,
    nodes: Sequence[onnx_nodes.Node],
    sizes: Mapping[str, tuple[int, ...]],
    compared: set[str],
    dtype: str,
) -> Graph:
    """The tensors of ``compared``; what reads others reads what these are computed from. ``sizes`` are the shapes of
    inputs and results of nodes.
    """
    initializers = _initializers(folder)
    weights = [
        name for name, array in initializers.items() if array.dtype.kind == "f" and bool(np.isposinf(array).any())
    ]
    sizes = {name: array.shape for name, array in initializers.items()} | dict(sizes)
    stands_for: dict[str, tuple[str, ...]] = {}
    held: dict[str, tuple[str, ...]] = {}
    result: list[Node] = []
    for node in nodes:
        reads = tuple(dict.fromkeys(name for each in node.inputs for name in stands_for.get(each, ())))
        infinite = tuple(
            dict.fromkeys(
                name for each in node.inputs for name in (*([each] if each in weights else []), *held.get(each, ()))
            )
        )
        for name in node.outputs:
            stands_for[name] = (name,) if name in compared else reads
            held[name] = () if name in compared else infinite
            if name in compared:
                module = onnx_nodes.module_of(node)
                count = terms.count_terms(
                    node.operator, [sizes[each] for each in node.inputs if each in sizes], sizes[name]
                )
                result.append(
                    Node(
                        name=name,
                        op=node.operator,
                        module=module,
                        inputs=reads,
                        weights=infinite,
                        dtype=dtype,
                        terms=count,
                    )
                )
    outputs = onnx_manifest.read_manifest(folder).file_outputs
    of_output = {name: of_file for name, of_file in outputs.items() if of_file in compared}
    return Graph(nodes=tuple(result), outputs=of_output, infinite=tuple(weights))


def _initializers(folder: Path) -> Mapping[str, Any]:
    """The constants of the file as arrays."""
    import onnx as onnx_package
    from onnx import numpy_helper

    model = onnx_package.load(str(folder / onnx_manifest.MODEL))
    return {each.name: numpy_helper.to_array(each) for each in model.graph.initializer}


def _wide(array: Any) -> tensors.Array:
    wide = array.astype(np.float32) if array.dtype.kind == "f" else array
    return np.ascontiguousarray(wide)


def _require() -> None:
    """Unavailable without the packages."""
    import importlib.util

    for package in ("onnx", "onnxruntime"):
        if importlib.util.find_spec(package) is None:
            raise Unavailable(f"the tensors of an ONNX file need the package {package!r}", fix=install(package))

"""The backend fx2trt with ``fallback: torch``: options, the folder written, engines, and counts in the record."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import SuiteError, Unavailable, Unsupported, UsageError
from bench.lowering import artifact, parts
from bench.model.suite import Case, Range
from bench.runtimes.trt import builder, library
from bench.runtimes.trt.options import RtxOptions
from tests.backends import network_kit
from tests.backends.kit import Bench
from tests.backends.network_kit import FX, HERE, bench_of_lowering, needs_rtx, program
from tests.conftest import Trtbench

OPTIONS = {"fallback": "torch", "min_block_size": 1}
long = [pytest.mark.torch, pytest.mark.long]
SUITE = """\
schema: 1
name: parts
models: {net: {factory: "zoo.py:inverse", inputs: {x: {shape: [batch, 3, 8, 8]}}}}
matrix: {backend: [{name: fx2trt, fallback: torch, min_block_size: 1}], precision: [fp32], batch: [2]}
"""


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Its artifacts are made once."""
    return bench_of_lowering(tmp_path_factory.mktemp("parts"))


def case(bench: Bench, **fields: Any) -> Case:
    return network_kit.case(bench, "zoo.py:inverse", **({"options": OPTIONS} | fields))


# ------------------------------------------------------------------------------------------------- options and stages


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fallback": "eager"}, "Invalid enum value 'eager'"),
        ({"min_block_size": 3}, "min_block_size: needs fallback: torch"),
        ({"fallback": "none", "min_block_size": 3}, "min_block_size: needs fallback: torch"),
        ({"fallback": "torch", "min_block_size": 0}, "Expected `int` >= 1"),
        (
            {"fallback": "torch", "program": "net/program.py"},
            "program: net/program.py cannot be used with fallback: torch",
        ),
    ],
)
def test_options_that_do_not_go_together_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(options, FX.options)


def test_diverge_refuses_a_model_in_parts(here: Bench) -> None:
    with pytest.raises(UsageError, match="examines one network of the whole model, and fallback: torch") as error:
        FX.values(case(here))
    assert error.value.where == case(here).label
    assert "fallback: none" in (error.value.fix or "")


def test_a_block_has_five_ops_at_least_unless_the_case_says_otherwise() -> None:
    sizes = [msgspec.convert(each, FX.options).block_size for each in ({}, {"fallback": "torch"}, OPTIONS)]
    assert sizes == [None, 5, 1]


def test_a_program_in_parts_is_another_artifact_for_each_block_size(here: Bench) -> None:
    whole, five, one = (
        FX.program(case(here, options=options))[-1] for options in ({}, {"fallback": "torch"}, OPTIONS)
    )  # fmt: skip
    assert len({json.dumps(stage.key, sort_keys=True) for stage in (whole, five, one)}) == 3
    _, source, build = FX.stages(case(here, toolchain="torch22"))
    assert (source, build.needs, build.toolchain) == (one, ("program",), "torch22")


def test_the_worker_that_measures_imports_torch_too(here: Bench) -> None:
    build = FX.stages(case(here))[-1]
    assert "torch" in FX.imports(case(here))
    assert "torch" not in FX.imports(case(here), build)
    assert "torch" not in FX.imports(case(here, options={}))


def test_layers_of_parts_are_not_timed(here: Bench) -> None:
    of = case(here)
    with pytest.raises(Unsupported, match="in several engines") as caught:
        FX.produce(FX.layers(of), of, here.context(of), here.folder())
    assert "fallback: none" in caught.value.fix


@pytest.mark.skipif(importlib.util.find_spec("torch") is not None, reason="torch is installed")
def test_without_torch_a_case_says_that_the_fallback_needs_it(here: Bench) -> None:
    of = case(here)
    with pytest.raises(Unavailable, match="'torch' is not installed, and fallback: torch runs in it") as caught:
        FX.prepare(of, base.options_of(FX, of), here.context(of)).__enter__()
    assert "pip install" in caught.value.fix


# ----------------------------------------------------------------------------------------------------------- programs


@pytest.fixture(scope="module")
def written(here: Bench) -> Path:
    return program(here, case(here))


class TestWritten:
    """What is written of the case, and what runs of it on a CPU."""

    pytestmark = long

    def test_the_manifest_has_the_engines_and_the_counts(self, written: Path) -> None:
        manifest = artifact.read_manifest(written)
        assert manifest.engines == ("engine_0", "engine_1")
        counts = {"engines": 2, "partitions": 3, "fallback_nodes": 1, "crossings": 2}
        assert manifest.facts == counts | {"fallback_ops": ["aten.linalg_inv_ex.default"]}

    def test_the_record_has_the_counts_and_each_lane_engines_of_its_own(self, here: Bench, written: Path) -> None:
        from tests.lowering.split_kit import Interpreted

        of = case(here)
        module = parts.load_module(written)
        made: list[Interpreted] = []

        def engines() -> Any:
            new = {name: Interpreted(written / name, ends, "11.4.0") for name, ends in module.ENGINES.items()}
            made.extend(new.values())
            return new

        context = here.context(of, {artifact.STAGE: written})
        prepared = parts.PartsPrepared(of, context, module, engines, {"runtime": "the interpreter"})
        try:
            for lane in prepared.lanes(2):
                lane.call()
            first, second = (lane.read() for lane in prepared.lanes(2))
            assert len(made) == 2 * len(module.ENGINES)
            facts = prepared.fairness()
            assert {name: facts[name] for name in ("engines", "fallback_nodes", "crossings", "runtime")} == {
                "engines": 2, "fallback_nodes": 1, "crossings": 2, "runtime": "the interpreter",
            }  # fmt: skip
        finally:
            prepared.close()
        reference, out = FX.stages(of)[0], here.folder()
        base.load(reference.producer).produce(reference, of, here.context(of), out)
        expected = tensors.read(out / "outputs.safetensors")["output"]
        for outputs in (first, second):
            np.testing.assert_allclose(outputs["output"], expected, rtol=1e-4, atol=1e-5)

    def test_a_program_that_was_edited_into_an_error_is_told(self, here: Bench, written: Path, tmp_path: Path) -> None:
        text = (written / artifact.SOURCE).read_text()
        (tmp_path / artifact.SOURCE).write_text(text.replace("import torch\n", "import torch\nimport no_such_module\n"))
        with pytest.raises(SuiteError, match="cannot be imported: ModuleNotFoundError") as caught:
            parts.load_module(tmp_path)
        assert "packages of the default toolchain" in caught.value.fix

    def test_codegen_writes_a_folder_whose_program_runs_by_itself(self, trtbench: Trtbench, tmp_path: Path) -> None:
        (tmp_path / "zoo.py").write_text((HERE / "zoo.py").read_text())
        (tmp_path / "suite.yaml").write_text(SUITE)
        out = tmp_path / "program"
        assert trtbench("codegen", tmp_path / "suite.yaml", "--out", out) == 0, trtbench.err
        assert sorted(path.name for path in out.iterdir()) == [
            "engine_0", "engine_1", "manifest.json", "program.py", "weights.safetensors",
        ]  # fmt: skip
        alone = subprocess.run(
            [sys.executable, "-I", out / "program.py", "--inputs", "x"], capture_output=True, text=True, check=False
        )
        assert alone.returncode == 2
        assert "--inputs and --outputs belong together" in alone.stderr
        if importlib.util.find_spec("tensorrt_rtx") is None:
            pytest.skip("its engines need a builder: pip install tensorrt-rtx-cu13")
        command = [sys.executable, "-I", out / "program.py", "--module", "tensorrt_rtx"]
        alone = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path)
        assert alone.returncode == 0, alone.stderr
        assert all((out / name / "engine.plan").stat().st_size for name in ("engine_0", "engine_1"))


# ------------------------------------------------------------------------------------------- engines, by TensorRT-RTX


class TestBuilt:
    """What the builder of TensorRT-RTX, which needs no GPU, makes of the parts."""

    pytestmark = [*long, needs_rtx]

    def build(self, bench: Bench, of: Case, source: Path) -> Path:
        out = bench.folder()
        context = bench.context(of, {artifact.STAGE: source})
        parts.build(of, RtxOptions(compute_capabilities=[8.9]), context, out, library.RTX)
        return out

    def test_each_engine_has_a_plan_and_a_description(self, here: Bench, written: Path) -> None:
        of = case(here)
        out = self.build(here, of, written)
        infos = {name: builder.read_info(out / name) for name in artifact.read_manifest(written).engines}
        assert [info.network for info in infos.values()] == ["engine_0/program.py", "engine_1/program.py"]
        assert all((out / name / builder.PLAN).stat().st_size == info.plan_bytes for name, info in infos.items())
        assert FX.layer_count(FX.stages(of)[-1], out) == sum(info.layers for info in infos.values()) > 4

    def test_a_dynamic_batch_has_its_range_in_every_engine(self, here: Bench) -> None:
        of = case(here, dynamic={"batch": Range(min=1, opt=4, max=8)})
        out = self.build(here, of, program(here, of))
        for name in ("engine_0", "engine_1"):
            (points,) = builder.read_info(out / name).profile.values()
            assert [shape[0] for shape in points] == [1, 4, 8]

    def test_a_layer_that_is_refused_has_its_engine_and_line(self, here: Bench, tmp_path: Path) -> None:
        of = case(here)
        folder = program(here, of)
        path = folder / "engine_1" / artifact.SOURCE
        text = path.read_text()
        assert "trt.MatrixOperation.TRANSPOSE" in text
        path.write_text(text.replace("trt.MatrixOperation.TRANSPOSE", "trt.ActivationType.RELU"))
        with pytest.raises(Unsupported, match=r"line \d+ \(.*\) of engine_1: TypeError"):
            self.build(here, of, folder)

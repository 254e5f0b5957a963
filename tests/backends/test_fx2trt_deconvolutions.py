"""The option ``deconvolutions`` of fx2trt and tensorrt_rtx: keys, refusals, and what is made of a case that has it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.lowering import artifact, filling
from bench.model.divergence import MARK, VALUES
from bench.model.seam import Stage
from bench.model.sensitivity import ACCURACY, Question
from bench.model.suite import Case
from bench.runtimes.trt import builder
from tests.backends import network_kit
from tests.backends.kit import Bench, cosine
from tests.backends.network_kit import FX, bench_of_lowering, needs_rtx
from tests.conftest import Trtbench

DENSE = {"deconvolutions": "dense"}
RTX = base.load("tensorrt_rtx")
long = [pytest.mark.torch, pytest.mark.long]


@pytest.fixture
def here(tmp_path: Path) -> Bench:
    return bench_of_lowering(tmp_path)


def case(bench: Bench, **fields: Any) -> Case:
    return network_kit.case(bench, "zoo.py:upsampling", **({"options": DENSE} | fields))


# ------------------------------------------------------------------------------------------------- options and stages


def stages(of: Case) -> dict[str, Stage]:
    """All stages of a case, also those of commands that look into its network."""
    result = {stage.name: stage for stage in FX.stages(of)} | {"layers": FX.layers(of)}
    if of.precision == "int8":
        result |= {stage.name: stage for stage in (*FX.placement(of), *FX.accuracy(of, Question()))}
    if of.precision not in ("int8", "fp8") and "fallback" not in of.options:
        result |= {"values": FX.values(of), "marked": FX.marked_stage(of, (), "engine")}
    return result


@pytest.mark.parametrize(
    ("precision", "options", "same"),
    [
        ("fp16", {}, {"reference", "layers"}),
        ("fp16", {"fallback": "torch"}, {"reference", "layers"}),
        ("int8", {"samples": 4}, {"reference", "layers", "calibration"}),
        ("int8", {"calibrator": "entropy"}, {"reference", "layers"}),
        ("fp8", {"samples": 4}, {"reference", "layers", "calibration"}),
    ],
)
def test_what_is_made_of_the_program_is_another_artifact(
    bench: Bench, precision: str, options: dict[str, Any], same: set[str]
) -> None:
    plain, grouped, dense = (
        stages(case(bench, precision=precision, options=options | more))
        for more in ({}, {"deconvolutions": "grouped"}, DENSE)
    )
    assert grouped == plain
    assert {name for name, stage in dense.items() if stage == plain[name]} == same
    assert {name for name, stage in dense.items() if "dense" not in json.dumps(stage.key)} == same


def test_tensorrt_rtx_has_the_same_program(bench: Bench) -> None:
    def source(options: dict[str, Any]) -> Stage:
        of = bench.case("tensorrt_rtx", precision="fp16", options={"route": "fx2trt", **options})
        return RTX.stages(of)[1]

    own = FX.program(bench.case("fx2trt", precision="fp16", options=DENSE))[-1]
    assert source(DENSE) == own
    assert source({}) != own


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("fx2trt", {"program": "net.py"}, "dense cannot change the program in net.py: remove one of the two options; "),
    (
        "tensorrt_rtx",
        {"route": "fx2trt", "program": "net.py"},
        "dense cannot change the program in net.py: remove one of",
    ),
    ("fx2trt", {"deconvolutions": "sparse"}, "Invalid enum value 'sparse'"),
]


@pytest.mark.parametrize(("backend", "options", "message"), REFUSED)
def test_it_is_refused_where_no_program_is_written(backend: str, options: dict[str, Any], message: str) -> None:
    with pytest.raises(msgspec.ValidationError, match=message):
        msgspec.convert(DENSE | options, base.load(backend).options)


def test_a_refusal_names_the_line_of_the_suite(trtbench: Trtbench, suite_of: Callable[..., Path]) -> None:
    suite = suite_of(backend="{name: fx2trt, program: net.py, deconvolutions: dense}")
    assert trtbench("run", suite, "--device", "cuda") == 2
    assert "suite.yaml:5: options of fx2trt:" in trtbench.err
    assert "deconvolutions: dense cannot change the program in net.py: remove one of" in " ".join(trtbench.err.split())
    suite = suite_of(backend="{name: fx2trt, deconvolutions: densely}")
    assert trtbench("list", suite, "--device", "cuda") == 2
    assert "unknown value 'densely' of the option 'deconvolutions' of fx2trt. Did you mean 'dense'?" in trtbench.err


# ----------------------------------------------------------------------------------------------------------- programs


def made(bench: Bench, stage: Stage, of: Case, artifacts: dict[str, Path] | None = None) -> Path:
    out = bench.folder()
    FX.produce(stage, of, bench.context(of, artifacts), out)
    return out


def kernel(folder: Path) -> tensors.Array:
    """The kernel of a program that has no deconvolution in groups."""
    source = (folder / artifact.SOURCE).read_text()
    assert "add_deconvolution_nd" in source
    assert "num_groups" not in source
    return tensors.read(folder / artifact.WEIGHTS)["up.weight"]


def facts(folder: Path) -> dict[str, Any]:
    return artifact.read_manifest(folder).facts


class TestMade:
    """What PyTorch makes of a case that has the option."""

    pytestmark = long

    def test_codegen_writes_a_folder_for_each(
        self, trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
    ) -> None:
        suite = suite_of("zoo.py:upsampling", backend="fx2trt, {name: fx2trt, deconvolutions: dense}")
        assert trtbench("codegen", suite, "--out", tmp_path / "out") == 0, trtbench.err
        dense, grouped = (tmp_path / "out" / f"net-fx2trt{each}-fp32-batch-2" for each in ("-deconvolutions-dense", ""))
        assert kernel(dense).shape == (4, 4, 4, 4)
        assert facts(dense) == {"deconvolutions": {"in_groups": 1, "dense": 1}}
        lines = (dense / artifact.SOURCE).read_text().splitlines()
        assert (
            "deconvolutions: dense: 1 of 1 grouped transposed convolutions of the model have a single group." in lines
        )
        assert facts(grouped) == {}
        assert "deconvolutions: dense" not in (grouped / artifact.SOURCE).read_text()
        assert "note" not in trtbench.err
        assert "num_groups = (2, 2), (1, 1), 4" in (grouped / artifact.SOURCE).read_text()

    def test_codegen_says_where_nothing_becomes_dense(
        self, trtbench: Trtbench, suite_of: Callable[..., Path], tmp_path: Path
    ) -> None:
        suite = suite_of("zoo.py:net", backend="{name: fx2trt, deconvolutions: dense}")
        assert trtbench("codegen", suite, "--out", tmp_path / "out") == 0, trtbench.err
        assert "note: net/fx2trt[deconvolutions=dense]/fp32/batch=2: deconvolutions: dense changed" in trtbench.err
        assert facts(tmp_path / "out") == {"deconvolutions": {"in_groups": 0, "dense": 0}}

    def test_the_record_of_an_engine_has_the_counts_of_its_program(self, here: Bench) -> None:
        import torch

        from bench.lowering import oracle

        of = case(here)
        folder = network_kit.program(here, of)
        trt = oracle.Module("11.4.0")
        api: Any = SimpleNamespace(module=trt)
        for source, expected in (("", {"in_groups": 1, "dense": 1}), ("program.py", None)):
            network = oracle.Network(trt, {"x": torch.zeros(2, 3, 8, 8)})
            assert filling.fill(api, network, of, folder, source).fields.get("deconvolutions") == expected

    def test_tensors_by_the_oracle_are_those_of_the_graph_and_outputs_those_of_eager(self, here: Bench) -> None:
        """As for ``trtbench diverge``, which gives the worker a case without options, of a backend of PyTorch."""
        of = case(here, precision="fp16")
        without = msgspec.structs.replace(of, backend="eager", options={})
        folder = made(here, FX.values(of), without)
        assert kernel(folder).shape == (4, 4, 4, 4)
        run = made(here, FX.marked_stage(of, ("up",), "oracle"), without, {"values": folder})
        arrays, expected = tensors.read(run / VALUES), tensors.read(folder / VALUES)
        np.testing.assert_allclose(arrays[MARK + "up"], expected["up"], rtol=0.02, atol=0.02)
        reference = here.reference(here.case("eager", "zoo.py:upsampling", of.inputs, symbols=of.symbols))
        (name,) = reference
        assert cosine(arrays[name], reference[name]) > 0.9999

    def test_at_int8_each_channel_has_a_scale(self, here: Bench) -> None:
        of = case(here, precision="int8", options=DENSE | {"samples": 4, "observer": "minmax"})
        calibration, source = FX.program(of)
        ranges = {calibration.name: made(here, calibration, of)}
        folder = made(here, source, of, ranges)
        assert kernel(folder).shape == (4, 4, 4, 4)
        assert tensors.read(folder / artifact.WEIGHTS)["up.weight_scale"].shape == (4,)

        def both(stage: Stage) -> list[Path]:
            """What is made by the key of a stage, and by one without the option."""
            plain = {name: value for name, value in stage.key.items() if name not in DENSE}
            return [made(here, msgspec.structs.replace(stage, key=key), of, ranges) for key in (stage.key, plain)]

        (quantized,) = (stage for stage in FX.stages(of) if stage.name == "quantized_reference")
        outputs, grouped = (tensors.read(folder / tensors.OUTPUTS) for folder in both(quantized))
        (name,) = outputs
        assert cosine(outputs[name], grouped[name]) > 0.999
        assert not np.array_equal(outputs[name], grouped[name])  # the groups' one scale for all channels rounds coarser
        cost, coarser = ((folder / ACCURACY).read_text() for folder in both(FX.accuracy(of, Question(samples=4))[-1]))
        assert cost != coarser

    def test_engines_of_parts_have_it_too(self, here: Bench) -> None:
        of = case(here, options=DENSE | {"fallback": "torch", "min_block_size": 1})
        folder = network_kit.program(here, of)
        assert kernel(folder / "engine_0").shape == (4, 4, 4, 4)
        assert facts(folder)["deconvolutions"] == {"in_groups": 1, "dense": 1}
        for name in (artifact.SOURCE, f"engine_0/{artifact.SOURCE}"):
            assert "\ndeconvolutions: dense: 1 of 1 grouped transposed" in (folder / name).read_text()

    @needs_rtx
    @pytest.mark.parametrize(("precision", "options"), [("fp16", {}), ("int8", {"samples": 4, "observer": "minmax"})])
    def test_tensorrt_rtx_builds_it(self, here: Bench, precision: str, options: dict[str, Any]) -> None:
        options = {"route": "fx2trt", "compute_capabilities": [8.9], **DENSE, **options}
        of = case(here, precision=precision, options=options)
        folders = here.artifacts(msgspec.structs.replace(of, backend="tensorrt_rtx"))
        assert kernel(folders["program"]).shape == (4, 4, 4, 4)
        assert (folders["build"] / "engine.plan").stat().st_size > 0
        assert builder.read_info(folders["build"]).deconvolutions == {"in_groups": 1, "dense": 1}

"""What the C++ program of TensorRT and of TensorRT-RTX is built against, and what is said where that is not here."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import os
import struct
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.backends import base
from bench.errors import Unavailable
from bench.runtimes.cpp import building
from bench.runtimes.cpp.program import Runner
from bench.runtimes.trt import builder, deployed, library
from bench.runtimes.trt.options import Options, RtxOptions
from tests.backends.kit import Bench
from tests.runtimes.cpp.test_program import SCRIPT

ENTERPRISE = "#define TRT_MAJOR_ENTERPRISE 10\n#define NV_TENSORRT_MAJOR TRT_MAJOR_ENTERPRISE\n"
RTX = "#define TRT_MAJOR_RTX 1\n#define NV_TENSORRT_MAJOR TRT_MAJOR_RTX\n"
PRODUCTS = pytest.mark.parametrize("product", [library.TENSORRT, library.RTX])
Built = list[tuple[Any, ...]]
# One lane, with neither inputs nor outputs.
ANSWER = """\
    if verb == "read":
        open(fields[2], "wb").close()
    reply("stream=1\\n" if verb == "lanes" else "")"""


class Machine:
    """Packages and headers in a folder: TensorRT 10.7 and TensorRT-RTX 1.7, without anything that runs."""

    def __init__(self, root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.root = root
        for module, name, file, version in (
            ("tensorrt_libs", "tensorrt", "libnvinfer.so.10", "10.7.0"),
            ("tensorrt_rtx_libs", "tensorrt-rtx", "libtensorrt_rtx.so.1", "1.7.1.116"),
        ):
            self.write(f"site/{module}/__init__.py", "")
            self.write(f"site/{module}/{file}", "")
            meta = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"
            self.write(f"site/{name.replace('-', '_')}-{version}.dist-info/METADATA", meta)
        self.write("cuda/include/cuda_runtime_api.h", "")
        self.write("cuda/include/crt/host_defines.h", "")
        monkeypatch.syspath_prepend(str(root / "site"))
        monkeypatch.setenv("CUDA_HOME", str(root / "cuda"))
        for name in ("TENSORRT_INCLUDE", "TENSORRT_RTX_INCLUDE"):
            monkeypatch.delenv(name, raising=False)
        importlib.invalidate_caches()

    def write(self, name: str, text: str) -> None:
        path = self.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)

    def headers(self, folder: str, versions: str) -> str:
        self.write(f"{folder}/NvInfer.h", "")
        self.write(f"{folder}/NvInferVersion.h", versions)
        return str(self.root / folder)


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    return Machine(tmp_path, monkeypatch)


@pytest.fixture
def built(monkeypatch: pytest.MonkeyPatch) -> Built:
    calls: Built = []
    monkeypatch.setattr(building, "produce", lambda *arguments: calls.append(arguments))
    return calls


def produce(bench: Bench, product: library.Product, include: str = "") -> None:
    options = RtxOptions if product is library.RTX else Options
    case = bench.case(product.module, options={"executor": "cpp"})
    chosen = options(executor="cpp", tensorrt_include=include)  # type: ignore[operator]
    deployed.produce_runner(chosen, bench.context(case, {}), bench.folder(), product)


@PRODUCTS
def test_each_is_built_with_its_own_headers_and_library(
    bench: Bench, machine: Machine, built: Built, monkeypatch: pytest.MonkeyPatch, product: library.Product
) -> None:
    monkeypatch.setenv("TENSORRT_INCLUDE", machine.headers("trt", ENTERPRISE))
    monkeypatch.setenv("TENSORRT_RTX_INCLUDE", machine.headers("rtx", RTX))
    produce(bench, product)
    ((runtime, installed, *_),) = built
    names = {
        "tensorrt": ("trt", "libnvinfer.so.10", "10.7.0"),
        "tensorrt_rtx": ("rtx", "libtensorrt_rtx.so.1", "1.7.1.116"),
    }
    folder, file, version = names[product.module]
    assert runtime == product.module
    assert installed.version == version
    assert installed.definitions["TENSORRT_INCLUDE"] == str(machine.root / folder)
    assert Path(installed.definitions["TENSORRT_LIBRARY"]).name == file
    assert installed.definitions["CUDA_INCLUDE"] == str(machine.root / "cuda/include")


def test_cuda_headers_are_taken_from_packages_that_have_a_part_each(
    bench: Bench, machine: Machine, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.root / "cuda/include/crt/host_defines.h").unlink()
    machine.write("site/nvidia/cuda_nvcc/include/crt/host_defines.h", "")
    machine.write("site/nvidia/cuda_runtime/include/cuda_runtime_api.h", "")
    nvidia = importlib.machinery.ModuleSpec("nvidia", None, is_package=True)
    nvidia.submodule_search_locations = [str(machine.root / "site/nvidia")]
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: nvidia if name == "nvidia" else find_spec(name))
    produce(bench, library.TENSORRT, machine.headers("trt", ENTERPRISE))
    packages = machine.root / "site/nvidia"
    expected = f"{packages / 'cuda_runtime/include'};{packages / 'cuda_nvcc/include'}"
    assert built[0][1].definitions["CUDA_INCLUDE"] == expected


def test_cuda_headers_that_lack_a_part_are_named(
    bench: Bench, machine: Machine, built: Built, monkeypatch: pytest.MonkeyPatch
) -> None:
    (machine.root / "cuda/include/crt/host_defines.h").unlink()
    find_spec = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "nvidia" else find_spec(name))
    if Path("/usr/include/crt/host_defines.h").is_file():
        pytest.skip("the system has CUDA's headers")
    with pytest.raises(Unavailable, match=r"no cuda_runtime_api\.h and crt/host_defines\.h in ") as raised:
        produce(bench, library.TENSORRT, machine.headers("trt", ENTERPRISE))
    assert "CUDA_HOME=FOLDER" in raised.value.fix
    assert not built


@pytest.mark.long
@PRODUCTS
def test_real_headers_build_a_program_that_starts(bench: Bench, product: library.Product) -> None:
    variable = "TENSORRT_RTX_INCLUDE" if product is library.RTX else "TENSORRT_INCLUDE"
    if variable not in os.environ or not importlib.util.find_spec(product.module):
        pytest.skip(f"{product.name} and its headers, named by {variable}, are not here")
    case = bench.case(product.module, options={"executor": "cpp"})
    folder = bench.folder()
    stage = base.load(product.module).stages(case)[-1]
    base.load(product.module).produce(stage, case, bench.context(case, {}), folder)
    runner = Runner(folder / building.PROGRAM)
    try:
        headers, installed = runner.facts["headers"], library.version_text(int(runner.facts["library"]))
        assert library.numbers(headers)[0] == library.numbers(installed)[0]
    finally:
        runner.close()


@PRODUCTS
def test_without_headers_it_says_where_they_are_from(
    bench: Bench, machine: Machine, built: Built, product: library.Product
) -> None:
    nowhere = str(machine.root / "nowhere")
    with pytest.raises(Unavailable, match=r"C\+\+ headers are not here: no NvInfer\.h in .*nowhere") as raised:
        produce(bench, product, nowhere)
    variable = "TENSORRT_RTX_INCLUDE" if product is library.RTX else "TENSORRT_INCLUDE"
    assert f"tensorrt_include: FOLDER in the suite, or {variable}=FOLDER" in raised.value.fix
    assert product.name in raised.value.what
    assert not built


@pytest.mark.parametrize(
    ("product", "versions", "message"),
    [
        (library.TENSORRT, RTX, "are of TensorRT-RTX, not of TensorRT"),
        (library.RTX, ENTERPRISE, "are of TensorRT, not of TensorRT-RTX"),
        (library.TENSORRT, ENTERPRISE.replace("10", "8"), r"of TensorRT 8, and the package here is 10\.7\.0"),
        (library.RTX, RTX.replace("1\n", "2\n", 1), r"of TensorRT-RTX 2, and the package here is 1\.7\.1\.116"),
    ],
)
def test_headers_that_do_not_fit_are_refused(
    bench: Bench, machine: Machine, built: Built, product: library.Product, versions: str, message: str
) -> None:
    with pytest.raises(Unavailable, match=message) as raised:
        produce(bench, product, machine.headers("other", versions))
    assert raised.value.fix
    assert not built


@PRODUCTS
def test_without_the_package_it_says_what_to_install(
    bench: Bench, machine: Machine, built: Built, monkeypatch: pytest.MonkeyPatch, product: library.Product
) -> None:
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place != str(machine.root / "site")])
    monkeypatch.setattr(deployed.ctypes.util, "find_library", lambda name: None)  # type: ignore[attr-defined]
    if importlib.util.find_spec(product.module):
        pytest.skip(f"{product.name} is installed")
    with pytest.raises(Unavailable, match=rf"{product.library}\.so is not here") as raised:
        produce(bench, product)
    assert product.module.replace("_", "-") in raised.value.fix


def test_the_report_has_the_versions_of_the_package_and_of_the_library(bench: Bench, machine: Machine) -> None:
    info = builder.BuildInfo(
        runtime="", plan_bytes=1, build_ns=1, inputs={}, outputs={}, layers=1, strongly_typed=True,
        optimization_level=3, grouped_deconvolutions={"layers": 8, "groups": 832},
    )  # fmt: skip
    machine.write(f"build/{builder.BUILD_INFO}", msgspec.json.encode(info).decode())
    machine.write("runner/info.json", '{"version": "10.7.0"}')
    script = SCRIPT.format(python=sys.executable, answer=ANSWER).replace("compiler=script", "library=100701")
    machine.write(f"runner/{building.PROGRAM}", script)
    (machine.root / "runner" / building.PROGRAM).chmod(0o755)
    machine.write("reference/inputs.safetensors", struct.pack("<Q", 2).decode() + "{}")
    case = bench.case("tensorrt", options={"executor": "cpp"})
    artifacts = {name: machine.root / name for name in ("build", "runner", "reference")}
    with deployed.prepare(case, Options(executor="cpp"), bench.context(case, artifacts)) as prepared:
        prepared.lanes(1)
        report = prepared.fairness()
        assert report["runtime"] == "TensorRT 10.7.0 (libnvinfer 10.7.1)"
        assert report["engine"]["grouped_deconvolutions"] == {"layers": 8, "groups": 832}


@PRODUCTS
def test_both_executors_run_one_engine(bench: Bench, product: library.Product) -> None:
    backend = base.load(product.module)
    python, cpp = (backend.stages(bench.case(product.module, options=each)) for each in ({}, {"executor": "cpp"}))
    assert list(cpp[:-1]) == list(python)
    assert (cpp[-1].kind, cpp[-1].producer, cpp[-1].key["runtime"]) == ("runner", product.module, product.module)
    elsewhere = bench.case(product.module, options={"executor": "cpp", "tensorrt_include": "/opt/include"})
    assert backend.stages(elsewhere)[-1].key != cpp[-1].key


@PRODUCTS
@pytest.mark.parametrize(
    ("fields", "message"),
    [({"cuda_graph": True}, "cuda_graph: off"), ({"streams": 2, "lanes": "processes"}, "lanes: threads")],
)
def test_what_the_program_does_not_do_is_left_out(
    bench: Bench, product: library.Product, fields: dict[str, Any], message: str
) -> None:
    backend = base.load(product.module)
    deployed_case = bench.case(product.module, options={"executor": "cpp"}, **fields)
    assert message in (backend.unsupported(deployed_case, "cuda:0") or "")
    assert backend.unsupported(bench.case(product.module, **fields), "cuda:0") is None

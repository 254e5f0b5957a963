"""A model as it is measured: which of its tensors are converted, how it is built, and that it is the reference's."""

from __future__ import annotations

import random
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import CaseError, ModelError, SuiteError, Unavailable, Unsupported
from bench.model.suite import Case, Input
from bench.runtimes.torch import factories, models, seeding, weights
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import flatten_outputs
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
INPUTS = {"x": Input(shape=(2, 8))}
Zoo = Callable[..., Path]


@pytest.fixture
def zoo(tmp_path: Path) -> Zoo:
    """Writes files beside a suite and returns their folder."""

    def write(text: str, **more: str) -> Path:
        (tmp_path / "zoo.py").write_text("import torch\nfrom torch import nn\n" + text)
        for name, content in more.items():
            (tmp_path / f"{name}.py").write_text(content)
        return tmp_path

    return write


@pytest.fixture(autouse=True)
def imports_undone(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A worker runs one user's files; here each test has others of the same names."""
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("_trtbench_zoo_", "model_")):
            del sys.modules[name]


def load(bench: Bench, folder: Path, factory: str = "zoo.py:make", inputs: Any = None, **fields: Any) -> Any:
    case = bench.case("eager", factory, inputs or INPUTS, source="suite.yaml:7", **fields)
    context = msgspec.structs.replace(bench.context(case), suite_dir=folder)
    return models.load_model(case, TorchOptions(), context, "cpu")


def reference(bench: Bench, folder: Path, inputs: dict[str, Input] | None = None) -> Path:
    case = bench.case("eager", "zoo.py:make", inputs or INPUTS)
    out = bench.folder()
    context = msgspec.structs.replace(bench.context(case), suite_dir=folder)
    base.load("eager").produce(weights.shapes.reference_stage(case), case, context, out)
    return out


MIXED = """
class Mixed(nn.Module):
    def __init__(self):
        super().__init__()
        self.single = nn.Linear(8, 8)
        self.half = nn.Linear(8, 8).half()
        self.wide = nn.Linear(8, 8).double()
        self.register_buffer("wave", torch.full((3,), 1j))
        self.register_buffer("steps", torch.arange(3))
        self.register_buffer("mask", torch.ones(3, dtype=torch.bool), persistent=False)
    def forward(self, x):
        return x, self.wave
def make(): return Mixed()
"""


@pytest.mark.parametrize(("precision", "to"), [("fp32", "float32"), ("fp16", "float16"), ("bf16", "bfloat16")])
def test_floats_of_single_precision_and_less_are_converted(bench: Bench, zoo: Zoo, precision: str, to: str) -> None:
    model = load(bench, zoo(MIXED), precision=precision)
    kinds = {name: str(t.dtype).removeprefix("torch.") for name, t in model.state_dict().items() if "bias" not in name}
    assert kinds == {
        "single.weight": to, "half.weight": to, "wide.weight": "float64", "wave": "complex64", "steps": "int64",
    }  # fmt: skip
    assert (model.wave == 1j).all()
    assert model.mask.dtype == torch.bool


def test_the_reference_keeps_complex_and_double_values_and_they_reach_the_comparison(bench: Bench, zoo: Zoo) -> None:
    folder = zoo(
        MIXED.replace("return x, self.wave", "return self.wave, self.wide(x.double()), self.wave.to(torch.complex128)")
    )
    outputs = tensors.read(reference(bench, folder) / "outputs.safetensors")
    assert [str(outputs[name].dtype) for name in "012"] == ["complex64", "float64", "complex128"]
    assert (outputs["0"] == 1j).all()


def test_a_model_of_doubles_alone_does_not_run_in_another_precision(bench: Bench, zoo: Zoo) -> None:
    folder = zoo("def make(): return nn.Linear(8, 8).double()")
    with pytest.raises(Unsupported, match="all weights of the model are float64"):
        load(bench, folder, precision="fp16")
    assert load(bench, folder).weight.dtype == torch.float64


def test_inputs_of_doubles_stay_doubles(bench: Bench) -> None:
    case = bench.case(
        "eager", inputs={"x": Input(shape=(2,), dtype="float64"), "y": Input(shape=(2,))}, precision="fp16"
    )
    made = models.to_tensors(tensors.seeded_inputs(case.resolved, 0), case, "contiguous", "cpu")
    assert (made["x"].dtype, made["y"].dtype) == (torch.float64, torch.float16)


def test_tied_weights_stay_tied(bench: Bench, zoo: Zoo) -> None:
    folder = zoo(
        "def make():\n    m = nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 8))\n"
        "    m[1].weight = m[0].weight\n    return m"
    )
    model = load(bench, folder, inputs={"input": INPUTS["x"]}, precision="bf16")
    assert model[0].weight is model[1].weight


@pytest.mark.parametrize(
    "draw",
    ["numpy.random.rand(8, 8)", "[[random.random() for _ in range(8)] for _ in range(8)]", "torch.rand(8, 8).tolist()"],
)
@pytest.mark.parametrize("on_import", [False, True])
def test_every_global_generator_is_seeded_and_put_back(bench: Bench, zoo: Zoo, draw: str, on_import: bool) -> None:
    first = f"WEIGHT = {draw}\n" if on_import else ""
    value = "WEIGHT" if on_import else draw
    folder = zoo(
        f"import numpy, random\n{first}def make():\n    m = nn.Linear(8, 8)\n"
        f"    m.weight.data = torch.tensor({value}).float()\n    return m\n"
    )
    random.seed(5)
    np.random.seed(5)
    expected = random.random(), np.random.rand()
    random.seed(5)
    np.random.seed(5)
    made = []
    for _ in range(2):
        made.append(load(bench, folder).weight)
        for name in [name for name in sys.modules if name.startswith("_trtbench_zoo_")]:
            del sys.modules[name]
    assert torch.equal(*made)
    assert (random.random(), np.random.rand()) == expected


def test_generators_are_put_back_when_a_factory_raises() -> None:
    state = random.getstate()
    with pytest.raises(ZeroDivisionError), seeding.seeded(2**40):
        raise ZeroDivisionError
    assert random.getstate() == state


def test_lazy_layers_are_initialised_alike_in_every_precision(bench: Bench, zoo: Zoo) -> None:
    folder = zoo("def make(): return nn.Sequential(nn.LazyLinear(16), nn.ReLU(), nn.LazyLinear(4))")
    inputs = {"input": INPUTS["x"]}
    single, half = (load(bench, folder, inputs=inputs, precision=precision) for precision in ("fp32", "bf16"))
    assert single[0].weight.shape == (16, 8)
    assert torch.equal(single[2].weight.bfloat16(), half[2].weight)


@pytest.mark.parametrize("program", ["exported", "exported.module()"])
def test_a_program_of_torch_export_is_called_by_name(bench: Bench, zoo: Zoo, program: str) -> None:
    folder = zoo(
        "class Net(nn.Module):\n    def forward(self, a, b, *, c): return a - b * c\n"
        "def make():\n    x, y, z = torch.rand(3, 2, 8).unbind()\n"
        f"    exported = torch.export.export(Net().eval(), (x, y), {{'c': z}})\n    return {program}\n"
    )
    inputs = dict.fromkeys("cba", INPUTS["x"])
    values = {name: torch.full((2, 8), value) for name, value in (("a", 7.0), ("b", 2.0), ("c", 3.0))}
    model = load(bench, folder, inputs=inputs)
    assert (model(**values) == 1).all()
    with pytest.raises(
        (SuiteError, TypeError), match=r"takes the inputs a, b, c, and the suite has a, b|takes a, b, c"
    ):
        load(bench, folder, inputs=dict.fromkeys("ab", INPUTS["x"]))(a=values["a"], b=values["b"])


def test_layers_beside_a_program_of_torch_export_are_in_eval_mode(bench: Bench, zoo: Zoo) -> None:
    folder = zoo(
        "def make():\n    program = torch.export.export(nn.Linear(8, 8), (torch.rand(2, 8),)).module()\n"
        "    return nn.Sequential(nn.Dropout(), program, nn.Dropout())\n"
    )
    model = load(bench, folder)
    assert [layer.training for layer in model] == [False, False, False]


def test_a_train_method_that_returns_nothing_is_no_harm(bench: Bench, zoo: Zoo) -> None:
    folder = zoo(
        "class Net(nn.Linear):\n    def train(self, mode=True):\n        super().train(mode)\n"
        "def make(): return nn.Sequential(Net(8, 8))"
    )
    assert not load(bench, folder)[0].training


def test_no_configuration_in_a_model_keeps_a_cache(bench: Bench, zoo: Zoo) -> None:
    folder = zoo(
        "class TextConfig:\n    def __init__(self): self.use_cache = True\n"
        "class Config(TextConfig):\n    def __init__(self):\n        super().__init__()\n"
        "        self.text_config, self.itself = TextConfig(), self\n"
        "class Decoder(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.config = TextConfig()\n"
        "def make():\n    model = nn.Sequential(Decoder())\n    model.config = Config()\n    return model\n"
    )
    model = load(bench, folder)
    assert not any([model.config.use_cache, model.config.text_config.use_cache, model[0].config.use_cache])


ARGUMENTS = "import argparse\nparser = argparse.ArgumentParser()\nparser.add_argument('--width', type=int{})\n"


def test_a_file_that_parses_arguments_gets_its_defaults(
    bench: Bench, zoo: Zoo, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["worker", "7"])
    parse = ARGUMENTS.format(", default=3") + "WIDTH = parser.parse_args().width\n"
    folder = zoo(parse + "def make(): return nn.Linear(WIDTH, parser.parse_args().width)")
    assert load(bench, folder).weight.shape == (3, 3)
    assert sys.argv == ["worker", "7"]


@pytest.mark.parametrize(
    "where", ["parser.parse_args()\ndef make(): pass", "def make(): parser.parse_args()"], ids=["import", "call"]
)
def test_a_file_that_needs_arguments_says_what_to_change(bench: Bench, zoo: Zoo, where: str) -> None:
    with pytest.raises(ModelError, match=r"ended Python \(exit code 2\)") as caught:
        load(bench, zoo(ARGUMENTS.format(", required=True") + where))
    assert "__name__ == '__main__'" in caught.value.fix


def test_a_file_imports_what_lies_beside_it_also_later(bench: Bench, zoo: Zoo) -> None:
    folder = zoo(
        "from model_blocks import Block\ndef make():\n    from model_sizes import WIDTH\n    return Block(8, WIDTH)\n",
        model_blocks="import torch\nclass Block(torch.nn.Linear): pass\n",
        model_sizes="WIDTH = 5\n",
    )
    assert load(bench, folder).weight.shape == (5, 8)


def test_a_module_that_is_nowhere_is_no_package_to_install(bench: Bench, zoo: Zoo) -> None:
    with pytest.raises(Unavailable, match="'model_blocks' is neither installed nor beside the suite") as caught:
        load(bench, zoo("from model_blocks import Block"))
    assert "pip" not in caught.value.fix


def test_a_file_that_an_installed_module_hides_is_named(bench: Bench, zoo: Zoo) -> None:
    with pytest.raises(ModelError, match="cannot import name 'Block' from 'queue'") as caught:
        load(bench, zoo("from queue import Block", queue="class Block: pass"))
    assert caught.value.fix == "rename queue.py: the installed module 'queue' is imported in its place"


def test_weights_that_differ_from_the_references_are_the_factorys(bench: Bench, zoo: Zoo) -> None:
    stable, unstable = "def make(): return nn.Linear(8, 8)", "torch.manual_seed(time.time_ns() % 2**31)"
    folder = zoo(f"import time\ndef make():\n    {unstable}\n    return nn.Sequential(nn.Linear(8, 8))\n")
    inputs = {"input": INPUTS["x"]}
    case = bench.case("eager", "zoo.py:make", inputs)
    for text in ("", stable):
        if text:
            for name in [name for name in sys.modules if name.startswith("_trtbench_zoo_")]:
                del sys.modules[name]
            zoo(text)
        artifacts = {"reference": reference(bench, folder, inputs)}
        context = msgspec.structs.replace(bench.context(case, artifacts), suite_dir=folder)
        if text:
            models.load_model(case, TorchOptions(), context, "cpu")
        else:
            with pytest.raises(CaseError, match=r"made other weights here.*: '0\.weight' and 1 more"):
                models.load_model(case, TorchOptions(), context, "cpu")


def test_a_fingerprint_sees_one_changed_value_of_a_small_weight() -> None:
    model = torch.nn.Linear(8, 8)
    before = weights.fingerprint(model)
    with torch.no_grad():
        model.weight[3, 3] += 1
    after = weights.fingerprint(model)
    assert [name for name in before if before[name] != after[name]] == ["weight"]


@pytest.mark.parametrize(
    ("out", "name"),
    [({"a": {"b": 1}, "a.b": 2}, "a.b"), ({1: 1, "1": 2}, "1"), ({"0": 1, "x": [2]}, ""), ([{"x": 1}, {"x": 2}], "")],
)
def test_two_outputs_of_one_name_are_refused(out: Any, name: str) -> None:
    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(inner) for key, inner in value.items()}
        return [filled(inner) for inner in value] if isinstance(value, list) else torch.tensor(value)

    if name:
        with pytest.raises(Unsupported, match=f"two outputs of the model have the name {name!r}"):
            flatten_outputs(filled(out))
    else:
        assert len(flatten_outputs(filled(out))) == 2


def test_a_factory_made_by_meta_tensors_has_no_lazy_layers(bench: Bench, zoo: Zoo) -> None:
    folder = zoo("def make(): return nn.LazyLinear(4)")
    case: Case = bench.case("eager", "zoo.py:make", {"input": INPUTS["x"]})
    context = msgspec.structs.replace(bench.context(case), suite_dir=folder)
    with torch.device("meta"), pytest.raises(RuntimeError, match="lazy layers"):
        factories.build_model(case, context, device="meta")

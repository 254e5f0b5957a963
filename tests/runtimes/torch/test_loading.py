"""What the PyTorch backends share: factories, named outputs, errors, dynamic axes."""

from __future__ import annotations

import collections
import os
import sys
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from bench import tensors
from bench.backends import base
from bench.errors import ModelError, OutOfMemory, SuiteError, Unavailable, Unsupported
from bench.model.suite import Case, Input, Range
from bench.runtimes import shapes
from bench.runtimes.torch import caches, errors, factories, lane, session
from bench.runtimes.torch.options import TorchOptions
from bench.runtimes.torch.outputs import flatten_outputs
from tests.backends.kit import Bench

torch = pytest.importorskip("torch")
pytestmark = pytest.mark.torch
SQUARE = {"x": Input(shape=(4, 4))}


def build(bench: Bench, factory: str, device: str = "cpu", **fields: Any) -> Any:
    case = bench.case("eager", factory, source="suite.yaml:7", **fields)
    return factories.build_model(case, bench.context(case), device=device)


def test_the_same_seed_gives_the_same_weights_and_leaves_the_callers_generator_alone(bench: Bench) -> None:
    before = torch.random.get_rng_state()
    first, second = build(bench, "zoo.py:net"), build(bench, "zoo.py:net")
    assert torch.equal(torch.random.get_rng_state(), before)
    assert all(torch.equal(a, b) for a, b in zip(first.parameters(), second.parameters(), strict=True))
    assert not first.training
    assert all(p.requires_grad for p in first.parameters())  # as the factory leaves them: compilers look at it


def test_nothing_is_recorded_for_gradients_in_a_session_whatever_the_weights_ask_for(bench: Bench) -> None:
    case = bench.case("eager", "zoo.py:net")
    with session.torch_session(case, bench.context(case)):
        x = torch.from_numpy(tensors.seeded_inputs(case.resolved, 0)["x"])
        outputs = flatten_outputs(factories.build_model(case, bench.context(case), device="cpu")(x))
        assert not any(value.requires_grad for value in outputs.values())
    assert torch.is_grad_enabled()


def test_compile_caches_are_the_users_but_for_cold_runs_and_further_builds(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", "mine")
    monkeypatch.delenv("TRITON_CACHE_DIR", raising=False)
    case = bench.case("inductor")

    def inside(**fields: Any) -> tuple[str | None, str | None]:
        with caches.fresh_caches(bench.context(case, **fields)):
            return os.environ.get("TORCHINDUCTOR_CACHE_DIR"), os.environ.get("TRITON_CACHE_DIR")

    assert inside(shared=tmp_path) == ("mine", None)
    first, second = (inside(shared=tmp_path, build=build) for build in (1, 2))
    assert first == inside(shared=tmp_path, build=1) == (f"{tmp_path}/build-1/inductor", f"{tmp_path}/build-1/triton")
    assert len({first, second, inside(cold=True), inside(cold=True, shared=tmp_path, build=1)}) == 4
    assert (os.environ["TORCHINDUCTOR_CACHE_DIR"], "TRITON_CACHE_DIR" in os.environ) == ("mine", False)


def test_a_model_can_be_made_without_memory(bench: Bench) -> None:
    with torch.device("meta"):
        model = build(bench, "zoo.py:net", device="meta")
    assert {p.device.type for p in model.parameters()} == {"meta"}


@pytest.mark.parametrize(
    ("factory", "told"),
    [
        ("zoo.py:nett", "Did you mean 'net'?"),
        ("zooo.py:net", "not beside the suite"),
        ("resnet50", "none of torchvision:"),
    ],
)
def test_a_wrong_factory_is_told_with_its_line(bench: Bench, factory: str, told: str) -> None:
    with pytest.raises(SuiteError, match=f".*{told.replace('?', '.')}") as caught:
        build(bench, factory)
    assert caught.value.where == "suite.yaml:7"


def test_a_factory_that_raises_is_no_fault_of_the_suite_and_told_with_its_line(bench: Bench) -> None:
    with pytest.raises(ModelError, match=r"raised ValueError: no such size \(zoo\.py:\d+\)") as caught:
        build(bench, "zoo.py:raises")
    assert caught.value.where == "suite.yaml:7"


def test_a_factory_with_wrong_arguments_is_told(bench: Bench) -> None:
    with pytest.raises(SuiteError, match=r"zoo\.py:net: got an unexpected keyword argument 'classes'") as caught:
        build(bench, "zoo.py:net", args={"classes": 3})
    assert (caught.value.where, caught.value.fix) == ("suite.yaml:7", "correct `args` of the model 'net'")


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_arguments_that_are_refused_where_a_factory_hands_them_on_are_told(bench: Bench, device: str) -> None:
    with pytest.raises(SuiteError, match=r"zoo\.py:hands_on: .*unexpected keyword argument 'classes'") as caught:
        build(bench, "zoo.py:hands_on", device, args={"classes": 3})
    assert (caught.value.where, caught.value.fix) == ("suite.yaml:7", "correct `args` of the model 'net'")


def test_a_decorator_may_give_a_factory_its_arguments(bench: Bench) -> None:
    assert build(bench, "zoo.py:decorated").in_features == 4
    with pytest.raises(SuiteError, match="unexpected keyword argument 'width'"):
        build(bench, "zoo.py:decorated", args={"width": 3})


def test_a_package_that_the_factory_needs_is_unavailable_with_its_command(bench: Bench) -> None:
    with pytest.raises(Unavailable) as caught:
        build(bench, "zoo.py:needs_a_package")
    assert caught.value.fix.startswith("put a_package_that_is_not_there.py into ")  # no name on an index is sure


def test_a_broken_library_is_unavailable_and_says_so(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "torchvision.py").write_text("raise RuntimeError('operator torchvision::nms does not exist')")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "torchvision", raising=False)
    with pytest.raises(Unavailable, match=r"installed but cannot be imported.*nms does not exist") as caught:
        build(bench, "torchvision:resnet18")
    assert "belongs to your torch build" in caught.value.fix


def test_an_absent_library_is_unavailable_with_its_command(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "timm", None)
    with pytest.raises(Unavailable) as caught:
        build(bench, "timm:dla34")
    assert caught.value.fix == "pip install timm"


def test_a_transformers_model_has_its_outputs_by_name_and_no_cache(bench: Bench) -> None:
    pytest.importorskip("transformers")
    config = {"transformers": "GPT2Config", "n_layer": 1, "n_embd": 8, "n_head": 2, "vocab_size": 20}
    ids = {"input_ids": Input(shape=(1, 4), dtype="int64", range=(0, 20))}
    case = bench.case("eager", "transformers:GPT2Model", ids, config=config)
    assert list(bench.run(case)) == ["last_hidden_state"]
    with pytest.raises(SuiteError, match="Did you mean 'GPT2Model'"):
        build(bench, "transformers:GPT2Modl", config=config)
    with pytest.raises(SuiteError, match="needs the class of its configuration"):
        build(bench, "transformers:GPT2Model")
    with pytest.raises(SuiteError, match="Did you mean 'GPT2Config'"):
        build(bench, "transformers:GPT2Model", config={"transformers": "GPT2Confg"})


def test_a_key_that_a_configuration_does_not_have_is_told_and_not_kept_in_silence(bench: Bench) -> None:
    pytest.importorskip("transformers")
    small = {"transformers": "GPT2Config", "n_embd": 8, "n_head": 2, "vocab_size": 20}
    with pytest.raises(SuiteError, match=r"GPT2Config has no 'n_layers'\. Did you mean 'n_layer'\?") as caught:
        build(bench, "transformers:GPT2Model", config={**small, "n_layers": 1})
    assert "`config` of the model" in caught.value.fix
    # By another name, of all configurations, and what is taken under another name.
    known = {"num_hidden_layers": 1, "output_hidden_states": False, "attn_implementation": "eager"}
    assert len(build(bench, "transformers:GPT2Model", config={**small, **known}).h) == 1


def test_keys_that_only_the_code_of_a_configuration_or_its_model_knows_are_taken(bench: Bench) -> None:
    """Consumed (rope_theta, as the older config.json of Llama has it), or read by the model alone (head_dim)."""
    shape = {"hidden_size": 8, "num_attention_heads": 2, "num_key_value_heads": 2, "vocab_size": 20}
    small = {**shape, "num_hidden_layers": 1, "intermediate_size": 8, "max_position_embeddings": 16}
    llama = {"transformers": "LlamaConfig", **small}
    usual = build(bench, "transformers:LlamaModel", config=llama).rotary_emb.inv_freq
    other = build(bench, "transformers:LlamaModel", config={**llama, "rope_theta": 500000.0}).rotary_emb.inv_freq
    assert usual[1] > other[1]
    qwen = {"transformers": "Qwen2Config", **small, "head_dim": 16}
    assert build(bench, "transformers:Qwen2Model", config=qwen).layers[0].self_attn.q_proj.out_features == 32


def test_nested_outputs_are_named_by_their_path_and_none_is_skipped() -> None:
    one = torch.ones(1)
    assert list(flatten_outputs(one)) == ["output"]
    assert list(flatten_outputs({"a": one, "b": (None, one, [one])})) == ["a", "b.1", "b.2.0"]
    named = collections.namedtuple("Found", ["boxes", "scores"])(one, one)
    assert list(flatten_outputs(named)) == ["boxes", "scores"]


@pytest.mark.parametrize("backend", ["eager", "torchscript"])
def test_an_output_that_is_no_tensor_is_unsupported(bench: Bench, backend: str) -> None:
    case = bench.case(backend, "zoo.py:text")
    with pytest.raises(Unsupported, match="returned a str as 1"):
        bench.run(case, artifacts={"reference": bench.root})


@pytest.mark.parametrize(("value", "returned"), [("None", "None"), ("{}", "a dict without a tensor")])
def test_a_model_without_an_output_is_told_what_it_returned(tmp_path: Path, value: str, returned: str) -> None:
    text = "import torch\n\nclass Net(torch.nn.Module):\n    def forward(self, x):\n"
    (tmp_path / "zoo.py").write_text(f"{text}        return {value}\n")
    own = Bench(tmp_path, suite_dir=tmp_path)
    case = own.case("eager", "zoo.py:Net")
    with pytest.raises(Unsupported, match=f"the model returned {returned}") as caught:
        own.reference(case)
    assert caught.value.fix == "return the outputs in its forward"


def test_poison_spares_an_output_that_is_an_input(bench: Bench) -> None:
    case = bench.case("eager", "zoo.py:nested")
    with bench.prepared(case) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        lane.poison()
        assert np.isnan(lane.read()["0"]).all()
        lane.call()
        assert np.array_equal(lane.read()["2.same"], bench.context(case).inputs["x"])


@pytest.mark.parametrize("backend", ["eager", pytest.param("inductor", marks=pytest.mark.long)])
def test_poison_spares_an_output_that_the_model_keeps(bench: Bench, backend: str) -> None:
    with bench.prepared(bench.case(backend, "zoo.py:caches")) as prepared:
        (lane,) = prepared.lanes(1)
        lane.call()
        wanted = lane.read()
        lane.poison()
        poisoned = [name for name, array in lane.read().items() if np.isnan(array).any()]
        lane.call()
        assert {name: np.array_equal(array, wanted[name]) for name, array in lane.read().items()} == dict.fromkeys(
            wanted, True
        )
    assert poisoned == [name for name in wanted if name not in ("grid", "scale")]


def test_lanes_with_graphs_are_no_more_than_torch_has_streams_for(bench: Bench) -> None:
    plain = bench.case("eager")
    for case, most in ((plain, None), (msgspec.structs.replace(plain, cuda_graph=True), 32)):
        context = msgspec.structs.replace(bench.context(case), device="cuda:0")
        assert lane.TorchPrepared(case, TorchOptions(), context, lambda inputs: None).max_lanes == most


def test_a_missing_half_precision_kernel_is_unsupported(bench: Bench) -> None:
    with pytest.raises(Unsupported, match="Half"):
        bench.run(bench.case("eager", "zoo.py:inverse", SQUARE, precision="fp16"))


def test_running_out_of_memory_is_told_as_such() -> None:
    with pytest.raises(OutOfMemory) as caught, errors.translate():
        torch.empty(1 << 50)
    assert "smaller batch" in caught.value.fix


def test_an_error_of_the_model_itself_passes_unless_a_step_refuses() -> None:
    with pytest.raises(ValueError, match="wrong"), errors.translate():
        raise ValueError("wrong")
    with pytest.raises(Unsupported, match="cannot be exported: wrong"), errors.translate("cannot be exported"):
        raise ValueError("wrong")


def test_the_reference_is_fp32_whatever_the_case_asks_for(bench: Bench) -> None:
    half = bench.case("eager", precision="fp16", options={"memory_format": "channels_last"})
    assert base.load("eager").stages(half)[0] == base.load("eager").stages(bench.case("eager"))[0]
    wanted = bench.reference(half)
    inputs = {"x": torch.from_numpy(tensors.seeded_inputs(half.resolved, 0)["x"])}
    by_hand = build(bench, "zoo.py:net")(**inputs)
    assert all(np.allclose(wanted[name], by_hand[name].detach().numpy(), atol=1e-6) for name in by_hand)


def dynamic(bench: Bench, batch: int, backend: str = "eager") -> Case:
    ranges = {"batch": Range(min=1, opt=4, max=8)}
    inputs = {"x": Input(shape=("batch", 3, 16, 16))}
    return bench.case(backend, inputs=inputs, dynamic=ranges, symbols={"batch": batch})


def test_all_points_of_a_dynamic_case_share_their_model_but_not_their_reference(bench: Bench) -> None:
    two, eight = dynamic(bench, 2), dynamic(bench, 8)
    assert shapes.model_key(two) == shapes.model_key(eight)
    assert shapes.reference_stage(two) != shapes.reference_stage(eight)
    fixed = msgspec.structs.replace(two, dynamic={})
    assert shapes.model_key(fixed) != shapes.model_key(two)


def test_only_the_dimensions_of_the_symbol_are_dynamic_whatever_their_size(bench: Bench) -> None:
    assert shapes.dynamic_axes(dynamic(bench, 3)) == {"x": {0: "batch"}}  # three channels are no batch of three


def test_example_inputs_of_a_dynamic_case_are_at_opt_and_never_of_size_one(bench: Bench) -> None:
    case = dynamic(bench, 8)
    assert shapes.example_arrays(case, bench.context(case))["x"].shape == (4, 3, 16, 16)
    one = msgspec.structs.replace(case, dynamic={"batch": Range(min=1, opt=1, max=8)})
    assert shapes.example_arrays(one, bench.context(one))["x"].shape == (2, 3, 16, 16)


def test_a_cuda_case_without_a_cuda_build_is_unavailable(bench: Bench) -> None:
    if torch.cuda.is_available():
        pytest.skip("this torch can use CUDA")
    case = bench.case("eager")
    context = msgspec.structs.replace(bench.context(case), device="cuda:0")
    with pytest.raises(Unavailable, match="no CUDA device") as raised, base.load("eager").prepare(case, None, context):
        pass
    assert "not compiled with CUDA" in raised.value.what
    assert "CUDA build of torch" in raised.value.fix


@pytest.mark.parametrize(
    ("reason", "fix"),
    [
        ("The NVIDIA driver on your system is too old (found version 11040).", "for an older CUDA than 12.8"),
        ("No CUDA GPUs are available", "CUDA_VISIBLE_DEVICES"),
    ],
)
def test_why_a_cuda_build_finds_no_device_is_told_with_what_to_do(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, reason: str, fix: str
) -> None:
    def refuse() -> None:
        raise RuntimeError(reason)

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.cuda, "init", refuse)
    monkeypatch.setattr(torch.version, "cuda", "12.8")
    case = bench.case("eager")
    context = msgspec.structs.replace(bench.context(case), device="cuda:0")
    with pytest.raises(Unavailable, match="no CUDA device") as raised, base.load("eager").prepare(case, None, context):
        pass
    assert reason in raised.value.what
    assert fix in raised.value.fix

"""A suite is read into data; files that are none are refused."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from bench.errors import SuiteError
from bench.model.suite import DEFAULT_POLICY, DEFAULT_THRESHOLDS, Policy, Range, Threshold, Toolchain
from bench.suite import reader
from tests.suite.kit import REGISTRY, TEXT, changed, load, write, wrong

TWO_TOOLCHAINS = TEXT.replace("batch: [1, 32]", "batch: [1, 32]\n  toolchain: [default, old]")
LINE_OF = {line.strip(): number for number, line in enumerate(TEXT.splitlines(), 1)}


def test_a_suite_is_read_into_data(tmp_path: Path) -> None:
    read = load(tmp_path, TEXT)
    assert (read.name, read.schema, read.device, read.baseline) == ("tiny", 1, "auto", "eager")
    assert read.models["resnet"].args == {"weights": None}
    assert read.models["bert"].inputs["ids"].range == (0, 100)
    assert read.models["bert"].symbols == {"seq": 128}
    assert read.matrix["model"] == ("resnet", "bert")
    assert read.matrix["backend"][2] == {"name": "inductor", "mode": "max-autotune"}
    assert read.exclude == ({"backend": ({"name": "eager"},), "batch": (32,)},)
    assert read.measure == DEFAULT_POLICY


def test_a_number_with_an_exponent_and_no_point_is_a_number(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT).models["bert"].config["layer_norm_eps"] == 1e-12
    assert load(tmp_path, changed("0.5%", "5e-3")).measure.target_ci == 0.005


def test_every_key_has_its_line_and_an_unknown_key_has_that_of_its_parent(tmp_path: Path) -> None:
    read = load(tmp_path, TEXT)
    assert read.lines["models.resnet.factory"] == LINE_OF["factory: torchvision:resnet50"]
    assert read.lines["matrix.backend.2"] == LINE_OF["- {name: inductor, mode: max-autotune}"]
    assert read.lines["exclude.0"] == LINE_OF["- {backend: eager, batch: 32}"]
    assert reader.locate(read, "models.bert.nothing.here") == f"{read.path}:{LINE_OF['bert:']}"
    assert reader.locate(read, "nowhere") == f"{read.path}:1"


def test_a_single_value_is_an_axis_of_one_and_repeated_values_count_once(tmp_path: Path) -> None:
    read = load(tmp_path, changed("batch: [1, 32]", "batch: 8\n  streams: [2, 2, 1]"))
    assert read.matrix["batch"] == (8,)
    assert read.matrix["streams"] == (2, 1)


@pytest.mark.parametrize(("word", "value"), [("on", True), ("off", False), ("'on'", True), ("true", True)])
def test_switches_are_on_and_off(tmp_path: Path, word: str, value: bool) -> None:
    read = load(tmp_path, changed("  batch: [1, 32]", f"  cuda_graph: {word}\n  batch: [1, 32]"))
    assert read.matrix["cuda_graph"] == (value,)


def test_measure_reads_times_and_fractions_with_units(tmp_path: Path) -> None:
    text = changed(
        "measure: {target_ci: 0.5%, max_time: 15s}",
        "measure: {boundaries: [latency], target_ci: 0.01, warmup: 0s, warmup_calls: 0, warmup_limit: 2 s,\n"
        "  throughput_time: 500ms, timeout: 2min, replicates: 7, min_samples: 5, max_samples: 6}",
    )
    assert load(tmp_path, text).measure == Policy(
        boundaries=("latency",), target_ci=0.01, warmup_ns=0, warmup_calls=0, warmup_limit_ns=2 * 10**9,
        throughput_ns=5 * 10**8, timeout_ns=120 * 10**9, replicates=7, min_samples=5, max_samples=6,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("key", "least", "most"), [("min_samples: 300", 300, 300), ("max_samples: 7", 7, 7), ("min_samples: 60", 60, 100)]
)
def test_the_default_of_one_limit_of_samples_gives_way_to_the_other(
    tmp_path: Path, key: str, least: int, most: int
) -> None:
    policy = load(tmp_path, changed("max_time: 15s", key)).measure
    assert (policy.min_samples, policy.max_samples) == (least, most)


def test_thresholds_that_are_not_named_keep_their_default(tmp_path: Path) -> None:
    read = load(tmp_path, TEXT + "accuracy: {fp32: {cosine: 0.9}, tf32: {rel_l2: null}}\n")
    assert read.accuracy["fp32"].cosine == 0.9
    assert read.accuracy["fp32"].rel_l2 == DEFAULT_THRESHOLDS["fp32"].rel_l2
    assert read.accuracy["tf32"].rel_l2 is None
    assert "fp16" not in read.accuracy


def test_a_suite_that_loosens_the_cosine_alone_keeps_the_limit_of_the_scale(tmp_path: Path) -> None:
    read = load(tmp_path, TEXT + "accuracy: {fp16: {cosine: 0.9}, bf16: {cosine: 0.9, rel_l2: 0.5}}\n")
    assert read.accuracy["fp16"] == Threshold(cosine=0.9, rel_l2=0.05, slice_rel_l2=0.3)
    assert read.accuracy["bf16"] == Threshold(cosine=0.9, rel_l2=0.5, slice_rel_l2=0.5)


@pytest.mark.parametrize(
    ("limits", "limit"),
    [
        ("{rel_l2: 0.4}", 0.4),
        ("{rel_l2: 0.01}", 0.3),
        ("{rel_l2: null}", None),
        ("{rel_l2: null, slice_rel_l2: 0.2}", 0.2),
        ("{slice_rel_l2: null}", None),
    ],
)
def test_a_slice_may_differ_as_much_as_the_whole(tmp_path: Path, limits: str, limit: float | None) -> None:
    assert load(tmp_path, TEXT + f"accuracy: {{fp16: {limits}}}\n").accuracy["fp16"].slice_rel_l2 == limit


def test_dynamic_points_default_to_the_three_of_the_range(tmp_path: Path) -> None:
    text = changed("  batch: [1, 32]\n", "").replace("    - {backend: eager, batch: 32}", "    - {backend: eager}")
    read = load(tmp_path, text + "dynamic: {batch: {min: 1, opt: 8, max: 32}, seq: {min: 1, opt: 1, max: 9, at: 5}}\n")
    assert read.dynamic["batch"] == Range(min=1, opt=8, max=32, at=(1, 8, 32))
    assert read.dynamic["seq"].at == (5,)
    assert read.matrix["dynamic"] == (True,)


def test_toolchains_are_named_interpreters_with_variables(tmp_path: Path) -> None:
    tools = "toolchains: {old: {python: $HOME/old/bin/python, env: {OMP_NUM_THREADS: 2}}}\n"
    read = load(tmp_path, TWO_TOOLCHAINS + tools)
    assert read.toolchains == {"old": Toolchain(python="$HOME/old/bin/python", env={"OMP_NUM_THREADS": "2"})}
    assert read.matrix["toolchain"] == ("default", "old")
    assert reader.place_of_toolchain(read, "old") == f"{read.path}:{len(TWO_TOOLCHAINS.splitlines()) + 1}"


def test_toolchains_of_the_file_beside_the_suite_which_is_this_machines_join_its_own_and_win(tmp_path: Path) -> None:
    write(tmp_path, "# mine\nold: {python: beside}\nnew: {python: beside}\n", reader.TOOLCHAINS)
    read = load(tmp_path, TWO_TOOLCHAINS + "toolchains: {old: {python: own}, mine: {python: own}}\n")
    found = {name: toolchain.python for name, toolchain in read.toolchains.items()}
    assert found == {"old": "beside", "new": "beside", "mine": "own"}
    assert reader.place_of_toolchain(read, "mine").startswith(f"{tmp_path}/x.yaml:")
    assert reader.place_of_toolchain(read, "old") == f"{tmp_path}/toolchains.yaml:2"
    assert reader.toolchains_of(tmp_path / reader.TOOLCHAINS, REGISTRY).keys() == {"old", "new"}
    assert reader.toolchains_of(tmp_path / "x.yaml", REGISTRY)["old"].python == "beside"


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("default: {}", 1, "'default' is the running interpreter"),
        ("a: {python: python3}\nb: {pyton: python3}", 2, "unknown key 'pyton' in b. Did you mean 'python'?"),
        ("a:\n  env: {B=C: 1}", 2, "'B=C' cannot be the name of a variable"),
        ("a:\n  env:\n    CUDA_VISIBLE_DEVICES: 1", 3, "set it for the whole run: CUDA_VISIBLE_DEVICES=1"),
        ('a:\n  env: {B: "\\0"}', 2, "expected text"),
        ("a: ]", 1, "not YAML"),
    ],
)
def test_a_mistake_in_the_file_beside_the_suite_is_told_with_its_line_there(
    tmp_path: Path, text: str, line: int, message: str
) -> None:
    write(tmp_path, text + "\n", reader.TOOLCHAINS)
    error = wrong(tmp_path, TEXT)
    assert message in str(error)
    assert error.where == f"{tmp_path}/toolchains.yaml:{line}"


def test_a_baseline_may_be_the_plain_name_of_a_backend_that_stands_with_options_only(tmp_path: Path) -> None:
    only = changed("    - eager\n    - inductor\n", "")
    assert load(tmp_path, only.replace("backend: eager, ", "") + "baseline: inductor\n").baseline == "inductor"


def test_a_baseline_may_name_its_toolchain(tmp_path: Path) -> None:
    tools = "toolchains: {old: {python: python3}}\n"
    assert load(tmp_path, TWO_TOOLCHAINS + tools + "baseline: eager@old\n").baseline == "eager@old"
    assert "unknown baseline 'eager@odl'" in str(wrong(tmp_path, TWO_TOOLCHAINS + tools + "baseline: eager@odl\n"))


def test_an_anchor_can_be_reused_and_merged(tmp_path: Path) -> None:
    text = """\
        schema: 1
        models:
          a: &a {factory: "timm:dla34", inputs: {x: {shape: [1]}}}
          b: {<<: *a, args: {pretrained: off}}
        matrix: {backend: eager}
        """
    read = load(tmp_path, text)
    assert read.models["b"].factory == "timm:dla34"
    assert read.models["b"].args == {"pretrained": False}


def test_the_name_and_the_models_default_to_those_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, changed("name: tiny\n", ""), "my suite.yaml")
    assert reader.load(path, REGISTRY).name == "my-suite"


def test_a_baseline_may_name_its_precision(tmp_path: Path) -> None:
    for name in ("eager/fp32", "eager/fp32@default", "eager@default/fp32", "inductor[mode=max-autotune]/fp32"):
        assert load(tmp_path, TEXT + f"baseline: {name}\n").baseline == name
    without = changed("  precision: [fp32, fp16]\n", "")
    assert load(tmp_path, without + "baseline: eager/fp32\n").baseline == "eager/fp32"


def test_a_baseline_of_a_precision_that_the_suite_lacks_is_told_with_those_that_it_has(tmp_path: Path) -> None:
    error = wrong(tmp_path, TEXT + "baseline: eager/bf16\n")
    assert error.what == "unknown baseline 'eager/bf16'. Did you mean 'eager/fp16'?"
    assert error.fix == "known: eager, inductor, inductor[mode=max-autotune]; each also with /PRECISION: fp32, fp16"
    tools = "toolchains: {old: {python: python3}}\n"
    error = wrong(tmp_path, TWO_TOOLCHAINS + tools + "baseline: eager@odl/fp32\n")
    assert error.what == "unknown baseline 'eager@odl/fp32'. Did you mean 'eager@old/fp32'?"
    assert error.fix.endswith(", and with @TOOLCHAIN: default, old")


def test_a_symbol_of_inputs_without_any_is_to_be_left_out(tmp_path: Path) -> None:
    text = "models: {m: {factory: 'zoo.py:m', inputs: {x: {shape: [1, 3]}}, symbols: {seq: 8}}}\n"
    error = wrong(tmp_path, "schema: 1\nname: s\n" + text + "matrix: {backend: [eager]}\n")
    assert error.what == "unknown symbol 'seq' in models.m.symbols"
    assert error.fix == "leave it out: there is no symbol here"


def test_a_baseline_is_the_label_of_a_backend_with_its_options(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT + "baseline: inductor[mode=max-autotune]\n").baseline == "inductor[mode=max-autotune]"
    assert load(tmp_path, changed("    - eager\n", "").replace("eager", "inductor")).baseline == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "the file is empty"),
        ("# nothing\n", "the file is empty"),
        ("just words", "expected a mapping"),
        ("{}", "has no `schema`"),
        ("schema: 1", "has no `models`"),
        ("a: &a [*a]", "nested too deep"),
        ("a: " + "[" * 1000, "nested too deep"),
        ("a: 1\n---\nb: 2", "not YAML"),
        ("a: \0", "character #x0000 is not allowed"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ("a: 0b_", "'0b_' is not a number"),
        ("a: !!python/object/apply:os.getcwd []", "unknown key 'a'"),
        (
            "\n".join(["a0: &a0 [x]"] + [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]),
            "too many",
        ),
    ],
)
def test_files_that_are_no_suite_are_refused(tmp_path: Path, text: str, message: str) -> None:
    error = wrong(tmp_path, text)
    assert message in str(error)
    assert re.fullmatch(rf"{tmp_path}/x\.yaml:\d+", error.where)


def test_a_file_that_is_not_utf8_is_refused_at_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x.yaml"
    path.write_bytes(b"schema: 1\nname: \xff\n")
    with pytest.raises(SuiteError, match="not UTF-8: byte 0xff at offset 16") as caught:
        reader.load(path, REGISTRY)
    assert caught.value.where == f"{path}:2"
    assert f"iconv -f latin1 -t utf-8 {path}" in caught.value.fix


def test_a_missing_file_suggests_its_neighbour(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(tmp_path, TEXT, ".hidden.yaml")
    write(tmp_path, TEXT, "vision.yaml")
    with pytest.raises(SuiteError, match=r"Did you mean 'vision.yaml'\?"):
        reader.load(tmp_path / "vison.yaml", REGISTRY)
    with pytest.raises(SuiteError, match="no such file"):
        reader.load(tmp_path / "nowhere" / "x.yaml", REGISTRY)
    with pytest.raises(SuiteError, match="this is a folder, a suite is a file") as caught:
        reader.load(tmp_path, REGISTRY)
    assert caught.value.fix == f"{tmp_path} has vision.yaml"
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SuiteError, match="this is a folder, a suite is a file") as caught:
        reader.load(Path(), REGISTRY)
    assert caught.value.fix == "this folder has vision.yaml"


def test_a_factory_and_a_metric_can_be_functions_in_a_file(tmp_path: Path) -> None:
    text = changed("factory: torchvision:resnet50", "factory: zoo.py:net\n    metric: ../zoo.py:score")
    assert load(tmp_path, text).models["resnet"].factory == "zoo.py:net"
    assert load(tmp_path, text).models["resnet"].metric == "../zoo.py:score"


def test_a_symbol_in_the_matrix_and_in_dynamic_is_told_where_it_is_too_much(tmp_path: Path) -> None:
    error = wrong(tmp_path, TEXT + "dynamic: {batch: {min: 1, opt: 8, max: 32}}\n")
    assert "'batch' is in `dynamic`, which says at which points it is measured" in str(error)
    assert error.where == f"{tmp_path}/x.yaml:{LINE_OF['batch: [1, 32]']}"


def test_an_include_entry_can_give_a_model_the_symbol_that_the_matrix_lacks(tmp_path: Path) -> None:
    text = changed("    symbols: {seq: 128}\n", "").replace("batch: [1, 32]", "batch: [1, 32]\n  model: resnet")
    assert load(tmp_path, text + "  \n").matrix["model"] == ("resnet",)
    entry = "  include: [{model: bert, seq: 64}]\n  exclude:"
    assert load(tmp_path, text.replace("  exclude:", entry)).include[0]["seq"] == (64,)
    assert "has no value" in str(wrong(tmp_path, text.replace("  exclude:", entry.replace(", seq: 64", ""))))


BOMB = ("ab", "bc", "cd", "de", "ef", "fg")  # each has nine of the one before


@pytest.mark.parametrize(
    "text",
    [
        'name: "\\U00110000"',
        'name: "\\UFFFFFFFF"',
        "name: !!int ''",
        "name: !!int '-'",
        "name: !!int '1:'",
        "name: !!float ''",
        "name: !!float '.'",
        "name: !!bool maybe",
        "name: !!null {}",
        "name: !!binary '='",
        "name: !!set {a}",
        "name: !!python/object:os.system x",
        f"%YAML 1.{'9' * 5000}\n---\nname: x",
        f"%YAML {'9' * 5000}.1\n---\nname: x",
        f"name: {'9' * 5000}",
        f"name: 0x{'f' * 5000}",
        f"name: {'1:' * 3000}1",
        f"name: 1e{'9' * 5000}",
        "name: &a [*a]",
        "name: &a {<<: *a}",
        "name: *nowhere",
        "a: &a [x,x,x,x,x,x,x,x,x]\n" + "\n".join(f"{n}: &{n} [{','.join([f'*{p}'] * 9)}]" for p, n in BOMB),
        "[" * 5000,
        "{a: " * 5000,
        "- " * 5000,
        "name: x\nname: y",
        "? [a]\n: b",
        "name: \x00",
    ],
    ids=range(28),
)
def test_odd_yaml_is_an_error_with_a_line(tmp_path: Path, text: str) -> None:
    with pytest.raises(SuiteError) as caught:
        load(tmp_path, text)
    assert re.match(r".*x\.yaml:\d+$", caught.value.where)
    assert len(str(caught.value)) < 10_000


def test_a_file_larger_than_any_suite_is_refused_before_it_is_read(tmp_path: Path) -> None:
    (tmp_path / "x.yaml").write_text("# " + "x" * (2 << 20) + TEXT)
    with pytest.raises(SuiteError, match="larger than 1 MiB"):
        reader.load(tmp_path / "x.yaml", REGISTRY)


def test_an_axis_of_many_values_counts_each_once_and_in_order(tmp_path: Path) -> None:
    values = [*range(1, 9000), *range(8999, 0, -1)]
    suite = load(
        tmp_path,
        TEXT.replace("batch: [1, 32]", f"batch: {values}").replace("- {backend: eager, batch: 32}", "- {batch: 2}"),
    )
    assert suite.matrix["batch"] == tuple(range(1, 9000))


def test_a_suite_keeps_its_text_from_one_reading(tmp_path: Path) -> None:
    assert load(tmp_path, TEXT).text == TEXT

"""Any data is a suite or an error, and the JSON Schema takes what the loader takes."""

from __future__ import annotations

import copy
import datetime
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from bench.errors import InputError, SuiteError
from bench.suite import plan, reader
from tests.suite.kit import REGISTRY, TEXT, editors_schema, wrong

DATA: dict[str, Any] = {
    "schema": 1,
    "name": "any",
    "device": "auto",
    "baseline": "eager",
    "models": {
        "a": {"factory": "timm:dla34", "args": {"k": 1}, "inputs": {"x": {"shape": ["batch", 3]}}},
        "b": {
            "factory": "transformers:X",
            "config": {"transformers": "C"},
            "inputs": {"i": {"shape": ["batch", "seq"], "dtype": "int32", "range": [0, 9]}},
            "symbols": {"seq": 4},
        },
    },
    "matrix": {
        "model": ["a", "b"],
        "backend": ["eager", {"name": "inductor", "mode": "max-autotune"}],
        "precision": ["fp32"],
        "cuda_graph": [True, False],
        "streams": 2,
        "batch": [1, 2],
        "include": [{"model": "b", "batch": 4}],
        "exclude": [{"backend": {"name": "inductor", "mode": "max-autotune"}, "batch": [2]}],
    },
    "dynamic": {"seq": {"min": 1, "opt": 2, "max": 3, "at": [1, 3]}},
    "measure": {"boundaries": ["latency"], "target_ci": "1%", "max_time": "3s", "replicates": 1},
    "accuracy": {"fp16": {"cosine": 0.99, "rel_l2": None}},
    "toolchains": {"old": {"python": "python3", "env": {"A": "b"}}},
}  # fmt: skip


def paths(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(deeper for key, item in items for deeper in paths(item, (*path, key)))]


WORDS = sorted({str(part) for path in paths(DATA) for part in path} | {"eager", "inductor", "fp16", "on", "batch", ""})
KEYS = st.text(max_size=4)
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.sampled_from(WORDS) | st.text(max_size=5) | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS) | KEYS, inner, max_size=3),
    max_leaves=6,
)  # fmt: skip


@st.composite
def suites(draw: st.DrawFn) -> Any:
    """A right suite in which some values are replaced, removed or joined by others."""
    data = copy.deepcopy(DATA)
    for _ in range(draw(st.integers(0, 3))):
        *parents, last = draw(st.sampled_from(paths(data)[1:]))
        place: Any = data
        for part in parents:
            place = place[part]
        how = draw(st.sampled_from(["replace", "remove", "join"]))
        if how == "remove":
            del place[last]
        elif how == "join" and isinstance(place, dict):
            place[draw(st.sampled_from(WORDS) | KEYS)] = draw(JUNK)
        else:
            place[last] = draw(JUNK)
        if len(paths(data)) == 1:
            break
    return data


def problem(path: Path, text: str) -> InputError | None:
    """What loading and planning say; any other exception fails the test."""
    path.write_text(text, encoding="utf-8")
    try:
        plan.plan(reader.load(path, REGISTRY), REGISTRY, device="cuda:0")
    except InputError as error:
        return error
    return None


def check(path: Path, text: str) -> None:
    error = problem(path, text)
    assert error is None or (re.fullmatch(rf"{path}:\d+", error.where) and error.what)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suites() | JUNK)
@example(DATA)
def test_any_data_is_a_suite_that_plans_or_an_error_with_a_line(tmp_path: Path, data: Any) -> None:
    check(tmp_path / "x.yaml", yaml.safe_dump(data, allow_unicode=True))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.text(alphabet=st.sampled_from("ab1:-[]{}&*!|>'\"%@` \n\t#,?.\0\ud7ff\x85é"), max_size=30),
    st.integers(0, len(TEXT)),
)
def test_any_text_is_a_suite_or_an_error_with_a_line(tmp_path: Path, noise: str, at: int) -> None:
    check(tmp_path / "x.yaml", noise)
    check(tmp_path / "x.yaml", TEXT[:at] + noise + TEXT[at:])


class Editor(yaml.SafeLoader):
    """Reads as editors do, by YAML 1.2: what looks like a date is text."""


Editor.add_constructor("tag:yaml.org,2002:timestamp", yaml.SafeLoader.construct_yaml_str)


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(suites())
@example(DATA)
@example(DATA | {"name": datetime.date(2000, 1, 1)})
def test_what_the_loader_takes_the_json_schema_takes(tmp_path: Path, data: Any) -> None:
    path = tmp_path / "x.yaml"
    path.write_text(yaml.safe_dump(data))
    try:
        reader.load(path, REGISTRY)
    except SuiteError:
        return
    editors_schema().validate(yaml.load(path.read_text(), Editor))


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("schema",), 2),
        (("device",), "gpu"),
        (("name",), 1),
        (("matrix", "backend"), "egaer"),
        (("matrix", "backend"), []),
        (("matrix", "backend"), {"name": "inductor", "mode": "max"}),
        (("matrix", "backend"), {"name": "eager", "mode": "default"}),
        (("matrix", "precision"), "fp61"),
        (("matrix", "batch"), [0]),
        (("models", "a", "factory"), "torchvison resnet50"),
        (("models", "a", "inputs", "x", "dtype"), "long"),
        (("models", "a", "extra"), 1),
        (("models",), {}),
        (("measure", "replicates"), 0),
        (("measure", "max_tme"), "3s"),
        (("accuracy", "fp16", "cosine"), "high"),
    ],
)
def test_the_json_schema_refuses_what_an_editor_should_underline(path: tuple[str, ...], value: Any) -> None:
    data = copy.deepcopy(DATA)
    editors_schema().validate(data)
    place = data
    for part in path[:-1]:
        place = place[part]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        editors_schema().validate(data)


def test_the_json_schema_without_a_registry_takes_any_backend() -> None:
    data = copy.deepcopy(DATA)
    data["matrix"]["backend"] = [{"name": "another", "speed": 9}]
    jsonschema.validate(data, reader.json_schema())


@pytest.mark.parametrize("number", [".inf", "-.inf", ".nan", "1e999"])
def test_numbers_that_json_has_no_word_for_are_refused(tmp_path: Path, number: str) -> None:
    error = wrong(tmp_path, TEXT.replace("factory:", f"args: {{limit: {number}}}\n    factory:", 1))
    assert f"{number} cannot be stored" in str(error)

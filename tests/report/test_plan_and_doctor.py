"""What `list` and `doctor` print."""

import re

from bench.model.checkup import Check
from bench.model.suite import LeftOut, Plan
from bench.report import doctor, plan

from .conftest import case

PLAN = Plan(
    cases=(case("bert", "eager"), case("bert", "inductor"), case("resnet18", "eager")),
    left_out=tuple(LeftOut(label=f"bert/eager/fp32/batch={n}/graph", reason="needs a GPU") for n in range(5)),
)
CHECKS = [
    Check(group="machine", name="cpu", state="ready", detail="Example CPU, 2 cores", fix="never shown"),
    Check(group="backends", name="tensorrt", state="missing", detail="not installed", fix="pip install tensorrt"),
    Check(group="backends", name="aoti", state="broken", detail="g++ fails", fix="apt-get install g++"),
]


def test_the_plan_lists_every_case_with_its_id_by_model() -> None:
    shown = plan.render(PLAN, replicates=3)
    assert f"bert (2 cases)\n  {PLAN.cases[0].id}  {PLAN.cases[0].label}\n" in shown
    assert "3 cases x 3 processes = 9 measurements" in shown


def test_the_plan_says_what_is_left_out_and_why_and_names_all_if_verbose() -> None:
    short = plan.render(PLAN)
    assert "5 combinations left out:\n  needs a GPU (5)\n" in short
    assert "and 2 more: --verbose" in short
    assert "batch=4/graph" not in short
    assert "batch=4/graph" in plan.render(PLAN, verbose=True)


def test_an_empty_plan_says_so() -> None:
    assert plan.render(Plan(cases=())) == "0 cases\n"
    assert "takes" not in plan.render(Plan(cases=()), replicates=1, estimate=(0, 0))


def test_doctor_shows_each_check_by_group_with_the_fix_only_where_needed() -> None:
    assert doctor.render(CHECKS) == (
        "machine\n"
        "  ready    cpu       Example CPU, 2 cores\n"
        "\n"
        "backends\n"
        "  missing  tensorrt  not installed\n"
        "                     fix: pip install tensorrt\n"
        "  broken   aoti      g++ fails\n"
        "                     fix: apt-get install g++\n"
        "\n"
        "1 of 3 checks ready\n"
    )


def test_doctor_colours_only_the_state() -> None:
    colored = doctor.render(CHECKS, color=True)
    assert "\x1b[32mready\x1b[0m" in colored
    assert re.sub(r"\x1b\[[0-9;]*m", "", colored) == doctor.render(CHECKS)


def test_doctor_wraps_long_details_under_themselves() -> None:
    long = Check(group="backends", name="aoti", state="broken", detail="word " * 40)
    lines = doctor.render([long], width=60).splitlines()
    assert max(map(len, lines)) <= 60
    assert all(line.startswith(" " * 17) for line in lines[2:4])

"""Cases of which some or all processes failed after they were measured: no table shows them like a good one."""

from bench.model.run import Failure, Run
from bench.report import export, text
from bench.report.html import notebook

from .conftest import case, make, record

FAILURE = Failure(kind="SuiteError", stage="validate", message="zoo.py:score returned no finite number for 'q'")


def of_processes(*failures: bool) -> Run:
    """A sound case, and one measured in a process for each of ``failures``, which failed then if that is true."""
    good, bad = case("bert", "eager"), case("bert", "torchscript")
    records = [record(good, 2.0, n) for n in range(len(failures))]
    records += [record(bad, 1.5, n, failure=FAILURE if failed else None) for n, failed in enumerate(failures)]
    return make([good, bad], records, len(failures))


def row(shown: str) -> str:
    (line,) = [line for line in shown.splitlines() if line.lstrip("| ").startswith("torchscript")]
    return line


def test_a_case_whose_processes_all_failed_has_the_failure_in_place_of_figures() -> None:
    for failures in ([True], [True, True]):
        run = of_processes(*failures)
        shown = text.render(run, width=160)
        assert row(shown).split("  ", 1)[1].strip() == "note 1: SuiteError in validate"
        assert f"1 SuiteError in validate: {FAILURE.message}" in shown
        markdown = export.markdown(run)
        assert [cell.strip() for cell in row(markdown).split("|")[5:-1]] == ["SuiteError in validate", *["-"] * 4]
        assert markdown.count("SuiteError in validate") == 2
        assert f"- SuiteError in validate (torchscript): {FAILURE.message}\n" in markdown
        assert ">ok<" in notebook.tables(run).partition("torchscript")[0]
        assert ">ok<" not in notebook.tables(run).partition("torchscript")[2]


def test_a_case_of_which_some_processes_failed_has_its_figures_and_no_good_accuracy() -> None:
    run = of_processes(False, True, False)
    shown = text.render(run, width=160)
    assert " ms " in row(shown)
    assert "failed" in row(shown).split()
    assert f"SuiteError in validate: 1 of its 3 processes failed: {FAILURE.message}" in shown
    assert "| failed |" in row(export.markdown(run))
    assert ">failed<" in notebook.tables(run)


def test_markdown_names_the_cases_of_a_note_once() -> None:
    cases = [case("bert", "eager"), case("bert", "torchscript")]
    failures = [Failure(kind="ValueError", stage="", message=f"no room for {n} GiB") for n in (2, 3)]
    run = make(cases, [record(of, 2.0, failure=each) for of, each in zip(cases, failures, strict=True)])
    assert "- ValueError (eager, torchscript): no room for 2 GiB\n" in export.markdown(run)
    sizes = [case("bert", "eager", batch=batch) for batch in (1, 2)]
    run = make(sizes, [record(of, 2.0, failure=each) for of, each in zip(sizes, failures, strict=True)])
    assert "- ValueError (eager): no room for 2 GiB (likewise eager batch=2)\n" in export.markdown(run)

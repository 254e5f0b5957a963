"""Runs and cases against each other: `trtbench compare`, `calibrate`, `history` and `explain`."""

from __future__ import annotations

import argparse
import os
import shlex
from typing import TYPE_CHECKING

from bench.cli import duel, output, typed
from bench.cli.options import STORE

if TYPE_CHECKING:
    from bench import api
    from bench.model.calibration import Calibration


def compare(arguments: argparse.Namespace) -> int:
    """Print one side against the other, and return the exit code that --fail-on asks for."""
    from bench import api
    from bench.errors import UsageError
    from bench.report import compare as view
    from bench.report import compare_notes, escape

    if arguments.confirm and arguments.fail_on is None:
        raise UsageError("--confirm measures again what --fail-on would fail for", fix="--fail-on slower:2%")
    if arguments.baseline and (arguments.b or arguments.axis != "backend"):
        fix = typed.command(arguments, "compare", arguments.a, "--axis", "backend", "--baseline", arguments.baseline)
        raise UsageError("--baseline is of one run whose backends are compared", fix=fix)
    sides = [typed.names_of(name) for name in (arguments.a, arguments.b) if name]
    if arguments.store != STORE and all(os.path.isfile(name) for side in sides for name in side):
        what = f"all runs are files, so --store {arguments.store} would change nothing"
        raise UsageError(what, fix=typed.again(arguments, without="--store"))
    options = {name: getattr(arguments, name) for name in ("boundary", "across", "baseline")}
    runs = [[api.read(name, store=arguments.store, packed=True) for name in side] for side in sides]
    for run in (run for side in runs for run in side if run.damage):
        output.complain(f"trtbench: {escape.line(run.damage)}")
    options |= {"store": arguments.store, "calibration": arguments.calibration or "", "select": arguments.select or ""}
    comparison = api.compare(*runs, axis=arguments.axis or "", **options)
    if arguments.format == "text":
        output.say(view.render(comparison, **output.screen()), end="")
    else:
        output.say(getattr(view, arguments.format)(comparison), end="")
    if comparison.refused:
        what = f"REFUSED: the environments differ in {compare_notes.texts(comparison.refused)}"
        dimensions = compare_notes.across(comparison.refused)
        raise UsageError(what, fix=typed.again(arguments, dimensions) if dimensions.startswith("--") else dimensions)
    return _gate(arguments, comparison) if arguments.fail_on else 0


def _gate(arguments: argparse.Namespace, comparison: api.Comparison) -> int:
    """The exit code of what --fail-on names; what is slower is measured again first if --confirm names a suite."""
    from bench.errors import UsageError
    from bench.report import compare_notes

    threshold, *flags = arguments.fail_on
    fails = comparison.fails(failed=flags[0], inconclusive=flags[1])
    if threshold is not None and comparison.slower(threshold):
        if not arguments.confirm:
            return 1
        _tell_what_passes(comparison, threshold)
        return duel.confirm(arguments, comparison) or int(fails)
    if not fails and not any(pair.verdict for pair in comparison.pairs):
        what = f"no case was judged, so --fail-on would pass whatever the times are: {comparison.pairs[0].why}"
        fix = f"--boundary NAME for other times; or see what failed: {compare_notes.show_commands(comparison)}"
        raise UsageError(what, fix=fix)
    if not fails and threshold is not None and (few := comparison.too_few()):
        sides = f"{few[0]} and {few[1]} processes"
        what = f"with {sides} no case can be called SLOWER, so --fail-on slower could never fail"
        raise UsageError(what, fix="measure both sides with more processes, e.g. --replicates 7")
    if threshold is not None:
        _tell_what_passes(comparison, threshold)
    return int(fails)


def _tell_what_passes(comparison: api.Comparison, threshold: float) -> None:
    """Which cases cannot be called SLOWER by ``threshold``, on stderr."""
    from bench.report import compare_notes

    for note in compare_notes.gate_notes(comparison, threshold):
        output.complain(f"trtbench: {note}")


def calibrate(arguments: argparse.Namespace) -> int:
    """Measure or read identical code, store and print how it differs, and return the exit code."""
    from bench import api
    from bench.errors import UsageError
    from bench.report import calibration as view

    sources = typed.names_of(arguments.sources) if arguments.sources else []
    if arguments.suite is None and not sources:
        fix = typed.in_store(arguments, "calibrate", "suites/smoke.yaml")
        raise UsageError("neither a suite nor a run is named", fix=fix)
    planned = {name: getattr(arguments, name) for name in ("processes", "sittings")}
    sizes = {name: value for name, value in planned.items() if value is not None}
    if arguments.suite is None:
        options = ("select", "device", "backend", "cache", "seed")
        ignored = [*sizes, *(name for name in options if getattr(arguments, name) is not None)]
        ignored += [name for name in ("cold", "rebuild") if getattr(arguments, name)]
        if ignored:
            fix = typed.in_store(arguments, "calibrate", "SUITE", "--from", arguments.sources)
            raise UsageError(f"--{ignored[0]} is of a suite that is measured, and none is named", fix=fix)
    request = typed.request(arguments, store=arguments.store) if arguments.suite else None
    runs = [api.read(name, store=arguments.store, packed=True) for name in sources]
    sizes["replicates"] = arguments.replicates or 0
    with output.progress_view(arguments.progress, []) as on_event:
        try:
            calibration = api.calibrate(request, runs=runs, store=arguments.store, on_event=on_event, **sizes)
        except api.Interrupted as error:
            output.complain(f"interrupted; resume this sitting with: {api.resume_command(error.run)}")
            listing, whole = (
                typed.in_store(arguments, *words) for words in (["runs"], ["calibrate", "--from", "RUN,RUN"])
            )
            output.complain(f"then name all sittings, as `{listing}` lists them: {whole}")
            return 130
    more = _more_sittings(arguments, calibration, dict(zip(sources, runs, strict=True)))
    if arguments.format == "text":
        output.say(view.render(calibration, arguments.store, more=more, **output.screen()), end="")
    elif arguments.format == "markdown":
        output.say(view.markdown(calibration, more=more), end="")
    else:
        output.say(view.json(calibration), end="")
    return int(bool(calibration.left_out))


def _more_sittings(arguments: argparse.Namespace, calibration: Calibration, runs: dict[str, api.Run]) -> str:
    """The command as it was typed that adds sittings to those of ``calibration``, of which ``runs`` were named."""
    from bench.report import calibration as view

    files = {run.header.run: name for name, run in runs.items() if os.path.isfile(name)}
    sittings = ",".join(files.get(name, name) for name in calibration.sittings)
    suite = "" if arguments.suite else f" {view.suite_of(next(iter(runs.values())))}"
    return typed.again(arguments, f"--from {shlex.quote(sittings)}{suite}", without="--from")


def history(arguments: argparse.Namespace) -> int:
    """Print one case over all runs."""
    from bench import api
    from bench.report import history as view

    options = {name: getattr(arguments, name) for name in ("store", "boundary", "rehearsals")}
    histories = api.history(arguments.case, calibration=arguments.calibration or "", **options)
    if arguments.format == "text":
        texts = [view.render(each, store=arguments.store, **output.screen()) for each in histories]
        output.say("\n".join(texts), end="")
    elif arguments.format == "markdown":
        output.say(view.markdown(histories, store=arguments.store), end="")
    else:
        output.say(getattr(view, arguments.format)(histories), end="")
    return 0


def explain(arguments: argparse.Namespace) -> int:
    """Print why one case takes longer than another."""
    from bench import api
    from bench.report import explain as view

    options = {"file": arguments.file or "", "across": arguments.across, "gaps": arguments.gaps}
    options |= {"runs": arguments.runs, "store": arguments.store}
    explanation = api.explain(arguments.a, arguments.b, **options)
    if arguments.format == "json":
        output.say(view.json(explanation), end="")
    elif arguments.format == "markdown":
        output.say(view.markdown(explanation, most=arguments.top), end="")
    else:
        options = {"most": arguments.top, "verbose": arguments.verbose}
        output.say(view.render(explanation, **options, **output.screen()), end="")
    return 0

"""The command ``compare``: two runs, or one, held against a gate."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command
from heatbeam.transforms import errors


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("runs", nargs="*", metavar="RUN", help="BASELINE CANDIDATE, or one run with a gate of bounds")
    parser.add_argument(
        "--newest", metavar="ROOT", help="instead: the newest finished run under ROOT against the one before it"
    )
    parser.add_argument("--gate", metavar="GATE.yaml", help="bounds and allowed changes")
    parser.add_argument("--json", metavar="FILE", help="write the comparison as JSON")
    parser.add_argument("--html", metavar="FILE", help="write the comparison as one HTML file")
    command.add_images(parser)
    parser.add_argument("--pairs", metavar="FILE", help="write the similarity of every pair of maps as Parquet")
    parser.add_argument("--verdict", metavar="FILE", help="write the gate's verdict as JSON")
    parser.add_argument("--junit", metavar="FILE", help="write the gate's verdict as JUnit XML, for CI systems")


def _compare(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.compare import compare, compare_files, gate, gate_rules, verdict_files

    # A mistake in the gate is told even when there is nothing to compare yet.
    rules = gate_rules.load(options.gate) if options.gate else None
    runs = _compared(options)
    if not runs:
        sys.stdout.write(f"{options.newest} has one finished run; there is nothing to compare it with yet\n")
        return command.OK
    comparison = None
    if len(runs) == 2:
        comparison = compare.compare(runs[0], runs[1], options.pairs)
        compare_files.print_comparison(comparison, sys.stdout)
    if rules is not None:
        _warn_of_parts(runs)
    verdict = gate.judge(rules, runs[-1], comparison) if rules is not None else None
    if comparison is not None and options.newest is not None:
        verdict_files.keep(comparison, verdict, options.html)
    if comparison is not None and options.json:
        compare_files.write_json(comparison, options.json, verdict)
    if comparison is not None and options.html:
        compare_files.write_html(comparison, options.html, verdict, options.images)
    if verdict is None:
        return command.OK
    verdict_files.print_verdict(verdict, sys.stdout)
    if options.verdict:
        verdict_files.write_json(verdict, options.verdict)
    if options.junit:
        verdict_files.write_junit(verdict, options.junit)
    return command.OK if verdict.passed else command.FAILED


def _warn_of_parts(runs: Sequence[str]) -> None:
    """Say where a gate is asked once more about images at which another one has stopped reading."""
    from heatbeam.runs import run_directory

    for path in runs:
        drawn = run_directory.RunDirectory(path).read_manifest().drawn
        if drawn is not None:
            sys.stderr.write(
                f"warning: {path} explained {drawn.share:.0%} of its images, drawn at random until a gate was certain;"
                " no gate keeps its promise where it is asked again about these (run --resume explains the others)\n"
            )


def _compared(options: argparse.Namespace) -> Sequence[str]:
    """Baseline and candidate, or one run; none where ``--newest`` finds the first run of a schedule."""
    from heatbeam.runs import history

    if options.newest is not None:
        if options.runs:
            raise errors.UsageError("compare: give runs or --newest, not both")
        return history.newest_pair(options.newest) or ()
    runs: list[str] = options.runs
    if len(runs) not in (1, 2) or (len(runs) == 1 and options.gate is None):
        raise errors.UsageError("compare: give BASELINE and CANDIDATE, or one run and --gate, or --newest ROOT")
    return runs


COMPARE = command.Command(
    "compare",
    "hold a run against a baseline, image by image; exit status 1 when the gate fails",
    "heatbeam compare runs/old runs/new --gate gate.yaml --html comparison.html\n"
    "heatbeam compare --newest /data/audits --gate gate.yaml",
    _add_options,
    _compare,
)

"""What ``heatbeam compare`` and ``heatbeam gate`` do: compare, judge, write the files, say it in the terminal.

Each function returns the exit status: 0 done or passed, 1 the gate failed. What is wrong with the command, the gate
file or a run is raised (`ERRORS`), for exit status 2.
"""

from __future__ import annotations

import posixpath
from typing import TextIO

from pipeline import compare, compare_files, config, gate, history, run_directory, verdict_files

ERRORS = (config.ConfigError, run_directory.RunDirectoryError, compare.ComparisonError)

COMPARISON_JSON, COMPARISON_HTML, PAIRS = "comparison.json", "comparison.html", "pairs.parquet"
VERDICT_JSON, VERDICT_JUNIT = "verdict.json", "junit.xml"


def compare_runs(baseline: str, candidate: str, *, gate_path: str | None, output: str | None, stream: TextIO) -> int:
    """Compare two runs, and hold the candidate against a gate.

    Args:
        baseline, candidate: run directories.
        gate_path: gate file, or None.
        output: local directory for the comparison (JSON, HTML, Parquet) and the verdict (JSON, JUnit), or None.
        stream: where the tables go.
    """
    rules = None if gate_path is None else gate.load(gate_path)
    pairs_path = None if output is None else posixpath.join(output, PAIRS)
    comparison = compare.compare(baseline, candidate, pairs_path)
    compare_files.print_comparison(comparison, stream)
    verdict = None if rules is None else gate.judge(rules, candidate, comparison)
    if output is not None:
        compare_files.write_json(comparison, posixpath.join(output, COMPARISON_JSON))
        compare_files.write_html(comparison, posixpath.join(output, COMPARISON_HTML), verdict)
        stream.write(f"\n{posixpath.join(output, COMPARISON_HTML)}\n")
    return 0 if verdict is None else _finish(verdict, output, stream)


def gate_run(candidate: str, gate_path: str, *, output: str | None, stream: TextIO) -> int:
    """Hold one run against the bounds of a gate; as `compare_runs` without a baseline."""
    return _finish(gate.judge(gate.load(gate_path), candidate), output, stream)


def compare_newest(root: str, *, gate_path: str | None, output: str | None, stream: TextIO) -> int:
    """Compare the newest finished run under a root with the one before it.

    With one run only there is nothing to compare: that is said, and is no failure, so that a schedule can start.
    """
    if gate_path is not None:
        gate.load(gate_path)  # a mistake in the file must not wait for the second run
    candidate = history.latest(root)
    if candidate is None:
        raise run_directory.RunDirectoryError(f"{root} has no finished run; see heatbeam history")
    baseline = history.latest(root, before=candidate)
    if baseline is None:
        stream.write(f"{candidate} is the only finished run under {root}; there is nothing to compare it with yet\n")
        return 0
    return compare_runs(baseline, candidate, gate_path=gate_path, output=output, stream=stream)


def _finish(verdict: gate.Verdict, output: str | None, stream: TextIO) -> int:
    stream.write("\n")
    verdict_files.print_verdict(verdict, stream)
    if output is not None:
        verdict_files.write_json(verdict, posixpath.join(output, VERDICT_JSON))
        verdict_files.write_junit(verdict, posixpath.join(output, VERDICT_JUNIT))
    return verdict.exit_status

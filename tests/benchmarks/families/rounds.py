"""Rounds in which processes work on the same files: who ran when, and what a further image takes each."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks import child, trace

Round = Mapping[str, Mapping[str, Any]]
"""What each process measured in one round, by name: ``seconds`` in which it ran and ``cpu_seconds``, of the short and
the long run, and its other results. The job's ``spans`` are those of the long run, in running time."""

SHORT, LONG = 1, 2
"""Numbers of the patterns; 0 is for whatever makes a process ready."""


def play(children: Mapping[str, child.Child], count: int) -> list[Round]:
    """Let processes that are ready work `count` times on the short pattern and on the long one; then they end.

    Every other round goes backwards.

    Raises:
        child.ChildFailed: a process failed.
    """
    ran = []
    for i in range(count):
        ordered = dict(reversed(children.items())) if i % 2 else children
        ran.append([child.in_slices(ordered, number) for number in (SHORT, LONG)])
    results = {name: process.finish() for name, process in children.items()}
    return [_round(i, stretches, results) for i, stretches in enumerate(ran)]


def _round(i: int, ran: Sequence[Mapping[str, list[child.Stretch]]], results: Mapping[str, Mapping[str, Any]]) -> Round:
    """Of round `i`: when each process ran in it, for both patterns, and what each measured in all of them."""
    short, long = 1 + 2 * i, 2 + 2 * i  # piece of work 0 made it ready
    measured = {
        name: {
            **result,
            "seconds": [sum(end - begin for begin, end in stretches[name]) for stretches in ran],
            "cpu_seconds": [result["cpu_seconds"][piece] for piece in (short, long)],
        }
        for name, result in results.items()
    }
    recorded = [trace.Span(*span) for span in results["job"]["spans"][long]]
    spans = trace.in_running_time(recorded, ran[-1]["job"])
    measured["job"].update(spans=spans, utilisation=trace.utilisation(spans), shares=trace.shares(spans))
    return measured


def steady_seconds(result: Mapping[str, Any], kind: str = "seconds") -> float:
    """The long run's seconds less the short one's: what starting and ending a run takes is in both.

    Not a number where the difference is not positive: then the machine did something else in between.

    Args:
        result: of a child process.
        kind: ``seconds`` of the clock, or ``cpu_seconds`` of all threads.
    """
    steady = result[kind][-1] - result[kind][-2]
    return float(steady) if steady > 0 else math.nan


def median_seconds(rounds: Sequence[Round], name: str, kind: str = "seconds") -> float:
    """`steady_seconds` of a process in the median of the rounds that have them; not a number where none has."""
    found = [s for r in rounds if math.isfinite(s := steady_seconds(r[name], kind))]
    return statistics.median(found) if found else math.nan


def fastest(rounds: Sequence[Round], names: Sequence[str]) -> str:
    """Which process takes the least time in the median round: the least of each round would be the luckiest one."""
    medians = {name: median_seconds(rounds, name) for name in names}
    return min(medians, key=lambda name: (math.isnan(medians[name]), medians[name]))

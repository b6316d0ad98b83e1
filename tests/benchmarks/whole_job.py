"""The whole job, from TFRecord shards of photos to Parquet, against the best loop that one could write by hand.

In a *sitting* the job and the loops are loaded side by side, each in a process of its own. In a *round* all work on the
same files, one process running at a time, in turns of a second: what else the machine does meanwhile then meets all of
them alike. Every other round goes backwards.
"""

from __future__ import annotations

import contextlib
import math
import pathlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from tests.benchmarks import child, figures, samples, settings, trace

GOALS = {"ResNet50V2": figures.Goal(low=0.95), "MobileNetV2": figures.Goal(low=0.9)}
UTILISATION_GOAL = figures.Goal(low=0.95)
TRACED = "ResNet50V2"
"""Whose job the timeline shows."""

BATCH = 32
_SHARDS = 8
_PLAIN_MAP_BYTES = 4 * 224 * 224

_ORDER = ("loop", "job", "threads", "defaults")

Round = Mapping[str, Mapping[str, Any]]
"""What each process measured in one round, by name: ``seconds`` in which it ran and ``cpu_seconds``, of the short and
the long run, and its other results. The job's ``spans`` are those of the long run, in running time."""


def measure(options: settings.Options) -> list[figures.Figure]:
    """Throughput, start-up and size of the rows, and how busy the model is, for each model."""
    found = []
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        for name in GOALS:
            sizes = _sizes(name, options.quick)
            patterns = _write(pathlib.Path(folder, name), sizes)
            sittings, rounds = (1, 1) if options.quick else (2, 2)
            tasks = _tasks(name, patterns, f"{folder}/{name}-runs")
            measured = [sitting(tasks, rounds) for _ in range(sittings)]
            found += _figures(name, measured, sizes)
            if options.trace and name == TRACED:
                trace.write_timeline(measured[-1][-1]["job"]["spans"], options.trace)
    return found


def _sizes(name: str, quick: bool) -> tuple[int, int, int]:
    """Images of the warm-up, the short and the long run: whole batches in every shard of the last two."""
    unit = BATCH * _SHARDS
    if quick:
        return BATCH, BATCH * 2, BATCH * 4
    return BATCH, unit, unit * (3 if name == "ResNet50V2" else 5)


def _write(folder: pathlib.Path, sizes: Sequence[int]) -> list[str]:
    shards = [min(_SHARDS, size // BATCH) for size in sizes]
    return [
        samples.write_shards(folder / str(i), samples.photos(size), count)
        for i, (size, count) in enumerate(zip(sizes, shards, strict=True))
    ]


def _tasks(name: str, patterns: list[str], directory: str) -> dict[str, dict[str, Any]]:
    """The job, the loop with TensorFlow's own threads and with two Python threads, and one of defaults."""
    job = {
        "kind": "tests.benchmarks.jobs:Job",
        "patterns": patterns,
        "directory": directory,
        "record": True,
        "settings": {
            "model": {"application": name, "arguments": {"weights": None}},
            "explain": {"methods": ["grad_cam"], "targets": list(settings.TARGETS), "batch_size": BATCH},
        },
    }
    loop = {
        "kind": "tests.benchmarks.hand_written:LoopWork",
        "patterns": patterns,
        "application": name,
        "batch_size": BATCH,
    }
    return {
        "job": job,
        "loop": {**loop, "threads": 1, "as_job": True},
        "threads": {**loop, "threads": 2, "as_job": True},
        "defaults": {**loop, "threads": 2, "as_job": False},
    }


def sitting(tasks: Mapping[str, Mapping[str, Any]], rounds: int) -> list[Round]:
    """Start a process for each task, one after another; then let all work on the short pattern and on the long one.

    Args:
        tasks: by a name of `_ORDER`; patterns are those of the warm-up, the short and the long run.
        rounds: how often all work on both patterns.

    Raises:
        child.ChildFailed: a process failed.
    """
    with contextlib.ExitStack() as stack:
        children = {}
        for name in _ORDER:
            children[name] = stack.enter_context(child.Child(tasks[name]))
            children[name].work(0)
        ran = []
        for i in range(rounds):
            ordered = {name: children[name] for name in (reversed(_ORDER) if i % 2 else _ORDER)}
            ran.append([child.in_slices(ordered, number) for number in (1, 2)])
        results = {name: process.finish() for name, process in children.items()}
    return [_round(i, stretches, results) for i, stretches in enumerate(ran)]


def _round(i: int, ran: Sequence[Mapping[str, list[child.Stretch]]], results: Mapping[str, Mapping[str, Any]]) -> Round:
    """Of round `i`: when each process ran in it, for both patterns, and what each measured in the whole sitting."""
    short, long = 1 + 2 * i, 2 + 2 * i  # piece of work 0 is the warm-up
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


def faster_loop(rounds: Sequence[Round]) -> str:
    """Which loop takes less time in the median round: the smaller of each round would be the luckier one."""
    medians = {name: _median_seconds(rounds, name, "seconds") for name in ("loop", "threads")}
    return min(medians, key=lambda name: (math.isnan(medians[name]), medians[name]))


def _median_seconds(rounds: Sequence[Round], name: str, kind: str) -> float:
    """`steady_seconds` of a process in the median of the rounds that have them; not a number where none has."""
    found = [s for r in rounds if math.isfinite(s := steady_seconds(r[name], kind))]
    return statistics.median(found) if found else math.nan


def _figures(name: str, sittings: Sequence[Sequence[Round]], sizes: tuple[int, int, int]) -> list[figures.Figure]:
    images = sizes[2] - sizes[1]
    rounds = [r for rounds in sittings for r in rounds]
    best = faster_loop(rounds)
    starts = [
        (first["job"]["first_image_s"], min(first["loop"]["first_image_s"], first["threads"]["first_image_s"]))
        for first, *_ in sittings
    ]
    work = (
        f"{sizes[2]} less {sizes[1]} JPEGs of 500x375, batches of {BATCH}; processes of their own that work at the "
        f"same time in turns of {child.SLICE_S:g} s, seconds in which each was running"
    )
    throughput = figures.speedup(
        f"whole job over the best tf.data loop, {name}",
        [(steady_seconds(r["job"]), steady_seconds(r[best])) for r in rounds],
        GOALS[name],
        "throughput of TFRecord to Parquet with Grad-CAM of the label and localization, direct runner, over the faster "
        "of two tf.data loops that feed the same pixels into the same tf.function (TensorFlow's own threads; two "
        f"threads); {work}",
        work=images,
    )
    defaults = figures.speedup(
        f"whole job over a loop of defaults, {name}",
        [(steady_seconds(r["job"]), steady_seconds(r["defaults"])) for r in rounds],
        None,
        "the same over two threads without what the job does for speed and for its pixels: weights as variables, whole "
        f"batches, TensorFlow's default memory, tf.data's default resizing; {work}",
        work=images,
    )
    cpu = figures.cost(
        f"CPU time of the whole job over the loop's, {name}",
        [(steady_seconds(r["job"], "cpu_seconds"), steady_seconds(r[best], "cpu_seconds")) for r in rounds],
        None,
        f"of all threads, for the same work as the throughput, and less at the mercy of what else runs; {work}",
    )
    each = {
        f"{side}_ms_per_image": 1e3 * _median_seconds(rounds, process, "cpu_seconds") / images
        for side, process in (("ours", "job"), ("reference", best))
    }
    cpu = figures.with_measured(cpu, **each)
    start = figures.cost(
        f"start-up over the loop's, {name}",
        starts,
        None,
        "time from starting Python to the first explained batch, imports, model and tracing included",
    )
    seconds = {
        "ours_s": statistics.median(a for a, _ in starts),
        "reference_s": statistics.median(b for _, b in starts),
    }
    start = figures.with_measured(start, **seconds)
    return [throughput, defaults, cpu, start, _busy(name, rounds), _row_bytes(name, rounds)]


def _busy(name: str, rounds: Sequence[Round]) -> figures.Figure:
    shares = rounds[-1]["job"]["shares"]
    values = [r["job"]["utilisation"] for r in rounds]
    return figures.Figure(
        f"model busy during the job, {name}",
        statistics.median(values),
        (min(values), max(values)),
        UTILISATION_GOAL,
        "share of the running time between the first and the last batch in which at least one thread was in the model; "
        "below, the share of the worker threads' time in each step meanwhile",
        {step: float(share) for step, share in shares.items()},
    )


def _row_bytes(name: str, rounds: Sequence[Round]) -> figures.Figure:
    job = rounds[-1]["job"]
    per_row = job["bytes"] / job["rows"]
    return figures.single(
        f"bytes of a row over a stored heatmap, {name}",
        per_row / _PLAIN_MAP_BYTES,
        None,
        f"bytes of Parquet per row, every column, over a 224x224 float32 array; {job['rows']} rows",
        bytes_per_row=per_row,
    )

"""The whole job, from TFRecord shards of photos to Parquet, against the faster of a hand-written loop and Xplique.

Each side first finds its best settings, one after another in processes that end: a process keeps the memory of the
largest batch that it tried. Then all are loaded, each in a process of its own. In a *round* all work on the same files,
one process running at a time, in turns of a second: what else the machine does meanwhile then meets all of them alike.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pathlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from tests.benchmarks import child, figures, samples, settings, trace
from tests.benchmarks.families import rounds, summary

TRACED = "ResNet50V2"
"""Whose job the timeline shows."""

_UNIT_S = 2.5
"""Seconds of work of the short run, at least; the long one has three times as much."""

_SLOW_UNIT_S = 6.0
"""Where even the least work takes longer, there are two rounds, not three."""


_HOPELESS = 1.3
"""How many times as long as the loop Xplique may take for an image in memory, and still take part in the rounds."""


class _Tried(NamedTuple):
    """A side whose best settings are known.

    Attributes:
        task: with these settings.
        seconds: per image, where its process says so.
        result: of its process.
    """

    task: dict[str, Any]
    seconds: float
    result: dict[str, Any]


class _Peers(NamedTuple):
    """The peers that are worth the time.

    Attributes:
        tasks: with their best settings, by name.
        seconds: per image, of the loop.
        left_out: what is known of the others, by name.
    """

    tasks: dict[str, dict[str, Any]]
    seconds: float
    left_out: dict[str, str]


class Size(NamedTuple):
    """The work of a family.

    Attributes:
        batch: of the job.
        shards: of a pattern.
    """

    batch: int
    shards: int

    @property
    def images(self) -> int:
        """Of the short pattern: a whole batch in every shard."""
        return self.batch * self.shards


FIRST = Size(8, 2)
"""What every side works on before the rounds, so that all is traced and every pool of threads is there."""

_SIZES = (Size(16, 2), Size(16, 4), Size(32, 4), Size(32, 8), Size(32, 16))


def measure(options: settings.Options) -> list[figures.Figure]:
    """The family that is asked for, or all: throughput over the faster peer, and what the rest of the job is."""
    return [f for name in ((options.part,) if options.part else summary.FAMILIES) for f in _measure(name, options)]


def missing() -> list[str]:
    """What to say of a peer that is not installed."""
    return [] if _has_xplique() else ["Xplique is not installed, so the loop is the only peer; make peers gets it"]


def _has_xplique() -> bool:
    return (summary.PEERS / "xplique").is_dir() or importlib.util.find_spec("xplique") is not None


def _measure(name: str, options: settings.Options) -> list[figures.Figure]:
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder, contextlib.ExitStack() as stack:
        patterns = [f"{folder}/{number}/data-*.tfrecord" for number in range(3)]
        write(pathlib.Path(folder, "0"), FIRST, FIRST.images)
        peers = _peers(name, patterns)
        size = _SIZES[0] if options.quick else size_for(peers.seconds)
        counts = size.images, (2 if options.quick else 3) * size.images
        for number, count in zip((rounds.SHORT, rounds.LONG), counts, strict=True):
            write(pathlib.Path(folder, str(number)), size, count)
        job = tried(job_task(name, patterns, size, folder, options), "tests.benchmarks.families.job:Trial")
        sides = {}
        for side, task in {"job": job.task, **peers.tasks}.items():
            sides[side] = stack.enter_context(child.Child(task))
            sides[side].work(0)
        rounds_of_it = 1 if options.quick else 2 if peers.seconds * size.images > _SLOW_UNIT_S else 3
        played = rounds.play(sides, rounds_of_it)
        if options.trace and name == TRACED:
            trace.write_timeline(played[-1]["job"]["spans"], options.trace)
        return [_figure(name, played, counts, peers.left_out)]


def size_for(seconds: float) -> Size:
    """The work of a short run where an image takes that long: `_UNIT_S`, or what is nearest above it."""
    return next((size for size in _SIZES if size.images * seconds >= _UNIT_S), _SIZES[-1])


def tried(task: dict[str, Any], kind: str | None = None) -> _Tried:
    """Find a side's best settings in a process that ends: what was tried leaves it no memory for the rounds.

    Args:
        task: of the side; its process may say ``best``, what to add to it.
        kind: of the process, where it is another one.

    Raises:
        child.ChildFailed: the process failed.
    """
    with child.Child({**task, "kind": kind or task["kind"]}) as process:
        seconds = process.work(0)
        result = process.finish()
    return _Tried({**task, **result["best"]}, seconds, result)


def _peers(name: str, patterns: list[str]) -> _Peers:
    """The peers' best settings; of the loop's numbers of threads the faster one."""
    loop = {"kind": "tests.benchmarks.families.hand_written:Worker", "patterns": patterns, "application": name}
    by_threads = [tried({**loop, "threads": threads}) for threads in sorted({1, os.cpu_count() or 1})]
    best = min(by_threads, key=lambda one: one.seconds)
    tasks = {"loop": best.task}
    if not _has_xplique():
        return _Peers(tasks, best.seconds, {})
    try:
        xplique = tried({**loop, "kind": "tests.benchmarks.families.library:Worker"})
    except child.ChildFailed as failure:
        return _Peers(tasks, best.seconds, {"Xplique": f"fails: {str(failure).splitlines()[-1]}"})
    if xplique.seconds <= _HOPELESS * best.seconds:
        return _Peers({**tasks, "Xplique": xplique.task}, best.seconds, {})
    left_out = f"{1 / xplique.seconds:.3g} in memory alone ({xplique.result['way']})"
    return _Peers(tasks, best.seconds, {"Xplique": left_out})


def job_task(name: str, patterns: list[str], size: Size, folder: str, options: settings.Options) -> dict[str, Any]:
    """The task of `job.Job` for a family."""
    return {
        "kind": "tests.benchmarks.families.job:Job",
        "patterns": patterns,
        "directory": f"{folder}/runs",
        "record": True,
        "compute": options.compute,
        "settings": {
            "model": {"application": name, "arguments": {"weights": None}},
            "explain": {"methods": ["grad_cam"], "targets": list(settings.TARGETS), "batch_size": size.batch},
            "input": dict(settings.INPUT),
        },
    }


def write(folder: pathlib.Path, size: Size, count: int) -> None:
    """Write so many photos in the shards of a size."""
    samples.write_shards(folder, samples.photos(count), size.shards)


def _figure(
    name: str, played: Sequence[rounds.Round], counts: tuple[int, int], left_out: Mapping[str, str]
) -> figures.Figure:
    images = counts[1] - counts[0]
    peers = [side for side in played[0] if side != "job"]
    best = rounds.fastest(played, peers)
    found = figures.speedup(
        summary.name_of(name),
        [(rounds.steady_seconds(r["job"]), rounds.steady_seconds(r[best])) for r in played],
        summary.EACH_GOAL,
        "throughput of TFRecord to Parquet with Grad-CAM of the label and localization, direct runner, over the faster "
        f"peer; {counts[1]} less {counts[0]} JPEGs of 500x375, the same pixels, processes of their own in turns of "
        f"{child.SLICE_S:g} s",
    )
    measured: dict[str, float | str] = {"peer": best}
    for side in ("job", *peers):
        measured[f"{side}_images_per_s"] = images / rounds.median_seconds(played, side)
        measured[f"{side}_cpu_ms_per_image"] = 1e3 * rounds.median_seconds(played, side, "cpu_seconds") / images
        measured[f"{side}_way"] = str(played[0][side]["way"])
    measured |= {f"trial_{backend}": said for backend, said in played[0]["job"]["trial"].items()}
    measured |= {f"{side}_left_out": why for side, why in left_out.items()}
    return figures.with_measured(found, **measured, **_steps(played, images))


def _steps(played: Sequence[rounds.Round], images: int) -> dict[str, float]:
    """Milliseconds of worker threads that an image takes in each step of the job; and how busy the model was."""
    job = played[-1]["job"]
    whole = 1e3 * job["workers"] * rounds.median_seconds(played, "job") / images
    steps = {f"{step}_ms": share * whole for step, share in job["shares"].items()}
    row = job["bytes"] / job["rows"]
    return {**steps, "model_busy": statistics.median(r["job"]["utilisation"] for r in played), "bytes_per_row": row}

"""The pipeline around a model that costs nothing: Beam's overhead, and memory and time against the dataset's size."""

from __future__ import annotations

import math
import pathlib
import statistics
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from heatbeam import config
from tests.benchmarks import child, figures, samples, settings
from tests.benchmarks.families.rounds import steady_seconds

MEMORY_GOAL = figures.Goal(high=1.05)
LINEAR_GOAL = figures.Goal(high=1.05)

CLASSES = 10
_SHARDS = 16
_BATCH = 32
_JOB, _STRAIGHT = "tests.benchmarks.jobs:Job", "tests.benchmarks.jobs:Straight"
_MOST_PROCESSES = 8  # each has TensorFlow and a model in memory

SETTINGS: dict[str, Any] = {
    "model": {
        "factory": "tests.benchmarks.models:costless",
        "arguments": {"side": samples.TINY_PX, "classes": CLASSES},
        "preprocessing": "tf",
    },
    "explain": {"methods": ["grad_cam"], "batch_size": _BATCH},
}


def measure(options: settings.Options) -> list[figures.Figure]:
    """Beam's overhead per image, and how memory and time grow."""
    sizes = (256, 512, 1024) if options.quick else (1_000, 10_000, 100_000)
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        patterns = [
            samples.write_shards(pathlib.Path(folder, str(size)), samples.tiny(size), _SHARDS, CLASSES)
            for size in sizes
        ]
        overhead = _overhead(patterns, sizes, folder, rounds=1 if options.quick else 5)
        processes = _processes(patterns, sizes, folder, rounds=1 if options.quick else 3)
        return [overhead, *processes, *_growth(patterns, sizes, folder)]


def _seconds(kind: str, runner: dict[str, int], patterns: list[str], directory: str) -> float:
    """`steady_seconds` of the second pattern over the first, after a run that loads everything.

    Args:
        kind: of `child.Child`.
        runner: the configuration's section.
        patterns: of the short and the long run.
        directory: for what is written.
    """
    work = [patterns[0], patterns[0], patterns[1]]
    configured = {**SETTINGS, "runner": runner}
    return steady_seconds(child.spawn({"kind": kind, "patterns": work, "settings": configured, "directory": directory}))


def _overhead(patterns: list[str], sizes: tuple[int, ...], folder: str, rounds: int) -> figures.Figure:
    """One worker thread with Beam, over the same steps called one after another."""
    images = sizes[1] - sizes[0]
    alone = {"workers": 1, "intra_op_threads": 1}
    pairs = []
    for number in range(rounds):
        job = _seconds(_JOB, alone, patterns, f"{folder}/overhead{number}")
        plain = _seconds(_STRAIGHT, alone, patterns, folder)
        pairs.append((job / images, plain / images))
    found = figures.cost(
        "Beam's overhead, model that costs nothing",
        pairs,
        None,
        f"time per image of the job with one worker thread over the same steps without Beam; {images} images of "
        f"{samples.TINY_PX} px",
    )
    extra = [1e6 * (ours - plain) for ours, plain in pairs if math.isfinite(ours - plain)]
    overhead = statistics.median(extra) if extra else math.nan
    return figures.with_measured(found, overhead_us_per_image=overhead, rounds=len(extra))


def _processes(patterns: list[str], sizes: tuple[int, ...], folder: str, rounds: int) -> list[figures.Figure]:
    """As many processes as cores, over as many threads of one: what waiting for Python's lock costs."""
    cores = min(_MOST_PROCESSES, config.RunnerConfig().worker_count)
    if cores == 1:
        return []
    images = sizes[1] - sizes[0]
    pairs = []
    for number in range(rounds):
        processes = _seconds(_JOB, {"workers": cores, "processes": cores}, patterns, f"{folder}/processes{number}")
        threads = _seconds(_JOB, {"workers": cores}, patterns, f"{folder}/threads{number}")
        pairs.append((processes, threads))
    return [
        figures.speedup(
            "worker processes over threads, model that costs nothing",
            pairs,
            None,
            f"throughput of the job with {cores} worker processes over {cores} worker threads of one process; {images} "
            f"images of {samples.TINY_PX} px",
            work=images,
        )
    ]


def _growth(patterns: list[str], sizes: tuple[int, ...], folder: str) -> list[figures.Figure]:
    """Each size in a process of its own; a first run over the smallest pays for loading in all of them."""
    results = [
        child.spawn(
            {"kind": _JOB, "settings": SETTINGS, "patterns": [patterns[0], p], "directory": f"{folder}/growth{i}"}
        )
        for i, p in enumerate(patterns)
    ]
    return growth(results, sizes)


def rates(results: Sequence[Mapping[str, Any]], kind: str, amounts: Sequence[int]) -> tuple[float, float]:
    """Seconds of each further unit in three runs of rising amounts: from the first to the last, and to the second."""
    first, middle, last = (result[kind][-1] for result in results)
    return (last - first) / (amounts[2] - amounts[0]), (middle - first) / (amounts[1] - amounts[0])


def what_is_compared(amounts: Sequence[int]) -> str:
    """The two `rates` of such runs, in words."""
    return f"from {amounts[0]:,} to {amounts[2]:,} over from {amounts[0]:,} to {amounts[1]:,}"


def growth(results: Sequence[Mapping[str, Any]], sizes: tuple[int, ...]) -> list[figures.Figure]:
    """The figures of runs over so many images: memory, and the time of each further image."""
    wall, processor = rates(results, "seconds", sizes), rates(results, "cpu_seconds", sizes)
    memory = [r["peak_bytes"] for r in results]
    compared = what_is_compared(sizes)
    sized = ", ".join(f"{size:,}" for size in sizes)
    return [
        figures.single(
            "peak memory against size of the dataset",
            memory[2] / memory[0],
            MEMORY_GOAL,
            f"greatest memory of the process at {sizes[2]:,} images over {sizes[0]:,}; sizes {sized}",
            **{f"mebibytes_at_{size}": m / 2**20 for size, m in zip(sizes, memory, strict=True)},
        ),
        figures.single(
            "time against size of the dataset",
            wall[0] / wall[1],
            LINEAR_GOAL,
            f"time per further image {compared}",
            us_per_image=1e6 * wall[0],
            images_per_s=1 / wall[0],
        ),
        figures.single(
            "CPU time against size of the dataset",
            processor[0] / processor[1],
            LINEAR_GOAL,
            f"CPU time per further image {compared}; says the same where the machine has other work too",
            us_per_image=1e6 * processor[0],
        ),
    ]

"""How the records lie in files: ten thousand files of one record each, and one file of all.

A TFRecord file can't be split, since only its records say where the next one begins: one worker reads it, and explains
what it reads unless ``input.reshuffle_records`` shares the records out.
"""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

from tests.benchmarks import child, figures, samples, settings
from tests.benchmarks.families import rounds
from tests.benchmarks.scaling import size

FEW = 16

_JOB = "tests.benchmarks.jobs:Job"


def measure(options: settings.Options) -> list[figures.Figure]:
    """What many small files and one huge one cost over a few of middling size."""
    return of_images(64, 1) if options.quick else of_images(10_000, 3)


def of_images(images: int, times: int) -> list[figures.Figure]:
    """The figures of so many records, each way of keeping them in files run so many times in turn."""
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        records = samples.tiny(images)
        few, many, one = (
            samples.write_shards(pathlib.Path(folder, str(count)), records, count, size.CLASSES)
            for count in (FEW, images, 1)
        )
        least = samples.write_shards(pathlib.Path(folder, "least"), records[:FEW], FEW, size.CLASSES)

        def run(pattern: str, name: str, reshuffle: bool = False) -> dict[str, Any]:
            return _run([least, least, pattern], f"{folder}/{name}", reshuffle)

        turns = [
            (run(few, f"few{i}"), run(many, f"many{i}"), run(one, f"one{i}"), run(one, f"shared{i}", reshuffle=True))
            for i in range(times)
        ]
    return _figures(turns, images)


def _run(patterns: list[str], directory: str, reshuffle: bool) -> dict[str, Any]:
    """A process that runs over a few records twice, which loads everything, and then over the last pattern."""
    configured = {**size.SETTINGS, "input": {"reshuffle_records": reshuffle}}
    return child.spawn({"kind": _JOB, "patterns": patterns, "directory": directory, "settings": configured})


def _figures(turns: list[tuple[dict[str, Any], ...]], images: int) -> list[figures.Figure]:
    def pairs(which: int, kind: str) -> list[figures.Pair]:
        return [(rounds.steady_seconds(turn[which], kind), rounds.steady_seconds(turn[0], kind)) for turn in turns]

    few = f"{images:,} records in {FEW} files"
    memory = max(turn[1]["peak_bytes"] / turn[0]["peak_bytes"] for turn in turns)
    return [
        figures.cost(
            "many small shards, CPU time",
            pairs(1, "cpu_seconds"),
            None,
            f"CPU time of a job over {images:,} files of one record over that of {few}",
            work=images,
        ),
        figures.single(
            "many small shards, peak memory",
            memory,
            figures.Goal(high=1.1),
            f"greatest memory of a job over {images:,} files of one record over that of {few}, in the worst round",
        ),
        figures.speedup(
            "one huge shard",
            pairs(2, "seconds"),
            None,
            f"images per second of a job over one file over those of {few}; the file is read by one worker",
            work=images,
        ),
        figures.speedup(
            "one huge shard, records reshuffled",
            pairs(3, "seconds"),
            None,
            "the same with input.reshuffle_records",
            work=images,
        ),
    ]

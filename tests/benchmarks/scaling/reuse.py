"""Rows that are taken over from an earlier run, up to a million: time and memory of each.

Every image has bytes of its own, so that none is found under another's; the model costs nothing, and nothing is
localized, so that finding, decoding and writing rows is what is left.
"""

from __future__ import annotations

import io
import pathlib
import tempfile
import time
from collections.abc import Mapping
from typing import Any

from heatbeam import config
from heatbeam.job import run
from tests.benchmarks import child, figures, samples, settings
from tests.benchmarks.scaling import size

GOAL = figures.Goal(high=1.05)

_METHODS = ("cam", "grad_cam", "hires_cam", "layer_cam", "x_grad_cam")
_SHARDS = 16

ROWS_PER_IMAGE = len(_METHODS) * size.CLASSES

SETTINGS: dict[str, Any] = {
    "model": size.SETTINGS["model"],
    "explain": {"methods": list(_METHODS), "targets": list(range(size.CLASSES)), "batch_size": 32},
    "evaluate": {"localization": False, "baselines": False},
    "runner": {"workers": 2},
}


def measure(options: settings.Options) -> list[figures.Figure]:
    """CPU time of a row and memory of the process, by how many rows are taken over."""
    return of_sizes((8, 16, 32) if options.quick else (200, 2_000, 20_000))


def of_sizes(sizes: tuple[int, ...]) -> list[figures.Figure]:
    """The figures of three runs over so many images, each after one over the fewest that loads everything."""
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        patterns = [write(pathlib.Path(folder, str(count)), count) for count in sizes]
        earlier = [_explained(pattern, f"{folder}/earlier{i}") for i, pattern in enumerate(patterns)]
        results = [
            child.spawn(
                {
                    "kind": f"{__name__}:Reusing",
                    "patterns": [patterns[0], pattern],
                    "earlier": [earlier[0], before],
                    "directory": f"{folder}/again{i}",
                }
            )
            for i, (pattern, before) in enumerate(zip(patterns, earlier, strict=True))
        ]
    return growth(results, [count * ROWS_PER_IMAGE for count in sizes])


def growth(results: list[Mapping[str, Any]], rows: list[int]) -> list[figures.Figure]:
    """The figures of runs that took over so many rows: each further row's CPU time, and the peak of memory."""
    rates = size.rates(results, "cpu_seconds", rows)
    memory = [result["peak_bytes"] for result in results]
    return [
        figures.single(
            "CPU time of a reused row against their number",
            rates[0] / rates[1],
            GOAL,
            f"CPU time of a further row {size.what_is_compared(rows)}",
            us_per_row=1e6 * rates[0],
        ),
        figures.single(
            "peak memory against the number of reused rows",
            memory[2] / memory[0],
            GOAL,
            f"greatest memory of the process at {rows[2]:,} rows over {rows[0]:,}",
            **{f"mebibytes_at_{count}": peak / 2**20 for count, peak in zip(rows, memory, strict=True)},
        ),
    ]


def write(folder: pathlib.Path, count: int) -> str:
    """Shards of `count` images, each of bytes of its own: what follows the end of a JPEG is not looked at."""
    images = [image + number.to_bytes(8, "big") for number, image in enumerate(samples.tiny(count))]
    return samples.write_shards(folder, images, _SHARDS, size.CLASSES)


def _explained(pattern: str, directory: str) -> str:
    """The directory of a run that explained the images of `pattern`."""
    task = {"kind": f"{__name__}:Reusing", "patterns": [pattern], "earlier": [None], "directory": directory}
    child.spawn(task)
    return f"{directory}/run0"


class Reusing:
    """Runs that take over the rows of earlier ones; a `child.Worker`. None in ``earlier`` is a run from scratch."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self._reused: list[int | None] = []

    def work(self, number: int) -> float:
        """Run over the pattern of that number."""
        task = self._task
        output = {"directory": f"{task['directory']}/run{number}", "report": False}
        if task["earlier"][number] is not None:
            output["reuse"] = task["earlier"][number]
        pattern = {"tfrecord": task["patterns"][number], "decoder": "pillow", "resampler": "pillow"}
        configured = config.RunConfig.model_validate({**SETTINGS, "input": pattern, "output": output})
        started = time.perf_counter()
        finished = run.run(configured, (), io.StringIO())
        self._reused.append(finished.manifest.counts.images_reused)
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {"reused": self._reused}

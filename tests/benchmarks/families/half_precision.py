"""The whole job in bfloat16 over the same job in float32, each computed by what is fastest in its precision.

Asked for by name: the figures are no part of the families' ratios over the peers, which compute in float32. How near
the numbers are is beside each ratio, as the job measured it on its first records.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import tempfile
from collections.abc import Mapping, Sequence
from typing import Any

from heatbeam.transforms.models import processors
from tests.benchmarks import child, figures, settings
from tests.benchmarks.families import job, rounds, summary, whole_jobs

PRECISION = "mixed_bfloat16"
_SIDES = {"job": PRECISION, "float32": "float32"}
"""The precision of each side; rounds take the timeline of ``job``."""

_SIZE = whole_jobs.Size(32, 4)


def measure(options: settings.Options) -> list[figures.Figure]:
    """Of the family that is asked for, or of all."""
    return [_measure(name, options) for name in ((options.part,) if options.part else summary.FAMILIES)]


def missing() -> list[str]:
    """What to say of a processor that does not have it."""
    known = processors.multiplies_bfloat16()
    return [] if known else ["this processor does not say that it multiplies bfloat16 (avx512_bf16, amx_bf16)"]


class Job(job.Job):
    """Whole jobs that say how near to float32 the last of them was."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)
        self._manifest = pathlib.Path(task["directory"], f"run{rounds.LONG}", "manifest.json")

    def result(self) -> dict[str, Any]:
        return {**super().result(), "agreement": agreement(self._manifest)}


def agreement(manifest: pathlib.Path) -> Mapping[str, Any] | None:
    """How near a finished run says it was; None of one by TensorFlow in float32, which is what others are held to."""
    found: Mapping[str, Any] | None = json.loads(manifest.read_text(encoding="utf-8"))["compute"].get("agreement")
    return found


def _measure(name: str, options: settings.Options) -> figures.Figure:
    size = whole_jobs.FIRST if options.quick else _SIZE
    counts = size.images, 3 * size.images
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder, contextlib.ExitStack() as stack:
        patterns = [f"{folder}/{number}/data-*.tfrecord" for number in range(3)]
        for number, count in enumerate((whole_jobs.FIRST.images, *counts)):
            whole_jobs.write(pathlib.Path(folder, str(number)), size if number else whole_jobs.FIRST, count)
        sides = {}
        for side, precision in _SIDES.items():
            task = whole_jobs.job_task(name, patterns, size, f"{folder}/{side}", options)
            task["settings"]["explain"]["precision"] = precision
            task["kind"] = "tests.benchmarks.families.half_precision:Job"
            sides[side] = whole_jobs.tried(task, "tests.benchmarks.families.job:Trial").task
        ready = {}
        for side, task in sides.items():
            ready[side] = stack.enter_context(child.Child(task))
            ready[side].work(0)
        return figure(name, rounds.play(ready, 1 if options.quick else 3), counts)


def figure(name: str, played: Sequence[rounds.Round], counts: tuple[int, int]) -> figures.Figure:
    """Of a family, from its rounds on so many images, short and long."""
    found = figures.speedup(
        f"whole job in {PRECISION} over float32, {name}",
        [(rounds.steady_seconds(r["job"]), rounds.steady_seconds(r["float32"])) for r in played],
        None,
        "throughput of TFRecord to Parquet with Grad-CAM of the label and localization, direct runner; "
        f"{counts[1]} less {counts[0]} JPEGs of 500x375, processes of their own in turns of {child.SLICE_S:g} s",
    )
    images, last = counts[1] - counts[0], played[-1]
    measured: dict[str, float | str] = {}
    for side, precision in _SIDES.items():
        measured[f"{precision}_images_per_s"] = images / rounds.median_seconds(played, side)
        measured[f"{precision}_cpu_ms_per_image"] = 1e3 * rounds.median_seconds(played, side, "cpu_seconds") / images
        measured[f"{precision}_way"] = str(last[side]["way"])
    near = last["job"]["agreement"]
    for key in ("difference", "same_class", "map_correlation"):
        measured[key] = "none" if near[key] is None else near[key]
    return figures.with_measured(found, **measured)

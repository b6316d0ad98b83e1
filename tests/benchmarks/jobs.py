"""Whole jobs, and their steps without Beam: what the processes of `child` do for `families` and `scaling`."""

from __future__ import annotations

import contextlib
import io
import threading
import time
from collections.abc import Mapping
from typing import Any

from heatbeam import config
from heatbeam.bench import stages
from heatbeam.job import plan, run
from heatbeam.transforms import explain, tally
from tests.benchmarks import trace


def settings(task: Mapping[str, Any], number: int) -> config.RunConfig:
    """The configuration of the job over the pattern of that number."""
    text = {
        **task["settings"],
        "input": {
            "decoder": "pillow",
            "resampler": "pillow",
            **task["settings"].get("input", {}),
            "tfrecord": task["patterns"][number],
        },
        "output": {"directory": f"{task['directory']}/run{number}", "overwrite": True},
    }
    return config.RunConfig.model_validate(text)


class Job:
    """Whole jobs. A task that says ``record`` gets the spans of each; others have no use for the memory they take."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self._first = _FirstImage(task["spawned"])
        # Held here, so that every run but the first finds the model loaded.
        self._engine, _ = explain.acquire_engine(self._planned(0).engine_spec)
        self._recorded: list[list[trace.Span]] = []
        self._table: Mapping[str, Any] = {}

    def _planned(self, number: int) -> plan.Plan:
        return plan.make(settings(self._task, number))

    def work(self, number: int) -> float:
        with contextlib.ExitStack() as stack:
            if self._task.get("record"):
                self._recorded.append(stack.enter_context(trace.recording()).spans)
            started = time.perf_counter()
            finished = run.run(settings(self._task, number), (), io.StringIO())
            seconds = time.perf_counter() - started
        self._first.stop()
        self._table = finished.manifest.tables["explanations"].model_dump()
        return seconds

    def result(self) -> dict[str, Any]:
        return {
            "first_image_s": self._first.seconds,
            "spans": self._recorded,
            "rows": self._table["rows"],
            "bytes": self._table["bytes"],
            "workers": settings(self._task, 0).runner.worker_count,
        }


class _FirstImage:
    """Notes when the first image of this process was explained, in seconds since the process was asked for."""

    def __init__(self, spawned: float) -> None:
        self.seconds = 0.0
        self._spawned = spawned
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._done.wait(0.005):
            if tally.TALLY.snapshot().get("images_explained"):
                self.seconds = time.time() - self._spawned
                return

    def stop(self) -> None:
        """Stop watching."""
        self._done.set()
        self._thread.join()


class Straight:
    """The steps of the job one after another, without Beam."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task

    def work(self, number: int) -> float:
        task = self._task
        text = {
            **task["settings"],
            "input": {"tfrecord": task["patterns"][number], "decoder": "pillow", "resampler": "pillow"},
            "output": {"directory": task["directory"]},
        }
        steps = stages.Stages(plan.make(config.RunConfig.model_validate(text)), task["directory"])
        started = time.perf_counter()
        steps.run()
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {}

"""The job's side: whole jobs whose model is computed as a long run of theirs would have it computed."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from heatbeam.job import plan
from heatbeam.transforms.engine.compute import choice
from tests.benchmarks import jobs

_TRIAL_S = 120.0
"""What a trial may take in a run of forty minutes."""


class Trial:
    """Finds what computes the model of a task that says ``compute: auto``, in the turn of pattern 0.

    A job would make the trial by itself if its work were longer than these are.
    """

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self._compute = task["compute"]
        self._said: dict[str, str] = {}

    def work(self, number: int) -> float:
        """Nothing where the task names a backend."""
        started = time.perf_counter()
        if self._compute == "auto":
            settings = jobs.settings(self._task, number)
            spec, workers = plan.make(settings).engine_spec, settings.runner.worker_count
            made = choice.choose(spec, seconds=_TRIAL_S, workers=workers)
            for one in made.trials:
                speed = one.images_per_second
                self._said[one.backend] = one.why_not or ("not tried" if speed is None else f"{speed:.3g} images/s")
            self._compute = made.backend
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {"best": {"compute": self._compute, "trial": self._said}}


class Job(jobs.Job):
    """Whole jobs of a task that says ``compute``, a backend by name, and the ``trial`` that found it."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        explain = {**task["settings"]["explain"], "compute": task["compute"]}
        super().__init__({**task, "settings": {**task["settings"], "explain": explain}})

    def result(self) -> dict[str, Any]:
        return {**super().result(), "way": self._task["compute"], "trial": self._task["trial"]}

"""The job's side: whole jobs whose model is computed as a long run of theirs would have it computed."""

from __future__ import annotations

import gc
from collections.abc import Mapping
from typing import Any

from heatbeam.job import plan
from heatbeam.transforms.engine.compute import choice
from tests.benchmarks import jobs

_TRIAL_S = 60.0
"""What a trial may take in a run of twenty minutes."""


class Job(jobs.Job):
    """Whole jobs of a task that says ``compute``: a backend by name, or ``auto`` for the fastest by trial.

    A job would make the trial by itself if its work were longer than these are.
    """

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._trial: dict[str, str] = {}
        compute = task["compute"]
        if compute == "auto":
            compute = self._fastest(task)
        self._compute = compute
        explain = {**task["settings"]["explain"], "compute": compute}
        super().__init__({**task, "settings": {**task["settings"], "explain": explain}})

    def _fastest(self, task: Mapping[str, Any]) -> str:
        settings = jobs.settings(task, 0)
        spec, workers = plan.make(settings).engine_spec, settings.runner.worker_count
        made = choice.choose(spec, seconds=_TRIAL_S, workers=workers)
        for one in made.trials:
            speed = one.images_per_second
            self._trial[one.backend] = one.why_not or ("not tried" if speed is None else f"{speed:.3g} images/s")
        gc.collect()  # the engines that were tried
        return made.backend

    def result(self) -> dict[str, Any]:
        return {**super().result(), "way": self._compute, "trial": self._trial}

"""The job's side: whole jobs with what computes the model chosen as a long run of theirs would choose it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tests.benchmarks import jobs


class Job(jobs.Job):
    """Whole jobs of a task that may say ``compute``: an engine by name, or ``auto`` for the fastest by trial."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        super().__init__(task)

    def result(self) -> dict[str, Any]:
        return {**super().result(), "way": "tensorflow"}

"""Whole jobs, the Explain step among them, on a device: several processes that share it, and half precision."""

from __future__ import annotations

import dataclasses
import pathlib
import threading
from collections.abc import Mapping, Sequence
from typing import Any

from heatbeam import config
from heatbeam.runners import machines
from tests.benchmarks import child, samples
from tests.benchmarks.families import rounds
from tests.benchmarks.gpu import device

_SHARDS = 16
_KIND = "tests.benchmarks.jobs:Job"


@dataclasses.dataclass(frozen=True)
class Job:
    """A job's runner and precision.

    Attributes:
        processes: that share the GPU, beside the launcher where there are several.
        workers: threads of all processes.
        precision: of ``explain.precision``.
    """

    processes: int
    workers: int
    precision: str = "float32"

    def runner(self) -> config.RunnerConfig:
        """The configuration's section."""
        return config.RunnerConfig(processes=self.processes, workers=self.workers)

    def in_words(self) -> str:
        """The plan as ``heatbeam check`` says it, and the precision."""
        machine = machines.of(self.runner())
        return f"{machines.in_words(machine, machines.gpu_memory_of(self.runner()), False, None)[0]}; {self.precision}"


def photos(folder: pathlib.Path, sizes: Sequence[int]) -> list[str]:
    """Patterns of shards with so many photos each."""
    return [samples.write_shards(folder / f"{i}", samples.photos(size), _SHARDS) for i, size in enumerate(sizes)]


def measure(
    job: Job, model: Mapping[str, Any], patterns: Sequence[str], images: int, folder: str
) -> tuple[float, int | None]:
    """Images a second of a job, by the last pattern less the one before, and the GPU's memory at its peak.

    Args:
        job: to run.
        model: the configuration's section.
        patterns: of a run that loads everything, a short and a long one.
        images: more in the long run than in the short one.
        folder: for what is written.

    Returns:
        The rate (not a number where the machine did something else), and MiB taken by everything on the GPU; None
        where nobody says.

    Raises:
        child.ChildFailed: the job failed.
    """
    task = {
        "kind": _KIND,
        "patterns": list(patterns),
        "directory": folder,
        "settings": {
            "model": dict(model),
            "explain": {"methods": ["grad_cam"], "batch_size": 32, "precision": job.precision},
            "runner": job.runner().model_dump(include={"processes", "workers"}),
        },
    }
    with _Watched() as watched:
        result = child.spawn(task)
    return images / rounds.steady_seconds(result), watched.peak_mib


class _Watched:
    """The most memory that is taken on the GPU while it is watched; None where nobody says."""

    peak_mib: int | None = None

    def __enter__(self) -> _Watched:
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._over.set()
        self._thread.join()

    def _watch(self) -> None:
        while (used := device.used_mib()) is not None:
            self.peak_mib = max(used, self.peak_mib or 0)
            if self._over.wait(0.5):
                return

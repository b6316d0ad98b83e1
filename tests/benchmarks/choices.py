"""What the defaults of a machine without a GPU are worth: each against the same with one thing done another way.

The engine alone explains images that are in memory, as many at once as the machine has cores. All ways are loaded side
by side, each in a process of its own, and take turns of a second (`child.in_slices`).
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import dataclasses
import os
import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heatbeam.bench import user_job
from heatbeam.transforms.engine import engine
from tests.benchmarks import child, figures, models, settings

BATCH = 32


@dataclasses.dataclass(frozen=True)
class Way:
    """One way to explain images; what is not said is as in a job on the direct runner.

    Attributes:
        what: in words.
        engine: other fields of the engine's specification.
        pass_size: images to a forward pass; None is the engine's choice.
        threads: Python threads that explain batches; None is one per core.
        environment: variables of the process.
    """

    what: str
    engine: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    pass_size: int | None = None
    threads: int | None = None
    environment: Mapping[str, str] = dataclasses.field(default_factory=dict)


DEFAULT = Way("as a job does it")
WAYS = (
    Way("one worker thread, TensorFlow's own threads", {"intra_op_threads": None}, pass_size=BATCH, threads=1),
    Way("a thread more than cores", threads=(os.cpu_count() or 1) + 1),
    Way("2 images to a pass", pass_size=2),
    Way("16 images to a pass", pass_size=16),
    Way("32 images to a pass", pass_size=32),
    Way("oneDNN off", environment={"TF_ENABLE_ONEDNN_OPTS": "0"}),
    Way("XLA", {"xla": True}, pass_size=8),
    Way("memory given back after each tensor", environment={"TF_CPU_ALLOCATOR_USE_BFC": "false"}),
)


def measure(options: settings.Options) -> list[figures.Figure]:
    """The time of each way over the default's, for each model."""
    found = []
    for name in models.APPLICATIONS[-1:] if options.quick else models.APPLICATIONS:
        batches = 1 if options.quick else {"ResNet50V2": 4, "MobileNetV2": 12}[name]
        ways = (DEFAULT, *WAYS[-1:]) if options.quick else (DEFAULT, *WAYS)
        found += _figures(name, ways, rounds(name, ways, batches, 1 if options.quick else 4), batches * BATCH)
    return found


def rounds(name: str, ways: Sequence[Way], batches: int, count: int) -> list[dict[str, float]]:
    """The seconds in which each way ran, by `Way.what`, for each round of `batches` batches.

    Raises:
        child.ChildFailed: a process failed.
    """
    with contextlib.ExitStack() as stack:
        children = {}
        for way in ways:
            task = {"kind": f"{__name__}:Explaining", "patterns": [1, batches], "application": name}
            children[way.what] = stack.enter_context(child.Child(task | dataclasses.asdict(way)))
            children[way.what].work(0)
        found = []
        for i in range(count):
            ordered = dict(reversed(children.items())) if i % 2 else children
            ran = child.in_slices(ordered, 1)
            found.append({what: sum(end - begin for begin, end in stretches) for what, stretches in ran.items()})
        for process in children.values():
            process.finish()
    return found


def _figures(
    name: str, ways: Sequence[Way], seconds: Sequence[Mapping[str, float]], images: int
) -> list[figures.Figure]:
    return [
        figures.cost(
            f"{way.what} over the default, {name}",
            [(one[way.what], one[DEFAULT.what]) for one in seconds],
            None,
            f"time to explain {images} images in memory by Grad-CAM, batches of {BATCH}, {user_job.device()}; above 1 "
            "the default is faster",
            work=images,
        )
        for way in ways
        if way is not DEFAULT
    ]


class Explaining:
    """An engine that explains batches of noise in some threads, as a task says; a `child.Worker`."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        changes = {"batch_size": BATCH, "intra_op_threads": 1, **task["engine"]}
        spec = models.engine_spec(
            models.application(task["application"]), (models.method("grad_cam"),), settings.TARGETS, **changes
        )
        self._engine = engine.Engine(spec)
        if task["pass_size"] is not None:
            self._engine.pass_size = task["pass_size"]
        self._threads = task["threads"] or os.cpu_count() or 1
        self._counts = task["patterns"]
        shape = (BATCH, *self._engine.description.input_size)
        self._images = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)

    def work(self, number: int) -> float:
        """Explain as many batches as the pattern of that number says, and one for each thread at least."""
        started = time.perf_counter()
        left = iter(range(max(self._counts[number], self._threads)))
        lock = threading.Lock()

        def explain() -> None:
            while True:
                with lock:
                    if next(left, None) is None:
                        return
                self._engine.explain(self._images, [(0,)] * BATCH, {})

        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            for worker in [pool.submit(explain) for _ in range(self._threads)]:
                worker.result()  # raises what it raised
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {}

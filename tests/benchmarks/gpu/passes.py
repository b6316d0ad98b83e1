"""The engine on a device: images a second of one-pass and many-pass methods by batch size, its memory, and its maps."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import itertools
import pathlib
import time
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.models import model_source
from tests.benchmarks import models, one_pass, settings
from tests.benchmarks.gpu import device

_THREADS = 2
"""As many batches as the engine lets onto a GPU at once: one is computed while another is on its way."""

_COMPARED = {"grad_cam": 8, "score_cam": 1}
"""Images whose maps are held against the CPU's, by method: Score-CAM takes a pass for each of up to 2,048 channels."""


@dataclasses.dataclass(frozen=True)
class Model:
    """A Keras application with random weights.

    Attributes:
        name: of the application.
        batches: sizes to explain at once.
        arguments: of the application, beside its weights.
    """

    name: str
    batches: tuple[int, ...]
    arguments: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Passes:
    """Engines of a model in one precision, as a task says; a `child.Worker`.

    The task has the fields of a `Model`, ``precision``, ``seconds`` to measure each figure for, ``model``: the file
    with its weights, made where it is missing, and ``maps``: the file for the maps of the same few images, whatever the
    device. With ``seconds`` 0 it makes these files alone.
    """

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        if not pathlib.Path(task["model"]).exists():
            keras.utils.set_random_seed(0)
            getattr(keras.applications, task["name"])(weights=None, **task["arguments"]).save(task["model"])
        self._rates: dict[str, float] = {}
        self._peak: float | None = None

    def work(self, number: int) -> float:
        """Measure; the number says nothing."""
        del number
        started = time.perf_counter()
        one, many = (self._engine(models.method(name)) for name in _COMPARED)
        self._write_maps(dict(zip(_COMPARED, (one, many), strict=True)))
        if self._task["seconds"]:
            for batch in self._task["batches"]:
                self._rates[f"Grad-CAM, batches of {batch}"] = self._rate(one, batch)
            every = one_pass.one_pass_methods()
            largest = max(self._task["batches"])
            name = f"{len(every)} one-pass methods together, batches of {largest}"
            self._rates[name] = self._rate(self._engine(*every), largest)
            least = min(self._task["batches"])
            self._rates[f"Score-CAM, batches of {least}"] = self._rate(many, least)
            self._peak = _peak_mib()
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {"rates": self._rates, "peak_mib": self._peak, "device": device.found()}

    def _engine(self, *methods: specs.MethodSpec) -> engine.Engine:
        task = self._task
        largest = max(task["batches"])
        return engine.Engine(
            models.engine_spec(
                model_source.ModelSource(path=task["model"]),
                methods,
                settings.TARGETS,
                preprocessing=model_source.Preprocessing(mode=task["name"]),
                precision=task["precision"],
                batch_size=largest,
                pass_batch_size=largest,
            )
        )

    def _images(self, made: engine.Engine, count: int) -> np.ndarray:
        coarse = np.random.default_rng(1).integers(0, 256, (count, 7, 7, 3)).astype(np.float32)
        height, width, _ = made.description.input_size
        return tf.image.resize(coarse, (height, width)).numpy().astype(np.uint8)

    def _rate(self, made: engine.Engine, batch: int) -> float:
        """Images a second of two threads, behind a first batch that traces and tries kernels."""
        images, labels = self._images(made, batch), [(0,)] * batch
        made.explain(images, labels, {})
        until = time.perf_counter() + self._task["seconds"]

        def explain() -> int:
            for done in itertools.count(1):
                made.explain(images, labels, {})
                if time.perf_counter() > until:
                    return done * batch
            raise AssertionError

        started = time.perf_counter()
        with concurrent.futures.ThreadPoolExecutor(_THREADS) as pool:
            explained = sum(one.result() for one in [pool.submit(explain) for _ in range(_THREADS)])
        return explained / (time.perf_counter() - started)

    def _write_maps(self, engines: Mapping[str, engine.Engine]) -> None:
        """The maps of one class of a few images, by method."""
        found = {}
        for name, made in engines.items():
            count = _COMPARED[name]
            explained = made.explain(self._images(made, count), [(0,)] * count, {})
            found[name] = np.stack([{label: maps for label, _, maps in one.maps}[name][0] for one in explained])
        np.savez(pathlib.Path(self._task["maps"]), **found)


def _peak_mib() -> float | None:
    """The most memory that tensors have held on the first GPU in this process, in MiB; None without one."""
    if not tf.config.list_logical_devices("GPU"):
        return None
    return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**20


def differences(path: str, reference: str) -> dict[str, tuple[float, float]]:
    """Of each method the median and the greatest difference of a map of `path` from that of `reference`.

    The difference of a map is its largest, over the largest value of the reference map.
    """
    found = {}
    with np.load(path) as ours, np.load(reference) as theirs:
        for name in theirs.files:
            axes = tuple(range(1, theirs[name].ndim))
            apart = np.abs(ours[name] - theirs[name]).max(axes) / np.maximum(np.abs(theirs[name]).max(axes), 1e-12)
            found[name] = float(np.median(apart)), float(apart.max())
    return found

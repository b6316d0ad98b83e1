"""The loop that a good engineer would write by hand: one ``tf.function`` fed by tf.data, no results kept."""

from __future__ import annotations

import concurrent.futures
import contextlib
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import devices, specs
from heatbeam.transforms.models import model_source, weight_constants
from heatbeam.transforms.models.files import loading
from tests.benchmarks import models
from tests.benchmarks.families import fastest, photos

_PASSES = {1: (32, 16, 64), 2: (8, 16, 32)}
"""Images to a pass that are tried: with one Python thread and TensorFlow's own, and with a thread for each core."""

_CONSTANTS_MIB = 128
"""Larger weights stay variables: as constants a graph holds several copies of them, and large ones gain least."""


class Loop:
    """Grad-CAM of the label of every image of a dataset.

    Args:
        application: name of the Keras application.
        threads: Python threads that take batches and call the function. One leaves TensorFlow its own threads; more
            have one TensorFlow thread each.
        xla: compile the function with XLA.
    """

    def __init__(self, application: str, threads: int, xla: bool = False) -> None:
        devices.configure(None if threads == 1 else 1, specs.EngineSpec.gpu_memory)
        model, both = models.logits_model(application)
        self.size: tuple[int, int] = model.input_shape[1:3]
        preprocess = preprocessing(application)
        self._explain = grad_cam(both, preprocess, constants=_mebibytes(model) <= _CONSTANTS_MIB, xla=xla)
        self._threads = threads
        self.pass_size = _PASSES[min(threads, 2)][0]
        shape = (max(_PASSES[min(threads, 2)]), *self.size, 3)
        self._noise = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)

    def tune(self) -> float:
        """Find the fastest number of images to a pass; the seconds per image in memory."""
        self.pass_size, seconds = fastest.way(_PASSES[min(self._threads, 2)], self.warm_up)
        return seconds

    def warm_up(self, size: int) -> int:
        """A pass of `size` images in every thread at once; how many that were."""
        images, labels = tf.constant(self._noise[:size]), tf.zeros((size, 1), tf.int32)
        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            return sum(pool.map(lambda _: self._one(images, labels), range(self._threads)))

    def run(self, pattern: str) -> int:
        """Explain every image of the shards that `pattern` matches; how many there were."""
        batches = iter(photos.dataset(pattern, self.size, self.pass_size))
        lock = threading.Lock()

        def work() -> int:
            count = 0
            while True:
                with lock:
                    batch = next(batches, None)
                if batch is None:
                    return count
                count += self._one(*batch)

        with concurrent.futures.ThreadPoolExecutor(self._threads) as pool:
            return sum(done.result() for done in [pool.submit(work) for _ in range(self._threads)])

    def _one(self, images: tf.Tensor, labels: tf.Tensor) -> int:
        self._explain(images, labels).numpy()  # waits for the device
        return int(images.shape[0])


class Worker:
    """A `Loop` as a `child.Worker`.

    Without ``pass_size`` the turn of pattern 0 finds the fastest number of images to a pass, which the result says,
    and answers with its seconds per image.
    """

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._patterns = task["patterns"]
        self._loop = Loop(task["application"], task["threads"], task.get("xla", False))
        self._threads = "TensorFlow's threads" if task["threads"] == 1 else f"{task['threads']} threads"
        self._tunes = "pass_size" not in task
        self._loop.pass_size = task.get("pass_size", self._loop.pass_size)

    def work(self, number: int) -> float:
        if self._tunes and number == 0:
            return self._loop.tune()
        if number == 0:
            self._loop.warm_up(self._loop.pass_size)
        started = time.perf_counter()
        self._loop.run(self._patterns[number])
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        size = self._loop.pass_size
        return {"way": f"{self._threads}, {size} to a pass", "best": {"pass_size": size}}


def grad_cam(
    both: keras.Model, preprocess: Callable[[tf.Tensor], tf.Tensor], *, constants: bool, xla: bool = False
) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
    """Grad-CAM with a backward pass of the head alone, compiled.

    Args:
        both: returns logits (B, classes) and activations (B, h, w, K).
        preprocess: from levels of images to inputs of the model.
        constants: whether the weights are constants of the graph.
        xla: compile it with XLA.

    Returns:
        A function of float32 images (B, H, W, 3) and int32 labels (B, 1) that gives maps (B, h, w).
    """
    signature = [tf.TensorSpec(both.inputs[0].shape, tf.float32), tf.TensorSpec((None, 1), tf.int32)]

    @tf.function(autograph=False, input_signature=signature, jit_compile=xla or None)
    def explain(images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        with weight_constants.as_constants(both) if constants else contextlib.nullcontext():
            logits, activations = both(preprocess(images), training=False)
        (gradients,) = tf.gradients(tf.gather(logits, labels, batch_dims=1), activations)
        weights = tf.reduce_mean(gradients, axis=(1, 2), keepdims=True)
        return tf.reduce_sum(weights * activations, axis=-1)

    return explain


def preprocessing(application: str) -> Callable[[tf.Tensor], tf.Tensor]:
    """The application's own, from levels 0 to 255."""
    return loading.preprocessing_function(model_source.Preprocessing(), models.application(application))


def _mebibytes(model: keras.Model) -> float:
    return sum(np.prod(weight.shape) * weight.value.dtype.size for weight in model.weights) / 2**20

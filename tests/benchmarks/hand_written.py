"""The loop that a good engineer would write by hand: tf.data with parallel decoding and prefetch, no results kept."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from typing import Any

import tensorflow as tf

from heatbeam.transforms.engine import engine
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import loading
from tests.benchmarks import models, settings

_BATCHES_AHEAD = 2
"""Batches to prefetch, for each core."""


class Loop:
    """Grad-CAM of the label of every image of a dataset, by the job's own ``tf.function``.

    Args:
        application: name of the Keras application.
        batch_size: images per call, at most.
        threads: Python threads that take batches and call the function. One leaves TensorFlow its own threads; more
            have one TensorFlow thread each, as the job has.
        as_job: the job's pixels, its weights as constants, its number of images to a pass and its way with memory.
            Otherwise what one gets without asking: resizing that does not antialias, weights as variables, whole
            batches, and memory that goes back to the system after each use.
    """

    def __init__(self, application: str, batch_size: int, threads: int, as_job: bool = True) -> None:
        if not as_job:  # the engine would switch it on
            os.environ.setdefault("TF_CPU_ALLOCATOR_USE_BFC", "false")
        method = models.method("grad_cam")
        spec = models.engine_spec(
            models.application(application),
            (method,),
            settings.TARGETS,
            batch_size=batch_size,
            intra_op_threads=None if threads == 1 else 1,
            constant_weights=None if as_job else False,
        )
        self._engine = engine.Engine(spec)
        self._batch_size = min(batch_size, self._engine.pass_size) if as_job else batch_size
        self._threads = threads
        self._antialias = as_job
        self.first_batch_at = 0.0

    def run(self, pattern: str) -> int:
        """Explain every image of the shards that `pattern` matches; how many there were."""
        size = self._engine.description.input_size
        batches = iter(dataset(pattern, size, self._batch_size, self._antialias))
        lock = threading.Lock()
        counts: list[int] = []

        def work() -> None:
            while True:
                with lock:
                    batch = next(batches, None)
                if batch is None:
                    return
                counts.append(self._explain(*batch))

        workers = [threading.Thread(target=work) for _ in range(self._threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts)

    def _explain(self, images: tf.Tensor, labels: tf.Tensor) -> int:
        # The engine's traced pass itself: what the engine does around it is the job's cost, not the loop's.
        results = self._engine.shared.function(images, labels)
        results.maps["grad_cam"].numpy()  # waits for the device
        self.first_batch_at = self.first_batch_at or time.time()
        return int(images.shape[0])


class LoopWork:
    """A `Loop` as a `child.Worker`."""

    def __init__(self, task: Mapping[str, Any]) -> None:
        self._task = task
        self._loop = Loop(task["application"], task["batch_size"], task["threads"], task["as_job"])

    def work(self, number: int) -> float:
        started = time.perf_counter()
        self._loop.run(self._task["patterns"][number])
        return time.perf_counter() - started

    def result(self) -> dict[str, Any]:
        return {"first_image_s": self._loop.first_batch_at - self._task["spawned"]}


def dataset(pattern: str, size: tuple[int, int, int], batch_size: int, antialias: bool) -> tf.data.Dataset:
    """Batches of uint8 images and int32 labels, read, decoded and resized in parallel, a thread for each core.

    Args:
        pattern: of TFRecord files.
        size: ``(height, width, channels)`` of the model's input.
        batch_size: images of a batch; the last one is smaller.
        antialias: whether to resize as `images` does; then pixels are the job's but for rounding.
    """
    cores = os.cpu_count() or 1
    # The decoder's own default on CPUs is coarser than what the job's decoder does, and no faster.
    dct = "INTEGER_ACCURATE" if antialias else ""

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = {
            "image/encoded": tf.io.FixedLenFeature((), tf.string),
            "image/class/label": tf.io.FixedLenFeature((1,), tf.int64),
        }
        example = tf.io.parse_single_example(serialized, features)
        photo = tf.io.decode_jpeg(example["image/encoded"], channels=3, dct_method=dct)
        pixels = tf.image.resize(photo, size[:2], antialias=antialias)
        return tf.cast(tf.round(pixels), tf.uint8), tf.cast(example["image/class/label"], tf.int32)

    files = tf.data.Dataset.list_files(pattern, shuffle=False)
    read = files.interleave(tf.data.TFRecordDataset, num_parallel_calls=cores, deterministic=False)
    decoded = read.map(parse, num_parallel_calls=cores, deterministic=False)
    batches = decoded.batch(batch_size, num_parallel_calls=cores).prefetch(_BATCHES_AHEAD * cores)
    return batches.with_options(_options(cores))


def _options(cores: int) -> tf.data.Options:
    options = tf.data.Options()
    # An iterator ends only when its autotuning thread wakes up. That one sleeps twice as long each time, so that a run
    # can last many seconds longer than its last batch. A number of threads for each core is as fast as what it finds.
    options.autotune.enabled = False
    # Otherwise tf.data decodes in the pool that TensorFlow runs operations in, a thread for each core, where it waits
    # behind calls of the model.
    options.threading.private_threadpool_size = cores
    return options


def grad_cam_by_tape(model: Any) -> Any:
    """Grad-CAM as keras-explainable has it: a tape over the whole model and a batch Jacobian, compiled.

    Args:
        model: a Keras model that returns logits and activations.

    Returns:
        A function of inputs (B, H, W, C) and class ids (B, L) that gives maps (B, h, w, L).
    """

    def explain(inputs: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch(inputs)
            logits, activations = model(inputs, training=False)
            chosen = tf.gather(logits, class_ids, batch_dims=1)
        weights = tf.reduce_mean(tape.batch_jacobian(chosen, activations), axis=(2, 3))
        return tf.einsum("bhwk,blk->bhwl", activations, weights)

    return tf.function(explain, autograph=False, reduce_retracing=True)


def logits_model(application: str) -> Any:
    """The application with random weights and logits for outputs, and its last convolution's activations."""
    import keras

    model = loading.load_keras_model(
        model_source.ModelSource(
            application=application, arguments=(("classifier_activation", None), ("weights", None))
        )
    )
    last = [layer for layer in model.layers if len(layer.output.shape) == 4][-1]
    return model, keras.Model(model.inputs, [model.outputs[0], last.output])

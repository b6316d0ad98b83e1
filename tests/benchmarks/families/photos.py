"""The photos as the peers read them: tf.data, decoding in parallel and ahead, and the pixels of `settings.INPUT`."""

from __future__ import annotations

import os
from collections.abc import Callable

import tensorflow as tf

_BATCHES_AHEAD = 2
"""Batches to prefetch, for each core."""


def dataset(
    pattern: str,
    size: tuple[int, int],
    batch_size: int,
    prepared: Callable[[tf.Tensor], tf.Tensor] | None = None,
) -> tf.data.Dataset:
    """Batches of float32 images ``(B, H, W, 3)`` and int32 labels ``(B, 1)``, a thread for each core.

    Args:
        pattern: of TFRecord files.
        size: height and width of the model's input.
        batch_size: images of a batch; the last one is smaller.
        prepared: what else happens to a batch of images; None for levels from 0 to 255.
    """
    cores = os.cpu_count() or 1

    def parse(serialized: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        features = {
            "image/encoded": tf.io.FixedLenFeature((), tf.string),
            "image/class/label": tf.io.FixedLenFeature((1,), tf.int64),
        }
        example = tf.io.parse_single_example(serialized, features)
        photo = tf.io.decode_jpeg(example["image/encoded"], channels=3)
        return tf.image.resize(photo, size), tf.cast(example["image/class/label"], tf.int32)

    files = tf.data.Dataset.list_files(pattern, shuffle=False)
    read = files.interleave(tf.data.TFRecordDataset, num_parallel_calls=cores, deterministic=False)
    decoded = read.map(parse, num_parallel_calls=cores, deterministic=False)
    batches = decoded.batch(batch_size, num_parallel_calls=cores)
    if prepared is not None:
        batches = batches.map(lambda images, labels: (prepared(images), labels), num_parallel_calls=cores)
    return batches.prefetch(_BATCHES_AHEAD * cores).with_options(_options(cores))


def _options(cores: int) -> tf.data.Options:
    options = tf.data.Options()
    # An iterator ends only when its autotuning thread wakes up. That one sleeps twice as long each time, so that a run
    # can last many seconds longer than its last batch. A number of threads for each core is as fast as what it finds.
    options.autotune.enabled = False
    # Otherwise tf.data decodes in the pool that TensorFlow runs operations in, a thread for each core, where it waits
    # behind calls of the model.
    options.threading.private_threadpool_size = cores
    return options

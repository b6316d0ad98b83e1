"""What an image costs beside the model: decoding over TensorFlow's own, and every step over that decoding."""

from __future__ import annotations

import pathlib
import tempfile
from typing import Any

import numpy as np
import tensorflow as tf

from heatbeam import config
from heatbeam.bench import stages
from heatbeam.job import plan
from heatbeam.transforms.sources import decode_options, images
from heatbeam.transforms.sources.pixels import image_files
from tests.benchmarks import figures, samples, settings

_SIDE = 224
_CLASSES = 10
_SHARDS = 4


def measure(options: settings.Options) -> list[figures.Figure]:
    """Photos through the decoder, and through every step with a model that costs nothing, in one thread."""
    tf.config.threading.set_intra_op_parallelism_threads(1)
    photos = samples.photos(16 if options.quick else 64)
    rounds = 1 if options.quick else 7
    with tempfile.TemporaryDirectory(prefix="heatbeam-bench-") as folder:
        return [_decoding(photos, rounds), _steps(photos, folder, rounds)]


def by_tensorflow(photo: bytes) -> np.ndarray:
    """A photo at the model's size by TensorFlow's own functions, called as a loop over files calls them."""
    whole = tf.io.decode_image(photo, channels=3, expand_animations=False)
    found: np.ndarray = tf.image.resize(whole, (_SIDE, _SIDE)).numpy()
    return found


def _decoding(photos: list[bytes], rounds: int) -> figures.Figure:
    how = decode_options.ImageOptions(_SIDE, _SIDE)
    for photo in photos:
        expected = tf.io.decode_image(photo, channels=3, expand_animations=False).numpy()
        if not np.array_equal(image_files.decoded(photo, None, how).array, expected):
            raise AssertionError("pixels differ from TensorFlow's, so the times must not be compared")
    return figures.speedup(
        "decoding and resizing a photo over TensorFlow's functions",
        figures.alternate(
            lambda: [images.decode_image(photo, None, how) for photo in photos],
            lambda: [by_tensorflow(photo) for photo in photos],
            rounds,
        ),
        None,
        f"time of tf.io.decode_image and tf.image.resize over ours, equal pixels, one thread; JPEGs of "
        f"{samples.PHOTO_SIZE[0]}x{samples.PHOTO_SIZE[1]} to {_SIDE} px",
        work=len(photos),
    )


def _steps(photos: list[bytes], folder: str, rounds: int) -> figures.Figure:
    pattern = samples.write_shards(pathlib.Path(folder, "photos"), photos, _SHARDS, _CLASSES)
    text: dict[str, Any] = {
        "model": {
            "factory": "tests.benchmarks.models:costless",
            "arguments": {"side": _SIDE, "classes": _CLASSES},
            "preprocessing": "tf",
        },
        "explain": {"methods": ["grad_cam"], "batch_size": 32},
        "input": {"tfrecord": pattern},
        "output": {"directory": folder},
        "runner": {"workers": 1, "intra_op_threads": 1},
    }
    steps = stages.Stages(plan.make(config.RunConfig.model_validate(text)), folder)
    steps.run()  # the first time, loops are compiled
    seconds, images = dict(steps.seconds), steps.images
    found = figures.cost(
        "every step beside a model that costs nothing, over decoding",
        figures.alternate(steps.run, lambda: [by_tensorflow(photo) for photo in photos], rounds),
        None,
        "time of reading, decoding, explaining (Grad-CAM), localizing (every metric and baseline), sums and the table, "
        "over tf.io.decode_image and tf.image.resize of the same photos, one thread, no Beam",
        work=len(photos),
    )
    per_image = {
        f"{name}_ms": 1e3 * (steps.seconds[name] - seconds[name]) / (steps.images - images) for name in seconds
    }
    return figures.with_measured(found, **per_image)

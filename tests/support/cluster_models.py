"""A model for runs on clusters: journals who loaded and called it, can be slow, and refuses a poisoned image."""

from __future__ import annotations

import os
import pathlib
import time

import keras
import numpy as np
import tensorflow as tf

from tests.support import keras_models

POISON = 255
"""An image whose every pixel is this makes the model fail."""


class Journal(keras.layers.Layer):
    """Passes its input on; appends ``call PID IMAGES TIME`` to a file after `seconds`."""

    def __init__(self, path: str, seconds: float, **options: object) -> None:
        super().__init__(**options)
        self._journal = path
        self._seconds = seconds

    def call(self, images: tf.Tensor) -> tf.Tensor:
        passed = tf.numpy_function(self._note, [images], images.dtype)
        passed.set_shape(images.shape)
        return passed

    def _note(self, images: np.ndarray) -> np.ndarray:
        if (images == POISON).all(axis=(1, 2, 3)).any():
            raise ValueError("poisoned image")
        time.sleep(self._seconds)
        _write(self._journal, f"call {os.getpid()} {len(images)} {time.time():.3f}")
        return images


def journalled(journal: str, seconds: float = 0.0) -> keras.Model:
    """A classifier of ten classes, 16 x 16, the same in every process; notes ``load PID`` in `journal`."""
    _write(journal, f"load {os.getpid()}")
    model = keras_models.classifier(classes=10)
    # Other threads of a worker may draw from the seeded generators that are global, between two layers.
    own = np.random.default_rng(1)
    model.set_weights([own.normal(0, 0.3, weight.shape).astype(np.float32) for weight in model.get_weights()])
    inputs = keras.Input((16, 16, 3))
    return keras.Model(inputs, model(Journal(journal, seconds, name="journal")(inputs)))


def _write(path: str, line: str) -> None:
    # One write of a short line to a file opened for appending is not torn by other processes.
    with pathlib.Path(path).open("a", encoding="ascii") as file:
        file.write(line + "\n")


def read_journal(path: pathlib.Path) -> list[list[str]]:
    """The words of each line; nothing if there is no file yet."""
    return [line.split() for line in path.read_text().splitlines()] if path.exists() else []

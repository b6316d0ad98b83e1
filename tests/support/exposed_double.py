"""A stand-in for `exposure.ExposedModel` over a functional Keras model: the same interface, by rebuilding the graph.

Also the golden models and arrays the method tests compare with.
"""

from __future__ import annotations

import functools
import threading

import keras
import numpy as np
import tensorflow as tf

from tests.support import keras_models, paths

GOLDEN = paths.GOLDEN / "methods_public"


class ExposedDouble:
    """The interface the methods need, for a functional model without branches around its target layer."""

    head_is_affine = False
    bypass_is_added = False

    def __init__(self, model: keras.Model, layer: str):
        self.keras_model = model
        self.lock = threading.RLock()
        self.layer = layer
        output = model.get_layer(layer).output
        self._to_layer = keras.Model(model.input, output)
        self._from_layer = keras.Model(output, model.outputs[0])

    def rows_of(self, numbers):
        return self

    def logits(self, inputs):
        return self.keras_model(inputs, training=False)

    def forward(self, inputs):
        return self.logits(inputs)

    def probabilities(self, logits):
        return tf.nn.softmax(logits)

    def expose(self, inputs, layers=()):
        if not layers:
            activations = self._to_layer(inputs, training=False)
            return self._from_layer(activations, training=False), (activations,)
        outputs = [self.keras_model.get_layer(name).output for name in layers]
        logits, *activations = keras.Model(self.keras_model.input, [self.keras_model.outputs[0], *outputs])(inputs)
        return logits, tuple(activations)

    def bypass(self, inputs):
        return None

    def head(self, inputs, activations, bypass=None):
        del inputs, bypass
        return self._from_layer(activations, training=False)


@functools.cache
def golden_arrays() -> dict[str, np.ndarray]:
    with np.load(GOLDEN / "methods_public.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if "faithfulness" not in name}


@functools.cache
def golden_model(name: str) -> ExposedDouble:
    return ExposedDouble(keras.models.load_model(keras_models.golden(name)), "last_act")


@functools.cache
def golden_inputs() -> np.ndarray:
    inputs = golden_arrays()["images_u8/64x64"].astype(np.float32) / 127.5 - 1
    inputs.flags.writeable = False
    return inputs


@functools.cache
def golden_head(name: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Logits, activations and head gradients (B, C, h, w, K) of every class of a golden model on the golden images."""
    model = golden_model(name)

    @tf.function
    def run(inputs):
        logits, (activations,) = model.expose(inputs)
        rows = [tf.gradients(logits[:, c], activations)[0] for c in range(logits.shape[1])]
        return logits, activations, tf.stack([tf.convert_to_tensor(row) for row in rows], axis=1)

    return tuple(value.numpy() for value in run(golden_inputs()))


def assert_maps_close(found, expected, limit=1e-5):
    """Every map (b, ..., l) within `limit` times the largest absolute value of the expected map (golden README)."""
    found, expected = np.asarray(found), np.asarray(expected)
    assert found.shape == expected.shape
    axes = tuple(range(1, expected.ndim - 1))
    scale = np.abs(expected).max(axis=axes)
    worst = np.abs(found - expected).max(axis=axes)
    assert (worst <= limit * scale).all(), f"worst error relative to the largest value: {(worst / scale).max():.3g}"

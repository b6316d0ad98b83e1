"""The same small networks over series, images and volumes, with the same weights."""

from __future__ import annotations

import keras
import numpy as np

SERIES, IMAGE = (32, 2), (12, 10, 2)
"""Inputs of the networks: steps and channels; rows, columns and channels."""


def network(
    rank: int, size: tuple[int, ...], kernel: tuple[int, ...], window: tuple[int, ...], classes: int = 3
) -> keras.Model:
    """Convolution, pooling, convolution (``last``), mean over all positions, one dense layer."""
    of = {1: "1D", 2: "2D", 3: "3D"}[rank]
    conv, pool, mean = (getattr(keras.layers, f"{name}{of}") for name in ("Conv", "MaxPooling", "GlobalAveragePooling"))
    inputs = keras.Input(size)
    x = conv(6, kernel, padding="same", activation="relu", name="first")(inputs)
    x = pool(window)(x)
    x = conv(5, kernel, padding="same", activation="relu", name="last")(x)
    return keras.Model(inputs, keras.layers.Dense(classes, name="logits")(mean()(x)))


def with_weights(model: keras.Model, seed: int = 0) -> keras.Model:
    """The model with weights that are the same numbers whatever the axes of its kernels."""
    rng = np.random.default_rng(seed)
    model.set_weights([rng.normal(size=w.size).reshape(w.shape).astype(np.float32) / 3 for w in model.get_weights()])
    return model


def series() -> keras.Model:
    """Over `SERIES`."""
    return with_weights(network(1, SERIES, (3,), (2,)))


def series_as_image() -> keras.Model:
    """`series`, of images of one column."""
    return with_weights(network(2, (SERIES[0], 1, SERIES[1]), (3, 1), (2, 1)))


def image() -> keras.Model:
    """Over `IMAGE`."""
    return with_weights(network(2, IMAGE, (3, 3), (2, 2)))


def image_as_volume() -> keras.Model:
    """`image`, of volumes of one slice."""
    return with_weights(network(3, (1, *IMAGE), (1, 3, 3), (1, 2, 2)))


def volume(size: tuple[int, ...] = (6, 8, 8, 1)) -> keras.Model:
    """Over volumes of several slices."""
    return with_weights(network(3, size, (3, 3, 3), (2, 2, 2)))

"""Trace a model with its weights as constants of the graph, so that TensorFlow computes once what follows from them.

A batch normalization after a convolution, for one, becomes part of the convolution. A graph keeps several copies of
its constants, which is why only small models are traced like this by themselves.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

LARGEST_BYTES = 40 * 2**20
"""Largest weights that `pays_off` takes: their graphs hold up to twenty times as much."""


def pays_off(model: keras.Model, xla: bool) -> bool:
    """Whether constant weights make a model faster at little cost of memory: small ones, on a CPU, without XLA."""
    size = sum(weight.value.dtype.size * math.prod(weight.shape) for weight in model.weights)
    return not xla and size <= LARGEST_BYTES and not tf.config.list_physical_devices("GPU")


@contextlib.contextmanager
def as_constants(model: keras.Model) -> Iterator[None]:
    """Calls of `model` use its present weights as constants, in the graph that is being traced.

    Later changes of the weights do not reach that graph. For building layers there is no weight yet: call the model
    once before.
    """
    with tf.init_scope():
        values = [(weight, weight.numpy()) for weight in model.weights]
    with keras.StatelessScope(state_mapping=[(weight, tf.constant(value)) for weight, value in values]):
        yield

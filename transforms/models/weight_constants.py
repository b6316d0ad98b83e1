"""Trace a model with its weights as constants of the graph, so that TensorFlow computes once what follows from them.

A batch normalization after a convolution, for one, becomes part of the convolution, and each convolution's weights are
brought into the order of oneDNN once. A graph keeps several copies of its constants, which is why large models are not
traced like this by themselves.
"""

from __future__ import annotations

import contextlib
import ctypes
import gc
import math
from collections.abc import Iterator

import keras
import tensorflow as tf

LARGEST_BYTES = 128 * 2**20
"""Largest weights that `pays_off` takes. ResNet50V2, 98 MiB: a pass takes 10 % less; a graph 1.4 GiB when it is first
run, 0.7 GiB from then on, and two more seconds to begin. What is larger is mostly dense layers, which gain nothing."""


def pays_off(model: keras.Model, xla: bool) -> bool:
    """Whether constant weights make a model faster at a bearable cost of memory: on a CPU, without XLA."""
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


def give_back_copies() -> None:
    """Give the system what TensorFlow's optimizers freed of a graph with constant weights; call once it has run."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (AttributeError, OSError, TypeError):  # another library of C than GNU's, which needs no such word
        return

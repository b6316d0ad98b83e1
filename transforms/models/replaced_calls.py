"""Put another function in the place of a layer's ``call``, for as long as a graph is traced."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras

Call = Callable[..., Any]


@contextlib.contextmanager
def replaced(changes: Mapping[keras.Operation, Callable[[Call], Call]]) -> Iterator[None]:
    """While the context is open, each layer or operation calls what its change makes of its own ``call``.

    Other threads that trace the model meanwhile would meet the changes: hold the model's lock.

    Args:
        changes: by layer or operation, a function from its ``call`` to another of the same arguments.
    """
    for operation, change in changes.items():
        # Keras reads the signature to decide which arguments (training, mask) to pass.
        changed = functools.update_wrapper(change(operation.call), operation.call, assigned=(), updated=())
        object.__setattr__(operation, "call", changed)  # past Keras, which tracks what is set on a layer
    try:
        yield
    finally:
        for operation in changes:
            object.__delattr__(operation, "call")

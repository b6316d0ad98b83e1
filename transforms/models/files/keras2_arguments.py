"""Arguments that Keras 2 wrote into model files and Keras 3 no longer takes, left out where they change nothing."""

from __future__ import annotations

import contextlib
import inspect
import threading
from collections.abc import Iterator, Mapping
from typing import Any

import keras

# The values that say what Keras 3 does anyway; `fused` chose between two computations of the same numbers.
_NEUTRAL: Mapping[str, tuple[object, ...]] = {
    "groups": (1,),
    "renorm": (False,),
    "fused": (None, False, True),
    "virtual_batch_size": (None,),
    "adjustment": (None,),
    "time_major": (False,),
    "rng_type": (None, "stateful", "stateless", "legacy_stateful"),  # of layers that change images in training only
}
_WITH_OWN = (keras.layers.Layer, keras.layers.LSTM, keras.layers.GRU)  # classes that make themselves of a config
_ONE_LOADING = threading.RLock()


def renamed_classes() -> dict[str, type[keras.Model]]:
    """Classes that ``.keras`` files of Keras 2 seek in modules of its time, by the names that they have there."""
    nothing = keras.Input(())
    # Through a layer: Keras 3.11 takes no input for an output.
    return {"Functional": type(keras.Model(nothing, keras.layers.Identity()(nothing)))}


@contextlib.contextmanager
def understood() -> Iterator[None]:
    """Layers are made from configurations of Keras 2 too, while the context is open.

    Keras makes layers from their files' configurations at many places, all by way of ``from_config``.
    """
    with _ONE_LOADING, contextlib.ExitStack() as stack:
        for layer in _WITH_OWN:
            stack.enter_context(_lenient(layer))
        yield


@contextlib.contextmanager
def _lenient(layer: type[keras.layers.Layer]) -> Iterator[None]:
    own = vars(layer).get("from_config")
    original = layer.from_config.__func__

    def from_config(cls: type[keras.layers.Layer], config: dict[str, Any]) -> keras.layers.Layer:
        return original(cls, _current(cls, config))

    layer.from_config = classmethod(from_config)
    try:
        yield
    finally:
        if own is None:
            del layer.from_config
        else:
            layer.from_config = own


def _current(layer: type[keras.layers.Layer], config: dict[str, Any]) -> dict[str, Any]:
    """The configuration of a layer as Keras 3 writes it."""
    taken = inspect.signature(layer.__init__).parameters
    kept = {
        name: value
        for name, value in config.items()
        if name in taken or not any(value is neutral or value == neutral for neutral in _NEUTRAL.get(name, ()))
    }
    if issubclass(layer, keras.layers.BatchNormalization) and isinstance(kept.get("axis"), (list, tuple)):
        (kept["axis"],) = kept["axis"]
    dtype = kept.get("dtype")
    if isinstance(dtype, dict) and dtype.get("class_name") == "Policy":
        kept["dtype"] = dtype["config"]["name"]
    return kept

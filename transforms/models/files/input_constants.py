"""A model of several inputs as a model of one: the image that is explained; the others are constants.

A constant is the same for every image unless each brings a value of its own (`fed`).
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import pathlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms import errors
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.files import load_failures


class Constant(keras.layers.Layer):
    """Gives the same value for every image. A layer, so that methods that add up what layers contribute count it.

    Attributes:
        input_name: of the input that it stands for.
        value: without the batch axis.
        fed: what it gives instead, a row for each image; None for the value.
        given: the value as it gave it last, a tensor of the graph that was traced last.
    """

    def __init__(self, name: str, value: np.ndarray) -> None:
        """Make the layer; `value` has no batch axis."""
        super().__init__(name=f"constant_{name}")
        self.input_name = name
        self.value = value
        self.fed: tf.Tensor | None = None
        self.given: tf.Tensor | None = None

    def call(self, images: Any) -> Any:
        """The value, once for each image, or what is fed."""
        if self.fed is not None:
            return self.fed
        self.given = tf.broadcast_to(self.value[None], tf.concat([tf.shape(images)[:1], self.value.shape], 0))
        return self.given


class OneInput(keras.Model):
    """A model, all of whose inputs but one are constants, the same for every image.

    Attributes:
        whole: the model itself.
        explained: name of the input that is left.
    """

    def __init__(self, whole: keras.Model, explained: str, constants: Mapping[str, np.ndarray]) -> None:
        """Make the model.

        Args:
            whole: a model that declares its inputs.
            explained: name of the input that is left.
            constants: of each other input, without the batch axis.
        """
        super().__init__(name=whole.name)
        self.whole = whole
        self.explained = explained
        self._constants = [Constant(name, value) for name, value in sorted(constants.items())]
        self._inputs = [
            keras.KerasTensor(tensor.shape, tensor.dtype, name=tensor.name)
            for tensor in whole.inputs
            if tensor.name == explained
        ]
        self.built = True

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """The input that is left."""
        return list(self._inputs)

    @property
    def output_names(self) -> list[str]:
        """As `whole` has them."""
        return list(getattr(self.whole, "output_names", ()))

    @property
    def constants(self) -> dict[str, np.ndarray]:
        """The values of the other inputs, without the batch axis."""
        return {one.input_name: one.value for one in self._constants}

    def call(self, inputs: Any) -> Any:
        """The outputs of `whole`."""
        given = {one.input_name: one(inputs) for one in self._constants}
        given[self.explained] = inputs
        flat = [given[tensor.name] for tensor in self.whole.inputs]
        return self.whole(keras.tree.pack_sequence_as(self.whole.input, flat), training=False)

    def to_json(self, **_: Any) -> str:
        """What makes it this network and no other of the same weights, constants included."""
        try:
            whole = json.loads(self.whole.to_json())
        except NotImplementedError:
            whole = f"{type(self.whole).__module__}.{type(self.whole).__qualname__}"
        values = {name: hashlib.sha256(value.tobytes()).hexdigest() for name, value in self.constants.items()}
        return json.dumps({"whole": whole, "explained": self.explained, "constants": values})


def around(model: keras.Model) -> list[keras.Operation]:
    """What is no part of the network itself: the model inside, whose names are the network's, and the constants."""
    return [model.whole, *model._constants] if isinstance(model, OneInput) else []  # noqa: SLF001 - of this file


def constants_of(model: keras.Model, names: Collection[str]) -> tuple[Constant, ...]:
    """The constants that stand for some inputs, in the order of the names.

    Raises:
        load_failures.ModelError: the model has no such constant.
    """
    known = {one.input_name: one for one in model._constants} if isinstance(model, OneInput) else {}  # noqa: SLF001
    missing = [name for name in names if name not in known]
    if missing:
        raise load_failures.ModelError(
            f"inputs that come with each image: {', '.join(missing)}; model {model.name} has beside the explained one "
            f"the inputs {', '.join(known) or 'none'}"
        )
    return tuple(known[name] for name in names)


@contextlib.contextmanager
def feeding(constants: Sequence[Constant], rows: Sequence[tf.Tensor]) -> Iterator[None]:
    """Have constants give `rows`, a tensor each, while the context is open. For use under the lock of the model."""
    for one, fed in zip(constants, rows, strict=True):
        one.fed = fed
    try:
        yield
    finally:
        for one in constants:
            one.fed = None


def one_input(model: keras.Model, explained: str | None, constants: Mapping[str, Any]) -> keras.Model:
    """`model`, with constants in place of all inputs but one.

    Args:
        model: a loaded model.
        explained: name of the input that takes the image; None for the only one without a constant.
        constants: by name of the input: a number, lists of numbers, or the path of an ``.npy`` file; of the input's
            shape without the batch axis, or one that can be broadcast to it; or a `model_source.StandIn`.

    Raises:
        load_failures.ModelError: an input has neither, or both, or is not there, or a value does not fit it.
    """
    inputs = inputs_by_name(model)
    if not inputs:
        if explained is not None or constants:
            raise load_failures.ModelError(
                f"model {model.name} does not declare its inputs, so model.input, inputs and constants can't name "
                "them. Name a factory (model.factory: module:function) that returns a functional model"
            )
        return model
    if explained is None and len(inputs) == 1 and not constants:
        return model
    listed = in_words(inputs)
    named = [("input", explained)] if explained is not None else []
    for name, given in constants.items():
        named.append(("inputs" if isinstance(given, model_source.StandIn) else "constants", name))
    for setting, name in named:
        if name not in inputs:
            raise load_failures.ModelError(
                f"model.{setting} names {name!r}, and model {model.name} has the inputs {listed}"
            )
    left = [name for name in inputs if name not in constants]
    if explained in constants:
        raise load_failures.ModelError(
            f"model.inputs or constants have a value for {explained}, which is the input to explain (model.input)"
        )
    if len(left) != 1:
        missing = [name for name in left if name != explained]
        wanted = ", ".join(missing) if explained is not None else "all but the image"
        raise load_failures.ModelError(
            f"model {model.name} has {len(inputs)} inputs: {listed}. Name the image to explain (model.input), and say "
            "which feature of the records the others are (model.inputs: {name: feature}) or give values for them "
            f"(model.constants: {{name: number, list or .npy file}}), here for {wanted}"
        )
    values = {name: _value(name, value, inputs[name]) for name, value in constants.items()}
    return OneInput(model, left[0], values) if values else model


def declared_inputs(model: keras.Model) -> list[keras.KerasTensor]:
    """The inputs that a model declares; none where it does not say, as a subclassed one that was not called."""
    try:
        return list(model.inputs or ())
    except (AttributeError, ValueError):
        return []


def inputs_by_name(model: keras.Model) -> dict[str, keras.KerasTensor]:
    """The inputs that a model declares, by name."""
    return {str(tensor.name): tensor for tensor in declared_inputs(model)}


def in_words(inputs: Mapping[str, keras.KerasTensor]) -> str:
    """Names, types and shapes of inputs, for messages."""
    return ", ".join(f"{name} {_described(tensor)}" for name, tensor in inputs.items())


def _described(tensor: keras.KerasTensor) -> str:
    return f"({tensor.dtype} {tuple(tensor.shape[1:])})"


def _value(name: str, value: Any, tensor: keras.KerasTensor) -> np.ndarray:
    """The constant for an input, without the batch axis."""
    wanted = tuple(tensor.shape[1:])
    if isinstance(value, model_source.StandIn):
        return _stand_in(name, value, tensor)
    is_file = model_source.is_array_file(value)
    origin = f"model.constants.{name}: {value}" if is_file else f"model.constants.{name}"
    try:
        array = _read(value) if is_file else np.asarray(value)
        if len(array.shape) == len(wanted) + 1 and array.shape[0] == 1:
            array = array[0]
        filled = tuple(size or 1 for size in wanted) if array.ndim < len(wanted) else _filled(wanted, array.shape)
        array = np.broadcast_to(array, filled)
    except (ValueError, TypeError) as error:
        raise load_failures.ModelError(
            f"{origin} is no value for input {name}, expected {_described(tensor)}: {load_failures.cause(error)}"
        ) from error
    return _of_type(array, tensor, origin)


def _stand_in(name: str, value: model_source.StandIn, tensor: keras.KerasTensor) -> np.ndarray:
    """What an input has while the model is looked into."""
    shape = tuple(tensor.shape[1:])
    if value.shape is not None and len(value.shape) == len(shape):
        shape = tuple(given if side is None else side for side, given in zip(shape, value.shape, strict=True))
    if None in shape:
        raise load_failures.ModelError(
            f"input {name} leaves its shape open {_described(tensor)}; set model.inputs.{name}.shape, without the batch"
        )
    if tensor.dtype == "string":
        return np.full(shape, b"", object)
    if not keras.backend.is_float_dtype(tensor.dtype):
        return np.ones(shape, _numpy_type(tensor.dtype))
    # From the name, so that two inputs of one shape are not alike.
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    return np.random.default_rng(seed).uniform(size=shape).astype(_numpy_type(tensor.dtype))


def _of_type(array: np.ndarray, tensor: keras.KerasTensor, origin: str) -> np.ndarray:
    if tensor.dtype == "string":
        return np.asarray(array, dtype=object) if array.dtype.kind in "OSU" else np.asarray(array.astype(str), object)
    cast = array.astype(_numpy_type(tensor.dtype)) if array.dtype.kind in "biuf" else None
    finite = cast is not None and bool(np.isfinite(array.astype(np.float64)).all())
    if cast is None or not finite or not np.allclose(cast.astype(np.float64), array.astype(np.float64)):
        raise load_failures.ModelError(
            f"{origin} holds {array.dtype} values that {tensor.dtype} can't, which the input takes; give such numbers"
        )
    return np.ascontiguousarray(cast)


def _numpy_type(dtype: str) -> Any:
    return tf.as_dtype(dtype).as_numpy_dtype


def _filled(wanted: tuple[int | None, ...], given: tuple[int, ...]) -> tuple[int, ...]:
    """The shape of an input, open sizes as in the value."""
    if len(wanted) != len(given):
        raise ValueError(f"it has shape {given}")
    return tuple(own if size is None else size for size, own in zip(wanted, given, strict=True))


def _read(path: str) -> np.ndarray:
    file = pathlib.Path(path)
    if not file.is_file():
        raise load_failures.ModelError(f"model.constants names {path}, which does not exist")
    with errors.about(path, "read"):
        array: np.ndarray = np.load(file, allow_pickle=False)
    return array

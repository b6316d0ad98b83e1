"""SavedModels as Keras models: a signature's flat graph, with its variables as weights."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.files import load_failures
from heatbeam.transforms.models.graphs import flat_functions, flat_rewrites

_TOLERANCE = 1e-5  # of the largest output
_GRADIENT_TOLERANCE = 1e-4  # of the largest gradient
_OPEN = 64  # rows and columns of a trial where a signature leaves them open


class SavedNetwork(keras.Model):
    """A signature of a SavedModel.

    It takes one tensor, or a mapping of them by the names of the signature's inputs, and returns one tensor, or a
    mapping by the names of its outputs. Its weights are the variables that the signature reads.
    """

    def __init__(self, function: flat_functions.FlatFunction, name: str) -> None:
        """Make the model.

        Args:
            function: of a signature, that takes its inputs by name.
            name: of the model, for messages.

        Raises:
            load_failures.ModelError: it was made for batches of one size and can't take others.
        """
        super().__init__(name=name)
        specs, names = function.input_signature[1], _keys(function)
        self._function = _for_any_batch(function, list(specs.values()), name).without_variables()
        self._inputs = [
            keras.KerasTensor((None, *specs[key].shape[1:]), specs[key].dtype.name, name=key) for key in names
        ]
        self._weight_of = {held: _weight(variable) for held, variable in function.variables.items()}
        self.saved_weights = list(self._weight_of.values())
        self.built = True

    @property
    def inputs(self) -> list[keras.KerasTensor]:
        """What the signature takes, by name, shape and type."""
        return list(self._inputs)

    @property
    def input(self) -> dict[str, keras.KerasTensor]:
        """`inputs`, by name."""
        return {tensor.name: tensor for tensor in self._inputs}

    def call(self, inputs: Any) -> Any:
        """The signature's outputs."""
        if tf.executing_eagerly():
            return tf.function(self.call, autograph=False)(inputs)
        named = inputs if isinstance(inputs, Mapping) else {self._inputs[0].name: inputs}
        given = [tf.cast(named[tensor.name], tensor.dtype) for tensor in self._inputs]
        outputs = self._for_types()(given, self._weight_of)
        # Each time that it is loaded they may come in another order.
        ordered = {key: outputs[key] for key in sorted(outputs)}
        return next(iter(ordered.values())) if len(ordered) == 1 else ordered

    def _for_types(self) -> flat_functions.FlatFunction:
        """The function for the present types of the inputs: `integer_inputs` may have them changed to floats."""
        function = self._function
        specs = function.input_signature[1]
        for held, tensor in zip(function.inputs, self._inputs, strict=True):
            if tensor.dtype != specs[tensor.name].dtype.name:
                changed = flat_rewrites.with_floats(function, held)
                if changed is None:
                    raise TypeError(f"{self.name} computes with the integers of {tensor.name}")
                function = changed
        return function

    def to_json(self, **_: Any) -> str:
        """What makes it this network and no other of the same weights."""
        return json.dumps({"class_name": "SavedModel", "graph": graph_digest(self._function)})


def graph_digest(function: flat_functions.FlatFunction) -> str:
    """Hex sha256 of the operations of a flat graph and what goes into each."""
    digest = hashlib.sha256()
    for node in function.definition.node:
        # Functions get other names each time they are loaded.
        own = {
            key: value.SerializeToString(deterministic=True).hex()
            for key, value in node.attr.items()
            if value.WhichOneof("value") != "func" and not key.startswith("_")
        }
        digest.update(json.dumps([node.name, node.op, list(node.input), own], sort_keys=True).encode())
    return digest.hexdigest()


def _weight(variable: tf.Variable) -> keras.Variable:
    return keras.Variable(
        variable.numpy(),
        trainable=variable.trainable,
        dtype=variable.dtype.name,
        name=variable.name.partition(":")[0].replace("/", "_"),
        autocast=False,
    )


def open_layers(model: keras.Model) -> None:
    """Have every layer of `model` that holds a SavedModel (TFSMLayer) show the operations inside, and use its weights.

    Raises:
        load_failures.ModelError: as `check_gradients`.
    """
    for layer in model._flatten_layers():  # noqa: SLF001 - no public way to the layers inside layers
        if isinstance(layer, keras.layers.TFSMLayer) and not isinstance(layer.call_endpoint_fn, _OpenEndpoint):
            layer.call_endpoint_fn = _OpenEndpoint(layer)


def is_closed(model: keras.Model) -> bool:
    """Whether parts of a model are graphs of SavedModels, without Keras layers."""
    parts = model._flatten_layers()  # noqa: SLF001 - no public way to the models inside a model
    return any(isinstance(part, (SavedNetwork, keras.layers.TFSMLayer)) for part in parts)


class _OpenEndpoint:
    """In place of the function that a TFSMLayer calls."""

    def __init__(self, layer: keras.layers.TFSMLayer) -> None:
        endpoint = layer.call_endpoint_fn
        endpoints = getattr(endpoint, "concrete_functions", None) or [endpoint]
        original = next(
            (one for one in endpoints if not any(v is True for v in tf.nest.flatten(one.structured_input_signature))),
            endpoints[0],
        )
        flat = flat_functions.flattened(original)
        check_gradients(original, flat, f"the SavedModel {layer.filepath} in layer {layer.name}")
        weights = _own_weights(layer, flat)
        self._variables = {held: weights.get(held, variable) for held, variable in flat.variables.items()}
        self._function = flat.without_variables()

    def __call__(self, inputs: Any) -> Any:
        if tf.executing_eagerly():
            return tf.function(self.__call__, autograph=False)(inputs)
        types = [spec.dtype for spec in tf.nest.flatten(self._function.input_signature) if _is_spec(spec)]
        given = [tf.cast(one, dtype) for one, dtype in zip(tf.nest.flatten(inputs), types, strict=True)]
        return self._function(given, self._variables)


def _own_weights(layer: keras.layers.Layer, function: flat_functions.FlatFunction) -> dict[str, keras.Variable]:
    """The layer's weights for the variables that the function reads: they are copies, which Keras does not read."""
    left, found = list(layer.weights), {}
    for held, variable in function.variables.items():
        name, value = variable.name.replace("/", "_"), variable.numpy()
        equal = [w for w in left if tuple(w.shape) == value.shape and np.array_equal(w.numpy(), value)]
        same = next((w for w in equal if w.name == name), equal[0] if equal else None)
        if same is not None:
            found[held] = same
            left = [weight for weight in left if weight is not same]
    return found


def _is_spec(value: Any) -> bool:
    return isinstance(value, tf.TensorSpec)


def check_gradients(original: Any, flat: flat_functions.FlatFunction, name: str) -> None:
    """Refuse a function whose operations have gradients of their own that are not those of what they compute.

    Args:
        original: the function.
        flat: its flat graph.
        name: of the model, for messages.

    Raises:
        load_failures.ModelError: they differ, for an image of noise.
    """
    specs = [spec for spec in tf.nest.flatten(flat.input_signature) if _is_spec(spec)]
    if not flat.drops_gradients or not all(spec.dtype.is_floating and spec.shape.rank for spec in specs):
        return
    random = np.random.default_rng(0)
    given = [tf.constant(random.uniform(-1, 1, [size or _OPEN for size in s.shape]), s.dtype) for s in specs]
    by_name = not flat.input_signature[0]

    def slopes(outputs: Any, inputs: list[tf.Tensor]) -> list[tf.Tensor]:
        score = tf.add_n([tf.reduce_sum(tf.cast(one, tf.float32) ** 2) for one in tf.nest.flatten(outputs)])
        return [tf.cast(g, tf.float32) for g in tf.gradients(score, inputs) if g is not None]

    def both(inputs: list[tf.Tensor]) -> tuple[list[tf.Tensor], list[tf.Tensor]]:
        known = dict(zip(sorted(flat.input_signature[1]), inputs, strict=True)) if by_name else {}
        theirs = original(**known) if by_name else original(*inputs)
        ordered = [known[key] for key in _keys(flat)] if by_name else inputs
        return slopes(theirs, inputs), slopes(flat(ordered, flat.variables), inputs)

    wanted, found = tf.function(both, autograph=False)(given)
    equal = len(wanted) == len(found) and all(
        np.abs(one - other).max(initial=0) <= _GRADIENT_TOLERANCE * np.abs(one).max(initial=0)
        for one, other in zip(map(np.asarray, wanted), map(np.asarray, found), strict=True)
    )
    if not equal:
        raise load_failures.ModelError(
            f"{name} has operations with gradients of their own (tf.custom_gradient) that are not those of what they "
            "compute, and a SavedModel's cannot be used. Name a .keras file or a factory (model.factory: "
            "module:function) that builds the network"
        )


def _keys(function: flat_functions.FlatFunction) -> list[str]:
    """The names of a signature's inputs, in the order of its tensors."""
    specs = function.input_signature[1]
    order = {tensor.partition(":")[0]: place for place, tensor in enumerate(function.inputs)}
    return sorted(specs, key=lambda key: order.get(specs[key].name, len(order)))


def _for_any_batch(
    function: flat_functions.FlatFunction, specs: list[tf.TensorSpec], name: str
) -> flat_functions.FlatFunction:
    """The function, for any number of images.

    Raises:
        load_failures.ModelError: its graph holds the number of images at other places than shapes.
    """
    sizes = {spec.shape[0] for spec in specs if spec.shape.rank}
    if sizes <= {None}:
        return function
    (batch, *others) = sizes - {None}
    problem = load_failures.ModelError(
        f"{name} was saved for batches of {batch} images, and its graph does not work for another number. Save it "
        "again with an input of shape (None, ...)"
    )
    if others or len(specs) != 1:
        raise problem
    (given,) = function.inputs
    free = flat_rewrites.with_any_batch(function, given, batch)
    random = np.random.default_rng(0).uniform(0, 255, (batch + 1, *specs[0].shape[1:]))
    images = tf.constant(random.astype(specs[0].dtype.as_numpy_dtype))
    try:
        every = tf.function(lambda x: free([x], function.variables), autograph=False)(images)
    except (ValueError, tf.errors.OpError) as error:
        raise problem from error
    fixed = tf.function(lambda x: function([x], function.variables), autograph=False)
    for part in (slice(0, batch), slice(1, batch + 1)):
        for one, other in zip(tf.nest.flatten(fixed(images[part])), tf.nest.flatten(every), strict=True):
            wanted, found = np.asarray(one, np.float64), np.asarray(other, np.float64)[part]
            if wanted.shape != found.shape or np.abs(wanted - found).max() > _TOLERANCE * np.abs(wanted).max():
                raise problem
    return free

"""Which layers and operations a model calls while it is traced, what goes into each call and what comes out."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import keras
import tensorflow as tf

from heatbeam.transforms.models import layer_outputs
from heatbeam.transforms.models.files import input_constants
from heatbeam.transforms.models.graphs import flat_functions, layer_scopes

_RECORDING = threading.RLock()
# Inside these, outputs of four axes are attention scores or heads, not images.
_OPAQUE = (keras.layers.MultiHeadAttention, keras.layers.GroupQueryAttention, keras.layers.Attention)


class SavedLayer(keras.Operation):
    """Stands for a layer of a SavedModel, of which only the graph is left.

    Attributes:
        scope: what is known of it.
    """

    def __init__(self, scope: layer_scopes.Scope) -> None:
        super().__init__(name=scope.path.rpartition("/")[-1])
        self.scope = scope


@dataclasses.dataclass(frozen=True, eq=False)
class LayerCall:
    """One call of a layer, or of an operation such as ``x + y`` in a functional model, while the model was traced.

    Attributes:
        path: names from the model down, as `layer_outputs.LayerOutput.name`. Of several calls the last one has the
            plain path, the earlier ones are ``PATH#1``, ``PATH#2``.
        kind: class name of the layer.
        layer: the layer or operation.
        inputs: the tensors that went in.
        output: symbolic tensor.
        grid: the cells in the output, or None.
        is_leaf: whether it called no other layer, or only such as are no candidates.
    """

    path: str
    kind: str
    layer: keras.Operation
    inputs: tuple[tf.Tensor, ...]
    output: tf.Tensor
    grid: layer_outputs.LayerOutput | None
    is_leaf: bool

    @property
    def is_attention(self) -> bool:
        """Whether it is a layer of attention."""
        return _is_opaque(self.layer)


def _is_opaque(layer: keras.Operation) -> bool:
    return layer.scope.is_attention if isinstance(layer, SavedLayer) else isinstance(layer, _OPAQUE)


@contextlib.contextmanager
def recorded(model: keras.Model, image: tuple[int, ...], calls: list[LayerCall]) -> Iterator[None]:
    """Note every call, innermost first, while the context is open in this thread.

    Args:
        model: that will be called; it is not noted itself.
        image: positions of its input along each axis.
        calls: to add to. Paths of several calls are told apart when the context closes.
    """
    recorder = _Recorder(model, image, calls)
    operation, layer = keras.Operation.__call__, keras.layers.Layer.__call__
    with _RECORDING:
        keras.Operation.__call__ = recorder.around(operation, operations=True)
        keras.layers.Layer.__call__ = recorder.around(layer, operations=False)
        try:
            with flat_functions.watched(recorder.saved):
                yield
        finally:
            keras.Operation.__call__, keras.layers.Layer.__call__ = operation, layer
    calls[:] = _told_apart(calls)


class _Recorder:
    """What `recorded` puts around calls."""

    def __init__(self, model: keras.Model, image: tuple[int, ...], calls: list[LayerCall]) -> None:
        self._unnamed = {id(part) for part in (model, *input_constants.around(model))}
        self._image = image
        self._calls = calls
        self._owner = threading.get_ident()
        self._stack: list[keras.Operation] = []

    def around(self, original: Callable[..., Any], *, operations: bool) -> Callable[..., Any]:
        """A function for the place of `original`, which notes layers or operations; layers are operations as well."""

        @functools.wraps(original)
        def recording(called: keras.Operation, *args: Any, **kwargs: Any) -> Any:
            layer = isinstance(called, keras.layers.Layer)
            if threading.get_ident() != self._owner or (operations and layer):
                return original(called, *args, **kwargs)
            before = len(self._calls)
            self._stack.append(called)
            try:
                output = original(called, *args, **kwargs)
            finally:
                self._stack.pop()
            if id(called) not in self._unnamed and _is_traced(output) and output.shape.rank is not None:
                inputs = tuple(v for v in tf.nest.flatten((args, kwargs)) if _is_traced(v))
                self._calls.append(self._call(called, inputs, output, len(self._calls) > before))
            return output

        return recording

    def saved(self, placed: flat_functions.Placed) -> None:
        """Note the layers of a saved network that is put into the graph."""
        outer = "".join(f"{one.name}/" for one in self._stack if id(one) not in self._unnamed)
        for scope in layer_scopes.scopes(placed):
            path = f"{outer}{scope.path}"
            opaque = scope.in_attention or scope.kind == "Softmax"
            grid = None if opaque else layer_outputs.grid_of(path, scope.kind, scope.output, self._image)
            self._calls.append(
                LayerCall(path, scope.kind, SavedLayer(scope), scope.inputs, scope.output, grid, scope.is_leaf)
            )

    def _call(
        self, called: keras.Operation, inputs: tuple[tf.Tensor, ...], output: tf.Tensor, calls_others: bool
    ) -> LayerCall:
        outer = [one for one in self._stack if id(one) not in self._unnamed]
        path, kind = "/".join([one.name for one in (*outer, called)]), type(called).__name__
        opaque = any(isinstance(one, _OPAQUE) for one in outer) or kind == "Softmax"
        grid = None if opaque else layer_outputs.grid_of(path, kind, output, self._image)
        is_leaf = not calls_others or isinstance(called, _OPAQUE)
        return LayerCall(path, kind, called, inputs, output, grid, is_leaf)


def _is_traced(value: Any) -> bool:
    """Whether a value is a tensor of the trace; what was computed before it (the places of tokens) is a constant."""
    return bool(tf.is_tensor(value) and tf.is_symbolic_tensor(value))


def _told_apart(calls: Sequence[LayerCall]) -> list[LayerCall]:
    """The calls, each with a path of its own."""
    total, seen = Counter(c.path for c in calls), Counter[str]()
    found = []
    for call in calls:
        seen[call.path] += 1
        earlier = f"{call.path}#{seen[call.path]}"
        found.append(call if seen[call.path] == total[call.path] else _renamed(call, earlier))
    return found


def _renamed(call: LayerCall, path: str) -> LayerCall:
    grid = None if call.grid is None else dataclasses.replace(call.grid, name=path)
    return dataclasses.replace(call, path=path, grid=grid)

"""Methods that need passes of their own: many-pass methods, input gradients, and whatever stands in a wrapper."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import planned, shared_pass
from heatbeam.transforms.methods import passes
from heatbeam.transforms.models import exposure


class Rows(NamedTuple):
    """How many rows one pass of a many-pass method has, at most.

    Attributes:
        images: of passes through the whole model.
        head: of passes through the head alone, which is so small that more of them are better.
    """

    images: int
    head: int


class ManyPass:
    """One ``tf.function`` for each method, traced when it is first run."""

    def __init__(
        self, model: exposure.ExposedModel, methods: Sequence[planned.PlannedMethod], columns: int, rows: Rows
    ) -> None:
        """Prepare the passes.

        Args:
            model: the exposed model.
            methods: of the run.
            columns: classes of an image that are explained (`explained.Columns.width`).
            rows: of a pass.
        """
        self._model = model
        self._methods = {method.label: method for method in methods}
        self._rows = rows
        self._after_shared = {m.label: self._after(m, columns) for m in methods if not m.shares_pass}
        self._alone: dict[str, Callable[..., tf.Tensor]] = {}
        self._making = threading.Lock()

    def maps(
        self, label: str, class_ids: tf.Tensor, kept: shared_pass.Kept, chosen: np.ndarray | None, count: int
    ) -> np.ndarray:
        """The maps float32 ``(count, h, w, columns)`` of a method that does not share the common pass.

        Args:
            label: of the method.
            class_ids: int32 ``(B, columns)``, B at least `count`.
            kept: of the shared pass.
            chosen: bool ``(B,)``, the images to explain, zeros for the others; None for all.
            count: images to explain, the first ones.
        """
        rows = np.arange(count) if chosen is None else np.flatnonzero(chosen[:count])
        if not len(rows):
            return np.zeros((count, 1, 1, class_ids.shape[1]), np.float32)
        layer = self._methods[label].layers[0]
        arguments = [kept.inputs, tf.maximum(class_ids, 0), kept.activations[layer], kept.logits, *kept.fed]
        if len(rows) < kept.inputs.shape[0]:
            arguments = [tf.gather(a, rows) for a in arguments]
        part: np.ndarray = self._after_shared[label](*arguments).numpy()
        if len(rows) == count:
            return part
        values = np.zeros((count, *part.shape[1:]), np.float32)
        values[rows] = part
        return values

    def alone(
        self, label: str, inputs: np.ndarray, class_ids: np.ndarray, fed: Sequence[np.ndarray] = ()
    ) -> np.ndarray:
        """The maps ``(N, h, w)`` of any method for preprocessed inputs ``(N, H, W, C)``, one class ``(N,)`` each."""
        with self._making:
            if label not in self._alone:
                self._alone[label] = self._by_itself(self._methods[label])
        size, arrays = self._rows.images, (inputs, class_ids.astype(np.int32)[:, None], *fed)
        parts = [
            self._alone[label](*(tf.constant(array[i : i + size]) for array in arrays)).numpy()
            for i in range(0, len(inputs), size)
        ]
        maps: np.ndarray = np.concatenate(parts)[..., 0]
        return maps

    def _after(self, method: planned.PlannedMethod, columns: int) -> Callable[..., tf.Tensor]:
        """From what the shared pass kept to the maps of a method."""
        layer = method.layers[0]
        size = self._size(method)

        def run(
            inputs: tf.Tensor, class_ids: tf.Tensor, activations: tf.Tensor, logits: tf.Tensor, *fed: tf.Tensor
        ) -> tf.Tensor:
            model = self._model.beside(fed)
            if method.wrapper is not None:
                return method.own_maps(model, inputs, class_ids, size)
            given = passes.Pass(model.at(layer), inputs, class_ids, activations, logits, size)
            return method.function(given, **method.options)

        about = self._model.description
        function: Callable[..., tf.Tensor] = tf.function(
            run,
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, *about.input_size), tf.float32),
                tf.TensorSpec((None, columns), tf.int32),
                tf.TensorSpec((None, *self._model.grid(layer)), tf.float32),
                tf.TensorSpec((None, about.classes), tf.float32),
                *self._model.fed.values(),
            ],
        )
        return function

    def _by_itself(self, method: planned.PlannedMethod) -> Callable[..., tf.Tensor]:
        """From preprocessed inputs and one class each to the maps of a method."""
        size = self._size(method)
        function: Callable[..., tf.Tensor] = tf.function(
            lambda inputs, class_ids, *fed: method.own_maps(self._model.beside(fed), inputs, class_ids, size),
            autograph=False,
            input_signature=[
                tf.TensorSpec((None, *self._model.description.input_size), tf.float32),
                tf.TensorSpec((None, 1), tf.int32),
                *self._model.fed.values(),
            ],
        )
        return function

    def _size(self, method: planned.PlannedMethod) -> int:
        return self._rows.head if "head" in method.row.needs else self._rows.images

"""The pass that all methods share: one forward pass and one head gradient for every one-pass method at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from heatbeam.transforms.engine import explained, pixel_types, planned
from heatbeam.transforms.methods import channel_evidence, targets
from heatbeam.transforms.models import exposure

EVIDENCE_CHANNELS = 24
"""Channels that are kept of each class: with a total and a scale they take less than 128 bytes of a row."""


class Kept(NamedTuple):
    """What methods of further passes start from.

    Attributes:
        inputs: float32 ``(B, H, W, C)``, preprocessed.
        logits: float32 ``(B, classes)``.
        fed: what else came with each image (`exposure.ExposedModel.fed`).
        activations: by path of the layer, float32 ``(B, h, w, K)``.
    """

    inputs: tf.Tensor
    logits: tf.Tensor
    fed: tuple[tf.Tensor, ...]
    activations: dict[str, tf.Tensor]


class Results(NamedTuple):
    """What the pass gives for B images; `columns` is `explained.Columns.width`.

    Attributes:
        class_ids: int32 ``(B, columns)``, those given and then the model's first choices; `records.NO_CLASS` where a
            column is not used.
        top: int32 ``(B, N)``, the model's first choices, at least one.
        logits, probabilities: float32 ``(B, columns)``.
        ranks: int32 ``(B, columns)``, 1 = the model's first choice.
        finite: bool ``(B,)``, whether every logit and every activation is a finite number.
        maps: by label of the method, float32 ``(B, h, w, columns)``.
        kept: None where every method shares the pass.
        evidence: of the channels of the model's target layer; None where it is not wanted or the head has no gradient.
    """

    class_ids: tf.Tensor
    top: tf.Tensor
    logits: tf.Tensor
    probabilities: tf.Tensor
    ranks: tf.Tensor
    finite: tf.Tensor
    maps: dict[str, tf.Tensor]
    kept: Kept | None
    evidence: channel_evidence.Strongest | None


class SharedPass:
    """One graph for any number of images.

    Attributes:
        function: from images ``(B, H, W, C)``, uint8 or float32, and int32 class ids ``(B, columns.given)`` to
            `Results`.
        layers: paths of the layers that it maps.
        traces: how often it was traced; stays 1 for images of one type.
    """

    def __init__(
        self,
        model: exposure.ExposedModel,
        methods: Sequence[planned.PlannedMethod],
        preprocess: Callable[[tf.Tensor], tf.Tensor],
        columns: explained.Columns,
        *,
        xla: bool,
        evidence: bool = False,
    ) -> None:
        """Prepare the pass; it is traced when it is first run.

        Args:
            model: the exposed model.
            methods: of the run; those that do not share the pass make it keep what they start from.
            preprocess: from images to the model's inputs.
            columns: which classes of an image are explained.
            xla: compile it with XLA.
            evidence: whether to say what the strongest channels put into each class score.
        """
        self._model = model
        self._methods = [method for method in methods if method.shares_pass]
        self._keeps = len(self._methods) < len(methods)
        mapped = dict.fromkeys(layer for method in methods for layer in method.layers)
        self._mapped = len(mapped)
        self._evidence_layer = model.layer if evidence else None
        self.layers = tuple(mapped | ({model.layer: None} if evidence else {}))
        self._preprocess = preprocess
        self._columns = columns
        self.traces = 0
        self.function = pixel_types.ByPixelType[Results](
            self._trace,
            model.description.input_size,
            tf.TensorSpec((None, columns.given), tf.int32),
            *model.fed.values(),
            jit_compile=xla or None,
        )

    def run(self, images: np.ndarray, given: np.ndarray, size: int, fed: Sequence[np.ndarray] = ()) -> Results:
        """The pass of a batch.

        Args:
            images: uint8 or float32 ``(B, H, W, C)``.
            given: int32 ``(B, columns.given)``, `records.NO_CLASS` where a column is not used.
            size: images to a forward pass, at most.
            fed: what else comes with each image, ``(B, ...)`` each.
        """
        starts = range(0, max(1, len(images)), size)
        arrays = (images, given, *fed)
        parts = [self.function(*(tf.constant(array[i : i + size]) for array in arrays)) for i in starts]
        return parts[0] if len(parts) == 1 else tf.nest.map_structure(_joined, *parts)

    def _trace(self, images: tf.Tensor, given: tf.Tensor, *fed: tf.Tensor) -> Results:
        self.traces += 1
        columns = self._columns
        inputs = self._preprocess(images)
        (logits, probabilities, order), exposed = self._model.beside(fed).expose_answer(inputs, self.layers)
        top = tf.math.top_k(order, max(1, columns.top)).indices
        class_ids = tf.concat([given, top[:, : columns.top]], axis=1)
        class_ids = tf.ensure_shape(class_ids, [None, columns.width])
        chosen = tf.maximum(class_ids, 0)
        activations = dict(zip(self.layers, exposed, strict=True))
        gradients = _Gradients(logits, chosen, activations)
        return Results(
            class_ids=class_ids,
            top=top,
            logits=tf.gather(logits, chosen, batch_dims=1),
            probabilities=tf.gather(probabilities, chosen, batch_dims=1),
            ranks=_ranks(order, chosen),
            finite=tf.reduce_all(tf.stack([_finite(tensor) for tensor in (logits, *exposed[: self._mapped])]), axis=0),
            maps=self._maps(activations, gradients),
            kept=Kept(inputs, logits, fed, activations) if self._keeps else None,
            evidence=self._evidence(activations, gradients),
        )

    def _evidence(self, activations: dict[str, tf.Tensor], gradients: _Gradients) -> channel_evidence.Strongest | None:
        """What the channels put into each class score."""
        layer = self._evidence_layer
        if layer is None:
            return None
        try:
            gradient = gradients.of("logit", layer)
        except LookupError:  # an operation of the head has none, and no method of the run asks for one
            return None
        psi = channel_evidence.contributions(activations[layer], gradient)
        return channel_evidence.strongest(psi, EVIDENCE_CHANNELS)

    def _maps(self, activations: dict[str, tf.Tensor], gradients: _Gradients) -> dict[str, tf.Tensor]:
        """The maps of every one-pass method."""
        return {
            method.label: method.one_pass_maps(
                [activations[layer] for layer in method.layers],
                [gradients.of(method.target, layer) for layer in method.layers],
            )
            for method in self._methods
        }


class _Gradients:
    """Of class scores with respect to layers' outputs, each taken once, whoever asks first."""

    def __init__(self, logits: tf.Tensor, class_ids: tf.Tensor, activations: dict[str, tf.Tensor]) -> None:
        self._logits, self._class_ids, self._activations = logits, class_ids, activations
        self._taken: dict[tuple[str, str], tf.Tensor] = {}

    def of(self, target: str, layer: str) -> tf.Tensor:
        """The gradient of a class score (`targets.KINDS`); a LookupError where the head has none."""
        if (target, layer) not in self._taken:
            scores = targets.target_scores(self._logits, self._class_ids, target)
            self._taken[target, layer] = targets.score_gradients(scores, self._activations[layer])
        return self._taken[target, layer]


def _finite(values: tf.Tensor) -> tf.Tensor:
    """Bool ``(B,)``, whether all values of an image are numbers."""
    return tf.reduce_all(tf.math.is_finite(values), axis=list(range(1, values.shape.rank)))


def _joined(*parts: tf.Tensor | None) -> tf.Tensor | None:
    return None if parts[0] is None else tf.concat(parts, axis=0)


def _ranks(order: tf.Tensor, class_ids: tf.Tensor) -> tf.Tensor:
    """int32 ``(B, L)`` rank of each class, 1 for the greatest; among equals the lower class id comes first."""
    own = tf.gather(order, class_ids, batch_dims=1)[..., None]
    others = order[:, None, :]
    index = tf.range(tf.shape(order)[1])
    before = (others > own) | ((others == own) & (index < class_ids[..., None]))
    return 1 + tf.reduce_sum(tf.cast(before, tf.int32), axis=-1)

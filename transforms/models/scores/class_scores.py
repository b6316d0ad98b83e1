"""Which numbers of a model are explained: one output, before a fused softmax or sigmoid, one score per class."""

from __future__ import annotations

import dataclasses
import hashlib
import math
from typing import NamedTuple

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.scores import output_shapes, output_tail, readings


@dataclasses.dataclass(frozen=True)
class ScoreSource:
    """Where a model's scores are found.

    Attributes:
        output: name or index of the output to explain, for a model of several.
        strips: whether a final softmax or sigmoid is taken off.
        names: of a list of outputs, by their layers, where the model knows them (`loading.output_names`).
        declared: whether the configuration says how the numbers are read.
    """

    output: str | None
    strips: bool
    names: tuple[str, ...] = ()
    declared: bool = False

    def find(self, outputs: object) -> tuple[tf.Tensor, str | None]:
        """The tensor of scores among what a model returned, and which activation was taken off it.

        Raises:
            loading.ModelError: no such output, or several and none is named.
        """
        output = self.select(outputs)
        units = output_shapes.units_of(output.shape)
        return output_tail.before_activation(output, units) if self.strips and units else (output, None)

    def select(self, outputs: object) -> tf.Tensor:
        """The output to explain among what a model returned."""
        if tf.is_tensor(outputs):
            return outputs
        if isinstance(outputs, dict):
            named = {str(k): v for k, v in outputs.items()}
        elif isinstance(outputs, (list, tuple)):
            known = self.names if len(set(self.names)) == len(outputs) else map(str, range(len(outputs)))
            named = dict(zip(known, outputs, strict=True))
        else:
            raise loading.ModelError(f"the model returned {type(outputs).__name__}, expected a tensor of class scores")
        if self.output is None and len(named) == 1:
            return next(iter(named.values()))
        by_index = dict(zip(map(str, range(len(named))), named, strict=True))
        name = self.output if self.output in named else by_index.get(str(self.output))
        if name is None:
            each = [f"{given} (index {i}, {tuple(named[given].shape[1:])})" for i, given in by_index.items()]
            raise loading.ModelError(
                f"the model has outputs {', '.join(each)}; set model.output to one of them (it is {self.output!r})"
            )
        return named[name]


class Answer(NamedTuple):
    """What a model says of B images.

    Attributes:
        scores: float32 ``(B, classes)``, what is explained.
        probabilities: float32 ``(B, classes)``; NaN where the scores are values.
        order: float32 ``(B, classes)``, by which classes are ranked, the greatest first.
    """

    scores: tf.Tensor
    probabilities: tf.Tensor
    order: tf.Tensor


_LEAST = 1e-30
"""Probabilities below are taken for it, where the logarithm is: that of 0 is no number."""

_LEAST_REST = 1e-8
"""The same of what is left to 1, which float32 knows to 6e-8."""


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The class scores of a model.

    Attributes:
        units: numbers that the model gives for an image; one unit tells two classes apart.
        rule: from numbers to scores and probabilities.
        references: embeddings of `units` numbers each. With them the numbers are an embedding, and a value is its
            cosine with one of them: x . v / (|x| |v|), 0 for an embedding of zeros.
    """

    units: int
    rule: readings.Rule
    references: tuple[tuple[float, ...], ...] | None = None

    @property
    def classes(self) -> int:
        """Number of class scores; of values, one for each output or reference."""
        if self.references is not None:
            return len(self.references)
        return 2 if self.units == 1 and self.rule != "value" else self.units

    def in_words(self) -> list[str]:
        """Which references, for the manifest: runs with others have other numbers."""
        if self.references is None:
            return []
        digest = hashlib.sha256(np.array(self.references, np.float64).tobytes()).hexdigest()
        return [f"{len(self.references)} of {self.units} numbers, SHA-256 {digest[:16]}"]

    def check_references(self, setting: str) -> None:
        """See that there are references where they are asked for, and that they fit.

        Args:
            setting: ``model.scores``.

        Raises:
            loading.ModelError: they do not.
        """
        if (setting == "similarity") != (self.references is not None):
            raise loading.ModelError("model.scores: similarity and model.reference go together; one of them is missing")
        sizes = {len(one) for one in self.references or ()} - {self.units}
        if sizes:
            raise loading.ModelError(
                f"model.reference has embeddings of {sizes.pop()} numbers, the model returns {self.units}"
            )

    @property
    def are_numbers(self) -> bool:
        """Whether the scores are the numbers themselves or their negatives: no logarithm or length is between."""
        return self.rule not in ("probabilities", "one_vs_rest") and self.references is None

    def in_columns(self, output: tf.Tensor) -> tf.Tensor:
        """float32 ``(B, classes)``, of the tensor of scores, ``(B, ...)`` with `units` numbers an image."""
        # The batch size is the output's own: a head alone must not wait for its images.
        numbers = tf.cast(tf.reshape(output, [tf.shape(output)[0], -1]), tf.float32)
        numbers = tf.ensure_shape(numbers, [None, self.units])
        if self.references is not None:
            return tf.matmul(tf.math.l2_normalize(numbers, axis=1), self._directions(), transpose_b=True)
        if self.rule == "value":
            return numbers
        if self.rule == "probabilities":
            return tf.math.log(tf.maximum(numbers, _LEAST))
        if self.rule == "one_vs_rest":
            numbers = tf.math.log(tf.maximum(numbers, _LEAST)) - tf.math.log(tf.maximum(1 - numbers, _LEAST_REST))
        if self.units == 1:
            # One unit tells two classes apart: its logit speaks for class 1 and, negated, for class 0.
            return tf.concat([1 - numbers if self.rule == "as_is" else -numbers, numbers], axis=1)
        return numbers

    def answer(self, output: tf.Tensor) -> Answer:
        """What the tensor of scores, as for `in_columns`, says of each image."""
        scores = self.in_columns(output)
        if self.rule != "value":
            return Answer(scores, self.probabilities(scores), scores)
        # Values of several outputs have no order between them: the first output comes first.
        first = -tf.range(self.classes, dtype=tf.float32)
        return Answer(scores, tf.fill(tf.shape(scores), math.nan), tf.zeros_like(scores) + first)

    def _directions(self) -> tf.Tensor:
        """float32 ``(references, units)``, each of length 1."""
        directions = np.array(self.references, np.float64)
        return tf.constant(directions / np.linalg.norm(directions, axis=1, keepdims=True), tf.float32)

    def probabilities(self, scores: tf.Tensor) -> tf.Tensor:
        """Probabilities of class scores ``(..., classes)``.

        Raises:
            loading.ModelError: the scores are values.
        """
        if self.rule == "value":
            raise loading.ModelError(
                "a method asks for probabilities, and values (model.scores: regression, similarity) have none"
            )
        if self.rule == "as_is":
            return scores
        if self.rule == "probabilities":
            return tf.exp(scores)
        return tf.nn.softmax(scores, axis=-1) if self.rule == "softmax" else tf.sigmoid(scores)

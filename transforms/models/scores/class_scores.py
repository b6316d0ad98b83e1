"""Which numbers of a model are explained: one output, before a fused softmax or sigmoid, one score per class."""

from __future__ import annotations

import dataclasses

import numpy as np
import tensorflow as tf

from heatbeam.transforms.models.files import loading

_PASS_THROUGH = {"Identity", "Reshape", "Squeeze", "Cast", "StopGradient", "ExpandDims"}


@dataclasses.dataclass(frozen=True)
class ScoreSource:
    """Where a model's scores are found.

    Attributes:
        output: name or index of the output to explain, for a model of several.
        strips: whether a final softmax or sigmoid is taken off.
        names: of a list of outputs, by their layers, where the model knows them (`loading.output_names`).
    """

    output: str | None
    strips: bool
    names: tuple[str, ...] = ()

    def find(self, outputs: object) -> tuple[tf.Tensor, str | None]:
        """The tensor of scores among what a model returned, and which activation was taken off it.

        Raises:
            loading.ModelError: no such output, or several and none is named.
        """
        output = self.select(outputs)
        return before_activation(output) if self.strips else (output, None)

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


@dataclasses.dataclass(frozen=True)
class ClassScores:
    """The class scores of a model.

    Attributes:
        source: where they are found.
        units: numbers that the model gives for an image; one unit tells two classes apart.
        probability: ``softmax`` or ``sigmoid``: how probabilities follow from the scores.
    """

    source: ScoreSource
    units: int
    probability: str

    @property
    def classes(self) -> int:
        """Number of class scores."""
        return 2 if self.units == 1 else self.units

    def of(self, outputs: object) -> tf.Tensor:
        """float32 ``(B, classes)``, of what the model returned for B images."""
        return self.in_columns(self.source.find(outputs)[0])

    def in_columns(self, output: tf.Tensor) -> tf.Tensor:
        """float32 ``(B, classes)``, of the tensor of scores, ``(B, ...)`` with `units` numbers an image."""
        # The batch size is the output's own: a head alone must not wait for its images.
        scores = tf.cast(tf.reshape(output, [tf.shape(output)[0], -1]), tf.float32)
        scores = tf.ensure_shape(scores, [None, self.units])
        if self.units == 1:
            # One unit tells two classes apart: its logit speaks for class 1 and, negated, for class 0.
            scores = tf.concat([-scores, scores], axis=1)
        return scores

    def probabilities(self, scores: tf.Tensor) -> tf.Tensor:
        """Probabilities of class scores ``(..., classes)``."""
        return tf.sigmoid(scores) if self.probability == "sigmoid" else tf.nn.softmax(scores, axis=-1)


def before_activation(output: tf.Tensor) -> tuple[tf.Tensor, str | None]:
    """The tensor that goes into a final softmax or sigmoid, and which it was; the output itself if there is none."""
    tensor = output
    while tensor.op.type in _PASS_THROUGH:
        tensor = tensor.op.inputs[0]
    kind = {"Softmax": "softmax", "Sigmoid": "sigmoid"}.get(tensor.op.type)
    return (tensor.op.inputs[0], kind) if kind else (output, None)


def in_words(source: ScoreSource, activation: str | None, values: np.ndarray) -> str:
    """What is explained, for the manifest.

    Args:
        source: of the scores.
        activation: that was taken off.
        values: float32 ``(B, units)``, the scores of a few images.

    Raises:
        loading.ModelError: they are probabilities that cannot be traced back to logits.
    """
    if activation is not None:
        return f"logits: the model's final {activation} was taken off"
    if not source.strips:
        return "as the model returns them (model.scores: as_is)"
    if values.shape[1] > 1 and np.all(values >= 0) and np.allclose(values.sum(axis=1), 1, atol=1e-3):
        raise loading.ModelError(
            "the model returns probabilities (each row sums to 1) and the softmax cannot be traced in its graph. Build "
            "it to return logits, or set model.scores: as_is to explain probabilities (maps then fade where it is sure)"
        )
    return "logits: as the model returns them"


def probability_rule(scores: str, activation: str | None, units: int) -> str:
    """``softmax`` or ``sigmoid``: what the setting says, else what was taken off, else what the units suggest."""
    if scores in ("softmax", "sigmoid"):
        return scores
    if activation is not None:
        return activation
    return "sigmoid" if units == 1 else "softmax"

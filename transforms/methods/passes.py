"""What a method of more than one pass is given: a forward pass that has been made, and the model to make more.

Contract of every function that takes a `Pass`, unless its docstring says otherwise:

Returns:
    float32 (B, *grid, L), signed, not rectified, not scaled; the grid is the target layer's or the input's positions.

Results do not depend on `Pass.batch_size` or on what else is in the batch. Each forward pass scores every explained
class, so the cost of methods that take no gradients does not grow with L.
"""

from __future__ import annotations

import contextlib
import dataclasses
from typing import Any, Protocol

import keras
import tensorflow as tf

from heatbeam.transforms.models.files import loading


class Exposed(Protocol):
    """A model that can be seen into while a graph is traced: all that a method may ask of one.

    Inputs are preprocessed float32 (B, *positions, C). `heatbeam.transforms.models.exposure.ExposedModel` is the one
    that runs use. What else the model takes with each image belongs to rows of the batch: a method that runs other
    rows, gathered or repeated, asks `rows_of` for the model first.
    """

    @property
    def keras_model(self) -> keras.Model:
        """The Keras model itself; its layers are changed only while `lock` is held."""

    @property
    def lock(self) -> contextlib.AbstractContextManager[Any]:
        """Keeps other threads from tracing the model."""

    @property
    def head_is_affine(self) -> bool:
        """Whether the logits are an affine function of the target layer's output."""

    @property
    def bypass_is_added(self) -> bool:
        """Whether one row of `bypass` serves any number of rows of the activations, in `head`."""

    def rows_of(self, numbers: tf.Tensor) -> Exposed:
        """The model for inputs made of rows `numbers` (n,) of the batch, with what comes with those besides."""

    def logits(self, inputs: tf.Tensor) -> tf.Tensor:
        """float32 (B, classes) class scores, of which gradients can be taken."""

    def forward(self, inputs: tf.Tensor) -> tf.Tensor:
        """The same of which none are taken: by whatever engine computes it fastest."""

    def probabilities(self, logits: tf.Tensor) -> tf.Tensor:
        """Probabilities of class scores (..., classes), by the model's own rule."""

    def expose(self, inputs: tf.Tensor, layers: tuple[str, ...] = ()) -> tuple[tf.Tensor, tuple[tf.Tensor, ...]]:
        """Class scores (B, classes) and the activations (B, *grid, K) of the target layer or of `layers`.

        The activations are inputs of the rest of the graph: gradients of the scores go through the head only.
        """

    def bypass(self, inputs: tf.Tensor) -> tf.Tensor | None:
        """What the head needs of each image besides the target layer's activations, (B, ...); None for nothing."""

    def head(self, inputs: tf.Tensor, activations: tf.Tensor, bypass: tf.Tensor | None = None) -> tf.Tensor:
        """float32 (B, classes) class scores when the target layer's output is `activations`."""


@dataclasses.dataclass(frozen=True, eq=False)
class Pass:
    """A forward pass of a batch of B images, of each of which L classes are explained.

    Attributes:
        model: that made it.
        inputs: float32 (B, *positions, C), preprocessed. Masks multiply them, so a masked position tends to 0 in
            *preprocessed* values.
        class_ids: int32 (B, L), L static.
        activations: float32 (B, *grid, K), the target layer's output A for `inputs`.
        logits: float32 (B, classes), the model's output for `inputs`.
        batch_size: the largest number of images in a further forward pass; it alone bounds the memory of most methods,
            whatever K, L and the number of passes.
    """

    model: Exposed
    inputs: tf.Tensor
    class_ids: tf.Tensor
    activations: tf.Tensor
    logits: tf.Tensor
    batch_size: int


def reached(gradient: tf.Tensor | None) -> tf.Tensor:
    """The gradient of the scores with respect to the inputs, where there is one.

    Raises:
        loading.ModelError: the scores do not follow from the inputs by operations that have gradients.
    """
    if gradient is None:
        raise loading.ModelError(
            "the scores have no gradient with respect to the image: the model makes integers of it, or something else "
            "that has none. Leave out the methods that take it (gradients, full_grad and their like) or build the "
            "model without that step"
        )
    return gradient

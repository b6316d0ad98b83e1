"""One family of models: its smallest member, the layer that is chosen, and Grad-CAM by hand at the expert's layer."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

CLASSES = 5


@dataclasses.dataclass(frozen=True)
class Family:
    """A family, with random weights.

    Attributes:
        name: of the member that is made, and what is special about it.
        layer: that ``target_layer: auto`` chooses.
        expert: what an expert maps, in words.
        build: the model, which returns logits of `CLASSES` classes.
        layer_of: the expert's layer of the model, whose output is mapped; for a pooling, its input is.
        prefix_tokens: class token and registers before the patches, in that output.
    """

    name: str
    layer: str
    expert: str
    build: Callable[[], keras.Model]
    layer_of: Callable[[keras.Model], keras.layers.Layer]
    prefix_tokens: int = 0

    def model(self) -> keras.Model:
        """A new model, whose layers are numbered from the start."""
        keras.utils.clear_session()
        keras.utils.set_random_seed(1)
        return self.build()

    @property
    def row(self) -> str:
        """Of the table."""
        return f"| {self.name} | `{self.layer}` | {self.expert} |"

    def grad_cam(self, model: keras.Model, images: np.ndarray, class_id: int) -> np.ndarray:
        """Grad-CAM ``(B, h, w)`` of one class by a gradient tape, with a hook on the expert's layer."""
        seen: list[tf.Tensor] = []
        layer = self.layer_of(model)
        pools = isinstance(layer, keras.layers.GlobalAveragePooling2D)
        plain_call = layer.call

        def hooked(inputs: tf.Tensor, *args: object, **kwargs: object) -> tf.Tensor:
            if pools:
                inputs = tf.identity(inputs)
                seen.append(inputs)
            output = plain_call(inputs, *args, **kwargs)
            if not pools:
                seen.append(output)
            return output

        object.__setattr__(layer, "call", hooked)  # past Keras, which tracks what is set on a layer
        try:
            with tf.GradientTape() as tape:
                tape.watch(inputs := tf.constant(images))
                score = model(inputs, training=False)[:, class_id]
        finally:
            object.__delattr__(layer, "call")
        (activations,) = seen
        gradients = tape.gradient(score, activations)
        if activations.shape.rank == 3:
            activations, gradients = (self._grid(tokens, images.shape) for tokens in (activations, gradients))
        return np.einsum("bhwk,bk->bhw", activations, tf.reduce_mean(gradients, (1, 2)))

    def _grid(self, tokens: tf.Tensor, images: tuple[int, ...]) -> tf.Tensor:
        """Tokens of a square image as rows and columns."""
        patches = tokens[:, self.prefix_tokens :]
        side = int(np.sqrt(patches.shape[1]))
        return tf.reshape(patches, (images[0], side, side, tokens.shape[-1]))

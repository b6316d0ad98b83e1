"""Heads and bodies of many forms: what is mapped, and Grad-CAM of it by a plain gradient tape."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import cam
from heatbeam.transforms.models import exposure

SIZE = (32, 32, 3)
IMAGES = np.random.default_rng(3).uniform(-1, 1, (2, *SIZE)).astype(np.float32)
Symbol = keras.KerasTensor


def _conv(name: str, strides: int = 1) -> keras.layers.Layer:
    return keras.layers.Conv2D(8, 3, strides=strides, padding="same", activation="relu", name=name)


def _pooled(x: Symbol) -> Symbol:
    return keras.layers.GlobalAveragePooling2D()(x)


def _gated_by_ops(images: Symbol) -> Symbol:
    """Squeeze and excitation written with operators: the product is mapped, not what is weighed."""
    x = _conv("features", 4)(images)
    gate = keras.layers.Dense(8, activation="sigmoid")(keras.ops.mean(x, axis=(1, 2), keepdims=True))
    return _pooled(x * gate)


def _averaged_by_ops(images: Symbol) -> Symbol:
    return keras.ops.mean(_conv("features", 4)(images), axis=(1, 2))


def _pooled_by_attention(images: Symbol) -> Symbol:
    x = _conv("features", 4)(images)
    weights = keras.ops.softmax(keras.ops.reshape(keras.layers.Conv2D(1, 1)(x), (-1, 64, 1)), axis=1)
    return keras.ops.sum(keras.ops.reshape(x, (-1, 64, 8)) * weights, axis=1)


def _u_net(images: Symbol) -> Symbol:
    first = _conv("down1")(images)
    second = _conv("down2", 2)(first)
    up = keras.layers.UpSampling2D()(_conv("bottom", 2)(second))
    up = keras.layers.UpSampling2D()(_conv("up2")(keras.layers.Concatenate()([up, second])))
    return _pooled(_conv("up1")(keras.layers.Concatenate()([up, first])))


def _mixed_tokens(images: Symbol) -> Symbol:
    """An MLP over places, around which a skip connection leads."""
    x = keras.ops.reshape(_conv("features", 4)(images), (-1, 64, 8))
    across = keras.ops.transpose(keras.layers.LayerNormalization()(x), (0, 2, 1))
    x = x + keras.ops.transpose(keras.layers.Dense(64)(across), (0, 2, 1))
    return keras.ops.mean(keras.layers.LayerNormalization(name="last")(x), axis=1)


def _windows_put_back(images: Symbol) -> Symbol:
    """Attention within windows, as in Swin: they are folded into the first axis, and back."""
    x = keras.ops.reshape(_conv("features", 4)(images), (-1, 2, 4, 2, 4, 8))
    windows = keras.ops.reshape(keras.ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, 16, 8))
    windows = windows + keras.layers.MultiHeadAttention(2, 4)(windows, windows)
    x = keras.ops.transpose(keras.ops.reshape(windows, (-1, 2, 2, 4, 4, 8)), (0, 1, 3, 2, 4, 5))
    return _pooled(keras.layers.LayerNormalization(name="last")(keras.ops.reshape(x, (-1, 8, 8, 8))))


class Prefixed(keras.layers.Layer):
    """Puts learned tokens before the others: a class token and registers."""

    def build(self, shape: tuple[int | None, int, int]) -> None:
        self.learned = self.add_weight(shape=(1, 5, shape[2]), initializer="normal")

    def call(self, tokens: tf.Tensor) -> tf.Tensor:
        return tf.concat([tf.repeat(self.learned, tf.shape(tokens)[0], axis=0), tokens], axis=1)


def _registers(images: Symbol) -> Symbol:
    """A transformer of two blocks with a class token, which is read, and four registers."""
    x = Prefixed()(keras.ops.reshape(_conv("patches", 4)(images), (-1, 64, 8)))
    for name in ("first", "second"):
        normalized = keras.layers.LayerNormalization(name=name)(x)
        x = x + keras.layers.MultiHeadAttention(2, 4)(normalized, normalized)
        x = x + keras.layers.Dense(8, activation="gelu")(keras.layers.LayerNormalization()(x))
    return keras.layers.LayerNormalization()(x)[:, 0]


def _nested(images: Symbol) -> Symbol:
    """A Sequential in a functional model in a functional model."""
    inner = keras.Sequential([_conv("a", 2), _conv("b", 2)], name="inner")
    inputs = keras.Input(SIZE)
    return _pooled(keras.Model(inputs, inner(inputs), name="outer")(images))


def _last_of_inner(model: keras.Model) -> keras.layers.Layer:
    return model.get_layer("outer").get_layer("inner").layers[-1]


def _named(name: str) -> Callable[[keras.Model], keras.Operation]:
    return lambda model: next(one for one in model.operations if one.name == name)


def _kind(kind: str) -> Callable[[keras.Model], keras.Operation]:
    """The first operation of a kind."""
    return lambda model: next(one for one in model.operations if type(one).__name__ == kind)


@pytest.mark.parametrize(
    ("body", "expert", "prefix_tokens", "every"),
    [
        (_gated_by_ops, _kind("Multiply"), 0, "every path runs"),
        (_averaged_by_ops, _named("features"), 0, "every path runs"),
        (_pooled_by_attention, _kind("Multiply"), 0, "every path runs"),
        (_u_net, _named("up1"), 0, "every path runs"),
        (_mixed_tokens, _named("last"), 0, "every path runs"),
        (_windows_put_back, _named("last"), 0, "every path runs"),
        (_registers, _named("second"), 5, "every path of positions runs"),
        (_nested, _last_of_inner, 0, "every path runs"),
    ],
)
def test_the_experts_tensor_is_mapped_as_by_hand(body, expert, prefix_tokens, every) -> None:
    keras.utils.set_random_seed(4)
    inputs = keras.Input(SIZE)
    whole = keras.Model(inputs, keras.layers.Dense(3)(body(inputs)))
    model = exposure.ExposedModel(whole, layer="auto", scores="softmax", output=None, size=None)
    about = model.description
    assert (about.warnings, about.layer.prefix_tokens) == ((), prefix_tokens) and about.evidence.startswith(every)

    @tf.function(autograph=False)
    def run(images: tf.Tensor) -> tf.Tensor:
        logits, (activations,) = model.expose(images)
        return cam.grad_cam(activations, tf.gradients(logits[:, 1], activations)[0][:, None])[..., 0]

    expected = _by_hand(whole, expert(whole), prefix_tokens)
    np.testing.assert_allclose(run(tf.constant(IMAGES)).numpy(), expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    assert np.abs(expected).max() > 0


def _by_hand(model: keras.Model, operation: keras.Operation, prefix_tokens: int) -> np.ndarray:
    """Grad-CAM of class 1 at what an operation gives, by a tape with a hook on it."""
    seen: list[tf.Tensor] = []
    call = operation.call

    def hooked(*args: object, **kwargs: object) -> tf.Tensor:
        seen.append(call(*args, **kwargs))
        return seen[-1]

    object.__setattr__(operation, "call", hooked)  # past Keras, which tracks what is set on a layer
    try:
        with tf.GradientTape() as tape:
            tape.watch(images := tf.constant(IMAGES))
            score = model(images)[:, 1]
    finally:
        object.__delattr__(operation, "call")
    values = [seen[0], tape.gradient(score, seen[0])]
    if seen[0].shape.rank == 3:
        values = [tf.reshape(tokens[:, prefix_tokens:], (2, 8, 8, tokens.shape[-1])) for tokens in values]
    return np.einsum("bhwk,bk->bhw", values[0], tf.reduce_mean(values[1], (1, 2)))


def test_channels_whose_number_only_the_trace_knows_are_mapped() -> None:
    """Put into another graph, the product over places has lost its shape."""
    inputs = keras.Input(SIZE)
    x = keras.ops.transpose(keras.ops.reshape(_conv("features", 4)(inputs), (-1, 64, 8)), (0, 2, 1))
    x = keras.layers.Reshape((8, 8, 8))(keras.ops.transpose(keras.layers.Dense(64)(x), (0, 2, 1)))
    whole = keras.Model(inputs, keras.layers.Dense(3)(_pooled(x)))
    about = exposure.ExposedModel(whole, layer="auto", scores="softmax", output=None, size=None).description
    # Every place is a sum over all the others: only what is before it follows the image.
    assert about.layer.grid == (8, 8, 8) and not about.warnings and "do not follow the image" in about.evidence

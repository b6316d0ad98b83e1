"""Which heads are affine, and what that saves: Ablation-CAM of an affine head by arithmetic equals the loop."""

from __future__ import annotations

import copy

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import ablation, passes
from heatbeam.transforms.models import exposure
from heatbeam.transforms.models.files import loading
from tests.support import keras_models


def _exposed(model: keras.Model, layer: str) -> exposure.ExposedModel:
    return exposure.ExposedModel(model, layer=layer, scores="auto", output=None, size=None)


def _half() -> keras.Model:
    model = keras_models.classifier()
    loading.set_precision(model, "mixed_bfloat16")
    return model


def _with(*layers: keras.layers.Layer) -> keras.Model:
    """A convolution, then `layers`, pooling and three scores."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.Conv2D(4, 3, strides=2, activation="relu", name="target")(inputs)
    for layer in layers:
        x = layer(x)
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x)))


def _branches(merge: keras.layers.Layer) -> keras.Model:
    """Two branches of the target layer's output, merged."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    target = keras.layers.Conv2D(4, 3, name="target")(inputs)
    merged = merge([keras.layers.Conv2D(4, 1)(target), target])
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(merged)))


def _gated() -> keras.Model:
    """The target layer's output times a gate that does not follow from it."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    gate = keras.layers.Conv2D(4, 3, activation="sigmoid")(inputs)
    gated = keras.layers.Multiply()([gate, keras.layers.Conv2D(4, 3, name="target")(inputs)])
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(gated)))


def _reused() -> keras.Model:
    """The target layer is called twice; each output alone reaches the scores by an affine way."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    target = keras.layers.Conv2D(3, 3, padding="same", name="target")
    both = keras.layers.Add()([target(inputs), target(keras.layers.ReLU()(inputs))])
    return keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(both)))


AFFINE = {
    "pooling, dense": (keras_models.classifier, "features"),
    "softmax taken off": (keras_models.nested, "inner/backbone/features"),
    "mean of tokens": (keras_models.averaging_transformer, "last_norm"),
    "convolution": (lambda: _with(keras.layers.Conv2D(5, 3)), "target"),
    "depthwise": (lambda: _with(keras.layers.DepthwiseConv2D(3)), "target"),
    "batch norm": (lambda: _with(keras.layers.BatchNormalization()), "target"),
    "average pooling": (lambda: _with(keras.layers.AveragePooling2D(2)), "target"),
    "padding": (lambda: _with(keras.layers.ZeroPadding2D(2)), "target"),
    "sum of branches": (lambda: _branches(keras.layers.Add()), "target"),
    "stacked branches": (lambda: _branches(keras.layers.Concatenate()), "target"),
    "gate from elsewhere": (_gated, "target"),
}

NOT_AFFINE = {
    "a layer with relu after it": (keras_models.classifier, "stem"),
    "relu after pooling": (keras_models.squeezed, "features"),
    "attention": (keras_models.vision_transformer, "norm1a"),
    "half precision": (_half, "features"),
    "largest value": (lambda: _with(keras.layers.MaxPooling2D()), "target"),
    "product of branches": (lambda: _branches(keras.layers.Multiply()), "target"),
    "layer called twice": (_reused, "target"),
}


@pytest.mark.parametrize("name", AFFINE)
def test_ablation_cam_of_an_affine_head_is_that_of_the_loop(name: str) -> None:
    build, layer = AFFINE[name]
    model = _exposed(build(), layer)
    assert model.head_is_affine
    looped = copy.copy(model)
    looped._affine_after = frozenset()
    assert not looped.head_is_affine
    inputs = np.random.default_rng(4).normal(size=(3, *model.description.input_size)).astype(np.float32)
    class_ids = tf.constant([[0, 2], [1, 1], [2, 0]])

    @tf.function(autograph=False)
    def run(inputs: tf.Tensor) -> list[tf.Tensor]:
        logits, (activations,) = model.expose(inputs)
        return [
            ablation.ablation_cam(passes.Pass(one, inputs, class_ids, activations, logits, batch_size=2))
            for one in (model, looped)
        ]

    # The loop subtracts logits that differ little, and both divide by a logit that may be small.
    short, loop = (maps.numpy() for maps in run(tf.constant(inputs)))
    scale = np.abs(loop).max(axis=(1, 2), keepdims=True)
    assert (scale > 0).all() and (np.abs(short - loop) <= 2e-4 * scale).all()


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_other_heads_are_not_taken_for_affine(name: str) -> None:
    build, layer = NOT_AFFINE[name]
    assert not _exposed(build(), layer).head_is_affine


def test_an_affine_head_is_not_run_for_its_channels() -> None:
    """Two classes of one image, six channels: one pass of the head, where the loop has one for each channel."""
    model = _exposed(keras_models.classifier(), "features")
    rows = tf.Variable(0)
    original = model.head

    def head(inputs: tf.Tensor, activations: tf.Tensor, bypass: tf.Tensor | None = None) -> tf.Tensor:
        rows.assign_add(tf.shape(activations)[0])
        return original(inputs, activations, bypass)

    model.head = head  # type: ignore[method-assign]

    @tf.function(autograph=False)
    def run(inputs: tf.Tensor) -> tf.Tensor:
        logits, (activations,) = model.expose(inputs)
        given = passes.Pass(model, inputs, tf.constant([[0, 2]]), activations, logits, batch_size=64)
        return ablation.ablation_cam(given)

    inputs = np.random.default_rng(4).normal(size=(1, 16, 16, 3)).astype(np.float32)
    kernel, bias = (weight.numpy().astype(np.float64) for weight in model.keras_model.get_layer("scores").weights)
    activations = keras.Model(model.keras_model.input, model.keras_model.get_layer("features").output)(inputs).numpy()
    means = activations[0].mean(axis=(0, 1)).astype(np.float64)
    logits = means @ kernel + bias
    weights = (kernel * means[:, None] / logits)[:, [0, 2]]
    expected = np.einsum("hwk,kl->hwl", activations[0], weights)
    np.testing.assert_allclose(run(tf.constant(inputs))[0], expected, atol=1e-5 * np.abs(expected).max())
    assert rows.numpy() == 1

"""FullGrad: completeness on networks of many kinds, and pytorch-grad-cam's numbers."""

from __future__ import annotations

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import full_grad, passes
from tests.support import exposed_double

RNG = np.random.default_rng(0)


def _randomized(model):
    """The model with every weight drawn anew, variances positive: no term of the decomposition may vanish by chance."""
    keras.utils.set_random_seed(0)
    for weight in model.weights:
        values = RNG.normal(0, 0.4, weight.shape)
        weight.assign(np.abs(values) + 0.5 if "variance" in weight.path else values)
    return model


def _chain(*layers):
    inputs = keras.Input((8, 8, 3))
    value = inputs
    for layer in layers:
        value = layer(value)
    return _randomized(keras.Model(inputs, value))


def _conv(**options):
    return keras.layers.Conv2D(4, 3, padding="same", **options)


def _head():
    return (keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(3))


def _residual():
    inputs = keras.Input((8, 8, 3))
    value = keras.layers.Rescaling(2.0, offset=-0.3)(inputs)
    left = keras.layers.Activation("relu")(_conv()(value))
    gate = keras.layers.Dense(4, activation="sigmoid")(keras.layers.GlobalAveragePooling2D(keepdims=True)(left))
    value = keras.layers.Multiply()([left, gate]) + keras.ops.tanh(_conv(strides=1)(value))
    value = keras.layers.MaxPooling2D()(value * 1.5 + 0.25)
    value = keras.layers.Flatten()(value)
    value = keras.layers.Dense(5, activation="relu")(value)
    return _randomized(keras.Model(inputs, keras.layers.Dense(3)(value)))


def _transformer():
    inputs = keras.Input((8, 8, 3))
    value = keras.layers.Reshape((4, 6))(keras.layers.Conv2D(6, 4, strides=4)(inputs))
    normal = keras.layers.LayerNormalization()(value)
    value = value + keras.layers.MultiHeadAttention(2, 3)(normal, normal)
    value = value + keras.layers.Dense(6, activation="gelu")(keras.layers.LayerNormalization()(value))
    return _randomized(keras.Model(inputs, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling1D()(value))))


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.backbone = keras.Sequential([_conv(), keras.layers.BatchNormalization(), keras.layers.ReLU()])
        self.head = keras.layers.Dense(3)

    def call(self, inputs):
        return self.head(keras.ops.mean(self.backbone(inputs), axis=(1, 2)))


def _subclassed():
    model = Subclassed()
    model(np.zeros((1, 8, 8, 3)))
    return _randomized(model)


MODELS = {
    "conv-bias": lambda: _chain(_conv(), keras.layers.ReLU(), *_head()),
    "fused-activation": lambda: _chain(_conv(activation="relu"), *_head()),
    "batch-norm": lambda: _chain(
        _conv(use_bias=False), keras.layers.BatchNormalization(), keras.layers.ReLU(), *_head()
    ),
    "batch-norm-no-scale": lambda: _chain(
        _conv(), keras.layers.BatchNormalization(scale=False), keras.layers.ReLU(), *_head()
    ),
    "batch-norm-no-center": lambda: _chain(
        keras.layers.BatchNormalization(center=False), _conv(), keras.layers.ReLU(), *_head()
    ),
    "layer-norm": lambda: _chain(_conv(), keras.layers.LayerNormalization(), keras.layers.ReLU(), *_head()),
    "swish": lambda: _chain(_conv(), keras.layers.Activation("swish"), keras.layers.DepthwiseConv2D(3), *_head()),
    "two-dense": lambda: _chain(
        _conv(), keras.layers.Flatten(), keras.layers.Dense(5, activation="relu"), keras.layers.Dense(3)
    ),
    "residual-and-gate": _residual,
    "transformer": _transformer,
    "subclassed": _subclassed,
}


class _Plain:
    def __init__(self, model):
        self.keras_model = model
        self.lock = contextlib.nullcontext()

    def logits(self, inputs):
        return self.keras_model(inputs, training=False)


@pytest.mark.parametrize("name", MODELS)
def test_complete_variant_adds_up_to_the_logit_of_each_class(name):
    model = _Plain(MODELS[name]())
    images = RNG.normal(size=(2, 8, 8, 3)).astype(np.float32)
    logits = model.logits(images).numpy()

    @tf.function(autograph=False)
    def run(images, classes):
        return full_grad.full_gradients(model, images, classes, "complete")

    for classes in ([0, 2], [1, 1]):
        maps, rest = run(images, tf.constant(classes))
        total = tf.reduce_sum(maps, axis=(1, 2)) + rest
        np.testing.assert_allclose(total, logits[[0, 1], classes], atol=1e-5 * np.abs(logits).max() + 1e-6)
    np.testing.assert_array_equal(model.logits(images), logits)


def test_terms_by_hand():
    # One pixel: z = relu(2 x + 1) and logit = 3 z - 4. At x = 5: 3 * 2 * 5 on the input, 3 * 1 on the bias, rest -4.
    convolution = keras.layers.Conv2D(1, 1, activation="relu")
    dense = keras.layers.Dense(1)
    inputs = keras.Input((1, 1, 1))
    model = keras.Model(inputs, dense(keras.layers.GlobalAveragePooling2D()(convolution(inputs))))
    model.set_weights([np.full((1, 1, 1, 1), 2.0), np.array([1.0]), np.array([[3.0]]), np.array([-4.0])])

    @tf.function(autograph=False)
    def run(images):
        return full_grad.full_gradients(_Plain(model), images, tf.constant([0]), "complete")

    maps, rest = run(np.full((1, 1, 1, 1), 5, np.float32))
    np.testing.assert_allclose(maps[0, 0, 0], 30 + 3, rtol=1e-6)
    np.testing.assert_allclose(rest, [-4], rtol=1e-6)


@pytest.mark.parametrize("name", ["tiny_gap", "tiny_flat"])
def test_paper_variant_is_that_of_pytorch_grad_cam(name):
    double = exposed_double.golden_model(name)
    class_ids = exposed_double.golden_arrays()[f"{name}/indices"][:2].astype(np.int32)

    @tf.function(autograph=False)
    def run(inputs, class_ids):
        given = passes.Pass(double, inputs, class_ids, None, None, batch_size=3)
        return full_grad.full_grad(given, variant="paper", downsample=None)

    maps = run(exposed_double.golden_inputs()[:2], class_ids).numpy()
    expected = exposed_double.golden_arrays()[f"{name}/pytorch_grad_cam/FullGrad/raw_idx0"]
    exposed_double.assert_maps_close(maps[..., :1], expected[..., None], 1e-4)
    assert np.abs(maps[..., 1] - maps[..., 0]).max() > 1e-2


def test_unknown_variant():
    with pytest.raises(ValueError, match="known: paper, complete"):
        full_grad.full_gradients(_Plain(None), None, None, "seed")

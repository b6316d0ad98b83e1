"""Skip connections around the target layer: one row of them for all channels that are left out, where that is sound."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import ablation, passes
from heatbeam.transforms.models import exposure
from tests.support import keras_models


def _residual(join: keras.layers.Layer) -> keras.Model:
    """A block whose shortcut meets its convolution in `join`, and a ReLU and another skip after it."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((12, 12, 3))
    before = keras.layers.Conv2D(6, 3, strides=2, padding="same", activation="relu", name="before")(inputs)
    target = keras.layers.Conv2D(6, 3, padding="same", activation="relu", name="target")(before)
    shortcut = keras.layers.BatchNormalization()(before)
    x = keras.layers.Activation("relu")(join([target, shortcut]))
    x = keras.layers.Add()([keras.layers.Conv2D(x.shape[-1], 3, padding="same")(x), x])
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("relu")(x))
    return keras.Model(inputs, keras.layers.Dense(3)(x))


def _exposed(model: keras.Model, layer: str) -> exposure.ExposedModel:
    return exposure.ExposedModel(model, layer=layer, scores="auto", output=None, size=None)


@pytest.mark.parametrize(
    ("join", "added"),
    [
        (keras.layers.Add, True),
        (keras.layers.Subtract, True),
        (keras.layers.Multiply, True),
        (keras.layers.Concatenate, False),
        (keras.layers.Maximum, False),
    ],
)
def test_logits_without_a_channel_are_those_of_the_model_cut_by_hand(join, added) -> None:
    model = _residual(join())
    exposed = _exposed(model, "target")
    assert exposed.bypass_is_added == added
    inputs = np.random.default_rng(1).normal(size=(2, 12, 12, 3)).astype(np.float32)
    class_ids = tf.constant([[0, 2], [1, 0]])

    @tf.function(autograph=False)
    def run(inputs: tf.Tensor) -> tf.Tensor:
        logits, (activations,) = exposed.expose(inputs)
        return ablation.ablated_logits(passes.Pass(exposed, inputs, class_ids, activations, logits, 4))

    got = run(tf.constant(inputs)).numpy()
    target = model.get_layer("target")
    kernel, bias = (weight.numpy().copy() for weight in target.weights)
    for channel in range(6):  # a ReLU of zeros: what a channel gives without weights is 0
        silent = kernel.copy(), bias.copy()
        silent[0][..., channel], silent[1][channel] = 0.0, 0.0
        target.set_weights(silent)
        want = model(inputs, training=False).numpy()
        np.testing.assert_allclose(got[0, channel], want[0][[0, 2]], atol=1e-5)
        np.testing.assert_allclose(got[1, channel], want[1][[1, 0]], atol=1e-5)
    target.set_weights([kernel, bias])
    whole = model(inputs, training=False).numpy()
    assert np.abs(got - np.stack([whole[0][[0, 2]], whole[1][[1, 0]]])[:, None]).max() > 1e-3  # channels matter


def test_a_class_token_is_stacked_and_not_added() -> None:
    assert not _exposed(keras_models.vision_transformer(), "norm1a").bypass_is_added


def test_what_holds_for_the_bypass_of_one_layer_is_not_taken_over_by_another() -> None:
    exposed = _exposed(_residual(keras.layers.Add()), "target")
    assert exposed.bypass_is_added and not exposed.at("before").bypass_is_added


def test_a_head_without_a_bypass_has_none_to_add() -> None:
    model = _exposed(keras_models.classifier(), "features")
    assert not model.bypass_is_added

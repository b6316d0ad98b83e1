"""The methods on the real exposed model: the same numbers as on the stand-in; FullGrad on a model with a softmax."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import full_grad
from heatbeam.transforms.models import exposure
from tests.support import exposed_double
from tests.transforms.methods import test_methods_contract

NAMES = ("layer_cam_fused", "score_cam", "ablation_cam", "full_grad")


def _exposed(model):
    return exposure.ExposedModel(model, layer="auto", scores="auto", output=None, size=None)


@pytest.mark.parametrize("name", NAMES)
def test_same_maps_as_on_the_stand_in(name):
    double = exposed_double.golden_model("tiny_flat")
    inputs, class_ids = exposed_double.golden_inputs()[:2], test_methods_contract.CLASS_IDS[:2]
    maps = [
        test_methods_contract.traced(test_methods_contract.explain_with(name, model, 16))(inputs, class_ids)
        for model in (_exposed(double.keras_model), double)
    ]
    limit = 1e-4 if name == "ablation_cam" else 2e-5
    exposed_double.assert_maps_close(maps[0], maps[1], limit)


def test_full_grad_is_complete_but_for_the_last_bias_where_a_softmax_was_taken_off():
    keras.utils.set_random_seed(1)
    inputs = keras.Input((8, 8, 3))
    value = keras.layers.Conv2D(4, 3, padding="same", bias_initializer="normal")(inputs)
    value = keras.layers.GlobalAveragePooling2D()(keras.layers.BatchNormalization(beta_initializer="normal")(value))
    last = keras.layers.Dense(3, activation="softmax", bias_initializer="normal")
    model = _exposed(keras.Model(inputs, last(value)))
    images = np.random.default_rng(0).normal(size=(2, 8, 8, 3)).astype(np.float32)

    @tf.function(autograph=False)
    def run(images):
        return model.logits(images), full_grad.full_gradients(model, images, tf.constant([2, 0]), "complete")

    logits, (maps, _) = run(images)
    expected = [logits[0, 2] - last.bias[2], logits[1, 0] - last.bias[0]]
    np.testing.assert_allclose(tf.reduce_sum(maps, axis=(1, 2)), expected, atol=1e-5)

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models import exposure

RNG = np.random.default_rng(2)


def model(groups: int = 3, **options) -> keras.Model:
    """The convolution in question behind the target layer, so that the head's gradient goes through it."""
    image = keras.Input((7, 6, 2))
    x = keras.layers.Conv2D(3, 3, padding="same", activation="relu", name="target")(image)
    x = keras.layers.Conv2D(6, 3, groups=groups, name="grouped", **options)(x)
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Activation("tanh")(x))
    made = keras.Model(image, keras.layers.Dense(4, name="scores")(x))
    made.set_weights([RNG.normal(size=w.shape).astype(np.float32) for w in made.get_weights()])
    return made


def exposed(made: keras.Model, **options) -> exposure.ExposedModel:
    return exposure.ExposedModel(made, layer="target", scores="softmax", output=None, size=None, **options)


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("options", [{}, {"padding": "same", "strides": 2}])
def test_scores_and_gradients_are_those_of_the_layers(constant, options):
    made = model(**options)
    seen = exposed(made, constant_weights=constant)
    images = tf.constant(RNG.normal(size=(3, 7, 6, 2)).astype(np.float32))

    @tf.function(autograph=False)
    def explain(images):
        scores, (activations,) = seen.expose(images)
        return scores, tf.gradients(scores[:, 1], activations)[0], seen.forward(images)

    scores, gradients, forward = explain(images)

    head = keras.Model(made.get_layer("target").output, made.output)
    with tf.GradientTape() as tape:
        maps = keras.Model(made.input, made.get_layer("target").output)(images)
        tape.watch(maps)
        expected = head(maps)
        expected_one = expected[:, 1]
    assert scores.numpy() == pytest.approx(expected.numpy(), abs=1e-6 * float(np.abs(expected).max()))
    assert forward.numpy() == pytest.approx(expected.numpy(), abs=1e-6 * float(np.abs(expected).max()))
    reference = tape.gradient(expected_one, maps).numpy()
    assert gradients.numpy() == pytest.approx(reference, abs=2e-6 * float(np.abs(reference).max()))
    operations = {op.type for op in explain.get_concrete_function(images).graph.get_operations()}
    assert "DepthwiseConv2dNative" in operations
    assert not operations & {"StatefulPartitionedCall", "PartitionedCall"}
    assert made.get_layer("grouped").groups == 3  # the model itself is not changed


def test_other_groups_stay_calls():
    image = keras.Input((7, 6, 2))
    x = keras.layers.Conv2D(4, 3, name="target")(image)
    x = keras.layers.Conv2D(4, 3, groups=2)(x)
    seen = exposed(keras.Model(image, keras.layers.Dense(3)(keras.layers.GlobalAveragePooling2D()(x))))

    assert not seen._seen.graph.is_rewritten

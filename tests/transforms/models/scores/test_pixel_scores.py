"""Models that classify pixels, and outputs that are neither scores of an image nor of its pixels."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models import exposure
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.scores import class_scores, pixel_scores

layers = keras.layers


def exposed(built: keras.Model, scores: str = "auto", layer: str = "auto") -> exposure.ExposedModel:
    return exposure.ExposedModel(built, layer=layer, scores=scores, output=None, size=None)


def images(size: int = 16) -> np.ndarray:
    return np.random.default_rng(5).uniform(-1, 1, (3, size, size, 3)).astype(np.float32)


def unet(classes: int = 3, activation: str | None = "softmax") -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    down = layers.Conv2D(6, 3, padding="same", activation="relu", name="down")(inputs)
    bottom = layers.Conv2D(8, 3, padding="same", activation="relu", name="bottom")(layers.MaxPooling2D()(down))
    up = layers.Concatenate()([layers.UpSampling2D()(bottom), down])
    up = layers.Conv2D(5, 3, padding="same", activation="relu", name="last_decoder")(up)
    bias = keras.initializers.RandomNormal(stddev=0.1)
    return keras.Model(inputs, layers.Conv2D(classes, 1, activation=activation, bias_initializer=bias, name="map")(up))


def test_a_class_has_the_mean_over_the_pixels_that_it_claims():
    """Pixels (3, 1), (2, 0), (0, 4), (1, 2): class 0 claims the first two, class 1 the others.

    (3 + 2) / 2 = 2.5 and (4 + 2) / 2 = 3; half of the area each.
    """
    output = tf.constant([[[[3.0, 1.0], [2.0, 0.0]], [[0.0, 4.0], [1.0, 2.0]]]])
    answer = pixel_scores.PixelScores(class_scores.ClassScores(2, "softmax")).answer(output)
    np.testing.assert_allclose(answer.scores, [[2.5, 3.0]])
    np.testing.assert_allclose(answer.order, [[2, 2]])
    of_class_1 = 1 / (1 + np.exp([2, 2, -4, -1]))
    np.testing.assert_allclose(answer.probabilities, [[1 - of_class_1.mean(), of_class_1.mean()]], rtol=1e-6)


def test_a_class_that_claims_nothing_has_its_mean_over_all_pixels():
    output = tf.constant([[[[3.0, 1.0], [2.0, -1.0]]]])
    answer = pixel_scores.PixelScores(class_scores.ClassScores(2, "softmax")).answer(output)
    np.testing.assert_allclose(answer.scores, [[2.5, 0.0]])


def test_classes_that_do_not_exclude_each_other_claim_pixels_of_more_than_a_half():
    """Class 0 claims both pixels, (1 + 3) / 2; class 1 the second only."""
    output = tf.constant([[[[1.0, -1.0], [3.0, 2.0]]]])
    answer = pixel_scores.PixelScores(class_scores.ClassScores(2, "sigmoid")).answer(output)
    np.testing.assert_allclose(answer.scores, [[2.0, 2.0]])
    np.testing.assert_allclose(answer.order, [[2, 1]])


def test_one_unit_a_pixel_is_object_and_background():
    output = tf.constant([[[[2.0], [-1.0], [-3.0]]]])
    answer = pixel_scores.PixelScores(class_scores.ClassScores(1, "sigmoid")).answer(output)
    np.testing.assert_allclose(answer.scores, [[2.0, 2.0]])  # (1 + 3) / 2 of the background, 2 of the object
    np.testing.assert_allclose(answer.order, [[2, 1]])


@pytest.mark.parametrize("activation", ["softmax", None])
@pytest.mark.parametrize("layer", ["auto", "bottom"])
def test_grad_cam_is_that_of_the_mean_logit_of_the_claimed_pixels(activation, layer):
    built = unet(activation=activation)
    seen = exposed(built, layer=layer)
    assert seen.description.pixels == (16, 16)
    assert seen.layer == ("last_decoder" if layer == "auto" else "bottom")

    @tf.function(autograph=False)
    def traced(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        answer, (activations,) = seen.expose_answer(inputs)
        return answer.scores[:, 1], tf.gradients(answer.scores[:, 1], activations)[0]

    score, gradient = traced(tf.constant(images()))
    until = keras.Model(built.input, [built.get_layer(seen.layer).output, built.get_layer("down").output])
    activations, down = (tf.constant(one) for one in until(images()))
    with tf.GradientTape() as tape:
        tape.watch(activations)
        up = activations
        if layer == "bottom":
            joined = tf.concat([tf.repeat(tf.repeat(activations, 2, 1), 2, 2), down], -1)
            up = built.get_layer("last_decoder")(joined)
        logits = tf.nn.conv2d(up, built.get_layer("map").kernel.value, 1, "SAME") + built.get_layer("map").bias.value
        mine = tf.cast(tf.argmax(logits, -1) == 1, tf.float32)
        assert (tf.reduce_sum(mine, (1, 2)) > 0).numpy().all()
        expected = tf.reduce_sum(mine * logits[..., 1], (1, 2)) / tf.reduce_sum(mine, (1, 2))
    np.testing.assert_allclose(score, expected, atol=1e-5)
    wanted = tape.gradient(expected, activations).numpy()
    np.testing.assert_allclose(gradient, wanted, atol=1e-5 * np.abs(wanted).max())


def test_the_choice_is_the_class_of_the_largest_area():
    built = unet()
    answer = tf.function(exposed(built).answer, autograph=False)(tf.constant(images()))
    claimed = np.asarray(built(images())).argmax(axis=-1).reshape(3, -1)
    areas = np.array([np.bincount(one, minlength=3) for one in claimed])
    np.testing.assert_array_equal(answer.order, areas)
    np.testing.assert_allclose(answer.probabilities, np.asarray(built(images())).mean(axis=(1, 2)), atol=1e-6)


def test_scores_that_are_enlarged_at_the_end_are_not_mapped():
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(6, 3, strides=4, padding="same", activation="relu", name="features")(inputs)
    built = keras.Model(inputs, layers.UpSampling2D(4, interpolation="bilinear")(layers.Conv2D(3, 1)(x)))
    assert exposed(built).layer == "features"


def head(make: Callable[[keras.KerasTensor], keras.KerasTensor], size: int = 64) -> keras.Model:
    keras.utils.set_random_seed(3)
    inputs = keras.Input((size, size, 3))
    x = layers.Conv2D(8, 3, strides=4, padding="same", activation="relu")(inputs)
    return keras.Model(inputs, make(x))


REFUSED: dict[str, tuple[Callable[[keras.KerasTensor], keras.KerasTensor], str]] = {
    "ssd": (lambda x: layers.Reshape((-1, 25))(layers.Conv2D(100, 3, padding="same")(x)), "as a detection head gives"),
    "yolo": (lambda x: layers.Conv2D(255, 1, strides=4)(x), "a detection head with anchors"),  # noqa: PLW0108
    "backbone": (lambda x: layers.Conv2D(32, 3, strides=4, activation="relu")(x), "without its classifier"),  # noqa: PLW0108
    "depth": (lambda x: layers.Conv2D(1, 1)(x), "one number for each pixel, without an activation"),  # noqa: PLW0108
    "sequence": (lambda x: layers.Reshape((16, -1))(x), "a sequence head for steps"),  # noqa: PLW0108
}  # fmt: skip


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_explained_is_refused_in_words_that_fit(name):
    make, said = REFUSED[name]
    with pytest.raises(loading.ModelError) as caught:
        exposed(head(make))
    assert said in str(caught.value)


def test_a_coarse_segmentation_is_taken_if_it_is_declared():
    built = head(REFUSED["yolo"][0])
    assert exposed(built, "softmax").description.pixels == (4, 4)


def test_an_image_for_an_image_is_doubted_and_a_map_of_values_refused():
    built = unet(activation="sigmoid")
    (warning,) = exposed(built).description.warnings
    assert "if it is an image (an autoencoder's), there is nothing to explain" in warning
    with pytest.raises(loading.ModelError, match="values of an image are explained, not maps of them"):
        exposed(unet(1, None), "regression")

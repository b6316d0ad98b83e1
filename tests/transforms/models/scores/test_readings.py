"""Heads of every kind, and how each is read: the table of what is detected, and of what is asked."""

from __future__ import annotations

from collections.abc import Callable

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models import exposure
from heatbeam.transforms.models.files import loading
from heatbeam.transforms.models.scores import class_scores, readings

layers, ops = keras.layers, keras.ops

Head = Callable[[keras.KerasTensor], keras.KerasTensor]


def model(head: Head, features: str = "relu") -> keras.Model:
    """Two convolutions, their mean, and a head."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((16, 16, 3))
    x = layers.Conv2D(8, 3, strides=2, padding="same", activation="relu", name="stem")(inputs)
    x = layers.Conv2D(6, 3, padding="same", activation=features, name="last_conv")(x)
    return keras.Model(inputs, head(layers.GlobalAveragePooling2D()(x)))


def exposed(built: keras.Model, scores: str = "auto") -> exposure.ExposedModel:
    return exposure.ExposedModel(built, layer="auto", scores=scores, output=None, size=None)


def images() -> np.ndarray:
    return np.random.default_rng(5).uniform(-2, 2, (4, 16, 16, 3)).astype(np.float32)


def answers(seen: exposure.ExposedModel) -> tuple[np.ndarray, np.ndarray]:
    """Scores and probabilities."""
    scores = tf.function(seen.logits, autograph=False)(tf.constant(images()))
    return scores.numpy(), seen.probabilities(scores).numpy()


def dense(units: int, activation: str | None = None) -> Head:
    def head(x: keras.KerasTensor) -> keras.KerasTensor:
        return layers.Dense(units, activation)(x)

    return head


def both(x: keras.KerasTensor, activation: str) -> list[keras.KerasTensor]:
    return [layers.Dense(3, activation, bias_initializer="random_normal")(x) for _ in range(2)]


def weighted(x: keras.KerasTensor) -> keras.KerasTensor:
    first, second = both(x, "softmax")
    return 0.3 * first + 0.7 * second


def exponentials(x: keras.KerasTensor) -> keras.KerasTensor:
    e = ops.exp(layers.Dense(3)(x))
    return e / ops.sum(e, axis=-1, keepdims=True)


# What leads to the output -> how it is read, and whether the probability is the model's own number.
HEADS: dict[str, tuple[Head, str]] = {
    "softmax": (dense(3, "softmax"), "softmax"),
    "softmax_layer": (lambda x: layers.Softmax()(layers.Dense(3)(x)), "softmax"),
    "softmax_activation_layer": (lambda x: layers.Activation("softmax")(layers.Dense(3)(x)), "softmax"),
    "softmax_operation": (lambda x: ops.softmax(layers.Dense(3)(x)), "softmax"),
    "softmax_cast": (lambda x: ops.cast(layers.Dense(3, "softmax", dtype="float64")(x), "float32"), "softmax"),
    "softmax_reshaped": (lambda x: layers.Reshape((3, 1))(layers.Dense(3, "softmax")(x)), "softmax"),
    "softmax_of_another_axis": (lambda x: layers.Softmax(axis=1)(layers.Reshape((3, 1, 1))(layers.Dense(3)(x))),
                                "probabilities"),
    "softmax_of_maps": (lambda x: layers.Softmax()(layers.Conv2D(3, 1)(layers.Reshape((1, 1, 6))(x))), "softmax"),
    "geometric_mean": (lambda x: ops.exp(sum(ops.log(p) for p in both(x, "softmax")) / 2), "probabilities"),
    "sigmoids_made_one": (lambda x: (layers.UnitNormalization(axis=-1)(layers.Dense(3, "sigmoid")(x) ** 0.5)) ** 2,
                          "probabilities"),
    "softmax_identity": (lambda x: layers.Identity()(layers.Dense(3, "softmax")(x)), "softmax"),
    "softmax_dropout": (lambda x: layers.Dropout(0.5)(layers.Dense(3, "softmax")(x)), "softmax"),
    "temperature": (lambda x: ops.softmax(layers.Dense(3)(x) / 2.5), "softmax"),
    "log_softmax": (lambda x: ops.log_softmax(layers.Dense(3)(x)), "softmax"),
    "log_of_softmax": (lambda x: ops.log(layers.Dense(3, "softmax")(x)), "softmax"),
    "logits": (dense(3), "softmax"),
    "logits_scaled": (lambda x: layers.Rescaling(0.5)(layers.Dense(3)(x)), "softmax"),
    "mean_of_logits": (lambda x: layers.Average()([layers.Dense(3)(x), layers.Dense(3)(x)]), "softmax"),
    "clipped_softmax": (lambda x: ops.clip(layers.Dense(3, "softmax")(x), 1e-7, 1 - 1e-7), "probabilities"),
    "ensemble_mean": (lambda x: layers.Average()(both(x, "softmax")), "probabilities"),
    "ensemble_weighted": (weighted, "probabilities"),
    "ensemble_stacked": (lambda x: ops.mean(ops.stack(both(x, "softmax")), axis=0), "probabilities"),
    "softmax_by_operations": (exponentials, "probabilities"),
    "label_smoothed": (lambda x: 0.9 * layers.Dense(3, "softmax")(x) + 0.1 / 3, "probabilities"),
    "softmax_half_scaled": (lambda x: layers.Rescaling(0.5, 0.1)(layers.Dense(3, "softmax")(x)), "probabilities"),
    "two_softmaxes_flat": (lambda x: layers.Flatten()(layers.Softmax()(layers.Reshape((2, 3))(layers.Dense(6)(x)))),
                           "probabilities"),
    "sigmoid": (dense(3, "sigmoid"), "sigmoid"),
    "one_sigmoid": (dense(1, "sigmoid"), "sigmoid"),
    "sigmoid_activation_layer": (lambda x: layers.Activation("sigmoid")(layers.Dense(3)(x)), "sigmoid"),
    "clipped_sigmoid": (lambda x: ops.clip(layers.Dense(3, "sigmoid")(x), 1e-6, 1 - 1e-6), "one_vs_rest"),
    "clipped_one_sigmoid": (lambda x: ops.clip(layers.Dense(1, "sigmoid")(x), 0.01, 0.99), "one_vs_rest"),
    "ensemble_of_sigmoids": (lambda x: layers.Average()(both(x, "sigmoid")), "one_vs_rest"),
    "sigmoid_by_operations": (lambda x: 1 / (1 + ops.exp(-layers.Dense(3)(x))), "one_vs_rest"),
    "hard_sigmoid": (dense(3, "hard_sigmoid"), "one_vs_rest"),
    "clipped_logits_of_one": (lambda x: ops.clip(layers.Dense(3)(x), 0.2, 0.8), "one_vs_rest"),
}  # fmt: skip

OWN_LOGITS = {"logits", "logits_scaled", "mean_of_logits", "log_softmax", "log_of_softmax"}


@pytest.mark.parametrize("name", HEADS)
def test_the_probability_is_the_models_own_answer(name):
    head, rule = HEADS[name]
    built = model(head)
    said = np.asarray(built(images())).reshape(4, -1)
    if name in OWN_LOGITS:
        said = np.exp(said) / np.exp(said).sum(axis=1, keepdims=True)
    seen = exposed(built)
    scores, found = answers(seen)
    assert seen.description.probability == rule
    if said.shape[1] == 1:
        said = np.concatenate([1 - said, said], axis=1)
    np.testing.assert_allclose(found, said, atol=2e-6)
    assert np.isfinite(scores).all()


def columns(rule: readings.Rule, numbers: list[float]) -> tuple[list[float], list[float]]:
    """Scores and probabilities of one image."""
    scores = class_scores.ClassScores(len(numbers), rule)
    found = scores.in_columns(tf.constant([numbers], tf.float32))
    return found.numpy()[0].tolist(), scores.probabilities(found).numpy()[0].tolist()


@pytest.mark.parametrize(
    ("rule", "numbers", "scores", "probabilities"),
    [
        # log 0.7, log 0.2, log 0.1
        ("probabilities", [0.7, 0.2, 0.1], [-0.3566749, -1.6094379, -2.3025851], [0.7, 0.2, 0.1]),
        # log(0.8 / 0.2) = log 4, log(0.5 / 0.5) = 0
        ("one_vs_rest", [0.8, 0.5], [1.3862944, 0.0], [0.8, 0.5]),
        ("one_vs_rest", [0.8], [-1.3862944, 1.3862944], [0.2, 0.8]),
        ("as_is", [0.99, 0.01], [0.99, 0.01], [0.99, 0.01]),
        ("as_is", [0.8], [0.2, 0.8], [0.2, 0.8]),
        ("sigmoid", [1.3862944], [-1.3862944, 1.3862944], [0.2, 0.8]),
        # e^0 : e^(log 3) = 1 : 3
        ("softmax", [0.0, 1.0986123], [0.0, 1.0986123], [0.25, 0.75]),
    ],
)
def test_scores_and_probabilities_of_numbers(rule, numbers, scores, probabilities):
    found = columns(rule, numbers)
    np.testing.assert_allclose(found[0], scores, atol=1e-6)
    np.testing.assert_allclose(found[1], probabilities, atol=1e-7)


def test_probabilities_of_0_and_1_have_finite_scores():
    for rule in ("probabilities", "one_vs_rest"):
        scores, probabilities = columns(rule, [0.0, 1.0])
        assert np.isfinite(scores).all()
        np.testing.assert_allclose(probabilities, [0, 1], atol=1e-7)


@pytest.mark.parametrize("units", [1, 3])
def test_as_is_explains_the_number_itself(units):
    built = model(dense(units, "sigmoid" if units == 1 else "softmax"))
    said = np.asarray(built(images()))
    scores, found = answers(exposed(built, "as_is"))
    np.testing.assert_array_equal(scores, found)
    np.testing.assert_allclose(found[:, -1], said[:, -1], atol=1e-7)
    np.testing.assert_allclose(found.sum(axis=1), 1, atol=1e-6)


ASKED: dict[str, tuple[Head, str]] = {
    "one_unit": (dense(1), "one number without an activation"),
    "one_unit_scaled": (lambda x: layers.Rescaling(100.0)(layers.Dense(1)(x)), "one number without an activation"),
    "one_unit_tanh": (dense(1, "tanh"), "Tanh"),
    "one_unit_relu": (dense(1, "relu"), "Relu"),
    "softmax_of_one": (dense(1, "softmax"), "softmax over one unit"),
    "pooled_features": (lambda x: x, "6 features before a last layer are no classes"),
    "features_of_a_layer": (dense(128, "relu"), "Relu"),
    "unit_length": (lambda x: layers.UnitNormalization()(layers.Dense(128)(x)), "length 1: an embedding"),
    "normalized": (lambda x: layers.LayerNormalization()(layers.Dense(8)(x)), "neither logits"),
    "sorted": (lambda x: ops.top_k(layers.Dense(5, "softmax")(x), 2)[0], "sorts its numbers (TopKV2)"),
    "first_choice": (lambda x: ops.argmax(layers.Dense(5, "softmax")(x), axis=-1), "sorts its numbers"),
    "percent": (lambda x: 100 * layers.Dense(3, "softmax")(x), "changes what its softmax gave (Mul)"),
    "sigmoid_years": (lambda x: 120 * layers.Dense(1, "sigmoid")(x), "changes what its sigmoid gave"),
}  # fmt: skip


@pytest.mark.parametrize("name", ASKED)
@pytest.mark.filterwarnings("ignore:.*softmax over axis")
def test_what_cannot_be_known_is_asked(name):
    head, said = ASKED[name]
    with pytest.raises(loading.ModelError) as caught:
        exposed(model(head))
    assert said in str(caught.value)
    if name not in ("softmax_of_one", "sorted", "first_choice"):
        assert "model.scores" in str(caught.value)


def test_pooled_linear_maps_are_logits():
    # A fully convolutional classifier: the mean of maps without an activation.
    assert exposed(model(lambda x: x, features="linear")).description.probability == "softmax"


def test_numbers_without_an_activation_are_doubted_unless_declared():
    built = model(dense(128))
    assert "128 numbers are taken for the logits of 128 classes" in exposed(built).description.doubt
    assert not exposed(built, "softmax").description.doubt
    assert not exposed(model(HEADS["softmax"][0])).description.doubt


@pytest.mark.parametrize(
    ("head", "scores", "said"),
    [
        ("ensemble_mean", "softmax", "set model.scores: probabilities"),
        ("clipped_sigmoid", "sigmoid", "set model.scores: one_vs_rest"),
        ("sigmoid_years", "as_is", "no probabilities"),
        ("logits", "probabilities", "no probabilities"),
        ("logits", "one_vs_rest", "no probabilities"),
    ],
)
def test_a_declaration_that_the_numbers_refute_is_refused(head, scores, said):
    with pytest.raises(loading.ModelError, match=said):
        exposed(model((HEADS | ASKED)[head][0]), scores)


def test_logits_are_explained_as_they_are_too():
    assert exposed(model(dense(3)), "as_is").description.probability == "softmax"
    with pytest.raises(loading.ModelError, match="no probabilities"):
        exposed(model(dense(1)), "as_is")


def test_a_declaration_that_the_head_contradicts_is_said():
    (warning,) = exposed(model(HEADS["softmax"][0]), "sigmoid").description.warnings
    assert "the model itself ends in a softmax" in warning


def test_a_changed_softmax_is_said():
    (warning,) = exposed(model(HEADS["softmax_half_scaled"][0])).description.warnings
    assert "add up to 0.8" in warning and "model.scores" in warning


def test_maps_of_an_ensemble_are_those_of_its_mean_probability():
    """Gradients of log p: those of p, by 1 / p, taken with the plain model."""
    built = model(HEADS["ensemble_mean"][0])
    seen = exposed(built)

    @tf.function(autograph=False)
    def gradient(inputs: tf.Tensor) -> tf.Tensor:
        scores, (activations,) = seen.expose(inputs)
        return tf.gradients(scores[:, 1], activations)[0]

    until = keras.Model(built.input, built.get_layer("last_conv").output)
    after = keras.Input(until.output.shape[1:])
    x = after
    pooled = layers.GlobalAveragePooling2D()(x)
    first, second = (layer for layer in built.layers if isinstance(layer, layers.Dense))
    rest = keras.Model(after, (first(pooled) + second(pooled)) / 2)
    activations = tf.constant(until(images()))
    with tf.GradientTape() as tape:
        tape.watch(activations)
        p = rest(activations)[:, 1]
    expected = tape.gradient(p, activations) / p[:, None, None, None]
    np.testing.assert_allclose(gradient(tf.constant(images())).numpy(), expected.numpy(), atol=1e-6)

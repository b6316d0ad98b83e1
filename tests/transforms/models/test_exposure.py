from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models import exposure, layer_outputs
from heatbeam.transforms.models.files import loading
from tests.support import keras_models

REFERENCE = keras_models.GOLDEN / "methods_public.npz"


def exposed(model: keras.Model, **changes: object) -> exposure.ExposedModel:
    settings = {"layer": "auto", "scores": "auto", "output": None, "size": None} | changes
    return exposure.ExposedModel(model, **settings)  # type: ignore[arg-type]


def run(model: exposure.ExposedModel, inputs: np.ndarray, class_id: int = 0) -> dict[str, np.ndarray]:
    """Logits, activations, head gradient, and logits through the head alone."""

    @tf.function(autograph=False)
    def traced(inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        logits, (activations,) = model.expose(inputs)
        gradient = tf.gradients(logits[:, class_id], activations)[0]
        return {
            "logits": logits,
            "activations": activations,
            "gradient": gradient,
            "head": model.head(inputs, activations),
        }

    return {name: value.numpy() for name, value in traced(tf.constant(inputs)).items()}


def images(size: int = 16, count: int = 2) -> np.ndarray:
    return np.random.default_rng(0).normal(size=(count, size, size, 3)).astype(np.float32)


@pytest.mark.parametrize("name", ["tiny_gap", "tiny_flat"])
def test_matches_the_reference_forward_and_backward_pass(name):
    reference = np.load(REFERENCE)
    model = exposed(keras.models.load_model(keras_models.golden(name), compile=False))
    inputs = reference["images_u8/64x64"].astype(np.float32) / np.float32(127.5) - np.float32(1)
    out = run(model, inputs, class_id=2)
    jacobian = reference[f"{name}/seed/jacobian"][:, 2]
    assert model.layer == "last_act"
    np.testing.assert_allclose(out["logits"], reference[f"{name}/keras3/logits"], atol=1e-5)
    np.testing.assert_allclose(out["activations"], reference[f"{name}/keras3/activations"], atol=1e-5)
    np.testing.assert_allclose(out["gradient"], jacobian, atol=1e-5 * np.abs(jacobian).max())
    np.testing.assert_allclose(out["head"], out["logits"], atol=1e-6)


def test_takes_a_fused_softmax_off():
    plain, fused = keras_models.classifier(), keras_models.classifier(activation="softmax")
    logits = run(exposed(plain), images())["logits"]
    model = exposed(fused)
    np.testing.assert_allclose(run(model, images())["logits"], logits, atol=1e-6)
    assert model.description.scores == "logits: the model's final softmax was taken off"
    assert model.description.probability == "softmax"
    np.testing.assert_allclose(
        fused(images()).numpy(), tf.nn.softmax(logits).numpy(), atol=1e-6
    )  # the model is unchanged


def test_as_is_explains_what_the_model_returns():
    model = exposed(keras_models.classifier(activation="softmax"), scores="as_is")
    assert np.allclose(run(model, images())["logits"].sum(axis=1), 1, atol=1e-6)


def test_one_sigmoid_unit_is_two_classes():
    binary = keras_models.classifier(classes=1, activation="sigmoid")
    model = exposed(binary)
    logits = run(model, images())["logits"]
    p = binary(images()).numpy()[:, 0]
    np.testing.assert_allclose(logits[:, 1], np.log(p / (1 - p)), atol=1e-5)
    np.testing.assert_allclose(logits[:, 0], -logits[:, 1])
    assert (model.description.classes, model.description.probability) == (2, "sigmoid")
    np.testing.assert_allclose(model.probabilities(tf.constant(logits)).numpy()[:, 1], p, atol=1e-6)


def test_multi_label_head_keeps_sigmoid_probabilities():
    multi = keras_models.classifier(classes=3, activation="sigmoid")
    model = exposed(multi)
    probabilities = model.probabilities(tf.constant(run(model, images())["logits"])).numpy()
    np.testing.assert_allclose(probabilities, multi(images()).numpy(), atol=1e-6)


@pytest.mark.parametrize(
    ("build", "layer", "cells"),
    [
        (keras_models.classifier, "features", (8, 8)),
        (keras_models.nested, "inner/backbone/features", (8, 8)),
        (keras_models.squeezed, "features", (8, 8)),
        (keras_models.vision_transformer, "norm1a", (4, 4)),
    ],
    ids=["functional", "nested", "one-by-one-head", "vit"],
)
def test_chooses_the_last_spatial_layer_before_the_head(build, layer, cells):
    model = exposed(build())
    about = model.description.layer
    assert (about.name, about.cells) == (layer, cells)
    out = run(model, images())
    assert np.abs(out["gradient"]).max() > 0
    np.testing.assert_allclose(out["head"], out["logits"], atol=1e-6)


def test_sees_into_a_subclassed_model_with_a_bare_softmax():
    subclassed = keras_models.Subclassed()
    model = exposed(subclassed, size=(16, 16, 3))
    out = run(model, images())
    kernel, bias = (w.numpy() for w in subclassed.dense.weights)
    np.testing.assert_allclose(out["logits"], out["activations"].mean(axis=(1, 2)) @ kernel + bias, atol=1e-5)
    np.testing.assert_allclose(out["gradient"][0, 3, 4], kernel[:, 0] / (14 * 14), rtol=1e-4)


def test_a_replaced_activation_changes_the_logits_as_the_head_says():
    plain = keras_models.classifier()
    model = exposed(plain)
    kernel, bias = (w.numpy() for w in plain.get_layer("scores").weights)
    activations = np.random.default_rng(1).uniform(size=(2, 8, 8, 6)).astype(np.float32)
    head = tf.function(model.head, autograph=False)(tf.zeros((2, 16, 16, 3)), tf.constant(activations))
    np.testing.assert_allclose(head.numpy(), activations.mean(axis=(1, 2)) @ kernel + bias, atol=1e-6)


def test_transformer_tokens_become_a_grid_without_the_class_token():
    tokens = np.arange(2 * 17 * 3, dtype=np.float32).reshape(2, 17, 3)
    grid = layer_outputs.tokens_to_grid(tf.constant(tokens), 4, 4, 1).numpy()
    assert grid[1, 2, 3].tolist() == tokens[1, 1 + 2 * 4 + 3].tolist()


@pytest.mark.parametrize("name", ["backbone/features", "inner/backbone/features"])
def test_finds_a_nested_layer_by_part_or_whole_of_its_path(name):
    assert exposed(keras_models.nested(), layer=name).layer == "inner/backbone/features"


@pytest.mark.parametrize(
    ("build", "changes", "said"),
    [
        (keras_models.classifier, {"layer": "conv9"}, "no layer 'conv9'.*stem, features"),
        (keras_models.classifier, {"layer": "scores"}, "no layer 'scores' with a spatial output"),
        (keras_models.classifier, {"size": (8, 16, 3)}, "gives height 8, the model takes 16"),
        (keras_models.Subclassed, {}, "does not say its input size"),
        (lambda: keras_models.nested().get_layer("inner"), {}, "without its classifier cannot be explained"),
    ],
    ids=["no-layer", "not-spatial", "size", "unknown-size", "no-classifier"],
)
def test_says_what_does_not_fit(build, changes, said):
    with pytest.raises(loading.ModelError, match=said):
        exposed(build(), **changes)


def test_reads_probabilities_whose_softmax_it_cannot_trace_as_they_are():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3, activation="relu")(inputs))
    x = keras.layers.Lambda(lambda v: tf.exp(v) / tf.reduce_sum(tf.exp(v), -1, keepdims=True))(x)
    built = keras.Model(inputs, x)
    model = exposed(built)
    logits = tf.constant(run(model, images())["logits"])
    np.testing.assert_allclose(model.probabilities(logits).numpy(), built(images()).numpy(), atol=1e-6)
    with pytest.raises(loading.ModelError, match="returns probabilities"):
        exposed(built, scores="softmax")


def test_several_outputs_need_a_choice():
    inputs = keras.Input((16, 16, 3))
    x = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(3, 3)(inputs))
    two = keras.Model(inputs, {"kind": keras.layers.Dense(4)(x), "age": keras.layers.Dense(2)(x)})
    with pytest.raises(
        loading.ModelError, match=r"outputs kind \(index 0, .*\), age \(index 1, .*\); set model.output"
    ):
        exposed(two)
    assert exposed(two, output="age").description.classes == 2


def test_outputs_of_a_list_are_named_by_their_layers():
    inputs = keras.Input((8, 8, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3, name="maps")(inputs))
    ages, genders = keras.layers.Dense(5, name="age")(pooled), keras.layers.Dense(2, name="gender")(pooled)
    two = keras.Model(inputs, [ages, genders])
    with pytest.raises(loading.ModelError, match=r"outputs age \(index 0, \(5,\)\), gender \(index 1, \(2,\)\); set"):
        exposed(two)
    for output, classes in (("age", 5), ("gender", 2), ("0", 5), ("1", 2)):
        assert exposed(two, output=output).description.classes == classes


def test_half_precision_gradients_exist_in_float32():
    half = keras_models.classifier()
    loading.set_precision(half, "mixed_bfloat16")
    out = run(exposed(half), images())
    kernel = half.get_layer("scores").weights[0].numpy()
    assert out["activations"].dtype == np.float32
    np.testing.assert_allclose(out["gradient"][0, 0, 0], kernel[:, 0] / 64, rtol=0.02)

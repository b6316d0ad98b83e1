"""Numbers that are rounded: by how much, where an engine does it, and that it says so where it does not."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.engine import engine, specs
from heatbeam.transforms.engine.compute import agreements, choice
from heatbeam.transforms.models import model_source, processors
from heatbeam.transforms.models.backends import packages, precisions, sessions
from heatbeam.transforms.models.files import load_failures
from tests.support import engine_specs

needs_bfloat16 = pytest.mark.skipif(
    bool(packages.missing("openvino")) or not processors.multiplies_bfloat16(),
    reason=str(packages.missing("openvino") or "this processor does not say that it multiplies bfloat16"),
)
ODD = 1 + 2.0**-9  # in bfloat16 it is 1: its neighbours are 1 and 1 + 1/128


def weighing(weight: float) -> keras.Model:
    """A channel times a weight at its target layer."""
    image = keras.Input((4, 4, 3))
    layer = keras.layers.Conv2D(2, 1, use_bias=False, name="late")
    pooled = keras.layers.GlobalAveragePooling2D()(layer(image))
    model = keras.Model(image, keras.layers.Dense(2, use_bias=False)(pooled))
    model.set_weights([np.full((1, 1, 3, 2), [weight, weight / 2], np.float32), np.eye(2, dtype=np.float32)])
    return model


def exact() -> keras.Model:
    return weighing(1.5)


def odd() -> keras.Model:
    return weighing(ODD)


def made(name: str, **changes) -> engine.Engine:
    source = model_source.ModelSource(factory=f"{__name__}:{name}")
    changes |= {"target_layer": "late", "scores": "softmax", "preprocessing": model_source.Preprocessing(mode="none")}
    return engine.Engine(engine_specs.spec(source, specs.MethodSpec("grad_cam"), **changes))


@pytest.mark.parametrize(("precision", "dtype"), [("mixed_bfloat16", tf.bfloat16), ("mixed_float16", tf.float16)])
def test_no_number_is_rounded_by_more_than_is_said(precision, dtype):
    numbers = np.random.default_rng(0).uniform(1, 2, 100_000)
    rounded = tf.cast(tf.cast(numbers, dtype), tf.float64).numpy()
    worst = float(np.max(np.abs(rounded - numbers) / numbers))
    assert 0.98 < worst / precisions.ROUNDOFF[precision] <= 1


def test_what_layers_in_a_row_may_add_up_to():
    assert precisions.limit("float32") == choice.AGREEMENT == 1e-5
    assert precisions.limit("mixed_bfloat16") == 16 / 256  # the root of 256 layers, of 8 bits
    assert precisions.limit("mixed_float16") == 16 / 2048


@pytest.mark.parametrize(("asked", "taken"), [("mixed_bfloat16", "f32"), ("mixed_float16", "bf16")])
def test_a_precision_that_the_processor_has_not_is_an_error(asked, taken):
    with pytest.raises(load_failures.ModelError, match=rf"computes in {taken}, and explain.precision: {asked} asks"):
        sessions._check_taken(asked, taken)
    sessions._check_taken("float32", "f32")


def test_what_the_processor_says_it_can(monkeypatch):
    said = {"flags": "sse avx512_bf16"}
    monkeypatch.setattr(processors, "described", lambda: said)
    assert (processors.features(), processors.multiplies_bfloat16()) == (["avx512_bf16", "sse"], True)
    said["flags"] = "sse avx512f"
    assert processors.multiplies_bfloat16() is False
    said.clear()
    assert processors.multiplies_bfloat16() is None


@needs_bfloat16
def test_what_is_exact_in_bfloat16_stays_exact_and_the_rest_is_rounded_once():
    images = np.full((2, 4, 4, 3), 1, np.uint8)
    for name, expected in (("exact", [1.5, 0.75]), ("odd", [1.0, 0.5])):
        rounded = made(name, precision="mixed_bfloat16", compute="openvino")
        logits, activations = rounded.answers(images, whole=False)
        assert logits == pytest.approx(np.full((2, 2), 3.0) * expected, abs=0)
        assert activations[0, 0, 0].tolist() == [3 * expected[0], 3 * expected[1]]
        found = agreements.measured(rounded, images, maps=True)
        assert found.difference == pytest.approx(0 if name == "exact" else 1 - 1 / ODD)
        assert (found.images, found.same_class) == (2, 1.0)
    whole = made("odd", compute="openvino").answers(images, whole=False)[1]
    assert whole[0, 0, 0].tolist() == [3 * ODD, 1.5 * ODD]  # float32 unless that was asked for


@needs_bfloat16
def test_the_head_stays_float32():
    """Its weights are not rounded, so that its gradient, and Grad-CAM, are those of float32 but for the trunk."""
    weights = [np.full((1, 1, 3, 2), 1, np.float32), np.diag([ODD, 1]).astype(np.float32)]
    rounded = made("exact", precision="mixed_bfloat16", compute="openvino")
    rounded.model.keras_model.set_weights(weights)
    assert rounded.answers(np.full((1, 4, 4, 3), 1, np.uint8), whole=False)[0][0].tolist() == [3 * ODD, 3]


@needs_bfloat16
def test_a_trial_compares_what_honours_the_precision_with_float32(monkeypatch):
    monkeypatch.setattr(choice, "_ORDER", ("openvino", "onnxruntime"))  # XLA compiles for seconds
    half = made("odd", precision="mixed_bfloat16")
    own, openvino, runtime = choice.choose(half.spec, seconds=60, loaded=half).trials
    assert own.images_per_second is not None and openvino.images_per_second is not None
    # Pixels and a weight are rounded once each.
    assert 0 < own.agreement <= 2 * precisions.ROUNDOFF["mixed_bfloat16"]
    assert 0 < openvino.agreement <= 2 * precisions.ROUNDOFF["mixed_bfloat16"]
    assert runtime.images_per_second is None
    assert "float32" in runtime.why_not or "not installed" in runtime.why_not


def test_layers_of_another_precision_are_compared_with_the_same_weights(monkeypatch):
    """Models whose weights are drawn at each loading are no other model for that."""
    drawn = iter([1.5, 3.0])
    monkeypatch.setattr(f"{__name__}.exact", lambda: weighing(next(drawn)))
    rounded = made("exact", precision="mixed_bfloat16")
    images = np.full((2, 4, 4, 3), 1, np.uint8)
    assert agreements.measured(rounded, images, maps=False).difference == 0

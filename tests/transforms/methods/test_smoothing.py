"""The wrappers, Smooth Grad-CAM++ and ShapleyCAM."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import cam, gradient, passes, shapley, smoothing, targets, tensor_maps
from tests.support import exposed_double


def _cam_of(double, method, class_ids):
    def explain(inputs):
        logits, (activations,) = double.expose(inputs)
        scores = targets.target_scores(logits, class_ids, "logit")
        return method(activations, targets.score_gradients(scores, activations))

    return explain


def _indices(model, images):
    return tf.constant(exposed_double.golden_arrays()[f"{model}/indices"][images], tf.int32)


def _golden_noise():
    return exposed_double.golden_arrays()["tiny_gap/seed/smooth/noise_i8"].astype(np.float32) / 128


def test_smooth_grad_cam_golden():
    double = exposed_double.golden_model("tiny_gap")
    noise = _golden_noise()
    images = slice(0, noise.shape[1])

    @tf.function(autograph=False)
    def run(inputs):
        explain = _cam_of(double, cam.grad_cam, _indices("tiny_gap", images))
        return smoothing.smooth(explain, inputs, repetitions=3, sigma=0.0, seed=0, noise=noise)

    expected = exposed_double.golden_arrays()["tiny_gap/seed/smooth/gradcam/idx"]
    exposed_double.assert_maps_close(run(exposed_double.golden_inputs()[images]), expected)


def test_smooth_gradients_golden():
    double = exposed_double.golden_model("tiny_gap")
    noise = _golden_noise()
    images = slice(0, noise.shape[1])

    def explain(inputs):
        given = passes.Pass(double, inputs, _indices("tiny_gap", images), None, None, batch_size=3)
        return gradient.gradients(given, reduce="mean_abs", downsample=None)

    @tf.function(autograph=False)
    def run(inputs):
        return smoothing.smooth(explain, inputs, repetitions=3, sigma=0.0, seed=0, noise=noise)

    expected = exposed_double.golden_arrays()["tiny_gap/seed/smooth/gradients/idx"]
    exposed_double.assert_maps_close(run(exposed_double.golden_inputs()[images]), expected)


def test_smooth_counts_the_clean_pass():
    # explain returns the square of the input; the mean over x and two noisy copies, worked out with the same draws.
    inputs = np.random.default_rng(0).normal(size=(2, 3, 4, 1)).astype(np.float32)
    maps = smoothing.smooth(lambda x: x**2, inputs, repetitions=3, sigma=0.5, seed=9)
    noisy = [inputs + tensor_maps.noise_like(inputs, 0.5, 9, repetition) for repetition in (1, 2)]
    np.testing.assert_allclose(maps, (inputs**2 + noisy[0] ** 2 + noisy[1] ** 2) / 3, rtol=1e-5)


def _open_sized(model):
    """A golden model that takes images of any size."""
    double = exposed_double.golden_model(model)
    copy = keras.models.clone_model(double.keras_model, input_tensors=keras.Input((None, None, 3)))
    copy.set_weights(double.keras_model.get_weights())
    return exposed_double.ExposedDouble(copy, "last_act")


@pytest.mark.parametrize(
    ("key", "method", "scales", "flip"),
    [
        ("cam_default", cam.cam, (0.5, 1.5, 2.0), True),
        ("gradcam_default", cam.grad_cam, (0.5, 1.5, 2.0), True),
        ("cam_s05_noflip", cam.cam, (0.5,), False),
    ],
)
def test_tta_golden_but_for_the_seeds_divisor(key, method, scales, flip):
    double = _open_sized("tiny_gap")
    expected = exposed_double.golden_arrays()[f"tiny_gap/seed/tta/{key}/idx"]
    images = slice(0, len(expected))

    @tf.function(autograph=False)
    def run(inputs):
        explain = _cam_of(double, method, _indices("tiny_gap", images))
        return smoothing.tta(explain, inputs, scales=scales, flip=flip, flip_axes="auto", downsample=None)

    # The seed sums 1 + n passes (times two with flip) and divides by n (times two with flip).
    expected = expected * len(scales) / (1 + len(scales))
    exposed_double.assert_maps_close(run(exposed_double.golden_inputs()[images]), expected)


def test_tta_by_hand():
    # explain returns the image itself, so the mean with the mirrored pass is the image; then the halves are averaged.
    image = np.array([[[[1.0], [2.0], [3.0], [6.0]]]], np.float32)
    maps = smoothing.tta(tf.identity, image, scales=(), flip=True, flip_axes="auto", downsample=None)
    np.testing.assert_allclose(maps, image, rtol=1e-6)
    halves = smoothing.tta(tf.identity, image, scales=(), flip=True, flip_axes="auto", downsample=(1, 2))
    np.testing.assert_allclose(halves[0, 0, :, 0], [1.5, 4.5], rtol=1e-6)
    # A method that only ever looks to the left: [x0, 0, 0, 0]. The mirrored pass puts x3 at the right.
    left = tf.constant([1.0, 0, 0, 0])[None, None, :, None]
    maps = smoothing.tta(lambda x: x * left, image, scales=(), flip=True, flip_axes="auto", downsample=None)
    np.testing.assert_allclose(maps[0, 0, :, 0], [0.5, 0, 0, 3.0], rtol=1e-6)


def _smooth_grad_cam_plus_plus(double, inputs, class_ids, **options):
    @tf.function(autograph=False)
    def run(inputs):
        logits, (activations,) = double.expose(inputs)
        given = passes.Pass(double, inputs, tf.constant(class_ids), activations, logits, batch_size=2)
        return smoothing.smooth_grad_cam_plus_plus(given, **options)

    return run(inputs)


def test_smooth_grad_cam_plus_plus_without_noise_is_grad_cam_plus_plus():
    double = exposed_double.golden_model("tiny_flat")
    _, activations, gradients = exposed_double.golden_head("tiny_flat")
    maps = _smooth_grad_cam_plus_plus(
        double, exposed_double.golden_inputs(), [[1, 2]] * 4, repetitions=2, sigma=0.0, seed=0
    )
    exposed_double.assert_maps_close(maps, cam.grad_cam_plus_plus(activations, gradients[:, 1:3]))


def test_smooth_grad_cam_plus_plus_averages_the_powers_of_the_gradient():
    double = exposed_double.golden_model("tiny_flat")
    image = exposed_double.golden_inputs()[:1]
    powers = []
    for repetition in range(3):
        with tf.GradientTape() as tape:
            _logits, (activations,) = double.expose(image + tensor_maps.noise_like(image, 0.3, 5, repetition))
            tape.watch(activations)
            logit = double.head(None, activations)[:, 1]
        powers.append(tape.gradient(logit, activations).numpy().astype(np.float64))
    first, second, third = (np.mean([g**p for g in powers], axis=0) for p in (1, 2, 3))
    clean = double.expose(image)[1][0].numpy()
    denominator = 2 * second + clean.sum(axis=(1, 2), keepdims=True) * third
    alpha = np.divide(second, denominator, out=np.zeros_like(second), where=denominator != 0)
    weights = (alpha * np.maximum(first, 0)).sum(axis=(1, 2))
    expected = np.einsum("bhwk,bk->bhw", clean, weights)[..., None]
    maps = _smooth_grad_cam_plus_plus(double, image, [[1]], repetitions=3, sigma=0.3, seed=5)
    exposed_double.assert_maps_close(maps, expected, 1e-3)


def _shapley(double, activations, class_ids, score):
    @tf.function(autograph=False)
    def run(activations):
        inputs = tf.zeros((activations.shape[0], 64, 64, 3))
        given = passes.Pass(double, inputs, tf.constant(class_ids), activations, None, batch_size=3)
        return shapley.shapley_cam(given, score=score)

    return run(tf.constant(activations))


def test_shapley_cam_of_a_linear_score_is_grad_cam():
    _, activations, gradients = exposed_double.golden_head("tiny_flat")
    maps = _shapley(exposed_double.golden_model("tiny_flat"), activations, [[1, 2]] * 4, "logit")
    exposed_double.assert_maps_close(maps, cam.grad_cam(activations, gradients[:, 1:3]))


def test_shapley_cam_of_the_probability_uses_the_hessian_of_the_softmax():
    # On a GAP head s = W^T mean(A) + b. For p_c: dp/ds = p_c (e_c - p), and the second derivative of p_c along the
    # activations, in the direction d = W^T mean(A), is p_c ((e_c - p)(e_c - p)^T - diag(p) + p p^T) d.
    double = exposed_double.golden_model("tiny_gap")
    _, activations, _ = exposed_double.golden_head("tiny_gap")
    kernel, bias = (w.numpy().astype(np.float64) for w in double.keras_model.get_layer("logits").weights)
    mean = activations[0].astype(np.float64).mean(axis=(0, 1))
    direction = mean @ kernel
    p = np.exp(direction + bias) / np.exp(direction + bias).sum()
    unit = np.eye(10)[3]
    first = p[3] * (unit - p)
    second = p[3] * (np.outer(unit - p, unit - p) - np.diag(p) + np.outer(p, p)) @ direction
    weights = kernel @ (first - 0.5 * second) / 64
    expected = (activations[0] @ weights)[None, ..., None]
    maps = _shapley(double, activations[:1], [[3]], "probability")
    exposed_double.assert_maps_close(maps, expected, 1e-4)

"""Score-CAM, its relatives and Ablation-CAM against the golden arrays, plain loops and arithmetic."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import ablation, passes, perturbation, tensor_maps
from tests.support import exposed_double

MODELS = ("tiny_gap", "tiny_flat")


def _run(method, model, class_ids, images=slice(None), batch_size=32, **options):
    double = exposed_double.golden_model(model)

    @tf.function
    def run(inputs, class_ids):
        logits, (activations,) = double.expose(inputs)
        return method(passes.Pass(double, inputs, class_ids, activations, logits, batch_size), **options)

    return run(exposed_double.golden_inputs()[images], np.asarray(class_ids)[images]).numpy()


def _all_classes(model):
    return np.tile(np.arange(exposed_double.golden_head(model)[0].shape[1]), (4, 1))


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(
    ("variant", "key"),
    [("pytorch_grad_cam", "pytorch_grad_cam/ScoreCAM/raw"), ("tf_keras_vis", "tf_keras_vis/scorecam/raw_no_relu")],
)
def test_score_cam_golden(model, variant, key):
    maps = _run(perturbation.score_cam, model, _all_classes(model), variant=variant)
    exposed_double.assert_maps_close(maps, exposed_double.golden_arrays()[f"{model}/{key}"])


@pytest.mark.parametrize("model", MODELS)
def test_score_cam_golden_seed(model):
    indices = exposed_double.golden_arrays()[f"{model}/indices"]
    maps = _run(perturbation.score_cam, model, indices, slice(0, 2), variant="keras_explainable")
    expected = exposed_double.golden_arrays()[f"{model}/seed/raw/scorecam/idx"]
    exposed_double.assert_maps_close(tf.image.resize(maps, (64, 64), "bilinear"), expected)


def _loop(model, image, channels, mask_of, score_of):
    """Channel by channel, in NumPy: the score of every class for each channel."""
    double = exposed_double.golden_model(model)
    inputs = exposed_double.golden_inputs()[image]
    activations = exposed_double.golden_head(model)[1][image]
    scores = [score_of(double.logits((inputs * mask_of(activations[..., k]))[None]).numpy()[0]) for k in channels]
    return activations, np.array(scores)


def _rescaled(array):
    span = array.max() - array.min()
    return (array - array.min()) / span if span else np.zeros_like(array)


def _upsampled(array):
    return tf.image.resize(array[..., None], (64, 64), "bilinear").numpy()


@functools.cache
def _official_loop():
    def softmax(logits):
        return np.exp(logits - logits.max()) / np.exp(logits - logits.max()).sum()

    return _loop("tiny_flat", 1, range(16), lambda a: _rescaled(_upsampled(a)), lambda s: (s, softmax(s)))


def test_score_cam_official_equals_a_loop_without_the_dead_channel():
    activations, scores = _official_loop()
    alive = [k for k in range(16) if np.ptp(activations[..., k]) > 0]
    assert 5 not in alive
    expected = sum(scores[k, 1] * activations[..., k, None] for k in alive)
    maps = _run(perturbation.score_cam, "tiny_flat", _all_classes("tiny_flat"), slice(1, 2), variant="official")
    exposed_double.assert_maps_close(maps[0][None], expected[None])


def test_score_cam_paper_equals_a_loop_with_the_softmax_over_channels():
    activations, scores = _official_loop()
    increases = scores[:, 0] - exposed_double.golden_model("tiny_flat").logits(np.zeros((1, 64, 64, 3))).numpy()
    weights = np.exp(increases) / np.exp(increases).sum(axis=0)
    expected = np.einsum("hwk,kl->hwl", activations, weights)
    maps = _run(perturbation.score_cam, "tiny_flat", _all_classes("tiny_flat"), slice(1, 2), variant="paper")
    exposed_double.assert_maps_close(maps[0][None], expected[None])


def test_faster_score_cam_equals_a_loop_over_the_channels_that_vary_most():
    activations = exposed_double.golden_head("tiny_gap")[1][2]
    best = np.argsort(-activations.std(axis=(0, 1)), kind="stable")[:4]
    corner = tensor_maps.corner_aligned_matrix(64, 8).numpy()

    def mask(array):
        upsampled = corner @ array @ corner.T
        return ((upsampled - upsampled.min()) / (np.ptp(upsampled) + 1e-7))[..., None]

    _, scores = _loop("tiny_gap", 2, best, mask, lambda s: np.exp(s) / np.exp(s).sum())
    expected = np.einsum("hwk,kl->hwl", activations[..., best], scores)
    maps = _run(perturbation.faster_score_cam, "tiny_gap", _all_classes("tiny_gap"), slice(2, 3), channels=4)
    exposed_double.assert_maps_close(maps, expected[None])


def test_faster_score_cam_with_every_channel_is_score_cam():
    maps = _run(perturbation.faster_score_cam, "tiny_gap", [[0, 3]] * 4, channels=99)
    expected = _run(perturbation.score_cam, "tiny_gap", [[0, 3]] * 4, variant="tf_keras_vis")
    np.testing.assert_array_equal(maps, expected)


def test_is_cam_equals_a_loop_over_strengths():
    averages = 0
    for strength in (1 / 2, 1 / 2 + 2 / 2):
        activations, scores = _loop(
            "tiny_flat", 0, range(16), lambda a, c=strength: c * _upsampled(_rescaled(a)), lambda s: s
        )
        averages = averages + scores / 2
    weights = np.exp(averages) / np.exp(averages).sum(axis=0)
    expected = np.einsum("hwk,kl->hwl", activations, weights)
    class_ids = _all_classes("tiny_flat")
    maps = _run(perturbation.is_cam, "tiny_flat", class_ids, slice(0, 1), steps=2, schedule="cumulative")
    exposed_double.assert_maps_close(maps, expected[None])
    linear = _run(perturbation.is_cam, "tiny_flat", class_ids, slice(0, 1), steps=2, schedule="linear")
    assert np.abs(linear - maps).max() > 1e-3 * np.abs(maps).max()


def test_ss_cam_equals_a_loop_over_the_same_noise():
    averages = 0
    for repetition in range(2):
        noise = 0.3 * tf.random.stateless_normal((64, 64), (11, repetition), alg="philox").numpy()[..., None]
        activations, scores = _loop(
            "tiny_flat", 3, range(16), lambda a, e=noise: _upsampled(_rescaled(a)) + e, lambda s: s
        )
        averages = averages + scores / 2
    weights = np.exp(averages) / np.exp(averages).sum(axis=0)
    expected = np.einsum("hwk,kl->hwl", activations, weights)
    maps = _run(
        perturbation.ss_cam, "tiny_flat", _all_classes("tiny_flat"), slice(3, 4), repetitions=2, sigma=0.3, seed=11
    )
    exposed_double.assert_maps_close(maps, expected[None])


def test_one_step_is_cam_without_strength_is_the_averaged_reading():
    maps = _run(perturbation.is_cam, "tiny_gap", [[1, 2]] * 4, steps=1, schedule="linear")
    quiet = _run(perturbation.ss_cam, "tiny_gap", [[1, 2]] * 4, repetitions=1, sigma=0.0, seed=0)
    exposed_double.assert_maps_close(maps, quiet, 1e-6)


@pytest.mark.parametrize("variant", ["keras_explainable", "paper"])
def test_skipping_dead_channels_changes_nothing(variant):
    double = exposed_double.golden_model("tiny_flat")
    inputs = exposed_double.golden_inputs()
    activations = exposed_double.golden_head("tiny_flat")[1].copy()
    activations[1, :, :, 3] = 0.25  # A constant channel is dead too, though not zero.
    class_ids = np.array([[0, 4]] * 4)
    reading = perturbation.READINGS[variant]

    @tf.function
    def run(share_dead):
        given = passes.Pass(double, inputs, class_ids, tf.constant(activations), None, 16)
        return perturbation._score_weighted(given, reading, share_dead=share_dead)

    exposed_double.assert_maps_close(run(True), run(False), 1e-6)


def test_dead_channels_cost_no_passes():
    images = tf.Variable(0)

    class Counting(exposed_double.ExposedDouble):
        def logits(self, inputs):
            images.assign_add(tf.shape(inputs)[0])
            return super().logits(inputs)

    double = exposed_double.golden_model("tiny_flat")
    counting = Counting(double.keras_model, "last_act")
    activations = exposed_double.golden_head("tiny_flat")[1]
    alive = int((np.ptp(activations, axis=(1, 2)) > 0).sum())
    with_dead = int((np.ptp(activations, axis=(1, 2)) == 0).any(axis=1).sum())

    @tf.function
    def run():
        inputs = tf.constant(exposed_double.golden_inputs())
        given = passes.Pass(counting, inputs, np.array([[0]] * 4), tf.constant(activations), None, batch_size=1)
        return perturbation.score_cam(given, variant="paper")

    run()
    assert alive < 64 and images.numpy() == alive + with_dead


@pytest.mark.parametrize("model", MODELS)
def test_ablation_cam_golden(model):
    maps = _run(ablation.ablation_cam, model, _all_classes(model))
    expected = exposed_double.golden_arrays()[f"{model}/pytorch_grad_cam/AblationCAM/raw"]
    exposed_double.assert_maps_close(maps, expected, 5e-5)


def test_ablation_cam_stays_finite_at_a_logit_of_zero():
    double = exposed_double.golden_model("tiny_gap")
    logits, activations, _ = exposed_double.golden_head("tiny_gap")
    zeroed = logits.copy()
    zeroed[:, 2] = 0.0

    @tf.function
    def run():
        return ablation.ablation_cam(
            passes.Pass(
                double,
                tf.constant(exposed_double.golden_inputs()),
                np.array([[2]] * 4),
                tf.constant(activations),
                tf.constant(zeroed),
                batch_size=64,
            )
        )

    maps = run().numpy()
    assert np.isfinite(maps).all() and np.abs(maps).max() > 1e3

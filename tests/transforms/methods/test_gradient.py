"""Input gradients against the golden arrays, arithmetic and completeness."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import gradient, passes, tensor_maps
from tests.support import exposed_double

MODELS = ("tiny_gap", "tiny_flat")


def _run(method, model, class_ids, images=slice(0, 2), batch_size=8, downsample=None, **options):
    double = exposed_double.golden_model(model)

    @tf.function(autograph=False)
    def run(inputs, class_ids):
        given = passes.Pass(double, inputs, class_ids, None, None, batch_size)
        return method(given, downsample=downsample, **options)

    return run(exposed_double.golden_inputs()[images], np.asarray(class_ids)[images].astype(np.int32)).numpy()


@pytest.mark.parametrize("model", MODELS)
def test_gradients_golden(model):
    arrays = exposed_double.golden_arrays()
    maps = _run(gradient.gradients, model, arrays[f"{model}/indices"], reduce="mean_abs")
    exposed_double.assert_maps_close(maps, arrays[f"{model}/seed/raw/gradients/idx"])


@pytest.mark.parametrize("reduce", ["mean_abs", "max_abs", "sum"])
def test_gradients_and_gradient_x_input_reduce_the_signed_gradient(reduce):
    arrays = exposed_double.golden_arrays()
    signed = arrays["tiny_flat/tf_keras_vis/saliency/input_gradient_idx0"]
    inputs = exposed_double.golden_inputs()[:2]
    class_ids = arrays["tiny_flat/indices"][:, :1]
    rule = {
        "mean_abs": lambda v: np.abs(v).mean(-1),
        "max_abs": lambda v: np.abs(v).max(-1),
        "sum": lambda v: v.sum(-1),
    }[reduce]
    maps = _run(gradient.gradients, "tiny_flat", class_ids, reduce=reduce)
    exposed_double.assert_maps_close(maps[..., 0, None], rule(signed)[..., None])
    maps = _run(gradient.gradient_x_input, "tiny_flat", class_ids, reduce=reduce)
    exposed_double.assert_maps_close(maps[..., 0, None], rule(signed * inputs)[..., None])


def test_unknown_reduce():
    with pytest.raises(ValueError, match="known: mean_abs, max_abs, sum"):
        gradient.reduce_channels(tf.zeros((1, 1, 1, 3)), "mean")


def test_downsampled_maps_are_cell_means():
    class_ids = np.array([[0, 3]] * 4)
    full = _run(gradient.gradients, "tiny_flat", class_ids, reduce="mean_abs")
    small = _run(gradient.gradients, "tiny_flat", class_ids, reduce="mean_abs", downsample=(8, 4))
    exposed_double.assert_maps_close(small, full.reshape(2, 8, 8, 4, 16, 2).mean(axis=(2, 4)), 1e-5)


def test_smooth_grad_averages_signed_gradients():
    double = exposed_double.golden_model("tiny_flat")
    image = exposed_double.golden_inputs()[1:2]
    total = 0
    for repetition in range(3):
        noisy = tf.constant(image + tensor_maps.noise_like(image, 0.2, 4, repetition))
        with tf.GradientTape() as tape:
            tape.watch(noisy)
            logit = double.logits(noisy)[:, 2]
        total = total + tape.gradient(logit, noisy).numpy()
    expected = np.abs(total / 3).mean(-1)[..., None]
    maps = _run(
        gradient.smooth_grad,
        "tiny_flat",
        [[2]] * 4,
        slice(1, 2),
        repetitions=3,
        sigma=0.2,
        seed=4,
        reduce="mean_abs",
    )
    exposed_double.assert_maps_close(maps, expected, 1e-4)


def test_smooth_grad_without_noise_is_the_gradient():
    plain = _run(gradient.gradients, "tiny_gap", [[1]] * 4, reduce="sum")
    smooth = _run(gradient.smooth_grad, "tiny_gap", [[1]] * 4, repetitions=2, sigma=0.0, seed=0, reduce="sum")
    exposed_double.assert_maps_close(smooth, plain)


@pytest.mark.parametrize("baseline", [0.0, -1.0])
def test_integrated_gradients_are_complete(baseline):
    double = exposed_double.golden_model("tiny_flat")
    inputs = exposed_double.golden_inputs()[:2]
    class_ids = np.array([[0, 3]] * 4)
    maps = _run(gradient.integrated_gradients, "tiny_flat", class_ids, steps=300, baseline=baseline, reduce="sum")
    ends = double.logits(inputs).numpy() - double.logits(np.full_like(inputs, baseline)).numpy()
    expected = np.take_along_axis(ends, class_ids[:2], axis=1)
    np.testing.assert_allclose(maps.sum(axis=(1, 2)), expected, atol=0.01 * np.abs(expected).max())


def test_one_step_of_integrated_gradients_is_the_midpoint():
    double = exposed_double.golden_model("tiny_flat")
    image = exposed_double.golden_inputs()[:1]
    middle = tf.constant(image / 2)
    with tf.GradientTape() as tape:
        tape.watch(middle)
        logit = double.logits(middle)[:, 1]
    expected = (image * tape.gradient(logit, middle).numpy()).sum(-1)[..., None]
    maps = _run(gradient.integrated_gradients, "tiny_flat", [[1]] * 4, slice(0, 1), steps=1, baseline=0.0, reduce="sum")
    exposed_double.assert_maps_close(maps, expected)

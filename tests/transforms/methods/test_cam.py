"""One-pass CAMs against arithmetic, identities and the golden arrays."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import cam
from tests.support import exposed_double

MODELS = ("tiny_gap", "tiny_flat")

# Two channels on a 1 x 2 grid, one class: small enough to work out by hand.
A = np.array([[[[1.0, 2.0], [3.0, 0.0]]]], np.float32)
G = np.array([[[[[1.0, -1.0], [2.0, 4.0]]]]], np.float32)

GOLDEN = [
    (cam.grad_cam, "seed/raw/gradcam/all", 1e-5),
    (cam.grad_cam, "pytorch_grad_cam/GradCAM/raw", 1e-5),
    (cam.grad_cam, "tf_keras_vis/gradcam/raw_no_relu", 1e-5),
    (cam.hires_cam, "pytorch_grad_cam/HiResCAM/raw", 1e-5),
    (cam.element_wise_grad_cam, "pytorch_grad_cam/GradCAMElementWise/raw", 1e-5),
    (cam.layer_cam, "pytorch_grad_cam/LayerCAM/raw", 1e-5),
    (cam.layer_cam, "tf_keras_vis/layercam/raw_no_final_relu", 1e-5),
    (cam.x_grad_cam, "pytorch_grad_cam/XGradCAM/raw", 1e-5),
]


def test_grad_cam_by_hand():
    # Mean gradients: (1 + 2) / 2 and (-1 + 4) / 2.
    expected = [1.5 * 1 + 1.5 * 2, 1.5 * 3 + 1.5 * 0]
    np.testing.assert_allclose(cam.grad_cam(A, G)[0, 0, :, 0], expected)


def test_cam_by_hand():
    np.testing.assert_allclose(cam.cam(A, G)[0, 0, :, 0], [3 * 1 + 3 * 2, 3 * 3 + 3 * 0])


def test_grad_cam_plus_plus_by_hand():
    # Channel sums are 4 and 2. alpha = g^2 / (2 g^2 + S g^3), weight = sum of alpha * ReLU(g).
    first = 1 / (2 * 1 + 4 * 1) * 1 + 4 / (2 * 4 + 4 * 8) * 2
    second = 0 + 16 / (2 * 16 + 2 * 64) * 4
    expected = [first * 1 + second * 2, first * 3 + second * 0]
    np.testing.assert_allclose(cam.grad_cam_plus_plus(A, G)[0, 0, :, 0], expected, rtol=1e-6)


def test_grad_cam_plus_plus_survives_gradients_whose_cube_underflows():
    # With g = 1e-20, g^3 is 0 in float32; alpha tends to 1/2 and the weight to g / 2.
    maps = cam.grad_cam_plus_plus(np.ones((1, 1, 1, 1), np.float32), np.full((1, 1, 1, 1, 1), 1e-20, np.float32))
    np.testing.assert_allclose(maps[0, 0, 0, 0], 0.5e-20, rtol=1e-6)


def test_hires_cam_by_hand():
    np.testing.assert_allclose(cam.hires_cam(A, G)[0, 0, :, 0], [1 * 1 - 1 * 2, 2 * 3 + 4 * 0])


def test_element_wise_and_layer_cam_by_hand_differ_where_activations_are_negative():
    activations = A * np.array([1, -1], np.float32)
    # Products: (1 * 1, -1 * -2) and (2 * 3, 4 * 0); rectified gradients times activations: (1 * 1, 0 * -2) and (6, 0).
    np.testing.assert_allclose(cam.element_wise_grad_cam(activations, G)[0, 0, :, 0], [1 + 2, 6])
    np.testing.assert_allclose(cam.layer_cam(activations, G)[0, 0, :, 0], [1, 6])


def test_x_grad_cam_by_hand_and_with_a_channel_that_sums_to_zero():
    # Weights: (1 * 1 + 2 * 3) / (1 + 3) and (-1 * 2 + 4 * 0) / (2 + 0).
    np.testing.assert_allclose(cam.x_grad_cam(A, G)[0, 0, :, 0], [7 / 4 * 1 - 1 * 2, 7 / 4 * 3])
    balanced = np.array([[[[1.0, 2.0], [3.0, -2.0]]]], np.float32)
    np.testing.assert_allclose(cam.x_grad_cam(balanced, G)[0, 0, :, 0], [7 / 4 * 1, 7 / 4 * 3])


def test_fem_by_hand():
    # Channel 0: mean 1, std sqrt(3) -> above 1 + sqrt(3) at 1 of 4 positions. Channel 1 is constant: never above.
    activations = np.array([0, 0, 0, 4], np.float32).reshape(1, 2, 2, 1)
    activations = np.concatenate([activations, np.full((1, 2, 2, 1), 5, np.float32)], axis=-1)
    maps = cam.fem(activations, np.zeros((1, 3, 2, 2, 2), np.float32), k=1.0)
    np.testing.assert_allclose(maps[0, :, :, 2], [[0, 0], [0, 0.25 * 4]])
    np.testing.assert_array_equal(maps[..., 0], maps[..., 2])


def test_random_cam_uses_one_draw_for_all_images_and_classes():
    one_hot = np.zeros((3, 1, 4, 4), np.float32)
    one_hot[:, 0, range(4), range(4)] = 1
    gradients = np.zeros((3, 2, 1, 4, 4), np.float32)
    weights = cam.random_cam(one_hot, gradients, seed=7).numpy()
    assert (np.abs(weights) <= 1).all() and len(np.unique(weights)) == 4
    np.testing.assert_array_equal(weights, np.broadcast_to(weights[:1, :, :, :1], weights.shape))
    assert not np.array_equal(weights, cam.random_cam(one_hot, gradients, seed=8))


def test_layer_cam_fused_by_hand():
    # The only layer: LayerCAM is (1, 6), largest 6. tanh(2 * 1 / 6) and tanh(2).
    one = cam.layer_cam_fused((A,), (G,), gamma=2.0)
    np.testing.assert_allclose(one[0, 0, :, 0], [np.tanh(2 * 1 / 6), np.tanh(2)], rtol=1e-6)
    # A second, coarser layer of one position with a positive map is tanh(2) everywhere; with a negative one it is 0.
    coarse = np.full((1, 1, 1, 1), 0.5, np.float32)
    for gradient, expected in ((3.0, [np.tanh(2)] * 2), (-3.0, [np.tanh(2 * 1 / 6), np.tanh(2)])):
        second = np.full((1, 1, 1, 1, 1), gradient, np.float32)
        np.testing.assert_allclose(
            cam.layer_cam_fused((A, coarse), (G, second), gamma=2.0)[0, 0, :, 0], expected, rtol=1e-6
        )


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("method", "key", "limit"), GOLDEN, ids=[f"{m.__name__}-{k}" for m, k, _ in GOLDEN])
def test_golden(model, method, key, limit):
    _, activations, gradients = exposed_double.golden_head(model)
    expected = exposed_double.golden_arrays()[f"{model}/{key}"]
    exposed_double.assert_maps_close(method(activations, gradients), expected, limit)


def test_golden_cam():
    _, activations, gradients = exposed_double.golden_head("tiny_gap")
    expected = exposed_double.golden_arrays()["tiny_gap/seed/raw/cam/all"]
    exposed_double.assert_maps_close(cam.cam(activations, gradients), expected)


@pytest.mark.parametrize("model", MODELS)
def test_golden_grad_cam_plus_plus_times_exp_of_the_logit(model):
    logits, activations, gradients = exposed_double.golden_head(model)
    expected = exposed_double.golden_arrays()[f"{model}/seed/raw/gradcampp/all"]
    maps = cam.grad_cam_plus_plus(activations, gradients) * np.exp(logits)[:, None, None, :]
    exposed_double.assert_maps_close(maps, expected)


def test_identities_on_a_gap_and_dense_head():
    logits, activations, gradients = exposed_double.golden_head("tiny_gap")
    bias = exposed_double.golden_model("tiny_gap").keras_model.get_layer("logits").bias.numpy()
    reference = cam.cam(activations, gradients)
    positions = activations.shape[1] * activations.shape[2]
    for method in (cam.grad_cam, cam.hires_cam, cam.x_grad_cam):
        exposed_double.assert_maps_close(method(activations, gradients) * positions, reference)
    total = tf.reduce_sum(cam.hires_cam(activations, gradients), axis=(1, 2))
    np.testing.assert_allclose(total, logits - bias, atol=1e-5)


def test_non_positive_map_of_the_golden_set_is_non_positive():
    _, activations, gradients = exposed_double.golden_head("tiny_flat")
    maps = cam.grad_cam(activations, gradients).numpy()
    assert maps[0, :, :, 0].max() <= 0 and maps[3, :, :, 3].max() <= 0


@pytest.mark.parametrize(("model", "expected"), [("tiny_gap", True), ("tiny_flat", False)])
def test_has_linear_gap_head(model, expected):
    _, _, gradients = exposed_double.golden_head(model)
    assert bool(cam.has_linear_gap_head(gradients[:2], gradients[2:], 1e-4)) is expected


def test_has_linear_gap_head_needs_a_gradient_and_the_same_one_for_every_input():
    zeros = np.zeros((2, 1, 2, 2, 3), np.float32)
    assert not cam.has_linear_gap_head(zeros, zeros, 1e-4)
    assert not cam.has_linear_gap_head(zeros + 1, zeros + 2, 1e-4)
    assert not cam.has_linear_gap_head(zeros + np.nan, zeros, 1e-4)

"""Eigen-CAM and EigenGradCAM against NumPy's singular value decomposition and the golden arrays."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.methods import cam, eigen
from tests.support import exposed_double


def _first_component(block):
    """sigma u of the centred (positions, channels) matrix, in float64, of arbitrary sign."""
    matrix = block.reshape(-1, block.shape[-1]).astype(np.float64)
    left, values, _ = np.linalg.svd(matrix - matrix.mean(axis=0), full_matrices=False)
    return (left[:, 0] * values[0]).reshape(block.shape[:-1]), values


def _same_up_to_sign(found, expected, limit=1e-5):
    error = min(np.abs(found - expected).max(), np.abs(found + expected).max())
    assert error <= limit * np.abs(expected).max(), error / np.abs(expected).max()


@pytest.mark.parametrize("model", ["tiny_gap", "tiny_flat"])
def test_eigen_cam_golden_up_to_sign(model):
    _, activations, gradients = exposed_double.golden_head(model)
    expected = exposed_double.golden_arrays()[f"{model}/pytorch_grad_cam/EigenCAM/raw"]
    maps = eigen.eigen_cam(activations, gradients).numpy()
    for image in range(len(maps)):
        _same_up_to_sign(maps[image, :, :, 0], expected[image, :, :, 0], 2e-5)
        _same_up_to_sign(maps[image, :, :, 0], _first_component(activations[image])[0])
    np.testing.assert_array_equal(maps, np.broadcast_to(maps[..., :1], maps.shape))


@pytest.mark.parametrize("model", ["tiny_gap", "tiny_flat"])
def test_eigen_grad_cam_is_the_first_component_of_each_class(model):
    _, activations, gradients = exposed_double.golden_head(model)
    maps = eigen.eigen_grad_cam(activations, gradients).numpy()
    for image, column in ((0, 0), (1, 3), (3, 4)):
        expected, _ = _first_component(gradients[image, column] * activations[image])
        _same_up_to_sign(maps[image, :, :, column], expected)


def test_by_hand():
    # One channel, values 1 and 5: centred -2 and 2; the covariance with the plain map is positive as it stands.
    values = np.array([1, 5], np.float32).reshape(1, 1, 1, 2, 1)
    np.testing.assert_allclose(eigen.first_component(values)[0, 0, :, 0], [-2, 2], rtol=1e-6)


@pytest.mark.parametrize("factor", [1.0, -1.0], ids=["as-is", "negated"])
def test_sign_follows_the_plain_map(factor):
    values = factor * np.random.default_rng(0).normal(size=(1, 3, 4, 5, 6)).astype(np.float32)
    maps = eigen.first_component(values).numpy()
    plain = values.sum(axis=-1)
    for column in range(3):
        assert np.cov(maps[0, :, :, column].ravel(), plain[0, column].ravel())[0, 1] > 0


def test_close_singular_values_are_told_apart():
    rng = np.random.default_rng(1)
    left = np.linalg.qr(rng.normal(size=(49, 48)) - 0)[0]
    left -= left.mean(axis=0)
    left = np.linalg.qr(left)[0]
    right = np.linalg.qr(rng.normal(size=(64, 48)))[0]
    values = np.r_[1.01, np.linspace(1.0, 0.1, 47)]
    block = ((left * values) @ right.T).reshape(7, 7, 64).astype(np.float32)
    found = eigen.first_component(block[None, None]).numpy()[0, :, :, 0]
    _same_up_to_sign(found, _first_component(block)[0], 1e-4)


def test_a_block_without_spatial_variation_gives_zeros():
    values = np.ones((1, 1, 3, 3, 1), np.float32) * np.arange(4, dtype=np.float32)
    np.testing.assert_array_equal(eigen.first_component(values), np.zeros((1, 3, 3, 1)))


def test_wide_and_tall_blocks():
    # More positions than channels, and more channels than positions.
    for shape in ((6, 6, 3), (2, 2, 50)):
        block = np.random.default_rng(2).normal(size=shape).astype(np.float32)
        found = eigen.first_component(block[None, None]).numpy()[0, :, :, 0]
        _same_up_to_sign(found, _first_component(block)[0])


def test_eigen_cam_ignores_the_classes():
    activations = np.random.default_rng(3).random((2, 4, 4, 5)).astype(np.float32)
    gradients = np.random.default_rng(4).random((2, 3, 4, 4, 5)).astype(np.float32)
    np.testing.assert_array_equal(
        eigen.eigen_cam(activations, gradients), eigen.eigen_cam(activations, np.zeros_like(gradients))
    )
    assert cam.hires_cam(activations, gradients).shape == eigen.eigen_cam(activations, gradients).shape

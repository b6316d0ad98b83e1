"""Interpolation matrices, rescaling, averaging and the chunked loop."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from heatbeam.transforms.methods import tensor_maps


def test_min_max_by_hand():
    maps = np.array([[[1.0, 3.0], [2.0, 1.0]], [[4.0, 4.0], [4.0, 4.0]]], np.float32)
    np.testing.assert_allclose(tensor_maps.min_max(maps, 0.0, 2), [[[0, 1], [0.5, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(tensor_maps.min_max(maps, 2.0, 2)[0], [[0, 0.5], [0.25, 0]])


@pytest.mark.parametrize("size", [(7, 9), (3, 2), (11, 4)])
def test_resize_bilinear_is_tf_image_resize(size):
    maps = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    expected = tf.image.resize(maps[..., None], size, "bilinear")[..., 0]
    np.testing.assert_allclose(tensor_maps.resize_bilinear(maps, size), expected, atol=1e-6)


def test_corner_aligned_is_scipy_zoom():
    array = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    rows, columns = tensor_maps.corner_aligned_matrix(20, 5), tensor_maps.corner_aligned_matrix(12, 4)
    expected = scipy.ndimage.zoom(array, (4, 3), order=1)
    np.testing.assert_allclose(tensor_maps.resize(array, [rows, columns]), expected, atol=1e-6)


def test_corner_aligned_matrix_of_one_sample():
    np.testing.assert_array_equal(tensor_maps.corner_aligned_matrix(3, 1), [[1], [1], [1]])
    np.testing.assert_array_equal(tensor_maps.corner_aligned_matrix(1, 3), [[1, 0, 0]])


def test_downsample_by_hand():
    maps = np.arange(6, dtype=np.float32).reshape(1, 1, 6)
    # Cells of 1.5 samples: (0 + 1 / 2) / 1.5, (1 / 2 + 2) / 1.5, (3 + 4 / 2) / 1.5, (4 / 2 + 5) / 1.5.
    expected = [0.5 / 1.5, 2.5 / 1.5, 5 / 1.5, 7 / 1.5]
    np.testing.assert_allclose(tensor_maps.downsample(maps, (1, 4))[0, 0], expected, rtol=1e-6)
    np.testing.assert_allclose(tensor_maps.downsample(maps, (1, 3))[0, 0], [0.5, 2.5, 4.5], rtol=1e-6)
    assert tensor_maps.downsample(maps, None) is maps


def test_downsample_refuses_to_enlarge():
    with pytest.raises(ValueError, match="give a smaller size"):
        tensor_maps.downsample(tf.zeros((1, 4, 4)), (8, 4))


@pytest.mark.parametrize("chunk", [1, 2, 3, 5, 8])
def test_in_chunks_gives_every_row_once(chunk):
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    largest = tf.Variable(0)
    traces = []

    @tf.function(autograph=False)
    def run(total):
        def rows(numbers):
            traces.append(1)
            largest.assign(tf.maximum(largest, tf.size(numbers)))
            return tf.gather(table, numbers) * 2

        return tensor_maps.in_chunks(rows, total, chunk, (2,))

    np.testing.assert_array_equal(run(tf.constant(5)), table * 2)
    np.testing.assert_array_equal(run(tf.constant(4)), table[:4] * 2)
    assert largest.numpy() == min(chunk, 5) and len(traces) == 1


def test_mean_of_passes_by_hand():
    @tf.function(autograph=False)
    def run():
        return tensor_maps.mean_of_passes(lambda r: tf.cast(r, tf.float32) * tf.constant([[1.0, 2.0]]), 4, rank=2)

    # (0 + 1 + 2 + 3) / 4 = 1.5.
    np.testing.assert_allclose(run(), [[1.5, 3.0]])


def test_noise_is_relative_to_each_image_and_the_same_for_all():
    inputs = np.zeros((2, 8, 8, 3), np.float32)
    inputs[0, 0, 0, 0], inputs[1, 0, 0, 0] = 2.0, -6.0
    noise = tensor_maps.noise_like(inputs, 0.1, 3, 5).numpy()
    np.testing.assert_allclose(noise[1], 3 * noise[0], rtol=1e-5)
    draw = tf.random.stateless_normal((8, 8, 3), (3, 5), alg="philox")
    np.testing.assert_allclose(noise[0], 0.2 * draw, rtol=1e-6)


def test_maps_of_several_layers_are_fused_on_the_finest_grid():
    fine = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1) - 8
    coarse = np.float32([[4, 8], [-4, 0]]).reshape(1, 2, 2, 1)
    # Half-pixel centres: a quarter and three quarters between the two cells of the coarse map.
    line = np.float32([[1, 0], [0.75, 0.25], [0.25, 0.75], [0, 1]])
    wide = (line @ coarse[0, :, :, 0] @ line.T / 4)[None, :, :, None]
    for fusion, expected in (("mean", (fine + wide) / 2), ("max", np.maximum(fine, wide))):
        found = tensor_maps.fused([tf.constant(coarse), tf.constant(fine)], fusion).numpy()
        np.testing.assert_allclose(found, expected, atol=1e-6)
    # The sum of a map is kept.
    np.testing.assert_allclose(wide.sum(), coarse.sum(), atol=1e-5)

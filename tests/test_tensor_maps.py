"""Interpolation matrices, rescaling, averaging and the chunked loop."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.ndimage
import tensorflow as tf

from transforms.methods import tensor_maps


def test_min_max_by_hand():
    maps = np.array([[[1.0, 3.0], [2.0, 1.0]], [[4.0, 4.0], [4.0, 4.0]]], np.float32)
    np.testing.assert_allclose(tensor_maps.min_max(maps, 0.0), [[[0, 1], [0.5, 0]], [[0, 0], [0, 0]]])
    np.testing.assert_allclose(tensor_maps.min_max(maps, 2.0)[0], [[0, 0.5], [0.25, 0]])


@pytest.mark.parametrize("size", [(7, 9), (3, 2), (11, 4)])
def test_resize_bilinear_is_tf_image_resize(size):
    maps = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    expected = tf.image.resize(maps[..., None], size, "bilinear")[..., 0]
    np.testing.assert_allclose(tensor_maps.resize_bilinear(maps, size), expected, atol=1e-6)


def test_corner_aligned_is_scipy_zoom():
    array = np.random.default_rng(1).normal(size=(5, 4)).astype(np.float32)
    rows, columns = tensor_maps.corner_aligned_matrix(20, 5), tensor_maps.corner_aligned_matrix(12, 4)
    expected = scipy.ndimage.zoom(array, (4, 3), order=1)
    np.testing.assert_allclose(tensor_maps.resize(array, rows, columns), expected, atol=1e-6)


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
@pytest.mark.parametrize("static", [True, False])
def test_in_chunks_gives_every_row_once(chunk, static):
    table = np.arange(10, dtype=np.float32).reshape(5, 2)
    largest = []

    @tf.function
    def run(total):
        def rows(numbers):
            largest.append(numbers.shape[0])
            return tf.gather(table, numbers) * 2

        return tensor_maps.in_chunks(rows, 5 if static else total, chunk)

    np.testing.assert_array_equal(run(tf.constant(5)), table * 2)
    assert max(largest) == (min(chunk, 5) if static else chunk)

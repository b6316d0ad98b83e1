"""RISE against a plain loop over its masks."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.methods import passes, rise
from tests.support import exposed_double


def _run(images, class_ids, batch_size=8, downsample=None, **options):
    double = exposed_double.golden_model("tiny_flat")

    @tf.function(autograph=False)
    def run(inputs, class_ids):
        given = passes.Pass(double, inputs, class_ids, None, None, batch_size)
        return rise.rise(given, downsample=downsample, **options)

    return run(exposed_double.golden_inputs()[images], np.asarray(class_ids, np.int32)).numpy()


def test_masks_by_hand():
    # A grid of two cells over 4 pixels: cells of 2 pixels, enlarged to 6, of which 4 from the offset on are kept.
    # Positions (y + 1/2) / 3 - 1/2 of the 6 pixels are -1/3, 0, 1/3, 2/3, 1, 4/3, clamped to [0, 1].
    line = np.array([0, 0, 1 / 3, 2 / 3, 1, 1])
    grid = np.array([[[0.0, 1.0], [0.0, 1.0]]], np.float32)
    for offset, start in ((0.0, 0), (0.5, 1), (0.99, 1)):
        found = rise.random_masks(grid, np.array([[0.0, offset]], np.float32), (4, 4))
        np.testing.assert_allclose(found[0], np.tile(line[start : start + 4], (4, 1)), atol=1e-6)


@pytest.mark.parametrize("batch_size", [4, 7, 64])
def test_equals_a_loop(batch_size):
    options = {"masks": 10, "cells": 3, "keep": 0.4, "seed": 2}
    maps = _run(slice(0, 2), [[0, 3], [1, 2]], batch_size=batch_size, **options)
    grids = tf.cast(tf.random.stateless_uniform((10, 3, 3), (2, 0), alg="philox") < 0.4, tf.float32)
    masks = rise.random_masks(grids, tf.random.stateless_uniform((10, 2), (2, 1), alg="philox"), (64, 64)).numpy()
    double = exposed_double.golden_model("tiny_flat")
    for image, classes in ((0, [0, 3]), (1, [1, 2])):
        shown = exposed_double.golden_inputs()[image] * masks[..., None]
        probabilities = tf.nn.softmax(double.logits(shown)).numpy()[:, classes]
        expected = np.einsum("nl,nhw->hwl", probabilities, masks) / (10 * 0.4)
        exposed_double.assert_maps_close(maps[image : image + 1], expected[None])


def test_downsampled_maps_are_cell_means():
    options = {"masks": 5, "cells": 4, "keep": 0.5, "seed": 0}
    full = _run(slice(0, 1), [[2]], **options)
    small = _run(slice(0, 1), [[2]], downsample=(8, 8), **options)
    exposed_double.assert_maps_close(small, full.reshape(1, 8, 8, 8, 8, 1).mean(axis=(2, 4)))


def test_share_of_cells_kept():
    grids = tf.random.stateless_uniform((2000, 7, 7), (0, 0), alg="philox") < 0.25
    assert abs(np.mean(grids) - 0.25) < 0.01

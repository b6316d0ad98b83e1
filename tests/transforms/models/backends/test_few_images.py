"""Engines that are given few images at a time: the same rows, in order."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms.models.backends import few_images


class Noting:
    """A session that gives what `answer` makes of its arrays, and notes their rows."""

    def __init__(self, answer) -> None:
        self._answer, self.rows = answer, []

    def run(self, arrays):
        self.rows.append([len(array) for array in arrays])
        return self._answer(*arrays)


@pytest.mark.parametrize(("count", "runs"), [(1, [1]), (2, [2]), (5, [2, 2, 1]), (8, [2, 2, 2, 2])])
def test_rows_are_those_of_all_images_at_once(count, runs):
    images, others = np.arange(3.0 * count).reshape(count, 3), np.arange(float(count))
    session = Noting(lambda x, y: [x + y[:, None], 2 * y])
    first, second = few_images.FewImages(session, 2).run([images, others])
    np.testing.assert_array_equal(first, images + others[:, None])
    np.testing.assert_array_equal(second, 2 * others)
    assert session.rows == [[rows, rows] for rows in runs]


@pytest.mark.parametrize("answer", [lambda x: [np.repeat(x, 4, 0)], lambda x: [x, x.T]])
def test_rows_that_are_no_images_are_asked_for_at_once(answer):
    images = np.arange(15.0).reshape(5, 3)
    session = Noting(answer)
    for found, expected in zip(few_images.FewImages(session, 2).run([images]), answer(images), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert session.rows == [[2], [5]]


def test_small_parts_on_one_core_whose_tensors_have_images_first():
    with tf.Graph().as_default():
        images, maps = (tf.compat.v1.placeholder(tf.float32, (None, *shape)) for shape in [(8, 8, 3), (4, 4, 2)])
        fixed, number, unknown = (tf.compat.v1.placeholder(tf.float32, shape) for shape in [(4, 2), (), None])
    assert few_images.pays_off(128 * 2**20, 1, [images], [maps])
    assert not few_images.pays_off(128 * 2**20 + 1, 1, [images], [maps])
    assert not few_images.pays_off(2**20, None, [images], [maps]) and not few_images.pays_off(
        2**20, 2, [images], [maps]
    )
    for odd in (fixed, number, unknown):
        assert not few_images.pays_off(2**20, 1, [images], [maps, odd])
        assert not few_images.pays_off(2**20, 1, [images, odd], [maps])

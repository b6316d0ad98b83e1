"""Outlines of masks, against masks drawn by hand."""

from __future__ import annotations

import re

import numpy as np
import pytest

from heatbeam.pages import outlines


def drawn(mask):
    return np.array([[cell == "#" for cell in row] for row in mask])


RING = drawn(["#####", "#...#", "#.#.#", "#...#", "#####"])


def test_a_path_goes_around_every_part_and_every_hole():
    length = 0.0
    for x, y, way, end in re.findall(r"M([\d.]+) ([\d.]+)([HV])([\d.]+)", outlines.path(RING, (50, 10))):
        length += (float(end) - float(x)) / 10 if way == "H" else (float(end) - float(y)) / 2
    assert length == 4 * 5 + 4 * 3 + 4 * 1  # sides of the ring, of its hole and of the dot, in cells
    assert outlines.path(np.zeros((3, 3), bool), (9, 9)) == ""


def test_a_whole_mask_is_a_frame():
    assert outlines.path(np.ones((2, 3), bool), (30, 20)) == "M0 0H30M0 20H30M0 0V20M30 0V20"


def test_pixels_are_the_rim_inside():
    rim = outlines.pixels(np.ones((1, 1), bool), (4, 5))
    np.testing.assert_array_equal(rim, drawn(["#####", "#...#", "#...#", "#####"]))
    np.testing.assert_array_equal(outlines.pixels(RING, (5, 5)), RING)
    wide = outlines.pixels(np.ones((5, 5), bool), (5, 5), 2)
    assert np.argwhere(~wide).tolist() == [[2, 2]]


def test_a_fine_mask_keeps_its_smallest_part():
    mask = np.zeros((1000, 7), bool)
    mask[501, 3] = True
    thin = outlines.thinned(mask, 10)
    assert thin.shape == (10, 7) and np.argwhere(thin).tolist() == [[5, 3]]


@pytest.mark.parametrize(("line", "runs"), [("##.#", [(0, 2), (3, 4)]), ("....", []), ("####", [(0, 4)])])
def test_runs_of_a_series(line, runs):
    assert outlines.runs(drawn([line])[0]) == runs

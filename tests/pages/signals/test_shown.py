"""Signals to draw: kinds, the peak, places in units, and what goes into a picture."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.pages.signals import shown
from heatbeam.transforms import records

SECONDS = records.Axis("time", "s", 0.25)
PLAIN = records.Axis("", "")


def signal(heat, shape=None, axes=None, **more):
    heat = np.asarray(heat, np.float32)
    shape = shape or heat.shape
    return shown.Signal(shape, axes or (PLAIN,) * len(shape), heat, **more)


def test_kinds_follow_the_axes():
    three = np.zeros((2, 2, 2))
    assert [signal(np.zeros((3,) * n)).kind for n in (1, 2, 3)] == ["series", "bands", "volume"]
    assert signal(three, axes=(SECONDS, PLAIN, PLAIN)).kind == "clip"


def test_parts_of_different_ranks_are_refused():
    with pytest.raises(ValueError, match="1 axes"):
        shown.Signal((4, 4), (PLAIN,), np.zeros((4, 4)))
    with pytest.raises(ValueError, match=r"\(5, 1\); expected \(4,\)"):
        signal(np.zeros(4), values=np.zeros((5, 1)))


def test_the_peak_is_a_sample_of_the_original():
    heat = np.zeros((2, 4))
    heat[1, 2] = 1
    assert signal(heat, (20, 40)).peak == (15, 25)  # the middles of rows 10 to 20 and columns 20 to 30
    assert signal(heat, (2, 4)).peak == (1, 2)
    assert signal(np.zeros((2, 4)), (20, 40)).peak == (10, 20)  # a map without evidence


def test_a_sample_has_the_cell_that_lies_over_it():
    one = signal(np.zeros(4), (10,))
    assert [one.cell(0, k) for k in range(10)] == [0, 0, 1, 1, 1, 2, 2, 3, 3, 3]  # of 2.5 samples each


def test_places_are_told_in_the_unit_and_in_samples():
    assert signal(np.zeros(8), axes=(SECONDS,)).where(0, 6).replace("\u00a0", " ") == "time 1.5 s (6 of 8)"
    assert signal(np.zeros((3, 4, 5))).where(0, 2).replace("\u00a0", " ") == "z 2 of 3"


def test_ticks_are_round_and_inside():
    assert shown.ticks(10, SECONDS, 6) == [(0, "0"), (0.2, "0.5"), (0.4, "1"), (0.6, "1.5"), (0.8, "2"), (1, "2.5")]
    assert [text for _, text in shown.ticks(1000, PLAIN, 6)] == ["0", "200", "400", "600", "800", "1000"]
    assert shown.ticks(10, records.Axis("t", "s", 0.0), 6) == [(0, "0")]


def test_frames_are_spread_evenly_around_the_one_that_must_be_there():
    assert shown.spread(4, 16, 7) == (2, 7, 10, 14)  # 6 is the nearest of 2, 6, 10, 14
    assert shown.spread(4, 3, 1) == (0, 1, 2)


def test_intervals_of_boxes_by_axis_of_the_array():
    one = signal(np.zeros((2, 2, 2)))
    box = (1.0, 2.0, 3.0, 10.0, 20.0, 30.0)  # x y z, then x y z
    assert [one.interval(box, axis) for axis in range(3)] == [(3, 30), (2, 20), (1, 10)]
    assert signal(np.zeros(4)).interval((1.0, 3.0), 0) == (1, 3)

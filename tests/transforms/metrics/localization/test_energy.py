"""Energy-based pointing game, by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heatbeam.transforms.metrics.localization import energy


def test_energy_share_by_hand() -> None:
    evidence = np.array([[1.0, 2.0, 0.0], [0.0, 4.0, 1.0]])
    inside = np.zeros((2, 3), dtype=bool)
    inside[1, :2] = True  # rows are y: the transposed mask would hold 2
    assert energy.energy_share(evidence, inside) == 4 / 8
    assert energy.energy_share(np.ones((2, 3)), inside) == 2 / 6
    assert math.isnan(energy.energy_share(np.zeros((2, 3)), inside))


def test_only_what_is_above_0_has_energy() -> None:
    placed = np.array([[-5.0, 1.0, np.nan], [np.nan, 3.0, -2.0]], np.float32)
    inside = np.array([[True, False, False], [True, True, True]])
    assert energy.energy_share(placed, inside) == 3 / 4
    assert math.isnan(energy.energy_share(-np.abs(placed), inside))


@pytest.mark.parametrize(("share", "area", "gain"), [(0.25, 0.25, 0), (1, 0.25, 1), (0, 0.5, -1), (0.7, 0.4, 0.5)])
def test_energy_gain(share: float, area: float, gain: float) -> None:
    assert energy.energy_gain(share, area) == pytest.approx(gain)


def test_there_is_no_room_above_an_object_that_fills_the_image() -> None:
    assert math.isnan(energy.energy_gain(1.0, 1.0))

"""Regions of evidence, where their controls are, and what pictures look like after them."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.audit.proving import regions


def heat_of(*cells: tuple[int, int], side: int = 56) -> np.ndarray:
    heat = np.zeros((side, side))
    for row, column in cells:
        heat[row : row + 8, column : column + 8] = 1.0
    return heat


def test_a_region_holds_the_strongest_evidence_off_the_object_with_a_margin():
    heat = heat_of((0, 0), (40, 40))
    allowed = regions.outside(np.array([[36.0, 36.0, 56.0, 56.0]]), (56, 56))
    region = regions.of_evidence(heat, allowed)
    assert region is not None
    assert region[:6, :8].all()
    assert not region[12:].any()
    assert not region[36:, 36:].any()


def test_a_coarse_map_is_sharpened_by_what_its_pixels_say():
    """By hand: a line of 1 in one channel, gradient 2 in it; its mean over the image is 1 / 28."""
    heat = np.zeros((28, 28))
    heat[:4, :14] = 3.0
    inputs, gradients = np.zeros((2, 28, 28, 1), np.float32)
    inputs[0] = 1.0
    gradients[0] = 2.0
    sharp = regions.sharpened(heat, inputs, gradients)
    # Along the line only the Gaussian across it is felt, whose border repeats from the second row on.
    weights = np.exp(-(np.arange(-4, 5) ** 2) / 2)
    across = weights[4] / weights.sum()
    assert sharp[0, 7] == pytest.approx(2 * (1 - 1 / 28) * across * (3 + 0.3), rel=0.01)
    assert sharp[0, 25] == pytest.approx(sharp[0, 7] * 0.3 / 3.3, rel=0.01)
    assert not sharp[8:].any()


def test_gradients_that_say_nothing_leave_the_map_as_it_is():
    heat = heat_of((0, 0))
    inputs = np.random.default_rng(0).random((56, 56, 3), np.float32)
    for gradients in (np.zeros_like(inputs), np.full_like(inputs, np.nan)):
        assert regions.sharpened(heat, inputs, gradients) is heat


def test_no_evidence_off_the_object_is_no_region():
    allowed = regions.outside(np.array([[36.0, 36.0, 56.0, 56.0]]), (56, 56))
    assert regions.of_evidence(heat_of((40, 40)), allowed) is None


def test_a_region_is_no_larger_than_a_share_of_the_image():
    region = regions.of_evidence(np.ones((56, 56)), np.ones((56, 56), bool))
    assert region is not None
    assert region.mean() < regions.LARGEST + 0.1


def test_the_control_lies_off_the_object_the_region_and_the_evidence():
    heat = heat_of((0, 0), (0, 30))
    region = heat_of((0, 0)) > 0
    allowed = regions.outside(np.array([[20.0, 20.0, 56.0, 56.0]]), (56, 56))
    control = regions.moved(region, regions.elsewhere(region, heat, allowed))
    assert control.sum() == region.sum()
    assert not (control & region).any()
    assert not (control & ~allowed).any()
    assert heat[control].sum() == 0


def test_pasting_takes_the_region_or_an_equal_one_from_elsewhere():
    rng = np.random.default_rng(0)
    source, target = rng.integers(0, 256, (2, 8, 8, 3), dtype=np.uint8)
    region = np.zeros((8, 8), bool)
    region[1:3, 1:3] = True
    plain = regions.pasted(target, source, region)
    assert (plain[region] == source[region]).all()
    assert (plain[~region] == target[~region]).all()
    control = regions.pasted(target, source, region, (4, 2))
    assert (control[1:3, 1:3] == source[5:7, 3:5]).all()
    assert (source[regions.moved(region, (4, 2))].reshape(2, 2, 3) == source[5:7, 3:5]).all()


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_removed_is_filled_as_its_neighbourhood_is(channels):
    image = np.full((20, 20, channels), 90, np.uint8)
    image[:, 10:] = 110
    region = np.zeros((20, 20), bool)
    region[4:9, 2:7] = True
    image[region] = 250
    fills = regions.removed(image, region)
    assert len(fills) == 2
    for filled in fills:
        assert filled.shape == image.shape
        assert np.abs(filled[region].astype(int) - 90).max() <= 3
        assert (filled[~region] == image[~region]).all()


def test_levels_that_are_no_whole_numbers_are_diffused_only():
    image = np.full((10, 10, 2), 7.5, np.float32)
    region = np.zeros((10, 10), bool)
    region[3:5, 3:5] = True
    image[region] = 100
    (filled,) = regions.removed(image, region)
    assert filled[region] == pytest.approx(7.5, abs=1e-4)

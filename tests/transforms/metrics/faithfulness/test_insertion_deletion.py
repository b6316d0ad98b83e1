"""Insertion and deletion, by arithmetic on a model made of sums."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import insertion_deletion
from tests.support import scored_inputs

descending = scored_inputs.descending
left_and_right = scored_inputs.left_and_right
ones = scored_inputs.ones


def test_deletion_of_the_strongest_columns_first() -> None:
    """Two columns make the left half: score 1, 1/2, 0, 0, 0."""
    curve = insertion_deletion.deletion(
        left_and_right,
        ones(),
        descending(),
        np.array([0]),
        steps=4,
        baseline=0.0,
        batch_size=3,
    )
    assert curve.scores.tolist() == [[1, 0.5, 0, 0, 0]]
    assert curve.auc.tolist() == [(0.75 + 0.25 + 0 + 0) / 4]


def test_insertion_is_the_other_way_round() -> None:
    curve = insertion_deletion.insertion(
        left_and_right,
        ones(2),
        descending(2),
        np.array([0, 1]),
        steps=4,
        baseline=0.5,
        batch_size=3,
    )
    assert curve.scores.tolist() == [[0.5, 0.75, 1, 1, 1], [0.5, 0.5, 0.5, 0.75, 1]]
    assert curve.auc.tolist() == [(0.625 + 0.875 + 1 + 1) / 4, (0.5 + 0.5 + 0.625 + 0.875) / 4]


def test_steps_that_do_not_divide_the_pixels_use_the_true_shares() -> None:
    """16 pixels in 3 steps: 5, 11 and 16 are gone, of which 5, 8 and 8 are in the left half."""
    curve = insertion_deletion.deletion(
        left_and_right,
        ones(),
        descending(),
        np.array([0]),
        steps=3,
        baseline=0.0,
        batch_size=9,
    )
    assert curve.scores[0] == pytest.approx([1, 3 / 8, 0, 0])
    assert curve.auc[0] == pytest.approx((1 + 3 / 8) / 2 * 5 / 16 + (3 / 8) / 2 * 6 / 16)


def test_equal_pixels_go_in_reading_order() -> None:
    """A constant map deletes row by row, so both halves fall alike."""
    for class_id in (0, 1):
        curve = insertion_deletion.deletion(
            left_and_right,
            ones(),
            np.full((1, 4, 4), 0.5),
            np.array([class_id]),
            steps=4,
            baseline=0.0,
            batch_size=9,
        )
        assert curve.scores.tolist() == [[1, 0.75, 0.5, 0.25, 0]]


def test_a_map_with_a_nan_has_no_curve_and_spoils_no_other() -> None:
    heatmaps = descending(2)
    heatmaps[0, 1, 1] = np.nan
    curve = insertion_deletion.deletion(
        left_and_right,
        ones(2),
        heatmaps,
        np.array([0, 0]),
        steps=4,
        baseline=0.0,
        batch_size=4,
    )
    assert np.isnan(curve.scores[0]).all() and np.isnan(curve.auc[0])
    assert curve.auc[1] == 0.25


def test_mean_baseline_is_the_colour_of_the_image() -> None:
    inputs = np.zeros((1, 2, 2, 2), np.float32)
    inputs[0, 0, :, 0] = 4
    inputs[0, 0, 0, 1] = 4
    assert insertion_deletion.reference(inputs, "mean").tolist() == [[[[2, 1]] * 2] * 2]


@pytest.mark.parametrize("channels", [1, 3, 6])
def test_blur_baseline_is_the_kernel_of_rise(channels: int) -> None:
    """A kernel of sum 1 keeps a plain image inside, and loses at the corner what it reaches of the zeros outside."""
    plain = insertion_deletion.reference(2 * ones(1, 24, channels), "blur")
    assert plain.shape == (1, 24, 24, channels) and plain.dtype == np.float32
    assert plain[0, 12, 12] == pytest.approx(2, abs=1e-6)
    # Gaussian of sigma 5 over all integers, folded at -5.5 and 5.5: the weight of each of 11 places.
    places = np.arange(-300, 301)
    weights = np.exp(-(places**2) / 50) * (np.abs(places) <= 20)
    folded = np.zeros(11)
    for place, weight in zip(places, weights / weights.sum(), strict=True):
        there = (place + 5) % 22
        folded[there if there < 11 else 21 - there] += weight
    assert plain[0, 0, 0] == pytest.approx(2 * folded[5:].sum() ** 2, abs=1e-6)
    dot = np.zeros((1, 24, 24, channels), np.float32)
    dot[0, 12, 12] = 1
    assert insertion_deletion.reference(dot, "blur")[0, 12 + 3, 12 - 5, 0] == pytest.approx(
        folded[8] * folded[0], abs=1e-7
    )


def test_unknown_baseline_is_an_error() -> None:
    with pytest.raises(ValueError, match="expected a number, 'mean' or 'blur'"):
        insertion_deletion.reference(ones(), "noise")  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [0, 17])
def test_steps_are_between_one_and_the_pixels(steps: int) -> None:
    with pytest.raises(ValueError, match="steps over 16 pixels"):
        insertion_deletion.deletion(
            left_and_right,
            ones(),
            descending(),
            np.array([0]),
            steps=steps,
            baseline=0.0,
            batch_size=1,
        )

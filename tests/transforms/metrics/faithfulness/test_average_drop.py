"""Average drop, increase and gain, by arithmetic on a model made of sums."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics.faithfulness import average_drop, batch
from tests.support import scored_inputs

left_and_right = scored_inputs.left_and_right
ones = scored_inputs.ones


@pytest.mark.parametrize(
    ("before", "after", "drop", "increase", "gain"),
    [
        pytest.param(0.8, 0.2, 0.6 / 0.8, 0, 0, id="drops"),
        pytest.param(0.4, 0.7, 0, 1, 0.3 / 0.6, id="gains"),
        pytest.param(0.5, 0.5, 0, 0, 0, id="equal"),
        pytest.param(0.0, 0.5, 0, 1, 0.5, id="from_zero"),
        pytest.param(0.0, 0.0, 0, 0, 0, id="stays_zero"),
        pytest.param(1.0, 1.0, 0, 0, 0, id="saturated"),
        pytest.param(1.0, 0.25, 0.75, 0, 0, id="from_one"),
        pytest.param(1.0 + 2**-23, 1.0, 2**-23 / (1 + 2**-23), 0, 0, id="softmax_rounded_up"),
        pytest.param(0.5, np.nan, np.nan, np.nan, np.nan, id="nan_after"),
        pytest.param(np.nan, 0.5, np.nan, np.nan, np.nan, id="nan_before"),
        pytest.param(-2.0, -3.0, np.nan, 0, np.nan, id="negative_logit"),
        pytest.param(4.0, 3.0, 0.25, 0, np.nan, id="positive_logit"),
    ],
)
def test_confidence(before: float, after: float, drop: float, increase: float, gain: float) -> None:
    y, o = np.array([before]), np.array([after])
    assert average_drop.confidence_drop(y, o) == pytest.approx([drop], nan_ok=True)
    assert average_drop.confidence_increase(y, o) == pytest.approx([increase], nan_ok=True)
    assert average_drop.confidence_gain(y, o) == pytest.approx([gain], nan_ok=True)


@pytest.mark.parametrize(("baseline", "left"), [(0.0, 0.25 * 3), (1.0, 1 + 0.25 * 2)])
def test_masked_scores_mix_input_and_baseline(baseline: float, left: float) -> None:
    heatmap = np.zeros((1, 4, 4))
    heatmap[:, :, :2] = 0.25
    before, after = batch.masked_scores(
        left_and_right, 3 * ones(), heatmap, np.array([0]), baseline=baseline, batch_size=8
    )
    assert (before[0], after[0]) == (3, left)


def test_masked_scores_are_of_the_class_of_each_image() -> None:
    heatmaps = np.zeros((2, 4, 4))
    heatmaps[:, :, 2:] = 1
    _, after = batch.masked_scores(left_and_right, ones(2), heatmaps, np.array([0, 1]), baseline=0, batch_size=1)
    assert after.tolist() == [0, 1]

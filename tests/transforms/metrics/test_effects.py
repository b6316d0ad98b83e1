"""Effects of interventions: as arithmetic, and calibrated where nothing has an effect."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from heatbeam.transforms.metrics import effects


def test_a_paired_effect_is_a_t_test_of_the_differences():
    found = effects.paired([0.1, 0.3, 0.2, 0.6])
    deviation = math.sqrt((0.2**2 + 0 + 0.1**2 + 0.3**2) / 3)
    assert found.value == pytest.approx(0.3)
    assert found.deviation == pytest.approx(deviation)
    assert found.upper - found.value == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert found.value - found.lower == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert found.p_value == pytest.approx(stats.ttest_1samp([0.1, 0.3, 0.2, 0.6], 0, alternative="greater").pvalue)


@pytest.mark.parametrize("values", [[], [0.4]], ids=["none", "one"])
def test_too_few_images_have_no_interval(values):
    found = effects.paired(values)
    assert found.n == len(values)
    assert math.isnan(found.lower)
    assert math.isnan(found.p_value)


def test_equal_differences_are_no_division_by_zero():
    assert effects.paired([0.0, 0.0, 0.0]).p_value == pytest.approx(0.5)
    assert effects.paired([0.5, 0.5, 0.5]).p_value < 1e-6


def test_as_many_images_as_are_asked_for_decide():
    found = effects.paired([0.3, -0.1, 0.4, 0.0])
    n = effects.images_to_decide(found, level=0.01, limit=0.1)

    def half(count: int) -> float:
        return stats.t.isf(0.01, count - 1) * found.deviation / math.sqrt(count)

    assert half(n) <= found.value < half(n - 1)
    small = effects.paired([0.3, -0.3, 0.1, -0.05])
    n = effects.images_to_decide(small, level=0.01, limit=0.1)
    assert small.value + stats.t.isf(0.025, n - 1) * small.deviation / math.sqrt(n) <= 0.1
    assert effects.images_to_decide(effects.paired([0.1]), level=0.01, limit=0.1) == 0


def _null_share(p_value) -> float:
    """How often a test at 5 % rejects, where a region does to the probability what a control does.

    Probabilities of another class: mostly near 0, now and then far from it; 12 images, 4,000 times.
    """
    rng = np.random.default_rng(0)
    with_region, with_control = rng.beta(0.15, 2.0, (2, 4000, 12))
    return float(np.mean([p_value(one, other) <= 0.05 for one, other in zip(with_region, with_control, strict=True)]))


def test_looks_at_a_growing_sample_are_paid_for():
    values = [0.1, 0.3, 0.2, 0.6]
    one, three = effects.paired(values), effects.paired(values, 3)
    assert three[:2] == one[:2]
    assert three.p_value == pytest.approx(3 * one.p_value)
    error = one.deviation / 2
    assert three.upper - three.value == pytest.approx(stats.t.isf(0.025 / 3, 3) * error)
    assert effects.paired([-0.1, -0.2, -0.4], 3).p_value == 1.0
    needed = effects.images_to_decide(one, level=0.03, limit=0.1, looks=3)
    assert needed == effects.images_to_decide(one, level=0.01, limit=0.1)


def _stopped_early(looks: int) -> float:
    """How often nothing is found to be something at one of three looks at 12, 24 and 48 images, 4,000 times."""
    drawn = np.random.default_rng(1).normal(0, 0.2, (4000, 48))
    return float(np.mean([
        any(effects.paired(row[:n], looks).p_value <= 0.05 for n in (12, 24, 48)) for row in drawn
    ]))  # fmt: skip


def test_stopping_at_any_look_keeps_the_level_and_without_its_price_does_not():
    assert _stopped_early(3) <= 0.05
    assert _stopped_early(1) > 0.08


def test_without_an_effect_it_is_significant_no_more_often_than_it_says():
    assert 0.02 <= _null_share(lambda one, other: effects.paired(one - other).p_value) <= 0.057


def test_the_calibration_sees_a_test_without_controls():
    assert _null_share(lambda one, _: effects.paired(one).p_value) > 0.2

"""Corrections for many tests against textbook values, and power against the noncentral t."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from heatbeam.transforms.metrics.alarms import corrections, power


def test_holm_by_hand():
    # 4 x 0.01; 3 x 0.02 = 0.06; 2 x 0.03 = 0.06; 0.04 is raised to 0.06
    assert corrections.holm([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.06, 0.04, 0.06, 0.06])
    assert corrections.holm([0.9, 0.8]) == pytest.approx([1, 1]) and len(corrections.holm([])) == 0


def test_benjamini_hochberg_by_hand_and_by_scipy():
    # 4 x 0.01 / 1 = 0.04, 4 x 0.02 / 2, 4 x 0.03 / 3, 4 x 0.04 / 4: all 0.04
    assert corrections.benjamini_hochberg([0.04, 0.01, 0.03, 0.02]) == pytest.approx([0.04] * 4)
    p = np.random.default_rng(0).random(50) ** 3
    assert corrections.adjusted(p, "benjamini_hochberg") == pytest.approx(stats.false_discovery_control(p))


def any_alarm(correction, checks: int, draws: int = 4000) -> float:
    """Share of draws of equal models, one of the checks tried twice as often as the others, with an alarm at 5 %."""
    p = np.random.default_rng(1).random((draws, checks))
    return float(np.mean([correction(row).min() <= 0.05 for row in p]))


@pytest.mark.parametrize("correction", [corrections.holm, corrections.benjamini_hochberg])
def test_any_alarm_comes_as_often_as_promised_and_without_correction_nearly_always(correction):
    assert abs(any_alarm(correction, 40) - 0.05) < 4 * math.sqrt(0.05 * 0.95 / 4000)
    assert any_alarm(lambda p: p, 40) > 0.8  # the mutant: 1 - 0.95^40 = 0.87


def test_benjamini_hochberg_keeps_the_share_of_false_alarms_and_holm_the_chance_of_any():
    generator = np.random.default_rng(2)
    p = generator.random((2000, 100))
    p[:, :30] = stats.norm.sf(generator.normal(3, 1, (2000, 30)))  # 30 true losses of 100
    found = np.array([corrections.benjamini_hochberg(row) <= 0.05 for row in p])
    false, every = found[:, 30:].sum(axis=1), found.sum(axis=1)
    share = (false / np.maximum(every, 1)).mean()
    assert 0.05 * 0.7 - 0.005 < share < 0.05 * 0.7 + 0.005  # the nulls' share of the rate
    assert (np.array([corrections.holm(row) <= 0.05 for row in p])[:, 30:].any(axis=1)).mean() < 0.05
    assert (false > 0).mean() > 0.3  # benjamini_hochberg makes no promise of "any"


def test_a_schedule_spends_its_rate():
    assert corrections.of_one_audit(0.05, 52) * 52 == pytest.approx(0.05)


@pytest.mark.parametrize("n", [20, 50, 500])
@pytest.mark.parametrize("level", [0.025, 1e-3, 1e-5])
def test_reach_is_that_of_the_noncentral_t(n, level):
    found = stats.nct.sf(stats.t.isf(level, n - 1), n - 1, power.reach(level, n))
    assert found == pytest.approx(0.8, abs=0.03)


def test_smallest_loss_and_images():
    # The rate of the example: 0.05 / 52 / 1000, 50 images, deviation 0.2, 0.02 allowed.
    level = 0.05 / 52 / 1000
    loss = power.smallest_loss(0.02, 0.2, 50, level)
    assert loss == pytest.approx(0.02 + power.reach(level, 50) * 0.2 / math.sqrt(50)) and 0.19 < loss < 0.21
    images = power.images_for(0.2, 0.02, 0.2, level)
    assert power.smallest_loss(0.02, 0.2, images, level) <= 0.2 < power.smallest_loss(0.02, 0.2, images - 1, level)
    assert power.images_for(0.02, 0.02, 0.2, level) == math.inf
    # A thousandth of the loss takes about a million times the images of the normal formula.
    z = stats.norm.isf(level) + stats.norm.ppf(0.8)
    assert power.images_for(0.02 + 1e-4, 0.02, 0.2, level) == pytest.approx((z * 0.2 / 1e-4) ** 2, rel=1e-3)


def test_the_deviation_of_hits_is_that_of_a_coin():
    assert power.hits_deviation(0.2) == pytest.approx(0.4) and power.hits_deviation(1.0) == 0  # sqrt(0.2 x 0.8)


def test_too_few_images_see_nothing():
    assert power.smallest_loss(0.0, 0.2, 19, 1e-6) == math.inf  # 2^19 patterns are half a million
    assert power.reach(0.025, 1) == math.inf

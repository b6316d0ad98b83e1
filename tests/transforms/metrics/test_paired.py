"""Means of differences and their intervals."""

from __future__ import annotations

import math

import numpy as np
import pytest

from heatbeam.transforms.metrics import intervals, paired
from heatbeam.transforms.metrics.alarms import samples


def weights(count: int, replicates: int = 50) -> np.ndarray:
    return np.stack([intervals.poisson_weights(f"image-{i}", replicates) for i in range(count)]).astype(np.float32)


def test_the_bootstrap_interval_is_that_of_the_weighted_means():
    values = np.linspace(-1, 2, 30)[:, None]
    sums = paired.Means(1, 50)
    drawn = weights(30)
    sums.add(values, drawn)
    replicates = (values[:, 0] @ drawn.astype(float)) / drawn.sum(axis=0)
    lower, upper = np.percentile(replicates, (2.5, 97.5))
    mean = sums.means()[0]
    assert (mean.n, mean.interval) == (30, "bootstrap")
    np.testing.assert_allclose([mean.value, mean.lower, mean.upper], [0.5, lower, upper], rtol=1e-6)


def test_a_missing_value_takes_its_weight_with_it():
    drawn = weights(40)
    values = np.linspace(0, 1, 40)
    holes = np.column_stack([values, np.where(np.arange(40) % 4, values, np.nan)])
    both, alone = paired.Means(2, 50), paired.Means(1, 50)
    both.add(holes, drawn)
    alone.add(values[np.arange(40) % 4 > 0, None], drawn[np.arange(40) % 4 > 0])
    assert both.means()[1].n == 30
    np.testing.assert_allclose(both.means()[1][:4], alone.means()[0][:4], rtol=1e-6)


def test_few_measurements_have_students_interval():
    sums = paired.Means(1, 50)
    sums.add(np.array([[1.0], [2.0], [3.0]]), weights(3))
    # s = 1, t(2) = 4.302653, half width = 4.302653 / sqrt(3).
    half = 4.302652729911275 / math.sqrt(3)
    assert sums.means()[0] == pytest.approx((2.0, 3, 2 - half, 2 + half, "student"))


@pytest.mark.parametrize("count", [0, 1])
def test_one_measurement_has_no_interval(count):
    sums = paired.Means(1, 50)
    sums.add(np.full((count, 1), 7.0), weights(1)[:count])
    mean = sums.means()[0]
    assert mean.n == count and mean.interval == "none" and math.isnan(mean.lower)
    assert mean.value == 7 if count else math.isnan(mean.value)


def test_parts_add_up_in_any_order():
    values, drawn = np.sin(np.arange(60.0))[:, None], weights(60)
    whole, first, second = (paired.Means(1, 50) for _ in range(3))
    whole.add(values, drawn)
    first.add(values[40:], drawn[40:])
    second.add(values[:40], drawn[:40])
    first.absorb(second)
    np.testing.assert_allclose(first.means()[0][:4], whole.means()[0][:4], rtol=1e-5)


def test_unpaired_difference_of_two_intervals():
    # Newcombe 1998, method 10, example (a): 56/70 against 48/80 gives 0.2 with 0.0524 to 0.3339.
    first, second = (48 / 80, *intervals.wilson(48, 80)), (56 / 70, *intervals.wilson(56, 70))
    assert paired.unpaired_difference(first, second) == pytest.approx((0.0524, 0.3339), abs=5e-5)


def test_unpaired_difference_without_an_interval():
    assert all(math.isnan(end) for end in paired.unpaired_difference((0.5, math.nan, math.nan), (0.6, 0.5, 0.7)))


def test_many_rows_of_one_image_have_the_interval_of_the_replicates_that_hold_it():
    drawn = np.repeat(weights(1), 25, axis=0)
    assert (drawn[0] == 0).any()
    sums = paired.Means(1, 50)
    sums.add(np.full((25, 1), 3.0), drawn)
    assert sums.means()[0] == (3, 25, 3, 3, "bootstrap")


def test_samples_are_the_sums_of_powers_and_the_measurements_while_they_are_few():
    sums, more = paired.Means(2, 50), paired.Means(2, 50)
    sums.add(np.array([[1.0, 2.0], [-2.0, np.nan]]), weights(2))
    more.add(np.array([[3.0, 4.0]]), weights(1))
    sums.absorb(more)
    first, second = sums.samples()
    # 1 - 2 + 3; 1 + 4 + 9; 1 - 8 + 27.
    assert (first.n, first.total, first.squares, first.cubes) == (3, 2, 14, 20)
    assert (second.n, second.total, second.squares, second.cubes) == (2, 6, 20, 72)
    assert first.values.tolist() == [1, -2, 3] and second.values.tolist() == [2, 4]
    more.add(np.ones((samples.KEPT, 2)), weights(samples.KEPT))
    assert [one.values for one in more.samples()] == [None, None] and more.samples()[0].n == samples.KEPT + 1

"""Intervals, by hand."""

from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from heatbeam.transforms.metrics import intervals


def test_wilson_by_hand() -> None:
    z2 = intervals.Z**2
    centre, half = (0.5 + z2 / 20) / (1 + z2 / 10), math.sqrt(z2) * math.sqrt(0.25 / 10 + z2 / 400) / (1 + z2 / 10)
    assert intervals.wilson(5, 10) == pytest.approx((centre - half, centre + half))
    assert intervals.wilson(5, 10) == pytest.approx((0.2366, 0.7634), abs=1e-4)
    assert intervals.wilson(0, 10) == pytest.approx((0, z2 / (10 + z2)))
    assert intervals.wilson(10, 10) == pytest.approx((10 / (10 + z2), 1))
    assert all(map(math.isnan, intervals.wilson(0, 0)))


def test_student_by_hand() -> None:
    # 1, 2, 3: mean 2, s = 1, t(2 degrees of freedom) = 4.302653
    half = 4.302652729911275 / math.sqrt(3)
    assert intervals.student(6, 14, 3) == pytest.approx((2 - half, 2 + half))
    assert all(map(math.isnan, intervals.student(6, 36, 1)))


def test_percentile_needs_half_of_the_replicates() -> None:
    assert intervals.percentile(np.arange(101.0)) == pytest.approx((2.5, 97.5))
    assert intervals.percentile([math.nan, 1, 1]) == (1, 1)
    assert all(map(math.isnan, intervals.percentile([math.nan, math.nan, 1])))


def test_poisson_weights_are_poisson_and_fixed() -> None:
    assert intervals.poisson_weights("a", 8).tolist() == intervals.poisson_weights("a", 200)[:8].tolist()
    drawn = np.concatenate([intervals.poisson_weights(f"image-{i}", 200) for i in range(500)])
    for weight in range(4):
        assert np.mean(drawn == weight) == pytest.approx(math.exp(-1) / math.factorial(weight), abs=0.005)
    assert drawn.mean() == pytest.approx(1, abs=0.01) and drawn.var() == pytest.approx(1, abs=0.03)
    first, second = (np.array([intervals.poisson_weights(f"{k}{i}", 1)[0] for i in range(2000)]) for k in "xy")
    assert abs(np.corrcoef(first, second)[0, 1]) < 0.08


def test_poisson_weights_of_one_image_are_the_quantiles_of_its_hash() -> None:
    digest = hashlib.shake_128(b"shard-0__7").digest(24)
    want = []
    for low, high in zip(digest[::2], digest[1::2], strict=True):
        share, weight = (256 * high + low + 0.5) / 65536, 0
        while share > sum(math.exp(-1) / math.factorial(k) for k in range(weight + 1)):
            weight += 1
        want.append(weight)
    assert intervals.poisson_weights("shard-0__7", 12).tolist() == want == [2, 1, 1, 0, 1, 0, 0, 2, 0, 2, 1, 1]

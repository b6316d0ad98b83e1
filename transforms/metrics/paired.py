"""Means of paired differences, as sums that add up in any order, and their 95 % intervals.

Two runs measured the same images; what interests is the mean of (candidate - baseline). Images are resampled, not rows:
every row of an image has the image's weight (`intervals.poisson_weights`), in both runs the same.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import intervals
from heatbeam.transforms.metrics.alarms import samples

Floats = npt.NDArray[np.float64]

BOOTSTRAP_FROM = 20
"""Below so many measurements the bootstrap is too narrow (one image resampled never varies); Student's is used."""


class Mean(NamedTuple):
    """A mean with its 95 % interval.

    Attributes:
        value: the mean; NaN without measurements.
        n: number of measurements.
        lower, upper: ends of the interval; NaN without.
        interval: ``bootstrap``, ``student``, ``unpaired`` or ``none``: where the ends come from.
    """

    value: float
    n: int
    lower: float
    upper: float
    interval: str


class Means:
    """Means of K quantities.

    Args:
        quantities: K.
        replicates: B, of the bootstrap.
    """

    def __init__(self, quantities: int, replicates: int):
        self._n = np.zeros(quantities, np.int64)
        self._total = np.zeros(quantities)
        self._squares = np.zeros(quantities)
        self._cubes = np.zeros(quantities)
        self._rows = 0
        self._kept: list[npt.NDArray[np.float32]] = []
        # Single precision: a comparison of 1000 classes holds tens of thousands of these.
        self._totals = np.zeros((quantities, replicates), np.float32)
        self._weights = np.zeros((quantities, replicates), np.float32)

    def add(self, values: Floats, weights: npt.NDArray[np.float32]) -> None:
        """Count R measurements of each quantity.

        Args:
            values: ``(R, K)``; NaN is left out.
            weights: float32 ``(R, B)``, of the image of each row.
        """
        there = np.isfinite(values)
        filled = np.where(there, values, 0.0)
        self._n += there.sum(axis=0)
        self._total += filled.sum(axis=0)
        self._squares += (filled * filled).sum(axis=0)
        self._cubes += (filled**3).sum(axis=0)
        self._keep(len(values), [values])
        self._totals += filled.astype(np.float32).T @ weights
        self._weights += weights.sum(axis=0) if there.all() else there.astype(np.float32).T @ weights

    def absorb(self, other: Means) -> None:
        """Add what `other` counted."""
        self._n += other._n
        self._total += other._total
        self._squares += other._squares
        self._cubes += other._cubes
        self._keep(other._rows, other._kept)
        self._totals += other._totals
        self._weights += other._weights

    def _keep(self, rows: int, values: Sequence[npt.NDArray[np.floating]]) -> None:
        self._rows += rows
        few = self._rows <= samples.KEPT
        self._kept = [*self._kept, *(one.astype(np.float32) for one in values)] if few else []

    def samples(self) -> list[samples.Sample]:
        """What tests need of each quantity; single measurements only where at most `samples.KEPT` rows were added."""
        few = 0 < self._rows <= samples.KEPT
        rows = np.concatenate(self._kept) if few else np.zeros((0, len(self._n)), np.float32)
        return [
            samples.Sample(
                int(self._n[i]), float(self._total[i]), float(self._squares[i]), float(self._cubes[i]),
                rows[np.isfinite(rows[:, i]), i] if few else None,
            )
            for i in range(len(self._n))
        ]  # fmt: skip

    def means(self) -> list[Mean]:
        """The mean of each quantity."""
        many = np.flatnonzero(self._n >= BOOTSTRAP_FROM)
        with np.errstate(invalid="ignore", divide="ignore"):
            replicates = self._totals[many].astype(np.float64) / self._weights[many]
        if np.isfinite(replicates).all():
            ends = np.percentile(replicates, (2.5, 97.5), axis=1).T.tolist()
        else:  # many rows of few images: a replicate may hold none of them
            ends = [intervals.percentile(one) for one in replicates]
        bounds = dict(zip(many.tolist(), ends, strict=True))
        return [self._mean(quantity, bounds.get(quantity)) for quantity in range(len(self._n))]

    def _mean(self, quantity: int, bounds: Sequence[float] | None) -> Mean:
        n, total = int(self._n[quantity]), float(self._total[quantity])
        if not n:
            return Mean(math.nan, 0, math.nan, math.nan, "none")
        if bounds is not None:
            return Mean(total / n, n, bounds[0], bounds[1], "bootstrap")
        lower, upper = intervals.student(total, float(self._squares[quantity]), n)
        return Mean(total / n, n, lower, upper, "student" if n > 1 else "none")


def unpaired_difference(
    baseline: tuple[float, float, float], candidate: tuple[float, float, float]
) -> tuple[float, float]:
    """95 % interval of candidate - baseline from the intervals of both, as if the runs were independent.

    lower = d - sqrt((c - c_lower)^2 + (b_upper - b)^2), upper = d + sqrt((c_upper - c)^2 + (b - b_lower)^2)

    Where the runs share images the true interval is mostly narrower. Zou and Donner, Statistics in Medicine 2008,
    eq. 4; for proportions with Wilson's intervals this is method 10 of Newcombe, Statistics in Medicine 1998.

    Args:
        baseline, candidate: ``(value, lower, upper)``; the result is NaN if any is NaN.
    """
    (b, b_lower, b_upper), (c, c_lower, c_upper) = baseline, candidate
    difference = c - b
    return difference - math.hypot(c - c_lower, b_upper - b), difference + math.hypot(c_upper - c, b - b_lower)

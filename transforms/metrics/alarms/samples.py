"""What a test of a mean needs of its measurements: three sums, and the measurements themselves while they are few."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import numpy.typing as npt

KEPT = 512
"""Up to so many measurements of a number are kept one by one; beyond, the sums say enough."""


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """Measurements of one quantity, each of another image.

    Attributes:
        n: how many.
        total, squares, cubes: sums of their first three powers.
        values: float32 ``(n,)``; None where there are more than `KEPT`.
    """

    n: int
    total: float
    squares: float
    cubes: float
    values: npt.NDArray[np.float32] | None

    @classmethod
    def of(cls, values: npt.ArrayLike) -> Sample:
        """The sample of measurements ``(n,)``."""
        given = np.asarray(values, np.float64)
        kept = given.astype(np.float32) if len(given) <= KEPT else None
        return cls(len(given), float(given.sum()), float((given**2).sum()), float((given**3).sum()), kept)

    @property
    def mean(self) -> float:
        """NaN without measurements."""
        return self.total / self.n if self.n else math.nan

    @property
    def deviation(self) -> float:
        """Standard deviation with n - 1; NaN below two measurements."""
        return math.sqrt(self._variance * self.n / (self.n - 1)) if self.n > 1 else math.nan

    @property
    def skewness(self) -> float:
        """Third central moment over the 3/2 power of the second, both divided by n; 0 where nothing varies."""
        if self.n < 2:
            return 0.0
        mean, second, variance = self.mean, self.squares / self.n, self._variance
        return float((self.cubes / self.n - 3 * mean * second + 2 * mean**3) / variance**1.5) if variance else 0.0

    @property
    def _variance(self) -> float:
        """With n; what is left of equal numbers after rounding is none."""
        second = self.squares / self.n
        variance = second - self.mean**2
        return variance if variance > 1e-12 * second else 0.0

    @property
    def is_hits(self) -> bool:
        """Whether every measurement is 0 or 1."""
        return self.n > 0 and self.total == self.squares == self.cubes

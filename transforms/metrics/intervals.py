"""95 % intervals: Wilson's for proportions, Student's for means, and a Poisson bootstrap that merges.

In the bootstrap every image has a weight in each of B replicates, drawn from Poisson(1) by the hash of its id. The
same image has the same weights on any worker, so replicates are plain sums. Chamandy et al., "Estimating Uncertainty
for Massive Data Streams", 2012.
"""

from __future__ import annotations

import functools
import hashlib
import math

import numpy as np
import numpy.typing as npt
from scipy import special

Floats = npt.NDArray[np.float64]

Z = 1.959963984540054
"""97.5 % point of the normal distribution."""

_NONE = (math.nan, math.nan)


def wilson(hits: float, n: int) -> tuple[float, float]:
    """Wilson's score interval of a proportion; NaN without measurements.

    centre = (p + z^2 / 2n) / (1 + z^2 / n), half width = z sqrt(p (1 - p) / n + z^2 / 4n^2) / (1 + z^2 / n)

    Wilson, JASA 1927.
    """
    if not n:
        return _NONE
    p, ratio = hits / n, Z * Z / n
    centre = (p + ratio / 2) / (1 + ratio)
    half = Z * math.sqrt(p * (1 - p) / n + ratio / (4 * n)) / (1 + ratio)
    return max(centre - half, 0.0), min(centre + half, 1.0)


def student(total: float, squares: float, n: int) -> tuple[float, float]:
    """Mean -+ t s / sqrt(n), t the 97.5 % point with n - 1 degrees of freedom; NaN below two measurements."""
    if n < 2:
        return _NONE
    mean = total / n
    variance = max(squares - n * mean * mean, 0.0) / (n - 1)
    half = student_point(n) * math.sqrt(variance / n)
    return mean - half, mean + half


def student_point(n: int) -> float:
    """97.5 % point of Student's distribution of n measurements, at least 2."""
    return float(special.stdtrit(n - 1, 0.975))


def percentile(replicates: npt.ArrayLike) -> tuple[float, float]:
    """2.5 % and 97.5 % points of the replicates that have a value; NaN if fewer than half have one."""
    values = np.asarray(replicates, np.float64)
    values = values[np.isfinite(values)]
    if 2 * len(values) < np.size(replicates) or not len(values):
        return _NONE
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


@functools.cache
def _poisson_table() -> npt.NDArray[np.uint8]:
    """Poisson(1) quantile of each 16-bit number: the weight w covers P(w) of them, P(w) = e^-1 / w!."""
    upper = np.cumsum([math.exp(-1) / math.factorial(weight) for weight in range(10)])
    table: npt.NDArray[np.uint8] = np.searchsorted(upper, (np.arange(65536) + 0.5) / 65536).astype(np.uint8)
    return table


@functools.lru_cache(maxsize=64)
def poisson_weights(image_id: str, replicates: int) -> npt.NDArray[np.uint8]:
    """Weight of an image in each bootstrap replicate: uint8 ``(replicates,)``, read-only, the same on every machine."""
    digest = hashlib.shake_128(image_id.encode("utf-8", "surrogatepass")).digest(2 * replicates)
    weights: npt.NDArray[np.uint8] = _poisson_table()[np.frombuffer(digest, dtype="<u2")]
    weights.setflags(write=False)
    return weights

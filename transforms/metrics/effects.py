"""Effects of interventions: a mean of paired differences with its interval, a test, and how many images would decide.

    t = mean(d) / (s / sqrt(n)),  p = P(T_{n-1} >= t),  interval mean(d) +- t_{0.975, n-1} s / sqrt(n)

d are differences of a changed and a control picture of the same image, s their standard deviation (n - 1). Student,
Biometrika 1908. Assumes independent images, and means that are about normal: differences of probabilities are bounded,
and those without an effect lie near 0 with few far off, for which the test is conservative at the n used here.

Images may be asked for in steps, and no more once an effect is decided. With L looks at the growing sample

    p = min(1, L P(T_{n-1} >= t)),  interval mean(d) +- t_{1 - 0.025 / L, n-1} s / sqrt(n)

whatever is decided at a look, because by Bonferroni all L intervals hold together with 95 % (Pocock, Biometrika 1977,
whose bound is a little less strict). The mean where it stopped is a little too far from 0: the interval, not the mean,
is what is known.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from scipy import special

from heatbeam.transforms.metrics import intervals

Floats = npt.NDArray[np.float64]

_LEAST_DEVIATION = 1e-6
"""Smaller spreads are rounding: equal differences prove as little as these."""

LARGEST_COUNT = 1_000_000


class Effect(NamedTuple):
    """A mean of paired differences.

    Attributes:
        value: the mean; NaN without images.
        n: images.
        lower, upper: 95 % interval, over all looks; NaN of fewer than two images.
        p_value: one-sided, of no effect or a negative one, over all looks; NaN of fewer than two images.
        deviation: of the differences; NaN of fewer than two images.
    """

    value: float
    n: int
    lower: float
    upper: float
    p_value: float
    deviation: float


def paired(differences: npt.ArrayLike, looks: int = 1) -> Effect:
    """The effect, of one difference an image.

    Args:
        differences: ``(n,)``, finite.
        looks: how often the growing sample is looked at, at most; stopping at any of them keeps p and interval true.
    """
    values = np.asarray(differences, np.float64)
    n = len(values)
    if not n:
        return Effect(math.nan, 0, math.nan, math.nan, math.nan, math.nan)
    mean = float(values.mean())
    if n == 1:
        return Effect(mean, 1, math.nan, math.nan, math.nan, math.nan)
    deviation = max(float(values.std(ddof=1)), _LEAST_DEVIATION)
    error = deviation / math.sqrt(n)
    point = intervals.student_point(n) if looks == 1 else float(special.stdtrit(n - 1, 1 - 0.025 / looks))
    half = point * error
    p_value = min(1.0, looks * float(special.stdtr(n - 1, -mean / error)))
    return Effect(mean, n, mean - half, mean + half, p_value, deviation)


def images_to_decide(effect: Effect, *, level: float, limit: float, looks: int = 1) -> int:
    """How many images would decide, if the mean and the spread stayed: the interval then leaves 0 or `limit` out.

    Where the mean is nearer to the limit than to 0 the question is whether it is above 0, at one-sided `level`; else
    whether it is below the limit, at 2.5 %; each over the looks. n is the least for which t_{n-1} s / sqrt(n) is at
    most that distance.

    Args:
        effect: of at least two images.
        level: one-sided, after correction.
        limit: the effect that counts.
        looks: among which the level is spent.

    Returns:
        At least 2, at most `LARGEST_COUNT`; 0 where nothing is known.
    """
    if effect.n < 2:
        return 0
    above = effect.value >= limit / 2
    distance = effect.value if above else limit - effect.value
    alpha = (level if above else 0.025) / looks
    low, high = 2, LARGEST_COUNT
    while low < high:
        middle = (low + high) // 2
        if -float(special.stdtrit(middle - 1, alpha)) * effect.deviation / math.sqrt(middle) <= distance:
            high = middle
        else:
            low = middle + 1
    return low

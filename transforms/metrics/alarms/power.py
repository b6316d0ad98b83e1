"""What a test could have seen, and how many images it takes to see a loss; both at 80 % power."""

from __future__ import annotations

import math

from scipy import special

POWER = 0.8

_STEPS = 60


def reach(level: float, n: float) -> float:
    """How many standard errors beyond what is allowed a loss must be for the test to find it with `POWER`.

    The shift of the noncentral t distribution that puts `POWER` above t_level:  t + z sqrt(1 + t^2 / (2 (n - 1))),
    z the normal `POWER` point. Infinite where n images have fewer patterns of signs than 1 / level.

    Johnson and Welch, Biometrika 1940, for the noncentral t; off by less than 1 % from 20 images on.
    """
    if n < 2 or level < 0.5 ** min(n, 1000):
        return math.inf
    if math.isinf(n):
        return float(special.ndtri(POWER) - special.ndtri(level))
    t = -float(special.stdtrit(n - 1, level))
    return t + float(special.ndtri(POWER)) * math.sqrt(1 + t * t / (2 * (n - 1)))


def smallest_loss(allowed: float, deviation: float, n: float, level: float) -> float:
    """The smallest mean loss that n images would have shown; infinite where no loss would.

    allowed + reach deviation / sqrt(n)
    """
    distance = reach(level, n)
    return math.inf if math.isinf(distance) else allowed + distance * deviation / math.sqrt(n)


def images_for(loss: float, allowed: float, deviation: float, level: float) -> float:
    """How many images show a mean loss; infinite where it is not above the allowed one.

    The smallest n of which `smallest_loss` is at most the loss, found by halving.
    """
    gap = loss - allowed
    if gap <= 0 or not math.isfinite(gap):
        return math.inf

    def seen(n: int) -> bool:
        return reach(level, n) * deviation <= gap * math.sqrt(n)

    high = 2
    while not seen(high):
        high *= 2
        if high > 1 << _STEPS:
            return math.inf
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if seen(middle) else (middle, high)
    return high


def hits_deviation(share: float) -> float:
    """Standard deviation of a 0-or-1 measurement, sqrt(p (1 - p))."""
    return math.sqrt(max(share * (1 - share), 0.0))

"""Is a mean loss within what is allowed? One-sided p-values of paired differences, means and proportions.

Of paired differences two p-values are taken and the greater one counts:
    * The *sign-flip test* of the losses less the allowed one. Where both runs are equally good, swapping them on any
      image changes nothing, so every pattern of signs is as likely as the one seen: its p-value is exact whatever the
      distribution of the values, their spread, bounds, skew and ties.
    * *Student's test with a guard against skew*, for runs that are not alike though no worse on average: a few great
      gains that hide small losses make a small sample look surer of a loss than it is.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from heatbeam.transforms.metrics.alarms.samples import Sample

Floats = npt.NDArray[np.float64]

_EQUAL = 1e-6
"""A difference that is nearer to the allowed one is equal to it: values are kept in single precision."""

_NEWTON_STEPS = 40
_ROWS = 256

GUARD_FROM = 1.25
"""Standard errors of the skewness, sqrt(6 / n), that are taken for noise of it."""

GUARD_SLOPE = 3.3
"""How much of the skewness beyond that is corrected for; see `guarded_student`."""


def sign_flip(losses: npt.ArrayLike) -> Floats:
    """Exact up to a saddlepoint: how often random signs give the sum of the losses, or more.

    S = sum x_i; under random signs e_i the cumulant function of sum e_i x_i is K(s) = sum log cosh(s x_i). With
    K'(s) = S, r = sign(s) sqrt(2 (s S - K(s))), q = s sqrt(K''(s)):  p = 1 - Phi(r + log(q / r) / r) + 2^-k, the last
    for the pattern that was seen, one of the 2^k of k losses that are not 0.

    Args:
        losses: ``(T, n)``, of each of T tests the losses less the allowed one; 0 says nothing and may fill a row up.

    Returns:
        float64 ``(T,)``; 1 where all losses are 0.

    Fisher, The Design of Experiments, 1935, 21; Robinson, JRSSB 1982 (the saddlepoint of randomisation tests);
    Barndorff-Nielsen, Biometrika 1986 (r*).
    """
    given = np.asarray(losses, np.float64)
    spread = np.sqrt((given**2).sum(axis=1))
    least = 0.5 ** np.count_nonzero(given, axis=1).astype(np.float64)
    # In units of the root of the sum of squares, s is about the distance from 0 in standard deviations.
    x = given / np.where(spread > 0, spread, 1.0)[:, None]
    total, greatest = x.sum(axis=1), np.abs(x).sum(axis=1)
    inside = np.clip(total, -greatest + 1e-9, greatest - 1e-9)
    s = inside.copy()
    for _ in range(_NEWTON_STEPS):
        slope = np.tanh(s[:, None] * x)
        off = (x * slope).sum(axis=1) - inside
        curvature = (x * x * (1 - slope * slope)).sum(axis=1)
        step = np.clip(off / np.maximum(curvature, 1e-12), -2.0, 2.0)
        s -= step
        if np.abs(step).max(initial=0.0) < 1e-10:
            break
    tilted = np.abs(s[:, None] * x)
    cumulant = (tilted + np.log1p(np.exp(-2 * tilted)) - math.log(2)).sum(axis=1)
    curvature = (x * x * (1 - np.tanh(tilted) ** 2)).sum(axis=1)
    r = np.sign(s) * np.sqrt(np.maximum(2 * (s * inside - cumulant), 0.0))
    q = s * np.sqrt(curvature)
    far = np.abs(r) > 1e-3
    moved = r + np.where(
        far, np.log(np.where(far & (q != 0), q / np.where(far, r, 1.0), 1.0)) / np.where(far, r, 1.0), 0
    )
    p = np.where(total <= 1e-9 - greatest, 1.0, special.ndtr(-moved)) + least
    p = np.where(total >= greatest - 1e-9, least, p)
    return np.where(spread > 0, np.minimum(p, 1.0), 1.0)


def sign_flip_of_hits(lost: int, won: int, same: int, allowed: float) -> float:
    """The sign-flip test, exact, where an image is lost, won or the same: with 0 allowed McNemar's exact test.

    Losses less the allowed are 1 - a, -1 - a and -a; the sum under random signs is that of three binomials.

    Args:
        lost, won, same: images.
        allowed: share of the images that may be lost, a.

    McNemar, Psychometrika 1947; exact: Mosteller, Psychometrika 1952.
    """
    sizes = np.array([1 - allowed, 1 + allowed, allowed])
    observed = lost * sizes[0] - won * sizes[1] - same * sizes[2]
    first = sizes[0] * (2 * np.arange(lost + 1) - lost)
    second = sizes[1] * (2 * np.arange(won + 1) - won)
    needed = observed - first[:, None] - second[None, :]
    chance = _halves(lost)[:, None] * _halves(won)[None, :]
    if allowed <= 0 or not same:
        return float(chance[needed <= 1e-9].sum())
    from_ = np.ceil((needed / sizes[2] + same) / 2 - 1e-6)
    tails = np.cumsum(_halves(same)[::-1])[::-1]
    above = np.where(from_ <= 0, 1.0, np.where(from_ > same, 0.0, tails[np.clip(from_, 0, same).astype(np.int64)]))
    return min(float((chance * above).sum()), 1.0)


def _halves(n: int) -> Floats:
    """Chances of 0 to n heads of n coins."""
    k = np.arange(n + 1)
    logs = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1) - n * math.log(2)
    return np.asarray(np.exp(logs), np.float64)


def guarded_student(
    n: npt.ArrayLike, excess: npt.ArrayLike, deviation: npt.ArrayLike, skewness: npt.ArrayLike
) -> Floats:
    """Student's one-sided p-value of a mean above 0, made greater where a long lower tail would make it too small.

    t = excess sqrt(n) / s;  g = 3.3 min(0, skewness + 1.25 sqrt(6 / n));  t' = t + g (1 + 2 t^2) / (6 sqrt(n))

    The correction is Johnson's (JASA 1978, eq. 2.5), for the lower tail alone, for what the skewness has beyond its own
    noise, and more of it, since the first order is too small as far out as corrected levels are: both constants were
    chosen on centred exponential losses at levels of 1e-6 and n = 50, and are tried by ``make bench-audit``.

    Args:
        n: of the measurements.
        excess: mean loss less the allowed one.
        deviation: standard deviation of the losses.
        skewness: of the losses.

    Returns:
        float64; 1 below two measurements; where nothing varies 0 or 1, as the excess is above 0 or not.
    """
    count, over, spread, skew = np.broadcast_arrays(
        *(np.asarray(v, np.float64) for v in (n, excess, deviation, skewness))
    )
    usable = (count >= 2) & (spread > 0)
    size = np.where(usable, count, 2.0)
    t = over / np.where(usable, spread, 1.0) * np.sqrt(size)
    g = GUARD_SLOPE * np.minimum(0.0, skew + GUARD_FROM * np.sqrt(6 / size))
    t = np.where(t > 0, t + g * (1 + 2 * t * t) / (6 * np.sqrt(size)), t)
    p = special.stdtr(size - 1, -t)
    return np.asarray(np.where(usable, p, np.where((count >= 2) & (over > _EQUAL), 0.0, 1.0)), np.float64)


def paired(samples: Sequence[Sample], signs: npt.ArrayLike, allowed: npt.ArrayLike) -> Floats:
    """P-values of "the mean loss is at most the allowed one", each from the paired differences of one number.

    Args:
        samples: T samples of candidate - baseline.
        signs: ``(T,)``, what makes a difference a loss: 1 where more is worse, -1 where less is.
        allowed: ``(T,)``, at least 0.
    """
    sign = np.broadcast_to(np.asarray(signs, np.float64), len(samples))
    limit = np.broadcast_to(np.asarray(allowed, np.float64), len(samples))
    excess = np.array([s.mean for s in samples]) * sign - limit
    p = guarded_student(
        np.array([one.n for one in samples], np.float64), np.nan_to_num(excess, nan=-1.0),
        np.nan_to_num([one.deviation for one in samples]), sign * [one.skewness for one in samples],
    )  # fmt: skip
    few = [i for i, one in enumerate(samples) if one.values is not None and one.n]
    hits = {i for i in few if is_change_of_hits(samples[i])}
    for i in hits:
        losses = sign[i] * np.asarray(samples[i].values)
        lost, won = int((losses > 0).sum()), int((losses < 0).sum())
        p[i] = sign_flip_of_hits(lost, won, samples[i].n - lost - won, float(limit[i]))
    # The longest first, so that rows that are filled up together are about as long.
    others = sorted((i for i in few if i not in hits), key=lambda i: -samples[i].n)
    for start in range(0, len(others), _ROWS):
        rows = others[start : start + _ROWS]
        losses = np.zeros((len(rows), samples[rows[0]].n))
        for row, i in enumerate(rows):
            losses[row, : samples[i].n] = sign[i] * np.asarray(samples[i].values, np.float64) - limit[i]
        losses[np.abs(losses) <= _EQUAL] = 0.0
        p[rows] = np.maximum(p[rows], sign_flip(losses))
    return p


def is_change_of_hits(sample: Sample) -> bool:
    """Whether the differences are those of numbers that are 0 or 1; of those that are not kept, as their sums say.

    Where nothing differs that cannot be known, and is taken for granted: hits are what hides a loss then.
    """
    if sample.values is None:
        return sample.total == sample.cubes and sample.squares.is_integer() and abs(sample.total) <= sample.squares
    return bool(np.isin(sample.values, (-1, 0, 1)).all())


def single(sample: Sample, sign: float, limit: float) -> float:
    """P-value of "the mean is within its bound", from measurements of one run; exact for hits.

    Args:
        sample: of the number itself.
        sign: 1 where the bound is an upper one, -1 where it is a lower one.
        limit: the bound.
    """
    if sample.is_hits:
        return proportion(round(sample.total), sample.n, sign, limit)
    return float(guarded_student(sample.n, sign * (sample.mean - limit), sample.deviation, sign * sample.skewness))


def proportion(hits: int, n: int, sign: float, limit: float) -> float:
    """Exact p-value of "the share of hits is within its bound": the binomial tail at the bound.

    P(X >= hits) for an upper bound, P(X <= hits) for a lower one, X of n at the rate of the bound. Clopper and Pearson,
    Biometrika 1934.
    """
    if not 0 < limit < 1:
        kept = hits / n <= limit + _EQUAL if sign > 0 else hits / n >= limit - _EQUAL
        return 1.0 if kept else 0.0
    if sign > 0:
        return float(special.betainc(hits, n - hits + 1, limit)) if hits else 1.0
    return float(special.betainc(n - hits, hits + 1, 1 - limit)) if hits < n else 1.0


def from_interval(loss: float, half: float, n: float) -> float:
    """P-value of a loss above 0 from half of its 95 % interval: normal, or Student's with n - 1 degrees of freedom.

    The tails of the normal distribution are assumed as far out as the level asks: an approximation.

    Args:
        loss: less the allowed one.
        half: from the number to the end of its interval towards the limit.
        n: of the measurements where the interval is Student's; infinite where it is not.
    """
    if half <= 0:
        return 0.0 if loss > _EQUAL else 1.0
    df = max(n - 1, 1.0)
    if math.isinf(df):
        return float(special.ndtr(-loss / half * special.ndtri(0.975)))
    return float(special.stdtr(df, -loss / half * special.stdtrit(df, 0.975)))

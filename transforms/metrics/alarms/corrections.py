"""Many tests at once, and many audits: how small a p-value must be so that the promise is kept."""

from __future__ import annotations

from typing import Literal

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Correction = Literal["holm", "benjamini_hochberg"]


def holm(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p-values: rejecting those up to a has any false alarm at most with chance a, whatever the dependence.

    Of m p-values in rising order: max over j <= i of (m - j + 1) p_(j), at most 1. Holm, Scandinavian Journal of
    Statistics 1979.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    adjusted = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1)) if len(p) else p
    found = np.empty_like(p)
    found[order] = np.minimum(adjusted, 1.0)
    return found


def benjamini_hochberg(p_values: npt.ArrayLike) -> Floats:
    """Adjusted p-values: of those up to a, at most the share a is expected to be false.

    Of m p-values in rising order: min over j >= i of m p_(j) / j. Holds for independent tests and for positively
    dependent ones (maps of several methods on the same images are). Benjamini and Hochberg, JRSSB 1995; Benjamini and
    Yekutieli, Annals of Statistics 2001, theorem 1.2. Where nothing is wrong at all, an alarm has at most the chance a.
    """
    p = np.asarray(p_values, np.float64)
    order = np.argsort(p, kind="stable")
    raw = p[order] * len(p) / np.arange(1, len(p) + 1)
    adjusted = np.minimum.accumulate(raw[::-1])[::-1] if len(p) else p
    found = np.empty_like(p)
    found[order] = np.minimum(adjusted, 1.0)
    return found


def adjusted(p_values: npt.ArrayLike, correction: Correction) -> Floats:
    """As `holm` or `benjamini_hochberg`."""
    return holm(p_values) if correction == "holm" else benjamini_hochberg(p_values)


def of_one_audit(rate: float, audits: int) -> float:
    """What one of a number of audits may spend: rate / audits, which sums to the rate whatever the dependence.

    1 - (1 - rate)^(1 / audits) would be greater by at most rate / 2 of itself and asks for independent audits; those of
    a schedule see the same images again.
    """
    return rate / audits

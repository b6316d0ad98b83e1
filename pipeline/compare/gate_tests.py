"""The test behind each check of a gate: which it is, its p-value, and what it could have seen.

==============  =========================================================================================
test            of what
==============  =========================================================================================
``sign_flip``   a change of a mean over pairs; exact for runs that are alike (hits: McNemar's test), guarded
                by Student's against skew
``student``     a change over more pairs than are kept one by one; a bound of a mean over pairs
``binomial``    a bound of a share of images; exact
``interval``    everything else that has an interval: a bound of another mean, and what is no mean over
                images (MaxBoxAcc, PxAP); from the interval's width, which its replicates give
==============  =========================================================================================

Formulas and assumptions: `transforms.metrics.alarms`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import intervals, paired
from heatbeam.transforms.metrics.alarms import mean_tests, power
from heatbeam.transforms.metrics.alarms.samples import Sample

Floats = npt.NDArray[np.float64]


@dataclasses.dataclass(frozen=True, eq=False)
class Question:
    """Whether a loss is within what is allowed.

    Attributes:
        mean: the number with its interval: a change (candidate - baseline), or the candidate's own.
        signs: what makes more of the number a loss: 1, -1, or both where no direction is better.
        limit: the allowed change, or the bound.
        change: whether it is a change.
        sample: measurements of it, if they are at hand.
        student: whether its interval is Student's where it is not said.
    """

    mean: paired.Mean
    signs: tuple[float, ...]
    limit: float
    change: bool
    sample: Sample | None
    student: bool = False

    @property
    def test(self) -> str:
        """Name of the test, as in the module; empty where there is none."""
        if self.sample is not None:
            if self.change:
                return "sign_flip" if self.sample.values is not None else "student"
            return "binomial" if self.sample.is_hits else "student"
        if math.isnan(self.mean.lower) or math.isnan(self.mean.upper):
            return ""
        return "binomial" if not self.change and self._hits is not None else "interval"

    @property
    def _hits(self) -> int | None:
        """The hits of a proportion: a number whose interval is Wilson's of a whole number of hits."""
        n, value = self.mean.n, self.mean.value
        hits = round(value * n)
        if abs(hits - value * n) > 1e-6 * max(n, 1) or not 0 <= hits <= n:
            return None
        same = np.allclose(intervals.wilson(hits, n), (self.mean.lower, self.mean.upper), rtol=0, atol=1e-6)
        return hits if same else None

    def _half(self, sign: float) -> float:
        """From the number to the end of its interval on the side of the limit."""
        return self.mean.value - self.mean.lower if sign > 0 else self.mean.upper - self.mean.value

    def p_value(self) -> float:
        """Of anything but a paired change."""
        found = [self._one_sided(sign) for sign in self.signs]
        return min(len(found) * min(found), 1.0)

    def _one_sided(self, sign: float) -> float:
        if self.sample is not None:
            return mean_tests.single(self.sample, sign, self.limit)
        if not self.change and (hits := self._hits) is not None:
            return mean_tests.proportion(hits, self.mean.n, sign, self.limit)
        loss = sign * self.mean.value - self.limit if self.change else sign * (self.mean.value - self.limit)
        return mean_tests.from_interval(loss, self._half(sign), self.mean.n if self._is_student else math.inf)

    def p_within(self) -> float:
        """P-value of "the loss is at its limit or beyond it": small where it surely is within what is allowed."""
        return max(self._within(sign) for sign in self.signs)

    def _within(self, sign: float) -> float:
        if self.sample is not None and self.change:
            one, room = self.sample, self.limit - sign * self.sample.mean
            return float(mean_tests.guarded_student(one.n, room, one.deviation, -sign * one.skewness))
        if not self.change:
            return dataclasses.replace(self, signs=(-sign,)).p_value()
        room = self.limit - sign * self.mean.value
        return mean_tests.from_interval(room, self._half(-sign), self.mean.n if self._is_student else math.inf)

    @property
    def _is_student(self) -> bool:
        return self.student or self.mean.interval == "student"

    def deviation(self) -> float:
        """Of one measurement, as the test takes it."""
        if self.test == "binomial":
            return power.hits_deviation(self.limit)
        if self.sample is not None:
            return self.sample.deviation
        half = max(self._half(sign) for sign in self.signs)
        quantile = intervals.student_point(self.mean.n) if self._is_student else intervals.Z
        return half / quantile * math.sqrt(self.mean.n)

    def smallest_loss(self, level: float) -> float:
        """The smallest loss that would have been found in four of five audits; of a bound, beyond it."""
        level /= len(self.signs)
        allowed = self.limit if self.change else 0.0
        loss = power.smallest_loss(allowed, self.deviation(), self.mean.n, level)
        return max(loss, allowed + _coins(level) / self.mean.n) if self._is_change_of_hits else loss

    def images_for(self, loss: float, level: float) -> float:
        """How many images find a loss (of a bound, beyond it) in four of five audits; infinite where none do."""
        level /= len(self.signs)
        allowed = self.limit if self.change else 0.0
        images = power.images_for(loss, allowed, self.deviation(), level)
        if self._is_change_of_hits and math.isfinite(images):
            images = max(images, math.ceil(_coins(level) / (loss - allowed)))
        return images

    @property
    def _is_change_of_hits(self) -> bool:
        return self.sample is not None and self.change and mean_tests.is_change_of_hits(self.sample)


def _coins(level: float) -> float:
    """How many images must be lost, none won, for as small a p-value, however few differ now."""
    return math.log2(1 / level)


def p_values(questions: Sequence[Question]) -> Floats:
    """Of each question, whose `test` is not empty."""
    found = np.ones(len(questions))
    changes = [i for i, one in enumerate(questions) if one.change and one.sample is not None]
    for i, one in enumerate(questions):
        if one.sample is None or not one.change:
            found[i] = one.p_value()
    sides = [(i, sign) for i in changes for sign in questions[i].signs]
    if sides:
        samples = [sample for i, _ in sides if (sample := questions[i].sample) is not None]
        limits = [questions[i].limit for i, _ in sides]
        tested = mean_tests.paired(samples, [sign for _, sign in sides], limits)
        for (i, _), p in zip(sides, tested.tolist(), strict=True):
            found[i] = min(found[i], p * len(questions[i].signs))
    return found

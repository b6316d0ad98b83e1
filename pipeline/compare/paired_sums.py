"""Sums over paired rows, per method and slice; everything a comparison says comes out of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import intervals, paired
from heatbeam.transforms.metrics.alarms import samples

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

Key = tuple[str, str, str]
"""``(method, slice_name, slice_value)``."""

_ROWS = 8192


@dataclasses.dataclass(frozen=True, eq=False)
class Slicing:
    """How rows are told apart.

    Attributes:
        name: ``all``, ``class``, ``target`` or a slice feature.
        codes: int ``(R,)``; -1 for a row that is left out.
        values: the slice value of each code.
    """

    name: str
    codes: Ints
    values: Sequence[str]


class _Sums:
    """Of one key: differences with their intervals, plain sums of both sides, and measures of agreement."""

    def __init__(self, metrics: int, measures: int, replicates: int):
        self.differences = paired.Means(metrics, replicates)
        self.sides = np.zeros((2, metrics))
        self.agreement = paired.Means(measures, replicates)


class PairedSums:
    """Sums of rows that measure the same quantities.

    Args:
        metrics: names of what is measured in both runs.
        measures: names of what is measured on the pair.
        replicates: of the bootstrap.
    """

    def __init__(self, metrics: Sequence[str], measures: Sequence[str], replicates: int):
        self.metrics = tuple(metrics)
        self.measures = tuple(measures)
        self._replicates = replicates
        self._sums: dict[Key, _Sums] = {}

    def add(
        self,
        method: str,
        slicings: Sequence[Slicing],
        baseline: Floats,
        candidate: Floats,
        measures: Floats,
        weights: npt.NDArray[np.uint8],
        images: Ints,
    ) -> None:
        """Count the R rows of one method.

        Args:
            method: of every row.
            slicings: the slices that the rows fall into.
            baseline, candidate: ``(R, metrics)``; a metric counts where neither is NaN.
            measures: ``(R, measures)``; NaN is left out.
            weights: ``(images, replicates)``, of `intervals.poisson_weights`.
            images: ``(R,)``, the image of each row: a row of `weights`.
        """
        there = np.isfinite(baseline) & np.isfinite(candidate)
        # Infinity minus infinity must not become a difference, nor warn.
        first, second = np.where(there, baseline, np.nan), np.where(there, candidate, np.nan)
        for slicing in slicings:
            order = np.argsort(slicing.codes, kind="stable")
            ends = np.searchsorted(slicing.codes[order], np.arange(len(slicing.values) + 1))
            for code in np.unique(slicing.codes[slicing.codes >= 0]):
                sums = self._of((method, slicing.name, slicing.values[code]))
                for start in range(ends[code], ends[code + 1], _ROWS):
                    rows = order[start : min(start + _ROWS, ends[code + 1])]
                    drawn = weights[images[rows]].astype(np.float32)
                    sums.differences.add(second[rows] - first[rows], drawn)
                    sums.agreement.add(measures[rows], drawn)
                    sums.sides += np.nansum([first[rows], second[rows]], axis=1)

    def _of(self, key: Key) -> _Sums:
        if key not in self._sums:
            self._sums[key] = _Sums(len(self.metrics), len(self.measures), self._replicates)
        return self._sums[key]

    def differences(self) -> Iterator[tuple[Key, str, float, float, paired.Mean]]:
        """Key, metric, means of both runs over the pairs, and the difference; only where there are pairs."""
        for key, sums in sorted(self._sums.items(), key=lambda item: item[0]):
            for i, (name, mean) in enumerate(zip(self.metrics, sums.differences.means(), strict=True)):
                if mean.n:
                    yield key, name, float(sums.sides[0, i] / mean.n), float(sums.sides[1, i] / mean.n), mean

    def samples(self) -> Iterator[tuple[Key, str, samples.Sample]]:
        """Key, metric or measure, and the measurements of its difference or of itself; only where there are some."""
        for key, sums in self._sums.items():
            for names, means in ((self.metrics, sums.differences), (self.measures, sums.agreement)):
                yield from ((key, name, one) for name, one in zip(names, means.samples(), strict=True) if one.n)

    def agreements(self) -> Iterator[tuple[Key, str, paired.Mean]]:
        """Key, measure and its mean; only where something was measured."""
        for key, sums in sorted(self._sums.items(), key=lambda item: item[0]):
            for name, mean in zip(self.measures, sums.agreement.means(), strict=True):
                if mean.n:
                    yield key, name, mean


def weights_of(image_ids: Sequence[str], replicates: int) -> npt.NDArray[np.uint8]:
    """Bootstrap weights of images: uint8 ``(images, replicates)``."""
    if not image_ids:
        return np.zeros((0, replicates), np.uint8)
    return np.stack([intervals.poisson_weights(image_id, replicates) for image_id in image_ids])

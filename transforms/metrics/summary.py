"""Numbers of a dataset, as sums that add up in any order: one `MetricState` per method and slice.

What is kept, and how the 95 % interval of each number comes out of it:
    * Named values (`Evidence.values`): n, sum, sum of squares. A proportion (see `registry`) has Wilson's interval; a
      mean has the Poisson bootstrap's if the state keeps replicates, Student's if not.
    * Hits of the pointing game per class: the mean over the classes that have examples, and its bootstrap interval.
    * Box hits per threshold (integers): Wilson's interval at the best threshold. MaxBoxAccV2 is a mean of three such
      proportions; its interval is the mean of their ends, which is never too narrow.
    * Histograms of pixel scores (integers): PxAP and the best IoU and F1, and their bootstrap intervals from replicates
      of a histogram with `COARSE_BINS` bins, moved by the difference the bins make.
    * Named curves: mean and n.

Counts take the smallest unsigned type that holds them, so a class of a few hundred images costs about 20 kB. States of
single classes are made without replicates (``replicates=0``): 1000 classes with 200 replicates would not fit into
memory, and their bootstrap of a few dozen images says no more than Student's interval.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import intervals, protocols, registry, value_errors
from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.metrics.localization import box_accuracy, localization, pixel_precision_recall

Floats = npt.NDArray[np.float64]
Counts = npt.NDArray[np.unsignedinteger]

COARSE_BINS = 100


class SummaryRow(NamedTuple):
    """One number; NaN where it does not exist."""

    metric: str
    value: float
    n: int
    lower: float
    upper: float


class Curve(NamedTuple):
    """Values float64 ``(points,)`` at rising thresholds float64 ``(points,)``, from n measurements."""

    name: str
    thresholds: Floats
    values: Floats
    n: int


def _added(total: Counts | None, more: npt.NDArray[np.integer | np.bool_], bound: int) -> Counts:
    """`total` + `more` in the smallest unsigned type that holds `bound`; `total` itself where it fits."""
    if total is None:
        return more.astype(np.min_scalar_type(bound), order="C")
    if bound >> (8 * total.itemsize):  # it no longer fits
        total = total.astype(np.min_scalar_type(bound), order="C")
    if more.dtype == np.bool_ and total.flags.c_contiguous and more.shape == total.shape:
        _count(total.reshape(-1), more.reshape(-1))
    else:
        total += more.astype(total.dtype, copy=False)  # twice as fast as an addition that converts
    return total


@compiled.short
def _count(total: Counts, more: npt.NDArray[np.bool_]) -> None:
    """Add `more` to `total`: NumPy would give Python's lock up, twice, for some microseconds."""
    for i in range(len(more)):
        total[i] += more[i]


class _Means:
    """Sums of named values: column 0 has weight 1, the others the weights of the bootstrap replicates."""

    def __init__(self, replicates: int):
        self.names: dict[str, int] = {}
        self.n = np.zeros(0, np.int64)
        self.squares = np.zeros(0)
        self.totals = np.zeros((0, 1 + replicates))
        self.weights = np.zeros((0, 1 + replicates))
        self._latest: tuple[tuple[str, ...], npt.NDArray[np.int64]] = ((), np.zeros(0, np.int64))

    def positions(self, names: tuple[str, ...]) -> npt.NDArray[np.int64]:
        """Where the sums of `names` are."""
        if names == self._latest[0]:  # one image after another has the same values
            return self._latest[1]
        new = [name for name in names if name not in self.names]
        if new:
            self.names.update({name: len(self.names) + i for i, name in enumerate(new)})
            self.n = np.append(self.n, np.zeros(len(new), np.int64))
            self.squares = np.append(self.squares, np.zeros(len(new)))
            room = np.zeros((len(new), self.totals.shape[1]))
            self.totals, self.weights = np.append(self.totals, room, axis=0), np.append(self.weights, room, axis=0)
        where = np.array([self.names[name] for name in names], np.int64)
        self._latest = names, where
        return where

    def add(self, names: tuple[str, ...], numbers: Floats, weights: Floats) -> None:
        where = self.positions(names)
        _add_weighted(self.n, self.squares, self.totals, self.weights, where, numbers, weights)

    def absorb(self, other: _Means) -> None:
        where = self.positions(tuple(other.names))
        self.n[where] += other.n
        self.squares[where] += other.squares
        self.totals[where] += other.totals
        self.weights[where] += other.weights

    def rows(self) -> Iterator[SummaryRow]:
        for name, i in self.names.items():
            n, total = int(self.n[i]), float(self.totals[i, 0])
            if registry.is_proportion(name):
                bounds = intervals.wilson(total, n)
            elif self.totals.shape[1] > 1:
                with np.errstate(invalid="ignore", divide="ignore"):
                    bounds = intervals.percentile(self.totals[i, 1:] / self.weights[i, 1:])
            else:
                bounds = intervals.student(total, float(self.squares[i]), n)
            numbers = np.array([total / n, *bounds])
            if name in value_errors.SIZES:
                numbers = np.maximum(numbers, 0)
            if registry.is_root(name):
                numbers = np.sqrt(numbers)
            value, lower, upper = numbers.tolist()
            yield SummaryRow(registry.dataset_name(name), value, n, lower, upper)


@compiled.short
def _add_weighted(
    n: npt.NDArray[np.int64],
    squares: Floats,
    totals: Floats,
    weights: Floats,
    where: npt.NDArray[np.int64],
    numbers: Floats,
    drawn: Floats,
) -> None:
    """Add `numbers` to the rows `where` of the sums of `_Means`, with the weights `drawn` of one image."""
    for i in range(len(where)):
        row, number = where[i], numbers[i]
        n[row] += 1
        squares[row] += number * number
        total, weight = totals[row], weights[row]
        for j in range(len(drawn)):
            total[j] += number * drawn[j]
            weight[j] += drawn[j]


@compiled.short
def _add_replicates(
    replicates: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64], counts: npt.NDArray[np.int64]
) -> None:
    """Add `counts` ``(bins,)`` to each of `replicates` ``(R, bins)``, as often as `drawn` ``(R,)`` says."""
    for i in range(len(drawn)):
        times = drawn[i]
        if times == 0:
            continue
        one = replicates[i]
        for j in range(len(counts)):
            one[j] += times * counts[j]


class MetricState:
    """The numbers of one method over one slice.

    States with the same protocol and `replicates` merge; addition is commutative and associative, to the bit for
    counts and to rounding for sums of floats.

    Args:
        protocol: of the evaluation.
        replicates: of the bootstrap; 0 keeps none.
    """

    def __init__(self, protocol: protocols.Protocol, replicates: int):
        self.protocol = protocol
        self.replicates = replicates
        self.images = 0
        self.boxes = 0
        self._means = _Means(replicates)
        self._classes: dict[int, npt.NDArray[np.int64]] = {}
        self._box_hits: Counts | None = None
        self.masks = 0
        self._most_cells = protocol.frame_px**2  # of a frame: what its histogram adds up to at most
        self._pixels: Counts | None = None
        self._pixel_replicates: npt.NDArray[np.int64] | None = None
        self._curves: dict[str, tuple[int, Floats]] = {}

    def add(self, evidence: localization.Evidence, image_id: str, curves: Mapping[str, Floats] | None = None) -> None:
        """Count one heatmap.

        Args:
            evidence: what was measured; values that are not finite are left out. They are read once for all the states
                that count them, so they must not change afterwards.
            image_id: of its image; the weights of the bootstrap follow from it.
            curves: name -> values at equal steps from 0 to 1; one with a NaN is left out.
        """
        self.images += 1
        weights, times = _weights(image_id if self.replicates else "", self.replicates)
        names, numbers, hit = _finite(evidence)
        self._means.add(names, numbers, weights)
        if hit is not None:
            tally = self._classes.get(evidence.class_id)
            if tally is None:
                tally = self._classes[evidence.class_id] = np.zeros((2, 1 + self.replicates), np.int64)
            rows = tally if hit else tally[1:]  # hits and examples, or examples alone
            rows += times
        if evidence.box_hits is not None:
            self.boxes += 1
            self._box_hits = _added(self._box_hits, evidence.box_hits, self.boxes)
        if evidence.pixels is not None:
            self._add_pixels(evidence.pixels, times[1:])
        for name, values in (curves or {}).items():
            if np.isfinite(values).all():
                self._add_curve(name, 1, values)

    def _add_pixels(self, pixels: npt.NDArray[np.int64], drawn: npt.NDArray[np.int64]) -> None:
        self.masks += 1
        self._most_cells = max(self._most_cells, int(pixels.sum()))
        self._pixels = _added(self._pixels, pixels, self.masks * self._most_cells)
        if self.replicates:
            coarse = _coarse(pixels)
            if self._pixel_replicates is None:
                self._pixel_replicates = np.zeros((self.replicates, *coarse.shape), np.int64)
            _add_replicates(self._pixel_replicates.reshape(self.replicates, -1), drawn, coarse.ravel())

    def _add_curve(self, name: str, n: int, total: Floats) -> None:
        before, values = self._curves.get(name, (0, np.zeros(len(total))))
        if len(values) != len(total):
            raise ValueError(f"curve {name} has {len(total)} points here, {len(values)} elsewhere; expected the same")
        self._curves[name] = (before + n, values + total)

    @property
    def nbytes(self) -> int:
        """Bytes of its arrays."""
        means = self._means
        arrays = [means.n, means.squares, means.totals, means.weights, *self._classes.values()]
        arrays += [one for one in (self._box_hits, self._pixels, self._pixel_replicates) if one is not None]
        return sum(one.nbytes for one in arrays) + sum(total.nbytes for _, total in self._curves.values())

    def absorb(self, other: MetricState) -> None:
        """Add `other`, which stays as it is, to this state."""
        if (self.protocol, self.replicates) != (other.protocol, other.replicates):
            raise ValueError("states of different protocols or numbers of replicates do not merge")
        self.images, self.boxes, self.masks = (
            self.images + other.images, self.boxes + other.boxes, self.masks + other.masks)  # fmt: skip
        self._means.absorb(other._means)
        for class_id, tally in other._classes.items():
            self._classes[class_id] = self._classes[class_id] + tally if class_id in self._classes else tally.copy()
        if other._box_hits is not None:
            self._box_hits = _added(self._box_hits, other._box_hits, self.boxes)
        if other._pixels is not None:
            self._most_cells = max(self._most_cells, other._most_cells)
            self._pixels = _added(self._pixels, other._pixels, self.masks * self._most_cells)
        if other._pixel_replicates is not None:
            mine = self._pixel_replicates
            self._pixel_replicates = other._pixel_replicates + (0 if mine is None else mine)
        for name, (n, total) in other._curves.items():
            self._add_curve(name, n, total)

    def best_thresholds(self) -> dict[str, float]:
        """The threshold at which each number over thresholds is best, the lowest of equals; input of `summary_rows`.

        Keys are ``single`` and ``multi`` with the IoU limit in percent, such as ``single_50``.
        """
        if self._box_hits is None:
            return {}
        values = box_accuracy.thresholds(self.protocol.threshold_step)
        best = np.argmax(self._box_hits, axis=2)
        names = box_accuracy.threshold_names(self.protocol.iou_limits)
        return {name: float(values[best[mode, number]]) for mode, number, name in names}

    def summary_rows(self, run_thresholds: Mapping[str, float] | None = None) -> list[SummaryRow]:
        """Every number of the state, ordered by name.

        Args:
            run_thresholds: `best_thresholds` of the whole run. With them, box accuracy at the run's threshold is given
                beside the slice's own best, which flatters a small slice.
        """
        rows = [*self._means.rows(), *self._class_rows(), *self._box_rows(run_thresholds or {}), *self._pixel_rows()]
        return sorted(rows)

    def _class_rows(self) -> Iterator[SummaryRow]:
        if len(self._classes) < 2:  # of one class the mean over images says the same
            return
        tallies = np.stack([self._classes[class_id] for class_id in sorted(self._classes)]).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            shares = tallies[:, 0] / tallies[:, 1]
        present = np.isfinite(shares)
        means = np.where(present, shares, 0).sum(axis=0) / np.maximum(present.sum(axis=0), 1)
        bounds = intervals.percentile(means[1:]) if self.replicates else (math.nan, math.nan)
        yield SummaryRow("pointing_game_per_class", float(means[0]), len(self._classes), *bounds)

    def _box_rows(self, run_thresholds: Mapping[str, float]) -> Iterator[SummaryRow]:
        if self._box_hits is None:
            return
        n = self.boxes
        bounds = []
        most = self._box_hits.max(axis=2).tolist()
        for j, limit in enumerate(self.protocol.iou_limits):
            single, multi = most[box_accuracy.SINGLE][j], most[box_accuracy.MULTI][j]
            suffix = "" if limit == 0.5 else f"_iou{round(100 * limit)}"
            yield SummaryRow(f"max_box_acc{suffix}", single / n, n, *intervals.wilson(single, n))
            yield SummaryRow(f"max_box_acc_v2_iou{round(100 * limit)}", multi / n, n, *intervals.wilson(multi, n))
            bounds.append(intervals.wilson(multi, n))
        lower, upper = np.mean(bounds, axis=0).tolist()
        yield SummaryRow("max_box_acc_v2", box_accuracy.max_box_acc_v2(self._box_hits, n), n, lower, upper)
        for mode, number, name in box_accuracy.threshold_names(self.protocol.iou_limits):
            if name in run_thresholds:
                hits = int(self._box_hits[mode, number, round(run_thresholds[name] / self.protocol.threshold_step)])
                yield SummaryRow(f"box_acc_at_run_threshold_{name}", hits / n, n, *intervals.wilson(hits, n))
        for key, threshold in self.best_thresholds().items():
            yield SummaryRow(f"best_box_threshold_{key}", threshold, n, math.nan, math.nan)

    def _pixel_rows(self) -> Iterator[SummaryRow]:
        if self._pixels is None:
            return
        for name, number in _PIXEL_NUMBERS.items():
            yield SummaryRow(name, float(number(self._pixels)), self.masks, *self._pixel_bounds(number))
        edges = pixel_precision_recall.edges(self.protocol.threshold_step)
        iou, f1 = pixel_precision_recall.iou_f1(self._pixels)
        for name, scores in (("best_mask_iou", iou), ("best_mask_f1", f1)):
            reached = math.nan if np.isnan(scores).all() else float(edges[np.argmax(scores)])
            yield SummaryRow(f"{name}_threshold", reached, self.masks, math.nan, math.nan)

    def _pixel_bounds(self, number: Callable[[npt.NDArray[np.integer]], Floats]) -> tuple[float, float]:
        """The bootstrap interval of one of `_PIXEL_NUMBERS`."""
        if self._pixel_replicates is None or self._pixels is None:
            return math.nan, math.nan
        shift = number(self._pixels) - number(_coarse(self._pixels.astype(np.int64)))
        lower, upper = intervals.percentile(number(self._pixel_replicates) + shift)
        return max(lower, 0.0), min(upper, 1.0)

    def curves(self, every: int = 1) -> list[Curve]:
        """Every curve, in order of name.

        Args:
            every: keep every so-many-th threshold of the box and pixel curves, the first included.
        """
        found = [*self._box_curves(every), *self._pixel_curves(every)]
        for name, (n, total) in self._curves.items():
            found.append(Curve(name, np.linspace(0, 1, len(total)), total / n, n))
        return sorted(found, key=lambda curve: curve.name)

    def _box_curves(self, every: int) -> Iterator[Curve]:
        if self._box_hits is None:
            return
        values = box_accuracy.thresholds(self.protocol.threshold_step)[::every]
        for i, name in enumerate(("box_acc", "box_acc_v2")):
            for j, limit in enumerate(self.protocol.iou_limits):
                accuracy = self._box_hits[i, j, ::every] / self.boxes
                yield Curve(f"{name}_iou{round(100 * limit)}", values, accuracy, self.boxes)

    def _pixel_curves(self, every: int) -> Iterator[Curve]:
        if self._pixels is None:
            return
        edges = pixel_precision_recall.edges(self.protocol.threshold_step)[::every]
        precision, recall = pixel_precision_recall.precision_recall(self._pixels)
        for name, scores in (("pixel_precision", precision), ("pixel_recall", recall)):
            yield Curve(name, edges, scores[::every], self.masks)


_PIXEL_NUMBERS: dict[str, Callable[[npt.NDArray[np.integer]], Floats]] = {
    "pxap": pixel_precision_recall.average_precision,
    "best_mask_iou": lambda counts: pixel_precision_recall.iou_f1(counts)[0].max(axis=-1),
    "best_mask_f1": lambda counts: pixel_precision_recall.iou_f1(counts)[1].max(axis=-1),
}
"""Numbers of histograms ``(..., 2, bins)``; NaN without object pixels."""


@functools.lru_cache(maxsize=64)  # one map after another is of the same image
def _weights(image_id: str, replicates: int) -> tuple[Floats, npt.NDArray[np.int64]]:
    """1, and the weight of an image in each replicate, in both types; ``(1 + replicates,)``, read-only."""
    weights = np.concatenate([[1.0], intervals.poisson_weights(image_id, replicates)])
    times = weights.astype(np.int64)
    for one in (weights, times):
        one.setflags(write=False)
    return weights, times


@functools.lru_cache(maxsize=64)  # one map is counted in several slices, one after another
def _finite(evidence: localization.Evidence) -> tuple[tuple[str, ...], Floats, float | None]:
    """Names and numbers of the values that are finite, and whether the pointing game hit; None if that is not known."""
    values = evidence.values
    if not all(map(math.isfinite, values.values())):
        values = {name: value for name, value in values.items() if math.isfinite(value)}
    numbers = np.fromiter(values.values(), np.float64, len(values))
    numbers.setflags(write=False)
    return tuple(values), numbers, values.get("pointing_hit")


def _coarse(pixels: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The histogram in `COARSE_BINS` bins and the one of score 1."""
    return np.add.reduceat(pixels, _coarse_starts(pixels.shape[1] - 1), axis=1)


@functools.lru_cache(maxsize=8)
def _coarse_starts(bins: int) -> npt.NDArray[np.int64]:
    starts = np.unique((np.arange(COARSE_BINS) * bins) // COARSE_BINS)
    return np.append(starts, bins)

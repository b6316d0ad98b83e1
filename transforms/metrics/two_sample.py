"""Whether two samples come from one distribution: a two-sample test by a classifier, exact by permutation.

A classifier learns to tell the samples apart on some of the rows and scores the others; where it does better than on
labels drawn at random, the samples differ (Lopez-Paz and Oquab, ICLR 2017, arXiv:1610.06545; on explanations of a
model: Mougan et al., TMLR 2025, arXiv:2303.08081). Here the classifier is linear in the features and their squares
(ridge regression on the labels): so it is fitted anew for a thousand permutations by two products of matrices.
Which statistic sees a difference depends on whether it is in all rows or in a few, in one feature or in many:

    ranks   sum_i y_i rank_i                   all rows, by their held-out scores (the area under the ROC curve)
    top     sum_{i in the top 5 %} y_i         a few rows of the second sample, like none of the first
    bottom  -sum_{i in the bottom 5 %} y_i     a few rows of the first, like none of the second
    single  max_j |u_j|                        one feature or its square, without a classifier
    all     (sum_j u_j^2)^(1/3)                many features a little (the root makes it nearly normal, as chi squares)

y_i is 1 for the second sample and 0 for the first, less its mean in the stratum of the row; u_j = sum_i y_i x_ij over
its deviation. Each statistic is divided by its deviation over the permutations, and the largest decides:
``T = max_s (t_s - mean_s) / deviation_s``.

Assumption: under the null hypothesis the rows of a stratum are exchangeable between the samples. Labels are permuted
within strata, so another mix of strata is no difference. ``p = (1 + #{T_b >= T}) / (1 + B)`` then is exact
(Phipson and Smyth 2010, arXiv:1603.05766), whatever the classifier.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

PERMUTATIONS = 999
FOLDS = 5
TAIL = 0.05
"""Share of the rows that the statistics of the tails take."""

RIDGE = 5.0
"""Added to each feature's variance of 1 when the direction is fitted: with few rows and many features the direction is
nearly that between the means, which a few hundred rows know."""

LIMIT = 8.0
"""Features are cut off so many deviations from their mean, or one row would be the direction."""

MIN_ROWS = 20
"""Strata with fewer rows of either sample are not tested by themselves."""


@dataclasses.dataclass(frozen=True, eq=False)
class Shift:
    """What a test found.

    Attributes:
        p_value: that the samples are from one distribution; at least ``1 / (1 + permutations)``.
        auc: area under the ROC curve of the held-out scores, over pairs of one stratum; 0.5 where nothing tells the
            samples apart.
        share: at least so much of the second sample lies where the first has nothing: the largest difference
            between the samples' distributions of scores, less what permuted labels give; from 0 on.
        scores: ``(N,)``, of each row by the classifier that has not seen it; high as in the second sample.
        rows: ``(2,)``, of either sample.
    """

    p_value: float
    auc: float
    share: float
    scores: Floats
    rows: tuple[int, int]


@dataclasses.dataclass(frozen=True, eq=False)
class Shifts:
    """A test over everything and one for each stratum.

    Attributes:
        p_value: that neither all rows together nor any stratum differ.
        everything: all rows by one classifier.
        strata: by number of the stratum, each by a classifier of its own. Their p-values are corrected for their
            number (largest statistic of any stratum, Westfall and Young 1993): any of them is below a with
            probability a where nothing differs.
    """

    p_value: float
    everything: Shift
    strata: dict[int, Shift]


def shifts(features: Floats, second: Bools, strata: Ints, permutations: int = PERMUTATIONS, seed: int = 0) -> Shifts:
    """Test whether rows of two samples differ, beyond the mix of strata.

    Args:
        features: ``(N, F)``; NaN stands for the feature's mean in its stratum.
        second: ``(N,)``, which rows are of the second sample.
        strata: ``(N,)``, number of each row's stratum, such as its class.
        permutations: B.
        seed: of the permutations and of the folds.

    Raises:
        ValueError: if a sample is empty, or the lengths differ.
    """
    count = len(features)
    if not count == len(second) == len(strata):
        raise ValueError(f"{count} rows, {len(second)} samples and {len(strata)} strata; expected equally many")
    if not 0 < int(second.sum()) < count:
        raise ValueError("a sample is empty; a test needs rows of both")
    groups = [np.flatnonzero(strata == value) for value in np.unique(strata)]
    points = _with_squares(standardized(features, groups))
    labels = _permuted(second, groups, permutations, seed)
    folds = np.random.default_rng(seed + 1).permutation(count) % FOLDS
    everything, whole = _test(points, labels, folds, groups)
    tested = [(int(strata[rows[0]]), rows) for rows in groups if _enough(second[rows])] if len(groups) > 1 else []
    found = {}
    for value, rows in tested:
        # A stratum's own deviations: what varies in it may not vary elsewhere.
        own = _with_squares(standardized(features[rows], [np.arange(len(rows))]))
        found[value] = _test(own, labels[:, rows], folds[rows], [np.arange(len(rows))])
    largest = np.max([statistic for _, statistic in found.values()], axis=0) if found else whole
    p_values = np.minimum(_p_values(whole), _p_values(largest))
    return Shifts(
        p_value=float(np.mean(p_values <= p_values[0])),
        everything=everything,
        strata={
            value: dataclasses.replace(shift, p_value=float(np.mean(largest >= statistic[0] - 1e-9)))
            for value, (shift, statistic) in found.items()
        },
    )


def _enough(second: Bools) -> bool:
    return min(int(second.sum()), int((~second).sum())) >= MIN_ROWS


def standardized(features: Floats, groups: list[Ints]) -> Floats:
    """Features less their mean in each group, over their deviation over everything, cut off at `LIMIT`.

    NaN is 0, and so is a feature that does not vary within groups.

    Args:
        features: ``(N, F)``.
        groups: rows of each group; every row is in one.
    """
    points = np.array(features, np.float64)
    for rows in groups:
        part = points[rows]
        there = np.isfinite(part)
        total = np.where(there, part, 0.0).sum(axis=0)
        points[rows] = np.where(there, part - total / np.maximum(there.sum(axis=0), 1), 0.0)
    deviations = points.std(axis=0)
    varied = deviations > 1e-9 * np.maximum(np.abs(np.nan_to_num(features)).max(axis=0, initial=0), 1e-300)
    return np.clip(np.where(varied, points, 0.0) / np.where(varied, deviations, 1.0), -LIMIT, LIMIT)


def _with_squares(points: Floats) -> Floats:
    """Features and their squares: a few rows far from the others, to whichever side, have large squares."""
    return np.hstack([points, np.clip(points * points - 1, -LIMIT, LIMIT) / 2])


def _permuted(second: Bools, groups: list[Ints], permutations: int, seed: int) -> npt.NDArray[np.float32]:
    """``(1 + B, N)``: labels, the true ones first, less their means in the strata."""
    generator = np.random.default_rng(seed)
    labels = np.empty((permutations + 1, len(second)), np.float32)
    labels[0] = second
    for rows in groups:
        own = second[rows].astype(np.float32)
        labels[1:, rows] = generator.permuted(np.broadcast_to(own, (permutations, len(own))), axis=1)
        labels[:, rows] -= own.mean()
    return labels


def _test(points: Floats, labels: npt.NDArray[np.float32], folds: Ints, groups: list[Ints]) -> tuple[Shift, Floats]:
    """The shift with a p-value of its own, and T of the true labels and of every permutation ``(1 + B,)``."""
    scores = _scores(points, labels, folds)
    statistics, apart = [], []
    # Rows come sample by sample: equal scores in that order would be a difference where there is none.
    drawn = np.random.default_rng(0).permutation(len(points))
    for row, own in zip(scores, labels, strict=True):
        ordered = own[drawn[np.argsort(row[drawn], kind="stable")]].astype(np.float64)
        statistics.append(_statistics(ordered))
        apart.append(_apart(ordered))
    along = labels.astype(np.float64) @ points
    deviations = along.std(axis=0)
    along /= np.where(deviations > 0, deviations, 1)
    values = np.column_stack([statistics, np.abs(along).max(axis=1, initial=0), np.cbrt((along**2).sum(axis=1))])
    deviations = values.std(axis=0)
    statistic = ((values - values.mean(axis=0)) / np.where(deviations > 0, deviations, 1)).max(axis=1)
    second = labels[0] > 0
    # Of samples that the scores part wholly `_apart` is the sum of the positive labels.
    most = float(np.abs(labels[0].astype(np.float64)).sum() / 2)
    shift = Shift(
        p_value=float(_p_values(statistic)[0]),
        auc=stratified_auc(scores[0], second, groups),
        share=max(0.0, float(apart[0] - np.mean(apart[1:]))) / most if most else 0.0,
        scores=scores[0].astype(np.float64),
        rows=(int((~second).sum()), int(second.sum())),
    )
    return shift, statistic


def _scores(points: Floats, labels: npt.NDArray[np.float32], folds: Ints) -> npt.NDArray[np.float32]:
    """``(1 + B, N)``: of each row by the classifier fitted on the other folds."""
    scores = np.zeros(labels.shape, np.float32)
    for fold in np.unique(folds):
        held = folds == fold
        train, targets = points[~held], labels[:, ~held]
        ridge = RIDGE * max(1, len(train))
        # The smaller of two equal forms: as many unknowns as features, or as rows.
        if train.shape[1] <= len(train):
            inverse = np.linalg.inv(train.T @ train + ridge * np.eye(train.shape[1]))
            projected = (points[held] @ inverse).astype(np.float32)
            scores[:, held] = (targets @ train.astype(np.float32)) @ projected.T
        else:
            gram = train @ train.T + ridge * np.eye(len(train))
            scores[:, held] = targets @ np.linalg.solve(gram, train @ points[held].T).astype(np.float32)
    return scores


def _statistics(labels: Floats) -> tuple[float, float, float]:
    """Of labels in the order of their scores."""
    count = len(labels)
    tail = max(1, round(TAIL * count))
    ranks = np.arange(count) - (count - 1) / 2
    return float(labels @ ranks), float(labels[-tail:].sum()), float(-labels[:tail].sum())


def _apart(labels: Floats) -> float:
    """The largest sum of labels above a score."""
    return float(np.cumsum(labels[::-1]).max())


def _p_values(statistics: Floats) -> Floats:
    """Of each statistic among all of them: the share that is as large or larger."""
    ordered = np.sort(statistics)
    # Ties stand for equal statistics: rounding must not make them unequal.
    return 1 - np.searchsorted(ordered, statistics - 1e-9, side="left") / len(ordered)


def stratified_auc(scores: Floats, second: Bools, groups: list[Ints]) -> float:
    """Share of the pairs of a stratum, one row of each sample, in which the second's score is higher; ties count half.

    Args:
        scores: ``(N,)``.
        second: ``(N,)``, which rows are of the second sample.
        groups: rows of each stratum.
    """
    from scipy import stats  # a second to import, and most commands do not need it

    won = pairs = 0.0
    for rows in groups:
        own = second[rows]
        n, m = int(own.sum()), int((~own).sum())
        if n and m:
            ranks = stats.rankdata(scores[rows])
            won += float(ranks[own].sum()) - n * (n + 1) / 2
            pairs += n * m
    return won / pairs if pairs else float("nan")

"""ROAD, remove and debias: how much the score changes when pixels are removed and filled in from what is around them.

A removed pixel is the weighted mean of its neighbours, removed neighbours included, so that all removed pixels of an
image are one linear system: for every removed pixel i, with w = 1/6 for the four orthogonal and 1/12 for the four
diagonal neighbours inside the image,

    sum_j w_ij (x_i - x_j) = 0,   j over the neighbours of i

The paper is about images. Its weights fall with the square of the distance, 1 and 2, and so they do here on one and
three axes: a sample of a series has two neighbours of equal weight, a voxel 6 of w = 1/6, 12 of 1/12 and 8 of 1/18.
Only their ratios matter, and an axis of one position adds no neighbour: a volume of one slice is filled as the image.

Rong, Leemann et al., ICML 2022, arXiv:2202.00449. The score change is pytorch-grad-cam's: the
paper reports accuracy instead.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
import threadpoolctl
from scipy import linalg, sparse
from scipy.sparse import linalg as sparse_linalg

from heatbeam.transforms.metrics.faithfulness import batch, insertion_deletion

Floats = npt.NDArray[np.float64]
Inputs = npt.NDArray[np.float32]
Bools = npt.NDArray[np.bool_]

ORTHOGONAL = 1 / 6
"""Weight of a neighbour one step along one axis; it is divided by the axes along which a neighbour is one step off."""

BAND_LIMIT = 2**25
"""Numbers in a band matrix (256 MiB), up to which it is solved as one: about 320 x 320 pixels removed."""

VOLUME_BAND_LIMIT = 2**20
"""The same of volumes, whose bands are so wide that steps of conjugate gradients take less."""

_RESIDUAL = 1e-10  # of conjugate gradients, relative to the right side

_Links = list[tuple[npt.NDArray[np.intp], npt.NDArray[np.int64], float]]
"""Numbers of removed pixels, those of their removed neighbours, and the weight between them."""


class Road(NamedTuple):
    """Score changes of B images at P percentiles.

    Attributes:
        morf: float64 ``(B, P)``, score after removal - score before, most relevant pixels removed first. Low is good.
        lerf: the same, least relevant pixels first. High is good.
        combined: float64 ``(B,)``, mean over percentiles of (lerf - morf) / 2. High is good.
    """

    morf: Floats
    lerf: Floats
    combined: Floats


def road(
    predict: batch.Predict,
    inputs: Inputs,
    heatmaps: batch.Maps,
    class_ids: npt.ArrayLike,
    *,
    percentiles: Sequence[float],
    noise: float,
    seeds: Sequence[int],
    batch_size: int,
) -> Road:
    """ROAD in both orders. 1 + 2P passes of the model.

    At percentile p the ceil((pixels - 1) p / 100) least relevant pixels stay (``morf``), or the most relevant
    (``lerf``): the pixels on the far side of numpy's linear percentile, as in pytorch-grad-cam, if no two pixels are
    equal. Equal pixels go in reading order, so that the number of removed pixels is right for a map of many zeros
    too, where a threshold would remove the whole image.

    Args:
        predict: inputs (N, *positions, C) to scores (N, classes), probabilities as a rule.
        inputs: float32 (B, *positions, C), preprocessed.
        heatmaps: (B, *positions) in [0, 1].
        class_ids: (B,).
        percentiles: share of the pixels kept, in percent, 0 < p < 100; pytorch-grad-cam has 10, 20, ... 90.
        noise: standard deviation of the Gaussian noise on filled pixels, in units of the preprocessed input; 0.01 in
            the paper.
        seeds: one per image (`sampling.image_seed`), so that the noise does not depend on the batch.
        batch_size: number of inputs made and given to `predict` at once.

    Returns:
        NaN for a map with a NaN.
    """
    class_ids = batch.checked(inputs, heatmaps, class_ids, batch_size)
    if len(seeds) != len(inputs):
        raise ValueError(f"{len(seeds)} seeds for {len(inputs)} images; expected one per image")
    if not percentiles or not all(0 < p < 100 for p in percentiles):
        raise ValueError(f"percentiles {list(percentiles)}; expected at least one, each above 0 and below 100")
    places = np.stack([insertion_deletion.ranks(heatmaps), insertion_deletion.ranks(-heatmaps)])
    gone = [_removed_count(places.shape[2], p) for p in percentiles]
    cases = 2 * len(percentiles)

    def filled(rows: npt.NDArray[np.int64]) -> Inputs:
        return np.stack([one(*divmod(int(row), cases)) for row in rows])

    def one(b: int, case: int) -> Inputs:
        order, step = divmod(case, len(percentiles))
        removed = (places[order, b] < gone[step]).reshape(inputs.shape[1:-1])
        return impute(inputs[b], removed, noise=noise, rng=np.random.default_rng([seeds[b], case]))

    before = batch.class_scores(predict, inputs, class_ids, batch_size) + batch.undefined(heatmaps)
    after = batch.scores_of(predict, filled, np.repeat(class_ids, cases), batch_size)
    change = after.reshape(-1, 2, len(percentiles)) - before[:, None, None]
    morf, lerf = change[:, 0], change[:, 1]
    return Road(morf, lerf, ((lerf - morf) / 2).mean(axis=1))


def _removed_count(pixels: int, percentile: float) -> int:
    # Rounded, as (pixels - 1) p / 100 may miss a whole number by a rounding error.
    return pixels - math.ceil(round((pixels - 1) * percentile / 100, 9))


def impute(image: Inputs, removed: Bools, *, noise: float, rng: np.random.Generator) -> Inputs:
    """The image with its removed pixels filled in by the linear system above, plus Gaussian noise.

    Args:
        image: float32 (*positions, C), of one, two or three position axes.
        removed: bool (*positions); at least one pixel must stay.
        noise: standard deviation; the noise is independent for each pixel and channel.
        rng: draws the noise.

    Returns:
        A new float32 (*positions, C). Kept pixels are unchanged.
    """
    if removed.shape != image.shape[:-1] or removed.all():
        raise ValueError(
            f"{int(removed.sum())} of {removed.size} pixels removed of an image of shape {image.shape}; expected a mask"
            " of its positions that leaves a pixel"
        )
    if not removed.any():
        return image.copy()
    filled = image.copy()
    flat = tuple(axis for axis in range(removed.ndim) if removed.shape[axis] == 1)
    view, mask = filled.squeeze(flat), removed.squeeze(flat)
    # The band is as wide as the longest step between neighbours; number along the sides where that is shortest.
    orders = list(itertools.permutations(range(mask.ndim)))
    widths = [_bandwidth(mask.transpose(order)) for order in orders]
    order = orders[int(np.argmin(widths))]
    view, mask = view.transpose(*order, -1), mask.transpose(order)
    # The blocks of a band are small: more threads take up to ten times as long on a busy machine.
    with _blas().limit(limits=1, user_api="blas"):
        values = _solve(view, mask, min(widths))
    if noise:
        values = values + noise * rng.standard_normal(values.shape)
    view[mask] = values
    return filled


@functools.cache
def _blas() -> threadpoolctl.ThreadpoolController:
    return threadpoolctl.ThreadpoolController()


@functools.cache
def _later(rank: int) -> tuple[tuple[tuple[int, ...], float], ...]:
    """Steps along each axis and weight of the neighbours that follow a pixel; the system is symmetric."""
    steps = itertools.product((-1, 0, 1), repeat=rank)
    return tuple((step, ORTHOGONAL / np.count_nonzero(step)) for step in steps if step > (0,) * rank)


def _numbers(removed: Bools) -> npt.NDArray[np.int64]:
    """Number of each removed pixel, -1 elsewhere, with a border of one pixel of -1."""
    numbers = np.full([size + 2 for size in removed.shape], -1, np.int64)
    numbers[(slice(1, -1),) * removed.ndim][removed] = np.arange(np.count_nonzero(removed))
    return numbers


def _bandwidth(removed: Bools) -> int:
    numbers = _numbers(removed)
    here = numbers[(slice(1, -1),) * removed.ndim]
    widest = 0
    for step, _ in _later(removed.ndim):
        there = numbers[tuple(slice(1 + by, 1 + by + size) for by, size in zip(step, removed.shape, strict=True))]
        widest = max(widest, int(np.max(there - here, where=(here >= 0) & (there >= 0), initial=0)))
    return widest


def _solve(image: npt.NDArray[np.float32], removed: Bools, bandwidth: int) -> Floats:
    """Values of the removed pixels, (N, C) in float64, in the order of the mask.

    The system is symmetric and positive definite as long as a pixel is known, so Cholesky needs no pivots; in a band
    it is four times as fast as a sparse factorization at 224 x 224 pixels.
    """
    numbers = _numbers(removed)
    places = [index + 1 for index in np.nonzero(removed)]
    inside = np.pad(np.ones(removed.shape), 1)
    border = [(1, 1)] * removed.ndim
    known = np.pad(np.where(removed[..., None], 0, image).astype(np.float64), [*border, (0, 0)])
    diagonal = np.zeros(len(places[0]))
    right_side = np.zeros((len(diagonal), image.shape[-1]))
    below = []
    for step, weight in _later(removed.ndim):
        for sign in (1, -1):
            there = tuple(place + sign * by for place, by in zip(places, step, strict=True))
            diagonal += weight * inside[there]
            right_side += weight * known[there]
        later = numbers[tuple(place + by for place, by in zip(places, step, strict=True))]
        first = np.flatnonzero(later >= 0)
        below.append((first, later[first], weight))
    volume = removed.ndim > 2
    if (bandwidth + 1) * len(diagonal) > (VOLUME_BAND_LIMIT if volume else BAND_LIMIT):
        solve = _conjugate_gradients if volume else _solve_sparse
        return solve(diagonal, below, right_side)
    band = np.zeros((bandwidth + 1, len(diagonal)), order="F")
    band[0] = diagonal
    for first, later, weight in below:
        band[later - first, first] = -weight
    solution: Floats = linalg.solveh_banded(band, right_side, overwrite_ab=True, lower=True, check_finite=False)
    return solution


def _matrix(diagonal: Floats, below: _Links) -> sparse.csc_matrix:
    size = len(diagonal)
    lower = sparse.csc_matrix((size, size))
    for first, later, weight in below:
        lower += sparse.csc_matrix((np.full(len(first), -weight), (later, first)), shape=(size, size))
    return sparse.csc_matrix(lower + lower.T + sparse.diags(diagonal))


def _solve_sparse(diagonal: Floats, below: _Links, right_side: Floats) -> Floats:
    factors = sparse_linalg.splu(
        _matrix(diagonal, below),
        permc_spec="MMD_AT_PLUS_A",
        diag_pivot_thresh=0.0,
        options={"SymmetricMode": True},
    )
    solution: Floats = factors.solve(right_side)
    return solution


def _conjugate_gradients(diagonal: Floats, below: _Links, right_side: Floats) -> Floats:
    """The solution of every channel to a relative residual of 1e-10, preconditioned by the diagonal.

    A factorization of a volume fills in: it needs gigabytes where this needs the matrix.
    """
    matrix = _matrix(diagonal, below).tocsr()
    solution, residual = np.zeros_like(right_side), right_side.copy()
    direction = scaled = residual / diagonal[:, None]
    size, goal = (residual * scaled).sum(axis=0), _RESIDUAL * np.linalg.norm(right_side, axis=0)
    for _ in range(len(diagonal)):
        if (np.linalg.norm(residual, axis=0) <= goal).all():
            break
        image = matrix @ direction
        # A channel that is solved, as one of zeros is from the start, has nothing left to go along.
        length = np.divide(size, (direction * image).sum(axis=0), out=np.zeros_like(size), where=size > 0)
        solution += length * direction
        residual -= length * image
        scaled = residual / diagonal[:, None]
        before, size = size, (residual * scaled).sum(axis=0)
        direction = scaled + np.divide(size, before, out=np.zeros_like(size), where=before > 0) * direction
    return solution


def measure(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """ROAD, the means of both orders, and the orders over the percentiles as curves."""
    got = road(
        one.predict, one.inputs, one.heatmaps, one.class_ids, percentiles=one.settings.road_percentiles,
        noise=one.settings.road_noise, seeds=one.seeds, batch_size=one.settings.batch_size,
    )  # fmt: skip
    columns = {"road": got.combined, "road_morf": got.morf.mean(axis=1), "road_lerf": got.lerf.mean(axis=1)}
    return columns, {"road_morf": got.morf, "road_lerf": got.lerf}

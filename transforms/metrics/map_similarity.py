"""How alike two heatmaps of the same image and class are: of two models, two dates or two methods.

Maps are raw and signed, ``(N, h, w)``, or of one or three axes behind the first, and both cover the same part of the
image with the same cells; `on_common_grid` makes it so where they do not. A number that does not exist is NaN.
"""

from __future__ import annotations

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps

Floats = npt.NDArray[np.float64]
Maps = npt.NDArray[np.floating]

TOP_SHARE = 0.2
"""Share of the area that counts as the top of a map."""

MEASURES = {
    "map_spearman": "rank correlation of the cells of both maps, -1 to 1",
    "map_top20_overlap": "intersection over union of the strongest 20 % of the area; unrelated maps share about 1/9",
    "map_centroid_shift": "distance between the centres of positive evidence, in sides of the picture",
}
"""Name and meaning of each measure of `similarity`."""


def similarity(first: Maps, second: Maps) -> dict[str, Floats]:
    """Every measure of `MEASURES` for N pairs of maps.

    Args:
        first, second: ``(N, h, w)``, or of one or three axes.

    Returns:
        float64 ``(N,)`` each.
    """
    if first.shape != second.shape or first.ndim - 1 not in heatmaps.RANKS:
        raise ValueError(f"maps have shapes {first.shape}, {second.shape}; expected one (N, h, w): use on_common_grid")
    return {
        "map_spearman": spearman(first, second),
        "map_top20_overlap": top_area_overlap(first, second, TOP_SHARE),
        "map_centroid_shift": centroid_shift(first, second),
    }


def spearman(first: Maps, second: Maps) -> Floats:
    """Spearman's rank correlation over the cells, ties sharing their mean rank; NaN where a map is constant.

    rho = cov(rank a, rank b) / (std(rank a) std(rank b))
    """
    from scipy import stats  # half a second to import, and a run that compares no maps does without

    return pearson(*(stats.rankdata(_flat(maps), axis=1) for maps in (first, second)))


def pearson(first: Maps, second: Maps, of_constant: float = math.nan) -> Floats:
    """Pearson's correlation over the cells; `of_constant` where a map is constant, NaN where one has a NaN.

    r = cov(a, b) / (std(a) std(b))
    """
    a, b = _flat(first), _flat(second)
    varied = (np.ptp(a, axis=1) != 0) & (np.ptp(b, axis=1) != 0)
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    ratio: Floats = np.divide(
        (a * b).sum(axis=1), spread, out=np.full(len(a), of_constant), where=varied & (spread != 0)
    )
    return ratio


def top_area_overlap(first: Maps, second: Maps, share: float) -> Floats:
    """Overlap of the strongest areas: sum min(a, b) / sum max(a, b), a and b the membership of each cell.

    The area holds exactly `share` of the cells. Cells are members from the strongest down; equal cells at its edge are
    members in part, all alike, so that no order of the cells decides. NaN where a map is constant.
    """
    a, b = _top(_flat(first), share), _top(_flat(second), share)
    overlap: Floats = np.minimum(a, b).sum(axis=1) / np.maximum(a, b).sum(axis=1)
    return overlap


def centroid_shift(first: Maps, second: Maps) -> Floats:
    """Euclidean distance between the centroids of max(map, 0), axes from 0 to 1; NaN where there is no evidence."""
    apart = [b - a for a, b in zip(_centroid(first), _centroid(second), strict=True)]
    shift: Floats = functools.reduce(np.hypot, apart[1:], np.abs(apart[0]))
    return shift


def _flat(maps: Maps) -> Floats:
    return maps.reshape(len(maps), -1).astype(np.float64)


def _divided(top: Floats, bottom: Floats) -> Floats:
    quotient: Floats = np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0)
    return quotient


def _top(cells: Floats, share: float) -> Floats:
    """Membership in the top area, ``(N, cells)``; NaN for a constant map."""
    count = share * cells.shape[1]
    place = cells.shape[1] - math.ceil(count)
    edge = np.partition(cells, place, axis=1)[:, place, None]
    above, tied = cells > edge, cells == edge
    part = (count - above.sum(axis=1)) / tied.sum(axis=1)
    members = np.where(above, 1.0, np.where(tied, part[:, None], 0.0))
    constant = cells.min(axis=1) == cells.max(axis=1)
    members[constant] = np.nan
    return members


def _centroid(maps: Maps) -> list[Floats]:
    """The mean place of the evidence along each axis, x first."""
    evidence = np.maximum(maps, 0).astype(np.float64)
    axes = tuple(range(1, maps.ndim))
    total = evidence.sum(axis=axes)
    centres = []
    for axis in axes[::-1]:
        side = maps.shape[axis]
        along = evidence.sum(axis=tuple(other for other in axes if other != axis))
        centres.append(_divided(along @ ((np.arange(side) + 0.5) / side), total))
    return centres


def on_common_grid(
    first: Maps, second: Maps, first_view: heatmaps.View, second_view: heatmaps.View
) -> tuple[Maps, Maps] | None:
    """Two maps of other sizes, or of other parts of the image, over the part that both show.

    Args:
        first, second: ``(h, w)`` each, or of one or three axes.
        first_view, second_view: the part each covers, in fractions of the image's width and height, ``x0 y0 x1 y1``:
            all starts and then all ends, x first.

    Returns:
        Both maps, linearly resized to the greater number of cells along each axis, over the intersection of the views;
        None if it is empty.
    """
    rank = first.ndim
    starts = [max(first_view[i], second_view[i]) for i in range(rank)]
    ends = [min(first_view[i], second_view[i]) for i in range(rank, 2 * rank)]
    if not all(start < end for start, end in zip(starts, ends, strict=True)):
        return None
    shape = tuple(max(sides) for sides in zip(first.shape, second.shape, strict=True))
    size: tuple[Any, ...] = tuple(end - start for start, end in zip(starts, ends, strict=True))
    placed = []
    for one, view in ((first, first_view), (second, second_view)):
        moved = tuple(edge - start for edge, start in zip(view, starts * 2, strict=True))
        placed.append(heatmaps.place(one, shape, moved, size))
    return placed[0], placed[1]

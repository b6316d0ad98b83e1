"""How alike two heatmaps of the same image and class are: of two models, two dates or two methods.

Maps are raw and signed, ``(N, h, w)``, and both cover the same part of the image with the same cells; `on_common_grid`
makes it so where they do not. A number that does not exist is NaN.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from scipy import stats

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
        first, second: ``(N, h, w)``.

    Returns:
        float64 ``(N,)`` each.
    """
    if first.shape != second.shape or first.ndim != 3:
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
    a, b = (stats.rankdata(_flat(maps), axis=1) for maps in (first, second))
    a, b = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    spread = np.sqrt((a * a).sum(axis=1) * (b * b).sum(axis=1))
    return _divided((a * b).sum(axis=1), spread)


def top_area_overlap(first: Maps, second: Maps, share: float) -> Floats:
    """Overlap of the strongest areas: sum min(a, b) / sum max(a, b), a and b the membership of each cell.

    The area holds exactly `share` of the cells. Cells are members from the strongest down; equal cells at its edge are
    members in part, all alike, so that no order of the cells decides. NaN where a map is constant.
    """
    a, b = _top(_flat(first), share), _top(_flat(second), share)
    overlap: Floats = np.minimum(a, b).sum(axis=1) / np.maximum(a, b).sum(axis=1)
    return overlap


def centroid_shift(first: Maps, second: Maps) -> Floats:
    """Euclidean distance between the centroids of max(map, 0), x and y from 0 to 1; NaN where a map has no evidence."""
    (x1, y1), (x2, y2) = _centroid(first), _centroid(second)
    shift: Floats = np.hypot(x2 - x1, y2 - y1)
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


def _centroid(maps: Maps) -> tuple[Floats, Floats]:
    evidence = np.maximum(maps, 0).astype(np.float64)
    total = evidence.sum(axis=(1, 2))
    _, height, width = maps.shape
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    return _divided(evidence.sum(axis=1) @ x, total), _divided(evidence.sum(axis=2) @ y, total)


def on_common_grid(
    first: Maps, second: Maps, first_view: heatmaps.View, second_view: heatmaps.View
) -> tuple[Maps, Maps] | None:
    """Two maps of other sizes, or of other parts of the image, over the part that both show.

    Args:
        first, second: ``(h, w)`` each.
        first_view, second_view: the part each covers, in fractions of the image's width and height, ``x0 y0 x1 y1``.

    Returns:
        Both maps, bilinearly resized to the greater number of rows and of columns, over the intersection of the views;
        None if it is empty.
    """
    x0, y0 = (max(first_view[i], second_view[i]) for i in (0, 1))
    x1, y1 = (min(first_view[i], second_view[i]) for i in (2, 3))
    if not (x0 < x1 and y0 < y1):
        return None
    size = (max(first.shape[0], second.shape[0]), max(first.shape[1], second.shape[1]))
    placed = []
    for one, view in ((first, first_view), (second, second_view)):
        moved = (view[0] - x0, view[1] - y0, view[2] - x0, view[3] - y0)
        placed.append(heatmaps.place(one, size, moved, (x1 - x0, y1 - y0)))  # type: ignore[arg-type]
    return placed[0], placed[1]

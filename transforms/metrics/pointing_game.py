"""The pointing game: does the strongest point of the map hit the object?

The map is resized bilinearly to the original image; the point is its first maximum, row by row. It hits if any pixel
of the object is nearer than the tolerance (dx^2 + dy^2 < tolerance^2, so tolerance 1 asks for the exact pixel).

Zhang et al., IJCV 2018, arXiv:1608.00507; disc, ties and the rule for difficult objects of facebookresearch/TorchRay.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from transforms.methods import heatmaps
from transforms.metrics import boxes

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_ROUNDING = 1e-6


def point(raw: npt.NDArray[np.floating], view: heatmaps.View, width: int, height: int) -> tuple[int, int]:
    """The pixel ``(x, y)`` of the original image where the map is strongest.

    That is the first maximum, row by row, of `heatmaps.to_image_frame`, but only pixels that can hold it are computed:
    a pixel is a mean of the cells around it, so it cannot exceed a known pixel unless one of its cells does.

    Args:
        raw: ``(h, w)``, finite.
        view: part of the original image that the map covers.
        width, height: of the original image.
    """
    down, across = _seen(raw.shape, view, width, height)
    if not down.count or not across.count:
        raise ValueError(f"view {view} shows nothing of the image of {width} x {height} pixels")
    place, high, low = int(raw.argmax()), raw.max(), raw.min()
    if high == low:
        return across.first, down.first
    peak_row, peak_column = divmod(place, raw.shape[1])
    known = down.weights[down.strongest[peak_row]] @ raw @ across.weights[across.strongest[peak_column]]
    cells = raw >= known - _ROUNDING * max(high, -low)
    near_rows = np.flatnonzero(down.reached[cells.any(axis=1)].any(axis=0))
    near_columns = np.flatnonzero(across.reached[cells.any(axis=0)].any(axis=0))
    values = down.weights[near_rows] @ raw @ across.weights[near_columns].T
    # Sums that differ only by rounding are ties: they are equal in float32.
    y, x = divmod(int(values.astype(np.float32).argmax()), values.shape[1])
    return across.first + int(near_columns[x]), down.first + int(near_rows[y])


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """The rows, or the columns, of an image that a map covers.

    Attributes:
        first, count: which pixels those are; they follow one another.
        weights: of `heatmaps.bilinear_weights`, of those pixels alone.
        strongest: for each cell, the first pixel in which it weighs most.
        reached: bool ``(cells, count)``, the pixels in which a cell weighs anything.
    """

    first: int
    count: int
    weights: heatmaps.Floats
    strongest: list[int]
    reached: Bools


@functools.lru_cache(maxsize=64)
def _seen(cells: tuple[int, ...], view: heatmaps.View, width: int, height: int) -> tuple[_Side, _Side]:
    """What a map covers of the rows, and of the columns, of an image."""
    down, across = heatmaps.bilinear_weights(cells, view, width, height)
    return _side(down), _side(across)


def _side(weights: heatmaps.Floats) -> _Side:
    covered = np.flatnonzero(~np.isnan(weights[:, 0]))
    if not len(covered):
        return _Side(0, 0, weights[:0], [], np.zeros((weights.shape[1], 0), np.bool_))
    first, count = int(covered[0]), len(covered)
    mine = weights[first : first + count]
    return _Side(first, count, mine, mine.argmax(axis=0).tolist(), np.ascontiguousarray(mine.T != 0))


def hits_boxes(x: int, y: int, truths: Floats, tolerance_px: float) -> bool:
    """Whether a pixel of any filled box is nearer than the tolerance to pixel ``(x, y)``."""
    return hits_ranges(x, y, boxes.pixel_ranges(truths).tolist(), tolerance_px)


def hits_ranges(x: int, y: int, ranges: Sequence[Sequence[int]], tolerance_px: float) -> bool:
    """`hits_boxes` with the `boxes.pixel_ranges` of the boxes, as lists."""
    for x0, y0, x1, y1 in ranges:
        if x1 > x0 and y1 > y0:
            dx, dy = x - min(max(x, x0), x1 - 1), y - min(max(y, y0), y1 - 1)
            if dx * dx + dy * dy < tolerance_px**2:
                return True
    return False


def hits_masks(x: int, y: int, masks: Bools, tolerance_px: float) -> bool:
    """Whether a pixel of any of the masks ``(M, H, W)`` is nearer than the tolerance to pixel ``(x, y)``."""
    reach = int(np.ceil(tolerance_px))
    top, left = max(y - reach, 0), max(x - reach, 0)
    for mask in masks:
        rows, columns = np.nonzero(mask[top : y + reach + 1, left : x + reach + 1])
        if ((columns + left - x) ** 2 + (rows + top - y) ** 2 < tolerance_px**2).any():
            return True
    return False

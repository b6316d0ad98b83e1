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

from heatbeam.transforms import heatmaps
from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.metrics.localization import scored_map

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_ROUNDING = 1e-6


def point(raw: npt.NDArray[np.floating], view: heatmaps.View, width: int, height: int) -> tuple[int, int]:
    """The pixel ``(x, y)`` of the original image where the map is strongest.

    That is the first maximum, row by row, of `heatmaps.place` over the image, but only pixels that can hold it are
    computed: a pixel is a mean of the cells around it, so it cannot exceed a known pixel unless one of its cells does.

    Args:
        raw: ``(h, w)``, finite.
        view: part of the original image that the map covers.
        width, height: of the original image.
    """
    down, across = _seen(raw.shape, view, width, height)
    if not down.count or not across.count:
        raise ValueError(f"view {view} shows nothing of the image of {width} x {height} pixels")
    if raw.max() == raw.min():
        return across.first, down.first
    cells = np.ascontiguousarray(raw, np.float64)
    x, y = _strongest(
        cells, down.weights, across.of_cells, down.strongest, across.strongest, down.reached, across.reached
    )
    return across.first + int(x), down.first + int(y)


@compiled.function
def _strongest(
    cells: Floats,
    down: Floats,
    across: Floats,
    strongest_row: npt.NDArray[np.int64],
    strongest_column: npt.NDArray[np.int64],
    rows_reached: Bools,
    columns_reached: Bools,
) -> tuple[np.int64, np.int64]:
    """The first maximum ``(x, y)`` of ``down @ cells @ across`` in float32: sums that differ only by rounding are ties.

    Args:
        cells: ``(h, w)``.
        down, across: ``(rows, h)`` and ``(w, columns)``.
        strongest_row, strongest_column, rows_reached, columns_reached: of `_Side`.
    """
    peak = int(cells.argmax())
    row, column = strongest_row[peak // cells.shape[1]], strongest_column[peak % cells.shape[1]]
    known = 0.0
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            known += down[row, i] * cells[i, j] * across[j, column]
    least = known - _ROUNDING * max(cells.max(), -cells.min())
    near_rows, near_columns = np.zeros(len(down), np.bool_), np.zeros(across.shape[1], np.bool_)
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            if cells[i, j] >= least:
                near_rows |= rows_reached[i]
                near_columns |= columns_reached[j]
    best, x, y = np.float32(-np.inf), np.int64(0), np.int64(0)
    columns = np.flatnonzero(near_columns)
    first, end = columns[0], columns[-1] + 1
    values = np.empty(end - first)
    for one in np.flatnonzero(near_rows):
        values[:] = 0.0
        for j in range(cells.shape[1]):
            mixed = 0.0
            for i in range(cells.shape[0]):
                mixed += down[one, i] * cells[i, j]
            of_cell = across[j, first:end]
            for k in range(len(values)):
                values[k] += mixed * of_cell[k]
        for k in range(len(values)):
            if np.float32(values[k]) > best:
                best, x, y = np.float32(values[k]), np.int64(first + k), np.int64(one)
    return x, y


@dataclasses.dataclass(frozen=True, eq=False)
class _Side:
    """The rows, or the columns, of an image that a map covers.

    Attributes:
        first, count: which pixels those are; they follow one another.
        weights: of `heatmaps.bilinear_weights`, of those pixels alone.
        of_cells: the same, ``(cells, count)``.
        strongest: int ``(cells,)``, the first pixel in which a cell weighs most.
        reached: bool ``(cells, count)``, the pixels in which a cell weighs anything.
    """

    first: int
    count: int
    weights: Floats
    of_cells: Floats
    strongest: npt.NDArray[np.int64]
    reached: Bools


@functools.lru_cache(maxsize=64)
def _seen(cells: tuple[int, ...], view: heatmaps.View, width: int, height: int) -> tuple[_Side, _Side]:
    """What a map covers of the rows, and of the columns, of an image."""
    down, across = heatmaps.bilinear_weights(cells, view, width, height)
    return _side(down), _side(across)


def _side(weights: heatmaps.Floats) -> _Side:
    covered = np.flatnonzero(~np.isnan(weights[:, 0]))
    if not len(covered):
        nothing = np.zeros((weights.shape[1], 0))
        return _Side(0, 0, nothing.T, nothing, np.zeros(0, np.int64), nothing.astype(np.bool_))
    first, count = int(covered[0]), len(covered)
    mine = np.array(weights[first : first + count], np.float64)
    of_cells = np.ascontiguousarray(mine.T)
    return _Side(first, count, mine, of_cells, mine.argmax(axis=0).astype(np.int64), of_cells != 0)


def hits_ranges(x: int, y: int, ranges: Sequence[Sequence[int]], tolerance_px: float) -> bool:
    """Whether a pixel of any filled box is nearer than the tolerance to pixel ``(x, y)``.

    Args:
        x, y: the pixel.
        ranges: `boxes.pixel_ranges` of the boxes, as lists.
        tolerance_px: the radius of the disc, itself outside.
    """
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


def columns(one: scored_map.ScoredMap) -> dict[str, float]:
    """1 or 0; nothing where there is no object or all of the class is marked difficult."""
    truth, source, tolerance = one.truth, one.source, one.protocol.point_tolerance_px
    if truth.region is None or truth.difficult:
        return {}
    if not one.framed.finite:
        return {"pointing_hit": 0.0}
    x, y = one.point or point(one.framed.raw, source.view, *source.size)
    if truth.masks is not None:
        return {"pointing_hit": float(hits_masks(x, y, truth.masks, tolerance))}
    return {"pointing_hit": float(hits_ranges(x, y, truth.pixel_ranges, tolerance))}

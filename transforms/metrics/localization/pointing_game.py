"""The pointing game: does the strongest point of the map hit the object?

The map is resized bilinearly to the original image; the point is its first maximum, row by row. It hits if any pixel
of the object is nearer than the tolerance (dx^2 + dy^2 < tolerance^2, so tolerance 1 asks for the exact pixel). In
series and volumes it is the same: linear along every axis, the first maximum in the order of the array, the distance
Euclidean in samples of the original.

Zhang et al., IJCV 2018, arXiv:1608.00507; disc, ties and the rule for difficult objects of facebookresearch/TorchRay.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps
from heatbeam.transforms.metrics import kept
from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.metrics.localization import scored_map

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_ROUNDING = 1e-6


def point(raw: npt.NDArray[np.floating], view: heatmaps.View, size: tuple[int, ...]) -> tuple[int, ...]:
    """The pixel ``(x, y)`` of the original image where the map is strongest; a sample ``(x,)`` or ``(x, y, z)``.

    That is the first maximum, in the order of the array, of `heatmaps.place` over the image, but only pixels that can
    hold it are computed.

    Args:
        raw: ``(h, w)``, or of one or three axes, finite.
        view: part of the original image that the map covers.
        size: ``(width, height)`` of the original image, x first.
    """
    sides = _seen(raw.shape, view, size)
    if not all(side.count for side in sides):
        raise ValueError(f"view {view} shows nothing of the image of {' x '.join(map(str, size))} pixels")
    first = tuple(side.first for side in sides[::-1])
    if raw.ndim != 2 and raw.max() == raw.min():  # of pictures `_strongest` sees it
        return first
    cells = np.ascontiguousarray(raw, np.float64)
    if raw.ndim == 3 and 1 in raw.shape and sides[flat := raw.shape.index(1)].count == 1:
        sides = (*sides[:flat], *sides[flat + 1 :])
        within = [*_within(cells.squeeze(flat), sides)]
        within.insert(2 - flat, 0)
    else:
        within = [*_within(cells, sides)]
    return tuple(start + place for start, place in zip(first, within, strict=True))


def _within(cells: Floats, sides: Sequence[_Side]) -> tuple[int, ...]:
    """`point`, x first, counted from the first pixel that the map covers."""
    if cells.ndim != 2:
        return _corner(cells, sides)
    down, across = sides
    x, y = _strongest(
        cells, down.weights, across.of_cells, down.strongest, across.strongest, down.reached, across.reached
    )
    return int(x), int(y)


def _corner(cells: Floats, sides: Sequence[_Side]) -> tuple[int, ...]:
    """`point` where every axis is looked at only where it can be greatest.

    Between the centres of neighbouring cells the map is linear along each axis, so over a block of samples it is
    greatest in a corner: of the samples between two centres only the first and the last can be the point.
    """
    mixed: Floats = cells
    for axis, side in enumerate(sides):
        mixed = np.moveaxis(np.tensordot(side.weights[side.ends], mixed, (1, axis)), 0, axis)
    greatest = np.unravel_index(int(mixed.astype(np.float32).argmax()), mixed.shape)
    return tuple(int(side.ends[place]) for side, place in zip(sides, greatest, strict=True))[::-1]


@compiled.short
def _greatest_cell(cells: Floats) -> tuple[int, int, float]:
    """Row and column of the first of the greatest cells of ``(h, w)``, and the value of the least one."""
    row, column, lowest = 0, 0, cells[0, 0]
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            lowest = min(lowest, cells[i, j])
            if cells[i, j] > cells[row, column]:
                row, column = i, j
    return row, column, lowest


@compiled.function
def _reached(cells: Floats, least: float, rows_reached: Bools, columns_reached: Bools) -> tuple[Bools, int, int]:
    """Which rows of the image the cells from `least` on reach, the first column, and the one behind the last.

    Arguments as of `_strongest`.
    """
    rows, columns = np.zeros(rows_reached.shape[1], np.bool_), np.zeros(columns_reached.shape[1], np.bool_)
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            if cells[i, j] < least:
                continue
            for k in range(len(rows)):
                rows[k] |= rows_reached[i, k]
            for k in range(len(columns)):
                columns[k] |= columns_reached[j, k]
    first, end = 0, len(columns)
    while first < end - 1 and not columns[first]:
        first += 1
    while end > first + 1 and not columns[end - 1]:
        end -= 1
    return rows, first, end


@compiled.function
def _weighing(columns_reached: Bools, first: int, end: int) -> Bools:
    """Which columns of cells reach any column of the image from `first` to before `end`."""
    found = np.empty(len(columns_reached), np.bool_)
    for j in range(len(columns_reached)):
        k = first
        while k < end and not columns_reached[j, k]:
            k += 1
        found[j] = k < end
    return found


@compiled.short
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

    A pixel is a mean of the cells around it, so it cannot exceed a known pixel unless one of its cells does. Of a map
    that is the same everywhere it is the first pixel.

    Args:
        cells: ``(h, w)``.
        down, across: ``(rows, h)`` and ``(w, columns)``.
        strongest_row, strongest_column, rows_reached, columns_reached: of `_Side`.
    """
    top, side, lowest = _greatest_cell(cells)
    if cells[top, side] == lowest:
        return np.int64(0), np.int64(0)
    row, column = strongest_row[top], strongest_column[side]
    known = 0.0
    for i in range(cells.shape[0]):
        for j in range(cells.shape[1]):
            known += down[row, i] * cells[i, j] * across[j, column]
    least = known - _ROUNDING * max(cells[top, side], -lowest)
    near_rows, first, end = _reached(cells, least, rows_reached, columns_reached)
    weighs = _weighing(columns_reached, first, end)
    best, x, y = np.float32(-np.inf), np.int64(0), np.int64(0)
    values = np.empty(end - first)
    for one in range(len(near_rows)):
        if not near_rows[one]:
            continue
        for k in range(len(values)):
            values[k] = 0.0
        for j in range(cells.shape[1]):
            if not weighs[j]:  # it would add zeros
                continue
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
    """The rows, or the columns, of an image that a map covers; the samples along any axis.

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

    @kept.Kept
    def ends(self) -> npt.NDArray[np.int64]:
        """The first and the last pixel of those that mix the same cells, rising; pictures do not ask."""
        mixes = self.weights != 0
        changes = np.flatnonzero((mixes[1:] != mixes[:-1]).any(axis=1))
        return np.unique(np.concatenate([[0], changes, changes + 1, [self.count - 1]])).astype(np.int64)


@functools.lru_cache(maxsize=64)
def _seen(cells: tuple[int, ...], view: heatmaps.View, size: tuple[int, ...]) -> tuple[_Side, ...]:
    """What a map covers of an image along each axis of the array: of its rows, and of its columns."""
    return tuple(map(_side, heatmaps.bilinear_weights(cells, view, size)))


def _side(weights: heatmaps.Floats) -> _Side:
    covered = np.flatnonzero(~np.isnan(weights[:, 0]))
    if not len(covered):
        nothing = np.zeros((weights.shape[1], 0))
        return _Side(0, 0, nothing.T, nothing, np.zeros(0, np.int64), nothing.astype(np.bool_))
    first, count = int(covered[0]), len(covered)
    mine = np.array(weights[first : first + count], np.float64)
    of_cells = np.ascontiguousarray(mine.T)
    return _Side(first, count, mine, of_cells, mine.argmax(axis=0).astype(np.int64), of_cells != 0)


def hits_ranges(point: Sequence[int], ranges: Sequence[Sequence[int]], tolerance_px: float) -> bool:
    """Whether a pixel of any filled box is nearer than the tolerance to a pixel.

    Args:
        point: the pixel ``(x, y)``, or a sample of one or three coordinates.
        ranges: `boxes.pixel_ranges` of the boxes, as lists.
        tolerance_px: the radius of the disc, itself outside.
    """
    rank = len(point)
    for box in ranges:
        square = 0
        for place, start, end in zip(point, box[:rank], box[rank:], strict=True):
            if end <= start:
                break
            square += (place - min(max(place, start), end - 1)) ** 2
        else:
            if square < tolerance_px**2:
                return True
    return False


def hits_masks(point: Sequence[int], masks: Bools, tolerance_px: float) -> bool:
    """Whether a pixel of any of the masks ``(M, H, W)`` is nearer than the tolerance to pixel `point`, x first."""
    reach = int(np.ceil(tolerance_px))
    starts = [max(place - reach, 0) for place in point[::-1]]
    near = tuple(slice(start, place + reach + 1) for start, place in zip(starts, point[::-1], strict=True))
    shift = np.array(starts) - np.array(point[::-1])
    for mask in masks:
        square = ((np.argwhere(mask[near]) + shift) ** 2).sum(axis=1)
        if (square < tolerance_px**2).any():
            return True
    return False


def columns(one: scored_map.ScoredMap) -> dict[str, float]:
    """1 or 0; nothing where there is no object or all of the class is marked difficult."""
    truth, source, tolerance = one.truth, one.source, one.protocol.point_tolerance_px
    if truth.region is None or truth.difficult:
        return {}
    if not one.framed.finite:
        return {"pointing_hit": 0.0}
    place = one.point or point(one.framed.raw, source.view, source.size)
    if truth.masks is not None:
        return {"pointing_hit": float(hits_masks(place, truth.masks, tolerance))}
    return {"pointing_hit": float(hits_ranges(place, truth.pixel_ranges, tolerance))}

"""What a raw map looks like, without ground truth, and whether it is sick.

All shares are of the energy M = max(map, 0) over the cells of the map; a map without energy has none of them (NaN).
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled

Maps = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

SATURATED_LEVEL = 0.99
SATURATED_SHARE = 0.5
SINGLE_CELL_SHARE = 0.95
LOCKED_DENSITY = 0.1

_ALL = (
    "entropy", "area", "centroid_x", "centroid_y", "centroid_z", "peak_x", "peak_y", "peak_z", "peak", "positive_share",
    "border_share", "corner_share",
)  # fmt: skip


@functools.cache
def names(rank: int) -> tuple[str, ...]:
    """Names of the statistics of maps of `rank` axes, in the order of their columns."""
    least = {"_y": 2, "_z": 3}
    return tuple(name for name in _ALL if least.get(name[-2:], 1) <= rank)


NAMES = names(2)
"""Of pictures."""

HEALTH_FLAGS = {
    "nan": "a value is NaN or infinite",
    "constant": "all cells are equal",
    "blank": "no cell is above 0: there is no evidence for the class",
    "saturated": "half the cells or more are within 1% of the maximum",
    "single_cell": "one cell holds 95% of the energy or more",
    "edge_locked": "inner cells hold less than a tenth of what a uniform map has there",
}
"""Name and meaning of each health flag."""


def statistics(maps: Maps) -> dict[str, Floats]:
    """Statistics of L raw maps.

    ========================= ==================================================================================
    ``entropy``               -sum p ln p, p = M / sum M, in nats; ln(cells) for a uniform map
    ``area``                  share of cells where M >= max(M) / 2
    ``centroid_x, _y, _z``    mean cell centre weighted by M, from 0 (left, top, first) to 1
    ``peak_x, _y, _z``        centre of the first strongest cell, from 0 to 1
    ``peak``                  max(map), in the units of the map
    ``positive_share``        sum M / sum |map|
    ``border_share``          share of the energy in the outermost ring (shell) of cells; an axis of one cell has no
                              border beside axes of more
    ``corner_share``          share of the energy in the corner blocks, a quarter of each side (1 cell or more)
    ========================= ==================================================================================

    Args:
        maps: ``(L, h, w)``, raw and signed; or of one or three axes behind the first.

    Returns:
        float64 ``(L,)`` each, of the axes that there are; NaN where the energy is 0 or the map is not finite (``peak``
        and ``positive_share`` only need a finite map, not all zeros for the latter).
    """
    found = dict(zip(_ALL, _statistics(_volumes(maps)).T, strict=True))
    return {name: found[name] for name in names(maps.ndim - 1)}


def _volumes(maps: Maps) -> Floats:
    """Maps of one to three axes as float64 ``(L, d, h, w)``, axes that they lack of one cell."""
    return maps.astype(np.float64).reshape(len(maps), *(1,) * (4 - maps.ndim), *maps.shape[1:])


@compiled.function
def _with_border(depth: int, height: int, width: int) -> tuple[bool, bool, bool]:
    """Which axes have a border: those of several cells; all where each has one. A slice of a volume is a picture."""
    single = depth == 1 and height == 1 and width == 1
    return depth > 1 or single, height > 1 or single, width > 1 or single


@compiled.function
def _is_finite(one: Floats) -> bool:
    """Whether every value of ``(d, h, w)`` is."""
    for z in range(one.shape[0]):
        for y in range(one.shape[1]):
            for x in range(one.shape[2]):
                if not np.isfinite(one[z, y, x]):
                    return False
    return True


@compiled.function
def _of_energy(one: Floats, total: float, peak: float) -> tuple[tuple[float, ...], tuple[float, float]]:
    """Entropy, area and centroid, and the shares of border and corners, of a map with energy `total`."""
    depth, height, width = one.shape
    block_planes, block_rows, block_columns = max(1, depth // 4), max(1, height // 4), max(1, width // 4)
    ring_z, ring_y, ring_x = _with_border(depth, height, width)
    entropy, area, mean_x, mean_y, mean_z, border, corner = 0.0, 0, 0.0, 0.0, 0.0, 0.0, 0.0
    for z in range(depth):
        for y in range(height):
            for x in range(width):
                share = max(one[z, y, x], 0.0) / total
                if share > 0:
                    entropy -= share * np.log(share)
                area += max(one[z, y, x], 0.0) >= peak / 2
                mean_x += share * (x + 0.5) / width
                mean_y += share * (y + 0.5) / height
                mean_z += share * (z + 0.5) / depth
                to_z, to_y, to_x = min(z, depth - 1 - z), min(y, height - 1 - y), min(x, width - 1 - x)
                if (ring_z and to_z == 0) or (ring_y and to_y == 0) or (ring_x and to_x == 0):
                    border += share
                if to_z < block_planes and to_y < block_rows and to_x < block_columns:
                    corner += share
    return (entropy, area / (depth * height * width), mean_x, mean_y, mean_z), (border, corner)


@compiled.short
def _statistics(maps: Floats) -> Floats:
    """`_ALL` of each map of ``(L, d, h, w)``, float64 ``(L, 12)``."""
    count, depth, height, width = maps.shape
    found = np.empty((count, 12))
    for number in range(count):
        one = maps[number]
        for i in range(12):
            found[number, i] = np.nan
        if not _is_finite(one):
            continue
        total, magnitude, place = 0.0, 0.0, 0
        peak = one[0, 0, 0]
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    value = one[z, y, x]
                    total += max(value, 0.0)
                    magnitude += abs(value)
                    if value > peak:
                        peak, place = value, (z * height + y) * width + x
        found[number, 8] = peak
        if magnitude > 0:
            found[number, 9] = total / magnitude
        if total <= 0:
            continue
        spread, edges = _of_energy(one, total, peak)
        for i in range(5):
            found[number, i] = spread[i]
        found[number, 10], found[number, 11] = edges
        plane = place // width
        found[number, 5], found[number, 6] = (place % width + 0.5) / width, (plane % height + 0.5) / height
        found[number, 7] = (plane // height + 0.5) / depth
    return found


def health(maps: Maps) -> tuple[tuple[str, ...], ...]:
    """Health flags of each of L raw maps ``(L, h, w)``; an empty tuple is a healthy map. See `HEALTH_FLAGS`.

    Maps may have one or three axes behind the first. A map with the flag ``nan`` has no other.
    """
    names = tuple(HEALTH_FLAGS)
    sick = _sick(_volumes(maps))
    return tuple(tuple(names[i] for i in np.flatnonzero(flags)) if flags.any() else () for flags in sick)


@compiled.short
def _sick(maps: Floats) -> npt.NDArray[np.bool_]:
    """Which of `HEALTH_FLAGS` each map of ``(L, d, h, w)`` has, bool ``(L, flags)``."""
    count, depth, height, width = maps.shape
    found = np.zeros((count, 6), np.bool_)
    ring_z, ring_y, ring_x = _with_border(depth, height, width)
    for number in range(count):
        one = maps[number]
        if not _is_finite(one):
            found[number, 0] = True
            continue
        least, most = one[0, 0, 0], one[0, 0, 0]
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    least, most = min(least, one[z, y, x]), max(most, one[z, y, x])
        peak, total = max(most, 0.0), 0.0
        found[number, 1] = most == least
        found[number, 2] = peak == 0
        if peak == 0:
            continue
        near_peak, inner, inner_cells = 0, 0.0, 0
        for z in range(depth):
            for y in range(height):
                for x in range(width):
                    value = max(one[z, y, x], 0.0)
                    total += value
                    near_peak += value >= SATURATED_LEVEL * peak
                    in_z, in_y, in_x = 0 < z < depth - 1, 0 < y < height - 1, 0 < x < width - 1
                    if (in_z or not ring_z) and (in_y or not ring_y) and (in_x or not ring_x):
                        inner += value
                        inner_cells += 1
        cells = depth * height * width
        found[number, 3] = not found[number, 1] and near_peak >= SATURATED_SHARE * cells
        found[number, 4] = cells > 1 and peak / total >= SINGLE_CELL_SHARE
        found[number, 5] = inner_cells > 0 and inner / total < LOCKED_DENSITY * (inner_cells / cells)
    return found

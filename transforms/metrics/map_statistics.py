"""What a raw map looks like, without ground truth, and whether it is sick.

All shares are of the energy M = max(map, 0) over the cells of the map; a map without energy has none of them (NaN).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled

Maps = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

SATURATED_LEVEL = 0.99
SATURATED_SHARE = 0.5
SINGLE_CELL_SHARE = 0.95
LOCKED_DENSITY = 0.1

NAMES = (
    "entropy", "area", "centroid_x", "centroid_y", "peak_x", "peak_y", "peak", "positive_share", "border_share",
    "corner_share",
)  # fmt: skip

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
    ``centroid_x, centroid_y`` mean cell centre weighted by M, from 0 (left, top) to 1
    ``peak_x, peak_y``        centre of the first strongest cell, from 0 to 1
    ``peak``                  max(map), in the units of the map
    ``positive_share``        sum M / sum |map|
    ``border_share``          share of the energy in the outermost ring of cells
    ``corner_share``          share of the energy in the four corner blocks, a quarter of each side (1 cell or more)
    ========================= ==================================================================================

    Args:
        maps: ``(L, h, w)``, raw and signed.

    Returns:
        float64 ``(L,)`` each; NaN where the energy is 0 or the map is not finite (``peak`` and ``positive_share``
        only need a finite map, not all zeros for the latter).
    """
    found = _statistics(maps.astype(np.float64))
    return dict(zip(NAMES, found.T, strict=True))


@compiled.function
def _statistics(maps: Floats) -> Floats:
    """`NAMES` of each map, float64 ``(L, 10)``."""
    count, height, width = maps.shape
    found = np.full((count, 10), np.nan)
    block_rows, block_columns = max(1, height // 4), max(1, width // 4)
    for number in range(count):
        one = maps[number]
        if not np.isfinite(one).all():
            continue
        total, magnitude, place = 0.0, 0.0, 0
        peak = one[0, 0]
        for y in range(height):
            for x in range(width):
                value = one[y, x]
                total += max(value, 0.0)
                magnitude += abs(value)
                if value > peak:
                    peak, place = value, y * width + x
        found[number, 6] = peak
        if magnitude > 0:
            found[number, 7] = total / magnitude
        if total <= 0:
            continue
        entropy, area, mean_x, mean_y, border, corner = 0.0, 0, 0.0, 0.0, 0.0, 0.0
        for y in range(height):
            for x in range(width):
                share = max(one[y, x], 0.0) / total
                if share > 0:
                    entropy -= share * np.log(share)
                area += max(one[y, x], 0.0) >= peak / 2
                mean_x += share * (x + 0.5) / width
                mean_y += share * (y + 0.5) / height
                if min(y, height - 1 - y) == 0 or min(x, width - 1 - x) == 0:
                    border += share
                if min(y, height - 1 - y) < block_rows and min(x, width - 1 - x) < block_columns:
                    corner += share
        found[number, 0], found[number, 1] = entropy, area / (height * width)
        found[number, 2], found[number, 3] = mean_x, mean_y
        found[number, 4], found[number, 5] = (place % width + 0.5) / width, (place // width + 0.5) / height
        found[number, 8], found[number, 9] = border, corner
    return found


def health(maps: Maps) -> tuple[tuple[str, ...], ...]:
    """Health flags of each of L raw maps ``(L, h, w)``; an empty tuple is a healthy map. See `HEALTH_FLAGS`.

    A map with the flag ``nan`` has no other.
    """
    names = tuple(HEALTH_FLAGS)
    sick = _sick(maps.astype(np.float64))
    return tuple(tuple(names[i] for i in np.flatnonzero(flags)) if flags.any() else () for flags in sick)


@compiled.function
def _sick(maps: Floats) -> npt.NDArray[np.bool_]:
    """Which of `HEALTH_FLAGS` each map has, bool ``(L, flags)``."""
    count, height, width = maps.shape
    found = np.zeros((count, 6), np.bool_)
    for number in range(count):
        one = maps[number]
        if not np.isfinite(one).all():
            found[number, 0] = True
            continue
        peak, total = max(one.max(), 0.0), 0.0
        found[number, 1] = one.max() == one.min()
        found[number, 2] = peak == 0
        if peak == 0:
            continue
        near_peak, inner, inner_cells = 0, 0.0, 0
        for y in range(height):
            for x in range(width):
                value = max(one[y, x], 0.0)
                total += value
                near_peak += value >= SATURATED_LEVEL * peak
                if 0 < y < height - 1 and 0 < x < width - 1:
                    inner += value
                    inner_cells += 1
        cells = height * width
        found[number, 3] = not found[number, 1] and near_peak >= SATURATED_SHARE * cells
        found[number, 4] = cells > 1 and peak / total >= SINGLE_CELL_SHARE
        found[number, 5] = inner_cells > 0 and inner / total < LOCKED_DENSITY * (inner_cells / cells)
    return found

"""What a raw map looks like, without ground truth, and whether it is sick.

All shares are of the energy M = max(map, 0) over the cells of the map; a map without energy has none of them (NaN).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Maps = npt.NDArray[np.floating]
Floats = npt.NDArray[np.float64]

SATURATED_LEVEL = 0.99
SATURATED_SHARE = 0.5
SINGLE_CELL_SHARE = 0.95
LOCKED_DENSITY = 0.1

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
    maps = maps.astype(np.float64)
    maps = np.where(np.isfinite(maps).all(axis=(1, 2), keepdims=True), maps, np.nan)
    count, height, width = maps.shape
    evidence = np.maximum(maps, 0)
    total = evidence.sum(axis=(1, 2))
    share = evidence / np.where(total > 0, total, np.nan)[:, None, None]
    x, y = (np.arange(width) + 0.5) / width, (np.arange(height) + 0.5) / height
    peak_row, peak_column = np.divmod(np.argmax(maps.reshape(count, -1), axis=1), width)
    missing = np.where(np.isnan(share[:, 0, 0]), np.nan, 0.0)
    peak = maps.max(axis=(1, 2))
    magnitude = np.abs(maps).sum(axis=(1, 2))
    return {
        "entropy": -np.where(share > 0, share * np.log(np.where(share > 0, share, 1)), share * 0).sum(axis=(1, 2)),
        "area": (evidence >= peak[:, None, None] / 2).mean(axis=(1, 2)) + missing,
        "centroid_x": (share.sum(axis=1) * x).sum(axis=1),
        "centroid_y": (share.sum(axis=2) * y).sum(axis=1),
        "peak_x": x[peak_column] + missing,
        "peak_y": y[peak_row] + missing,
        "peak": peak,
        "positive_share": total / np.where(magnitude > 0, magnitude, np.nan),
        "border_share": (share * _ring(height, width)).sum(axis=(1, 2)),
        "corner_share": (share * _corners(height, width)).sum(axis=(1, 2)),
    }


def _ring(height: int, width: int) -> npt.NDArray[np.bool_]:
    ring = np.ones((height, width), dtype=bool)
    ring[1:-1, 1:-1] = False
    return ring


def _corners(height: int, width: int) -> npt.NDArray[np.bool_]:
    def ends(length: int) -> npt.NDArray[np.bool_]:
        cell = np.arange(length)
        size = max(1, length // 4)
        outer: npt.NDArray[np.bool_] = np.minimum(cell, length - 1 - cell) < size
        return outer

    return ends(height)[:, None] & ends(width)[None, :]


def health(maps: Maps) -> tuple[tuple[str, ...], ...]:
    """Health flags of each of L raw maps ``(L, h, w)``; an empty tuple is a healthy map. See `HEALTH_FLAGS`.

    A map with the flag ``nan`` has no other.
    """
    return tuple(_flags(one) for one in maps)


def _flags(raw: Maps) -> tuple[str, ...]:
    if not np.isfinite(raw).all():
        return ("nan",)
    evidence = np.maximum(raw, 0).astype(np.float64)
    peak, total = evidence.max(), evidence.sum()
    flags = []
    if raw.max() == raw.min():
        flags.append("constant")
    if peak == 0:
        return (*flags, "blank")
    if "constant" not in flags and (evidence >= SATURATED_LEVEL * peak).mean() >= SATURATED_SHARE:
        flags.append("saturated")
    if raw.size > 1 and peak / total >= SINGLE_CELL_SHARE:
        flags.append("single_cell")
    inner = ~_ring(*raw.shape)
    if inner.any() and evidence[inner].sum() / total < LOCKED_DENSITY * inner.mean():
        flags.append("edge_locked")
    return tuple(flags)

"""The pointing game: does the strongest point of the map hit the object?

The map is resized bilinearly to the original image; the point is its first maximum, row by row. It hits if any pixel
of the object is nearer than the tolerance (dx^2 + dy^2 < tolerance^2, so tolerance 1 asks for the exact pixel).

Zhang et al., IJCV 2018, arXiv:1608.00507; disc, ties and the rule for difficult objects of facebookresearch/TorchRay.
"""

from __future__ import annotations

import functools

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
    (down, rows), (across, columns) = _seen(raw.shape, view, width, height)
    if not len(rows) or not len(columns):
        raise ValueError(f"view {view} shows nothing of the image of {width} x {height} pixels")
    if raw.max() == raw.min():
        return int(columns[0]), int(rows[0])
    peak_row, peak_column = divmod(int(np.argmax(raw)), raw.shape[1])
    known = down[np.argmax(down[:, peak_row])] @ raw @ across[np.argmax(across[:, peak_column])]
    cells = raw >= known - _ROUNDING * np.abs(raw).max()
    near_rows = np.flatnonzero(down[:, cells.any(axis=1)].any(axis=1))
    near_columns = np.flatnonzero(across[:, cells.any(axis=0)].any(axis=1))
    values = down[near_rows] @ raw @ across[near_columns].T
    # Sums that differ only by rounding are ties: they are equal in float32.
    y, x = divmod(int(np.argmax(values.astype(np.float32))), values.shape[1])
    return int(columns[near_columns[x]]), int(rows[near_rows[y]])


@functools.lru_cache(maxsize=64)
def _seen(
    cells: tuple[int, ...], view: heatmaps.View, width: int, height: int
) -> tuple[tuple[heatmaps.Floats, npt.NDArray[np.intp]], ...]:
    """`heatmaps.bilinear_weights` of the rows, and of the columns, that the map covers, and which those are."""
    sides = heatmaps.bilinear_weights(cells, view, width, height)
    seen = [np.flatnonzero(~np.isnan(side[:, 0])) for side in sides]
    return tuple((side[which], which) for side, which in zip(sides, seen, strict=True))


def hits_boxes(x: int, y: int, truths: Floats, tolerance_px: float) -> bool:
    """Whether a pixel of any filled box is nearer than the tolerance to pixel ``(x, y)``."""
    for x0, y0, x1, y1 in boxes.pixel_ranges(truths).tolist():
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

"""The outline of a true mask, along the edges of its cells: as lines for a page, or as pixels of a picture."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

CELLS = 96
"""Cells a side, at most, whose edges are drawn; of a finer mask each stands for several (`thinned`)."""

COLOUR = (77, 255, 136)
"""Of the truth on a picture: masks as pixels and lines, boxes in `overlay.css`."""

COLOUR_HEX = f"#{bytes(COLOUR).hex()}"

Bools = npt.NDArray[np.bool_]


def path(mask: Bools, size: tuple[int, int]) -> str:
    """The outline as the data of an SVG path; empty where there is none.

    >>> path(np.array([[False, True]]), (4, 1))
    'M2 0H4M2 1H4M2 0V1M4 0V1'

    Args:
        mask: ``(height, width)``.
        size: ``(width, height)`` of the drawing in its own units.
    """
    cells = thinned(mask, CELLS)
    step_x, step_y = size[0] / cells.shape[1], size[1] / cells.shape[0]
    framed = np.pad(cells, 1)
    rows = np.diff(framed, axis=0)[:, 1:-1]  # whether a cell and the one above it differ
    columns = np.diff(framed, axis=1)[1:-1]
    parts = [f"M{a * step_x:.5g} {y * step_y:.5g}H{b * step_x:.5g}" for y, a, b in _runs(rows)]
    parts += [f"M{x * step_x:.5g} {a * step_y:.5g}V{b * step_y:.5g}" for x, a, b in _runs(columns.T)]
    return "".join(parts)


def pixels(mask: Bools, size: tuple[int, int], width: int = 1) -> Bools:
    """Which pixels of a picture of `size`, ``(height, width)``, are the rim of the mask: the last `width` inside it."""
    rows, columns = (np.arange(n) * side // n for n, side in zip(size, mask.shape, strict=True))
    large = mask[rows[:, None], columns]
    inner = large
    for _ in range(width):
        framed = np.pad(inner, 1)
        inner = inner & framed[:-2, 1:-1] & framed[2:, 1:-1] & framed[1:-1, :-2] & framed[1:-1, 2:]
    rim: Bools = large & ~inner
    return rim


def rimmed(picture: npt.NDArray[np.uint8], mask: Bools, width: int = 1) -> npt.NDArray[np.uint8]:
    """A picture, uint8 ``(height, width, 3)``, with the rim of a mask of any size (`pixels`) in `COLOUR`."""
    rim = pixels(mask, (picture.shape[0], picture.shape[1]), width)
    drawn: npt.NDArray[np.uint8] = np.where(rim[..., None], np.array(COLOUR, np.uint8), picture)
    return drawn


def thinned(mask: Bools, most: int) -> Bools:
    """A mask of at most so many cells along each axis; a cell is in it where one of those it stands for is."""
    for axis, side in enumerate(mask.shape):
        starts = np.linspace(0, side, min(side, most), endpoint=False).astype(int)
        mask = np.logical_or.reduceat(mask, starts, axis=axis)
    return mask


def runs(line: Bools) -> list[tuple[int, int]]:
    """Start and end of each stretch of a mask of one axis.

    >>> runs(np.array([True, False, True, True]))
    [(0, 1), (2, 4)]
    """
    return [(start, end) for _, start, end in _runs(line[None])]


def _runs(edges: Bools) -> Iterator[tuple[int, int, int]]:
    """``(row, start, end)`` of the stretches of each row."""
    turns = np.diff(np.pad(edges, ((0, 0), (1, 1))).astype(np.int8), axis=1)
    starts, ends = np.argwhere(turns == 1), np.argwhere(turns == -1)
    for (row, start), (_, end) in zip(starts.tolist(), ends.tolist(), strict=True):
        yield row, start, end

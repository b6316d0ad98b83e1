"""Masks of objects as COCO stores them, polygons and run lengths, to pixels, as pycocotools reads them.

Format and rasterization: https://github.com/cocodataset/cocoapi/blob/master/common/maskApi.c
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
from PIL import Image

from heatbeam.transforms import records

_FINER = 5  # a polygon is drawn on a grid this much finer
_MAX_POINTS = 1 << 24


def decoded(segmentation: Any, size: tuple[int, int]) -> np.ndarray:
    """A segmentation as bool ``(height, width)``.

    Args:
        segmentation: a list of polygons ``[x, y, x, y, ...]`` in pixels; a mapping with such a list as ``fractions`` of
            the image; or one of ``size`` ``[height, width]`` and ``counts``, run lengths as a list or packed into text.
        size: ``(width, height)`` of the image.

    Raises:
        DataError: ``invalid_mask`` if it is neither, or one of another size.
    """
    width, height = size
    try:
        if isinstance(segmentation, dict):
            if "fractions" in segmentation:
                pixels = [
                    [number * size[place % 2] for place, number in enumerate(one)] for one in segmentation["fractions"]
                ]
                return decoded(pixels, size)
            if [int(side) for side in segmentation["size"]] != [height, width]:
                raise _invalid(f"is of {segmentation['size']} (height, width); its image has {[height, width]}")
            counts = segmentation["counts"]
            runs = unpacked(counts) if isinstance(counts, (str, bytes)) else [int(count) for count in counts]
            return _of_runs(runs, width, height)
        mask = np.zeros((height, width), bool)
        for polygon in segmentation:
            mask |= _of_polygon([float(number) for number in polygon], width, height)
    except (TypeError, ValueError, KeyError, IndexError, OverflowError) as error:
        raise _invalid(f"cannot be read: {type(error).__name__}: {error}") from error
    return mask


def png(mask: np.ndarray) -> bytes:
    """A boolean mask ``(height, width)`` as a PNG of one bit a pixel."""
    buffer = io.BytesIO()
    Image.fromarray(mask.astype(np.uint8) * 255).convert("1", dither=Image.Dither.NONE).save(buffer, "PNG")
    return buffer.getvalue()


def unpacked(counts: str | bytes) -> list[int]:
    """Run lengths out of COCO's text: five bits a character from ``0`` on, the sixth says that more follow.

    From the third on each is the difference to the one before the last.
    """
    data = counts.encode("ascii") if isinstance(counts, str) else counts
    runs: list[int] = []
    position = 0
    while position < len(data):
        number = shift = 0
        more = True
        while more:
            bits = data[position] - 48
            if not 0 <= bits < 64 or shift > 60:
                raise _invalid(f"has run lengths with the character {data[position]}")
            number |= (bits & 31) << shift
            more = bool(bits & 32)
            position, shift = position + 1, shift + 5
            if not more and bits & 16:
                number -= 1 << shift
        runs.append(number + runs[-2] if len(runs) > 2 else number)
    return runs


def _of_runs(runs: Sequence[int], width: int, height: int) -> np.ndarray:
    if min(runs, default=0) < 0 or sum(runs) != width * height:
        raise _invalid(f"has runs of {sum(runs)} pixels in all; its image has {width * height}")
    values = np.arange(len(runs)) % 2 == 1
    return np.repeat(values, runs).reshape(width, height).T


def _of_polygon(numbers: Sequence[float], width: int, height: int) -> np.ndarray:
    """The pixels of one polygon, by the crossings of its outline with the middle of each column of pixels."""
    points = np.array(numbers, np.float64).reshape(-1, 2)
    if len(points) < 3 or not np.isfinite(points).all():
        raise _invalid(f"has a polygon of {len(points)} points; expected three or more, finite")
    if len(points) * np.abs(points).max() > _MAX_POINTS:
        raise _invalid("has a polygon of impossible length")
    grid = np.trunc(_FINER * points + 0.5).astype(np.int64)
    outline = [_line(start, end) for start, end in zip(grid, np.roll(grid, -1, axis=0), strict=True)]
    u, v = np.concatenate(outline).T
    turns = np.flatnonzero(u[1:] != u[:-1]) + 1
    column = (np.where(u[turns] < u[turns - 1], u[turns], u[turns] - 1) + 0.5) / _FINER - 0.5
    row = (np.minimum(v[turns], v[turns - 1]) + 0.5) / _FINER - 0.5
    crosses = (np.floor(column) == column) & (column >= 0) & (column <= width - 1)
    row = np.ceil(np.clip(row[crosses], 0, height)).astype(np.int64)
    toggles = np.bincount(column[crosses].astype(np.int64) * height + row, minlength=width * height + 1)
    inside: np.ndarray = np.cumsum(toggles[: width * height]) % 2 == 1
    return inside.reshape(width, height).T


def _line(start: np.ndarray, end: np.ndarray) -> np.ndarray:
    """Points of the fine grid from `start` to `end`, both included: int64 ``(N, 2)``."""
    dx, dy = np.abs(end - start)
    along = 0 if dx >= dy else 1
    backwards = start[along] > end[along]
    first, last = (end, start) if backwards else (start, end)
    steps = np.arange(max(dx, dy) + 1)
    across = 1 - along
    slope = (last[across] - first[across]) / max(dx, dy, 1)
    line = np.empty((len(steps), 2), np.int64)
    line[:, along] = first[along] + steps
    line[:, across] = np.trunc(first[across] + slope * steps + 0.5)
    return line[::-1] if backwards else line


def _invalid(why: str) -> records.DataError:
    return records.DataError("invalid_mask", f"a mask {why}")

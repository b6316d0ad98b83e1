"""Boxes of every contour of a grey image, at every threshold, in one pass over its pixels.

The reference procedure thresholds the image and follows its contours once per threshold. Here the pixels are visited
once, brightest first, and joined by union-find: whenever a component is about to grow, it has existed, unchanged, for
a range of thresholds and is written down with that range. That gives each 8-connected component of the foreground
``image > t`` for all t together. The holes are the 4-connected components of ``image <= t`` that do not touch the
border, found in the same way, darkest first.

Only what OpenCV's tree of contours (RETR_TREE) would hold is computed:
    * the outer contour of a component has the component's bounding box;
    * the contour of a hole runs through the foreground around it, so its box is the hole's, grown by 1 on each side;
    * `outline_area` is the polygon area of an outer contour, which runs through pixel centres (a line has area 0).

Numba compiles the loops on first use (a few seconds, cached on disk where that is possible) and releases the GIL.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

LEVELS = 256

_DX = np.array([1, 1, 0, -1, -1, -1, 0, 1])
_DY = np.array([0, 1, 1, 1, 0, -1, -1, -1])


def _compiled(function: Callable[..., Any]) -> Any:
    """`function` compiled on first use, cached beside the file; uncached where nothing can be written."""
    try:
        return numba.njit(function, cache=True, nogil=True)
    except RuntimeError:  # numba finds no writable cache directory
        return numba.njit(function, nogil=True)


@_compiled
def _framed(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`image` with a frame of zeros of one pixel, flat: no neighbour of an image pixel lies outside."""
    framed = np.zeros((image.shape[0] + 2, image.shape[1] + 2), np.uint8)
    framed[1:-1, 1:-1] = image
    return framed.ravel()


@_compiled
def _by_value(framed: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.int32]:
    """Numbers of the image's pixels in `framed` in order of value, ties in order of number; `width` of the frame."""
    ends = np.zeros(LEVELS + 1, np.int64)
    rows = len(framed) // width
    for y in range(1, rows - 1):
        for pixel in range(y * width + 1, (y + 1) * width - 1):
            ends[framed[pixel] + 1] += 1
    for level in range(LEVELS):
        ends[level + 1] += ends[level]
    order = np.empty(ends[LEVELS], np.int32)
    for y in range(1, rows - 1):
        for pixel in range(y * width + 1, (y + 1) * width - 1):
            order[ends[framed[pixel]]] = pixel
            ends[framed[pixel]] += 1
    return order


@_compiled
def _root(parent: npt.NDArray[np.int32], pixel: int) -> int:
    while parent[pixel] != pixel:
        parent[pixel] = parent[parent[pixel]]
        pixel = parent[pixel]
    return pixel


@_compiled
def _joined(parent: npt.NDArray[np.int32], pixel: int, width: int, diagonals: bool, near: npt.NDArray[np.int32]) -> int:
    """Put the parents of the neighbours that have joined into `near` and return their number.

    A diagonal neighbour is left out if a pixel next to both has joined: then they are in one component already.
    """
    up, left, right, down = parent[pixel - width], parent[pixel - 1], parent[pixel + 1], parent[pixel + width]
    count = 0
    for other in (up, left, right, down):
        near[count] = other  # overwritten by the next if it has not joined: cheaper than a branch
        count += other >= 0
    if not diagonals or count > 2:
        return count
    corners = ((up, left, -width - 1), (up, right, 1 - width), (down, left, width - 1), (down, right, width + 1))
    for first, second, step in corners:
        near[count] = parent[pixel + step]
        count += (first < 0) & (second < 0) & (near[count] >= 0)
    return count


@_compiled
def _absorb(extent: npt.NDArray[np.int32], root: int, other: int) -> None:
    extent[root, 0] = min(extent[root, 0], extent[other, 0])
    extent[root, 1] = max(extent[root, 1], extent[other, 1])
    extent[root, 2] = min(extent[root, 2], extent[other, 2])
    extent[root, 3] = max(extent[root, 3], extent[other, 3])


@_compiled
def _grow(
    framed: npt.NDArray[np.uint8], width: int, order: npt.NDArray[np.int32], diagonals: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Join the pixels in `order` and write down every component that is about to grow, and those left at the end.

    Args:
        framed: of `_framed`.
        width: of the frame.
        order: pixels in the order in which they join; their values rise or fall throughout.
        diagonals: whether pixels that share only a corner are neighbours.

    Returns:
        spans int32 ``(N, 2)``: value of the last pixel that joined the component, and of the next one; -1 if none does.
        extents int32 ``(N, 4)``: least and greatest column, first and last pixel, of `framed`.
    """
    column = np.arange(len(framed)).astype(np.int32) % np.int32(width)
    parent = np.full(len(framed), -1, np.int32)
    level = np.zeros(len(framed), np.int32)
    size = np.zeros(len(framed), np.int32)
    extent = np.empty((len(framed), 4), np.int32)
    spans = np.empty((len(order), 2), np.int32)
    extents = np.empty((len(order), 4), np.int32)
    near = np.empty(8, np.int32)
    found = 0
    for pixel in order:
        value = np.int32(framed[pixel])
        root = np.int32(-1)
        for i in range(_joined(parent, pixel, width, diagonals, near)):
            other = near[i]
            if other == root:
                continue
            other = _root(parent, other)
            if other == root:
                continue
            if level[other] != value:
                spans[found, 0], spans[found, 1] = level[other], value
                for j in range(4):
                    extents[found, j] = extent[other, j]
                found += 1
                level[other] = value
            if root < 0:
                root = other
                continue
            if size[other] > size[root]:
                root, other = other, root
            parent[other] = root
            size[root] += size[other]
            _absorb(extent, root, other)
        if root < 0:
            root = pixel
            level[pixel] = value
            extent[pixel, 0] = extent[pixel, 1] = column[pixel]
            extent[pixel, 2] = extent[pixel, 3] = pixel
        else:
            extent[root, 0] = min(extent[root, 0], column[pixel])
            extent[root, 1] = max(extent[root, 1], column[pixel])
            extent[root, 2] = min(extent[root, 2], pixel)
            extent[root, 3] = max(extent[root, 3], pixel)
        parent[pixel] = root
        size[root] += 1
    for pixel in order:
        if parent[pixel] == pixel:
            spans[found, 0], spans[found, 1] = level[pixel], -1
            for i in range(4):
                extents[found, i] = extent[pixel, i]
            found += 1
    return spans[:found].copy(), extents[:found].copy()


@_compiled
def _boxes(extents: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.int32]:
    """Boxes of `components` from extents in a frame of that width."""
    boxes = np.empty((len(extents), 5), np.int32)
    for node in range(len(extents)):
        boxes[node, 0] = extents[node, 0] - 1
        boxes[node, 1] = extents[node, 2] // width - 1
        boxes[node, 2] = extents[node, 1] - 1
        boxes[node, 3] = extents[node, 3] // width - 1
        boxes[node, 4] = boxes[node, 1] * (width - 2) + extents[node, 2] % width - 1
    return boxes


@_compiled
def components(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every 8-connected component of ``image > t``, over all t.

    Args:
        image: uint8 ``(H, W)``.

    Returns:
        spans int32 ``(N, 2)``: the component exists, unchanged, for ``spans[0] <= t < spans[1]``.
        boxes int32 ``(N, 5)``: x0, y0, x1, y1 of its outermost pixels (inclusive), and the number of its first pixel,
            row by row.
    """
    width = image.shape[1] + 2
    framed = _framed(image)
    order = _by_value(framed, width)
    zeros = 0
    while zeros < len(order) and framed[order[zeros]] == 0:
        zeros += 1
    spans, extents = _grow(framed, width, order[zeros:][::-1].copy(), True)
    return np.maximum(spans[:, ::-1], 0), _boxes(extents, width)


@_compiled
def holes(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every 4-connected component of ``image <= t`` that does not touch the border, over all t.

    Args:
        image: uint8 ``(H, W)``.

    Returns:
        spans and boxes as of `components`.
    """
    height, width = image.shape
    framed = _framed(image)
    spans, extents = _grow(framed, width + 2, _by_value(framed, width + 2), False)
    boxes = _boxes(extents, width + 2)
    inside = (boxes[:, 0] > 0) & (boxes[:, 1] > 0) & (boxes[:, 2] < width - 1) & (boxes[:, 3] < height - 1)
    return spans[inside], boxes[inside]


@_compiled
def _next_direction(image: npt.NDArray[np.uint8], level: int, x: int, y: int, start: int) -> int:
    """First direction, clockwise from `start`, that leads to foreground; -1 if none does."""
    height, width = image.shape
    for turn in range(8):
        direction = (start + turn) % 8
        nx, ny = x + _DX[direction], y + _DY[direction]
        if 0 <= nx < width and 0 <= ny < height and image[ny, nx] > level:
            return direction
    return -1


@_compiled
def outline_area(image: npt.NDArray[np.uint8], level: int, first: int) -> float:
    """Area of the polygon through the pixel centres of an outer contour, holes filled, as OpenCV's contourArea.

    Args:
        image: uint8 ``(H, W)``.
        level: foreground is ``image > level``.
        first: number of the component's first pixel, row by row.
    """
    x, y = first % image.shape[1], first // image.shape[1]
    first_direction = _next_direction(image, level, x, y, 5)
    if first_direction < 0:
        return 0.0
    direction = first_direction
    twice_area = 0
    while True:
        nx, ny = x + _DX[direction], y + _DY[direction]
        twice_area += x * ny - nx * y
        x, y = nx, ny
        # Look first at the pixel after the last background pixel seen from the one before.
        start = direction + 7 if direction % 2 == 0 else direction + 6
        direction = _next_direction(image, level, x, y, start)
        if y * image.shape[1] + x == first and direction == first_direction:
            return float(abs(twice_area) / 2)


@_compiled
def largest_components(
    image: npt.NDArray[np.uint8], spans: npt.NDArray[np.int32], boxes: npt.NDArray[np.int32]
) -> npt.NDArray[np.int64]:
    """For each t, which of `components` has the outer contour of largest polygon area.

    Among equal areas the component that starts last, row by row, is taken: the first in OpenCV's list of contours.

    Returns:
        int64 ``(256,)``: positions in `spans`; -1 where there is no component.
    """
    alive = np.zeros(LEVELS, np.int64)
    best = np.full(LEVELS, -1, np.int64)
    # The polygon of a contour lies in the rectangle through the centres of its outermost pixels.
    limit = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    for node in range(len(spans)):
        for level in range(spans[node, 0], spans[node, 1]):
            alive[level] += 1
            if best[level] < 0 or limit[node] > limit[best[level]]:
                best[level] = node
    area = np.full(len(spans), -1.0)
    for level in range(LEVELS):
        if alive[level] > 1 and area[best[level]] < 0:
            area[best[level]] = outline_area(image, spans[best[level], 0], boxes[best[level], 4])
    for node in range(len(spans)):
        for level in range(spans[node, 0], spans[node, 1]):
            rival = best[level]
            if rival == node or limit[node] < area[rival]:
                continue
            if area[node] < 0:
                area[node] = outline_area(image, spans[node, 0], boxes[node, 4])
            if area[node] > area[rival] or (area[node] == area[rival] and boxes[node, 4] > boxes[rival, 4]):
                best[level] = node
    return best


@_compiled
def highest(spans: npt.NDArray[np.int32], values: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """For each t, the greatest of `values` (none below 0) among what exists there; 0 where nothing does."""
    best = np.zeros(LEVELS)
    for node in range(len(spans)):
        for level in range(spans[node, 0], spans[node, 1]):
            best[level] = max(best[level], values[node])
    return best


@_compiled
def population(spans: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """For each t, how many exist there."""
    change = np.zeros(LEVELS + 1, np.int64)
    for node in range(len(spans)):
        change[spans[node, 0]] += 1
        change[spans[node, 1]] -= 1
    return np.cumsum(change)[:LEVELS]

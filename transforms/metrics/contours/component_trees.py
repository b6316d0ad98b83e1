"""Boxes of every contour of a grey image, at every threshold, in one pass over its pixels.

The reference procedure thresholds the image and follows its contours once per threshold. Here the pixels are visited
once, brightest first, and joined: whenever a component is about to grow, it has existed, unchanged, for a range of
thresholds and is written down with that range. That gives each 8-connected component of the foreground ``image > t``
for all t together. The holes are the 4-connected components of ``image <= t`` that do not touch the border, found in
the same way, darkest first. Images that rise to few peaks are joined basin by basin (`basins`), others pixel by pixel
by union-find; the result is the same but for the order of components and their `parents`.

Only what OpenCV's tree of contours (RETR_TREE) would hold is computed:
    * the outer contour of a component has the component's bounding box;
    * the contour of a hole runs through the foreground around it, so its box is the hole's, grown by 1 on each side;
    * `outlines` has the polygon area of an outer contour.

Numba compiles the loops on first use (some seconds, cached on disk where that is possible) and releases the GIL.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import basins, compiled, union_find

LEVELS = 256


@compiled.function
def framed(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """`image` with a frame of zeros of one pixel, flat: no neighbour of an image pixel lies outside."""
    width = image.shape[1] + 2
    found = np.zeros((image.shape[0] + 2) * width, np.uint8)
    for y in range(image.shape[0]):
        row, target = image[y], found[(y + 1) * width + 1 : (y + 2) * width - 1]
        for x in range(len(row)):  # a loop is copied by vectors; a slice of two dimensions is not
            target[x] = row[x]
    return found


@compiled.function
def _by_value(values: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.int32]:
    """Numbers of the image's pixels in order of value, ties in order of number; `width` of the frame."""
    ends = np.zeros(LEVELS + 1, np.int64)
    rows = len(values) // width
    for y in range(1, rows - 1):
        for pixel in range(y * width + 1, (y + 1) * width - 1):
            ends[values[pixel] + 1] += 1
    for level in range(LEVELS):
        ends[level + 1] += ends[level]
    order = np.empty(ends[LEVELS], np.int32)
    for y in range(1, rows - 1):
        for pixel in range(y * width + 1, (y + 1) * width - 1):
            order[ends[values[pixel]]] = pixel
            ends[values[pixel]] += 1
    return order


@compiled.function
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


@compiled.function
def _absorb(extent: npt.NDArray[np.int32], root: int, other: int) -> None:
    extent[root, 0] = min(extent[root, 0], extent[other, 0])
    extent[root, 1] = max(extent[root, 1], extent[other, 1])
    extent[root, 2] = min(extent[root, 2], extent[other, 2])
    extent[root, 3] = max(extent[root, 3], extent[other, 3])


@compiled.function
def _grow(
    values: npt.NDArray[np.uint8], width: int, order: npt.NDArray[np.int32], diagonals: bool
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Join the pixels in `order` and write down every component that is about to grow, and those left at the end.

    Args:
        values: of `framed`.
        width: of the frame.
        order: pixels in the order in which they join; their values rise or fall throughout.
        diagonals: whether pixels that share only a corner are neighbours.

    Returns:
        spans int32 ``(N, 2)``: value of the last pixel that joined the component, and of the next one; 0 if none does.
        extents int32 ``(N, 4)``: least and greatest column, first and last pixel, of the frame.
    """
    column, parent = np.empty(len(values), np.int32), np.empty(len(values), np.int32)
    level, size = np.empty(len(values), np.int32), np.empty(len(values), np.int32)
    for cell in range(len(values)):
        column[cell], parent[cell], level[cell], size[cell] = cell % width, -1, 0, 0
    extent = np.empty((len(values), 4), np.int32)
    spans = np.empty((len(order), 2), np.int32)
    extents = np.empty((len(order), 4), np.int32)
    near = np.empty(8, np.int32)
    found = 0
    for pixel in order:
        value = np.int32(values[pixel])
        root = np.int32(-1)
        for i in range(_joined(parent, pixel, width, diagonals, near)):
            other = near[i]
            if other == root:
                continue
            other = union_find.root(parent, np.int64(other))
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
            _absorb(extent, np.int64(root), np.int64(other))
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
            spans[found, 0], spans[found, 1] = level[pixel], 0
            for i in range(4):
                extents[found, i] = extent[pixel, i]
            found += 1
    return spans[:found].copy(), extents[:found].copy()


@compiled.function
def _boxes(extents: npt.NDArray[np.int32], width: int) -> npt.NDArray[np.int32]:
    """Boxes, as of `by_basins`, from extents in a frame of that width."""
    boxes = np.empty((len(extents), 5), np.int32)
    for node in range(len(extents)):
        boxes[node, 0] = extents[node, 0] - 1
        boxes[node, 1] = extents[node, 2] // width - 1
        boxes[node, 2] = extents[node, 1] - 1
        boxes[node, 3] = extents[node, 3] // width - 1
        boxes[node, 4] = boxes[node, 1] * (width - 2) + extents[node, 2] % width - 1
    return boxes


@compiled.function
def by_basins(
    image: npt.NDArray[np.uint8],
) -> tuple[bool, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every 8-connected component of ``image > t``, over all t; those of higher t come first.

    Args:
        image: uint8 ``(H, W)``.

    Returns:
        few: whether there are few enough peaks and pixels for `basins`; else nothing was sought.
        spans int32 ``(N, 2)``: the component exists, unchanged, for ``spans[0] <= t < spans[1]``.
        boxes int32 ``(N, 5)``: x0, y0, x1, y1 of its outermost pixels (inclusive), and the number of its first pixel,
            row by row.
        parents int32 ``(N,)``: the component that this one is part of at the next lower t; -1 if that is not known.
    """
    width = image.shape[1] + 2
    if (image.shape[0] + 2) * width >= basins.MAX_PIXELS:
        return False, np.empty((0, 2), np.int32), np.empty((0, 5), np.int32), np.empty(0, np.int32)
    few, spans, extents, parents = basins.grow(framed(image), width)
    return few, spans[:, ::-1].copy(), _boxes(extents, width), parents


@compiled.function
def by_pixels(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Spans and boxes as of `by_basins`, of any image; compiled only when one has too many peaks for basins."""
    width = image.shape[1] + 2
    spans, extents = _grow_bright(framed(image), width)
    return spans[:, ::-1].copy(), _boxes(extents, width)


@compiled.function
def _grow_bright(values: npt.NDArray[np.uint8], width: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """`_grow`, brightest first, without what is 0."""
    order = _by_value(values, width)
    zeros = 0
    while zeros < len(order) and values[order[zeros]] == 0:
        zeros += 1
    spans, extents = _grow(values, width, order[zeros:][::-1].copy(), True)
    return spans, extents


@compiled.function
def holes(image: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every 4-connected component of ``image <= t`` that does not touch the border, over all t.

    Args:
        image: uint8 ``(H, W)``.

    Returns:
        spans and boxes as of `by_basins`.
    """
    height, width = image.shape
    values = framed(image)
    spans, extents = _grow(values, width + 2, _by_value(values, width + 2), False)
    boxes = _boxes(extents, width + 2)
    count = 0
    for node in range(len(boxes)):
        if boxes[node, 0] > 0 and boxes[node, 1] > 0 and boxes[node, 2] < width - 1 and boxes[node, 3] < height - 1:
            for i in range(2):
                spans[count, i] = spans[node, i]
            for i in range(5):
                boxes[count, i] = boxes[node, i]
            count += 1
    return spans[:count].copy(), boxes[:count].copy()


@compiled.function
def components_at(
    image: npt.NDArray[np.uint8], levels: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Every 8-connected component of ``image > t`` for a few t: cheaper than all components for a handful.

    Args:
        image: uint8 ``(H, W)``.
        levels: values of t, rising, each once.

    Returns:
        spans int32 ``(N, 2)``: t and t + 1.
        boxes as of `by_basins`.
    """
    height, width = image.shape
    found_spans, found_boxes = np.empty((0, 2), np.int32), np.empty((0, 5), np.int32)
    left, top, right, bottom = np.int64(0), np.int64(0), np.int64(width), np.int64(height)
    for level in levels:
        boxes = _boxes(_extents_above(image, level, left, top, right, bottom), width + 2)
        if len(boxes) == 0:
            break  # and so is every higher level
        known = len(found_spans)
        spans, all_boxes = np.empty((known + len(boxes), 2), np.int32), np.empty((known + len(boxes), 5), np.int32)
        for node in range(known):
            spans[node, 0], spans[node, 1] = found_spans[node, 0], found_spans[node, 1]
            for i in range(5):
                all_boxes[node, i] = found_boxes[node, i]
        left, top, right, bottom = np.int64(width), np.int64(height), np.int64(0), np.int64(0)
        for node in range(len(boxes)):
            spans[known + node, 0], spans[known + node, 1] = level, level + 1
            for i in range(5):
                all_boxes[known + node, i] = boxes[node, i]
            left, top = min(left, np.int64(boxes[node, 0])), min(top, np.int64(boxes[node, 1]))
            right, bottom = max(right, np.int64(boxes[node, 2]) + 1), max(bottom, np.int64(boxes[node, 3]) + 1)
        found_spans, found_boxes = spans, all_boxes
    return found_spans, found_boxes


@compiled.function
def _extents_above(
    image: npt.NDArray[np.uint8], level: int, left: int, top: int, right: int, bottom: int
) -> npt.NDArray[np.int32]:
    """Extents in the frame, as of `_grow`, of the components of ``image > level``; all lie in the given part of it.

    Row by row, the runs of foreground pixels join the components that they touch in the row above. Where runs start and
    end is found by vectors, and most pixels are passed over eight at a time.
    """
    width, limit = image.shape[1] + 2, np.uint8(level)
    most = (image.shape[1] + 1) // 2  # runs of a row
    parent, extent = np.empty(most * image.shape[0], np.int32), np.empty((most * image.shape[0], 4), np.int32)
    runs, before = np.empty((most, 3), np.int32), np.empty((most, 3), np.int32)
    last = right - left
    changes = np.zeros((last // 8 + 1) * 8, np.uint8)
    eights = changes.view(np.uint64)
    count, above = 0, 0
    for y in range(top, bottom):
        row, here, near, start = image[y, left:right], 0, 0, -1
        changes[0], changes[last] = row[0] > limit, row[last - 1] > limit
        for x in range(1, last):
            changes[x] = (row[x] > limit) != (row[x - 1] > limit)
        for eight in range(len(eights)):
            if eights[eight] == 0:
                continue
            for x in range(8 * eight, 8 * eight + 8):
                if changes[x] == 0:
                    continue
                if start < 0:
                    start = left + x
                    continue
                end = left + x
                root = np.int64(count)  # a component of its own, until it touches another
                first = (y + 1) * width + start + 1
                parent[root], extent[root, 0], extent[root, 1] = root, start + 1, end
                extent[root, 2], extent[root, 3] = first, first + end - start - 1
                count += 1
                while near < above and before[near, 1] < start:
                    near += 1
                other = near
                while other < above and before[other, 0] <= end:
                    joined = union_find.root(parent, np.int64(before[other, 2]))
                    if joined != root:
                        parent[root] = joined
                        _absorb(extent, np.int64(joined), np.int64(root))
                        root = joined
                    other += 1
                runs[here, 0], runs[here, 1], runs[here, 2] = start, end, root
                here += 1
                start = -1
        runs, before, above = before, runs, here
    roots = 0
    for one in range(count):
        if parent[one] != one:
            continue
        for i in range(4):
            extent[roots, i] = extent[one, i]
        roots += 1
    return extent[:roots].copy()

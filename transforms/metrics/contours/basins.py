"""Components of an image at every level, by its basins: fast for images that rise to few peaks, as heatmaps do.

Every pixel points at its greatest neighbour or, if it has none that is greater, is a peak; equal values are ordered by
position. The pixels that lead to one peak are its *basin*; a pixel whose left or upper neighbour is in a basin already
and no lower is in that one. On the way from any pixel to its peak the values never fall, so the part of a basin above a
level is connected, and two basins are joined above a level if a pixel of one and a neighbour of the other both lie
above it. So a component at a level is a set of basins, found by joining basins along their *saddles*, the greatest such
pair each, highest first; and its extent is the extent of their pixels above it.

Per pixel that needs a maximum over neighbours, a step of a walk and one entry in a table of extents: no union-find over
pixels. Where there are more than `MAX_BASINS` peaks (noise), `component_trees` joins pixels one by one instead.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled, union_find

MAX_BASINS = 256
VALUES = 256

_POSITION_BITS = 24
MAX_PIXELS = 1 << _POSITION_BITS
"""Images must have fewer pixels, with their frame."""


@compiled.function
def _greatest_neighbours(values: npt.NDArray[np.uint8], width: int) -> npt.NDArray[np.uint32]:
    """For each pixel, which is the greatest of itself and its neighbours, ties by position; 0 in the outer rows."""
    size = len(values)
    key = np.empty(size, np.uint32)
    for pixel in range(size):
        key[pixel] = (np.uint32(values[pixel]) << np.uint32(_POSITION_BITS)) | np.uint32(pixel)
    of_three = key.copy()
    middle, left, right = of_three[1 : size - 1], key[: size - 2], key[2:]
    for i in range(size - 2):
        middle[i] = max(max(left[i], right[i]), middle[i])
    greatest = np.zeros(size, np.uint32)
    inner = greatest[width : size - width]
    above, same, below = of_three[: size - 2 * width], of_three[width : size - width], of_three[2 * width :]
    position = np.uint32(MAX_PIXELS - 1)
    for i in range(size - 2 * width):
        inner[i] = max(max(above[i], below[i]), same[i]) & position
    return greatest


@compiled.function
def _label(
    values: npt.NDArray[np.uint8], width: int, greatest: npt.NDArray[np.uint32]
) -> tuple[npt.NDArray[np.int16], int]:
    """The basin of each pixel, -1 for value 0, and how many basins there are; -1 if more than `MAX_BASINS`."""
    basin = np.empty(len(values), np.int16)
    for pixel in range(len(values)):
        basin[pixel] = -1
    path = np.empty(len(values), np.int32)
    count = 0
    for start in range(width, len(values) - width, width):
        here, above = values[start : start + width], values[start - width : start]
        mine, theirs = basin[start : start + width], basin[start - width : start]
        value_before, before = np.uint8(0), np.int16(-1)
        for x in range(1, width - 1):
            value, found = here[x], mine[x]
            if value == 0:
                value_before = value
                continue
            if found < 0:
                # No walk, and no peak for each plateau.
                if value_before >= value:
                    found = mine[x] = before
                elif above[x] >= value:
                    found = mine[x] = theirs[x]
                else:
                    count = _walk(start + x, np.int64(count), basin, greatest, path)
                    if count < 0:
                        return basin, -1
                    found = mine[x]
            value_before, before = value, found
    return basin, count


@compiled.function
def _walk(
    start: int,
    count: int,
    basin: npt.NDArray[np.int16],
    greatest: npt.NDArray[np.uint32],
    path: npt.NDArray[np.int32],
) -> int:
    """Put the pixels on the way up from `start` into the basin where the way ends; how many basins there are then.

    Args:
        start: a pixel without a basin.
        count: basins so far.
        basin: of each pixel.
        greatest: of `_greatest_neighbours`.
        path: room for the pixels of a way.

    Returns:
        One more than `count` at a new peak; -1 if that is more than `MAX_BASINS`.
    """
    pixel, length = np.int64(start), 0
    while basin[pixel] < 0:
        following = np.int64(greatest[pixel])
        if following == pixel:
            if count == MAX_BASINS:
                return -1
            basin[pixel] = count
            count += 1
            break
        path[length] = pixel
        length += 1
        pixel = following
    for i in range(length):
        basin[path[i]] = basin[pixel]
    return count


@compiled.function
def _extents(
    values: npt.NDArray[np.uint8], width: int, basin: npt.NDArray[np.int16], count: int
) -> npt.NDArray[np.int32]:
    """Least and greatest column, first and last pixel of each value in each basin; (basin * VALUES + value, 4)."""
    size = len(values)
    extents = np.empty((count * VALUES, 4), np.int32)
    for i in range(len(extents)):
        extents[i, 0], extents[i, 1], extents[i, 2], extents[i, 3] = width, -1, size, -1
    for start in range(width, size - width, width):
        row, labels = values[start : start + width], basin[start : start + width]
        for x in range(1, width - 1):
            value = row[x]
            if value == 0:
                continue
            place = extents[np.uint64(labels[x]) * np.uint64(VALUES) + np.uint64(value)]
            place[0] = min(place[0], x)
            place[1] = max(place[1], x)
            place[2] = min(place[2], start + x)
            place[3] = start + x
    return extents


@compiled.function
def _saddles(
    values: npt.NDArray[np.uint8], width: int, basin: npt.NDArray[np.int16], count: int
) -> npt.NDArray[np.uint8]:
    """For each pair of basins, the greatest value at which they touch; 0 if they do not."""
    saddles = np.zeros((count, count), np.uint8)
    border = np.zeros(width, np.bool_)
    for start in range(width, len(values) - width, width):
        here, left = basin[start + 1 : start + width - 1], basin[start : start + width - 2]
        before = start - width
        first, above, last = (
            basin[before : before + width - 2], basin[before + 1 : before + width - 1],
            basin[before + 2 : before + width])  # fmt: skip
        for i in range(width - 2):
            differs = (here[i] != left[i]) | (here[i] != above[i]) | (here[i] != first[i]) | (here[i] != last[i])
            border[i] = differs & (here[i] >= 0)
        for i in range(width - 2):
            if not border[i]:
                continue
            pixel = start + 1 + i
            mine = basin[pixel]
            for other in (pixel - 1, pixel - width - 1, pixel - width, pixel - width + 1):
                theirs = basin[other]
                if theirs >= 0 and theirs != mine:
                    height = min(values[pixel], values[other])
                    if height > saddles[mine, theirs]:
                        saddles[mine, theirs] = height
                        saddles[theirs, mine] = height
    return saddles


@compiled.function
def _by_height(saddles: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Pairs of touching basins in order of their saddles, and where the pairs of each height start."""
    starts = np.zeros(VALUES + 1, np.int32)
    for first in range(len(saddles)):
        for second in range(first):
            starts[saddles[first, second] + 1] += 1
    starts[1] = 0  # height 0: they do not touch
    for height in range(VALUES):
        starts[height + 1] += starts[height]
    pairs = np.empty((starts[VALUES], 2), np.int32)
    free = starts.copy()
    for first in range(len(saddles)):
        for second in range(first):
            height = saddles[first, second]
            if height:
                pairs[free[height], 0], pairs[free[height], 1] = first, second
                free[height] += 1
    return pairs, starts


@compiled.function
def grow(
    values: npt.NDArray[np.uint8], width: int
) -> tuple[bool, npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Let pixels join, highest value first, and write down every component that is about to grow, and those at the end.

    Args:
        values: flat image with a frame of zeros; 0 never joins. Pixels that share a corner are neighbours.
        width: of a row, with the frame.

    Returns:
        done: whether there were few enough peaks; the arrays are empty if not.
        spans int32 ``(N, 2)``: value of the last pixel that joined the component, and of the next one; 0 if none does.
        extents int32 ``(N, 4)``: least and greatest column, first and last pixel.
        parents int32 ``(N,)``: the component, further on, that this one grew into; -1 for those at the end.
    """
    basin, count = _label(values, width, _greatest_neighbours(values, width))
    if count < 0:
        return False, np.empty((0, 2), np.int32), np.empty((0, 4), np.int32), np.empty(0, np.int32)
    table = _extents(values, width, basin, count)
    pairs, starts = _by_height(_saddles(values, width, basin, count))
    spans, extents = np.empty((count * VALUES, 2), np.int32), np.empty((count * VALUES, 4), np.int32)
    parents = np.empty(count * VALUES, np.int32)
    joined, level = np.empty(count, np.int32), np.empty(count, np.int32)
    extent = np.empty((count, 4), np.int32)
    # The components that were written down last of what is now one component, as a list: its head, and what follows.
    head, following = np.empty(count, np.int32), np.empty(count * VALUES, np.int32)
    for one in range(count):
        joined[one], level[one], head[one] = one, 0, -1
    for node in range(count * VALUES):
        parents[node], following[node] = -1, -1
    found = np.int64(0)
    for value in range(VALUES - 1, -1, -1):
        for one in range(count if value else 0):
            place = table[one * VALUES + value]
            if place[1] < 0:
                continue
            root = union_find.root(joined, one)
            if level[root] == 0:
                for i in range(4):
                    extent[root, i] = place[i]
                level[root] = value
                continue
            if level[root] != value:
                found = _write(root, value, found, level, spans, extent, extents, head, following, parents)
            _widen(extent[root], place)
        for pair in range(starts[value], starts[value + 1] if value else starts[value]):
            first, second = np.int64(pairs[pair, 0]), np.int64(pairs[pair, 1])
            root, other = union_find.root(joined, first), union_find.root(joined, second)
            if root == other:
                continue
            if level[root] != value:
                found = _write(root, value, found, level, spans, extent, extents, head, following, parents)
            if level[other] != value:
                found = _write(other, value, found, level, spans, extent, extents, head, following, parents)
            joined[other] = root
            _widen(extent[root], extent[other])
            if head[other] >= 0:
                last = head[other]
                while following[last] >= 0:
                    last = following[last]
                following[last] = head[root]
                head[root] = head[other]
    for one in range(count):
        if joined[one] == one:
            found = _write(one, np.int64(0), found, level, spans, extent, extents, head, following, parents)
    return True, spans[:found].copy(), extents[:found].copy(), parents[:found].copy()


@compiled.function
def _widen(extent: npt.NDArray[np.int32], other: npt.NDArray[np.int32]) -> None:
    extent[0] = min(extent[0], other[0])
    extent[1] = max(extent[1], other[1])
    extent[2] = min(extent[2], other[2])
    extent[3] = max(extent[3], other[3])


@compiled.function
def _write(
    root: int,
    value: int,
    found: int,
    level: npt.NDArray[np.int32],
    spans: npt.NDArray[np.int32],
    extent: npt.NDArray[np.int32],
    extents: npt.NDArray[np.int32],
    head: npt.NDArray[np.int32],
    following: npt.NDArray[np.int32],
    parents: npt.NDArray[np.int32],
) -> int:
    """Write down the component of `root`, which grows by a pixel of `value`, as number `found`; the next number."""
    spans[found, 0], spans[found, 1] = level[root], value
    for i in range(4):
        extents[found, i] = extent[root, i]
    child = head[root]
    while child >= 0:
        parents[child] = found
        child = following[child]
    head[root] = found
    level[root] = value
    return found + 1

"""Components of an image at every level, by its basins: fast for images that rise to few peaks, as heatmaps do.

A row falls into *slopes*: stretches that rise, or stay, to a *crest* and fall, or stay, from there. Where a pixel above
or below the crest is greater, the slope leads to the slope of that pixel; of equal ones to one above; else it is a
peak. The slopes that lead to one peak are its *basin*. On the way from any pixel to its peak the values never fall, so
the part of a basin above a level is connected, and two basins are joined above a level if a pixel of one and a
neighbour of the other both lie above it. So a component at a level is a set of basins, found by joining basins along
their *saddles*, the greatest such pair each, highest first; and its extent is the extent of their pixels above it.

Per pixel that needs a comparison with the one before and one entry in a table of extents: no union-find over pixels.
Where there are more than `MAX_BASINS` peaks (noise), `component_trees` joins pixels one by one instead.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled, union_find

MAX_BASINS = 256
VALUES = 256

MAX_PIXELS = 1 << 24
"""Images must have fewer pixels, with their frame."""

# Columns of a table of slopes: first pixel, the one behind the last, and the first and the last pixel of the crest.
_START, _END, _CREST, _CREST_LAST = range(4)


@compiled.function
def _slopes(values: npt.NDArray[np.uint8], width: int) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """The slopes of each row, without pixels of value 0: int32 ``(N, 4)``, row by row; and where each row's start."""
    rows = len(values) // width
    slopes, firsts = np.empty((rows * (width // 2), 4), np.int32), np.empty(rows + 1, np.int32)
    count = np.int64(0)
    firsts[0] = firsts[1] = 0
    for row in range(1, rows - 1):
        pixel, last = row * width + 1, (row + 1) * width - 1
        while pixel < last:
            value = values[pixel]
            if value == 0:
                pixel += 1
                continue
            slopes[count, _START] = pixel
            pixel += 1
            following = values[pixel]  # the frame of zeros ends the row
            while following >= value:
                value = following
                pixel += 1
                following = values[np.uint64(pixel)]
            crest = pixel - 1
            slopes[count, _CREST_LAST] = crest
            while crest > slopes[count, _START] and values[crest - 1] == value:
                crest -= 1
            slopes[count, _CREST] = crest
            while following <= value and following > 0:
                value = following
                pixel += 1
                following = values[np.uint64(pixel)]
            slopes[count, _END] = pixel
            count += 1
        firsts[row + 1] = count
    firsts[rows] = count
    return slopes[:count], firsts


@compiled.function
def _slope_of(pixel: int, width: int, slopes: npt.NDArray[np.int32], firsts: npt.NDArray[np.int32]) -> int:
    """The slope of a pixel that is not 0."""
    one = int(firsts[pixel // width])
    while slopes[one, _END] <= pixel:
        one += 1
    return one


@compiled.function
def _label(
    values: npt.NDArray[np.uint8], width: int, slopes: npt.NDArray[np.int32], firsts: npt.NDArray[np.int32]
) -> tuple[npt.NDArray[np.int32], int]:
    """The basin of each slope, and how many basins there are; -1 if more than `MAX_BASINS`."""
    basin, towards = np.empty(len(slopes), np.int32), np.empty(len(slopes), np.int32)
    count = 0
    for one in range(len(slopes)):
        first, last = slopes[one, _CREST], slopes[one, _CREST_LAST]
        highest, best, alike = values[first], np.int64(-1), np.int64(-1)
        for start in (first - width - 1, first + width - 1):
            for pixel in range(start, start + last - first + 3):
                value = values[pixel]
                if value > highest:
                    highest, best = value, np.int64(pixel)
                elif value == highest and best < 0 and pixel < first:
                    alike = np.int64(pixel)
        best = best if best >= 0 else alike
        basin[one] = -1
        if best >= 0:
            towards[one] = _slope_of(best, width, slopes, firsts)
            continue
        if count == MAX_BASINS:
            return basin, -1
        towards[one], basin[one] = one, count
        count += 1
    for one in range(len(slopes)):
        end = np.int64(one)
        while basin[end] < 0:
            end = np.int64(towards[end])
        way = np.int64(one)
        while basin[way] < 0:
            basin[way] = basin[end]
            way = np.int64(towards[way])
    return basin, count


@compiled.function
def _extents(
    values: npt.NDArray[np.uint8],
    width: int,
    slopes: npt.NDArray[np.int32],
    basin: npt.NDArray[np.int32],
    count: int,
) -> npt.NDArray[np.int32]:
    """Least and greatest column, first and last pixel of each value in each basin; (basin * VALUES + value, 4).

    Of the pixels of a slope that are not below a value the first rises and the last falls. So the least column and the
    first pixel are those of rising pixels, the greatest column and the last pixel those of falling ones; for a value
    without such pixels they are none's. With those of all greater values they are the true ones.
    """
    size = len(values)
    extents = np.empty((count * VALUES, 4), np.int32)
    for i in range(len(extents)):
        extents[i, 0], extents[i, 1], extents[i, 2], extents[i, 3] = width, -1, size, -1
    for one in range(len(slopes)):
        start, end = slopes[one, _START], slopes[one, _END]
        here, table = values[start:end], extents[basin[one] * VALUES : (basin[one] + 1) * VALUES]
        column = np.int32(start % width)
        for x in range(slopes[one, _CREST] - start + 1):
            place = table[here[x]]
            place[0] = min(place[0], column + x)
            place[2] = min(place[2], start + x)
        for x in range(slopes[one, _CREST_LAST] - start, len(here)):
            place = table[here[x]]
            place[1] = max(place[1], column + x)
            place[3] = start + x
    return extents


@compiled.function
def _saddles(
    values: npt.NDArray[np.uint8],
    width: int,
    slopes: npt.NDArray[np.int32],
    firsts: npt.NDArray[np.int32],
    basin: npt.NDArray[np.int32],
    count: int,
) -> npt.NDArray[np.uint8]:
    """For each pair of basins, the greatest value at which they touch; 0 if they do not."""
    saddles = np.empty((count, count), np.uint8)
    for first in range(count):
        for second in range(count):
            saddles[first, second] = 0
    for row in range(1, len(firsts) - 2):
        above = np.int64(firsts[row - 1])
        for one in range(firsts[row], firsts[row + 1]):
            start, end, mine = slopes[one, _START], slopes[one, _END], basin[one]
            if one > firsts[row] and slopes[one - 1, _END] == start and basin[one - 1] != mine:
                _touch(saddles, mine, basin[one - 1], min(values[start], values[start - 1]))
            while above < firsts[row] and slopes[above, _END] < start - width:
                above += 1
            other = above
            while other < firsts[row] and slopes[other, _START] <= end - width:
                if basin[other] != mine:
                    height = _highest_pair(values, width, slopes[one], slopes[other])
                    _touch(saddles, mine, basin[other], height)
                other += 1
    return saddles


@compiled.function
def _highest_pair(
    values: npt.NDArray[np.uint8], width: int, below: npt.NDArray[np.int32], above: npt.NDArray[np.int32]
) -> np.uint8:
    """The greatest value at which two slopes touch, of which one is in the row after the other's."""
    height = np.uint8(0)
    first, last = above[_START], above[_END] - 1
    for pixel in range(max(below[_START], first + width - 1), min(below[_END] - 1, last + width + 1) + 1):
        for other in range(max(pixel - width - 1, first), min(pixel - width + 1, last) + 1):
            height = max(height, min(values[pixel], values[other]))
    return height


@compiled.function
def _touch(saddles: npt.NDArray[np.uint8], one: int, other: int, height: np.uint8) -> None:
    if height > saddles[one, other]:
        saddles[one, other] = saddles[other, one] = height


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
    slopes, firsts = _slopes(values, width)
    basin, count = _label(values, width, slopes, firsts)
    if count < 0:
        return False, np.empty((0, 2), np.int32), np.empty((0, 4), np.int32), np.empty(0, np.int32)
    table = _extents(values, width, slopes, basin, count)
    pairs, starts = _by_height(_saddles(values, width, slopes, firsts, basin, count))
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
            if place[0] == width and place[1] < 0:
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

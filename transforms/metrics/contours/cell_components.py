"""Connected components of a series or a volume at every threshold, in one pass over its cells.

Contours are outlines in a plane: there are none along one axis, and in three they would be surfaces. So series and
volumes have components: cells above a threshold that touch, be it in a corner (`scipy.ndimage.label` with a full
structure; OpenCV's contours are 8-connected likewise). Cells join a union-find, greatest first, and a component is
written down with the range of thresholds for which it exists whenever it is about to grow.

The size of a component is the number of its cells. A contour's is the area of the polygon through the centres of its
outermost pixels, in which holes are filled and a line has none, so the two may name another component the largest: that
is why images keep contours, the definition of the papers that they are compared with.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled, union_find

LEVELS = 256


def components(
    image: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Every component of ``image > t``, over all t.

    Args:
        image: uint8, of one to three axes.

    Returns:
        spans int32 ``(N, 2)``: the component exists, unchanged, for ``spans[0] <= t < spans[1]``.
        boxes int32 ``(N, 2 rank)``: first cells along each axis, x first, and then last ones (inclusive).
        largest int64 ``(256,)``: position of the component of most cells at each t, of equals the one whose first cell,
            in the order of the array, comes last; -1 where there is none.
    """
    rank = image.ndim
    whole = np.ascontiguousarray(image).reshape((1,) * (3 - rank) + image.shape)
    spans, extents, sizes = _grow(np.pad(whole, 1))
    boxes = np.concatenate([extents[:, :rank], extents[:, 3 : 3 + rank]], axis=1)
    return spans, boxes, _largest(spans, sizes)


@compiled.function
def _falling(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.int32]:
    """Numbers of the cells above 0, greatest first, of equals the last first."""
    ends = np.zeros(LEVELS + 1, np.int64)
    for value in values:
        ends[LEVELS - value] += 1
    ends[LEVELS] = 0  # of value 0
    for level in range(LEVELS):
        ends[level + 1] += ends[level]
    order = np.empty(ends[LEVELS], np.int32)
    for cell in range(len(values)):
        value = values[cell]
        if value:
            place = LEVELS - value
            ends[place] -= 1
            order[ends[place]] = cell
    return order


@compiled.function
def _steps(
    depth: int, height: int, width: int
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """From a cell to its 26 neighbours, those first that share a face; none along an axis that has one cell.

    Returns:
        int64 ``(N,)`` each: the steps; the face that a step goes through, as a bit, or 0; and the faces, as bits, whose
        neighbours touch the neighbour of the step. Where one of those has joined, the two are in one component already.
    """
    steps, own, touching = np.empty(26, np.int64), np.zeros(26, np.int64), np.zeros(26, np.int64)
    count = 0
    for sides in range(1, 4):
        for z in range(-1, 2):
            for y in range(-1, 2):
                for x in range(-1, 2):
                    beside = (z != 0 and depth == 3) or (y != 0 and height == 3) or (x != 0 and width == 3)
                    if beside or abs(z) + abs(y) + abs(x) != sides:
                        continue
                    steps[count] = (z * height + y) * width + x
                    for axis, place in enumerate((z, y, x)):
                        before, behind = 1 << (2 * axis), 2 << (2 * axis)
                        touching[count] |= (before if place <= 0 else 0) | (behind if place >= 0 else 0)
                        if sides == 1 and place != 0:
                            own[count] = before if place < 0 else behind
                    count += 1
    return steps[:count], own[:count], touching[:count]


@compiled.function
def _grow(
    framed: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32], npt.NDArray[np.int64]]:
    """Join the cells, greatest first.

    Args:
        framed: ``(z, y, x)`` with a frame of zeros, one cell wide.

    Returns:
        spans as of `components`; extents int32 ``(N, 6)``, first and last x, y and z, without the frame; sizes int64
        ``(N, 2)``, number of cells, and number of the first cell.
    """
    depth, height, width = framed.shape
    values = framed.reshape(-1)
    order, (steps, own, touching) = _falling(values), _steps(depth, height, width)
    parent, level = np.empty(len(values), np.int32), np.empty(len(values), np.int32)
    for cell in range(len(values)):
        parent[cell] = -1
    size = np.empty((len(values), 2), np.int64)
    extent = np.empty((len(values), 6), np.int32)
    spans, extents = np.empty((len(order), 2), np.int32), np.empty((len(order), 6), np.int32)
    sizes = np.empty((len(order), 2), np.int64)
    found = np.int64(0)
    for cell in order:
        value = np.int32(values[cell])
        root = np.int32(cell)
        z, y, x = cell // (height * width) - 1, cell // width % height - 1, cell % width - 1
        for axis, place in enumerate((x, y, z)):
            extent[cell, axis] = extent[cell, 3 + axis] = place
        parent[cell], level[cell], size[cell, 0], size[cell, 1] = cell, value, 1, cell
        joined = 0
        for i in range(len(steps)):
            other = parent[cell + steps[i]]
            if other < 0:
                continue
            known = touching[i] & joined
            joined |= own[i]
            if known or other == root:
                continue
            other = union_find.root(parent, np.int64(other))
            if other == root:
                continue
            if level[other] != value:
                spans[found, 0], spans[found, 1] = value, level[other]
                found = _write(found, np.int64(other), extent, size, extents, sizes)
                level[other] = value
            if size[other, 0] > size[root, 0]:
                root, other = other, root
            parent[other] = root
            size[root, 0] += size[other, 0]
            size[root, 1] = min(size[root, 1], size[other, 1])
            for axis in range(3):
                extent[root, axis] = min(extent[root, axis], extent[other, axis])
                extent[root, 3 + axis] = max(extent[root, 3 + axis], extent[other, 3 + axis])
    for cell in order:
        if parent[cell] == cell:
            spans[found, 0], spans[found, 1] = 0, level[cell]
            found = _write(found, np.int64(cell), extent, size, extents, sizes)
    return spans[:found].copy(), extents[:found].copy(), sizes[:found].copy()


@compiled.function
def _write(
    found: int,
    cell: int,
    extent: npt.NDArray[np.int32],
    size: npt.NDArray[np.int64],
    extents: npt.NDArray[np.int32],
    sizes: npt.NDArray[np.int64],
) -> int:
    """Write down the component that `cell` stands for as number `found`; the next number."""
    for i in range(6):
        extents[found, i] = extent[cell, i]
    sizes[found, 0], sizes[found, 1] = size[cell, 0], size[cell, 1]
    return found + 1


@compiled.function
def _largest(spans: npt.NDArray[np.int32], sizes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """`components`' largest."""
    best = np.empty(LEVELS, np.int64)
    for level in range(LEVELS):
        best[level] = -1
    for node in range(len(spans)):
        for level in range(spans[node, 0], spans[node, 1]):
            known = best[level]
            more = known < 0 or sizes[node, 0] > sizes[known, 0]
            if more or (sizes[node, 0] == sizes[known, 0] and sizes[node, 1] > sizes[known, 1]):
                best[level] = node
    return best

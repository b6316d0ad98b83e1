"""Outer contours of components: their polygon areas, and which is the largest.

The polygon of a contour runs through the centres of its outermost pixels, as in OpenCV's contourArea: holes are
filled, a line has area 0. Of equal areas the component that starts last, row by row, is the largest: the first in
OpenCV's list of contours.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled, component_trees

# Neighbours, clockwise from the one to the right.
_DX = np.array([1, 1, 0, -1, -1, -1, 0, 1])
_DY = np.array([0, 1, 1, 1, 0, -1, -1, -1])

_COARSEST = 32
"""Every so-many-th level is settled first."""


@compiled.function
def _area(framed: npt.NDArray[np.uint8], width: int, level: int, first: int) -> float:
    """Area of the polygon of an outer contour.

    Args:
        framed: uint8, an image with a frame of zeros, flattened row by row.
        width: of the framed image.
        level: foreground is ``framed > level``.
        first: number of the component's first pixel, row by row.
    """
    steps = np.empty(16, np.int64)  # twice around: no modulo
    for turn in range(16):
        steps[turn] = _DY[turn % 8] * width + _DX[turn % 8]
    # Nothing lies above or, in its row, before the first pixel.
    direction = 0
    while direction < 4 and framed[first + steps[direction]] <= level:
        direction += 1
    if direction == 4:
        return 0.0
    first_direction = direction
    pixel, x, y = first, 0, 0
    twice_area = 0
    while True:
        dx, dy = _DX[direction], _DY[direction]
        twice_area += x * dy - y * dx
        x += dx
        y += dy
        pixel += steps[direction]
        # Look first at the pixel after the last background pixel seen from the one before.
        direction = (direction + 7 - direction % 2) % 8
        turned = direction
        while framed[pixel + steps[turned]] <= level:
            turned += 1
        direction = turned % 8
        if pixel == first and direction == first_direction:
            return float(abs(twice_area) / 2)


@compiled.function
def _alive(spans: npt.NDArray[np.int32]) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
    """Which components exist at each level, one level behind the other, and where each level starts."""
    starts = np.zeros(component_trees.LEVELS + 1, np.int32)
    for node in range(len(spans)):
        for level in range(spans[node, 0], spans[node, 1]):
            starts[level + 1] += 1
    for level in range(component_trees.LEVELS):
        starts[level + 1] += starts[level]
    nodes, free = np.empty(starts[component_trees.LEVELS], np.int32), starts.copy()
    for node in range(len(spans)):
        for level in range(spans[node, 0], spans[node, 1]):
            nodes[free[level]] = node
            free[level] += 1
    return nodes, starts


@compiled.function
def largest(
    image: npt.NDArray[np.uint8],
    spans: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.int32],
    parents: npt.NDArray[np.int32],
) -> npt.NDArray[np.int64]:
    """For each level, which component has the outer contour of largest polygon area.

    Contours are followed only where bounds leave it open: a polygon lies in the rectangle through the centres of the
    outermost pixels and in the polygon of what the component grows into, and holds the polygons of what it grew from.
    So a few levels are settled first, and most of those between follow.

    Args:
        image: uint8 ``(H, W)``.
        spans, boxes, parents: of `component_trees.by_basins`.

    Returns:
        int64 ``(256,)``: positions in `spans`; -1 where there is no component.
    """
    width = image.shape[1]
    framed = component_trees.framed(image)
    best = np.empty(component_trees.LEVELS, np.int64)
    for level in range(len(best)):
        best[level] = -1
    least, most, known = np.empty(len(spans)), np.empty(len(spans)), np.empty(len(spans), np.bool_)
    for node in range(len(spans)):
        width_px, height_px = boxes[node, 2] - boxes[node, 0], boxes[node, 3] - boxes[node, 1]
        least[node], most[node], known[node] = 0.0, width_px * height_px, False
    nodes, starts = _alive(spans)
    step = _COARSEST
    while step:
        for level in range(0, component_trees.LEVELS, step):
            alive = nodes[starts[level] : starts[level + 1]]
            if len(alive) and (step == _COARSEST or level % (2 * step)):  # not settled before
                best[level] = _leader(framed, width, level, alive, boxes, least, most, known)
        for node in range(len(parents)):  # what a component grows into comes after it
            if parents[node] >= 0:
                least[parents[node]] = max(least[parents[node]], least[node])
        for node in range(len(parents) - 1, -1, -1):
            if parents[node] >= 0:
                most[node] = min(most[node], most[parents[node]])
        step //= 2
    return best


@compiled.function
def _leader(
    framed: npt.NDArray[np.uint8],
    width: int,
    level: int,
    alive: npt.NDArray[np.int32],
    boxes: npt.NDArray[np.int32],
    least: npt.NDArray[np.float64],
    most: npt.NDArray[np.float64],
    known: npt.NDArray[np.bool_],
) -> np.int32:
    """Which of the components of a level is the largest; where areas had to be found, the bounds are narrowed."""
    leader: np.int32 = alive[0]
    for node in alive:
        if least[node] > least[leader] or (least[node] == least[leader] and most[node] > most[leader]):
            leader = node
    for node in alive:
        if node == leader or most[node] < least[leader]:
            continue
        for one in (leader, node):
            if not known[one] and most[node] >= least[leader]:
                first = (boxes[one, 1] + 1) * (width + 2) + boxes[one, 4] - boxes[one, 1] * width + 1
                least[one] = most[one] = _area(framed, width + 2, level, first)
                known[one] = True
        if least[node] > least[leader] or (least[node] == most[leader] and boxes[node, 4] > boxes[leader, 4]):
            leader = node
    return leader

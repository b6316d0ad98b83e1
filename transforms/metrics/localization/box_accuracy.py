"""MaxBoxAcc and MaxBoxAccV2: boxes around thresholded heatmaps, at every threshold at once.

A heatmap is truncated to 8 bits, so thresholds fall on at most 256 levels: foreground is ``image > level`` with
``level = int(threshold * max(image))``. `level_boxes` finds the boxes at all levels in one pass, `level_ious` compares
them with the truth, and `box_hits` spreads the answer over the thresholds.

    acc(threshold, limit) = images whose best IoU >= limit, over images
    MaxBoxAcc             = max over thresholds of acc(., 0.5), with the box of the largest contour
    MaxBoxAccV2           = mean over limits of (max over thresholds of acc(., limit)), with the boxes of all contours

One threshold serves a whole dataset; a maximum per image is not this metric.

Images have contours, as in the paper; series and volumes have components of touching cells, of which the one with most
cells is the largest (`contours.cell_components` says why and where the two differ). The rest is the same.

Choe et al., CVPR 2020, arXiv:2001.07437; procedure of clovaai/wsolevaluation.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.contours import cell_components, compiled, component_trees, outlines

Floats = npt.NDArray[np.float64]

SINGLE, MULTI = 0, 1
"""Positions of "largest contour" (V1) and "all contours" (V2) on the first axis of hits and counts."""


@dataclasses.dataclass(frozen=True, eq=False)
class LevelBoxes:
    """The boxes of one heatmap at every level.

    Attributes:
        peak: greatest value of the 8-bit heatmap.
        spans: int ``(N, 2)``; box n exists for ``spans[n, 0] <= level < spans[n, 1]``.
        all: float64 ``(N, 4)`` boxes of all contours, in the frame, end exclusive and not clipped; ``(N, 2)`` or ``(N,
            6)`` boxes of all components of a series or a volume.
        largest: int ``(256,)``; which box is the largest contour's at each level, -1 without foreground.
        size: cells of the frame along each axis, x first.
    """

    peak: int
    spans: npt.NDArray[np.int32]
    all: Floats
    largest: npt.NDArray[np.int64]
    size: tuple[int, ...]


@dataclasses.dataclass(frozen=True, eq=False)
class LevelIous:
    """Best IoU with any true box at each level: float64 ``(2, 256)``, rows `SINGLE` and `MULTI`; `peak` as above."""

    peak: int
    best: Floats


def thresholds(step: float) -> Floats:
    """0, step, 2 step, ... below 1."""
    return np.arange(0, 1, step)


@functools.cache
def threshold_names(limits: tuple[float, ...]) -> tuple[tuple[int, int, str], ...]:
    """Every best threshold of a dataset: mode, position of the IoU limit, and its name, such as ``single_50``."""
    return tuple(
        (mode, number, f"{name}_{round(100 * limit)}")
        for mode, name in ((SINGLE, "single"), (MULTI, "multi"))
        for number, limit in enumerate(limits)
    )


def levels(peak: int, values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """int(threshold * peak) for each threshold."""
    return (np.asarray(values, np.float64) * peak).astype(np.int64)


def to_bytes(heatmap: npt.NDArray[np.floating]) -> npt.NDArray[np.uint8]:
    """The heatmap in 8 bits: 255 * value, truncated.

    Raises:
        ValueError: if a value is NaN or outside [0, 1].
    """
    if not (heatmap.min() >= 0 and heatmap.max() <= 1):
        raise ValueError(f"heatmap goes from {heatmap.min()} to {heatmap.max()}; expected [0, 1]: use heatmaps.min_max")
    return (heatmap * 255).astype(np.uint8)


def level_boxes(
    image: npt.NDArray[np.uint8], *, hole_boxes: bool, at: npt.NDArray[np.int64] | None = None
) -> LevelBoxes:
    """Boxes of the contours of ``image > level``, for every level; of components where there are no two axes.

    Args:
        image: uint8 ``(H, W)``, or of one or three axes.
        hole_boxes: whether the boundaries of holes give boxes too; components have none.
        at: the few levels that will be asked for; there may be no boxes at others. None for all.
    """
    image = np.ascontiguousarray(image)
    if image.ndim != 2:
        spans, cells, largest = cell_components.components(image)
        ends = np.repeat([0.0, 1.0], image.ndim)
        return LevelBoxes(int(image.max()), spans, cells + ends, largest, image.shape[::-1])
    if at is None:
        few, spans, found, largest, peak = _boxed_basins(image)
        if not few:
            spans, found, largest, peak = _boxed_pixels(image)
    else:
        spans, found, largest = _boxed_at(image, np.unique(at))
        peak = int(image.max())
    if hole_boxes:
        hole_spans, hole_extents = component_trees.holes(image)
        spans = np.concatenate([spans, hole_spans])
        # A hole's contour runs through the foreground around it.
        found = np.concatenate([found, hole_extents[:, :4] + np.array([-1.0, -1, 2, 2])])
    return LevelBoxes(peak, spans, found, largest, image.shape[::-1])


_Boxed = tuple[npt.NDArray[np.int32], Floats, npt.NDArray[np.int64]]
"""`LevelBoxes.spans`, `all` without holes, and `largest`."""


# Finding components and boxing them is one call each: between two a thread waits for Python's lock.
@compiled.function
def _boxed_basins(
    image: npt.NDArray[np.uint8],
) -> tuple[bool, npt.NDArray[np.int32], Floats, npt.NDArray[np.int64], int]:
    """`_Boxed` at all levels and the peak, where `component_trees.by_basins` can; whether it can stands first."""
    few, spans, extents, parents = component_trees.by_basins(image)
    boxes, largest = _boxed(image, spans, extents, parents)
    return few, spans, boxes, largest, _peak(largest)


@compiled.function
def _boxed_pixels(
    image: npt.NDArray[np.uint8],
) -> tuple[npt.NDArray[np.int32], Floats, npt.NDArray[np.int64], int]:
    """`_Boxed` at all levels and the peak, of any image."""
    spans, extents = component_trees.by_pixels(image)
    boxes, largest = _boxed(image, spans, extents, _without_parents(len(spans)))
    return spans, boxes, largest, _peak(largest)


@compiled.function
def _boxed_at(image: npt.NDArray[np.uint8], levels: npt.NDArray[np.int64]) -> _Boxed:
    """`_Boxed` at a few levels, rising."""
    spans, extents = component_trees.components_at(image, levels)
    boxes, largest = _boxed(image, spans, extents, _without_parents(len(spans)))
    return spans, boxes, largest


@compiled.function
def _without_parents(count: int) -> npt.NDArray[np.int32]:
    parents = np.empty(count, np.int32)
    for node in range(count):
        parents[node] = -1
    return parents


@compiled.function
def _peak(largest: npt.NDArray[np.int64]) -> int:
    """Greatest value of an image: there is foreground at every level below it."""
    peak = 0
    while peak < len(largest) and largest[peak] >= 0:
        peak += 1
    return peak


@compiled.function
def _boxed(
    image: npt.NDArray[np.uint8],
    spans: npt.NDArray[np.int32],
    extents: npt.NDArray[np.int32],
    parents: npt.NDArray[np.int32],
) -> tuple[Floats, npt.NDArray[np.int64]]:
    """`LevelBoxes.all` without holes and `LevelBoxes.largest`, from `component_trees.by_basins`."""
    boxes = np.empty((len(extents), 4))
    for node in range(len(extents)):
        boxes[node, 0], boxes[node, 1] = extents[node, 0], extents[node, 1]
        boxes[node, 2], boxes[node, 3] = extents[node, 2] + 1.0, extents[node, 3] + 1.0
    return boxes, outlines.largest(image, spans, extents, parents)


def level_ious(found: LevelBoxes, truths: Floats, protocol: protocols.Protocol) -> LevelIous:
    """Best IoU of the estimated boxes with any true box, at every level.

    Args:
        found: the boxes, in the frame of `protocol`.
        truths: ``(M, 4)``, M >= 1, in the frame (`boxes.to_frame`).
    """
    best = _best_per_level(_arrays(found), np.asarray(truths, np.float64), _box_conventions(protocol, found.size))
    return LevelIous(found.peak, best)


def protocol_scores(
    found: LevelBoxes, truths: Floats, protocol: protocols.Protocol
) -> tuple[float, npt.NDArray[np.bool_]]:
    """What a protocol asks of `level_ious`: `iou_at` its box threshold, `SINGLE`, and `box_hits` at all its thresholds.

    Args:
        found, truths: as of `level_ious`.
    """
    scores: tuple[float, npt.NDArray[np.bool_]] = _protocol_scores(
        _arrays(found),
        truths,
        _box_conventions(protocol, found.size),
        int(protocol.box_threshold * found.peak),
        _protocol_levels(found.peak, protocol.threshold_step),
        _protocol_limits(protocol.iou_limits),
    )
    return scores


_Arrays = tuple[npt.NDArray[np.int32], Floats, npt.NDArray[np.int64]]


def _arrays(found: LevelBoxes) -> _Arrays:
    return found.spans, found.all, found.largest


_Conventions = tuple[float, tuple[float, ...], bool]


def _box_conventions(protocol: protocols.Protocol, size: tuple[int, ...]) -> _Conventions:
    """What an inclusive end adds to a side, a box's greatest ends, and whether no foreground is a box at the origin."""
    ends = tuple(cells - 1.0 for cells in size) if protocol.clip_box_end else (np.inf,) * len(size)
    return (1.0 if protocol.inclusive_iou else 0.0), ends, protocol.origin_box


@compiled.short
def _protocol_scores(
    arrays: _Arrays,
    truths: Floats,
    conventions: _Conventions,
    fixed: int,
    at: npt.NDArray[np.int64],
    limits: Floats,
) -> tuple[float, npt.NDArray[np.bool_]]:
    # One call: between two a thread waits for Python's lock.
    best = _best_per_level(arrays, truths, conventions)
    return best[SINGLE, fixed], _spread(best, at, limits)


@compiled.function
def _volumes(truths: Floats, extra: float, rank: int) -> Floats:
    """The area of each true box; of intervals the length, of volumes the volume."""
    found = np.empty(len(truths))
    for number in range(len(truths)):
        found[number] = 1.0
        for axis in range(rank):
            found[number] *= max(truths[number, rank + axis] - truths[number, axis] + extra, 0.0)
    return found


@compiled.function
def _highest_iou(box: Floats, truths: Floats, volumes: Floats, extra: float, ends: tuple[float, ...]) -> float:
    """The best IoU of one box, clipped at `ends`, with any true box, by the arithmetic of `boxes.iou`."""
    rank = len(ends)
    size = 1.0
    for axis in range(rank):
        size *= max(min(box[rank + axis], ends[axis]) - box[axis] + extra, 0.0)
    highest = 0.0
    for number in range(len(truths)):
        truth, common = truths[number], 1.0
        for axis in range(rank):
            end = min(box[rank + axis], ends[axis])  # of three at once Numba makes branches
            end = min(end, truth[rank + axis])
            common *= max(end - max(box[axis], truth[axis]) + extra, 0.0)
        union = size + volumes[number] - common
        if union > 0:
            highest = max(highest, common / union)
    return highest


@compiled.short
def _best_per_level(arrays: _Arrays, truths: Floats, conventions: _Conventions) -> Floats:
    """`LevelIous.best`.

    Args:
        arrays: of `_arrays`.
        truths: ``(M, 4)``.
        conventions: of `_box_conventions`.
    """
    (spans, found, largest), (extra, ends, origin_box) = arrays, conventions
    best, volumes = np.zeros((2, component_trees.LEVELS)), _volumes(truths, extra, len(ends))
    origin = _highest_iou(np.zeros(2 * len(ends)), truths, volumes, extra, ends) if origin_box else 0.0
    for node in range(len(found)):
        highest = _highest_iou(found[node], truths, volumes, extra, ends)
        for level in range(spans[node, 0], spans[node, 1]):
            best[MULTI, level] = max(best[MULTI, level], highest)
            if largest[level] == node:
                best[SINGLE, level] = highest
    for level in range(component_trees.LEVELS):
        if largest[level] < 0:
            best[SINGLE, level] = best[MULTI, level] = origin
    return best


def box_at(found: LevelBoxes, threshold: npt.ArrayLike) -> Floats:
    """The box of the largest contour at each threshold, ``(..., 4)``, end exclusive, not clipped; NaN if none."""
    if isinstance(threshold, float):  # as every map is asked
        node = found.largest[int(threshold * found.peak)]
        return found.all[node] if node >= 0 else np.full(found.all.shape[1], np.nan)
    nodes = found.largest[levels(found.peak, threshold)]
    if not len(found.all):
        return np.full((*nodes.shape, found.all.shape[1]), np.nan)
    return np.where((nodes >= 0)[..., None], found.all[nodes], np.nan)


def iou_at(ious: LevelIous, threshold: npt.ArrayLike) -> Floats:
    """Best IoU at each threshold, ``(2, ...)``: of the largest contour and of all. For the run's best thresholds."""
    return ious.best[:, levels(ious.peak, threshold)]


def box_hits(ious: LevelIous, values: Floats, limits: tuple[float, ...]) -> npt.NDArray[np.bool_]:
    """Whether the image is right: bool ``(2, limits, thresholds)``, first axis `SINGLE` and `MULTI`."""
    hits: npt.NDArray[np.bool_] = _spread(ious.best, levels(ious.peak, values), np.array(limits))
    return hits


@functools.lru_cache(maxsize=1024)  # a peak is one of 256
def _protocol_levels(peak: int, step: float) -> npt.NDArray[np.int64]:
    """`levels` of all thresholds of that step, read-only."""
    found = levels(peak, thresholds(step))
    found.setflags(write=False)
    return found


@functools.cache
def _protocol_limits(limits: tuple[float, ...]) -> Floats:
    """The IoU limits as a read-only array."""
    found = np.array(limits)
    found.setflags(write=False)
    return found


@compiled.short
def _spread(best: Floats, at: npt.NDArray[np.int64], limits: Floats) -> npt.NDArray[np.bool_]:
    """`box_hits` of `LevelIous.best`, from the `levels` of the thresholds."""
    hits = np.empty((len(best), len(limits), len(at)), np.bool_)
    right = np.empty(component_trees.LEVELS, np.bool_)
    for mode in range(len(best)):
        for limit in range(len(limits)):
            for level in range(component_trees.LEVELS):
                right[level] = best[mode, level] >= limits[limit]
            for i in range(len(at)):
                hits[mode, limit, i] = right[at[i]]
    return hits


def max_box_acc_v2(counts: npt.NDArray[np.integer], images: int) -> float:
    """MaxBoxAccV2 in [0, 1] from summed hits ``(2, limits, thresholds)``; NaN without images."""
    return float((counts[MULTI].max(axis=1) / images).mean()) if images else float("nan")

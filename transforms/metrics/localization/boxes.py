"""The box convention, IoU, and which boxes belong to a class.

Boxes are float64 ``(N, 4)`` rows ``x0 y0 x1 y1``, x to the right, y down, end exclusive; of series ``(N, 2)``, of
volumes ``(N, 6)`` rows of all starts and then all ends (`records`). A box in the frame of a protocol may have been
clipped and be measured with inclusive ends: `protocols` says when.
"""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.contours import compiled

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]

_SNAP_PX = 1e-3


def iou(boxes: Floats, truths: Floats, *, inclusive: bool) -> Floats:
    """Intersection over union of every box with every true box.

    IoU = |A n B| / (|A| + |B| - |A n B|), with sides x1 - x0, or x1 - x0 + 1 if `inclusive`; 0 for an empty union.
    The measure is a length, an area or a volume, as the boxes have axes.

    Args:
        boxes: ``(N, 4)``, or 2 or 6 numbers each.
        truths: ``(M, 4)``, likewise.
        inclusive: whether both ends lie inside the box.

    Returns:
        float64 ``(N, M)`` in [0, 1].
    """
    extra = 1.0 if inclusive else 0.0
    first, second = boxes[:, None, :].astype(np.float64), truths[None, :, :].astype(np.float64)
    rank = truths.shape[1] // 2
    starts, ends = np.maximum(first[..., :rank], second[..., :rank]), np.minimum(first[..., rank:], second[..., rank:])
    common = np.maximum(ends - starts + extra, 0).prod(axis=-1)
    areas = [np.maximum(box[..., rank:] - box[..., :rank] + extra, 0).prod(axis=-1) for box in (first, second)]
    union = areas[0] + areas[1] - common
    result: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return result


def to_frame(boxes: Floats, size: tuple[int, ...], protocol: protocols.Protocol) -> Floats:
    """True boxes in the frame of `protocol`: each coordinate times cells / side, truncated if the protocol says so.

    Args:
        boxes: ``(N, 4)`` in pixels of the original image.
        size: ``(width, height)`` of the original image.
    """
    scaled: Floats = _to_frame(np.asarray(boxes, np.float64), *_scale(size, protocol), protocol.truncate_truth)
    return scaled


@functools.lru_cache(maxsize=4096)
def _scale(size: tuple[int, ...], protocol: protocols.Protocol) -> tuple[Floats, Floats]:
    """For each number of a box, the cells of the frame and the samples of the image along its axis; read-only."""
    cells = protocol.frame_shape(size[::-1])[::-1]
    found = np.array(cells * 2, np.float64), np.array(size * 2, np.float64)
    for one in found:
        one.setflags(write=False)
    return found


@compiled.short
def _to_frame(boxes: Floats, cells: Floats, sides: Floats, truncate: bool) -> Floats:
    found = np.empty(boxes.shape)
    for number in range(boxes.shape[0]):
        for i in range(boxes.shape[1]):
            corner = boxes[number, i]
            nearest = np.rint(corner)
            snapped = nearest if abs(corner - nearest) < _SNAP_PX else corner
            scaled = snapped * cells[i] / sides[i]
            found[number, i] = np.trunc(scaled) if truncate else scaled
    return found


def from_frame(boxes: Floats, size: tuple[int, ...], protocol: protocols.Protocol) -> Floats:
    """Boxes of the frame in pixels of the original image."""
    cells, sides = _scale(size, protocol)
    return boxes * sides / cells


def belongs(class_ids: npt.NDArray[np.int64] | None, count: int, class_id: int, label_ids: tuple[int, ...]) -> Bools:
    """Which of `count` boxes or masks show class `class_id`.

    One without a class (`records.NO_CLASS`, or no `class_ids` at all) belongs to the labels of the image.
    """
    if class_ids is None:
        class_ids = np.full(count, records.NO_CLASS)
    chosen: Bools = _belongs(class_ids, class_id, class_id in label_ids)
    return chosen


@compiled.short
def _belongs(class_ids: npt.NDArray[np.int64], class_id: int, is_label: bool) -> Bools:
    chosen = np.empty(len(class_ids), np.bool_)
    for i in range(len(class_ids)):
        chosen[i] = class_ids[i] == class_id or (is_label and class_ids[i] == records.NO_CLASS)
    return chosen


@compiled.short
def pixel_ranges(boxes: Floats) -> npt.NDArray[np.int64]:
    """``(N, 4)`` first column, first row, one past the last column and row of the pixels whose centre is in the box.

    For integer boxes these are the boxes themselves.
    """
    ranges = np.empty(boxes.shape, np.int64)
    for number in range(boxes.shape[0]):
        for i in range(boxes.shape[1]):
            ranges[number, i] = np.int64(np.ceil(boxes[number, i] - 0.5))
    return ranges


def fill(boxes: Floats, shape: tuple[int, ...], *, thin: bool = False) -> Bools:
    """Mask of the pixels whose centre lies in any of `boxes`.

    Args:
        boxes: ``(N, 4)``, or 2 or 6 numbers each.
        shape: ``(height, width)``; as many numbers as boxes have axes.
        thin: whether a box between two centres takes, along that axis, the pixel that its middle lies in.
    """
    mask: Bools = _fill(np.asarray(boxes, np.float64), np.array(shape[::-1], np.int64), thin)
    return mask.reshape(shape)


@compiled.function
def _fill(boxes: Floats, size: npt.NDArray[np.int64], thin: bool) -> Bools:
    """`fill` in an array of three axes ``(z, y, x)``; `size` is x first and has those that there are."""
    rank = len(size)
    cells, first, end = np.ones(3, np.int64), np.zeros(3, np.int64), np.ones(3, np.int64)
    for axis in range(rank):
        cells[axis] = size[axis]
    mask = np.zeros((cells[2], cells[1], cells[0]), np.bool_)
    ranges = pixel_ranges(boxes)
    for number in range(len(boxes)):
        box = ranges[number]
        for axis in range(rank):
            first[axis], end[axis] = max(box[axis], 0), min(box[rank + axis], cells[axis])
            if thin and box[axis] >= box[rank + axis]:
                middle = np.int64(np.floor((boxes[number, axis] + boxes[number, rank + axis]) / 2))
                first[axis] = min(max(middle, 0), cells[axis] - 1)
                end[axis] = first[axis] + 1
        for z in range(first[2], end[2]):
            for y in range(first[1], end[1]):
                mask[z, y, first[0] : end[0]] = True
    return mask


def of_class(
    boxes: npt.NDArray[np.floating],
    class_ids: npt.NDArray[np.int64] | None,
    class_id: int,
    source: records.Source,
    protocol: protocols.Protocol,
) -> tuple[Bools, Floats, Floats, Bools]:
    """Of the true boxes of an image those of one class: `belongs`, `to_frame` and `fill` in one call.

    Args:
        boxes: ``(N, 4)`` in pixels of the original image.
        class_ids: ``(N,)`` or None, as of `belongs`.
        class_id: of the class.
        source: of the image.
        protocol: of the frame.

    Returns:
        bool ``(N,)``, which boxes those are; float64 ``(M, 4)``, they themselves, and in the frame; bool ``(frame,
        frame)``, the pixels of the frame whose centre lies in any of them before they are truncated. The cells of a
        volume's frame are large (`protocols.Protocol.is_coarse`): there a thin box has the cells of its middle.
    """
    ids = np.full(len(boxes), records.NO_CLASS) if class_ids is None else class_ids
    mine, own, scaled, region = _of_class(
        np.asarray(boxes, np.float64),
        ids,
        class_id,
        class_id in source.label_ids,
        *_scale(source.size, protocol),
        protocol.truncate_truth,
        protocol.is_coarse(source.shape),
    )
    return mine, own, scaled, region.reshape(protocol.frame_shape(source.shape))


@compiled.short
def _of_class(
    boxes: Floats,
    ids: npt.NDArray[np.int64],
    class_id: int,
    is_label: bool,
    cells: Floats,
    sides: Floats,
    truncate: bool,
    thin: bool,
) -> tuple[Bools, Floats, Floats, Bools]:
    """`of_class`; `is_label` says whether the class is a label of the image, the region has three axes."""
    mine = _belongs(ids, class_id, is_label)
    count, size = 0, np.empty(len(cells) // 2, np.int64)
    for i in range(len(mine)):
        count += mine[i]
    own, in_frame = np.empty((count, len(cells))), np.empty((count, len(cells)))
    count = 0
    for i in range(len(mine)):
        if not mine[i]:
            continue
        for j in range(len(cells)):
            own[count, j], in_frame[count, j] = boxes[i, j], boxes[i, j] * (cells[j] / sides[j])
        count += 1
    for axis in range(len(size)):
        size[axis] = np.int64(cells[axis])
    return mine, own, _to_frame(own, cells, sides, truncate), _fill(in_frame, size, thin)

"""The box convention, IoU, and which boxes belong to a class.

Boxes are float64 ``(N, 4)`` rows ``x0 y0 x1 y1``, x to the right, y down, end exclusive. A box in the frame of a
protocol may have been clipped and be measured with inclusive ends: `protocols` says when.
"""

from __future__ import annotations

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

    Args:
        boxes: ``(N, 4)``.
        truths: ``(M, 4)``.
        inclusive: whether both ends lie inside the box.

    Returns:
        float64 ``(N, M)`` in [0, 1].
    """
    extra = 1.0 if inclusive else 0.0
    first, second = boxes[:, None, :].astype(np.float64), truths[None, :, :].astype(np.float64)
    sides = np.minimum(first[..., 2:], second[..., 2:]) - np.maximum(first[..., :2], second[..., :2]) + extra
    common = np.maximum(sides, 0).prod(axis=-1)
    areas = [np.maximum(box[..., 2:] - box[..., :2] + extra, 0).prod(axis=-1) for box in (first, second)]
    union = areas[0] + areas[1] - common
    result: Floats = np.divide(common, union, out=np.zeros_like(common), where=union > 0)
    return result


def to_frame(boxes: Floats, size: tuple[int, ...], protocol: protocols.Protocol) -> Floats:
    """True boxes in the frame of `protocol`: each coordinate times frame / side, truncated if the protocol says so.

    Args:
        boxes: ``(N, 4)`` in pixels of the original image.
        size: ``(width, height)`` of the original image.
    """
    scaled: Floats = _to_frame(
        np.asarray(boxes, np.float64), *map(float, size), protocol.frame_px, protocol.truncate_truth
    )
    return scaled


@compiled.function
def _to_frame(boxes: Floats, width: float, height: float, frame: int, truncate: bool) -> Floats:
    nearest = np.rint(boxes)
    snapped = np.where(np.abs(boxes - nearest) < _SNAP_PX, nearest, boxes)
    scaled = snapped * float(frame) / np.array([width, height, width, height])
    found: Floats = np.trunc(scaled) if truncate else scaled
    return found


def from_frame(boxes: Floats, size: tuple[int, ...], protocol: protocols.Protocol) -> Floats:
    """Boxes of the frame in pixels of the original image."""
    return boxes * np.array([*size, *size], np.float64) / protocol.frame_px


def belongs(class_ids: npt.NDArray[np.int64] | None, count: int, class_id: int, label_ids: tuple[int, ...]) -> Bools:
    """Which of `count` boxes or masks show class `class_id`.

    One without a class (`records.NO_CLASS`, or no `class_ids` at all) belongs to the labels of the image.
    """
    if class_ids is None:
        class_ids = np.full(count, records.NO_CLASS)
    chosen: Bools = _belongs(class_ids, class_id, class_id in label_ids)
    return chosen


@compiled.function
def _belongs(class_ids: npt.NDArray[np.int64], class_id: int, is_label: bool) -> Bools:
    chosen: Bools = (class_ids == class_id) | ((class_ids == records.NO_CLASS) & is_label)
    return chosen


@compiled.function
def pixel_ranges(boxes: Floats) -> npt.NDArray[np.int64]:
    """``(N, 4)`` first column, first row, one past the last column and row of the pixels whose centre is in the box.

    For integer boxes these are the boxes themselves.
    """
    return np.ceil(boxes - 0.5).astype(np.int64)


@compiled.function
def fill(boxes: Floats, height: int, width: int) -> Bools:
    """Mask ``(height, width)`` of the pixels whose centre lies in any of `boxes`."""
    mask = np.zeros((height, width), np.bool_)
    for box in np.maximum(pixel_ranges(boxes), 0):
        mask[box[1] : box[3], box[0] : box[2]] = True
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
        frame)``, the pixels of the frame whose centre lies in any of them before they are truncated.
    """
    ids = np.full(len(boxes), records.NO_CLASS) if class_ids is None else class_ids
    found: tuple[Bools, Floats, Floats, Bools] = _of_class(
        np.asarray(boxes, np.float64),
        ids,
        class_id,
        class_id in source.label_ids,
        *map(float, source.size),
        protocol.frame_px,
        protocol.truncate_truth,
    )
    return found


@compiled.function
def _of_class(
    boxes: Floats,
    ids: npt.NDArray[np.int64],
    class_id: int,
    is_label: bool,
    width: float,
    height: float,
    frame: int,
    truncate: bool,
) -> tuple[Bools, Floats, Floats, Bools]:
    """`of_class`; `is_label` says whether the class is a label of the image."""
    mine = _belongs(ids, class_id, is_label)
    own = boxes[mine]
    untruncated = own * np.array([frame / width, frame / height, frame / width, frame / height])
    return mine, own, _to_frame(own, width, height, frame, truncate), fill(untruncated, frame, frame)

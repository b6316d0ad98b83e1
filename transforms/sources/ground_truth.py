"""Ground truth in the frame of the original image: boxes in pixels, masks as booleans; on one to three axes."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import records
from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.sources import box_conventions, decode_options, mask_arrays
from heatbeam.transforms.sources.classes import class_maps

SNAP_PX = 1e-3
"""A coordinate this near to a whole pixel is that pixel: a float32 fraction of it does not come back exactly."""

MAX_MASK_BYTES = 1 << 30


def decode(
    encoded: records.EncodedExample,
    size: tuple[int, ...],
    options: decode_options.MaskOptions,
    box_tolerance: float = decode_options.BOX_TOLERANCE_PX,
) -> records.GroundTruth:
    """Boxes and masks of an image.

    A box that cannot be used is left out and counted. An image of which none is left has no boxes: it is not one
    without objects.

    Args:
        encoded: the record.
        size: ``(width, height)`` of its image, x first.
        options: how a semantic mask is read.
        box_tolerance: as of `boxes_in_pixels`.

    Raises:
        DataError: ``corrupt_mask``, ``mask_size_mismatch``, ``invalid_mask``, ``too_many_masks``,
            ``class_length_mismatch`` or ``box_rank_mismatch``.
    """
    ignore = None
    if encoded.ignore_mask is not None:
        ignore = mask_arrays.decode_one(encoded.ignore_mask, size, "the ignore mask") != 0
    masks = mask_class_ids = None
    if encoded.masks is not None and encoded.masks_are_instances:
        masks, mask_class_ids = _instances(encoded.masks, encoded.mask_class_ids, size)
    elif encoded.masks is not None:
        values = mask_arrays.whole_numbers(
            mask_arrays.decode_one(encoded.masks[0], size, "the semantic mask"), "the semantic mask"
        )
        masks, mask_class_ids = semantic_masks(values, options)
        if options.ignore is not None and np.any(values == options.ignore):
            unscored = values == options.ignore
            ignore = unscored if ignore is None else ignore | unscored
    return dataclasses.replace(
        _boxes(encoded, size, box_tolerance), masks=masks, mask_class_ids=mask_class_ids, ignore=ignore
    )


def _boxes(encoded: records.EncodedExample, size: tuple[int, ...], tolerance: float) -> records.GroundTruth:
    if encoded.boxes is None:
        return records.GroundTruth()
    count = len(encoded.boxes)
    if encoded.boxes.shape[1] != 2 * len(size):
        raise records.DataError(
            "box_rank_mismatch",
            f"boxes of {encoded.boxes.shape[1]} numbers for an input of {len(size)} position axes; expected "
            f"{2 * len(size)}: starts and ends along each axis",
        )
    pixels, kept = boxes_in_pixels(box_fractions(encoded.boxes, encoded, size), size, tolerance)
    dropped = count - len(pixels)
    if dropped == count > 0:
        return records.GroundTruth(dropped_boxes=dropped)
    return records.GroundTruth(
        boxes=pixels,
        box_class_ids=_class_ids(encoded.box_class_ids, count)[kept],
        box_difficult=np.array(encoded.box_difficult or (False,) * count, bool)[kept],
        dropped_boxes=dropped,
    )


def box_fractions(boxes: np.ndarray, encoded: records.EncodedExample, size: tuple[int, ...]) -> np.ndarray:
    """The boxes of a record in fractions of its image, counted from 0, ends exclusive.

    Args:
        boxes: those of `encoded`, float64 ``(N, 4)``.
        encoded: the record.
        size: ``(width, height)`` of its image in pixels.
    """
    if not encoded.boxes_are_pixels and encoded.box_shift_px == (0, 0):
        return boxes
    pixels = box_conventions.pixels(boxes, size, encoded.boxes_are_pixels, encoded.box_shift_px)
    return pixels / np.array([*size, *size], np.float64)


def boxes_in_pixels(
    fractions: np.ndarray, size: tuple[int, ...], tolerance: float = decode_options.BOX_TOLERANCE_PX
) -> tuple[np.ndarray, np.ndarray]:
    """Boxes from fractions of an image to its pixels, without those that cannot be used.

    pixels = fraction * side, made whole within `SNAP_PX` of a whole pixel, and clipped to the image. Left out is a box
    that is not finite, has no area inside the image, or sticks out of it by more than `tolerance`.

    Args:
        fractions: float64 ``(N, 4)``, ``x0 y0 x1 y1``; of one and three axes ``(N, 2)`` and ``(N, 6)``.
        size: ``(width, height)`` of the image in pixels.
        tolerance: pixels by which a box may stick out.

    Returns:
        float64 ``(K, 4)``, end exclusive, ``0 <= x0 < x1 <= width`` and ``0 <= y0 < y1 <= height``; and bool ``(N,)``,
        which boxes these are.
    """
    sides = np.array([*size, *size], np.float64)
    clipped, kept = _clipped(np.array(fractions, np.float64, order="C"), sides, float(tolerance))
    return clipped[kept], kept


@compiled.short
def _clipped(
    fractions: npt.NDArray[np.float64], sides: npt.NDArray[np.float64], tolerance: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
    """All boxes in pixels, made whole and clipped; and which can be used."""
    clipped, kept = np.empty(fractions.shape), np.empty(len(fractions), np.bool_)
    rank = len(sides) // 2
    for box in range(len(fractions)):
        inside = True
        for i in range(len(sides)):
            pixel = fractions[box, i] * sides[i]
            whole = np.rint(pixel)
            if abs(pixel - whole) < SNAP_PX:
                pixel = whole
            inside &= -tolerance <= pixel <= sides[i] + tolerance  # NaN is not
            pixel = max(0.0, pixel)
            clipped[box, i] = min(sides[i], pixel)
        for axis in range(rank):
            inside &= clipped[box, axis] < clipped[box, rank + axis]
        kept[box] = inside
    return clipped, kept


def semantic_masks(values: np.ndarray, options: decode_options.MaskOptions) -> tuple[np.ndarray, np.ndarray]:
    """One boolean mask per class present in a semantic mask, by rising class id.

    Args:
        values: integer ``(height, width)``, or of one or three axes.
        options: which values are no classes, and the offset of the others.

    Returns:
        bool ``(M, *shape of values)`` and int64 ``(M,)``, class ids of the model; what it does not have is left out.
    """
    present = [int(v) for v in np.unique(values) if int(v) not in (options.background, options.ignore)]
    class_ids = np.array(present, np.int64) - options.offset
    if present and class_ids[0] < 0:
        raise records.DataError(
            "invalid_mask", f"the semantic mask holds the value {present[0]}; classes start at {options.offset}"
        )
    model_ids = _in_model(present, class_ids.tolist(), options)
    kept = sorted({class_id for class_id in model_ids if class_id is not None})
    _check_mask_bytes(len(kept), values.shape[::-1])
    masks = np.zeros((len(kept), *values.shape), bool)
    for value, class_id in zip(present, model_ids, strict=True):
        if class_id is not None:
            masks[kept.index(class_id)] |= values == value  # several classes of the data may be one of the model
    return masks, np.array(kept, np.int64)


def _in_model(
    present: Sequence[int], class_ids: Sequence[int], options: decode_options.MaskOptions
) -> list[int | None]:
    found = []
    for value, class_id in zip(present, class_ids, strict=True):
        try:
            found.append(options.classes.of_id(class_id))
        except class_maps.UnknownClassError as error:
            text = f"the semantic mask holds the value {value}, class {class_id}; {error}"
            raise records.DataError("invalid_mask", text) from None
    return found


def largest_class(truth: records.GroundTruth) -> int | None:
    """The class whose masks cover most pixels, the lower one of equals; None without masks that have a class."""
    if truth.masks is None or truth.mask_class_ids is None:
        return None
    areas: dict[int, int] = {}
    for class_id, mask in zip(truth.mask_class_ids.tolist(), truth.masks, strict=True):
        if class_id >= 0:
            areas[class_id] = areas.get(class_id, 0) + int(np.count_nonzero(mask))
    return max(areas, key=lambda class_id: (areas[class_id], -class_id), default=None)


def _instances(
    encoded: tuple[bytes, ...], class_ids: tuple[int, ...] | None, size: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    if mask_arrays.may_be_several(encoded):
        masks = mask_arrays.decode(encoded[0], size, "the instance masks") != 0
        _check_mask_bytes(len(masks), size)
        if class_ids is not None and len(class_ids) != len(masks):
            message = f"{len(class_ids)} classes for {len(masks)} masks in one array"
            raise records.DataError("class_length_mismatch", message)
        return masks, _class_ids(class_ids, len(masks))
    _check_mask_bytes(len(encoded), size)
    masks = np.zeros((len(encoded), *size[::-1]), bool)
    for number, (mask, data) in enumerate(zip(masks, encoded, strict=True)):
        np.not_equal(mask_arrays.decode_one(data, size, f"instance mask {number}"), 0, out=mask)
    return masks, _class_ids(class_ids, len(encoded))


def _check_mask_bytes(count: int, size: tuple[int, ...]) -> None:
    if count * math.prod(size) > MAX_MASK_BYTES:
        message = f"{count} masks of {' x '.join(map(str, size))} pixels do not fit into {MAX_MASK_BYTES} bytes"
        raise records.DataError("too_many_masks", message)


def _class_ids(class_ids: tuple[int, ...] | None, count: int) -> np.ndarray:
    return np.array((records.NO_CLASS,) * count if class_ids is None else class_ids, np.int64)

"""True boxes and masks of a record read again from its source shard, to be drawn beside the estimated ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from heatbeam.runs import source_images
from heatbeam.transforms import records
from heatbeam.transforms.metrics.localization import boxes
from heatbeam.transforms.sources import decode_options, feature_map, features, ground_truth
from heatbeam.transforms.sources.classes import class_maps
from heatbeam.transforms.tables import axis_columns

Box = tuple[float, ...]
"""Starts and ends, x first, as of `records`: ``x0 y0 x1 y1`` of a picture."""


def true_boxes(
    source: source_images.SourceRecord,
    image_size: tuple[int, ...],
    class_id: int,
    label_ids: Sequence[int],
    classes: class_maps.Maps,
) -> list[Box]:
    """Boxes of a class, in pixels of the original image; none if there are none or they are damaged.

    Args:
        source: the record.
        image_size: ``(width, height)`` of the original image, x first.
        class_id: the explained class.
        label_ids: of the image; a box without a class belongs to them.
        classes: what the classes of the data are in the model, as `manifests.Manifest.maps_of_classes` has it.
    """
    try:
        encoded = features.parse_example(source.record, _box_features(source, classes), *source.place[:2])
        if encoded.boxes is None or encoded.boxes.shape[1] != 2 * len(image_size):
            return []
        fractions = ground_truth.box_fractions(encoded.boxes, encoded, image_size)
        pixels, kept = ground_truth.boxes_in_pixels(fractions, image_size, source.settings.box_tolerance)
    except (records.DataError, ValueError):
        return []  # a picture without its boxes is better than none
    truth_ids = None if encoded.box_class_ids is None else np.array(encoded.box_class_ids, np.int64)[kept]
    chosen = boxes.belongs(truth_ids, len(pixels), class_id, tuple(label_ids))
    return [tuple(box) for box in pixels[chosen].tolist()]


def true_mask(
    source: source_images.SourceRecord,
    image_size: tuple[int, ...],
    class_id: int,
    label_ids: Sequence[int],
    classes: class_maps.Maps,
) -> npt.NDArray[np.bool_] | None:
    """Where the masks of a class are, in the shape of the original; None if there are none or they are damaged.

    Args:
        source, image_size, class_id, label_ids, classes: as of `true_boxes`.
    """
    given = source.settings
    names = given.as_feature_map(classes=classes[0], box_classes=classes[1]).reduced_to(*feature_map.OF_THE_MASKS)
    offset = given.label_offset if given.semantic_offset is None else given.semantic_offset
    options = decode_options.MaskOptions(
        given.semantic_background, given.semantic_ignore, offset, names.reads_objects.classes
    )
    try:
        named = dataclasses.replace(names, raw_shape=source.raw_shape)
        encoded = features.parse_example(source.record, named, *source.place[:2])
        truth = ground_truth.decode(encoded, image_size, options)
    except (records.DataError, ValueError):
        return None  # as above
    if truth.masks is None:
        return None
    chosen = truth.masks[boxes.belongs(truth.mask_class_ids, len(truth.masks), class_id, tuple(label_ids))]
    where: npt.NDArray[np.bool_] = np.logical_or.reduce(chosen, axis=0)
    return where if where.any() else None


def mask_of_row(
    source: source_images.SourceRecord | None, row: Mapping[str, Any], classes: class_maps.Maps
) -> npt.NDArray[np.bool_] | None:
    """`true_mask` of the class of a row of ``explanations``; None without its record."""
    if source is None:
        return None
    return true_mask(source, axis_columns.size_of(row), row["class_id"], row["label_ids"] or (), classes)


def _box_features(source: source_images.SourceRecord, classes: class_maps.Maps) -> feature_map.FeatureMap:
    """What `features.parse_example` must read for boxes alone."""
    names = source.settings.as_feature_map(classes=classes[0], box_classes=classes[1])
    return dataclasses.replace(names.reduced_to(*feature_map.OF_THE_BOXES), raw_shape=source.raw_shape)

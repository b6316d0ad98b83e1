"""From an item and its image to a ``tf.train.Example`` under the names of the TF Object Detection API.

The bytes of the image are kept as they are. Class ids count from 0, as positions in the file of class names; boxes are
fractions of the image's sides, ends exclusive, whatever the source had; masks are one PNG an object, in the order of
the boxes. An image that may have several classes has them in `LABELS`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heatbeam.prepare import items, masks
from heatbeam.transforms import records
from heatbeam.transforms.sources import box_conventions, tfexample
from heatbeam.transforms.sources.pixels import image_files

LABELS = "image/class/labels"
IGNORED = "image/ignore_mask"
_SIDES = ("ymin", "xmin", "ymax", "xmax")
_OWN = "image/"
"""How names of features begin that no further column may take."""


@dataclasses.dataclass(frozen=True)
class Encoding:
    """How a record is made of an item.

    Attributes:
        class_ids: the id of each class as the source writes it; None to store what it writes.
        names: of the classes, by id; None where the source names none.
        several: whether an image may have several classes.
        boxes: the convention of the source's boxes.
        masks: whether masks are written.
    """

    class_ids: Mapping[items.Key, int] | None
    names: tuple[str, ...] | None
    several: bool
    boxes: box_conventions.BoxConvention
    masks: bool = True


def slice_name(column: str) -> str:
    """The feature that holds a further column."""
    return f"column/{column}" if column.startswith(_OWN) else column


def encode(item: items.Item, image: bytes, how: Encoding) -> bytes:
    """The serialized ``tf.train.Example`` of an item.

    Args:
        item: what the source says.
        image: its encoded image.
        how: to encode.

    Raises:
        DataError: ``corrupt_image``, ``image_size_mismatch``, ``unknown_class``, ``several_classes``,
            ``invalid_mask``, or what the item itself has as its problem.
    """
    if item.problem is not None:
        raise records.DataError(*item.problem)
    with image_files.reported_as("corrupt_image", f"the image of {len(image)} bytes", image):
        opened = image_files.opened_file(image)
    if len(item.keys) > 1 and not how.several:
        raise records.DataError("several_classes", f"{len(item.keys)} classes for the image; its format has one")
    width, height = opened.size
    features: dict[str, Sequence[Any]] = {
        "image/encoded": [image],
        "image/format": [(opened.format or "").lower().encode()],
        "image/source_id": [item.image_id.encode()],
        "image/filename": [item.image_id.rpartition("/")[2].encode()],
        "image/height": [height],
        "image/width": [width],
        **_classes(item.keys, LABELS if how.several else "image/class/label", "image/class/text", how),
    }
    if item.things is not None:
        _check_size(item, (width, height))
        features |= _objects(item.things, (width, height), how)
        if how.masks:
            features |= _masks(item, (width, height))
    for name, value in item.slices:
        features[slice_name(name)] = [*features.get(slice_name(name), ()), value.encode()]
    return tfexample.serialize(features)


def _classes(keys: Sequence[items.Key], label: str, text: str, how: Encoding) -> dict[str, Sequence[Any]]:
    if how.class_ids is None:
        return {label: [key.encode() if isinstance(key, str) else key for key in keys]}
    unknown = [key for key in keys if key not in how.class_ids]
    if unknown:
        raise records.DataError("unknown_class", f"class {unknown[0]!r} is none of the {len(how.class_ids)} classes")
    ids = [how.class_ids[key] for key in keys]
    return {label: ids, **({} if how.names is None else {text: [how.names[i].encode() for i in ids]})}


def _check_size(item: items.Item, size: tuple[int, int]) -> None:
    if item.size is not None and item.size != size:
        turned = "; it may be annotated as its EXIF orientation turns it" if item.size == size[::-1] else ""
        raise records.DataError(
            "image_size_mismatch",
            f"the annotation is of an image of {item.size[0]} x {item.size[1]} pixels, this one has {size[0]} x "
            f"{size[1]}{turned}",
        )


def _objects(things: Sequence[items.Thing], size: tuple[int, int], how: Encoding) -> dict[str, Sequence[Any]]:
    rows = np.array([thing.box for thing in things], np.float64).reshape(-1, 4)
    boxes = box_conventions.USUAL.as_stored(how.boxes.pixels(how.boxes.corners(rows), size), size)
    features: dict[str, Sequence[Any]] = {
        f"image/object/bbox/{side}": boxes[:, number].tolist() for number, side in enumerate(_SIDES)
    }
    keys = [thing.key for thing in things if thing.key is not None]
    if len(keys) == len(things):
        features |= _classes(keys, "image/object/class/label", "image/object/class/text", how)
    for name in ("difficult", "truncated"):
        flags = [getattr(thing, name) for thing in things]
        if any(flag is not None for flag in flags):
            features[f"image/object/{name}"] = [int(bool(flag)) for flag in flags]
    return features


def _masks(item: items.Item, size: tuple[int, int]) -> dict[str, Sequence[Any]]:
    found: dict[str, Sequence[Any]] = {}
    things = item.things or ()
    # The classes of masks are those of the boxes, so it is all objects of an image or none.
    if things and all(thing.segmentation is not None for thing in things):
        found["image/object/mask"] = [masks.png(masks.decoded(thing.segmentation, size)) for thing in things]
    if item.crowds:
        found[IGNORED] = [masks.png(np.any([masks.decoded(one, size) for one in item.crowds], axis=0))]
    return found

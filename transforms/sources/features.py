"""From the features of a ``tf.train.Example`` to an `EncodedExample`: names, types and checks.

TFDS stores the same message under flat names (``objects/bbox``), so its records pass through here too. Everything read
here is data: names and texts are never used as paths or markup, and whatever is wrong with them is a
`records.DataError`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from heatbeam.transforms import records
from heatbeam.transforms.sources import box_conventions, feature_map, mask_arrays, tfexample
from heatbeam.transforms.sources.arrays import stored_arrays
from heatbeam.transforms.sources.classes import stored_classes

_NAMES_SHOWN = 12


def default_image_id(shard: str, index: int) -> str:
    """``shard__index``: the id of a record that brings none."""
    return f"{shard}__{index}"


def parse_example(
    serialized: bytes, features: feature_map.FeatureMap, shard: str, index: int
) -> records.EncodedExample:
    """One serialized ``tf.train.Example`` as an `EncodedExample`.

    Args:
        serialized: the record's bytes.
        features: which feature holds what.
        shard: name of the shard file.
        index: position of the record in the shard, from 0.

    Raises:
        DataError: the record cannot be used. Types: ``invalid_record``, ``missing_feature``, ``wrong_type``,
            ``multiple_values``, ``invalid_id``, ``invalid_label``, ``unknown_label``, ``ambiguous_label``,
            ``box_length_mismatch``, ``class_length_mismatch``, ``difficult_length_mismatch``, ``invalid_raw_image``,
            ``invalid_text``, and of arrays those of `stored_arrays.read`.
    """
    return example_of(tfexample.parse(serialized, features.record), features, shard, index)


def example_of(
    parsed: Mapping[str, Any], features: feature_map.FeatureMap, shard: str, index: int
) -> records.EncodedExample:
    """As `parse_example`, from the features that `tfexample.parse` gives."""
    reader = _Reader(parsed)
    reader.check_present((features.image, *features.required))
    image, raw_shape, raw_dtype, is_clip = _array(reader, features) or (*_image(reader, features), "uint8", False)
    boxes = _boxes(reader, features)
    masks, mask_class_ids = _masks(reader, features)
    return records.EncodedExample(
        image_id=_image_id(reader, features, shard, index),
        shard=shard,
        index=index,
        image=image,
        raw_shape=raw_shape,
        raw_dtype=raw_dtype,
        label_ids=_label_ids(reader, features),
        boxes=boxes,
        boxes_are_pixels=features.box_convention.units != "fractions",
        box_shift_px=features.box_convention.shift_px,
        box_class_ids=_box_class_ids(reader, features, boxes),
        box_difficult=_box_difficult(reader, features, boxes),
        masks=masks,
        masks_are_instances=features.semantic_mask is None,
        mask_class_ids=mask_class_ids,
        ignore_mask=_whole_mask(reader, features.ignore_mask),
        slices=_slices(reader, features),
        values=_values(reader, features),
        is_clip=is_clip,
        inputs=tuple(_inputs(reader, features)),
    )


def held(parsed: Mapping[str, Any], names: Iterable[str]) -> Iterator[str]:
    """Those of the features `names` that a record has a value of."""
    for name in names:
        if name in parsed and len(tfexample.values(parsed[name])):
            yield name


def readable_image_id(serialized: bytes, features: feature_map.FeatureMap, shard: str, index: int) -> str:
    """The id of a record that may be broken in other places; `default_image_id` if the id itself cannot be read."""
    try:
        return _image_id(_Reader(tfexample.parse(serialized, features.record)), features, shard, index)
    except records.DataError:
        return default_image_id(shard, index)


class _Reader:
    """Typed access to the features of one record."""

    def __init__(self, features: Mapping[str, Any]):
        self._features = features

    def check_present(self, names: Sequence[str]) -> None:
        missing = [name for name in dict.fromkeys(names) if name not in self._features]
        if missing:
            raise records.DataError(
                "missing_feature", f"no feature {', '.join(missing)}; the record has {self._list()}"
            )

    def steps(self, name: str) -> tuple[int, ...] | None:
        """How many values each step of feature list `name` has; None for a feature."""
        feature = self._features[name]
        return feature.lengths if isinstance(feature, tfexample.Steps) else None

    def many(self, name: str | None, *kinds: str) -> Sequence[Any] | None:
        """The values of feature `name`, of one of `kinds`; None if it is not configured or not in the record."""
        if name is None or name not in self._features:
            return None
        feature = self._features[name]
        kind = tfexample.kind(feature)
        if kind not in kinds and kind != "empty":
            raise records.DataError("wrong_type", f"feature {name} holds {kind} values; expected {' or '.join(kinds)}")
        return tfexample.values(feature)

    def one(self, name: str | None, *kinds: str) -> Any:
        """The only value of feature `name`, or None if there is none."""
        values = self.many(name, *kinds)
        if not values:
            return None
        if len(values) > 1:
            raise records.DataError("multiple_values", f"feature {name} holds {len(values)} values; expected one")
        return values[0]

    def _list(self) -> str:
        names = sorted(self._features)
        more = f" and {len(names) - _NAMES_SHOWN} more" if len(names) > _NAMES_SHOWN else ""
        without = isinstance(self._features, tfexample.SequenceFeatures) and not self._features.lists
        hint = ", and no feature lists (a tf.train.Example is read with input.record: example)" if without else ""
        return (", ".join(names[:_NAMES_SHOWN]) or "no features") + more + hint


def _array(reader: _Reader, features: feature_map.FeatureMap) -> tuple[bytes, tuple[int, ...], str, bool] | None:
    """The numbers of an array, its shape, its type and whether it is a clip; None where images are read."""
    form = features.array
    if form is None:
        return None
    shape = None
    if form.shape_feature is not None:
        shape = reader.many(form.shape_feature, "int64")
        if not shape:
            raise records.DataError("missing_feature", f"feature {form.shape_feature} holds no shape of the array")
    values = reader.many(features.image, "bytes", "float", "int64") or ()
    found = stored_arrays.read(values, form, features.image, shape, reader.steps(features.image))
    return found.tobytes(), found.shape, found.dtype.name, stored_arrays.is_clip(values, form)


def _inputs(reader: _Reader, features: feature_map.FeatureMap) -> Iterator[tuple[str, np.ndarray]]:
    """What the record holds of the model's other inputs."""
    for form in features.inputs:
        values = reader.many(form.feature, "bytes", "float", "int64")
        if not values:
            raise records.DataError(
                "missing_feature", f"no value of feature {form.feature}, which input {form.name} of the model takes"
            )
        yield form.name, stored_arrays.unchanged(values)


def _image(reader: _Reader, features: feature_map.FeatureMap) -> tuple[bytes, tuple[int, ...] | None]:
    image_format = reader.one(features.format, "bytes")
    if features.raw_shape is None and (image_format is None or image_format.lower() != b"raw"):
        image = _encoded_image(reader, features.image)
        if not image:
            raise records.DataError("missing_feature", f"feature {features.image} holds no image")
        return image, None
    pixels = _raw_pixels(reader, features.image)
    shape = features.raw_shape or _raw_shape(reader, features, len(pixels))
    if min(shape) < 1 or len(pixels) != shape[0] * shape[1] * shape[2]:
        raise records.DataError(
            "invalid_raw_image", f"a raw image of {shape} (height, width, channels) cannot have {len(pixels)} bytes"
        )
    return pixels, shape


def _encoded_image(reader: _Reader, name: str) -> bytes | None:
    try:
        image: bytes | None = reader.one(name, "bytes")
    except records.DataError as error:
        if error.error_type not in ("wrong_type", "multiple_values"):
            raise
        raise records.DataError(
            error.error_type,
            f"{error.message}, an encoded image; numbers and clips are read by input.array (format, shape)",
        ) from error
    return image


def _raw_pixels(reader: _Reader, name: str) -> bytes:
    values = reader.many(name, "bytes", "int64") or ()
    if len(values) == 1 and isinstance(values[0], bytes):
        return values[0]
    try:
        return bytes(values)
    except (TypeError, ValueError) as error:
        raise records.DataError(
            "invalid_raw_image", f"feature {name} holds no pixels from 0 to 255: {error}"
        ) from error


def _raw_shape(reader: _Reader, features: feature_map.FeatureMap, size: int) -> tuple[int, int, int]:
    height, width = reader.one(features.height, "int64"), reader.one(features.width, "int64")
    if height is None or width is None:
        raise records.DataError("invalid_raw_image", "a raw image needs its height and width as features")
    channels = reader.one(features.channels, "int64")
    return height, width, size // max(height * width, 1) if channels is None else channels


def _image_id(reader: _Reader, features: feature_map.FeatureMap, shard: str, index: int) -> str:
    try:
        value = reader.one(features.image_id, "bytes", "int64")
    except records.DataError as error:
        raise records.DataError("invalid_id", error.message) from error
    if value is None or value == b"":
        return default_image_id(shard, index)
    return _text(value, features.image_id, "invalid_id")


def _text(value: bytes | float, name: str | None, error_type: str) -> str:
    if not isinstance(value, bytes):
        return str(value)
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise records.DataError(error_type, f"feature {name} is not UTF-8 text: {value[:40]!r}") from error


def _label_ids(reader: _Reader, features: feature_map.FeatureMap) -> tuple[int, ...]:
    found: list[int] = []
    for name, one in ((features.label, True), (features.labels, False)):
        values = reader.many(name, "int64", "float", "bytes")
        if not values:
            continue
        # A feature that names the class of each object is a list of classes, however much it looks like a vector.
        of_objects = not one and name in (features.box_class, features.mask_class)
        rules = features.reads_objects if of_objects else features.reads_labels
        found += stored_classes.Reading(name, rules, one=one).class_ids(values)
    return tuple(dict.fromkeys(found))


def _values(reader: _Reader, features: feature_map.FeatureMap) -> tuple[float, ...] | None:
    """What a regression is to give; empty where the record does not say, None where nothing is asked."""
    if features.value is None:
        return None
    return tuple(float(value) for value in reader.many(features.value, "float", "int64") or ())


def _boxes(reader: _Reader, features: feature_map.FeatureMap) -> np.ndarray | None:
    """Corners ``x0 y0 x1 y1`` in the units that are stored; those of an axis become pixels."""
    convention = features.box_convention
    if features.boxes is not None:
        flat, width = _box_numbers(reader, features.boxes, convention), 2 * convention.rank
        if flat is not None and len(flat) % width:
            raise records.DataError(
                "box_length_mismatch", f"feature {features.boxes} holds {len(flat)} values; not {width} per box"
            )
        rows = None if flat is None else np.array(flat, np.float64).reshape(-1, width)
        return None if rows is None else convention.corners(rows)
    rows = _box_rows(reader, features.box_sides(), convention)
    if rows is None:
        return None
    return convention.of_named_sides.corners(rows[:, convention.array_order])


def _box_numbers(reader: _Reader, name: str | None, convention: box_conventions.BoxConvention) -> Sequence[Any] | None:
    numbers = reader.many(name, "float", "int64")
    if numbers and convention.units == "fractions" and isinstance(numbers[0], int):
        raise records.DataError(
            "wrong_type",
            f"feature {name} holds int64 values; expected float, fractions of the image's sides: of pixels, set "
            "input.box_units",
        )
    return numbers


def _box_rows(
    reader: _Reader, names: Sequence[str | None], convention: box_conventions.BoxConvention
) -> np.ndarray | None:
    """``ymin xmin ymax xmax`` of each box, or as many numbers as it has sides."""
    sides = [_box_numbers(reader, name, convention) for name in names]
    if all(side is None for side in sides):
        return None
    counts = [len(side) if side is not None else 0 for side in sides]
    if len(set(counts)) > 1:
        listing = ", ".join(f"{name}: {count}" for name, count in zip(names, counts, strict=True))
        raise records.DataError("box_length_mismatch", f"box features of different length ({listing})")
    return np.array([side or () for side in sides], np.float64).reshape(len(names), counts[0]).T


def _box_class_ids(
    reader: _Reader, features: feature_map.FeatureMap, boxes: np.ndarray | None
) -> tuple[int, ...] | None:
    if boxes is None:
        return None
    return _classes_of(reader, features.box_class, features, len(boxes), "boxes")


def _classes_of(
    reader: _Reader, name: str | None, features: feature_map.FeatureMap, count: int | None, objects: str
) -> tuple[int, ...] | None:
    classes = reader.many(name, "int64", "float", "bytes")
    if classes is None:
        return None
    if count is not None and len(classes) != count:
        raise records.DataError(
            "class_length_mismatch", f"feature {name} holds {len(classes)} classes for {count} {objects}"
        )
    reading = stored_classes.Reading(name, features.reads_objects, one=False)
    ids = (reading.class_id(value) for value in classes)
    return tuple(records.NOT_IN_MODEL if class_id is None else class_id for class_id in ids)


def _box_difficult(
    reader: _Reader, features: feature_map.FeatureMap, boxes: np.ndarray | None
) -> tuple[bool, ...] | None:
    flags = reader.many(features.box_difficult, "int64") if boxes is not None else None
    if flags is None or boxes is None:
        return None
    if len(flags) != len(boxes):
        raise records.DataError(
            "difficult_length_mismatch",
            f"feature {features.box_difficult} holds {len(flags)} flags for {len(boxes)} boxes",
        )
    return tuple(flag != 0 for flag in flags)


def _masks(
    reader: _Reader, features: feature_map.FeatureMap
) -> tuple[tuple[bytes, ...] | None, tuple[int, ...] | None]:
    if features.semantic_mask is not None:
        semantic = _whole_mask(reader, features.semantic_mask)
        return (None if semantic is None else (semantic,)), None
    masks = reader.many(features.instance_masks, "bytes", "int64")
    if masks is None:
        return None, None
    if len(masks) and not isinstance(masks[0], bytes):
        masks = (mask_arrays.packed(masks),)
    # One array may hold the masks of all objects: how many is known when the shape of the image is.
    count = None if mask_arrays.may_be_several(masks) else len(masks)
    return tuple(masks), _classes_of(reader, features.mask_class, features, count, "masks")


def _whole_mask(reader: _Reader, name: str | None) -> bytes | None:
    """The only mask of a feature: encoded, or an integer for each pixel."""
    values = reader.many(name, "bytes", "int64")
    if values and not isinstance(values[0], bytes):
        return mask_arrays.packed(values)
    found: bytes | None = reader.one(name, "bytes")
    return found


def _slices(reader: _Reader, features: feature_map.FeatureMap) -> tuple[tuple[str, str], ...]:
    pairs = []
    for name in features.slices:
        for value in reader.many(name, "bytes", "int64", "float") or ():
            pairs.append((name, _text(value, name, "invalid_text")))
    return tuple(dict.fromkeys(pairs))

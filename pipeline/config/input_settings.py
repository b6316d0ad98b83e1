"""The section ``input``: where the records are and what is in them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Annotated, Any

import pydantic

from heatbeam.config import array_settings, section
from heatbeam.transforms import records
from heatbeam.transforms.sources import (
    box_conventions,
    decode_options,
    feature_map,
    source,
    tfds_source,
    tfrecord_source,
)
from heatbeam.transforms.sources import tfrecord as framing
from heatbeam.transforms.sources.arrays import array_options
from heatbeam.transforms.sources.classes import class_files, stored_classes

_WHOLE: Mapping[str, Any] = {"resize": "squash", "shorter_side": None, "draft": False}
"""Of a frame: no part of it is cut off, nor is it decoded at another size."""
_OF_CLIPS = 4


class TfdsConfig(section.Section):
    """A TensorFlow Datasets source: a prepared dataset by name, or by the directory it lies in."""

    name: str | None = pydantic.Field(
        None, description="dataset name, with config and version if wanted: coco/2017:1.1.0"
    )
    directory: str | None = pydantic.Field(None, description="directory of a prepared dataset (builder_from_directory)")
    data_dir: str | None = pydantic.Field(None, description="where TFDS keeps prepared datasets; for `name`")
    split: str = pydantic.Field(
        tfds_source.TFDSSource.split, description="split expression: validation, train[:10%], train+test"
    )

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> TfdsConfig:
        if (self.name is None) == (self.directory is None):
            raise ValueError("give exactly one of name and directory")
        return self


class FeaturesConfig(section.Section):
    """Names of the features in a record. Unset names take the source's usual ones; null means not there."""

    image: str | None = pydantic.Field(None, description="encoded image, or raw uint8 pixels")
    image_id: str | None = pydantic.Field(None, description="text or integer; without it shard and index")
    label: str | None = pydantic.Field(None, description="one class, as id, name or vector; see label_form")
    labels: str | None = pydantic.Field(None, description="any number of classes; see label_form")
    boxes: str | None = pydantic.Field(
        None, description="one feature of four numbers a box (TFDS; two and six in series and volumes), see box_order"
    )
    box_xmin: str | None = pydantic.Field(None, description="left edges")
    box_ymin: str | None = pydantic.Field(None, description="upper edges")
    box_xmax: str | None = pydantic.Field(None, description="right edges; widths where box_order has them")
    box_ymax: str | None = pydantic.Field(None, description="lower edges; heights where box_order has them")
    box_zmin: str | None = pydantic.Field(None, description="first planes of boxes in volumes")
    box_zmax: str | None = pydantic.Field(None, description="last planes; depths where box_order has them")
    box_class: str | None = pydantic.Field(None, description="class of each box")
    box_difficult: str | None = pydantic.Field(None, description="nonzero for a difficult box (Pascal VOC)")
    instance_masks: str | None = pydantic.Field(
        None, description="one per object: PNG, or an array (.npy, tensor, integers)"
    )
    mask_class: str | None = pydantic.Field(None, description="class of each instance mask")
    semantic_mask: str | None = pydantic.Field(None, description="one, PNG or array, whose value is the class")
    ignore_mask: str | None = pydantic.Field(
        None, description="one, PNG or array, nonzero where pixels must not be scored"
    )
    value: str | None = pydantic.Field(
        None, description="numbers that a regression is to give, one for each output (default: the feature of label)"
    )
    format: str | None = pydantic.Field(None, description="text; raw means that the image is pixels")
    height: str | None = pydantic.Field(None, description="of raw images, in pixels")
    width: str | None = pydantic.Field(None, description="of raw images, in pixels")
    channels: str | None = pydantic.Field(None, description="of raw images")


class InputConfig(section.Section):
    """Where the records are and what is in them."""

    tfrecord: tuple[str, ...] | None = pydantic.Field(None, description="glob or list of globs of TFRecord shards")
    compression: framing.Compression = pydantic.Field(
        tfrecord_source.TFRecordSource.compression,
        description="of the shards; auto looks at the first bytes of each",
    )
    record: feature_map.Record = pydantic.Field(
        feature_map.FeatureMap.record,
        description="what the shards hold: tf.train.Example, or SequenceExample, whose context and feature lists are "
        "read by name; a list that is the input has its steps as the first axis",
    )
    tfds: TfdsConfig | None = pydantic.Field(None, description="a prepared TFDS dataset, instead of tfrecord")
    features: FeaturesConfig = pydantic.Field(FeaturesConfig(), description="names of the features of a record")
    features_given: tuple[str, ...] | None = pydantic.Field(
        None, description="filled in: which of features the configuration names; some record must have each of them"
    )
    required: tuple[str, ...] = pydantic.Field(
        feature_map.FeatureMap.required,
        description="features every record must have; a record without one becomes a dead letter",
    )
    raw_shape: tuple[section.Positive, section.Positive, section.Positive] | None = pydantic.Field(
        None,
        description="height, width, channels, where every image is raw uint8 pixels",
    )
    array: array_settings.ArrayConfig | None = pydantic.Field(
        None, description="inputs that are arrays of numbers or clips; absent for images, encoded or raw uint8"
    )
    box_units: box_conventions.Units = pydantic.Field(
        box_conventions.BoxConvention.units,
        description="of boxes: fractions of the image's sides, its pixels (samples), or the units of its axes",
    )
    box_order: box_conventions.Order = pydantic.Field(
        box_conventions.BoxConvention.order,
        description="of the four numbers of a box: two corners, or the upper left corner (xywh) or the middle (cxcywh) "
        "with width and height",
    )
    box_origin: box_conventions.Origin = pydantic.Field(
        box_conventions.BoxConvention.origin, description="number of the first column and row of an image"
    )
    box_end: box_conventions.End | None = pydantic.Field(
        box_conventions.BoxConvention.end,
        description="whether the right and lower edge is the first pixel behind a box or its last (default: inclusive "
        "where box_origin is 1)",
    )
    label_offset: int = pydantic.Field(
        feature_map.FeatureMap.label_offset, description="subtracted from every class id of the records"
    )
    box_label_offset: int | None = pydantic.Field(
        feature_map.FeatureMap.box_label_offset,
        description="the same for the classes of boxes and instance masks (default: label_offset)",
    )
    class_names: tuple[str, ...] | dict[int, str] | str | None = pydantic.Field(
        None,
        description="classes of the data, if TFDS does not name them: a list, names by id, or a file (one name a line, "
        "CSV, JSON, YAML, label map)",
    )
    class_map: dict[str | int, str | int | None] | str | None = pydantic.Field(
        None,
        description="which class of the model a class of the data is, where names do not say it: a mapping or a file "
        "of names, WordNet ids or ids, null to leave a class out ('*': null for all without counterpart); ids: the "
        "data's ids are the model's",
    )
    label_form: stored_classes.Form = pydantic.Field(
        "auto",
        description="of label and labels: class ids, names, vectors with a place for each class, or scores of which "
        "the highest is the label; auto tells them apart, and refuses what may be two of them",
    )
    semantic_background: int | None = pydantic.Field(
        decode_options.MaskOptions.background, description="grey value of a semantic mask that is no class"
    )
    semantic_ignore: int | None = pydantic.Field(
        decode_options.MaskOptions.ignore, description="grey value of a semantic mask not to be scored"
    )
    semantic_offset: int | None = pydantic.Field(
        None, description="subtracted from the grey values of a semantic mask (default: label_offset)"
    )
    resize: decode_options.Resize = pydantic.Field(
        decode_options.ImageOptions.resize,
        description="to the model's input: change the aspect ratio, cut the longer side, add borders, or cut as Keras "
        "(crop_to_aspect_ratio, CenterCrop) or torchvision (Resize and CenterCrop) do",
    )
    interpolation: decode_options.Interpolation = pydantic.Field(
        decode_options.ImageOptions.interpolation, description="filter that resizes images"
    )
    resampler: decode_options.Resampler = pydantic.Field(
        decode_options.ImageOptions.resampler,
        description="whose code resizes images: that of the training (tensorflow: image_dataset_from_directory, "
        "Resizing, tf.image.resize)",
    )
    decoder: decode_options.Decoder = pydantic.Field(
        decode_options.ImageOptions.decoder,
        description="whose code decodes images (tensorflow: tf.io.decode_image, and Pillow for TIFF and AVIF)",
    )
    crop_fraction: Annotated[float, pydantic.Field(gt=0, le=1)] = pydantic.Field(
        decode_options.ImageOptions.crop_fraction,
        description="for crop: share of the largest centred rectangle to show",
    )
    pad_value: Annotated[int, pydantic.Field(ge=0, le=255)] = pydantic.Field(
        decode_options.ImageOptions.pad_value, description="for pad: the border's grey"
    )
    shorter_side: section.Positive | None = pydantic.Field(
        decode_options.ImageOptions.shorter_side,
        description="for shorter_side_center_crop: the resized image's shorter side in pixels",
    )
    value_range: decode_options.ValueRange = pydantic.Field(
        decode_options.ImageOptions.value_range,
        description="of images of 16 bits: which values become 0 and 255: those of the type, percentiles of the image, "
        "or low, high; upper_byte keeps the upper 8 bits",
    )
    value_percentiles: tuple[float, float] = pydantic.Field(
        decode_options.ImageOptions.value_percentiles, description="for value_range: percentile, in percent"
    )
    exif: bool = pydantic.Field(
        decode_options.ImageOptions.exif,
        description="apply the EXIF orientation; boxes must then fit the turned image",
    )
    draft: bool = pydantic.Field(
        decode_options.ImageOptions.draft,
        description="decode much larger JPEGs at reduced size: faster, slightly other pixels; needs decoder and "
        "resampler pillow, and resize squash, crop or pad",
    )
    max_pixels: section.Positive = pydantic.Field(
        decode_options.ImageOptions.max_pixels, description="larger images become dead letters before decoding"
    )
    box_tolerance: Annotated[float, pydantic.Field(ge=0)] = pydantic.Field(
        decode_options.BOX_TOLERANCE_PX,
        description="pixels by which a box may stick out of its image and is clipped; one further out is left out",
    )
    max_record_bytes: section.Positive = pydantic.Field(
        framing.MAX_RECORD_BYTES,
        description="larger records are lost, unpacked or not; a packed shard ends at one",
    )
    reshuffle_records: bool = pydantic.Field(False, description="spread the records of few big shards over the workers")

    @pydantic.field_validator("class_map", mode="before")
    @classmethod
    def _pairs(cls, value: Any) -> Any:
        return value if value is None or isinstance(value, str) else class_files.of_pairs(value)

    @pydantic.field_validator("tfrecord", mode="before")
    @classmethod
    def _one_or_many(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> InputConfig:
        if sum(getattr(self, key) is not None for key in SOURCES) != 1:
            raise ValueError(f"give exactly one of {' and '.join(SOURCES)}")
        if self.tfrecord is not None and not self.tfrecord:
            raise ValueError("tfrecord names no files")
        if self.record != "example" and self.tfrecord is None:
            raise ValueError(f"record: {self.record} goes with tfrecord; other formats hold a tf.train.Example each")
        return self

    @pydantic.model_validator(mode="after")
    def _one_way_to_read_images(self) -> InputConfig:
        self.as_image_options(1, 1)  # says what does not go together
        return self

    @pydantic.model_validator(mode="after")
    def _one_way_to_read_boxes(self) -> InputConfig:
        self.as_box_convention()  # as above
        return self

    @pydantic.model_validator(mode="after")
    def _usual_features(self) -> InputConfig:
        """The source's usual feature names, with what the file sets in their place: as the manifest records them."""
        usual = {name: getattr(self.as_source().usual_features, name) for name in FeaturesConfig.model_fields}
        given = {name: getattr(self.features, name) for name in self.features.model_fields_set}
        object.__setattr__(self, "features", FeaturesConfig(**{**usual, **given}))
        if self.features_given is None:  # a manifest says it, as every name stands there
            object.__setattr__(self, "features_given", tuple(name for name in given if given[name] is not None))
        return self

    def as_source(self) -> source.Source:
        """Where the records are, as the steps know it."""
        return next(make(self) for key, make in SOURCES.items() if getattr(self, key) is not None)

    def as_image_options(self, height: int, width: int, **more: Any) -> decode_options.ImageOptions:
        """How an image becomes a model's input of that size, as the steps know it.

        Args:
            height, width: of the input, in pixels.
            more: further fields of a `decode_options.ImageOptions`.

        Raises:
            errors.UsageError: as `decode_options.ImageOptions` says.
        """
        names = {field.name for field in dataclasses.fields(decode_options.ImageOptions)}
        given = {name: getattr(self, name) for name in names if name in type(self).model_fields}
        return decode_options.ImageOptions(height, width, **{**given, **more})

    def as_array_options(self, shape: tuple[int, ...]) -> array_options.ArrayOptions:
        """How an array becomes a model's input of that shape, ``(*positions, channels)``; of a section ``array``.

        Raises:
            errors.UsageError: as `array_options.ArrayOptions` and `decode_options.ImageOptions` say.
        """
        given = self.array or array_settings.ArrayConfig()
        image = self.as_image_options(shape[0], shape[1], channels=shape[2]) if len(shape) == 3 else None
        if len(shape) == _OF_CLIPS and given.format in ("auto", "frames"):
            image = self.as_image_options(shape[1], shape[2], channels=shape[3], **_WHOLE)
        return array_options.ArrayOptions(shape, given.fit or (), given.pad_value, given.pad_side, image)

    @property
    def stated_rank(self) -> int:
        """How many position axes the inputs have, as far as the settings say; else 2, an image's."""
        return (self.array.rank if self.array is not None else None) or 2

    def as_axes(self, rank: int) -> tuple[records.Axis, ...]:
        """The position axes of inputs of that rank, in the order of the array."""
        return records.plain_axes(rank) if self.array is None else self.array.as_axes(rank)

    def as_box_convention(self) -> box_conventions.BoxConvention:
        """What the numbers of a box mean, as the steps know it.

        Raises:
            errors.UsageError: as `box_conventions.BoxConvention` says.
        """
        rank = self.stated_rank
        axes = self.as_axes(rank) if self.array is not None and self.array.axes is not None else ()
        return box_conventions.BoxConvention(self.box_units, self.box_order, self.box_origin, self.box_end, rank, axes)

    def as_feature_map(self, **more: Any) -> feature_map.FeatureMap:
        """What the features hold, as the steps know it, with the fields `more` of a `feature_map.FeatureMap`.

        Raises:
            ValueError: as `feature_map.FeatureMap` says.
        """
        return feature_map.FeatureMap(
            **self.features.model_dump(),
            raw_shape=self.raw_shape,
            array=None if self.array is None else self.array.as_form(self.as_image_options(1, 1, **_WHOLE)),
            record=self.record,
            box_convention=self.as_box_convention(),
            label_offset=self.label_offset,
            box_label_offset=self.box_label_offset,
            label_form=self.label_form,
            required=self.required,
            given=(
                *(getattr(self.features, field) for field in self.features_given or ()),
                *more.get("slices", ()),
                *(one.feature for one in more.get("inputs", ())),
            ),
            **more,
        )


SOURCES: Mapping[str, Callable[[InputConfig], source.Source]] = {
    "tfrecord": lambda given: tfrecord_source.TFRecordSource(
        given.tfrecord or (), given.compression, given.max_record_bytes
    ),
    "tfds": lambda given: tfds_source.TFDSSource(**dict(given.tfds or ()), max_record_bytes=given.max_record_bytes),
}
"""The formats of input: the key of each in the section ``input``, and what reads it."""

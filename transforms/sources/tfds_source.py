"""TFDS datasets as shards: TFDS gives the metadata, our own reader the records.

A prepared dataset stores ``tf.train.Example`` messages under flat feature names (``objects/bbox``), so its records go
through the same `features.parse_example` as any TFRecord file. Nothing is downloaded or prepared here, and TensorFlow
is not imported.
"""

from __future__ import annotations

import dataclasses
import itertools
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np

from heatbeam.transforms.sources import arrayrecord, feature_map, source, tfrecord, tfrecord_source
from heatbeam.transforms.sources.arrays import array_options
from heatbeam.transforms.sources.classes import stored_classes

_RANGE_RECORDS = 512
"""Records per range of an array_record file. Fixed, so that neither results nor counts depend on the workers."""


@dataclasses.dataclass(frozen=True)
class TFDSSource:
    """Which records of which prepared dataset.

    Attributes:
        name: ``name``, ``name/config`` or ``name/config:version``, as TFDS writes them; None if `directory` is given.
        data_dir: folder of prepared datasets; None for TFDS's own default.
        directory: the folder that holds ``dataset_info.json``; None if `name` is given.
        split: split expression, such as ``validation[:10%]`` or ``train[:37]+test``.
        max_record_bytes: larger records are lost.

    Raises:
        ValueError: not exactly one of `name` and `directory` is given.
    """

    name: str | None = None
    data_dir: str | None = None
    directory: str | None = None
    split: str = "validation"
    max_record_bytes: int = tfrecord.MAX_RECORD_BYTES

    title: ClassVar[str] = "TFDS"
    usual_features: ClassVar[feature_map.FeatureMap] = feature_map.FeatureMap.naming(
        "image",
        label="label",
        labels="labels",
        boxes="objects/bbox",
        box_class="objects/label",
        box_difficult="objects/is_difficult",
        semantic_mask="segmentation_mask",
    )

    def __post_init__(self) -> None:
        if (self.name is None) == (self.directory is None):
            raise ValueError(f"TFDS: give either a name ({self.name!r}) or a directory ({self.directory!r})")
        if self.directory is not None and self.data_dir is not None:
            raise ValueError("TFDS: data_dir belongs to a name, not to a directory")

    @property
    def place(self) -> str:
        """The name of the dataset, or its directory."""
        return str(self.name or self.directory)

    def open(self) -> source.Dataset:
        """The shards of the split, in TFDS's order.

        Raises:
            ValueError: as `dataset_info` and `split_shards` say.
        """
        info = dataset_info(self)
        return PreparedDataset(split_shards(info, self.split, self.max_record_bytes), info)


@dataclasses.dataclass(frozen=True)
class PreparedDataset(source.Dataset):
    """A split of a prepared dataset, whose features and classes TFDS knows.

    Attributes:
        info: TFDS's ``DatasetInfo``.
    """

    info: Any

    def resolve(self, features: feature_map.FeatureMap) -> feature_map.FeatureMap:
        """As `resolve_features`."""
        return resolve_features(self.info, features)

    def class_names(self, features: feature_map.FeatureMap) -> tuple[str, ...] | None:
        """As the function `class_names`."""
        return class_names(self.info, features)


def dataset_info(spec: TFDSSource) -> Any:
    """TFDS's ``DatasetInfo`` of the prepared dataset.

    Raises:
        ValueError: there is no such dataset; the message lists what there is.
    """
    from tensorflow_datasets.core import dataset_info as info_lib  # optional dependency, a third of a second
    from tensorflow_datasets.core import read_only_builder, registered

    if spec.directory is not None:
        try:
            return read_only_builder.builder_from_directory(os.path.expanduser(spec.directory)).info
        except info_lib.DatasetInfoFileError as error:
            raise ValueError(
                f"{spec.directory} is no prepared TFDS dataset: it holds no dataset_info.json; "
                f"its folders: {_folders(spec.directory)}. Name the folder of one version, such as mnist/3.0.1"
            ) from error
    try:
        return read_only_builder.builder_from_files(spec.name, data_dir=spec.data_dir).info
    except registered.DatasetNotFoundError as error:
        folder = spec.data_dir or os.path.join("~", "tensorflow_datasets")
        raise ValueError(
            f"no prepared TFDS dataset {spec.name!r} in {folder}; its folders: {_folders(folder)}. "
            f"Check name, config and version, or prepare it first: heatbeam downloads nothing"
        ) from error


def _folders(path: str) -> str:
    path = os.path.expanduser(path)
    if not os.path.isdir(path):
        return "none, the folder does not exist"
    return ", ".join(sorted(entry.name for entry in os.scandir(path) if entry.is_dir())) or "none"


def split_shards(info: Any, split: str, max_record_bytes: int = tfrecord.MAX_RECORD_BYTES) -> tuple[source.Shard, ...]:
    """The files and ranges that a split expression selects, in TFDS's order.

    Raises:
        ValueError: no such split, an expression that selects nothing or the same records twice, or a file format that
            is neither tfrecord nor array_record.
    """
    from heatbeam.transforms.sources import files  # loads Beam

    file_format = info.file_format.value
    if file_format not in _STORED_AS:
        expected = " or ".join(_STORED_AS)
        raise ValueError(f"TFDS dataset {info.full_name} is stored as {file_format}; expected {expected}")
    existing = ", ".join(f"{name} ({info.splits[name].num_examples})" for name in info.splits)
    try:
        instructions = info.splits[split].file_instructions
    except (ValueError, KeyError) as error:
        raise ValueError(f"TFDS dataset {info.full_name} has no split {split!r}: {error}; it has {existing}") from error
    if not instructions:
        raise ValueError(f"split {split!r} of TFDS dataset {info.full_name} selects no record; it has {existing}")
    _check_disjoint(instructions, split)
    paths = [os.fspath(instruction.filename) for instruction in instructions]
    if file_format == "array_record" and any("://" in path for path in paths):
        raise ValueError(f"array_record files can only be read from a local disk; got {paths[0]}")
    names, stored = files.shard_names(paths), files.sizes(paths)
    return tuple(
        shard
        for path, item in zip(paths, instructions, strict=True)
        for shard in _STORED_AS[file_format](
            path, names[path], item.skip, item.skip + item.take, stored.get(path, 0), max_record_bytes
        )
    )


def _tfrecord(
    path: str, name: str, start: int, stop: int, stored: int, max_record_bytes: int
) -> Iterator[source.Shard]:
    yield tfrecord_source.TFRecordShard(path, name, start, stop, start, stored, "none", max_record_bytes)


def _array_record(
    path: str, name: str, start: int, stop: int, stored: int, max_record_bytes: int
) -> Iterator[source.Shard]:
    for position in range(start, stop, _RANGE_RECORDS):
        end = min(position + _RANGE_RECORDS, stop)
        yield arrayrecord.ArrayRecordShard(path, name, position, end, start, stored, max_record_bytes)


_STORED_AS = {"tfrecord": _tfrecord, "array_record": _array_record}
"""TFDS's file formats that can be read."""


def _check_disjoint(instructions: Sequence[Any], split: str) -> None:
    taken = sorted((os.fspath(item.filename), item.skip, item.skip + item.take) for item in instructions)
    for (path, _, stop), (next_path, start, _) in itertools.pairwise(taken):
        if path == next_path and start < stop:
            raise ValueError(
                f"split {split!r} names records of {os.path.basename(path)} twice; use parts that do not overlap"
            )


def resolve_features(info: Any, features: feature_map.FeatureMap) -> feature_map.FeatureMap:
    """`features`, checked against what the dataset declares, and completed from it.

    A raw image feature adds its `raw_shape`; labels that are declared as classes are none of the vectors that they
    might look like.

    Raises:
        ValueError: a feature that is required or given is not in the dataset, or the dataset stores a feature in a form
            that cannot be read. All problems are reported together.
    """
    stored = dict(_flatten(info.features.get_serialized_info()))
    connector = _feature(info.features, features.image) if _stored_name(features.image, stored) in stored else None
    features = _with_stored_names(features, stored)
    read = features.names()
    expected = (features.image, *features.required, *(name for name in features.given if name in read))
    problems = [f"no feature {name!r}" for name in dict.fromkeys(expected) if name not in stored]
    for name in read:
        if name in stored and stored[name].sequence_rank > 1:
            problems.append(f"feature {name!r} is a list of lists, which is not supported")
    if features.boxes in stored:
        problems += _box_units(_feature(info.features, features.boxes or ""), features)
    raw_shape, array = features.raw_shape, features.array
    if array is not None:
        if connector is not None:
            array = _declared_array(array, connector, stored[features.image])
    elif connector is not None:
        try:
            raw_shape = _raw_shape(connector, stored[features.image]) or raw_shape
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError(f"TFDS dataset {info.full_name}: {'; '.join(problems)}; it has {', '.join(sorted(stored))}")
    features = dataclasses.replace(features, raw_shape=raw_shape, array=array)
    labels = [_feature(info.features, name) for name in (features.label, features.labels) if name in stored]
    if features.label_form == "auto" and labels and all(map(_is_class, labels)):
        return dataclasses.replace(features, label_form=stored_classes.LIST)  # declared, so no vector
    return features


def _stored_name(name: str, stored: Mapping[str, Any]) -> str:
    """The feature that holds the values of `name`: a tensor with several open axes is stored as two."""
    return f"{name}/value" if name not in stored and f"{name}/shape" in stored else name


def _with_stored_names(features: feature_map.FeatureMap, stored: Mapping[str, Any]) -> feature_map.FeatureMap:
    """`features` with the image by the name under which it is stored, and its shape if that is stored too."""
    name, image = features.image, _stored_name(features.image, stored)
    if image == name:
        return features
    array = features.array
    if array is not None and array.shape is None and array.shape_feature is None:
        array = dataclasses.replace(array, shape_feature=f"{name}/shape")
    required, given = (
        tuple(image if one == name else one for one in names) for names in (features.required, features.given)
    )
    return dataclasses.replace(features, image=image, array=array, required=required, given=given)


def _is_class(feature: Any) -> bool:
    import tensorflow_datasets as tfds

    return isinstance(feature, tfds.features.ClassLabel)


def _box_units(feature: Any, features: feature_map.FeatureMap) -> Iterator[str]:
    """A line where the dataset declares boxes in other units than are read.

    The order that it declares is no evidence: TFDS's own tuple of a box is stored in one order, whatever is declared.
    """
    declared = getattr(feature, "bbox_format", None)
    if declared is None:
        return
    units = "fractions" if declared.value.startswith("REL_") else "pixels"
    if units != features.box_convention.units:
        yield (
            f"feature {features.boxes!r} declares boxes of {declared.value}, in {units}: set input.box_units and "
            "input.box_order"
        )


def class_names(info: Any, features: feature_map.FeatureMap) -> tuple[str, ...] | None:
    """The names of the classes in the order of their ids, from the first of label, labels, box_class that has any."""
    import tensorflow_datasets as tfds

    stored = dict(_flatten(info.features.get_serialized_info()))
    for name in (features.label, features.labels, features.box_class):
        if name is not None and name in stored:
            feature = _feature(info.features, name)
            if isinstance(feature, tfds.features.ClassLabel) and feature.num_classes:
                return tuple(feature.names)
    return None


def _flatten(specs: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for name, spec in specs.items():
        if isinstance(spec, Mapping):
            yield from _flatten(spec, f"{prefix}{name}/")
        else:
            yield prefix + name, spec


def _feature(feature: Any, name: str) -> Any:
    """The feature connector under a nested name; that of one element for a list."""
    import tensorflow_datasets as tfds

    for part in name.split("/"):
        feature = feature[part]
    while isinstance(feature, tfds.features.Sequence):
        feature = feature.feature
    return feature


def _declared_array(form: array_options.ArrayForm, feature: Any, stored: Any) -> array_options.ArrayForm:
    """`form` with the shape and the type that the dataset declares, where neither settings nor records say them.

    A Tensor, and an Audio, is stored as a list of numbers, or as bytes if its encoding says so; images of a video are
    frames, which have their own; an Image of float32 is a PNG of its bytes.
    """
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.Image):
        is_float = form.format == "auto" and np.dtype(feature.np_dtype) == np.float32
        return dataclasses.replace(form, format="float_png") if is_float else form
    shape, dtype = tuple(stored.shape), str(stored.np_dtype and np.dtype(stored.np_dtype).name)
    if isinstance(feature, tfds.features.Tensor) and not shape and feature.shape:
        encoding = feature.to_json_content().encoding
        form = dataclasses.replace(form, format=_PACKED_AS.get(encoding, form.format))
        shape, dtype = tuple(feature.shape), np.dtype(feature.np_dtype).name
    if form.shape is not None or form.shape_feature is not None:
        known = form.dtype or (dtype if dtype in array_options.DTYPES else None)
        return dataclasses.replace(form, dtype=known) if form.format in _PACKED_AS.values() else form
    if not shape or shape.count(None) > 1 or dtype not in array_options.DTYPES:
        return form
    return dataclasses.replace(form, shape=shape, dtype=form.dtype or dtype)


_PACKED_AS: Mapping[str, array_options.Format] = {"bytes": "raw", "zlib": "zlib"}
"""Formats of arrays by TFDS's names of the encodings of its tensors."""


def _raw_shape(feature: Any, stored: Any) -> tuple[int, int, int] | None:
    """The shape of an image that is stored as numbers; None for one that is stored encoded."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.Image):
        dtype = np.dtype(feature.np_dtype).name
        if dtype not in ("uint8", "uint16"):
            raise ValueError(f"the image is stored as {dtype}; expected uint8 or uint16; {_AS_ARRAY}")
        return None
    shape = tuple(stored.shape)
    if np.dtype(stored.np_dtype) == np.uint8 and len(shape) == 3 and None not in shape:
        return shape
    raise ValueError(
        f"the image feature is a {feature!r}; expected an Image or a uint8 Tensor of fixed (height, width, channels); "
        f"{_AS_ARRAY}"
    )


_AS_ARRAY = "arrays of other types and shapes are read by input.array, such as array: {}"

"""The original images of a run, read again from its source shards where these can still be reached.

Shards are found and read as the run found and read them: TFRecord on any file system that Beam knows, and prepared TFDS
datasets in tfrecord and array_record files. Only the records that are asked for are read, and of a compressed shard
what stands before them. What cannot be read leaves a gap and says why; nothing is raised.
"""

from __future__ import annotations

import collections
import dataclasses
import hashlib
import io
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
import pydantic
from PIL import Image, ImageOps

from heatbeam import config
from heatbeam.transforms import records
from heatbeam.transforms.sources import arrayrecord, features, tfrecord

if TYPE_CHECKING:
    from heatbeam.transforms import read

Pixels = npt.NDArray[np.uint8]
Place = tuple[str, int, str]
"""``(shard, record_index, image_sha256)`` of a row."""


class _File(NamedTuple):
    """A shard that was found: what the rows call it, where it is, and how it is stored."""

    shard: str
    path: str
    file_format: str


def source_images(
    manifest: Mapping[str, Any], places: Collection[Place], problems: list[str] | None = None
) -> Iterator[tuple[Place, Pixels]]:
    """The images at `places`, uint8 ``(H, W, 3)`` in original size, in no particular order.

    An image is left out if its shard is not there, its record cannot be read, or its bytes are no longer those that
    were explained.

    Args:
        manifest: of the run; its ``config.input`` says where the shards are.
        places: of the rows.
        problems: where to add why shards could not be read, one sentence each.
    """
    for source in source_records(manifest, places, problems):
        pixels = source.pixels()
        if pixels is not None:
            yield source.place, pixels


@dataclasses.dataclass(frozen=True)
class SourceRecord:
    """One record as its shard holds it.

    Attributes:
        place: of the rows that were made of it.
        record: the serialized ``tf.train.Example``.
        image: its encoded image; raw pixels if `raw_shape` is given.
        settings: the run's ``config.input``.
        raw_shape: ``(height, width, channels)`` of a raw image, or None.
    """

    place: Place
    record: bytes
    image: bytes
    settings: config.InputConfig
    raw_shape: tuple[int, int, int] | None = None

    def pixels(self) -> Pixels | None:
        """The image, uint8 ``(H, W, 3)`` in original size; None if it cannot be decoded."""
        return _pixels(self.image, self.raw_shape, self.settings.exif)


def source_records(
    manifest: Mapping[str, Any], places: Collection[Place], problems: list[str] | None = None
) -> Iterator[SourceRecord]:
    """The records at `places` whose bytes are still those that were explained; as `source_images`, not decoded."""
    problems = problems if problems is not None else []
    if not places:
        return
    try:
        settings = config.InputConfig.model_validate(manifest.get("config", {}).get("input"))
    except pydantic.ValidationError:
        problems.append("the manifest does not say where the shards are")
        return
    wanted: dict[str, dict[int, set[str]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    for shard, index, digest in places:
        wanted[shard][index].add(digest)
    from heatbeam.runners import runner_options  # Beam takes a second to import, and a report may need no image

    with runner_options.connected(()):
        yield from _wanted_records(settings, wanted, problems)


def _wanted_records(
    settings: config.InputConfig, wanted: Mapping[str, Mapping[int, Collection[str]]], problems: list[str]
) -> Iterator[SourceRecord]:
    files, feature_map = _files(settings, wanted, problems)
    changed = 0
    # Shards of two directories may have one name: the bytes tell which image it is.
    for file in files:
        for index, record in _records(file, settings, wanted[file.shard], problems):
            image, raw_shape = _image(record, feature_map, file.shard, index)
            digest = hashlib.sha256(image).hexdigest()
            if digest in wanted[file.shard][index]:
                yield SourceRecord((file.shard, index, digest), record, image, settings, raw_shape)
            else:
                changed += 1
    if changed:
        problems.append(f"{changed} of the wanted records hold other bytes than those that were explained")


def image_features(settings: config.InputConfig) -> features.FeatureMap:
    """What `features.parse_example` must read of a record for its image alone."""
    names = settings.features.model_dump()
    unused = dict.fromkeys(
        ("image_id", "label", "labels", "box_ymin", "box_xmin", "box_ymax", "box_xmax", "bbox", "box_class",
         "box_difficult", "instance_masks", "mask_class", "semantic_mask", "ignore_mask")
    )  # fmt: skip
    return features.FeatureMap(
        image=str(names["image"]),
        image_format=names["format"],
        height=names["height"],
        width=names["width"],
        channels=names["channels"],
        raw_shape=settings.raw_shape,
        slices=(),
        label_offset=settings.label_offset,
        label_vocabulary=None,
        required=(),
        **unused,
    )


def _files(
    settings: config.InputConfig, wanted: Collection[str], problems: list[str]
) -> tuple[list[_File], features.FeatureMap]:
    """The wanted shards that are there, and how to read an image of their records."""
    from heatbeam.transforms import read  # Beam takes a second to import, and a report may need no image

    feature_map = image_features(settings)
    found: list[read.Shard] = []
    if settings.tfds is not None:
        try:
            found, feature_map = _tfds_shards(settings.tfds, feature_map)
        except (ValueError, OSError, ImportError) as error:
            problems.append(_in_a_line(error))
    for pattern in settings.tfrecord or ():
        try:
            found += read.match_shards((pattern,))
        except (ValueError, OSError) as error:
            problems.append(_in_a_line(error))
    # A shard is named by the end of its path, as long as it takes to be unique in the run.
    by_path = {(shard.path.replace("\\", "/"), shard.file_format) for shard in found}
    files = [
        _File(name, path, file_format)
        for path, file_format in sorted(by_path)
        for name in wanted
        if path == name or path.endswith("/" + name)
    ]
    missing = len(set(wanted) - {file.shard for file in files})
    if missing and found:
        problems.append(f"{missing} of {len(wanted)} shards are no longer there")
    return files, feature_map


def _tfds_shards(
    source: config.TfdsConfig, feature_map: features.FeatureMap
) -> tuple[list[read.Shard], features.FeatureMap]:
    """The shards of a prepared dataset, and the features with the shape of images that are stored as numbers."""
    from heatbeam.transforms.sources import tfds_source

    info = tfds_source.dataset_info(tfds_source.TFDSSpec(source.name, source.data_dir, source.directory, source.split))
    return list(tfds_source.split_shards(info, source.split)), tfds_source.resolve_features(info, feature_map)


def _records(
    file: _File, settings: config.InputConfig, indices: Collection[int], problems: list[str]
) -> Iterator[tuple[int, bytes]]:
    try:
        if file.file_format == "array_record":
            yield from arrayrecord.read_at(file.path, indices)
            return
        from apache_beam.io import filesystem, filesystems

        # `tfrecord` unpacks, so that it can skip what is not needed.
        plain = filesystem.CompressionTypes.UNCOMPRESSED
        with filesystems.FileSystems.open(file.path, compression_type=plain) as stream:
            yield from tfrecord.read_at(stream, settings.compression if settings.tfds is None else "none", indices)
    except (OSError, ImportError, records.DataError) as error:
        problems.append(f"{file.shard}: {_in_a_line(error)}")  # what the shard gave before the damage stands


def _in_a_line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _image(
    record: bytes, feature_map: features.FeatureMap, shard: str, index: int
) -> tuple[bytes, tuple[int, int, int] | None]:
    """The image of a record, nothing if it has none; and its shape if it is raw."""
    try:
        encoded = features.parse_example(record, feature_map, shard, index)
    except records.DataError:
        return b"", None
    return encoded.image, encoded.raw_shape


def _pixels(data: bytes, raw_shape: tuple[int, int, int] | None, exif: bool) -> Pixels | None:
    try:
        if raw_shape is not None:
            raw = np.frombuffer(data, np.uint8).reshape(raw_shape)
            image = Image.fromarray(raw[..., 0] if raw.shape[2] == 1 else raw[..., :3])
        else:
            opened: Image.Image = Image.open(io.BytesIO(data))
            image = ImageOps.exif_transpose(opened) if exif else opened
        return np.asarray(image.convert("RGB"))
    except (ValueError, OSError, Image.DecompressionBombError):
        return None  # an image that cannot be shown is no reason to show nothing

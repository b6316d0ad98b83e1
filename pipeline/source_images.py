"""The original images of a run, read again from its source shards where these can still be reached."""

from __future__ import annotations

import collections
import dataclasses
import glob
import hashlib
import io
import os
import pathlib
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pydantic
from PIL import Image, ImageOps

from pipeline import config
from transforms import records, tfexample, tfrecord

Pixels = npt.NDArray[np.uint8]
Place = tuple[str, int, str]
"""``(shard, record_index, image_sha256)`` of a row."""


def source_images(manifest: Mapping[str, Any], places: Collection[Place]) -> Iterator[tuple[Place, Pixels]]:
    """The images at `places`, uint8 ``(H, W, 3)`` in original size, in no particular order.

    Local TFRecord shards are read, those of TFDS too. An image is left out if its shard is not there, its record cannot
    be read, or its bytes are no longer those that were explained.

    Args:
        manifest: of the run; its ``config.input`` says where the shards are.
        places: of the rows.
    """
    for source in source_records(manifest, places):
        pixels = source.pixels()
        if pixels is not None:
            yield source.place, pixels


@dataclasses.dataclass(frozen=True)
class SourceRecord:
    """One record as its shard holds it.

    Attributes:
        place: of the rows that were made of it.
        record: the serialized ``tf.train.Example``.
        image: the encoded image in it, the one that was explained.
        settings: the run's ``config.input``.
    """

    place: Place
    record: bytes
    image: bytes
    settings: config.InputConfig

    def pixels(self) -> Pixels | None:
        """The image, uint8 ``(H, W, 3)`` in original size; None if it cannot be decoded."""
        return _pixels(self.image, self.settings)


def source_records(manifest: Mapping[str, Any], places: Collection[Place]) -> Iterator[SourceRecord]:
    """The records at `places` whose bytes are still those that were explained; as `source_images`, not decoded."""
    try:
        settings = config.InputConfig.model_validate(manifest.get("config", {}).get("input"))
    except pydantic.ValidationError:
        return  # a configuration of another version: the maps can still be shown
    feature = settings.features.image
    wanted: dict[str, dict[int, set[str]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    for shard, index, digest in places:
        wanted[shard][index].add(digest)
    # Shards of two directories may have one name: the bytes tell which image it is.
    for shard, path in _paths(settings, wanted):
        for index, record in _records(path, settings.compression, wanted[shard]):
            data = _image_bytes(record, str(feature))
            digest = hashlib.sha256(data).hexdigest()
            if digest in wanted[shard][index]:
                yield SourceRecord((shard, index, digest), record, data, settings)


def _paths(settings: config.InputConfig, shards: Collection[str]) -> list[tuple[str, str]]:
    """Name and path of each shard, as far as it is on a local disk."""
    if settings.tfrecord is not None:
        found = [path for pattern in settings.tfrecord for path in glob.glob(pattern)]
        return [(os.path.basename(path), path) for path in found if os.path.basename(path) in shards]
    assert settings.tfds is not None
    root = settings.tfds.directory or settings.tfds.data_dir or os.path.join("~", "tensorflow_datasets")
    folder = pathlib.Path(root).expanduser()
    return [(shard, str(path)) for shard in shards for path in folder.rglob(glob.escape(shard)) if path.is_file()]


def _records(path: str, compression: str, indices: Collection[int]) -> Iterator[tuple[int, bytes]]:
    last = max(indices)
    try:
        with open(path, "rb") as stream:
            for index, record in enumerate(tfrecord.read_records(stream, compression)):
                if index in indices:
                    yield index, record
                if index == last:
                    return
    except (OSError, records.DataError):
        return  # what the shard gave before the damage stands


def _image_bytes(record: bytes, feature: str) -> bytes:
    """The encoded image of a record; nothing if it has none."""
    try:
        values = tfexample.values(tfexample.parse(record)[feature])
    except (records.DataError, KeyError):
        return b""
    return values[0] if len(values) and isinstance(values[0], bytes) else b""


def _pixels(data: bytes, settings: config.InputConfig) -> Pixels | None:
    try:
        if settings.raw_shape is not None:
            raw = np.frombuffer(data, np.uint8).reshape(settings.raw_shape)
            image = Image.fromarray(raw[..., 0] if raw.shape[2] == 1 else raw[..., :3])
        else:
            opened: Image.Image = Image.open(io.BytesIO(data))
            image = ImageOps.exif_transpose(opened) if settings.exif else opened
        return np.asarray(image.convert("RGB"))
    except (ValueError, OSError, Image.DecompressionBombError):
        return None  # an image that cannot be shown is no reason to show nothing

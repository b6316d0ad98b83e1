"""Small images, records and shard files for tests, made on the spot."""

from __future__ import annotations

import dataclasses
import gzip
import io
import pathlib
import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from PIL import Image

from heatbeam.transforms.sources import feature_map, tfexample, tfrecord

NO_FEATURES = feature_map.FeatureMap.naming("image")
"""A map of the feature ``image`` alone; tests name what they add."""

DETECTION = dataclasses.replace(feature_map.FeatureMap(), format=None, height=None, width=None, channels=None)
"""The names of the TF Object Detection API, for images that are encoded."""


def encode(pixels: np.ndarray, file_format: str = "PNG", mode: str | None = None, **options: Any) -> bytes:
    """`pixels` as an image file."""
    buffer = io.BytesIO()
    image = Image.fromarray(np.asarray(pixels))
    (image if mode is None else image.convert(mode)).save(buffer, file_format, **options)
    return buffer.getvalue()


def noise(height: int, width: int, channels: int | None = 3, seed: int = 0) -> np.ndarray:
    """Seeded uint8 noise."""
    shape = (height, width) if channels is None else (height, width, channels)
    return np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)


def frame_record(data: bytes) -> bytes:
    """One record as it stands in an uncompressed TFRecord file."""
    length = struct.pack("<Q", len(data))
    sums = [struct.pack("<I", tfrecord.masked_crc(part)) for part in (length, data)]
    return length + sums[0] + data + sums[1]


def shard_bytes(serialized: Iterable[bytes], compression: str = "none") -> bytes:
    """A TFRecord file."""
    return packed(b"".join(frame_record(data) for data in serialized), compression)


def packed(plain: bytes, compression: str) -> bytes:
    """The content of a file as it is stored."""
    return {"none": lambda: plain, "gzip": lambda: gzip.compress(plain, mtime=0), "zlib": lambda: zlib.compress(plain)}[
        compression
    ]()


def image_record(number: int, **more: Sequence[Any]) -> bytes:
    """A record with a 4 x 6 noise PNG, an id and a label of 1 to 3."""
    fields: dict[str, Sequence[Any]] = {
        "image/encoded": [encode(noise(4, 6, seed=number))],
        "image/source_id": [f"id{number}".encode()],
        "image/class/label": [1 + number % 3],
    }
    return tfexample.serialize({**fields, **more})


def write_shards(folder: pathlib.Path, counts: Sequence[int], compression: str = "none") -> list[pathlib.Path]:
    """Shards of `image_record` numbered on from 0, `counts` of them in each."""
    paths, number = [], 0
    for position, count in enumerate(counts):
        path = folder / f"images.tfrecord-{position:05d}-of-{len(counts):05d}"
        path.write_bytes(shard_bytes((image_record(number + i) for i in range(count)), compression))
        paths.append(path)
        number += count
    return paths

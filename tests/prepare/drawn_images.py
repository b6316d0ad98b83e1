"""Folders of drawn images, and what a record of `heatbeam shards` holds."""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from typing import Any

from heatbeam.prepare import encoding, items, steps
from heatbeam.transforms import records
from heatbeam.transforms.sources import box_conventions, tfexample
from tests.support import sample_shards


def draw(path: pathlib.Path, height: int = 20, width: int = 24, seed: int = 0) -> bytes:
    """Noise in a file, in the format that its ending names; its bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    file_format = {".jpg": "JPEG", ".jpeg": "JPEG", ".png": "PNG"}[path.suffix.lower()]
    data = sample_shards.encode(sample_shards.noise(height, width, seed=seed), file_format)
    path.write_bytes(data)
    return data


def values(serialized: bytes) -> dict[str, list[Any]]:
    """The features of a record."""
    return {name: list(tfexample.values(feature)) for name, feature in tfexample.parse(serialized).items()}


def records_of(listing: items.Listing) -> tuple[dict[str, dict[str, list[Any]]], dict[str, str]]:
    """The features of each record that a listing gives, and the error type of each dead letter, by image id."""
    how = encoding.Encoding(listing.class_ids, listing.names, listing.several, listing.boxes or box_conventions.USUAL)
    pieces: Sequence[items.Piece] = listing.pieces
    if not pieces:
        stored = [items.Item.from_json(one.to_json()) for _, one in listing.items]
        pieces = [items.Piece(items.DEFAULT_SPLIT, iter, (stored,))]
    made: dict[str, dict[str, list[Any]]] = {}
    lost: dict[str, str] = {}
    for piece in pieces:
        for item, record in steps.encoded(piece, how):
            if isinstance(record, records.DataError):
                lost[item.image_id] = record.error_type
            else:
                made[item.image_id] = values(record)
    return made, lost


def without_image(features: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """What a record says of its image beside the image."""
    image = ("image/encoded", "image/format", "image/source_id", "image/filename", "image/height", "image/width")
    return {name: value for name, value in features.items() if name not in image}

"""The images of exported rows: each written as a file once, with its rows, their maps and its true boxes.

Images come as their shards are read, one at a time, so memory does not grow with their number. The file of an image
holds the encoded bytes of its record where every viewer shows them as the run saw them
(JPEG, or PNG of 8 bits, upright),
else PNG; without the shard it is the first heatmap alone. File names are made here: ids are data, never paths.
"""

from __future__ import annotations

import dataclasses
import io
import pathlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
from PIL import Image

from heatbeam.pages import map_images
from heatbeam.runs import chosen_rows, manifests, shades, source_images, source_truth
from heatbeam.transforms.sources.classes import class_maps
from heatbeam.transforms.sources.pixels import image_files
from heatbeam.transforms.tables import stored_maps

IMAGES = "data"
"""Folder of the image files."""

_ORIENTATION = 0x0112  # EXIF tag
_SUFFIXES = {"JPEG": ".jpg", "PNG": ".png"}


@dataclasses.dataclass(frozen=True, eq=False)
class Sample:
    """One image and its rows.

    Attributes:
        number: of the image, in the order of the rows.
        file: its path in the dataset, with ``/``.
        pixels: the image in original size; None if it could not be read.
        rows: number and content of each of its rows, with maps.
        true_boxes: ``(class id, box in pixels)``, for the labels and the explained classes.
    """

    number: int
    file: str
    pixels: shades.Pixels | None
    rows: tuple[tuple[int, Mapping[str, Any]], ...]
    true_boxes: tuple[tuple[int, source_truth.Box], ...]

    def heat(self, row: Mapping[str, Any], longest_px: int) -> np.ndarray:
        """The heatmap of one of its rows over the whole image, in [0, 1], its longer side at most `longest_px`."""
        return stored_maps.heatmap(row, map_images.fitted((row["image_width"], row["image_height"]), longest_px))

    def overlay(self, heat: np.ndarray) -> shades.Pixels:
        """A heatmap over the image, or alone where there is none."""
        size = (heat.shape[0], heat.shape[1])
        return map_images.coloured(heat, None if self.pixels is None else map_images.scaled(self.pixels, size))


def samples(
    table: pa.Table, manifest: manifests.Manifest, target: pathlib.Path, problems: list[str]
) -> Iterator[Sample]:
    """Every image of the rows, its file written, in no particular order.

    Args:
        table: rows of ``explanations``.
        manifest: of the run.
        target: the dataset's folder; `IMAGES` is in it.
        problems: where to add why images could not be read.
    """
    plain = chosen_rows.without_maps(table)
    of_place = source_images.by_place(plain)
    order = {place: i for i, place in enumerate(of_place)}
    maps = manifest.maps_of_classes()

    def rows_of(place: source_images.Place) -> tuple[tuple[int, dict[str, Any]], ...]:
        return tuple((number, chosen_rows.with_map(table, number, plain[number])) for number in of_place[place])

    missing = dict(of_place)
    for source in source_images.source_records(manifest, of_place, problems):
        pixels = source.original()
        if pixels is not None and source.place in missing:
            del missing[source.place]
            rows = rows_of(source.place)
            content, suffix = _file(source, pixels)
            file = _write(target, order[source.place], rows[0][1], content, suffix)
            yield Sample(order[source.place], file, pixels, rows, _true_boxes(source, rows, maps))
    for place in missing:
        rows = rows_of(place)
        size = map_images.fitted((rows[0][1]["image_width"], rows[0][1]["image_height"]), map_images.ALONE_PX)
        content = map_images.png(map_images.coloured(stored_maps.heatmap(rows[0][1], size)))
        yield Sample(order[place], _write(target, order[place], rows[0][1], content, ".png"), None, rows, ())


def _write(target: pathlib.Path, number: int, row: Mapping[str, Any], content: bytes, suffix: str) -> str:
    file = f"{IMAGES}/{file_name(number, row, suffix)}"
    (target / file).write_bytes(content)
    return file


def file_name(number: int, row: Mapping[str, Any], suffix: str) -> str:
    """The name of a file of row or image `number`.

    It says nothing of ids and classes: ``datasets`` takes a file with ``test`` or ``validation`` in its name for one of
    that split.
    """
    return chosen_rows.file_name(number, row, ("image_id", "class_id", "method"), suffix, readable=False)


def _file(source: source_images.SourceRecord, pixels: shades.Pixels) -> tuple[bytes, str]:
    """Content and suffix of the image's file."""
    if source.raw_shape is None:
        with Image.open(io.BytesIO(source.image)) as opened:
            suffix = _SUFFIXES.get(opened.format or "")
            deep = opened.format == "PNG" and image_files.is_sixteen_bit(opened, source.image)  # shown as it was scaled
            if suffix is not None and not deep and opened.getexif().get(_ORIENTATION, 1) == 1:
                return source.image, suffix
    return map_images.png(pixels), ".png"


def _true_boxes(
    source: source_images.SourceRecord, rows: Sequence[tuple[int, Mapping[str, Any]]], maps: class_maps.Maps
) -> tuple[tuple[int, source_truth.Box], ...]:
    first = rows[0][1]
    size, labels = (first["image_width"], first["image_height"]), first["label_ids"]
    classes = dict.fromkeys([*labels, *(row["class_id"] for _, row in rows)])
    return tuple((i, box) for i in classes for box in source_truth.true_boxes(source, size, i, labels, maps))

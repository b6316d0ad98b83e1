"""Pictures of rows, drawn when a browser asks for them: the original as a JPEG, its heat as an SVG.

Maps and source records are read by one thread, all that wait together at a time: a page of sixty pictures opens each
shard once, however many requests the browser makes of it. What was read is kept while there is room.
"""

from __future__ import annotations

import collections
import importlib
import logging
import threading
from collections.abc import Hashable, Sequence
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt
from PIL import Image

from heatbeam.explore import table as tables
from heatbeam.pages import map_images, outlines, overlays
from heatbeam.pages.signals import drawing, of_rows, shown
from heatbeam.runs import manifests, source_images, source_truth
from heatbeam.transforms.tables import axis_columns, stored_maps

SIZES = (480, 1200)
"""Longer sides of an original on a page, in pixels: in a grid, and alone."""

JPEG_QUALITY = 85

_KEPT_BYTES = 128 << 20
_PICTURE_RANK = 2
_NOTHING = (24, 25, 28)
"""Colour of an original that cannot be read."""

Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")

_log = logging.getLogger(__name__)


class Kept(Generic[Key, Value]):
    """The values that were asked for last, as many as fit into `_KEPT_BYTES` by what `put` says of their size."""

    def __init__(self) -> None:
        self._found: collections.OrderedDict[Key, tuple[Value, int]] = collections.OrderedDict()
        self._bytes = 0
        self._lock = threading.Lock()

    def get(self, key: Key) -> Value | None:
        """The value, or None."""
        with self._lock:
            if key not in self._found:
                return None
            self._found.move_to_end(key)
            return self._found[key][0]

    def put(self, key: Key, value: Value, size: int) -> None:
        """Keep a value of about `size` bytes."""
        with self._lock:
            if key in self._found:
                self._bytes -= self._found.pop(key)[1]
            self._found[key] = (value, size)
            self._bytes += size
            while self._bytes > _KEPT_BYTES and len(self._found) > 1:
                _, (_, freed) = self._found.popitem(last=False)
                self._bytes -= freed


class Pictures:
    """Of the rows of one run.

    Args:
        table: of the run.
        manifest: of the run, located (`moved_images.located`).

    Attributes:
        problems: why originals are missing, one sentence each.
    """

    def __init__(self, table: tables.Table, manifest: manifests.Manifest):
        self._table, self._manifest = table, manifest
        self._inputs, self._classes = of_rows.inputs_of(manifest), manifest.maps_of_classes()
        known = ("image_id", "shard", "record_index", "image_sha256", "class_id", "label_ids")
        self._names = (*known, *of_rows.columns(table.schema.names))
        self._rows: Kept[tables.Place, tables.Row] = Kept()
        self._sources: Kept[source_images.Place, source_images.SourceRecord | None] = Kept()
        self._known: Kept[source_images.Place, bool] = Kept()
        self._waiting: set[tables.Place] = set()
        self._failed: dict[tables.Place, str] = {}
        self._change = threading.Condition()
        self.problems: list[str] = []
        self._reader = threading.Thread(target=self._read_for_ever, name="pictures", daemon=True)
        self._reader.start()

    def prefetch(self, places: Sequence[tables.Place]) -> None:
        """Have maps and originals of some rows read, and do not wait for them."""
        with self._change:
            self._waiting.update(place for place in places if self._rows.get(place) is None)
            self._change.notify_all()

    def _row(self, place: tables.Place) -> tables.Row:
        """A row with its map, once it and its original are read.

        Raises:
            LookupError: if there is no such row.
        """
        while (row := self._rows.get(place)) is None:
            with self._change:
                if place in self._failed:
                    raise LookupError(self._failed.pop(place))
                self._waiting.add(place)
                self._change.notify_all()
                self._change.wait(0.5)
        return row

    def _read_for_ever(self) -> None:
        importlib.import_module("heatbeam.runners.runner_options")  # Beam: before anybody waits
        while True:
            with self._change:
                while not self._waiting:
                    self._change.wait()
                places = sorted(self._waiting)
            failed: dict[tables.Place, str] = {}
            try:
                found = self._read(places)
                failed = {place: f"there is no row {place}" for place in places if place not in found}
            except Exception as error:  # noqa: BLE001 - a page must not wait for a thread that ended
                _log.warning("pictures cannot be read: %s", error)
                failed = dict.fromkeys(places, "the row cannot be read")
            with self._change:
                self._failed |= failed
                self._waiting.difference_update(places)
                self._change.notify_all()

    def _read(self, places: Sequence[tables.Place]) -> set[tables.Place]:
        rows = self._table.rows_at(places, self._names)
        missing = {source_images.place_of(row) for row in rows.values()}
        missing = {place for place in missing if self._known.get(place) is None or self._sources.get(place) is None}
        missing = {place for place in missing if self._known.get(place) is not False}
        problems: list[str] = []
        for one in source_images.source_records(self._manifest, missing, problems):
            self._sources.put(one.place, one, len(one.record) + len(one.image))
            self._known.put(one.place, True, 200)
            missing.discard(one.place)
        for lost in missing:
            self._known.put(lost, False, 200)
        self.problems = list(dict.fromkeys([*self.problems, *problems]))[:20]
        for place, row in rows.items():
            self._rows.put(place, row, row["heatmap"].nbytes + 2000)
        return set(rows)

    def _source(self, row: tables.Row) -> source_images.SourceRecord | None:
        place = source_images.place_of(row)
        source = self._sources.get(place)
        if source is None and self._known.get(place):  # it had to make room
            source = next(source_images.source_records(self._manifest, {place}), None)
        return source

    def _original(self, row: tables.Row) -> shown.Values | None:
        source = self._source(row)
        return None if source is None else source.original()

    def _mask(self, row: tables.Row) -> npt.NDArray[np.bool_] | None:
        return source_truth.mask_of_row(self._source(row), row, self._classes)

    def original(self, place: tables.Place, longest_px: int) -> bytes:
        """The original of a row as a JPEG; a dark picture of its shape where it cannot be read.

        Args:
            place: of the row.
            longest_px: longer side at most; it is never scaled up.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        size = axis_columns.size_of(row)
        pixels = self._original(row) if len(size) == _PICTURE_RANK else None
        if pixels is None:
            height, width = map_images.fitted((size[0], size[-1]), 64)
            return overlays.jpeg(Image.new("RGB", (width, height), _NOTHING), longest_px, JPEG_QUALITY)
        return overlays.jpeg(Image.fromarray(pixels), longest_px, JPEG_QUALITY)

    def heat(self, place: tables.Place) -> bytes:
        """What lies over the original of a row, as an SVG: its heat and the outline of that, sharp at any size.

        Where the original cannot be read the heat stands alone and hides what is below.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        image_size = row["image_width"], row["image_height"]
        heat = stored_maps.heatmap(row, map_images.fitted(image_size, overlays.HEAT_PX))
        over = bool(self._known.get(source_images.place_of(row)))
        uri = map_images.heat_uri(heat, transparent=over)
        inner = f'<image width="100%" height="100%" preserveAspectRatio="none" href="{uri}"/>'
        if over:  # as `overlays.markup` lays them: the outline in white with a dark edge
            edge = map_images.edge(heat, image_size)
            inner += _line(edge, "#000", 3.5, 0.5) + _line(edge, "#fff", 1.5, 1)
        return _svg(image_size, inner)

    def truth(self, place: tables.Place) -> bytes:
        """The outline of the true masks of the class of a row, as an SVG; an empty one where there are none.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        mask, size = self._mask(row), (row["image_width"], row["image_height"])
        edge = "" if mask is None else outlines.path(mask, size)
        return _svg(size, _line(edge, "#000", 4, 0.55) + _line(edge, outlines.COLOUR_HEX, 2, 1))

    def printed(self, place: tables.Place, longest_px: int) -> bytes:
        """A signal that is no picture, drawn with its heat as one PNG.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        return map_images.png(of_rows.picture(row, self._inputs, self._original(row), longest_px, self._mask(row)))

    def drawn(self, place: tables.Place) -> tuple[str, str]:
        """A signal that is no picture as markup of a page, and its kind.

        The markup's own styles are in ``data-style``, for a page that allows none in its markup.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        signal = of_rows.signal(row, self._inputs, self._original(row), self._mask(row))
        text = str(drawing.markup(signal))  # markup would escape the quote
        return text.replace(' style="', ' data-style="'), signal.kind


def _svg(size: tuple[int, int], inner: str) -> bytes:
    """A file of ``(width, height)``, stretched over what it lies on."""
    width, height = size
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
        f' preserveAspectRatio="none">{inner}</svg>'
    ).encode()


def _line(path: str, colour: str, width: float, opacity: float) -> str:
    return (
        f'<path fill="none" stroke="{colour}" stroke-width="{width}" vector-effect="non-scaling-stroke"'
        f' stroke-opacity="{opacity}" d="{path}"/>'
    )

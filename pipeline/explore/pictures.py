"""Pictures of rows, drawn when a browser asks for them: the original as a JPEG, its heat as an SVG.

Maps and source records are read by one thread, all that wait together at a time: a page of sixty pictures opens each
shard once, however many requests the browser makes of it. What was read is kept while there is room.
"""

from __future__ import annotations

import collections
import importlib
import io
import logging
import threading
from collections.abc import Hashable, Sequence
from typing import Any, Generic, TypeVar

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

_ALONE = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" preserveAspectRatio="none">'
    '<image width="100%" height="100%" preserveAspectRatio="none" href="{2}"/></svg>'
)
_LINE = (
    '<path fill="none" stroke="{}" stroke-width="{}" vector-effect="non-scaling-stroke" stroke-opacity="{}" d="{{3}}"/>'
)
_OVER = _ALONE.replace("</svg>", _LINE.format("#000", 3.5, 0.5) + _LINE.format("#fff", 1.5, 1) + "</svg>")
"""As `overlays.markup` lays them: the outline in white with a dark edge."""
_TRUTH = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {0} {1}" width="{0}" height="{1}" preserveAspectRatio="none">'
    + _LINE.replace("{{3}}", "{{2}}").format("#000", 4, 0.55) + _LINE.replace("{{3}}", "{{2}}").format("#4dff88", 2, 1)
    + "</svg>"
)  # fmt: skip
"""The outline of a true mask, in the colours of true boxes."""

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
        source = self._source(row)
        if source is None:
            return None
        size = axis_columns.size_of(row)
        return source_truth.true_mask(source, size, row["class_id"], row["label_ids"] or (), self._classes)

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
            return _jpeg(np.full((height, width, 3), _NOTHING, np.uint8))
        fit = map_images.fitted((pixels.shape[1], pixels.shape[0]), longest_px)
        small = Image.fromarray(pixels).resize((fit[1], fit[0]), Image.Resampling.LANCZOS)
        return _jpeg(np.asarray(small))

    def heat(self, place: tables.Place) -> bytes:
        """What lies over the original of a row, as an SVG: its heat and the outline of that, sharp at any size.

        Where the original cannot be read the heat stands alone and hides what is below.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        width, height = image_size = row["image_width"], row["image_height"]
        heat = stored_maps.heatmap(row, map_images.fitted(image_size, overlays.HEAT_PX))
        over = bool(self._known.get(source_images.place_of(row)))
        drawn = (_OVER if over else _ALONE).format(
            width, height, map_images.heat_uri(heat, transparent=over), map_images.edge(heat, image_size)
        )
        return drawn.encode()

    def truth(self, place: tables.Place) -> bytes:
        """The outline of the true masks of the class of a row, as an SVG; an empty one where there are none.

        Raises:
            LookupError: if there is no such row.
        """
        row = self._row(place)
        mask, size = self._mask(row), (row["image_width"], row["image_height"])
        return _TRUTH.format(*size, "" if mask is None else outlines.path(mask, size)).encode()

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


def _jpeg(pixels: Any) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=JPEG_QUALITY)
    return buffer.getvalue()

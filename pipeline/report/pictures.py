"""The rows of a run as pictures of a page: each original image once, under the layers of its maps (`overlays`).

Without the image the heatmap stands alone.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe
import numpy as np
import numpy.typing as npt

from heatbeam.audit import map_scan
from heatbeam.pages import map_images, overlays
from heatbeam.pages.signals import drawing, flat, of_rows, shown
from heatbeam.runs import manifests, source_images, source_truth
from heatbeam.transforms.tables import axis_columns, stored_maps

_PICTURE_RANK = 2

Box = source_truth.Box


@dataclasses.dataclass(frozen=True)
class Picture:
    """One explained image, ready for the page.

    Attributes:
        row: the row of ``explanations``, without its map.
        layers: of a picture; None for a signal that is none.
        drawn: markup of such a signal; None for a picture.
        kind: of that signal, as of `shown.Signal`; empty for a picture.
    """

    row: Mapping[str, Any]
    layers: overlays.Layers | None = None
    drawn: markupsafe.Markup | None = None
    kind: str = ""

    def markup(self, alt: str) -> markupsafe.Markup:
        """The picture for a page, in an element of the class ``frame``."""
        if self.layers is not None:
            return overlays.markup(self.layers, alt)
        head = markupsafe.Markup('<span class="frame signal {}" role="img" aria-label="{}">').format(self.kind, alt)
        return head + (self.drawn or "") + markupsafe.Markup("</span>")


class Album:
    """Pictures of rows, each source image read once; `problems` says why images are missing, `photos` has the images.

    Args:
        manifest: of the run.
        rows: of ``explanations``; those that `picture` will be asked for.
    """

    def __init__(self, manifest: manifests.Manifest, rows: Sequence[Mapping[str, Any]]):
        self._classes = manifest.maps_of_classes()
        self._inputs = of_rows.inputs_of(manifest)
        self._sources: dict[source_images.Place, source_images.SourceRecord] = {}
        self._images: dict[source_images.Place, str] = {}
        self._drawn: dict[tuple[Any, ...], tuple[markupsafe.Markup, str]] = {}
        signals: dict[source_images.Place, list[Mapping[str, Any]]] = {}
        for row in rows:
            if axis_columns.rank_of(row) != _PICTURE_RANK:
                signals.setdefault(source_images.place_of(row), []).append(row)
        places = {source_images.place_of(row) for row in rows}
        self.problems: list[str] = []
        self.photos = overlays.Photos()
        found = 0
        for source in source_images.source_records(manifest, places, self.problems):
            original = source.original()
            found += original is not None
            if source.place in signals:  # drawn at once: volumes are too large to be held
                self._draw(signals[source.place], original, source)
            elif original is not None:
                self._sources[source.place] = source
                self._images[source.place] = self.photos.add(source.place[2][:16], original)
        for shown_rows in signals.values():
            self._draw([row for row in shown_rows if _key(row) not in self._drawn], None)
        self.wanted, self.found = len(places), found
        self.kind = next((kind for _, kind in self._drawn.values()), "")

    def _draw(
        self,
        rows: Sequence[Mapping[str, Any]],
        values: shown.Values | None,
        source: source_images.SourceRecord | None = None,
    ) -> None:
        for row in rows:
            signal = of_rows.signal(row, self._inputs, values, source_truth.mask_of_row(source, row, self._classes))
            self._drawn[_key(row)] = (drawing.markup(signal), signal.kind)

    def picture(self, row: Mapping[str, Any]) -> Picture:
        """The picture of a row."""
        kept = {name: value for name, value in row.items() if name != "heatmap"}
        if axis_columns.rank_of(row) != _PICTURE_RANK:
            if _key(row) not in self._drawn:
                self._draw([row], None)
            drawn, kind = self._drawn[_key(row)]
            return Picture(kept, drawn=drawn, kind=kind)
        place, image_size = source_images.place_of(row), (row["image_width"], row["image_height"])
        source = self._sources.get(place)
        truth: list[Box] = []
        if source is not None:
            truth = source_truth.true_boxes(source, image_size, row["class_id"], row["label_ids"], self._classes)
        corners = [map_scan.value(row, f"box_{edge}") for edge in ("x0", "y0", "x1", "y1")]
        layers = overlays.of_map(
            stored_maps.raw_map(row),
            axis_columns.view_of(row),
            image_size,
            image=self._images.get(place, ""),
            true_boxes=truth,
            true_mask=source_truth.mask_of_row(source, row, self._classes),
            box=None if np.isnan(corners).any() else (corners[0], corners[1], corners[2], corners[3]),
        )
        return Picture(kept, layers)


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (*source_images.place_of(row), row["image_id"], row["method"], row["class_id"])


def mean_uri(energy: npt.NDArray[np.float64], top: float) -> str:
    """A mean map in its own cells, black at 0 and brightest at `top`; the page enlarges it smoothly.

    One of a series or a volume is laid flat, as `flat.picture` does.
    """
    laid = flat.picture(energy)
    return map_images.heat_uri(np.clip(laid / top if top > 0 else laid, 0, 1), transparent=False)

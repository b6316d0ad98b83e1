"""Pairs of a comparison as pictures: the baseline's map and the candidate's, each over the baseline's image."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import markupsafe

from heatbeam.compare import map_pairs
from heatbeam.pages import map_images, overlays
from heatbeam.pages.signals import of_rows, shown
from heatbeam.runs import manifests, source_images
from heatbeam.transforms import heatmaps

_PICTURE = 2
_SIGNAL_PX = 560
SIDES = ("baseline", "candidate")


@dataclasses.dataclass(frozen=True, eq=False)
class Shown:
    """Pairs with their pictures.

    Attributes:
        frames: markup of both pictures of each pair, in the order of the pairs.
        photos: the original images, to be put into the page once.
    """

    frames: list[tuple[markupsafe.Markup, ...]]
    photos: markupsafe.Markup


def draw(manifest: manifests.Manifest, pairs: Sequence[map_pairs.Example]) -> Shown:
    """Both pictures of each pair; the maps stand alone where the image cannot be read again.

    Args:
        manifest: of the baseline.
        pairs: to show; pairs of one image share its picture.
    """
    of_place: dict[source_images.Place, list[int]] = {}
    for number, one in enumerate(pairs):
        of_place.setdefault(one.place, []).append(number)
    inputs, photos = of_rows.inputs_of(manifest), overlays.Photos()
    frames: dict[int, tuple[markupsafe.Markup, ...]] = {}
    for number, original in source_images.row_originals(manifest, of_place):
        one = pairs[number]
        image = ""
        if original is not None and len(one.image_size) == _PICTURE:
            image = photos.add(one.place[2][:16], original)
        frames[number] = tuple(_frame(one, side, inputs, original, image) for side in range(2))
    return Shown([frames[number] for number in range(len(pairs))], photos.markup())


def _frame(
    pair: map_pairs.Example, side: int, inputs: of_rows.Inputs, original: shown.Values | None, image: str
) -> markupsafe.Markup:
    alt = f"heatmap of {pair.method} for {pair.class_name} in image {pair.image_id}, {SIDES[side]}"
    return frame(pair.maps[side], pair.views[side], pair.image_size, inputs, original, image, alt)


def frame(
    raw: shown.Floats,
    view: heatmaps.View,
    size: tuple[int, ...],
    inputs: of_rows.Inputs,
    original: shown.Values | None,
    image: str,
    alt: str,
) -> markupsafe.Markup:
    """One map as the markup of a frame.

    Args:
        raw, view, size: as of `heatmaps.place`.
        inputs: of the run.
        original: to draw a signal over; None for the map alone.
        image: address of the picture under the map, of two axes only; empty for the map alone.
        alt: says what is to be seen.
    """
    if len(size) == _PICTURE:
        return overlays.markup(overlays.of_map(raw, view, (size[0], size[1]), image=image), alt)
    drawn = of_rows.picture_of_map(raw, view, size, inputs, original, _SIGNAL_PX)
    head = markupsafe.Markup(
        '<span class="frame alone" style="aspect-ratio: {} / {}"><img class="image" src="{}" alt="{}">'
    )
    return head.format(drawn.shape[1], drawn.shape[0], map_images.data_uri(drawn), alt) + markupsafe.Markup("</span>")

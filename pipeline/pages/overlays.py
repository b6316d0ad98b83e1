"""A map over its image for a page: layers that lie on each other, which the page fades, hides and enlarges.

The original image is there once, however many maps lie over it; a heatmap is a small picture of a few colours whose
opacity follows the evidence (`map_images.layer`); outline and boxes are lines, sharp at any size. `overlay.css` and
`overlay.js` give every picture of a page the same: plain while the pointer is on it or after ``P``, one slider, and a
lightbox. A page includes both, and `view`, `looks` and `lightbox` of `parts.html`.
"""

from __future__ import annotations

import dataclasses
import io
from collections.abc import Sequence

import markupsafe
import numpy as np
import numpy.typing as npt
from PIL import Image

from heatbeam.pages import map_images, outlines
from heatbeam.transforms import heatmaps

HEAT_PX = 120
"""Longer side of a heatmap that lies over an image; it has no more detail than that."""

PHOTO_PX = (640, 480, 360, 240, 160)
"""Longer side of the images of a page: the first at which all of them take at most `PHOTO_BYTES`."""

PHOTO_BYTES = 6_000_000
"""Of a page, at most, that its images take, as text."""

JPEG_QUALITY = 82

Box = tuple[float, ...]
"""``x0 y0 x1 y1`` in pixels of the original."""


@dataclasses.dataclass(frozen=True, eq=False)
class Layers:
    """What lies over each other in one picture.

    Attributes:
        width, height: of the original image, in pixels; boxes are in these.
        image: address of the image: ``#`` and the id of a `Photos`, a URL or a data URI; empty for the map alone.
        heat: address of the heatmap.
        edge: data of the path of its outline, in pixels of the original.
        true_boxes, box: of the truth, and the estimated one or None.
        true_edge: data of the path around the true mask, in pixels of the original.
    """

    width: int
    height: int
    image: str
    heat: str
    edge: str = ""
    true_boxes: tuple[Box, ...] = ()
    box: Box | None = None
    true_edge: str = ""


def of_map(
    raw: npt.NDArray[np.floating],
    view: heatmaps.View,
    image_size: tuple[int, int],
    *,
    image: str = "",
    true_boxes: Sequence[Box] = (),
    box: Box | None = None,
    true_mask: npt.NDArray[np.bool_] | None = None,
) -> Layers:
    """The layers of a raw map.

    Args:
        raw, view, image_size: as of `map_images.overlay`.
        image, true_boxes, box: as of `Layers`.
        true_mask: ``(height, width)`` of the original; None without masks.
    """
    heat = heatmaps.heatmap(raw, map_images.fitted(image_size, HEAT_PX), view=view, image_size=image_size)
    return Layers(
        *image_size,
        image,
        map_images.heat_uri(heat, transparent=bool(image)),
        map_images.edge(heat, image_size),
        tuple(true_boxes),
        box,
        "" if true_mask is None else outlines.path(true_mask, image_size),
    )


def markup(layers: Layers, alt: str) -> markupsafe.Markup:
    """The picture for a page: a ``frame`` with the layers ``image``, ``heat``, ``edge`` and ``boxes``."""
    width, height = layers.width, layers.height
    space = markupsafe.Markup('viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true"').format(width, height)
    image = markupsafe.Markup("")
    if layers.image.startswith("#"):
        image = markupsafe.Markup('<svg class="image" {}><use href="{}"/></svg>').format(space, layers.image)
    elif layers.image:
        image = markupsafe.Markup('<img class="image" src="{}" alt="" loading="lazy">').format(layers.image)
    heat = markupsafe.Markup('<img class="heat" src="{}" alt="{}">').format(layers.heat, alt)
    head = markupsafe.Markup('<span class="frame{}" style="aspect-ratio: {} / {}">').format(
        "" if layers.image else " alone", width, height
    )
    boxes = markupsafe.Markup('<svg class="boxes" {}>{}</svg></span>').format(space, _boxes(layers))
    return head + image + heat + outline(layers.edge, (width, height)) + boxes


def outline(path: str, size: tuple[int, int]) -> markupsafe.Markup:
    """The layer of an outline: `path` as of `map_images.edge`, over a drawing of ``(width, height)``."""
    return markupsafe.Markup(
        '<svg class="edge" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="case" d="{}"/><path d="{}"/></svg>'
    ).format(*size, path, path)


def _boxes(layers: Layers) -> markupsafe.Markup:
    parts = [("true", box) for box in layers.true_boxes] + ([("estimated", layers.box)] if layers.box else [])
    one = markupsafe.Markup(
        '<rect class="case" x="{0}" y="{1}" width="{2}" height="{3}"/>'
        '<rect class="{4}" x="{0}" y="{1}" width="{2}" height="{3}"/>'
    )
    mask = markupsafe.Markup('<path class="case" d="{0}"/><path class="true" d="{0}"/>').format(layers.true_edge)
    drawn = (one.format(x0, y0, x1 - x0, y1 - y0, kind) for kind, (x0, y0, x1, y1) in parts)
    return (mask if layers.true_edge else markupsafe.Markup("")) + markupsafe.Markup("").join(drawn)


class Photos:
    """The original images of a page, each once, as sharp as `PHOTO_BYTES` allows.

    Images are never enlarged. `add` them all, then put `markup` at the top of the page's body.
    """

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}

    def add(self, name: str, pixels: map_images.Pixels) -> str:
        """Take an image.

        Args:
            name: its own, of letters and digits, such as the digest of its bytes.
            pixels: uint8 ``(height, width, 3)``.

        Returns:
            Its address on the page.
        """
        self._files[name] = jpeg(Image.fromarray(pixels), PHOTO_PX[0], 95)
        return f"#photo-{name}"

    def markup(self) -> markupsafe.Markup:
        """All of them as one hidden element, whatever the order of `add`; empty without any."""
        if not self._files:
            return markupsafe.Markup("")
        one = markupsafe.Markup(
            '<image id="photo-{}" preserveAspectRatio="none" width="100%" height="100%" href="{}"/>\n'
        )
        parts = [one.format(name, uri) for name, uri in sorted(self._fitted().items())]
        head = markupsafe.Markup('<svg class="photos" width="0" height="0" aria-hidden="true"><defs>\n')
        return head + markupsafe.Markup("").join(parts) + markupsafe.Markup("</defs></svg>")

    def _fitted(self) -> dict[str, markupsafe.Markup]:
        found: dict[str, markupsafe.Markup] = {}
        for longest in PHOTO_PX:
            found = {
                name: map_images.picture_uri("jpeg", jpeg(Image.open(io.BytesIO(one)), longest, JPEG_QUALITY))
                for name, one in self._files.items()
            }
            if sum(map(len, found.values())) <= PHOTO_BYTES:
                break
        return found


def jpeg(image: Image.Image, longest: int, quality: int) -> bytes:
    """An image as a JPEG file, its longer side at most `longest`."""
    size = map_images.fitted(image.size, longest)
    buffer = io.BytesIO()
    small = image if size == image.size[::-1] else image.resize(size[::-1], Image.Resampling.LANCZOS)
    small.save(buffer, format="JPEG", quality=quality, optimize=True)
    return buffer.getvalue()

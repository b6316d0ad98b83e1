"""Volumes and clips for a page: a few slices to see at once, and all of them one above the other to step through.

The slices to step through lie in one picture (a strip) of the values and one of the heat, which the page moves; both
together take at most `STRIP_BYTES` of the page, for which they are drawn smaller where they must.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence

import markupsafe
import numpy as np
from PIL import Image

from heatbeam.pages import map_images, outlines, overlays
from heatbeam.pages.signals import shown, slices

STRIP_BYTES = 32_000
"""Of the page, at most, that the slices to step through take: values and heat, as text."""

STRIP_SLICES = 48
"""At most so many are stepped through; of a longer axis in even steps."""

PLANE_PX, FRAME_PX = 160, 112
"""Longer side of the planes of a volume and of the frames of a clip."""

QUALITY = 78
_RIM_PX = 2  # a JPEG has half as many colours as pixels
_STRIP_PX = (160, 112, 80, 56, 40, 24)
_STRIP_CELLS = (40, 28, 20, 14, 10)


def markup(signal: shown.Signal) -> markupsafe.Markup:
    """A volume or a clip for a page: slices, and the part that steps through all of them."""
    clip = signal.kind == "clip"
    found = slices.frames(signal) if clip else slices.planes(signal)
    total = sum(one.ratio for one in found)
    widths = "" if clip else " ".join(f"{one.ratio / total:.4f}fr" for one in found)
    style = markupsafe.Markup(' style="grid-template-columns: {}"').format(widths) if widths else ""
    inner = markupsafe.Markup("").join(_slice(one, FRAME_PX if clip else PLANE_PX) for one in found)
    return _player(signal) + markupsafe.Markup('<span class="slices"{}>').format(style) + inner + _END


_END = markupsafe.Markup("</span>")


def _slice(one: slices.Slice, longest: int) -> markupsafe.Markup:
    image = markupsafe.Markup("")
    if one.pixels is not None:
        small = _resized(one.pixels, one.ratio, longest)
        image = markupsafe.Markup('<img class="image" src="{}" alt="">').format(map_images.jpeg_uri(small, QUALITY))
    heat = map_images.heat_uri(one.heat, transparent=True)
    layers = image + markupsafe.Markup('<img class="heat" src="{}" alt="">').format(heat)
    layers += overlays.outline(map_images.edge(one.heat, one.size), one.size)
    layers += _outline(one) + _boxes(one.size, [("true", box, "") for box in one.true_boxes] + _estimated(one.box))
    layers += _cuts(one)
    mark = markupsafe.Markup(' <strong class="hottest">hottest</strong>') if one.mark else markupsafe.Markup("")
    turned = (
        markupsafe.Markup('<span class="turned">{}</span>').format(one.turned) if one.turned else markupsafe.Markup("")
    )
    return (
        markupsafe.Markup('<span class="slice{}"><span class="layers" style="aspect-ratio: {:.4f}">').format(
            " marked" if one.mark else "", one.ratio
        )
        + layers
        + markupsafe.Markup('</span><span class="where">{}{}{}</span></span>').format(one.label, mark, turned)
    )


def _outline(one: slices.Slice) -> markupsafe.Markup:
    """The true mask of a slice as lines; a layer of the boxes, which the page shows and hides."""
    if one.mask is None:
        return markupsafe.Markup("")
    data = outlines.path(one.mask, one.size)
    return markupsafe.Markup(
        '<svg class="boxes" viewBox="0 0 {} {}" preserveAspectRatio="none" aria-hidden="true">'
        '<path class="case" d="{}"/><path class="true" d="{}"/></svg>'
    ).format(*one.size, data, data)


def _estimated(box: slices.Rectangle | None) -> list[tuple[str, slices.Rectangle, str]]:
    return [] if box is None else [("estimated", box, "")]


def _boxes(size: tuple[int, int], boxes: Sequence[tuple[str, slices.Rectangle, str]]) -> markupsafe.Markup:
    """Boxes over a slice: kind, rectangle, and attributes of our own making."""
    parts = []
    for kind, (x0, y0, x1, y1), more in boxes:
        place = f'x="{x0:g}" y="{y0:g}" width="{x1 - x0:g}" height="{y1 - y0:g}"{more}'
        parts.append(f'<rect class="case" {place}/><rect class="{kind}" {place}/>')
    return markupsafe.Markup(
        f'<svg class="boxes" viewBox="0 0 {size[0]} {size[1]}" preserveAspectRatio="none" aria-hidden="true">'
        f"{''.join(parts)}</svg>"
    )


def _cuts(one: slices.Slice) -> markupsafe.Markup:
    """Short lines at the edges, where the other planes cut this one."""
    if one.cuts is None:
        return markupsafe.Markup("")
    x, y = (100 * (place + 0.5) / side for place, side in zip(one.cuts, one.size, strict=True))
    lines = ((x, 0, x, 6), (x, 94, x, 100), (0, y, 6, y), (94, y, 100, y))
    inner = "".join(f'<line x1="{a:.2f}" y1="{b:.2f}" x2="{c:.2f}" y2="{d:.2f}"/>' for a, b, c, d in lines)
    return markupsafe.Markup(
        f'<svg class="cuts" viewBox="0 0 100 100" preserveAspectRatio="none" aria-hidden="true">{inner}</svg>'
    )


@dataclasses.dataclass(frozen=True, eq=False)
class Strip:
    """Slices across the first axis, one above the other.

    Attributes:
        samples: which ones.
        image: of the values as a data URI; empty without them.
        heat: of the heat.
    """

    samples: tuple[int, ...]
    image: str
    heat: str


def strip(signal: shown.Signal) -> Strip:
    """The slices to step through, as large as `STRIP_BYTES` allows."""
    samples = shown.spread(STRIP_SLICES, signal.shape[0], signal.peak[0])
    found = [slices.cut(signal, 0, k) for k in samples]
    heat = ""
    for cells in _STRIP_CELLS:
        heat = map_images.heat_uri(np.concatenate([_shrunk(one.heat, cells) for one in found]), transparent=True)
        if len(heat) <= STRIP_BYTES // 2:
            break
    image = ""
    for longest in _STRIP_PX:
        image = _strip_of(found, found[0].ratio, longest)
        if len(image) + len(heat) <= STRIP_BYTES:
            break
    return Strip(samples, image, heat)


def _strip_of(found: Sequence[slices.Slice], ratio: float, longest: int) -> str:
    """The slices one above the other, each with the rim of its true mask in the picture itself."""
    drawn = []
    for one in found:
        if one.pixels is None:
            return ""
        pixels = _resized(one.pixels, ratio, longest)
        if one.mask is not None:
            pixels = outlines.rimmed(pixels, one.mask, _RIM_PX)
        drawn.append(pixels)
    return map_images.jpeg_uri(np.concatenate(drawn), QUALITY)


def _fitted(ratio: float, longest: int) -> tuple[int, int]:
    """``(height, width)`` of a picture as wide to high as `ratio`, by eights: the blocks of a JPEG stay apart."""
    sides = (longest / max(ratio, 1), longest * min(ratio, 1))
    height, width = (max(8, 8 * round(side / 8)) for side in sides)
    return height, width


def _resized(pixels: shown.Pixels, ratio: float, longest: int) -> shown.Pixels:
    height, width = _fitted(ratio, longest)
    return np.asarray(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))


def _shrunk(heat: shown.Floats, cells: int) -> shown.Floats:
    """Heat with at most so many cells a side, each the greatest of those it stands for."""
    for axis, side in enumerate(heat.shape):
        starts = np.linspace(0, side, min(side, cells), endpoint=False).astype(int)
        heat = np.maximum.reduceat(heat, starts, axis=axis)
    return heat


def _player(signal: shown.Signal) -> markupsafe.Markup:
    """The slices to step through: hidden in a gallery, shown where the picture is enlarged."""
    found = strip(signal)
    first = slices.cut(signal, 0, found.samples[0])
    boxes = [("true", box) for box in signal.true_boxes] + ([("estimated", signal.box)] if signal.box else [])
    flat = []
    for kind, box in boxes:
        kept = [i for i, k in enumerate(found.samples) if slices.rectangle(signal, box, 0, k) is not None]
        if kept:
            rectangle = slices.rectangle(signal, box, 0, found.samples[kept[0]])
            assert rectangle is not None
            flat.append((kind, rectangle, f' data-from="{kept[0]}" data-to="{kept[-1]}"'))
    start = found.samples.index(signal.peak[0])
    image = markupsafe.Markup('<img class="image strip" src="{}" alt="">').format(found.image) if found.image else ""
    labels = json.dumps([signal.where(0, k) for k in found.samples], ensure_ascii=False)
    return (
        markupsafe.Markup(
            '<span class="player" data-start="{}" data-labels="{}" style="--count: {}; --at: {}">'
            '<span class="layers" style="aspect-ratio: {:.4f}">{}<img class="heat strip" src="{}" alt="">'
        ).format(start, labels, len(found.samples), start, first.ratio, image, found.heat)
        + _boxes(first.size, flat)
        + markupsafe.Markup("</span></span>")
    )

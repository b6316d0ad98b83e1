"""A stored map as a picture: over its image where there is one, alone otherwise.

Every picture of heatbeam is coloured here: the report's, the comparison's and the explorer's, those of ``render`` and
of ``export``. Over an image

- the colour of the heat never hides more than `MOST` of what is below, at the hottest spot neither: a tag, a face or a
  letter under it stays what it is, in its own colour;
- what has little evidence lies under a dark veil, so that the hot part stands out by its brightness too;
- a line runs where the map has `EDGE` of its strongest evidence: white on black, to be seen on any picture.

Chosen by looking at thumbnails of 136 px: photos of ImageNet classes and of raccoons under CAM of a MobileNet, and
digits whose coloured tag the demo's model goes by. Inferno at up to 82 % hid what was hot (the tag became yellow); at
45 % it was lost on orange, brown and red pictures, as plasma and magma were. Viridis stands out on these and on grey
ones, rises evenly in lightness, and is told apart by colour-blind readers; on grass the veil and the line carry it.
Hues laid over the brightness of the picture took the picture's own colours away, and with them the tag's; a picture
made grey where there is no evidence showed no degrees of it.
"""

from __future__ import annotations

import base64
import functools
import io
from typing import cast

import contourpy
import markupsafe
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from heatbeam.transforms import heatmaps

Pixels = npt.NDArray[np.uint8]

COLOURS = "viridis"
"""matplotlib colour map: dark to light in print too, and readable for the colour-blind."""

MOST = 0.45
"""The most that the colour of the heat hides of the image below it."""

EDGE = 0.5
"""Share of a map's strongest evidence at which its outline runs."""

_FULL_AT = 0.5  # heat from which the colour is as opaque as it gets
_VEIL, _VEIL_UNTIL, _VEIL_COLOUR = 0.5, 0.4, (14, 16, 26)

LEVELS = 48
"""Steps of heat in pictures inside HTML."""

ALONE_PX = 512
"""Longer side of a map that stands for its image."""

_EDGE_CELLS = 64
_EDGE_PX = 320  # of a picture's longer side, for each pixel of width of its outline


@functools.cache
def colours(count: int) -> Pixels:
    """The colours of `count` even steps of heat from 0 to 1: uint8 ``(count, 3)``."""
    table: Pixels = np.rint(matplotlib.colormaps[COLOURS](np.linspace(0, 1, count))[:, :3] * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


@functools.cache
def layer(count: int) -> npt.NDArray[np.float64]:
    """What `count` even steps of heat lay over an image: ``(count, 4)``, colour 0 to 255 and opacity 0 to 1.

    The opacity of the colour is ``MOST * min(1, 2 heat)``. It lies on a dark veil of opacity
    ``0.5 * max(0, 1 - heat / 0.4)``.
    """
    heat = np.linspace(0, 1, count)
    colour = MOST * np.minimum(1, heat / _FULL_AT)
    veil = (1 - colour) * _VEIL * np.maximum(0, 1 - heat / _VEIL_UNTIL)
    opacity = colour + veil
    mixed = (colours(count) * colour[:, None] + np.array(_VEIL_COLOUR) * veil[:, None]) / opacity[:, None]
    table = np.column_stack([mixed, opacity])
    table.flags.writeable = False
    return table


def edge(heat: npt.NDArray[np.floating], size: tuple[int, int]) -> str:
    """The outline of a heatmap as the data of an SVG path; empty where it has none.

    Args:
        heat: in [0, 1], ``(height, width)``; thinned to 64 cells a side.
        size: ``(width, height)`` of the drawing in its own units.
    """
    step = max(1, -(-max(heat.shape) // _EDGE_CELLS))
    cells = heat[step // 2 :: step, step // 2 :: step]
    if min(cells.shape) < 2:
        return ""
    x = (np.arange(cells.shape[1]) * step + step // 2 + 0.5) * size[0] / heat.shape[1]
    y = (np.arange(cells.shape[0]) * step + step // 2 + 0.5) * size[1] / heat.shape[0]
    lines = cast("list[npt.NDArray[np.float64]]", contourpy.contour_generator(x, y, cells).lines(EDGE))
    digits = 1 if max(size) > 2 * _EDGE_CELLS else 2
    return "".join("M" + "L".join(f"{a:.{digits}f} {b:.{digits}f}" for a, b in line) for line in lines)


def overlay(
    raw: npt.NDArray[np.floating],
    view: heatmaps.View,
    image_size: tuple[int, int],
    size: tuple[int, int],
    picture: Pixels | None = None,
) -> Pixels:
    """The positive evidence of a map in colour; where there is none the picture shows through.

    Args:
        raw: ``(h, w)``, signed.
        view, image_size: as of `heatmaps.place`.
        size: ``(height, width)`` of the result.
        picture: uint8 ``(height, width, 3)`` of `size`, the whole original image; None for the map alone.
    """
    return coloured(heatmaps.heatmap(raw, size, view=view, image_size=image_size), picture)


def coloured(heat: npt.NDArray[np.floating], picture: Pixels | None = None) -> Pixels:
    """A heatmap in [0, 1], ``(height, width)``, in colour: over `picture`, uint8 of the same size, or alone."""
    steps = np.rint(heat * 255).astype(np.uint8)
    if picture is None:
        found: Pixels = colours(256)[steps]
        return found
    if picture.shape != (*heat.shape, 3):
        raise ValueError(f"picture has shape {picture.shape}; expected {(*heat.shape, 3)}")
    laid = layer(256)[steps]
    mixed = picture * (1 - laid[..., 3:]) + laid[..., :3] * laid[..., 3:]
    return np.rint(_outlined(mixed, np.asarray(heat, np.float64))).astype(np.uint8)


def _outlined(mixed: npt.NDArray[np.float64], heat: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The outline of `heat` over a picture of its size: a white line with a dark one around it."""
    if min(heat.shape) < 2 or not heat.max() > 0:
        return mixed
    slope = np.hypot(*np.gradient(heat))
    away = np.abs(heat - EDGE) / np.maximum(slope, 1e-9)  # in pixels
    half = max(1.0, max(heat.shape) / _EDGE_PX) / 2
    for width, colour, most in ((half + 1, 0.0, 0.5), (half, 255.0, 0.9)):
        share = (most * np.clip(width + 0.5 - away, 0, 1))[..., None]
        mixed = mixed * (1 - share) + colour * share
    return mixed


def fitted(image_size: tuple[int, int], longest: int) -> tuple[int, int]:
    """``(height, width)`` of an image of ``(width, height)`` whose longer side is at most `longest` pixels."""
    width, height = image_size
    scale = min(1.0, longest / max(width, height))
    return max(1, round(height * scale)), max(1, round(width * scale))


def scaled(pixels: Pixels, size: tuple[int, int]) -> Pixels:
    """A picture at another ``(height, width)``, every pixel the mean of those it covers."""
    return np.asarray(Image.fromarray(pixels).resize((size[1], size[0]), Image.Resampling.BOX))


def png(pixels: Pixels) -> bytes:
    """`pixels` as a PNG file."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return buffer.getvalue()


def data_uri(pixels: Pixels) -> str:
    """`pixels` as a PNG inside HTML."""
    return picture_uri("png", png(pixels))


def jpeg_uri(pixels: Pixels, quality: int) -> markupsafe.Markup:
    """`pixels` as a JPEG inside HTML."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="JPEG", quality=quality, optimize=True)
    return picture_uri("jpeg", buffer.getvalue())


def heat_uri(heat: npt.NDArray[np.floating], *, transparent: bool) -> markupsafe.Markup:
    """A heatmap in [0, 1] inside HTML, in `LEVELS` colours; where `transparent`, as `layer` over an image."""
    image = Image.fromarray(np.rint(heat * (LEVELS - 1)).astype(np.uint8), mode="P")
    laid = np.rint(layer(LEVELS) * (1, 1, 1, 255)).astype(np.uint8)
    image.putpalette((laid[:, :3] if transparent else colours(LEVELS)).tobytes())
    opacity = {"transparency": laid[:, 3].tobytes()} if transparent else {}
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, **opacity)
    return picture_uri("png", buffer.getvalue())


def picture_uri(kind: str, file: bytes) -> markupsafe.Markup:
    """A picture's file as a data URI: markup, in which a page looks for no secrets."""
    return markupsafe.Markup(f"data:image/{kind};base64,{base64.b64encode(file).decode()}")

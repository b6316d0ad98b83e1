"""A stored map as a picture: over its image where there is one, alone otherwise.

Every picture of heatbeam is coloured here: the report's and the comparison's, those of ``render`` and of ``export``. A
map is brightest where its evidence is strongest, and the image shows through where there is little.
"""

from __future__ import annotations

import base64
import functools
import io

import markupsafe
import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from heatbeam.transforms import heatmaps

Pixels = npt.NDArray[np.uint8]

COLOURS = "inferno"
"""matplotlib colour map: dark to light in print too, and readable for the colour-blind."""

_SLOPE, _MOST = 1.25, 0.82

LEVELS = 48
"""Steps of heat in pictures inside HTML."""

ALONE_PX = 512
"""Longer side of a map that stands for its image."""


def opacity(heat: npt.NDArray[np.floating]) -> npt.NDArray[np.float64]:
    """How much a heatmap in [0, 1] hides of the image below: min(1.25 heat, 0.82)."""
    hidden: npt.NDArray[np.float64] = np.clip(_SLOPE * np.asarray(heat, np.float64), 0, _MOST)
    return hidden


@functools.cache
def colours(count: int) -> Pixels:
    """The colours of `count` even steps of heat from 0 to 1: uint8 ``(count, 3)``."""
    table: Pixels = np.rint(matplotlib.colormaps[COLOURS](np.linspace(0, 1, count))[:, :3] * 255).astype(np.uint8)
    table.flags.writeable = False
    return table


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
    found: Pixels = colours(256)[np.rint(heat * 255).astype(np.uint8)]
    if picture is None:
        return found
    if picture.shape != (*heat.shape, 3):
        raise ValueError(f"picture has shape {picture.shape}; expected {(*heat.shape, 3)}")
    share = opacity(heat)[..., None]
    mixed: Pixels = np.rint(picture * (1 - share) + found * share).astype(np.uint8)
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
    """A heatmap in [0, 1] inside HTML, in `LEVELS` colours; where `transparent`, as opaque as `opacity` says."""
    image = Image.fromarray(np.rint(heat * (LEVELS - 1)).astype(np.uint8), mode="P")
    image.putpalette(colours(LEVELS).tobytes())
    buffer = io.BytesIO()
    image.save(buffer, format="PNG", optimize=True, **({"transparency": _alpha()} if transparent else {}))
    return picture_uri("png", buffer.getvalue())


@functools.cache
def _alpha() -> bytes:
    """The opacity of `LEVELS` steps of evidence."""
    return np.rint(opacity(np.linspace(0, 1, LEVELS)) * 255).astype(np.uint8).tobytes()


def picture_uri(kind: str, file: bytes) -> markupsafe.Markup:
    """A picture's file as a data URI: markup, in which a page looks for no secrets."""
    return markupsafe.Markup(f"data:image/{kind};base64,{base64.b64encode(file).decode()}")

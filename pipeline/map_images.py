"""A stored map as a picture: over its image where there is one, alone otherwise."""

from __future__ import annotations

import base64
import functools
import io

import matplotlib
import numpy as np
import numpy.typing as npt
from PIL import Image

from transforms.methods import heatmaps

Pixels = npt.NDArray[np.uint8]

COLOURS = "inferno"
"""matplotlib colour map: dark to light in print too, and readable for the colour-blind."""

_STRENGTH = 0.65


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
    heat = heatmaps.heatmap(raw, size, view=view, image_size=image_size)
    coloured: Pixels = _table()[np.rint(heat * 255).astype(np.uint8)]
    if picture is None:
        return coloured
    if picture.shape != (*size, 3):
        raise ValueError(f"picture has shape {picture.shape}; expected {(*size, 3)}")
    share = (_STRENGTH * heat)[..., None]
    mixed: Pixels = np.rint(picture * (1 - share) + coloured * share).astype(np.uint8)
    return mixed


@functools.cache
def _table() -> Pixels:
    colours = matplotlib.colormaps[COLOURS](np.arange(256))[:, :3]
    table: Pixels = np.rint(colours * 255).astype(np.uint8)
    return table


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
    return "data:image/png;base64," + base64.b64encode(png(pixels)).decode()

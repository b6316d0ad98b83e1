"""Plain JPEGs decoded by simplejpeg, where it is installed: the pixels of the decoder that was asked for, in less time.

All of these libraries decode by libjpeg-turbo, so with the same transform (TensorFlow's fast one, Pillow's accurate
one) they give the same levels; what TensorFlow and Pillow do around it is saved. What is *plain* is narrow on purpose:
grey or three channels, the customary subsamplings, one picture, no unknown segment. Whatever is not, or is damaged in
any way, is left to the decoder that was asked for, errors and all; so is everything if a first picture does not come
out the same.
"""

from __future__ import annotations

import functools
import importlib
import io
import logging
from typing import Any

import numpy as np
from PIL import Image

_LOG = logging.getLogger(__name__)

_START = b"\xff\xd8\xff"
_FRAMES = (0xC0, 0xC2)  # baseline and progressive
_SCAN = 0xDA
_PASSED_OVER = frozenset((*range(0xE0, 0xF0), 0xFE, 0xDB, 0xC4, 0xDD))  # APPn, comment, tables, restart interval
_SEVERAL_PICTURES = b"MPF\0"  # of which Pillow makes an MPO, another format
_LUMA_FACTORS = (0x11, 0x21, 0x22)  # 4:4:4, 4:2:2, 4:2:0
_COLOURS = {1: "GRAY", 3: "RGB"}

Size = tuple[int, int]


def pixels(data: bytes, channels: int, decoder: str, max_pixels: int) -> np.ndarray | None:
    """The pixels that a decoder gives of a plain JPEG, uint8 ``(H, W, channels)``; None where it has to be asked.

    Args:
        data: the file.
        channels: of the result.
        decoder: of `decode_options.DECODERS`.
        max_pixels: larger images are left to the decoder.
    """
    if not data.startswith(_START) or channels not in _COLOURS:
        return None
    found = plain_size(data)
    if found is None:
        return None
    (width, height), components = found
    # Pillow makes grey of colour by its own rounding.
    if width * height > max_pixels or (decoder == "pillow" and channels < components):
        return None
    return _decoded(data, channels, decoder) if _agrees(decoder) else None


def plain_size(data: bytes) -> tuple[Size, int] | None:
    """``(width, height)`` and the number of components of a plain JPEG, from its header; None of any other."""
    place, found = 2, None
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length] if marker in _FRAMES else data[place + 4 : place + 8]
        if marker == _SCAN:
            return found
        if marker in _FRAMES and found is None:
            found = _frame(body)
            if found is None:
                return None
        elif marker not in _PASSED_OVER or body == _SEVERAL_PICTURES or length < 2:
            return None
        place += 2 + length
    return None


def _frame(body: bytes) -> tuple[Size, int] | None:
    """The same of the body of a frame header: precision, height, width, components, three bytes of each."""
    if len(body) < 6 or body[0] != 8 or len(body) != 6 + 3 * body[5]:
        return None
    factors = body[7::3]
    plain = len(factors) == 1 or (len(factors) == 3 and factors[0] in _LUMA_FACTORS and factors[1:] == b"\x11\x11")
    size = int.from_bytes(body[3:5], "big"), int.from_bytes(body[1:3], "big")
    return (size, len(factors)) if plain and min(size) > 0 else None


def _decoded(data: bytes, channels: int, decoder: str) -> np.ndarray | None:
    """The pixels by simplejpeg; None of a file that makes it say anything, and without simplejpeg."""
    library = _library()
    if library is None:
        return None
    try:
        found: np.ndarray = library.decode_jpeg(data, _COLOURS[channels], fastdct=decoder == "tensorflow", strict=True)
    except ValueError:
        return None
    return found


@functools.cache
def _library() -> Any | None:
    try:
        return importlib.import_module("simplejpeg")
    except ImportError:
        return None


@functools.cache
def _agrees(decoder: str) -> bool:
    """Whether a first picture comes out as by the decoder; without simplejpeg none does."""
    if _library() is None:
        return False
    noise = np.random.default_rng(0).integers(0, 256, (35, 53, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "JPEG", quality=90, subsampling=2)
    data = file.getvalue()
    if decoder == "tensorflow":
        from heatbeam.transforms.sources.pixels import tensorflow_images  # takes seconds, where it is not there yet

        expected = tensorflow_images.decode(data, 3)
    else:
        expected = np.asarray(Image.open(io.BytesIO(data)))
    found = _decoded(data, 3, decoder)
    if found is not None and np.array_equal(expected, found):
        return True
    _LOG.warning("simplejpeg is not used: it decodes a JPEG to other pixels than the decoder %s here", decoder)
    return False

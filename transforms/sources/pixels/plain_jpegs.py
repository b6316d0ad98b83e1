"""Plain JPEGs decoded by simplejpeg, where it is installed: the pixels of the decoder that was asked for, in less time.

All of these libraries decode by libjpeg-turbo, so with the same transform (TensorFlow's fast one, Pillow's accurate
one) they give the same levels; what TensorFlow and Pillow do around it is saved. What is *plain* is narrow on purpose:
grey or three channels, the customary subsamplings, one picture, no unknown segment, all of a progressive one's bits.
Whatever is not, or is damaged in any way, is left to the decoder that was asked for, errors and all; so is everything
if first pictures, one of each kind, do not come out the same.
"""

from __future__ import annotations

import functools
import importlib
import io
import logging
from collections.abc import Iterator
from typing import Any

import numpy as np
from PIL import Image

_LOG = logging.getLogger(__name__)

_START = b"\xff\xd8\xff"
_PROGRESSIVE = 0xC2
_FRAMES = (0xC0, _PROGRESSIVE)  # the other is baseline
_SCAN = 0xDA
_PASSED_OVER = frozenset((*range(0xE0, 0xF0), 0xFE, 0xDB, 0xC4, 0xDD))  # APPn, comment, tables, restart interval
_SEVERAL_PICTURES = b"MPF\0"  # of which Pillow makes an MPO, another format
_LUMA_FACTORS = (0x11, 0x21, 0x22)  # 4:4:4, 4:2:2, 4:2:0
_COEFFICIENTS = 64  # of each block
_COLOURS = {1: "GRAY", 3: "RGB"}
_MODES = {1: "L", 3: "RGB"}  # of Pillow

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
    if width * height > max_pixels or not _has_way(decoder, channels, components):
        return None
    return _decoded(data, channels, decoder) if _agrees(decoder) else None


def _has_way(decoder: str, channels: int, components: int) -> bool:
    """Whether simplejpeg can give that decoder's pixels: Pillow makes grey of colour by its own rounding."""
    return decoder != "pillow" or channels >= components


def plain_size(data: bytes) -> tuple[Size, int] | None:
    """``(width, height)`` and the number of components of a plain JPEG, from its headers; None of any other."""
    place, found, progressive = 2, None, False
    while place + 4 <= len(data) and data[place] == 0xFF:
        marker, length = data[place + 1], int.from_bytes(data[place + 2 : place + 4], "big")
        body = data[place + 4 : place + 2 + length] if marker in _FRAMES else data[place + 4 : place + 8]
        if marker == _SCAN:
            return found if found is None or not progressive or _is_whole(data, place, found[1]) else None
        if marker in _FRAMES and found is None:
            found, progressive = _frame(body), marker == _PROGRESSIVE
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


def _is_whole(data: bytes, place: int, components: int) -> bool:
    """Whether the scans of a progressive JPEG, the first at `place`, have every coefficient to its last bit.

    What a file lacks is smoothed over, without a warning and in another way by each version of libjpeg-turbo.
    """
    lacking: dict[int, list[int]] = {}  # by component, how many of the last bits of each coefficient
    while place >= 0:
        behind = place + 5 + 2 * data[place + 4] if place + 4 < len(data) else len(data)
        if behind + 3 > len(data):
            return False
        first, last, bits = data[behind], data[behind + 1], data[behind + 2] & 15
        for component in data[place + 5 : behind : 2]:
            known = lacking.setdefault(component, [1] * _COEFFICIENTS)
            known[first : last + 1] = [bits] * len(known[first : last + 1])
        place = data.find(bytes((0xFF, _SCAN)), place + 2)
    return len(lacking) == components and not any(map(any, lacking.values()))


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
    """Whether first pictures of each kind come out as by the decoder; without simplejpeg none does."""
    if _library() is None:
        return False
    for data, components in _first_pictures():
        for channels in filter(lambda channels: _has_way(decoder, channels, components), _COLOURS):
            found = _decoded(data, channels, decoder)
            if found is None or not np.array_equal(found, _expected(data, channels, decoder)):
                _LOG.warning(
                    "simplejpeg is not used: it decodes a JPEG to other pixels than the decoder %s here", decoder
                )
                return False
    return True


def _first_pictures() -> Iterator[tuple[bytes, int]]:
    """JPEGs that are plain, each in its own way, and how many components they have."""
    noise = np.random.default_rng(0).integers(0, 256, (35, 53, 3), np.uint8)
    for progressive in (False, True):
        for subsampling, pixels in ((0, noise), (1, noise), (2, noise), (0, noise[:, :, 0])):
            file = io.BytesIO()
            options = {"quality": 90, "subsampling": subsampling, "progressive": progressive}
            Image.fromarray(pixels).save(file, "JPEG", **options)
            yield file.getvalue(), 1 if pixels.ndim == 2 else 3


def _expected(data: bytes, channels: int, decoder: str) -> np.ndarray:
    """The decoder's own pixels, uint8 ``(H, W, channels)``."""
    if decoder == "tensorflow":
        from heatbeam.transforms.sources.pixels import tensorflow_images  # takes seconds, where it is not there yet

        return tensorflow_images.decode(data, channels)
    image = Image.open(io.BytesIO(data)).convert(_MODES[channels])
    return np.asarray(image).reshape(image.height, image.width, channels)

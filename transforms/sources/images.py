"""Image bytes to pixels at the model's input size, with Pillow.

Pixels are those that the file stores: EXIF orientation is ignored unless asked for, since datasets give boxes in stored
pixels and TensorFlow's decoders ignore it too. Alpha is dropped, not blended; of 16 bits per channel the upper 8 are
kept; of an animation the first frame; colour profiles are ignored. JPEG, PNG, GIF, BMP and WebP are read, nothing else.

Resizing filters with a support that grows with the reduction (antialiasing), and takes any rectangle of the original in
one pass, so a crop is exact to a fraction of a pixel.
"""

from __future__ import annotations

import dataclasses
import io
import struct
import zlib
from typing import Any

import numpy as np
import PIL
import PIL.features
from PIL import Image, ImageOps

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options

_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_ORIENTATION = 0x0112  # EXIF tag
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP")
_MODES = {1: "L", 3: "RGB"}
_RAW_MODES = {1: "L", 3: "RGB", 4: "RGBA"}

View = tuple[float, float, float, float]


def decode_image(
    data: bytes, raw_shape: tuple[int, int, int] | None, options: decode_options.ImageOptions
) -> tuple[np.ndarray, tuple[int, int], View]:
    """The model's view of an image.

    Args:
        data: encoded image, or raw pixels if `raw_shape` is given.
        raw_shape: ``(height, width, channels)`` of a raw image, or None.
        options: how.

    Returns:
        The pixels, uint8 ``(options.height, options.width, options.channels)``; the original ``(width, height)`` in
        pixels; and the view, the rectangle ``x0 y0 x1 y1`` of the original that the pixels show.

    Raises:
        DataError: ``corrupt_image``, ``image_too_large`` or ``unsupported_image``.
    """
    if raw_shape is None:
        image, size, extent = _open(data, options)
    else:
        image = _from_raw(data, raw_shape, options)
        size, extent = image.size, image.size
    pixels, view = _resize(image, size, extent, options)
    if options.channels == 1:
        pixels = pixels[:, :, np.newaxis]
    return pixels, size, view


def decode_grey(data: bytes, size: tuple[int, int], what: str) -> np.ndarray:
    """A single-channel PNG as stored: ``(height, width)`` of uint8, bool or uint16; palette indices, not colours.

    Args:
        data: the file.
        size: the ``(width, height)`` that it must have.
        what: what it is, for messages.

    Raises:
        DataError: ``corrupt_mask``, ``mask_size_mismatch`` or ``invalid_mask``.
    """
    with _reported_as("corrupt_mask", what):
        image = Image.open(io.BytesIO(data), formats=_FORMATS)
        if image.size != size:
            raise records.DataError(
                "mask_size_mismatch", f"{what} is {_size_text(image.size)}; its image is {_size_text(size)}"
            )
        image.load()
    values = np.asarray(image)
    if values.ndim != 2:
        raise records.DataError("invalid_mask", f"{what} has {values.shape[2]} channels; expected one")
    return values


def recipe(options: decode_options.ImageOptions) -> dict[str, Any]:
    """Everything about decoding that can change a pixel, for the manifest."""
    return {
        "decoder": f"Pillow {PIL.__version__}",
        "jpeg_library": _library("libjpeg_turbo") or _library("jpg"),
        "png_library": f"zlib {PIL.features.version('zlib')}",
        "webp_library": _library("webp"),
        **dataclasses.asdict(options),
        "antialias": options.interpolation != "nearest",
        "alpha": "dropped",
        "sixteen_bit": "upper 8 bits",
        "animation": "first frame",
        "color_profile": "ignored",
    }


def _library(name: str) -> str | None:
    version = PIL.features.version(name)
    return None if version is None else f"{name} {version}"


def _size_text(size: tuple[int, int]) -> str:
    return f"{size[0]} x {size[1]} pixels"


class _reported_as:  # noqa: N801 - reads as a phrase
    """Turns what Pillow raises for bad bytes into a `DataError`.

    Inside, Pillow reads from memory only, so none of these errors can mean a broken machine.
    """

    _ERRORS = (OSError, SyntaxError, ValueError, EOFError, IndexError, OverflowError, struct.error, zlib.error)

    def __init__(self, error_type: str, what: str):
        self._error_type = error_type
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        if isinstance(error, (Image.DecompressionBombError, Image.DecompressionBombWarning)):
            raise records.DataError("image_too_large", f"{self._what}: {error}") from error
        if isinstance(error, self._ERRORS):
            raise records.DataError(self._error_type, f"{self._what} cannot be decoded: {_plain(error)}") from error


def _plain(error: BaseException) -> str:
    """An error's text without the address of the buffer that Pillow names."""
    return "unknown format" if isinstance(error, PIL.UnidentifiedImageError) else f"{error}"


def _open(
    data: bytes, options: decode_options.ImageOptions
) -> tuple[Image.Image, tuple[int, int], tuple[float, float]]:
    """The image in the model's mode, its original size, and its extent.

    The extent is the part of the returned image that the original covers, as ``(width, height)`` in the returned
    image's pixels: all of it, but for a draft, whose last row and column may be partly empty.
    """
    with _reported_as("corrupt_image", f"the image of {len(data)} bytes"):
        image: Image.Image = Image.open(io.BytesIO(data), formats=_FORMATS)
        _check_size(image.size, options)
        size = image.size
        turned = options.exif and image.getexif().get(_ORIENTATION, 1) != 1
        draft = image.draft(None, _needed_size(size, options)) if options.draft and not turned else None
        image.load()
        if turned:
            image = ImageOps.exif_transpose(image)
            size = image.size
    extent = (float(size[0]), float(size[1])) if draft is None else (draft[1][2], draft[1][3])
    return _convert(image, options), size, extent


def _check_size(size: tuple[int, int], options: decode_options.ImageOptions) -> None:
    if size[0] * size[1] > options.max_pixels:
        raise records.DataError(
            "image_too_large", f"the image is {_size_text(size)}, more than max_pixels ({options.max_pixels}) allows"
        )


def _convert(image: Image.Image, options: decode_options.ImageOptions) -> Image.Image:
    if image.mode.startswith("I"):  # 16-bit grey; Pillow's own conversion clips at 255
        values = np.asarray(image)
        if values.min() < 0 or values.max() > 65535:
            raise records.DataError("unsupported_image", "the image has more than 16 bits per channel")
        image = Image.fromarray((values >> 8).astype(np.uint8))
    if image.mode == "F":
        raise records.DataError("unsupported_image", "the image holds floating-point pixels; expected integers")
    mode = _MODES[options.channels]
    return image if image.mode == mode else image.convert(mode)


def _from_raw(data: bytes, shape: tuple[int, int, int], options: decode_options.ImageOptions) -> Image.Image:
    height, width, channels = shape
    _check_size((width, height), options)
    if channels not in _RAW_MODES:
        raise records.DataError("unsupported_image", f"the raw image has {channels} channels; expected 1, 3 or 4")
    if len(data) != height * width * channels:
        raise records.DataError("corrupt_image", f"the raw image has {len(data)} bytes; {shape} needs another number")
    return _convert(Image.frombytes(_RAW_MODES[channels], (width, height), data), options)


def view_of(size: tuple[int, int], options: decode_options.ImageOptions) -> View:
    """The rectangle ``x0 y0 x1 y1`` of an original of ``(width, height)`` pixels that the model's input shows."""
    if options.resize == "crop":
        return _crop_view(size, options)
    if options.resize == "squash":
        return 0.0, 0.0, float(size[0]), float(size[1])
    width, height = _padded_size(size, options)
    left, top = _margins((width, height), options)
    step_x, step_y = size[0] / width, size[1] / height
    x0, y0 = 0.0 - left * step_x, 0.0 - top * step_y  # never -0.0
    return x0, y0, x0 + options.width * step_x, y0 + options.height * step_y


def _margins(padded: tuple[int, int], options: decode_options.ImageOptions) -> tuple[int, int]:
    return (options.width - padded[0]) // 2, (options.height - padded[1]) // 2


def _crop_view(size: tuple[int, int], options: decode_options.ImageOptions) -> View:
    """The centred rectangle that ``crop`` shows."""
    scale = options.crop_fraction * min(size[0] / options.width, size[1] / options.height)
    half_width, half_height = scale * options.width / 2, scale * options.height / 2
    x, y = size[0] / 2, size[1] / 2
    right, bottom = min(x + half_width, float(size[0])), min(y + half_height, float(size[1]))
    return max(x - half_width, 0.0), max(y - half_height, 0.0), right, bottom


def _padded_size(size: tuple[int, int], options: decode_options.ImageOptions) -> tuple[int, int]:
    """The ``(width, height)`` in whole pixels of the model's input that ``pad`` gives to the image."""
    scale = min(options.width / size[0], options.height / size[1])
    return max(1, round(size[0] * scale)), max(1, round(size[1] * scale))


def _needed_size(size: tuple[int, int], options: decode_options.ImageOptions) -> tuple[int, int]:
    """The ``(width, height)`` at which the original still has two pixels per output pixel, in both directions.

    Pillow's draft never goes below the size it is given.
    """
    if options.resize == "pad":
        fitted = _padded_size(size, options)
        return 2 * fitted[0], 2 * fitted[1]
    view = (0.0, 0.0, *size) if options.resize == "squash" else _crop_view(size, options)
    return (
        int(np.ceil(2 * options.width * size[0] / (view[2] - view[0]))),
        int(np.ceil(2 * options.height * size[1] / (view[3] - view[1]))),
    )


def _resize(
    image: Image.Image, size: tuple[int, int], extent: tuple[float, float], options: decode_options.ImageOptions
) -> tuple[np.ndarray, View]:
    """The model's input and its view; `image` may be a draft of an original of `size`, which covers its `extent`."""
    filter_ = _FILTERS[options.interpolation]
    view = view_of(size, options)
    if options.resize == "pad":
        return _pad(image.resize(_padded_size(size, options), filter_, (0, 0, *extent)), options), view
    scale_x, scale_y = extent[0] / size[0], extent[1] / size[1]
    right, bottom = min(view[2] * scale_x, extent[0]), min(view[3] * scale_y, extent[1])
    box = (view[0] * scale_x, view[1] * scale_y, right, bottom)
    return np.asarray(image.resize((options.width, options.height), filter_, box)), view


def _pad(image: Image.Image, options: decode_options.ImageOptions) -> np.ndarray:
    fill = (options.pad_value,) * options.channels
    canvas = Image.new(image.mode, (options.width, options.height), fill if options.channels > 1 else fill[0])
    canvas.paste(image, _margins(image.size, options))
    return np.asarray(canvas)

"""Image bytes to pixels at the model's input size.

Pixels are those that the file stores: EXIF orientation is ignored unless asked for, since datasets give boxes in stored
pixels and TensorFlow's decoders ignore it too. Alpha is dropped, not blended; images of 16 bits a channel are scaled to
0 to 255 without rounding (`ImageOptions.value_range`); of an animation the first frame; colour profiles are ignored.
JPEG, PNG, GIF, BMP, WebP, TIFF and AVIF are read, nothing else.

Whose code decodes and resizes is a setting (`decode_options`): models are sensitive to it.
"""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import PIL
import PIL.features
from PIL import Image

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options, installed
from heatbeam.transforms.sources.pixels import geometry, image_files, resamplers

View = geometry.View


def decode_image(
    data: bytes, raw_shape: tuple[int, ...] | None, options: decode_options.ImageOptions
) -> tuple[np.ndarray, tuple[int, int], View]:
    """The model's view of an image.

    Args:
        data: encoded image, or raw pixels if `raw_shape` is given.
        raw_shape: ``(height, width, channels)`` of a raw image, or None.
        options: how.

    Returns:
        The pixels ``(options.height, options.width, options.channels)``, uint8, or float32 levels from about 0 to 255
        where the resampler or 16 bits a channel give fractions; the original ``(width, height)`` in pixels; and the
        view, the rectangle ``x0 y0 x1 y1`` of the original that the pixels show.

    Raises:
        DataError: ``corrupt_image``, ``image_too_large`` or ``unsupported_image``.
    """
    found = image_files.decoded(data, raw_shape, options)
    view = geometry.view_of(found.size, options)
    if (
        isinstance(found.image, Image.Image)
        and options.resampler == "pillow"
        and options.resize in decode_options.IN_PILLOW
        and options.channels in decode_options.WITHOUT_ALPHA
    ):
        pixels = _resized_by_pillow(found.image, found, view, options)
        return pixels[:, :, np.newaxis] if options.channels == 1 else pixels, found.size, view
    return _resized(found.array, geometry.placement(found.size, options), options), found.size, view


def resized_array(image: np.ndarray, options: decode_options.ImageOptions) -> np.ndarray:
    """An array ``(H, W, C)`` of any number of channels, uint8 or float32, at the model's input size, as images are."""
    size = image.shape[1], image.shape[0]
    return _resized(image, geometry.placement(size, options), options)


def decode_original(data: bytes, raw_shape: tuple[int, ...] | None, options: decode_options.ImageOptions) -> np.ndarray:
    """The whole image as the run decodes it, to be shown: uint8 ``(H, W, options.channels)`` in its own size.

    Raises:
        DataError: as `decode_image`.
    """
    found = image_files.decoded(data, raw_shape, dataclasses.replace(options, draft=False)).array
    return found if found.dtype == np.uint8 else np.rint(found).astype(np.uint8)


def decode_grey(data: bytes, size: tuple[int, ...], what: str) -> np.ndarray:
    """A single-channel PNG as stored: ``(height, width)`` of uint8, bool or uint16; palette indices, not colours.

    Args:
        data: the file.
        size: the ``(width, height)`` that it must have.
        what: what it is, for messages.

    Raises:
        DataError: ``corrupt_mask``, ``mask_size_mismatch`` or ``invalid_mask``.
    """
    with image_files.reported_as("corrupt_mask", what, data):
        image = image_files.opened_file(data)
        if image.size != size:
            raise records.DataError(
                "mask_size_mismatch",
                f"{what} is {image_files.size_text(image.size)}; its image is {image_files.size_text(size)}",
            )
        image_files.load(image)
    values = np.asarray(image)
    if values.ndim != 2:
        raise records.DataError("invalid_mask", f"{what} has {values.shape[2]} channels; expected one")
    return values


def recipe(options: decode_options.ImageOptions) -> dict[str, Any]:
    """Everything about decoding that can change a pixel, for the manifest."""
    tensorflow, pillow = options.decoder == "tensorflow", f"Pillow {PIL.__version__}"
    antialias = (
        options.resampler in ("pillow", "tensorflow_antialias", "torchvision") or options.interpolation == "area"
    )
    return {
        "decoder": f"TensorFlow {installed.version_of('tensorflow')}, and {pillow} for what it does not read"
        if tensorflow
        else pillow,
        "jpeg_library": _library("libjpeg_turbo") or _library("jpg"),
        "png_library": f"zlib {PIL.features.version('zlib')}",
        "webp_library": _library("webp"),
        **{name: _as_json(value) for name, value in dataclasses.asdict(options).items() if name != "decoder"},
        "antialias": antialias and options.interpolation != "nearest",
        "alpha": "dropped",
        "sixteen_bit": SIXTEEN_BIT.get(str(options.value_range), "linearly from value_range to 0..255, not rounded"),
        "animation": "first frame",
        "color_profile": "ignored",
    }


SIXTEEN_BIT = {
    "upper_byte": "upper 8 bits",
    "type": "value * 255 / 65535, not rounded",
    "percentile": "linearly from the image's value_percentiles to 0..255, not rounded",
}
"""What happens to 16 bits a channel, in words, by `ImageOptions.value_range`."""


def _as_json(value: Any) -> Any:
    return list(value) if isinstance(value, tuple) else value


def _library(name: str) -> str | None:
    version = PIL.features.version(name)
    return None if version is None else f"{name} {version}"


def _resized_by_pillow(
    image: Image.Image, found: image_files.Decoded, view: View, options: decode_options.ImageOptions
) -> np.ndarray:
    """The model's input; `image` may be a draft of an original, which covers its `extent`."""
    filter_, size, extent = resamplers.PILLOW_FILTERS[options.interpolation], found.size, found.extent
    if options.resize == "pad":
        return _pad(image.resize(geometry.padded_size(size, options), filter_, (0, 0, *extent)), options)
    scale_x, scale_y = extent[0] / size[0], extent[1] / size[1]
    right, bottom = min(view[2] * scale_x, extent[0]), min(view[3] * scale_y, extent[1])
    box = (view[0] * scale_x, view[1] * scale_y, right, bottom)
    return np.asarray(image.resize((options.width, options.height), filter_, box))


def _pad(image: Image.Image, options: decode_options.ImageOptions) -> np.ndarray:
    fill = (options.pad_value,) * options.channels
    canvas = Image.new(image.mode, (options.width, options.height), fill if options.channels > 1 else fill[0])
    canvas.paste(image, geometry.margins(image.size, options))
    return np.asarray(canvas)


def _resized(image: np.ndarray, placed: geometry.Placement, options: decode_options.ImageOptions) -> np.ndarray:
    """The model's input ``(height, width, C)`` of a whole original ``(H, W, C)``."""
    if options.resampler == "pillow" and options.resize == "crop":
        found = resamplers.pillow(image, placed.size, options.interpolation, placed.box)
    else:
        x0, y0, x1, y1 = map(int, placed.box)
        found = image[y0:y1, x0:x1]
        if placed.resized or options.resize != "center_crop":
            found = resamplers.BY_NAME[options.resampler](found, placed.size, options.interpolation)
    if options.gives_fractions:
        found = found.astype(np.float32, copy=False)
    return np.ascontiguousarray(_placed(found, placed, options))


def _placed(found: np.ndarray, placed: geometry.Placement, options: decode_options.ImageOptions) -> np.ndarray:
    """`found` in the model's input: cut where its place is negative, with `pad_value` around it where it is smaller."""
    target = (options.height, options.width)
    if found.shape[:2] == target:
        return found
    if placed.left <= 0 and placed.top <= 0 and found.shape[0] >= target[0] and found.shape[1] >= target[1]:
        return found[-placed.top :, -placed.left :][: target[0], : target[1]]
    canvas = np.full((*target, found.shape[2]), options.pad_value, found.dtype)
    canvas[placed.top : placed.top + found.shape[0], placed.left : placed.left + found.shape[1]] = found
    return canvas

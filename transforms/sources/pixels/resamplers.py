"""An image at another size, by the code of a library: Pillow and OpenCV themselves, the others by their arithmetic."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import cv2
import numpy as np
from PIL import Image

from heatbeam.transforms.sources.pixels import tensorflow_resize

PILLOW_FILTERS = {
    "nearest": Image.Resampling.NEAREST,
    "area": Image.Resampling.BOX,
    "bilinear": Image.Resampling.BILINEAR,
    "hamming": Image.Resampling.HAMMING,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}
_OPENCV_FILTERS = {
    "nearest": cv2.INTER_NEAREST,
    "area": cv2.INTER_AREA,
    "bilinear": cv2.INTER_LINEAR,
    "bicubic": cv2.INTER_CUBIC,
    "lanczos": cv2.INTER_LANCZOS4,
}

_CV_CHANNELS = 4
"""Channels that every filter of OpenCV takes at once."""

Box = tuple[float, float, float, float]


def pillow(image: np.ndarray, size: tuple[int, int], interpolation: str, box: Box | None = None) -> np.ndarray:
    """``PIL.Image.resize``; a float32 image channel by channel, in Pillow's mode ``F``.

    Args:
        image: uint8 or float32 ``(H, W, C)``; of other than 1 and 3 channels each alone, so that none is alpha.
        size: height and width of the result.
        interpolation: one of `PILLOW_FILTERS`.
        box: rectangle ``x0 y0 x1 y1`` to show, or None for the whole image.
    """
    filter_, target = PILLOW_FILTERS[interpolation], (size[1], size[0])
    if image.dtype == np.uint8 and image.shape[2] in (1, 3):
        flat = Image.fromarray(image[:, :, 0] if image.shape[2] == 1 else image)
        return np.asarray(flat.resize(target, filter_, box)).reshape(*size, -1)
    planes = [Image.fromarray(np.ascontiguousarray(image[:, :, i])) for i in range(image.shape[2])]
    return np.stack([np.asarray(plane.resize(target, filter_, box)) for plane in planes], axis=2)


def opencv(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """``cv2.resize``, whose pixels keep their type."""
    filter_ = _OPENCV_FILTERS[interpolation]
    parts = [image[:, :, i : i + _CV_CHANNELS] for i in range(0, image.shape[2], _CV_CHANNELS)]
    found = [cv2.resize(np.ascontiguousarray(part), (size[1], size[0]), interpolation=filter_) for part in parts]
    return np.concatenate([np.asarray(part).reshape(*size, -1) for part in found], axis=2)


def tensorflow(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """``tf.image.resize``: float32, but for ``nearest``."""
    return tensorflow_resize.resize(image, size, interpolation, antialias=False)


def tensorflow_antialias(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """``tf.image.resize(..., antialias=True)``."""
    return tensorflow_resize.resize(image, size, interpolation, antialias=True)


def linear(array: np.ndarray, axis: int, target: int) -> np.ndarray:
    """One axis at another length: linear, half a sample off the samples, as ``tf.image.resize`` without antialias.

    Args:
        array: of any number of axes and number type.
        axis: of it.
        target: its length in the result, which is float32.
    """
    moved = np.moveaxis(array, axis, 0)
    flat = np.ascontiguousarray(moved).reshape(len(moved), 1, -1)
    found = tensorflow_resize.resize(flat, (target, 1), "bilinear", antialias=False)
    return np.moveaxis(found.reshape(target, *moved.shape[1:]), 0, axis)


def torchvision(image: np.ndarray, size: tuple[int, int], interpolation: str) -> np.ndarray:
    """``torchvision.transforms.v2.functional.resize`` of a uint8 tensor with ``antialias=True``, to a level.

    Torch's kernel for bytes (``aten/src/ATen/native/cpu/UpSampleKernelAVXAntialias.h``) is Pillow's algorithm: columns
    first, rounded to bytes, then rows; its weights have 15 bits where Pillow's have 22, and so a level may tip. Its
    ``nearest`` takes the sample at or before ``i * source / target`` (``nearest_neighbor_compute_source_index`` of
    ``UpSample.h``), half a pixel off Pillow's. A PIL image is resized by Pillow itself: set ``pillow`` for that.
    """
    if interpolation == "nearest":
        rows, columns = (_at_or_before(*sides) for sides in zip(image.shape, size, strict=False))
        chosen: np.ndarray = image[rows[:, np.newaxis], columns]
        return chosen
    return pillow(image, size, interpolation)


def _at_or_before(source: int, target: int) -> np.ndarray:
    scale = np.float32(source) / np.float32(target)
    found: np.ndarray = np.minimum((np.arange(target, dtype=np.float32) * scale).astype(np.int64), source - 1)
    return found


BY_NAME: Mapping[str, Callable[[np.ndarray, tuple[int, int], str], np.ndarray]] = {
    "pillow": pillow,
    "tensorflow": tensorflow,
    "tensorflow_antialias": tensorflow_antialias,
    "opencv": opencv,
    "torchvision": torchvision,
}
"""From ``(image (H, W, C), (height, width), interpolation)`` to ``(height, width, C)``, by name of the resampler."""

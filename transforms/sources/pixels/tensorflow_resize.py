"""``tf.image.resize`` without TensorFlow: the weights of its kernels, computed in float32 as the kernels do.

A coordinate is half a pixel off the sample (``half_pixel_centers``), and is rounded to float32 where TensorFlow rounds
it: in a large image that moves a level by more than the filter's own rounding.

Sources: ``tensorflow/core/kernels/image/resize_bilinear_op.cc``, ``resize_bicubic_op.cc``, ``resize_area_op.cc``,
``scale_and_translate_op.cc`` and ``sampling_kernels.h``; ``tensorflow/python/ops/image_ops_impl.py`` says which of them
a method takes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.sources.pixels import separable

Floats = separable.Floats
_ONE, _HALF = np.float32(1), np.float32(0.5)
_TABLE = 1024  # steps between two samples at which the bicubic filter is tabled


def resize(image: np.ndarray, size: tuple[int, int], interpolation: str, *, antialias: bool) -> np.ndarray:
    """``tf.image.resize(image, size, interpolation, antialias=antialias)``.

    Args:
        image: uint8 or float32 ``(H, W, C)``.
        size: height and width of the result.
        interpolation: one of ``decode_options.FILTERS["tensorflow"]``.
        antialias: widen the filter with the reduction; changes nothing for ``nearest`` and ``area``.

    Returns:
        float32 ``(*size, C)``, in levels and not rounded; for ``nearest`` of the image's own type.
    """
    height, width = image.shape[:2]
    if interpolation == "nearest":
        return image[_nearest(height, size[0])[:, np.newaxis], _nearest(width, size[1])]
    rows = _weights(height, size[0], interpolation, antialias)
    return separable.resized(image, rows, _weights(width, size[1], interpolation, antialias))


def _nearest(source: int, target: int) -> npt.NDArray[np.int64]:
    centres = (np.arange(target, dtype=np.float32) + _HALF) * (np.float32(source) / np.float32(target))
    found: npt.NDArray[np.int64] = np.minimum(np.floor(centres).astype(np.int64), source - 1)
    return found


@functools.lru_cache(maxsize=256)
def _weights(source: int, target: int, interpolation: str, antialias: bool) -> separable.Matrix:
    """The filter of an axis of `source` samples resized to `target`."""
    if interpolation == "area":
        return separable.matrix(*_area(source, target), source)
    if interpolation == "bilinear" and not antialias:
        return separable.matrix(*_bilinear(source, target), source)
    if interpolation == "bicubic" and not antialias:
        return separable.matrix(*_bicubic(source, target), source)
    return separable.matrix(*_spans(source, target, interpolation, antialias), source)


def _coordinates(source: int, target: int) -> Floats:
    scale = np.float32(source) / np.float32(target)
    return (np.arange(target, dtype=np.float32) + _HALF) * scale - _HALF


def _bilinear(source: int, target: int) -> tuple[npt.NDArray[np.int64], Floats]:
    places = _coordinates(source, target)
    below = np.floor(places)
    share = places - below
    starts = below.astype(np.int64)
    weights = np.stack([_ONE - share, share], axis=1)
    weights[starts < 0] = (0, 1)  # both samples are the first
    weights[starts >= source - 1] = (1, 0)  # both are the last
    return starts, weights


def _bicubic(source: int, target: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """Keys' filter with a = -0.5, from a table; samples outside count nothing."""
    places = _coordinates(source, target)
    middle = np.floor(places)
    step = np.rint((places - middle) * np.float32(_TABLE)).astype(np.int64)
    near, far = _bicubic_table()
    weights = np.stack([far[step], near[step], near[_TABLE - step], far[_TABLE - step]], axis=1)
    starts = middle.astype(np.int64) - 1
    positions = starts[:, np.newaxis] + np.arange(4)
    weights = np.where((positions >= 0) & (positions < source), weights, np.float32(0))
    return starts, weights / weights.sum(axis=1, keepdims=True)


@functools.cache
def _bicubic_table() -> tuple[Floats, Floats]:
    x = np.arange(_TABLE + 1, dtype=np.float32) / np.float32(_TABLE)
    return _keys_cubic(x), _keys_cubic(x + _ONE)


def _area(source: int, target: int) -> tuple[npt.NDArray[np.int64], Floats]:
    """The share of each sample that an output sample covers."""
    scale = np.float32(source) / np.float32(target)
    first = np.arange(target, dtype=np.float32) * scale
    last = (np.arange(target, dtype=np.float32) + _ONE) * scale
    starts = np.floor(first).astype(np.int64)
    taps = int((np.ceil(last).astype(np.int64) - starts).max())
    left = (starts[:, np.newaxis] + np.arange(taps)).astype(np.float32)
    covered = np.minimum(left + _ONE, last[:, np.newaxis]) - np.maximum(left, first[:, np.newaxis])
    covered = np.maximum(covered, np.float32(0))
    # What rounding puts behind the last sample belongs to it.
    over = (starts[:, np.newaxis] + np.arange(taps)) >= source
    spill = np.where(over, covered, np.float32(0)).sum(axis=1)
    at_last = (starts[:, np.newaxis] + np.arange(taps)) == source - 1
    covered = np.where(over, np.float32(0), covered) + at_last * spill[:, np.newaxis]
    return starts, (covered / scale).astype(np.float32)


def _spans(source: int, target: int, interpolation: str, antialias: bool) -> tuple[npt.NDArray[np.int64], Floats]:
    """The spans of ``ScaleAndTranslate``: the filter around each sample, its weights brought to a sum of 1."""
    radius, kernel = _KERNELS[interpolation]
    inverse = _ONE / (np.float32(target) / np.float32(source))
    widened = max(inverse, _ONE) if antialias else _ONE
    reach = radius * widened
    centres = (np.arange(target, dtype=np.float32) + _HALF) * inverse
    starts = np.clip(np.ceil(centres - reach - _HALF).astype(np.int64), 0, source - 1)
    ends = np.clip(np.floor(centres + reach - _HALF).astype(np.int64), 0, source - 1) + 1
    positions = starts[:, np.newaxis] + np.arange(int((ends - starts).max()))
    distances = np.abs((positions.astype(np.float32) + _HALF - centres[:, np.newaxis]) / widened)
    weights = np.where(positions < ends[:, np.newaxis], kernel(distances), np.float32(0)).astype(np.float32)
    weights = weights / weights.sum(axis=1, keepdims=True)
    weights[centres > source] = 0
    return starts, weights


def _triangle(x: Floats) -> Floats:
    found: Floats = np.maximum(_ONE - x, np.float32(0))
    return found


def _keys_cubic(x: Floats) -> Floats:
    near = ((np.float32(1.5) * x - np.float32(2.5)) * x) * x + _ONE
    far = ((np.float32(-0.5) * x + np.float32(2.5)) * x - np.float32(4)) * x + np.float32(2)
    return np.where(x >= 2, np.float32(0), np.where(x >= 1, far, near))


def _mitchell(x: Floats) -> Floats:
    near = ((np.float32(7 / 6) * x - np.float32(2)) * x) * x + np.float32(8 / 9)
    far = ((np.float32(-7 / 18) * x + np.float32(2)) * x - np.float32(10 / 3)) * x + np.float32(16 / 9)
    return np.where(x >= 2, np.float32(0), np.where(x >= 1, far, near))


def _gaussian(x: Floats) -> Floats:
    sigma = np.float32(0.5)
    found: Floats = np.where(x >= 1.5, np.float32(0), np.exp(-x * x / (np.float32(2) * sigma * sigma)))
    return found


def _lanczos(radius: float) -> Callable[[Floats], Floats]:
    def kernel(x: Floats) -> Floats:
        found: Floats = np.where(x > radius, np.float32(0), np.sinc(x) * np.sinc(x / np.float32(radius)))
        return found

    return kernel


_KERNELS: dict[str, tuple[np.float32, Callable[[Floats], Floats]]] = {
    "bilinear": (np.float32(1), _triangle),
    "bicubic": (np.float32(2), _keys_cubic),
    "lanczos": (np.float32(3), _lanczos(3)),
    "lanczos5": (np.float32(5), _lanczos(5)),
    "gaussian": (np.float32(1.5), _gaussian),
    "mitchellcubic": (np.float32(2), _mitchell),
}

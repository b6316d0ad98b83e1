"""From a stored raw map to a heatmap: the one way, used by the metrics, the report and the readers of the tables.

A *raw map* is what a method gives: signed, at the resolution of the target layer. A *heatmap* lies in [0, 1] at the
size of a picture. In between::

    positive (where the protocol says so)  ->  resize with half-pixel centres  ->  min_max

A row of ``explanations`` becomes a heatmap over its original image by::

    raw = dequantize(row.heatmap.reshape(row.heatmap_shape), row.heatmap_scale)
    view = (row.view_x0, row.view_y0, row.view_x1, row.view_y1)
    shown = heatmap(raw, (row.image_height, row.image_width), view=view, image_size=(row.image_width, row.image_height))

Maps are ``(h, w)``, rows first; sizes of pictures are ``(height, width)``; a view is ``(x0, y0, x1, y1)`` in pixels of
the original image (`records.Source`). What is said of pictures holds for inputs of one and three position axes: then
maps are ``(w,)`` or ``(d, h, w)``, a size has as many numbers in the same order, and a view is ``(x0, x1)`` or ``(x0,
y0, z0, x1, y1, z1)``. Nothing here changes its input.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any, Literal

import cv2
import numpy as np
import numpy.typing as npt

from heatbeam.transforms import records

Floats = npt.NDArray[np.floating[Any]]
View = tuple[float, ...]
Interpolation = Literal["nearest", "bilinear", "bicubic"]

RANKS = (1, 2, 3)
"""How many position axes an input, and so its maps, can have."""

INT16_STEPS = records.INT16_STEPS
VOLUME_STEPS = records.VOLUME_STEPS

_OPENCV = {"nearest": cv2.INTER_NEAREST_EXACT, "bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC}

_CUBIC_A = -0.75  # OpenCV's cubic kernel


def quantize(
    maps: Floats, rank: int = 2, most: int = INT16_STEPS
) -> tuple[npt.NDArray[np.int16], npt.NDArray[np.float32]]:
    """Maps as 16-bit steps: scale = max|map| / most and step = round(map / scale), ties to even.

    A map of zeros, or of values too small for a float32 scale (below about 4e-34), has scale 1 and steps 0.

    Args:
        maps: ``(..., h, w)``, signed; in general the last `rank` axes are a map's.
        rank: position axes of a map.
        most: steps either side of 0, at most 32767.

    Returns:
        int16 like `maps` and float32 ``(...)``; ``steps * scale`` is within half a scale of the map.

    Raises:
        records.DataError: ``non_finite_map``, if a value is NaN or infinite.
    """
    maps = np.asarray(maps, dtype=np.float32)
    bad = int(np.count_nonzero(~np.isfinite(maps)))
    if bad:
        raise records.DataError(
            "non_finite_map", f"{bad} of {maps.size} map values are NaN or infinite; expected finite numbers: check the"
            " image's preprocessing and the model's weights")  # fmt: skip
    scale = step_size(np.abs(maps).max(axis=tuple(range(-rank, 0)), initial=0), most)
    return steps(maps, _per_map(scale, rank), most), scale


def _per_map(scale: npt.NDArray[np.float32], rank: int) -> npt.NDArray[np.float32]:
    """The scales of maps, one for all cells of each."""
    return scale.reshape(*scale.shape, *(1,) * rank)


def most_steps(shape: tuple[int, ...], volume_steps: int) -> int:
    """Steps either side of 0 of a map of `shape`: `volume_steps` where three axes have several cells.

    A volume of depth 1 is stored as the picture that it is.
    """
    return volume_steps if len(shape) == 3 and min(shape) > 1 else INT16_STEPS


def step_size(peak: npt.NDArray[np.float32], most: npt.ArrayLike = INT16_STEPS) -> npt.NDArray[np.float32]:
    """The scale of maps whose greatest magnitude is `peak`: peak / most, or 1 where that is no normal float32."""
    scale = (peak / np.asarray(most, np.float32)).astype(np.float32)
    return np.where(scale < np.finfo(np.float32).tiny, np.float32(1), scale)


def steps(
    values: npt.NDArray[np.float32], scale: npt.NDArray[np.float32], most: npt.ArrayLike = INT16_STEPS
) -> npt.NDArray[np.int16]:
    """round(value / scale), ties to even, at most `most` either way. `scale` is one for each value, or broadcasts."""
    limit = np.asarray(most, np.float32)
    rounded: npt.NDArray[np.float32] = np.clip(np.rint(values / scale), -limit, limit)
    return rounded.astype(np.int16)


def dequantize(cells: npt.NDArray[Any], scale: npt.ArrayLike, rank: int = 2) -> npt.NDArray[np.float32]:
    """The maps that `quantize` encoded: steps * scale, in float32.

    Args:
        cells: int16 ``(..., h, w)``, the steps; or the float32 cells of exact maps, whose scale is 1.
        scale: float32 ``(...)``.
        rank: position axes of a map: its axes are the last ones.
    """
    return np.asarray(cells, np.float32) * _per_map(np.asarray(scale, np.float32), rank)


def positive(maps: Floats) -> Floats:
    """max(map, 0): the evidence for the class."""
    return np.maximum(maps, 0)


def min_max(maps: Floats, rank: int = 2) -> Floats:
    """(map - min) / (max - min), each map by itself; a constant map and one with a NaN give zeros.

    Args:
        maps: ``(..., h, w)``; in general the last `rank` axes are a map's.
        rank: position axes of a map.

    Returns:
        The same shape and dtype, in [0, 1].
    """
    axes = tuple(range(-rank, 0))
    low = maps.min(axis=axes, keepdims=True)
    with np.errstate(invalid="ignore"):  # infinity - infinity is NaN: zeros below
        shifted = maps - low
    high = shifted.max(axis=axes, keepdims=True)
    usable = np.isfinite(high) & (high > 0)
    if usable.all():  # no copy, and nothing to choose
        scaled: Floats = np.divide(shifted, high, out=shifted)
    else:
        scaled = np.where(usable, shifted, 0) / np.where(usable, high, 1)
    return scaled.astype(maps.dtype, copy=False)


def resize(raw: Floats, size: tuple[int, ...], interpolation: Interpolation = "bilinear") -> Floats:
    """One map at another size, with half-pixel centres and repeated edges (OpenCV's resize).

    ``bilinear`` is INTER_LINEAR, ``bicubic`` INTER_CUBIC (a = -0.75; it may overshoot the range of the map) and
    ``nearest`` INTER_NEAREST_EXACT. Nothing is averaged when a map shrinks. A map of one position axis is resized as a
    picture one pixel high, one of three by the same weights along each axis; both are linear, or cubic, along every
    axis.

    Args:
        raw: float ``(h, w)``, or of one or three axes.
        size: ``(height, width)``, or as many numbers as the map has axes.
    """
    if raw.ndim != len(size) or raw.ndim not in RANKS or min(raw.shape) < 1 or min(size) < 1:
        raise ValueError(f"cannot resize a map of shape {raw.shape} to {size}; expected (h, w) and (height, width) > 0")
    if raw.ndim == 3 and _flat(raw.shape, size) is None:
        lengths = tuple(map(float, size))
        return _mixed(raw, [_weights(cells, (0.0, length), length, pixels, interpolation)
                            for cells, length, pixels in zip(raw.shape, lengths, size, strict=True)])  # fmt: skip
    plane, pixels = _as_plane(raw, size)
    resized = cv2.resize(plane, (pixels[1], pixels[0]), interpolation=_OPENCV[interpolation])
    same: Floats = resized.astype(raw.dtype, copy=False)
    return same.reshape(size)


def _flat(cells: tuple[int, ...], size: tuple[int, ...]) -> int | None:
    """Which axis of a volume says nothing, for it has one cell, shown as one; None if all say something."""
    return next((axis for axis in range(len(cells)) if cells[axis] == size[axis] == 1), None)


def _as_plane(raw: Floats, size: tuple[int, ...]) -> tuple[Floats, tuple[int, ...]]:
    """A map that is a plane already, a series, or a volume with a flat axis, as rows and columns; and its `size`."""
    if raw.ndim == 1:
        return raw[None], (1, *size)
    if raw.ndim == 3 and (flat := _flat(raw.shape, size)) is not None:
        return raw.squeeze(flat), (*size[:flat], *size[flat + 1 :])
    return raw, size


def _mixed(raw: Floats, weights: Sequence[Floats]) -> Floats:
    """A map whose cells are mixed along each axis by ``(size, cells)`` weights, the first axis first."""
    mixed: Floats = raw
    for axis, one in enumerate(weights):
        mixed = np.moveaxis(np.tensordot(one, mixed, (1, axis)), 0, axis)
    return np.ascontiguousarray(mixed, raw.dtype)


@functools.lru_cache(maxsize=64)
def _weights(cells: int, view: tuple[float, float], length: int, size: int, interpolation: Interpolation) -> Floats:
    """Float64 ``(size, cells)``: how each of `size` pixels over an image side mixes the cells that span `view`.

    Args:
        cells: of the map, along this side.
        view: where the map starts and ends, in pixels of the original image.
        length: of the side of the original image, in pixels.
        size: pixels of the picture along this side. A row is NaN where the pixel's centre lies outside the view.
    """
    centre = (np.arange(size) + 0.5) * (length / size)
    place = (centre - view[0]) * (cells / (view[1] - view[0])) - 0.5
    weights = np.zeros((size, cells))
    rows = np.arange(size)
    if interpolation == "nearest":
        taps: dict[int, Floats] = {0: np.ones(size)}
        base = np.floor(place + 0.5).astype(int)
    else:
        base = np.floor(place).astype(int)
        t = place - base
        taps = {0: 1 - t, 1: t} if interpolation == "bilinear" else _cubic(t)
    for offset, weight in taps.items():
        np.add.at(weights, (rows, np.clip(base + offset, 0, cells - 1)), weight)
    weights[(centre < view[0]) | (centre >= view[1])] = np.nan
    weights.setflags(write=False)
    return weights


def _cubic(t: Floats) -> dict[int, Floats]:
    """Cubic convolution (Keys 1981, eq. 4) of the four cells around a place `t` of the way from cell 0 to cell 1."""

    def near(d: Floats) -> Floats:
        return ((_CUBIC_A + 2) * d - (_CUBIC_A + 3)) * d * d + 1

    def far(d: Floats) -> Floats:
        return ((_CUBIC_A * d - 5 * _CUBIC_A) * d + 8 * _CUBIC_A) * d - 4 * _CUBIC_A

    return {-1: far(t + 1), 0: near(t), 1: near(1 - t), 2: far(2 - t)}


def bilinear_weights(cells: tuple[int, ...], view: View, size: tuple[int, ...]) -> tuple[Floats, ...]:
    """`place` over the original image as matrices: the map there is ``down @ raw @ across.T``.

    Args:
        cells: shape ``(h, w)`` of the map; of any rank.
        view: the part of the image that the map covers.
        size: ``(width, height)`` of the original image.

    Returns:
        For each axis of the map, in its order, ``(pixels, cells)``: down ``(height, h)`` and across ``(width, w)``,
        float64, read-only; a row is NaN where the view does not reach.
    """
    spans = zip(cells, _sides(view), size[::-1], strict=True)
    return tuple(_weights(count, side, length, length, "bilinear") for count, side, length in spans)


def _sides(view: View) -> list[tuple[float, float]]:
    """Start and end of a view along each axis of an array."""
    rank = len(view) // 2
    return list(zip(view[:rank], view[rank:], strict=True))[::-1]


def place(
    raw: Floats,
    size: tuple[int, ...],
    view: View,
    image_size: tuple[int, ...],
    interpolation: Interpolation = "bilinear",
) -> Floats:
    """One map over a picture of the whole original image, where the map covers `view` only.

    Args:
        raw: float ``(h, w)``, or of one or three axes.
        size: ``(height, width)`` of the picture; the whole image is scaled to it.
        view: the part of the image that the map covers: all of it (``squash``), less (``crop``) or more (``pad``).
        image_size: ``(width, height)`` of the original image.
        interpolation: as of `resize`, which this equals where the view is the whole image.

    Returns:
        float ``size``, NaN at pixels whose centre lies outside the view.
    """
    if tuple(view) == (*(0,) * len(image_size), *image_size):
        return resize(raw, size, interpolation)
    sides = _sides(view)
    if not all(start < end for start, end in sides):
        raise ValueError(f"view is {view}; expected x0 < x1 and y0 < y1")
    axes = zip(raw.shape, sides, image_size[::-1], size, strict=True)
    weights = [_weights(*axis, interpolation) for axis in axes]
    if raw.ndim == 1:
        weights = [np.ones((1, 1)), *weights]
    elif raw.ndim == 3:
        flat = _flat(raw.shape, size)
        if flat is None or weights[flat] != 1:  # it is NaN
            return _mixed(raw, weights)
        del weights[flat]
    plane, _ = _as_plane(raw, size)
    down, across = weights
    return (down @ plane @ across.T).astype(raw.dtype, copy=False).reshape(size)


def heatmap(
    raw: Floats,
    size: tuple[int, ...],
    *,
    rectify: bool = True,
    interpolation: Interpolation = "bilinear",
    view: View | None = None,
    image_size: tuple[int, ...] | None = None,
) -> Floats:
    """The heatmap of a raw map: `positive`, `place` (or `resize`), `min_max`, in this order.

    Args:
        raw: float ``(h, w)``, signed, or of one or three axes.
        size: ``(height, width)`` of the heatmap, or as many numbers as the map has axes.
        rectify: whether negative evidence is dropped first.
        interpolation: as of `resize`.
        view, image_size: as of `place`; without them the map covers the picture. What the model did not see is 0.

    Returns:
        float ``size`` in [0, 1]; zeros for a constant map or one with a NaN.
    """
    shown = positive(raw) if rectify else raw
    if view is None or image_size is None:
        return min_max(resize(shown, size, interpolation), raw.ndim)
    return scaled(place(shown, size, view, image_size, interpolation), bool(np.isfinite(shown).all()))


def scaled(placed: Floats, finite: bool) -> Floats:
    """The last step of `heatmap` with a view: a map as `place` gives it, in [0, 1]; what the model did not see is 0.

    Args:
        placed: float ``(height, width)``, or of one or three axes; NaN where the model did not see the image.
        finite: whether all cells of the map were; if not, all is 0.
    """
    if not finite:
        return np.zeros_like(placed)
    if np.isnan(placed.sum()):
        unseen = np.isnan(placed)
        placed = np.where(unseen, placed[~unseen].min(initial=np.inf), placed)
    return min_max(placed, placed.ndim)

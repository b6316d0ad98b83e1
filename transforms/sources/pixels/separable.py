"""Resizing by a filter of rows and a filter of columns: the weights of both as sparse matrices."""

from __future__ import annotations

import dataclasses

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled

Floats = npt.NDArray[np.float32]
Places = npt.NDArray[np.int32]


@dataclasses.dataclass(frozen=True, eq=False)
class Matrix:
    """The filter of one axis, without its zeros: row i of the result mixes the samples `of` it, with `weights`.

    Attributes:
        ends: int32 ``(out + 1,)``; those of row i are at ``ends[i]`` up to ``ends[i + 1]``.
        samples: int32, which samples, rising within a row.
        weights: float32, of each of them.
    """

    ends: Places
    samples: Places
    weights: Floats


def matrix(starts: npt.NDArray[np.int64], weights: Floats, size: int) -> Matrix:
    """The filter of one axis: row i has ``weights[i]`` from sample ``starts[i]`` on; zeros past the end are dropped.

    Args:
        starts: int64 ``(out,)``.
        weights: float32 ``(out, taps)``.
        size: samples of the axis.
    """
    positions = starts[:, np.newaxis] + np.arange(weights.shape[1])
    used = (positions >= 0) & (positions < size) & (weights != 0)
    ends = np.concatenate([[0], np.cumsum(used.sum(axis=1))])
    return Matrix(ends.astype(np.int32), positions[used].astype(np.int32), weights[used].astype(np.float32))


def resized(image: np.ndarray, rows: Matrix, columns: Matrix) -> Floats:
    """float32 ``(out_h, out_w, C)`` of an image ``(H, W, C)``.

    Args:
        image: of any number type.
        rows: ``(out_h, H)``.
        columns: ``(out_w, W)``.
    """
    kept = image if image.dtype == np.uint8 else image.astype(np.float32, copy=False)
    found: Floats = _resized(np.ascontiguousarray(kept), _arrays(rows), _arrays(columns))
    return found


_Arrays = tuple[Places, Places, Floats]


def _arrays(one: Matrix) -> _Arrays:
    return one.ends, one.samples, one.weights


@compiled.function
def _resized(image: np.ndarray, rows: _Arrays, columns: _Arrays) -> Floats:
    """`resized`, row by row of the result, so that what is in between stays near; sums in the order of the samples."""
    (row_ends, row_samples, row_weights), (ends, samples, weights) = rows, columns
    height, width, channels = image.shape
    flat = image.reshape(height, width * channels)
    found = np.empty((len(row_ends) - 1, len(ends) - 1, channels), np.float32)
    mixed = np.empty(width * channels, np.float32)
    for y in range(len(row_ends) - 1):
        mixed[:] = 0
        for tap in range(row_ends[y], row_ends[y + 1]):
            weight, source = row_weights[tap], flat[row_samples[tap]]
            for i in range(len(mixed)):
                mixed[i] += weight * np.float32(source[i])
        row = found[y]
        if channels == 3:
            for x in range(len(ends) - 1):
                red, green, blue = np.float32(0), np.float32(0), np.float32(0)
                for tap in range(ends[x], ends[x + 1]):
                    weight, place = weights[tap], 3 * samples[tap]
                    red += weight * mixed[place]
                    green += weight * mixed[place + 1]
                    blue += weight * mixed[place + 2]
                row[x, 0], row[x, 1], row[x, 2] = red, green, blue
            continue
        for x in range(len(ends) - 1):
            pixel = row[x]
            pixel[:] = 0
            for tap in range(ends[x], ends[x + 1]):
                weight, start = weights[tap], samples[tap] * channels
                for i in range(channels):
                    pixel[i] += weight * mixed[start + i]
    return found

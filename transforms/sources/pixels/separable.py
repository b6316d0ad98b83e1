"""Resizing by a filter of rows and a filter of columns: the weights of both as sparse matrices."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
import scipy.sparse

Floats = npt.NDArray[np.float32]
Matrix: TypeAlias = Any  # scipy.sparse.csr_array, of a package without types


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
    return scipy.sparse.csr_array((weights[used], positions[used], ends), shape=(len(starts), size))


def resized(image: np.ndarray, rows: Matrix, columns: Matrix) -> Floats:
    """float32 ``(out_h, out_w, C)`` of an image ``(H, W, C)``.

    Args:
        image: of any number type.
        rows: ``(out_h, H)``.
        columns: ``(out_w, W)``.
    """
    height, width, channels = image.shape
    used = np.unique(rows.indices)
    if len(used) < height:  # a narrow filter passes most rows of a large image over
        places = np.searchsorted(used, rows.indices)
        image, height = image[used], len(used)
        rows = scipy.sparse.csr_array((rows.data, places, rows.indptr), shape=(rows.shape[0], height))
    tall = rows @ image.reshape(height, width * channels).astype(np.float32)
    turned = tall.reshape(-1, width, channels).transpose(1, 0, 2).reshape(width, -1)
    found: Floats = (columns @ np.ascontiguousarray(turned)).reshape(columns.shape[0], -1, channels)
    return np.ascontiguousarray(found.transpose(1, 0, 2))

"""Weighted means over the neighbourhood of each position, axis by axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar, cast

import cv2
import numpy as np
import numpy.typing as npt

Values = TypeVar("Values", bound=npt.NDArray[np.floating[Any]])


def separable(values: Values, kernels: Sequence[npt.NDArray[np.float64]]) -> Values:
    """`values` filtered by a kernel along each position axis, with zeros outside.

    Args:
        values: float32 or float64 (*positions, C), of one, two or three position axes.
        kernels: one for each axis, of odd length; ``[1]`` leaves its axis as it is.

    Returns:
        As `values`, new.
    """
    rows, columns = (np.ones(1), *kernels)[-2:]
    planes: npt.NDArray[Any] = values.reshape(-1, *(1, *values.shape)[-3:])
    filtered: npt.NDArray[Any] = np.empty_like(planes)
    for plane, result in zip(planes, filtered, strict=True):
        one = cv2.sepFilter2D(plane, -1, columns, rows, borderType=cv2.BORDER_CONSTANT)
        result[...] = one.reshape(plane.shape)
    if len(kernels) > 2 and len(kernels[0]) > 1:
        flat = filtered.reshape(len(planes), -1)
        filtered = cv2.sepFilter2D(flat, -1, np.ones(1), kernels[0], borderType=cv2.BORDER_CONSTANT)
    return cast(Values, filtered.reshape(values.shape))

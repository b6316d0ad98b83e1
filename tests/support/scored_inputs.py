"""Inputs and a model made of sums, so that a score can be worked out by hand."""

from __future__ import annotations

import numpy as np


def left_and_right(inputs: np.ndarray) -> np.ndarray:
    """Score of class 0 is the mean of the left half, that of class 1 the mean of the right half."""
    half = inputs.shape[2] // 2
    return np.stack([inputs[:, :, :half].mean(axis=(1, 2, 3)), inputs[:, :, half:].mean(axis=(1, 2, 3))], axis=1)


def ones(count: int = 1, size: int = 4, channels: int = 3) -> np.ndarray:
    return np.ones((count, size, size, channels), np.float32)


def descending(count: int = 1, size: int = 4) -> np.ndarray:
    """Columns from left to right, strongest first; all pixels differ."""
    order = np.arange(size * size, 0, -1).reshape(size, size).T / (size * size)
    return np.repeat(order[None], count, axis=0)

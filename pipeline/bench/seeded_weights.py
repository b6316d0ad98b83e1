"""Random weights that a description in JSON and a seed determine, with NumPy alone: the same ones on any machine."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

_NEAR_ONE = ("gamma", "scale", "variance", "moving_variance")


def distribution(path: str, shape: Sequence[int]) -> tuple[float, float]:
    """Mean and standard deviation of a weight, such that activations keep their order of magnitude.

    Kernels have He's variance, 2 over the inputs of a unit. What scales is near 1, what is added is near 0.

    Args:
        path: Keras' path of the weight, such as ``conv1_bn/gamma``.
        shape: of the weight; the last axis of a kernel is its outputs.
    """
    if path.rsplit("/", 1)[-1] in _NEAR_ONE:
        return 1.0, 0.1
    if len(shape) < 2:
        return 0.0, 0.1
    # A depthwise kernel (h, w, channels, 1) sees one channel.
    inputs = math.prod(shape[:2]) if len(shape) == 4 and shape[-1] == 1 else math.prod(shape[:-1])
    return 0.0, math.sqrt(2 / max(1, inputs))


def values(argument: Mapping[str, Any], index: int, seed: int) -> np.ndarray:
    """The weight that an export describes.

    Args:
        argument: ``shape``, ``dtype``, ``mean`` and ``deviation``.
        index: of the weight among the arguments.
        seed: of all weights.

    Returns:
        Uniform, so that what has mean 1 and deviation 0.1, a variance for one, is positive for sure.
    """
    drawn = np.random.default_rng((seed, index)).random(tuple(argument["shape"]), dtype=np.float32)
    half_width = math.sqrt(3) * argument["deviation"]
    return (argument["mean"] + half_width * (2 * drawn - 1)).astype(argument["dtype"])

"""Sets that are joined and never parted: the root of one stands for it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled


@compiled.function
def root(parent: npt.NDArray[np.int32], one: int) -> int:
    """The root of the set of `one`, whose way there becomes half as long: a root is its own parent."""
    while parent[one] != one:
        parent[one] = parent[parent[one]]
        one = parent[one]
    return one

"""How much of the evidence of a map lies on padding: on what the model was shown that is not of the input.

    padding_energy = sum of M f over the cells / sum of M over the cells,  M = max(map, 0)

f is the share of a cell, of its length, area or volume, that lies outside the original. A model that looks at the grey
around its images, or at the zeros behind its series, has learned something of how the data were cut, not of what they
show.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.metrics.localization import scored_map

Floats = npt.NDArray[np.float64]

_ROUNDING = 1e-6
"""A view that sticks out by no more than this share of itself does not: views are stored in float32."""


def columns(framed: Sequence[scored_map.Framed]) -> dict[str, Floats]:
    """``padding_energy`` of each of L maps, float64 ``(L,)`` in [0, 1].

    NaN where the view of the image has no padding, and for a map without energy.
    """
    return {"padding_energy": np.array([padding_energy(one.raw, one.source) for one in framed], np.float64)}


def padding_energy(raw: npt.NDArray[np.floating], source: records.Source) -> float:
    """The number of one map.

    Args:
        raw: ``(h, w)``, signed, or with as many axes as the image has.
        source: of the image; its view and its size say what is padding.
    """
    outside = _outside(raw.shape, source.view, source.size)
    if outside is None:
        return math.nan
    energy = np.maximum(raw, 0, dtype=np.float64)
    total = energy.sum()
    return float((energy * outside).sum() / total) if total > 0 else math.nan


@functools.lru_cache(maxsize=256)
def _outside(cells: tuple[int, ...], view: heatmaps.View, size: tuple[int, ...]) -> Floats | None:
    """The share of each cell that lies outside the image, of shape `cells`; None if the view has no padding."""
    rank = len(size)
    sides = list(zip(cells, view[:rank][::-1], view[rank:][::-1], size[::-1], strict=True))
    if not any(max(-start, end - length) > _ROUNDING * (end - start) for _, start, end, length in sides):
        return None
    inside: Floats = np.ones(cells)
    for axis, (count, start, end, length) in enumerate(sides):
        edges = np.linspace(start, end, count + 1)
        shares = np.diff(np.clip(edges, 0, length)) / np.diff(edges)
        inside *= shares.reshape((-1,) + (1,) * (rank - 1 - axis))
    return 1 - inside

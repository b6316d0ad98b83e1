"""The energy-based pointing game: how much of the map's energy lies on the object.

    energy = sum of M over the object / sum of M over the image,  M = max(map, 0)

A uniform map scores the share of the image that the object covers, so that share is reported beside it, and the part
of the remaining room that the map fills: gain = (energy - area) / (1 - area).

Wang et al., CVPR Workshops 2020 (Score-CAM), arXiv:1910.01279, section 4.2.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics.contours import compiled
from heatbeam.transforms.metrics.localization import scored_map


def energy_share(placed: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_]) -> float:
    """Share of the energy of a map that lies inside; NaN for a map without energy.

    Args:
        placed: ``(H, W)``, or of one or three axes; what is not above 0, NaN too, has no energy.
        inside: bool, of the same shape.
    """
    width = placed.shape[-1]
    total, on_object = _sums(placed.reshape(-1, width), inside.reshape(-1, width))
    return float(on_object / total) if total > 0 else float("nan")


@compiled.short
def _sums(placed: npt.NDArray[np.floating], inside: npt.NDArray[np.bool_]) -> tuple[float, float]:
    """The energy over everything and inside, in one pass: columns first, so that the loop is a vector's."""
    total, on_object = np.zeros(placed.shape[1]), np.zeros(placed.shape[1])
    for y in range(placed.shape[0]):
        for x in range(placed.shape[1]):
            value = np.float64(placed[y, x]) if placed[y, x] > 0 else 0.0
            total[x] += value
            on_object[x] += value if inside[y, x] else 0.0
    energy, energy_on_object = 0.0, 0.0
    for x in range(placed.shape[1]):
        energy += total[x]
        energy_on_object += on_object[x]
    return energy, energy_on_object


def energy_gain(share: float, area: float) -> float:
    """(share - area) / (1 - area): 0 for a uniform map, 1 if all energy is inside; NaN for an area of 1."""
    return (share - area) / (1 - area) if area < 1 else float("nan")


def columns(one: scored_map.ScoredMap) -> dict[str, float]:
    """Share, area and gain of a map; nothing where there is no object."""
    if one.truth.region is None:
        return {}
    share, area = energy_share(one.framed.evidence, one.truth.region), one.truth.area
    return {"energy_share": share, "energy_area": area, "energy_gain": energy_gain(share, area)}

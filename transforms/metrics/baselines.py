"""Maps that know nothing of the image: what any method must beat.

They go through `localization.localize` like the maps of a method.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection

import numpy as np
import numpy.typing as npt

from transforms import records
from transforms.metrics import localization, protocols

BASELINES = {
    "baseline_centre": "a cone: strongest in the centre of the image, falling with the distance from it",
    "baseline_uniform": "the same everywhere",
    "baseline_gaussian": "a Gaussian in the centre, standard deviation a quarter of each side",
}
"""Name and meaning of each baseline; the names stand in the column ``method`` of the summary."""


@functools.lru_cache(maxsize=16)
def baseline_maps(height: int, width: int) -> dict[str, npt.NDArray[np.float32]]:
    """The baselines as raw maps ``(height, width)``, non-negative, by name; read-only."""
    y = ((np.arange(height) + 0.5) / height - 0.5)[:, None]
    x = ((np.arange(width) + 0.5) / width - 0.5)[None, :]
    square = x * x + y * y
    maps = {
        "baseline_centre": (1 - np.sqrt(2 * square)).astype(np.float32),
        "baseline_uniform": np.ones((height, width), np.float32),
        "baseline_gaussian": np.exp(-square / (2 * 0.25**2)).astype(np.float32),
    }
    for one in maps.values():
        one.setflags(write=False)
    return maps


def localize(
    source: records.Source,
    ground_truth: records.GroundTruth,
    class_ids: npt.ArrayLike,
    ranks: npt.ArrayLike,
    protocol: protocols.Protocol,
    groups: Collection[str],
    cells: int,
) -> dict[str, localization.Scores]:
    """Scores of every baseline for the classes of one image, by name.

    Args:
        source, ground_truth, class_ids, ranks, protocol, groups: as of `localization.localize`.
        cells: of a side of the baseline maps, which cover the whole original image; odd numbers have a centre cell.
    """
    whole = dataclasses.replace(source, view=(0.0, 0.0, float(source.width), float(source.height)))
    count = len(np.asarray(class_ids))
    measured = set(groups) - {"statistics"}
    return {
        name: localization.localize(
            np.broadcast_to(one, (count, cells, cells)), whole, ground_truth, class_ids, ranks, protocol, measured
        )
        for name, one in baseline_maps(cells, cells).items()
    }

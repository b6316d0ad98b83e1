"""Maps that know nothing of the image: what any method must beat.

They go through `localization.evidence_of` like the maps of a method.
"""

from __future__ import annotations

import functools
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import records
from heatbeam.transforms.metrics import protocols, registry
from heatbeam.transforms.metrics.localization import localization, pointing_game, scored_map

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


def evidence(
    source: records.Source,
    truths: Sequence[scored_map.Truth],
    class_ids: npt.ArrayLike,
    ranks: npt.ArrayLike,
    protocol: protocols.Protocol,
    groups: Collection[str],
    cells: int,
) -> dict[str, list[localization.Evidence]]:
    """What every baseline adds to the numbers of a dataset, by name, for each class of one image.

    Args:
        source, class_ids, ranks, protocol, groups: as of `localization.localize`.
        truths: of `localization.truths`, one per class.
        cells: of a side of the baseline maps, which cover the whole original image; odd numbers have a centre cell.
    """
    explained = list(zip(np.asarray(class_ids).tolist(), np.asarray(ranks).tolist(), strict=True))
    measured = tuple(name for name in registry.OF_AN_OBJECT if name in groups)
    found = {}
    for name in BASELINES:
        framed = _framed(name, cells, protocol)
        point = _point(name, cells, *source.size) if "pointing" in groups else None
        # The source's view is only asked for a point, which is known.
        scored = [scored_map.ScoredMap(framed, source, truth, protocol, point) for truth in truths]
        found[name] = [
            localization.evidence_of(one, class_id, rank, measured, {})
            for one, (class_id, rank) in zip(scored, explained, strict=True)
        ]
    return found


@functools.lru_cache(maxsize=16)
def _framed(name: str, cells: int, protocol: protocols.Protocol) -> scored_map.Framed:
    """A baseline in the frame. It covers the whole image, so it is the same for images of any size."""
    whole = records.Source("", "", 0, "", (cells, cells), (0.0, 0.0, float(cells), float(cells)))
    return scored_map.Framed(baseline_maps(cells, cells)[name], whole, protocol)


@functools.lru_cache(maxsize=4096)
def _point(name: str, cells: int, width: int, height: int) -> tuple[int, int]:
    """Where a baseline is strongest in images of one size."""
    raw = baseline_maps(cells, cells)[name]
    return pointing_game.point(raw, (0.0, 0.0, float(width), float(height)), width, height)

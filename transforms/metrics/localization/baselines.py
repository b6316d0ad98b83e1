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
def baseline_maps(shape: tuple[int, ...]) -> dict[str, npt.NDArray[np.float32]]:
    """The baselines as raw maps of that shape, ``(height, width)`` or of one or three axes, by name.

    Non-negative and read-only. The cone reaches 0 in the corners; an axis of one cell has no part in it.
    """
    square: npt.NDArray[np.float64] = np.zeros(shape)
    for axis, cells in enumerate(shape):
        places = (np.arange(cells) + 0.5) / cells - 0.5
        square += (places * places).reshape((-1,) + (1,) * (len(shape) - 1 - axis))
    axes = max(sum(cells > 1 for cells in shape), 1)
    maps = {
        "baseline_centre": (1 - np.sqrt(4 / axes * square)).astype(np.float32),
        "baseline_uniform": np.ones(shape, np.float32),
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
        cells: of a side of the baseline maps, which cover the whole original image; odd numbers have a centre cell. An
            axis of a volume of one sample has one.
    """
    explained = list(zip(np.asarray(class_ids).tolist(), np.asarray(ranks).tolist(), strict=True))
    measured = tuple(name for name in registry.OF_AN_OBJECT if name in groups)
    found = {}
    shape = tuple(1 if source.rank == 3 and length == 1 else cells for length in source.shape)
    for name in BASELINES:
        framed = _framed(name, shape, protocol)
        point = _point(name, shape, source.size) if "pointing" in groups else None
        # The source's view is only asked for a point, which is known.
        scored = [scored_map.ScoredMap(framed, source, truth, protocol, point) for truth in truths]
        found[name] = [
            localization.evidence_of(one, class_id, rank, measured, {})
            for one, (class_id, rank) in zip(scored, explained, strict=True)
        ]
    return found


@functools.lru_cache(maxsize=16)
def _framed(name: str, shape: tuple[int, ...], protocol: protocols.Protocol) -> scored_map.Framed:
    """A baseline in the frame. It covers the whole image, so it is the same for images of any size."""
    whole = records.Source("", "", 0, "", shape[::-1], _all_of(shape[::-1]))
    return scored_map.Framed(baseline_maps(shape)[name], whole, protocol)


@functools.lru_cache(maxsize=4096)
def _point(name: str, shape: tuple[int, ...], size: tuple[int, ...]) -> tuple[int, ...]:
    """Where a baseline is strongest in images of one size."""
    return pointing_game.point(baseline_maps(shape)[name], _all_of(size), size)


def _all_of(size: tuple[int, ...]) -> tuple[float, ...]:
    """The view of a whole image."""
    return (*(0.0,) * len(size), *map(float, size))

"""Maps that know nothing of the image: what any method must beat.

They go through `localization.evidence_of` like the maps of a method.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.transforms import records
from heatbeam.transforms.metrics import localization, pointing_game, protocols

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
    truths: Sequence[localization.Truth],
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
    measured = tuple(sorted(set(groups) - {"statistics"}))
    found = {}
    for name, raw in baseline_maps(cells, cells).items():
        frame = _pointed(name, cells, protocol, measured, source.width, source.height)
        # The source's view is only asked for a point, which is known.
        found[name] = [
            localization.evidence_of(raw, frame, source, truth, one, protocol, measured, {})
            for truth, one in zip(truths, explained, strict=True)
        ]
    return found


@functools.lru_cache(maxsize=16)
def _framed(name: str, cells: int, protocol: protocols.Protocol, groups: tuple[str, ...]) -> localization.Framed:
    """A baseline in the frame. It covers the whole image, so it is the same for images of any size."""
    whole = records.Source("", "", 0, "", cells, cells, (0.0, 0.0, float(cells), float(cells)))
    return localization.framed(baseline_maps(cells, cells)[name], whole, protocol, groups)


@functools.lru_cache(maxsize=4096)
def _pointed(
    name: str, cells: int, protocol: protocols.Protocol, groups: tuple[str, ...], width: int, height: int
) -> localization.Framed:
    """`_framed`, and where the baseline is strongest in images of one size, if the groups ask for it."""
    frame = _framed(name, cells, protocol, groups)
    if "pointing" not in groups:
        return frame
    raw = baseline_maps(cells, cells)[name]
    point = pointing_game.point(raw, (0.0, 0.0, float(width), float(height)), width, height)
    return dataclasses.replace(frame, point=point)

"""ADCC: coherency, complexity and average drop in one number. Poppi et al., CVPRW 2021, arXiv:2104.10252."""

from __future__ import annotations

import functools
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import map_similarity
from heatbeam.transforms.metrics.faithfulness import average_drop, batch

Floats = batch.Floats
Inputs = batch.Inputs
Maps = batch.Maps


class Adcc(NamedTuple):
    """ADCC and its parts, float64 (B,) each.

    Attributes:
        adcc: harmonic mean of coherency, 1 - complexity and 1 - drop. High is good.
        coherency: (r + 1) / 2, r = Pearson's correlation of the map and the map of the masked input. High is good.
        complexity: mean of the map. Low is good.
        drop: `average_drop.confidence_drop`. Low is good.
    """

    adcc: Floats
    coherency: Floats
    complexity: Floats
    drop: Floats


def adcc(
    explain: batch.Explain,
    inputs: Inputs,
    heatmaps: Maps,
    class_ids: npt.ArrayLike,
    before: Floats,
    after: Floats,
    *,
    baseline: float,
    batch_size: int,
) -> Adcc:
    """Average DCC of each image: 3 / (1 / coherency + 1 / (1 - complexity) + 1 / (1 - drop)), 0 if a part is 0.

    One more explanation of each image, of the input multiplied by its map. A constant map, before or after, has
    coherency 0. The reference code divides the drop by the confidence of the first class even where another is
    explained; here it is the explained class.

    Args:
        explain: the method that made `heatmaps`, with the same resizing and scaling.
        inputs, heatmaps, class_ids, batch_size: as in the contract of the package.
        before, after: from `batch.masked_scores` of probabilities, with the same baseline.
        baseline: what a map of 0 leaves.

    Poppi et al., CVPRW 2021, arXiv:2104.10252.
    """
    class_ids = batch.checked(inputs, heatmaps, class_ids, batch_size)
    shown = functools.partial(batch.masked_rows, inputs, heatmaps, baseline)
    again = batch.maps_of(explain, shown, class_ids, heatmaps.shape, batch_size)
    coherency = (map_similarity.pearson(heatmaps, again, of_constant=-1.0).clip(-1, 1) + 1) / 2
    complexity = np.abs(heatmaps).mean(axis=tuple(range(1, heatmaps.ndim)), dtype=np.float64)
    drop = average_drop.confidence_drop(before, after)
    parts = np.stack([coherency, 1 - complexity, 1 - drop])
    inverses = np.divide(1, parts, out=np.full_like(parts, np.inf), where=~(parts <= 0))
    return Adcc(3 / inverses.sum(axis=0), coherency, complexity, drop)


def measure(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """ADCC and its parts but the drop."""
    parts = adcc(
        one.explain, one.inputs, one.heatmaps, one.class_ids, *one.masked_scores,
        baseline=one.settings.mask_baseline, batch_size=one.settings.batch_size,
    )  # fmt: skip
    return {"adcc": parts.adcc, "coherency": parts.coherency, "complexity": parts.complexity}, {}

"""How spread out a heatmap is: its entropy and its Gini index. No pass of the model."""

from __future__ import annotations

import numpy as np

from heatbeam.transforms.metrics.faithfulness import batch

Floats = batch.Floats
Maps = batch.Maps


def complexity_entropy(heatmaps: Maps, *, epsilon: float) -> Floats:
    """-sum p ln(p + epsilon), p = |M| / sum |M|, in nats: ln(pixels) for a uniform map. NaN for a map of zeros.

    Args:
        heatmaps: (B, *positions), of any sign.
        epsilon: 0 for the entropy; Xplique has 1e-8, which lowers it by up to 1e-8 times the pixels.

    Bhatt et al., IJCAI 2020, arXiv:2005.00631.
    """
    size = np.abs(heatmaps.reshape(len(heatmaps), -1).astype(np.float64))
    total = size.sum(axis=1, keepdims=True)
    share = size / np.where(total == 0, np.nan, total)
    logarithm = np.log(share + epsilon, out=np.zeros_like(share), where=~(share == 0))
    entropy: Floats = -(share * logarithm).sum(axis=1) + 0.0
    return entropy


def sparseness_gini(heatmaps: Maps) -> Floats:
    """Gini index of |M|: 2 sum i x_(i) / (n sum x) - (n + 1) / n, x ascending, i from 1. NaN for a map of zeros.

    0 for a uniform map, 1 - 1/n for a single pixel. Chalasani et al., ICML 2020, arXiv:1810.06583.
    """
    size = np.sort(np.abs(heatmaps.reshape(len(heatmaps), -1).astype(np.float64)), axis=1)
    count = size.shape[1]
    total = size.sum(axis=1)
    weighted = (size * np.arange(1, count + 1)).sum(axis=1)
    gini: Floats = 2 * weighted / (count * np.where(total == 0, np.nan, total)) - (count + 1) / count
    return gini


def measure(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """Both."""
    entropy = complexity_entropy(one.heatmaps, epsilon=0.0)
    return {"complexity_entropy": entropy, "sparseness_gini": sparseness_gini(one.heatmaps)}, {}

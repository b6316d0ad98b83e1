"""Average drop, increase and gain: what the score does when only the map is shown.

Y is the score of the class for the input, O that for the input multiplied by its map (`batch.masked_scores`). The
dataset numbers are means; publications print 100 times the fractions returned here.
"""

from __future__ import annotations

import numpy as np

from heatbeam.transforms.metrics.faithfulness import batch

Floats = batch.Floats

_ROUNDING = 1e-6
"""A softmax in float32 may exceed 1 by this much."""


def confidence_drop(before: Floats, after: Floats) -> Floats:
    """max(0, Y - O) / Y: the share of the score lost when only the map is shown. 0 where Y = 0; NaN where Y < 0.

    The mean is *average drop*. Chattopadhay et al., WACV 2018, arXiv:1710.11063 (there in percent).
    """
    drop = np.divide(_loss(before, after), before, out=np.zeros_like(before), where=before != 0)
    drop[before < 0] = np.nan
    return drop


def confidence_increase(before: Floats, after: Floats) -> Floats:
    """1 where O > Y, else 0: the score rises when only the map is shown. The mean is *average increase*.

    Chattopadhay et al., WACV 2018, arXiv:1710.11063.
    """
    increase = (after > before).astype(np.float64)
    increase[np.isnan(before) | np.isnan(after)] = np.nan
    return increase


def confidence_gain(before: Floats, after: Floats) -> Floats:
    """max(0, O - Y) / (1 - Y): the share of the missing confidence won. 0 where Y = 1. The mean is *average gain*.

    For probabilities: NaN where Y is outside [0, 1]. Zhang et al., Opti-CAM, 2023, arXiv:2301.07002.
    """
    room = 1 - before
    gain = np.divide(_loss(after, before), room, out=np.zeros_like(room), where=~(room <= 0))
    gain[(before < 0) | (room < -_ROUNDING)] = np.nan
    return gain


def _loss(before: Floats, after: Floats) -> Floats:
    return np.maximum(before - after, 0)


def measure(one: batch.Batch) -> tuple[batch.Columns, batch.Columns]:
    """All three, from the same two predictions an image."""
    before, after = one.masked_scores
    return {
        "confidence_drop": confidence_drop(before, after),
        "confidence_increase": confidence_increase(before, after),
        "confidence_gain": confidence_gain(before, after),
    }, {}

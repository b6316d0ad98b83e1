"""Mean maps of signals as pictures: what has one axis or three on a page of two."""

from __future__ import annotations

import numpy as np

from heatbeam.pages.signals import shown

WORDS = {
    "series": "From the start of the series on the left to its end.",
    "volume": "Seen from two sides: above along z, below along y, each line of sight as its greatest cell.",
    "clip": "Seen from two sides: above along the time, below along y with the time downwards, each line of sight as"
    " its greatest cell.",
}
"""What `picture` shows, by `shown.Signal.kind`."""


def picture(energy: shown.Floats) -> shown.Floats:
    """A map of one, two or three axes as rows and columns.

    A series is one row. Of a volume the greatest cells along z, ``(y, x)``, stand above those along y, ``(z, x)``,
    and an empty row between them.
    """
    if energy.ndim == 1:
        return energy[None]
    if energy.ndim == 2:
        return energy
    return np.concatenate([energy.max(axis=0), np.zeros((1, energy.shape[2]), energy.dtype), energy.max(axis=1)])

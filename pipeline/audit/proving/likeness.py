"""Whether images have a look in common where their evidence is: what a cue is told by from the many looks of an object.

    c_i = mean of the pixels, weighted by the energy of the map, less the mean of all pixels
    f_i = mean of |pixels - G_s * pixels|, weighted by the energy of the map and averaged over colours

G_s is a Gaussian of `regions.MARGIN` of the shorter side. Both of the images of a suspect, T, and of images of its
class that do not show it, U; spread is the root of the sum of variances. T has a look where one of these holds:

    spread_T(c) <= `ALIKE` spread_U(c)                  the same colours: objects of a class differ more
    |mean_T(c) - mean_U(c)| >= `OTHER` spread_U(c)      other colours
    mean_T(f) - mean_U(f) >= `FINER` spread_U(f)        a texture
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from heatbeam.audit.proving import regions

Floats = npt.NDArray[np.float64]

ALIKE = 0.6
OTHER = 1.6
FINER = 8.0

LEAST_IMAGES = 3

LEAST_SPREAD = 1.0
"""In levels: usual images whose colours differ by less say nothing of colours."""


class Look(NamedTuple):
    """What an image looks like under its map.

    Attributes:
        colour: float64 ``(C,)``, less the mean colour of the image, in levels.
        fineness: mean difference to what is blurred, in levels.
    """

    colour: Floats
    fineness: float


def look(pixels: regions.Pixels, energy: Floats) -> Look:
    """The look of an image.

    Args:
        pixels: ``(H, W, C)``.
        energy: ``(h, w)``, not negative, some of it above 0.
    """
    height, width, count = pixels.shape
    weights = cv2.resize(energy, (width, height))[..., None]
    levels = pixels.astype(np.float64)
    blurred = cv2.GaussianBlur(levels, (0, 0), regions.MARGIN * min(height, width)).reshape(levels.shape)
    colour = (levels * weights).sum(axis=(0, 1)) / weights.sum() - levels.mean(axis=(0, 1))
    fineness = (np.abs(levels - blurred) * weights).sum() / (weights.sum() * count)
    return Look(colour, float(fineness))


def one_look(shown: Sequence[Look], usual: Sequence[Look]) -> bool:
    """Whether images have a look of their own; never, of too few."""
    if min(len(shown), len(usual)) < LEAST_IMAGES:
        return False
    mine, others = (np.stack([one.colour for one in some]) for some in (shown, usual))
    spread = _spread(others)
    apart = float(np.linalg.norm(mine.mean(axis=0) - others.mean(axis=0)))
    if spread >= LEAST_SPREAD and (_spread(mine) <= ALIKE * spread or apart >= OTHER * spread):
        return True
    fine, usually = ([one.fineness for one in some] for some in (shown, usual))
    return bool(np.mean(fine) - np.mean(usually) >= FINER * np.std(usually) > 0)


def _spread(colours: Floats) -> float:
    return float(np.sqrt(colours.var(axis=0).sum()))

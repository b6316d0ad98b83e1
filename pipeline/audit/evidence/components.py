"""Components of a class's channel evidence: what its images have more or less of, each with the images that show it.

For the images of a class, psi_i holds what each channel puts into the class score (`methods.channel_evidence`), zero
where a channel was not among the strongest. The components are the directions u_l in which psi varies most, from the
singular value decomposition of psi less its mean; t_il = <u_l, psi_i - mean> says how much of it an image shows. Class-
wise neural PCA: Neuhaus et al., ICCV 2023, arXiv:2212.04871, eq. 4. There alpha_l = (sum of u_l) t_l is what the
component adds to the logit; here a direction has that sign too, and both ends of it are looked at, because the sums of
few kept channels say less.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from heatbeam.audit.evidence import sample

Floats = npt.NDArray[np.float64]

CHANNELS = 128
"""Of a class, those with the greatest sum of squares; the directions are of these."""

MOST = 6
"""Components of a class."""

LEAST_IMAGES = 10
"""A class of fewer is not taken apart."""

LEAST_SHARE = 0.03
"""Of the variance; a component of less is left out."""


@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """One end of a direction.

    Attributes:
        number: of the direction, from 0, the one of the greatest variance.
        channels: int64 ``(C,)``, of the target layer.
        weights: float64 ``(C,)``, of length 1; images with large scores show it.
        variance: its share of the variance of the class's evidence.
        scores: float64 ``(N,)``, of the images it was made of.
        adds: whether what it stands for raises the class score.
    """

    number: int
    channels: npt.NDArray[np.int64]
    weights: Floats
    variance: float
    scores: Floats
    adds: bool


def matrix(images: Sequence[sample.Image]) -> tuple[npt.NDArray[np.int64], Floats]:
    """The channels that matter in these images, ascending, and psi ``(N, C)`` of them."""
    width = 1 + max((int(one.channels.max(initial=0)) for one in images), default=0)
    squares = np.zeros(width)
    for one in images:
        np.add.at(squares, one.channels, one.values.astype(np.float64) ** 2)
    strongest = np.argsort(-squares, kind="stable")[:CHANNELS]
    channels = np.sort(strongest[squares[strongest] > 0])
    return channels, of_channels(images, channels)


def of_channels(images: Sequence[sample.Image], channels: npt.NDArray[np.int64]) -> Floats:
    """The evidence psi ``(N, C)`` of these channels, ascending."""
    psi = np.zeros((len(images), len(channels)))
    if not len(channels):
        return psi
    for row, one in enumerate(images):
        places = np.minimum(np.searchsorted(channels, one.channels), len(channels) - 1)
        known = channels[places] == one.channels
        psi[row, places[known]] = one.values[known]
    return psi


def of_class(images: Sequence[sample.Image]) -> list[Component]:
    """The components of a class, both ends of each direction, the greatest variance first; none of too few images."""
    if len(images) < LEAST_IMAGES:
        return []
    channels, psi = matrix(images)
    if not len(channels):
        return []
    left, sizes, right = np.linalg.svd(psi - psi.mean(axis=0), full_matrices=False)
    whole = float((sizes**2).sum())
    found = []
    for number in range(min(MOST, len(sizes))):
        share = float(sizes[number] ** 2) / whole if whole > 0 else 0.0
        if share < LEAST_SHARE:
            break
        # The sign of a singular vector is the library's whim: the sum of its weights decides, then its first weight.
        sign = 1.0 if (right[number].sum(), right[number][0]) >= (0.0, 0.0) else -1.0
        scores = left[:, number] * sizes[number]
        for end in (sign, -sign):
            found.append(Component(number, channels, end * right[number], share, end * scores, end == sign))
    return found

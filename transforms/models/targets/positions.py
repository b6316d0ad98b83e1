"""Whether the cells of a map lie where they seem to: disturb places of an image and see which cells answer.

Does not import TensorFlow.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np

BLOCKS = 4
"""Blocks along each axis that are disturbed, one after the other."""

_LEAST = 0.5
"""Of the correlation, where cells may follow the image. A vector cut into rows and columns has correlations around 0,
windows of the image in a row around 0.3, maps of trained networks and transformers 0.7 and more."""

_SURE = 0.2
"""Of the lower end of the correlation's interval, where cells do follow the image."""


@dataclasses.dataclass(frozen=True)
class Evidence:
    """How well the place of the answer follows the place that was disturbed.

    Attributes:
        correlation: Spearman's, the smallest of the axes'; NaN where nothing answers.
        lower: lower end of its 95 % interval (Fisher's transformation).
        by_construction: whether only operations that keep the order of cells lead to them.
    """

    correlation: float
    lower: float
    by_construction: bool = False

    @property
    def undecided(self) -> bool:
        """Whether nothing answers, as where all activations are 0."""
        return math.isnan(self.correlation)

    @property
    def proved(self) -> bool:
        """Whether the cells are known to lie in the image as they lie in the map."""
        return self.by_construction or self.lower > _SURE

    @property
    def refuted(self) -> bool:
        """Whether the cells answer, but not at the place of the change."""
        return not self.by_construction and self.correlation < _LEAST

    def __str__(self) -> str:
        if self.undecided:
            measured = "no cell answers a change of the image"
        else:
            measured = f"they follow changes with rank correlation {self.correlation:.2f} (at least {self.lower:.2f})"
        if not self.by_construction:
            return f"positions: {measured}"
        if self.correlation < _LEAST:
            measured = "every cell sees most of the image, so a change shows at no place of its own"
        return f"positions kept by construction; {measured}"


REFUTED = Evidence(-1.0, -1.0)
"""Of a tensor whose first axis is not the images."""


def disturbed(size: tuple[int, ...], seed: int, scale: float) -> tuple[np.ndarray, np.ndarray]:
    """An image of noise, and copies of it with one block of other values each.

    Args:
        size: positions along each axis, channels.
        seed: of the noise.
        scale: largest value.

    Returns:
        float32 ``(1 + K, *positions, C)``, the plain image first, and the place of each block along each axis, ``(K,
        axes)``: row and column in an image.
    """
    random = np.random.default_rng(seed)
    plain = random.uniform(-scale, scale, size)
    blocks = [np.array_split(np.arange(length), min(BLOCKS, length)) for length in size[:-1]]
    images, places = [plain], []
    for place in np.ndindex(*map(len, blocks)):
        image = plain.copy()
        image[np.ix_(*(blocks[axis][number] for axis, number in enumerate(place)))] = (
            random.choice([-1.0, 1.0], size[-1]) * scale
        )
        images.append(image)
        places.append(place)
    return np.stack(images).astype(np.float32), np.array(places)


def evidence(answers: np.ndarray, places: np.ndarray) -> Evidence:
    """How well cells answer where the image was disturbed.

    Where every cell sees the whole image, every cell answers; each is compared with its own mean answer, so that what
    counts is what answers more than usual.

    Args:
        answers: ``(K, *grid)``, size of the change of each cell.
        places: ``(K, axes)``, where what was disturbed lies along each axis.
    """
    mean = answers.mean(axis=0)
    if not np.isfinite(answers).all() or not (mean > 0).any():
        return Evidence(math.nan, math.nan)
    relative = np.where(mean > 0, answers / np.where(mean > 0, mean, 1), 1.0)
    cells = tuple(range(1, answers.ndim))
    excess = relative - relative.min(axis=cells, keepdims=True)
    total = excess.sum(axis=cells)
    found = []
    for axis in range(places.shape[1]):
        if answers.shape[1 + axis] == 1 or len(np.unique(places[:, axis])) == 1:
            continue  # one row has no order
        along = np.moveaxis(excess, 1 + axis, 1).sum(axis=cells[1:])
        centre = (along @ np.arange(along.shape[1])) / np.where(total > 0, total, 1)
        centre = np.where(total > 0, centre, (along.shape[1] - 1) / 2)
        found.append(_spearman(centre, places[:, axis]))
    correlation = min(found, default=math.nan)
    spread = 1.96 * math.sqrt(1.06 / max(1, len(places) - 3))
    return Evidence(correlation, math.tanh(math.atanh(max(-0.999999, min(correlation, 0.999999))) - spread))


def _spearman(first: np.ndarray, second: np.ndarray) -> float:
    ranks = [_ranks(values) - (len(values) + 1) / 2 for values in (first, second)]
    scale = math.sqrt(float((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    return float((ranks[0] * ranks[1]).sum()) / scale if scale else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    """From 1 on; equal values share the mean of theirs."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: np.ndarray = ((2 * last - counts + 1) / 2)[inverse]
    return ranks

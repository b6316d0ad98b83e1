"""Sick maps: counted per method, and put into words, for the report of a run and for the check before it.

The flags of a single map are those of `map_statistics.health`. One more needs two maps: an image is *class-independent*
if the maps of two classes have a rank correlation of at least `SAME_MAP`; then the map does not show what speaks for
one class rather than the other.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np
import numpy.typing as npt

from heatbeam.transforms.metrics import map_similarity, map_statistics

SAME_MAP = 0.99
"""Maps of two classes with at least this rank correlation are the same."""

CLASS_INDEPENDENT = "class_independent"

FLAGS = {
    **map_statistics.HEALTH_FLAGS,
    CLASS_INDEPENDENT: f"two classes of an image have the same map: rank correlation {SAME_MAP} or more",
}
"""Name and meaning of each thing that can be wrong."""

CAUSES = {
    "nan": "the model or its preprocessing overflows; try explain.precision float32",
    "constant": "the layer says nothing about places",
    "blank": "nothing speaks for the class there: wrong target layer, scores or preprocessing, or a class the model"
    " does not see",
    "saturated": "the layer answers alike everywhere, or the map is clipped",
    "single_cell": "one cell decides: too coarse a layer, or a spike in its activations",
    "edge_locked": "the evidence sits in the border: padding of the network, or of the image",
    CLASS_INDEPENDENT: "the layer may lie too early to tell classes apart, or the method does not look at the class",
}
"""Where each usually comes from."""

USELESS = ("nan", "constant", "blank")
"""A map with one of these says nothing at all."""

ALERT_SHARE = 0.01
"""Share of a method's maps with a flag from which it is worth an alert."""

ALERT_SAME_SHARE = 0.5
"""Share of class-independent images from which it is worth one."""

MIN_PAIRS = 10
"""With fewer pairs of maps a run says nothing about class independence; a check of a few records asks for two."""


@dataclasses.dataclass
class MethodHealth:
    """What is wrong with the maps of one method.

    Attributes:
        method: its label.
        maps: how many were looked at.
        flags: maps with each flag.
        sick: maps with any flag.
        useless: maps with any of `USELESS`.
        pairs: images with maps of two classes.
        same: of those, the class-independent ones.
        class_free: whether the method gives one map for every class by design.
    """

    method: str
    maps: int = 0
    flags: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)
    sick: int = 0
    useless: int = 0
    pairs: int = 0
    same: int = 0
    class_free: bool = False

    def add(self, flags: Iterable[tuple[str, ...]]) -> None:
        """Count maps by their flags."""
        for found in flags:
            self.maps += 1
            self.flags.update(found)
            self.sick += bool(found)
            self.useless += any(flag in USELESS for flag in found)

    def add_pairs(self, first: npt.NDArray[np.floating], second: npt.NDArray[np.floating]) -> None:
        """Count images by the maps ``(N, h, w)`` of two of their classes."""
        self.pairs += len(first)
        self.same += int(same_maps(map_similarity.spearman(first, second)).sum())

    def alerts(self, min_pairs: int = MIN_PAIRS) -> Iterator[tuple[str, str]]:
        """What is worth saying, as ``(flag, sentence)``, the gravest first."""
        for flag, meaning in FLAGS.items():
            count = self.flags[flag]
            if count and count >= ALERT_SHARE * self.maps:
                yield flag, f"{count:,} of {self.maps:,} maps of {self.method} are {flag} ({meaning})"
        if not self.class_free and self.pairs >= min_pairs and self.same >= ALERT_SAME_SHARE * self.pairs:
            text = f"the maps of {self.method} do not depend on the class in {self.same:,} of {self.pairs:,} images"
            yield CLASS_INDEPENDENT, f"{text} ({FLAGS[CLASS_INDEPENDENT]})"


def same_maps(spearman: npt.NDArray[np.floating]) -> npt.NDArray[np.bool_]:
    """Which rank correlations are of maps that count as the same; NaN (a constant map) is not."""
    found: npt.NDArray[np.bool_] = np.asarray(spearman) >= SAME_MAP
    return found

"""Is a model's accuracy better than chance? What answers that follow from nothing in the image would get right.

    chance = sum over classes k of q_k s_k

q_k is the share of the images for which the model's first choice is k, s_k the share that have the label k: how often
choices and labels would agree if one had nothing to do with the other (Cohen, Educational and Psychological Measurement
1960). It is what a model with random weights reaches whatever it prefers, also one that names a single class: then it
is that class's share. The share of the most frequent label would be the wrong measure: a good model of a rare
disease is less often right than one that never finds it. And 1 / classes would be: naming the most frequent class is
better than that. Only where every image has the same labels is there nothing to agree with by chance, and 1 / classes
is taken.

The test is the binomial one, one-sided and exact: P(X >= hits) for X ~ Binomial(n, chance), at `LEVEL`.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection

from scipy import special

LEVEL = 0.01
"""A model is better than chance if chance would be right as often with at most this probability."""


@dataclasses.dataclass
class Answers:
    """Labels and first choices of images, counted.

    Attributes:
        classes: of the model.
        images: all, with labels or without.
        first: images by first choice, all.
        labelled: images with labels.
        hits: those whose first choice is one of their labels.
        chosen: those by first choice.
        labels: those by label.
        sets: those by all their labels together.
        beside: those whose first choice is a label + d, by d of -1 and 1.
    """

    classes: int
    images: int = 0
    first: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    labelled: int = 0
    hits: int = 0
    chosen: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    labels: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)
    sets: collections.Counter[frozenset[int]] = dataclasses.field(default_factory=collections.Counter)
    beside: collections.Counter[int] = dataclasses.field(default_factory=collections.Counter)

    def add(self, label_ids: Collection[int], predicted: int) -> None:
        """Count one image."""
        self.images += 1
        self.first[predicted] += 1
        if label_ids:
            self.labelled += 1
            self.hits += predicted in label_ids
            self.chosen[predicted] += 1
            self.labels.update(set(label_ids))
            self.sets[frozenset(label_ids)] += 1
            self.beside.update(d for d in (-1, 1) if predicted - d in label_ids)

    @property
    def chance(self) -> float:
        """The accuracy of answers that have nothing to do with the labels."""
        if len(self.sets) == 1:
            return min(1.0, len(self.labels) / self.classes)
        return sum(self.chosen[k] * self.labels[k] for k in self.chosen) / self.labelled**2

    @property
    def p_value(self) -> float:
        """The probability that chance is right at least as often."""
        return at_least(self.hits, self.labelled, self.chance)

    @property
    def can_tell(self) -> bool:
        """Whether a model that is always right would be found better than chance with these labels."""
        if not self.labelled or self.classes < 2:
            return False
        if len(self.sets) == 1:
            perfect = self.chance
        else:
            # Of several labels the model's first choice may be any: the most frequent one is what chance knows best.
            best: collections.Counter[int] = collections.Counter()
            for labels, count in self.sets.items():
                best[max(labels, key=lambda k: (self.labels[k], k))] += count
            perfect = sum(best[k] * self.labels[k] for k in best) / self.labelled**2
        return at_least(self.labelled, self.labelled, perfect) <= LEVEL


def at_least(hits: int, n: int, share: float) -> float:
    """P(X >= hits) for X ~ Binomial(n, share), exactly.

    >>> round(at_least(8, 8, 0.5), 6)  # 1 / 256
    0.003906
    """
    return 1.0 if hits <= 0 else float(special.betainc(hits, n - hits + 1, share)) if share < 1 else 1.0

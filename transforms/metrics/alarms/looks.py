"""When an audit that reads its images in random order may stop, and what each look at it may spend.

At every look each check may alarm with a part of the audit's level, and may be found beyond or within its limit with a
part of the level of the 95 % intervals. The parts add up to the whole, so that by Bonferroni's inequality all looks
together are wrong as seldom as one, whatever their dependence, whatever the numbers of measurements.
"""

from __future__ import annotations

import math
from typing import NamedTuple

LEVEL_OF_INTERVALS = 0.025
"""One-sided, of the 95 % intervals by which a gate passes."""


class Look(NamedTuple):
    """A look at the images read so far.

    Attributes:
        share: of all images, in random order.
        of_rate: part of the audit's level, at which a model that is no worse than its baseline may fail.
        of_interval: part of `LEVEL_OF_INTERVALS`, at which a number may be taken to be on a side of its limit.
    """

    share: float
    of_rate: float
    of_interval: float

    @property
    def is_last(self) -> bool:
        """Whether everything is read."""
        return self.share >= 1


LOOKS = (
    Look(0.05, 0.10, 0.04),
    Look(0.10, 0.40, 0.80),
    Look(0.20, 0.05, 0.02),
    Look(0.40, 0.05, 0.02),
    Look(1.00, 0.40, 0.12),
)
"""What is spent where. Of an effect of e standard errors of the whole audit a tenth of the images shows e sqrt(0.1),
give or take sqrt(0.9) standard errors of its own (the tenth is drawn from the whole, without replacement). For 12 these
are 3.79 -+ 0.95, so that 95 % of the draws reach 2.23: the look at a tenth must decide at p = 0.013. It has 0.80 x
0.025 = 0.02, which 96.7 % reach, for what is not quite normal."""


LEAST_IMAGES = 20
"""Expected at a look: a share of the images is drawn one by one, and of 20 expected none comes once in e^20 draws."""


def planned(images: int, least_n: int) -> tuple[Look, ...]:
    """The looks at an audit of so many images.

    Those that would see fewer than `least_n` images, or than `LEAST_IMAGES`, are left out, and the next one has what
    they would have spent.
    """
    kept: list[Look] = []
    rate = interval = 0.0
    for look in LOOKS:
        rate, interval = rate + look.of_rate, interval + look.of_interval
        if look.is_last or look.share * images >= max(least_n, LEAST_IMAGES):
            kept.append(Look(look.share, rate, interval))
            rate = interval = 0.0
    return tuple(kept)


def unseen(n: int, room: float, span: float) -> float:
    """How often n images show none of a rare kind that would bring a mean to its limit: (1 - room / span)^n.

    A test of a mean knows nothing of what no image has shown. Images that differ by `span` bring the mean over its
    limit if they are room / span of all. That is the rule of three: Hanley and Lippman-Hand, JAMA 1983.

    Args:
        n: images.
        room: from the mean to its limit, above 0.
        span: greatest difference that an image can make; infinite where there is none, then 0 is returned.
    """
    if math.isinf(span):
        return 0.0
    return max(1.0 - room / span, 0.0) ** n if room > 0 else 1.0

"""What the measurements are asked for."""

from __future__ import annotations

import dataclasses

TARGETS = ("label",)
"""What the whole job and the loop explain: one row per image. Random weights never predict the label too."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a run of the bench.

    Attributes:
        quick: small work and few rounds: says that everything runs, not what it costs.
        trace: where a trace of the whole job goes, or None.
    """

    quick: bool = False
    trace: str | None = None

"""What the measurements are asked for."""

from __future__ import annotations

import dataclasses

TARGETS = ("label",)
"""What the whole job and the loop explain: one row per image. Random weights never predict the label too."""

INPUT = {"decoder": "tensorflow", "resampler": "tensorflow"}
"""How the whole job and its peers get their pixels: as `input` has it by default. The same to float32 rounding."""


@dataclasses.dataclass(frozen=True)
class Options:
    """Options of a run of the bench.

    Attributes:
        quick: small work and few rounds: says that everything runs, not what it costs.
        trace: where a trace of the whole job goes, or None.
        part: of a group that has parts (`groups.PARTS`), the one to measure; None for all.
        compute: what computes the model where the figures are of that (``explain.compute``); ``auto`` tries.
    """

    quick: bool = False
    trace: str | None = None
    part: str | None = None
    compute: str = "auto"

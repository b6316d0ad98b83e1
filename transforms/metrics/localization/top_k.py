"""Top-1 and Top-5: did the model know the class, and did it know it where its box is right?

    Top-k loc. = mean(box right and rank of the class <= k)
    Top-k gap  = mean(box right and rank of the class > k)

Russakovsky et al., IJCV 2015, arXiv:1409.0575. Numbers or arrays alike: a comparison of runs reads both from tables.
"""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import numpy.typing as npt

Numbers = TypeVar("Numbers", float, npt.NDArray[np.float64])

TOP = (1, 5)

TOP_COLUMNS = tuple(f"top{k}_{kind}" for k in TOP for kind in ("hit", "gap"))
"""What `top_k` gives."""

LABEL_COLUMNS = ("label_top1", "label_top5", "label_probability")
"""What `label_columns` gives."""


def top_k(hit: Numbers, rank: Numbers) -> dict[str, Numbers]:
    """Localization that also asks for the class, and what is lost by asking, for each k of `TOP`.

    Args:
        hit: 1 if the box is right, else 0; one or ``(N,)``.
        rank: of the class, 1 the model's first choice.

    Returns:
        ``topK_hit``: the box is right and the class is among the first K; ``topK_gap``: the box is right, the class is
        not. As `hit`.
    """
    found: dict[str, Numbers] = {}
    for k in TOP:
        found[f"top{k}_hit"] = hit * (rank <= k)
        found[f"top{k}_gap"] = hit * (rank > k)
    return found


def label_columns(rank: Numbers, probability: Numbers) -> dict[str, Numbers]:
    """Whether the model knew the label: among its first, among its first five, and its probability.

    Args:
        rank, probability: of the label; one or ``(N,)``.
    """
    # Times 1: a number where `rank` is one, an array where it is many.
    top1: Numbers = (rank <= 1) * 1.0  # type: ignore[assignment]
    top5: Numbers = (rank <= 5) * 1.0  # type: ignore[assignment]
    return {"label_top1": top1, "label_top5": top5, "label_probability": probability}

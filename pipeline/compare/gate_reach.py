"""What each rule of a gate could have seen, so that "inconclusive" is a number."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from heatbeam.compare import verdicts
from heatbeam.transforms.metrics import slicing


def of_rules(checks: Sequence[verdicts.Check]) -> tuple[verdicts.Reach, ...]:
    """One for each rule, in their order."""
    return tuple(_of_rule([one for one in checks if one.rule == rule]) for rule in sorted({c.rule for c in checks}))


def _of_rule(checks: Sequence[verdicts.Check]) -> verdicts.Reach:
    tested = [one for one in checks if not math.isnan(one.smallest_loss)]
    outcomes = [one.outcome for one in checks]
    worst = max(tested, key=lambda one: one.smallest_loss, default=None)
    losses = sorted(one.smallest_loss for one in tested)
    images = sorted(one.images for one in tested if not math.isnan(one.images))
    return verdicts.Reach(
        checks[0].rule, checks[0].metric, len(tested), outcomes.count("fail"), outcomes.count("inconclusive"),
        outcomes.count("pass"), _middle(losses), losses[-1] if losses else math.nan, worst.n if worst else 0,
        f"{worst.method}, {slicing.title(worst.slice_name, worst.slice_value)}" if worst else "",
        max(_numbers(one.see for one in tested), default=math.nan), _middle(images),
        images[-1] if images else math.nan,
    )  # fmt: skip


def _middle(rising: Sequence[float]) -> float:
    return rising[(len(rising) - 1) // 2] if rising else math.nan


def _numbers(values: Iterable[float]) -> list[float]:
    return [one for one in values if not math.isnan(one)]

"""What a measurement is: the ratio of two things measured alternately on the same work, and how it is written.

Machines share cores and change their clock, so absolute times do not carry over from one run to the next. Two things
measured in turn, A B A B, see the same machine: every figure is the median of the ratios of neighbours.
"""

from __future__ import annotations

import dataclasses
import gc
import json
import math
import pathlib
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Pair = tuple[float, float]
"""Seconds of ours and seconds of the reference, measured one after the other."""


@dataclasses.dataclass(frozen=True)
class Goal:
    """A bound of a ratio, itself included: at least `low`, at most `high`; one of them is None."""

    low: float | None = None
    high: float | None = None

    def is_met(self, ratio: float) -> bool:
        """Whether `ratio` keeps the bound; a ratio that is not a number does not."""
        if math.isnan(ratio):
            return False
        return (self.low is None or ratio >= self.low) and (self.high is None or ratio <= self.high)

    def __str__(self) -> str:
        return f">= {self.low:g}" if self.low is not None else f"<= {self.high:g}"


@dataclasses.dataclass(frozen=True)
class Figure:
    """One line of the table.

    Attributes:
        name: of the figure, unique in a run.
        ratio: median of the pairwise ratios.
        spread: the smallest and the greatest pairwise ratio.
        goal: its bound, or None for a figure that has none.
        how: what was divided by what, on which work.
        measured: absolute numbers behind it, by name with unit, such as ``ours_images_per_s``. They hold for this
            machine on this day only.
    """

    name: str
    ratio: float
    spread: tuple[float, float]
    goal: Goal | None
    how: str
    measured: Mapping[str, float | int | str] = dataclasses.field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is reached; None without a goal."""
        return None if self.goal is None else self.goal.is_met(self.ratio)

    def as_dict(self) -> dict[str, Any]:
        """JSON values; a number that is not finite is null."""
        return {
            "name": self.name,
            "ratio": _finite(self.ratio),
            "spread": [_finite(bound) for bound in self.spread],
            "goal": None if self.goal is None else str(self.goal),
            "met": self.met,
            "how": self.how,
            "measured": {key: _finite(v) if isinstance(v, float) else v for key, v in self.measured.items()},
        }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def from_dict(values: Mapping[str, Any]) -> Figure:
    """The figure that `Figure.as_dict` made `values` of."""
    goal = None
    if values["goal"] is not None:
        sign, bound = values["goal"].split()
        goal = Goal(low=float(bound)) if sign == ">=" else Goal(high=float(bound))
    ratio, *spread = (math.nan if v is None else v for v in (values["ratio"], *values["spread"]))
    return Figure(values["name"], ratio, (spread[0], spread[1]), goal, values["how"], values["measured"])


def seconds(action: Callable[[], object]) -> float:
    """Wall-clock seconds that `action` takes."""
    started = time.perf_counter()
    action()
    return time.perf_counter() - started


def alternate(ours: Callable[[], object], reference: Callable[[], object], rounds: int) -> list[Pair]:
    """Run both in turn, `rounds` times each; the seconds of each round.

    Each has run once before, unmeasured. Python's garbage is collected between rounds, not inside them.
    """
    ours()
    reference()
    pairs = []
    for _ in range(rounds):
        gc.collect()
        pairs.append((seconds(ours), seconds(reference)))
    return pairs


def cost(
    name: str, pairs: Sequence[Pair], goal: Goal | None, how: str, *, work: float = 1.0, unit: str = "images"
) -> Figure:
    """The figure "our time over the reference's time": 1.15 means 15 % longer.

    Args:
        name, goal, how: as in `Figure`.
        pairs: at least one.
        work: units of work in each measurement, for the absolute rates.
        unit: what the work is counted in.
    """
    return _figure(name, pairs, [a / b for a, b in pairs], goal, how, work, unit)


def speedup(
    name: str, pairs: Sequence[Pair], goal: Goal | None, how: str, *, work: float = 1.0, unit: str = "images"
) -> Figure:
    """The figure "the reference's time over our time": 3 means three times as fast. Arguments as in `cost`."""
    return _figure(name, pairs, [b / a for a, b in pairs], goal, how, work, unit)


def _figure(
    name: str, pairs: Sequence[Pair], ratios: list[float], goal: Goal | None, how: str, work: float, unit: str
) -> Figure:
    # A round that was disturbed has no ratio; what is left must speak for all.
    kept = [(pair, ratio) for pair, ratio in zip(pairs, ratios, strict=True) if math.isfinite(ratio)]
    if not kept:
        return Figure(name, math.nan, (math.nan, math.nan), goal, how)
    pairs, ratios = [pair for pair, _ in kept], [ratio for _, ratio in kept]
    ours, reference = (statistics.median(side) for side in zip(*pairs, strict=True))
    measured = {f"ours_{unit}_per_s": work / ours, f"reference_{unit}_per_s": work / reference, "rounds": len(pairs)}
    return Figure(name, statistics.median(ratios), (min(ratios), max(ratios)), goal, how, measured)


def single(name: str, ratio: float, goal: Goal | None, how: str, **measured: float | str) -> Figure:
    """A figure that is counted, not timed, so that it has no spread: bytes, for instance."""
    return Figure(name, ratio, (ratio, ratio), goal, how, measured)


def table(figures: Sequence[Figure]) -> str:
    """The figures as text, one line each, and below them the numbers they were made of."""
    width = max([len(f.name) for f in figures], default=4)
    lines = [f"{'figure':<{width}} {'ratio':>9} {'from':>9} {'to':>9}  {'goal':<9} met"]
    for f in figures:
        met = {None: "", True: "yes", False: "NO"}[f.met]
        goal = "" if f.goal is None else str(f.goal)
        low, high = f.spread
        lines.append(f"{f.name:<{width}} {f.ratio:>9.3f} {low:>9.3f} {high:>9.3f}  {goal:<9} {met}".rstrip())
        lines += [f"{'':<4}{text}" for text in (f.how, _measured_text(f.measured)) if text]
    return "\n".join(lines) + "\n"


def _measured_text(measured: Mapping[str, float | int | str]) -> str:
    return ", ".join(f"{k} {v:.4g}" if isinstance(v, float) else f"{k} {v}" for k, v in measured.items())


def write_json(figures: Sequence[Figure], path: str) -> None:
    """The list of figures as a JSON file, in a folder that is made where it is missing."""
    pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
    with pathlib.Path(path).open("w", encoding="utf-8") as stream:
        json.dump([f.as_dict() for f in figures], stream, indent=2, allow_nan=False)
        stream.write("\n")


def read_json(path: str) -> list[Figure]:
    """What `write_json` wrote."""
    return [from_dict(values) for values in json.loads(pathlib.Path(path).read_text(encoding="utf-8"))]


def with_measured(figure: Figure, **measured: float | str) -> Figure:
    """`figure` with other absolute numbers."""
    return dataclasses.replace(figure, measured=measured)

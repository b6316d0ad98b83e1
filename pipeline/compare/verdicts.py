"""What a gate found: a check for every number and limit, what each rule could have seen, and the promise it kept."""

from __future__ import annotations

import dataclasses
import math
from typing import Any, Literal

from heatbeam.runs import decisions
from heatbeam.transforms.metrics.alarms import corrections

Outcome = Literal["pass", "fail", "inconclusive"]


@dataclasses.dataclass(frozen=True)
class Check:
    """One number held against one limit.

    Attributes:
        rule: number of the rule in the file, from 1.
        metric, method, slice_name, slice_value: the number.
        kind: ``lower``, ``upper``, ``change`` or ``missing``.
        outcome: see the module.
        fails: whether the gate fails by it.
        value, value_lower, value_upper, n: the number (a change: candidate - baseline); NaN where there is none.
        limit: the bound, or the allowed change for the worse.
        message: all of it in words.
        test: which test was made of it (see `gate_tests`); empty where none was.
        p_value: of "within what is allowed"; NaN where the gate makes no promise or there is no test.
        adjusted: that, corrected for all checks of the gate; what the promise is judged by.
        smallest_loss: that would have been seen with 80 % power; of a bound, beyond it. Infinite where none would, NaN
            where nothing was tested.
        see: the loss that the rule wants to see; NaN where it names none.
        images: how many images that takes; NaN without one.
    """

    rule: int
    metric: str
    method: str
    slice_name: str
    slice_value: str
    kind: str
    outcome: Outcome
    fails: bool
    value: float
    value_lower: float
    value_upper: float
    n: int
    limit: float
    message: str
    test: str = ""
    p_value: float = math.nan
    adjusted: float = math.nan
    smallest_loss: float = math.nan
    see: float = math.nan
    images: float = math.nan


@dataclasses.dataclass(frozen=True)
class Promise:
    """What a gate promised of its false alarms, and how it was kept.

    Attributes:
        rate, audits, correct: as the gate says.
        level: of this audit; an adjusted p-value up to it is an alarm.
        tested: checks that were tested together.
        untested: checks that were judged without a test, by `judge: value`: the promise says nothing of them.
    """

    rate: float
    audits: int
    correct: corrections.Correction
    level: float
    tested: int
    untested: int

    def sentence(self) -> str:
        """In words."""
        years = "the years" if self.audits == 52 else "such schedules" if self.audits > 1 else "cases"
        schedule = f"{self.audits:,} audits" if self.audits > 1 else "one audit"
        how = {"holm": "Holm", "benjamini_hochberg": "Benjamini-Hochberg"}[self.correct]
        said = (
            f"of {schedule} of equal models any fails in at most {self.rate:.3g} of {years}"
            f" ({how} over {self.tested:,} checks at {self.level:.2g})"
        )
        if self.untested:
            said += f"; {self.untested:,} checks are judged by their value, of which nothing is promised"
        return said


@dataclasses.dataclass(frozen=True)
class Reach:
    """What the checks of one rule could have seen with 80 % power; NaN where nothing was tested.

    Attributes:
        rule: its number in the file, from 1.
        metric: of the rule.
        tested: checks with a test.
        failed, inconclusive, passed: checks of the rule by outcome.
        loss_in_half, loss_in_all: the smallest loss that half of the tested checks, and all, would have shown; of a
            bound, beyond it. Infinite where the images are too few for any.
        least_n: measurements of the check that sees least.
        worst: that check's method and slice.
        see: the loss that the rule wants to see, the greatest of its checks; NaN where it names none.
        images_in_half, images_in_all: how many images that takes in half of the tested checks, and in all.
    """

    rule: int
    metric: str
    tested: int
    failed: int
    inconclusive: int
    passed: int
    loss_in_half: float
    loss_in_all: float
    least_n: int
    worst: str
    see: float
    images_in_half: float
    images_in_all: float

    def sentence(self) -> str:
        """In words; empty where nothing was tested."""
        if not self.tested:
            return ""
        n = f"{self.least_n:,} images"
        half, every = f"{self.loss_in_half:.3g}", f"{self.loss_in_all:.3g}"
        if math.isinf(self.loss_in_half):
            said = f"no loss could have been seen (least: {self.worst}, {n})"
        elif self.tested == 1:
            said = f"with {n} a loss of {every} would have been seen"
        else:
            in_all = f"of {every} in all" if math.isfinite(self.loss_in_all) else "none in all"
            said = (
                f"a loss of {half} would have been seen in half of the {self.tested:,} checks, {in_all}"
                f" (least: {self.worst}, {n})"
            )
        if math.isfinite(self.see) and math.isfinite(self.images_in_all):
            half, every = f"{self.images_in_half:,.0f}", f"{self.images_in_all:,.0f}"
            images = f"{every} images" if half == every else f"{half} images each in half of them, {every} in all"
            said += f"; a loss of {self.see:.3g} takes {images}"
        return said


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of a gate.

    Attributes:
        checks: in the order of the rules.
        candidate, baseline: paths of the runs; `baseline` is empty without one.
        promise: of its false alarms; None where the gate makes none.
        reach: what each rule could have seen.
        looks: of an audit that may stop early, in order; the last one decided.
    """

    checks: tuple[Check, ...]
    candidate: str
    baseline: str
    promise: Promise | None = None
    reach: tuple[Reach, ...] = ()
    looks: tuple[decisions.Taken, ...] = ()

    @property
    def passed(self) -> bool:
        """Whether no check fails."""
        return not any(check.fails for check in self.checks)

    def count(self, outcome: Outcome) -> int:
        """Checks with an outcome."""
        return sum(check.outcome == outcome for check in self.checks)


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """Plain values for JSON; a number that does not exist, or is infinite, is None."""
    return {
        "format": "heatbeam-verdict",
        "format_version": 1,
        "verdict": "pass" if verdict.passed else "fail",
        "candidate": verdict.candidate,
        "baseline": verdict.baseline or None,
        "counts": {outcome: verdict.count(outcome) for outcome in ("pass", "fail", "inconclusive")},
        "false_alarms": dataclasses.asdict(verdict.promise) if verdict.promise else None,
        **({"looks": [one._asdict() for one in verdict.looks]} if verdict.looks else {}),
        "rules": [plain(dataclasses.asdict(one)) for one in verdict.reach],
        "checks": [plain(dataclasses.asdict(check)) for check in verdict.checks],
    }


def plain(fields: dict[str, Any]) -> dict[str, Any]:
    """Values for JSON: a number that does not exist, or is infinite, is None."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields.items()
    }

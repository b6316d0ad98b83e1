"""The checks of a gate decided together, so that its false alarms are those that it promises."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from heatbeam.compare import gate_reach, gate_rules, gate_tests, verdicts
from heatbeam.transforms.metrics.alarms import corrections, looks


@dataclasses.dataclass(frozen=True, eq=False)
class Judged:
    """A check as its own interval or value judges it.

    Attributes:
        check: with the outcome of its interval.
        said: its message without the reason of the outcome.
        question: what a test asks; None of what is missing.
        too_few: whether it has fewer measurements than the rule wants.
        by_value: whether the rule looks at no interval.
        see: the loss that the rule wants to see; NaN if none.
    """

    check: verdicts.Check
    said: str
    question: gate_tests.Question | None = None
    too_few: bool = False
    by_value: bool = False
    see: float = math.nan


def decide(
    gate: gate_rules.Gate, judged: Sequence[Judged]
) -> tuple[tuple[verdicts.Check, ...], verdicts.Promise | None, tuple[verdicts.Reach, ...]]:
    """Every check with its outcome and what it could have seen, the promise, and what each rule could have seen."""
    tested = [i for i, one in enumerate(judged) if has_test(one)]
    promised = gate.false_alarms
    checks = [one.check for one in judged]
    promise = None
    level = looks.LEVEL_OF_INTERVALS
    if promised is not None:
        level = corrections.of_one_audit(promised.rate, promised.audits)
        untested = sum(one.by_value and not one.too_few for one in judged)
        promise = verdicts.Promise(promised.rate, promised.audits, promised.correct, level, len(tested), untested)
    for i in tested:
        # The step that the surest of equal models meets first; what comes after it may be seen a little sooner.
        checks[i] = with_reach(judged[i], level / len(tested) if promise else level)
    if promise is not None:
        p = gate_tests.p_values([question for i in tested if (question := judged[i].question) is not None])
        for i, one, corrected in zip(
            tested, p.tolist(), corrections.adjusted(p, promise.correct).tolist(), strict=True
        ):
            checks[i] = _decided(checks[i], judged[i].said, one, corrected, promise)
        for i in set(range(len(judged))) - set(tested):
            checks[i] = untested_check(judged[i])
    return tuple(checks), promise, gate_reach.of_rules(checks)


def has_test(one: Judged) -> bool:
    """Whether a check is decided by a p-value."""
    return one.question is not None and one.question.test != "" and not one.too_few and not one.by_value


def with_reach(one: Judged, level: float) -> verdicts.Check:
    """The check with its test, and with what that could have seen at a level."""
    assert one.question is not None
    images = one.question.images_for(one.see, level) if not math.isnan(one.see) else math.nan
    return dataclasses.replace(
        one.check, test=one.question.test, smallest_loss=one.question.smallest_loss(level), see=one.see, images=images
    )


def _decided(
    check: verdicts.Check, said: str, p_value: float, adjusted: float, promise: verdicts.Promise
) -> verdicts.Check:
    outcome: verdicts.Outcome = "pass"
    reason = ""
    if adjusted <= promise.level:
        outcome, reason = "fail", f" (p {p_value:.2g}; {adjusted:.2g} among {promise.tested:,} checks)"
    elif check.outcome != "pass":
        outcome = "inconclusive"
        among = f"; noise goes as far among {promise.tested:,} checks" if check.outcome == "fail" else ""
        reason = f" (p {p_value:.2g}{among}; {needed(check)})"
    return dataclasses.replace(
        check, outcome=outcome, fails=outcome == "fail", message=said + reason, p_value=p_value, adjusted=adjusted
    )


def needed(check: verdicts.Check) -> str:
    """What a check that cannot tell could have seen, in words."""
    beyond = " beyond the bound" if check.kind != "change" else ""
    said = f"a loss of {check.smallest_loss:.3g}{beyond} would have been seen"
    if math.isinf(check.smallest_loss):
        said = f"{check.n:,} images are too few for any loss to be seen"
    if math.isfinite(check.images):
        said += f", one of {check.see:.3g} takes {math.ceil(check.images):,} images"
    return said


def untested_check(one: Judged) -> verdicts.Check:
    """A number without an interval cannot be told from noise, so it must not be an alarm unless the rule says so."""
    if one.question is None or one.too_few or one.by_value:
        return one.check
    reason = (
        " (there is no interval, so nothing says how far noise goes; judge: value would judge it without a promise)"
    )
    return dataclasses.replace(one.check, outcome="inconclusive", fails=False, message=one.said + reason)

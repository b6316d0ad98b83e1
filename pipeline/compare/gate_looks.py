"""The checks of a gate decided on the images read so far, so that all looks together keep the gate's promise.

A check
    * fails where its p-value for "no worse than the baseline" (a bound: "within the bound"), corrected for all checks,
      is within the look's part of the audit's level, and its p-value for "within what is allowed" within the look's
      part of the level of the intervals. When everything is read, the first is the gate's own, for "within what is
      allowed", and decides alone.
    * passes where its p-value for "beyond what is allowed" is within the look's part of the level of the intervals.
    * is inconclusive else, which at any look but the last means: read on.

A model that is as good as its baseline fails in any look of an audit at most at the audit's level, as in an audit that
reads everything. One whose loss is just what is allowed is told to fail by an early look in 2.2 % of the audits at
most, for each check: there, an audit that reads everything has the level of the promise.

Formulas: `transforms.metrics.alarms`.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from heatbeam.compare import gate_decisions, gate_rules, gate_tests, map_pairs, verdicts
from heatbeam.compare.gate_reach import of_rules
from heatbeam.transforms.metrics import registry
from heatbeam.transforms.metrics.alarms import corrections, looks


def decide(
    gate: gate_rules.Gate, judged: Sequence[gate_decisions.Judged], look: looks.Look
) -> tuple[tuple[verdicts.Check, ...], verdicts.Promise, tuple[verdicts.Reach, ...]]:
    """As `gate_decisions.decide`, of a gate that makes a promise."""
    promised = gate.false_alarms
    assert promised is not None
    level = corrections.of_one_audit(promised.rate, promised.audits) * look.of_rate
    tested = [i for i, one in enumerate(judged) if gate_decisions.has_test(one)]
    untested = sum(one.by_value and not one.too_few for one in judged)
    promise = verdicts.Promise(promised.rate, promised.audits, promised.correct, level, len(tested), untested)
    questions = [question for i in tested if (question := judged[i].question) is not None]
    limits = [one.limit if look.is_last or not one.change else 0.0 for one in questions]
    alarm = gate_tests.p_values([dataclasses.replace(q, limit=a) for q, a in zip(questions, limits, strict=True)])
    adjusted = corrections.adjusted(alarm, promise.correct).tolist()
    beyond = gate_tests.p_values(questions).tolist()
    checks = [_unread(one, look) for one in judged]
    for i, question, *p in zip(tested, questions, alarm.tolist(), adjusted, beyond, strict=True):
        checks[i] = _decided(judged[i], question, tuple(p), promise, look)
    return tuple(checks), promise, of_rules(checks)


def is_decided(checks: Sequence[verdicts.Check]) -> bool:
    """Whether the gate's verdict is certain enough to stop: one check fails, or all pass."""
    return any(one.fails for one in checks) or all(one.outcome == "pass" for one in checks)


def _unread(one: gate_decisions.Judged, look: looks.Look) -> verdicts.Check:
    """What has no test: what is missing or rare among the images read so far may be there in the others."""
    if look.is_last:
        return one.check if gate_decisions.has_test(one) else gate_decisions.untested_check(one)
    return dataclasses.replace(one.check, outcome="inconclusive", fails=False)


def _decided(
    one: gate_decisions.Judged,
    question: gate_tests.Question,
    p: tuple[float, ...],
    promise: verdicts.Promise,
    look: looks.Look,
) -> verdicts.Check:
    """A check with its outcome; `p` of no loss, the same corrected, and of a loss within what is allowed."""
    alarm, adjusted, beyond = p
    sure = looks.LEVEL_OF_INTERVALS * look.of_interval
    within = question.p_within()
    if not look.is_last:
        span = _span(one.check.metric)
        beyond = max(beyond, _unseen(question, -1.0, span))
        within = max(within, _unseen(question, 1.0, span))
    outcome: verdicts.Outcome = "inconclusive"
    if adjusted <= promise.level and (look.is_last or beyond <= sure):
        outcome = "fail"
    elif within <= sure:
        outcome = "pass"
    check = gate_decisions.with_reach(one, promise.level / promise.tested)
    reason = {
        "fail": f" (p {alarm:.2g}; {adjusted:.2g} among {promise.tested:,} checks)",
        "inconclusive": f" (p {alarm:.2g}; {gate_decisions.needed(check)})",
        "pass": f" (p {within:.2g} of a loss beyond)",
    }[outcome]
    return dataclasses.replace(
        check, outcome=outcome, fails=outcome == "fail", message=one.said + reason, p_value=alarm, adjusted=adjusted
    )


def _unseen(question: gate_tests.Question, side: float, span: float) -> float:
    """Chance that what would bring the number to the other side of its limit was not among the images read.

    Args:
        question: of the check.
        side: 1 where the number seems within its limit, -1 where it seems beyond.
        span: of the values of its metric.
    """
    if math.isinf(span) and not question.deviation() > 0:
        return 1.0  # nothing differs yet, and nothing says by how much an image could
    value, n = question.mean.value, question.mean.n
    offsets = [sign * value - question.limit if question.change else sign * (value - question.limit)
               for sign in question.signs]  # fmt: skip
    # A difference may be as great as the span, to either side, and lies so much farther from the mean of the others.
    farthest = span + abs(value) if question.change else span
    return looks.unseen(n, -side * max(offsets), farthest)


def _span(metric: str) -> float:
    """The greatest difference between two values of a metric; infinite where its range does not say."""
    if metric == "map_centroid_shift":
        return math.sqrt(3)  # from corner to corner of a volume
    if metric in map_pairs.BINS:
        low, high = map_pairs.BINS[metric]
        return high - low
    known = registry.described(metric)
    text = known.range if known is not None else "[0, 1]"
    try:
        first, last = (float(part) for part in text.strip("[]()").split(","))
    except ValueError:
        return math.inf
    return last - first

"""A gate: bounds and allowed changes that a run must keep, judged by intervals, for a schedule to decide on.

Every check ends in one of three ways:
    * ``pass``: the whole 95 % interval keeps the limit (or the value does, where there is no interval).
    * ``fail``: the whole interval breaks it, or what the rule asks for is not there.
    * ``inconclusive``: the limit lies inside the interval, or there are fewer than ``min_n`` measurements: a change
      within noise, or an audit too small to tell. The gate's setting ``inconclusive`` makes it a warning or a failure.

A gate that promises how seldom it fails on equal models (``false_alarms``) has all checks decided together
(`gate_decisions`): one fails if its p-value is small enough among all of them, and passes if its interval keeps the
limit.

Limits are inclusive. An allowed change is a change for the worse, of ``absolute`` size or ``relative`` to the
baseline's value; both must be kept where both are given. Set it above what the audit can resolve: with an allowed
change of 0 only identical or clearly better numbers pass.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping

from heatbeam import config
from heatbeam.compare import compare, gate_decisions, gate_looks, gate_rules, gate_tests, verdicts
from heatbeam.runs import run_directory, run_methods, summaries
from heatbeam.transforms.metrics import paired, slicing
from heatbeam.transforms.metrics.alarms import looks

Key = tuple[str, str, str, str]
"""``(method, slice_name, slice_value, metric)``."""

Numbers = Mapping[Key, paired.Mean]

_SIGNS = {"higher": (-1.0,), "lower": (1.0,), "either": (1.0, -1.0)}
"""What makes more of a number a loss, by the direction that is better."""

_ROUNDING = 1e-9
"""0.5 - 0.48 is a little more than 0.02 in floating point; limits are inclusive."""


def judge(
    gate: gate_rules.Gate,
    candidate_path: str,
    comparison: compare.Comparison | None = None,
    look: looks.Look | None = None,
) -> verdicts.Verdict:
    """Hold a finished run, and its comparison with a baseline where there is one, against a gate.

    `look` is given where the candidate is read in parts (`gate_looks`).

    Raises:
        run_directory.RunDirectoryError: if a run is not finished.
        config.ConfigError: if a rule asks for a change and there is no baseline, or for a direction nobody knows.
    """
    run = run_directory.RunDirectory(candidate_path)
    candidate, controls = summaries.read(run), run_methods.controls(run.read_manifest())
    before = summaries.read(run_directory.RunDirectory(comparison.baseline)) if comparison else {}
    return evaluate_gate(gate, candidate, before, comparison, candidate_path, controls, look)


def evaluate_gate(
    gate: gate_rules.Gate,
    candidate: Numbers,
    baseline: Numbers,
    comparison: compare.Comparison | None,
    candidate_path: str = "",
    controls: frozenset[str] = frozenset(),
    look: looks.Look | None = None,
) -> verdicts.Verdict:
    """As `judge`, from the numbers of both summaries (`summaries.read`); `baseline` is empty without one.

    `controls` are the candidate's methods that are baselines, beside those that the comparison knows.
    """
    _check_usable(gate, comparison)
    numbers = dict(candidate)
    if comparison is not None:
        for row in comparison.agreements:
            numbers[row.method, row.slice_name, row.slice_value, row.measure] = paired.Mean(
                row.value, row.n, row.lower, row.upper, "none" if math.isnan(row.lower) else "bootstrap"
            )
    judged = _Judge(gate, numbers, {*numbers, *baseline}, comparison, controls)
    each = [one for number, rule in enumerate(gate.rules, 1) for one in judged.checks(number, rule)]
    checks, promise, reach = gate_decisions.decide(gate, each) if look is None else gate_looks.decide(gate, each, look)
    return verdicts.Verdict(checks, candidate_path, comparison.baseline if comparison else "", promise, reach)


def _check_usable(gate: gate_rules.Gate, comparison: compare.Comparison | None) -> None:
    problems = []
    for number, rule in enumerate(gate.rules):
        if rule.change is None:
            continue
        if comparison is None:
            problems.append(f"rules.{number}.change: there is no baseline to compare with; use heatbeam compare")
        if rule.change.direction == "auto" and compare.better(rule.metric) == "none":
            problems.append(
                f"rules.{number}.change.direction: nobody knows which direction of {rule.metric} is better;"
                " give higher, lower or either"
            )
    if problems:
        raise config.ConfigError(problems, "gate")


class _Judge:
    """Turns rules into checks."""

    def __init__(
        self,
        gate: gate_rules.Gate,
        numbers: Numbers,
        known: Iterable[Key],
        comparison: compare.Comparison | None,
        controls: frozenset[str],
    ) -> None:
        self._gate = gate
        self._controls = controls | (comparison.controls if comparison else frozenset())
        self._numbers = numbers
        self._incomparable = comparison.incomparable if comparison else ()
        self._has_pairs = comparison is None or not comparison.different_images
        rows = comparison.differences if comparison else ()
        self._changes = {(row.method, row.slice_name, row.slice_value, row.metric): row for row in rows}
        self._samples = comparison.samples if comparison else {}
        self._known = sorted({*known, *self._changes})

    def checks(self, number: int, rule: gate_rules.Rule) -> Iterator[gate_decisions.Judged]:
        """Every check of one rule."""
        for key in self._keys(rule):
            if rule.lower is not None or rule.upper is not None:
                yield from self._bounds(number, rule, key)
            if rule.change is not None:
                yield self._change(number, rule, key)

    def _keys(self, rule: gate_rules.Rule) -> Iterator[Key]:
        """What the rule is about; where nothing fits, the names as they stand, which are then missing."""
        have = [key for key in self._known if key[3] == rule.metric]
        every = sorted({key[0] for key in have if not run_methods.is_baseline(key[0], self._controls)}) or ["*"]
        for method in dict.fromkeys(m for name in rule.method for m in (every if name == "*" else [name])):
            for wanted in rule.slice:
                name, value = slicing.parse(wanted)
                if value is not None:
                    yield method, name, value, rule.metric
                    continue
                values = sorted({key[2] for key in have if key[0] == method and key[1] == name}) or ["*"]
                yield from ((method, name, one, rule.metric) for one in values)

    def _bounds(self, number: int, rule: gate_rules.Rule, key: Key) -> Iterator[gate_decisions.Judged]:
        mean = self._numbers.get(key)
        if mean is None or math.isnan(mean.value):
            if rule.metric in compare.MEASURES and not self._has_pairs:
                # Nothing is known, and nothing is wrong.
                why = "the runs are over different images, so there are no pairs to tell it by"
                yield self._missing(number, rule, key, why, "inconclusive")
            else:
                why = "there is no such number in the candidate" if mean is None else "nothing could be measured"
                yield self._missing(number, rule, key, why)
            return
        for kind, limit, sign in (("lower", rule.lower, 1.0), ("upper", rule.upper, -1.0)):
            if limit is None:
                continue
            # A loss of at most 0: how far the number is on the wrong side of its bound.
            ends = sorted((sign * (limit - mean.lower), sign * (limit - mean.upper)))
            outcome, reason = self._outcome(rule, mean, sign * (limit - mean.value), ends, 0.0)
            said = f"{_place(key)} is {_shown(mean)}; {'at least' if kind == 'lower' else 'at most'} {limit:g}"
            sample = self._samples.get(key) if rule.metric in compare.MEASURES else None
            # The summary has Student's intervals for single classes, where it keeps no replicates.
            question = gate_tests.Question(mean, (-sign,), limit, False, sample, key[1] == slicing.CLASS)
            check = self._check(number, rule, key, kind, outcome, mean, limit, said + reason)
            yield self._judged(rule, check, said, question, rule.see)

    def _change(self, number: int, rule: gate_rules.Rule, key: Key) -> gate_decisions.Judged:
        assert rule.change is not None
        if self._incomparable:
            return self._missing(number, rule, key, f"the runs are not comparable: {self._incomparable[0]}")
        row = self._changes.get(key)
        if row is None or math.isnan(row.difference):
            return self._missing(number, rule, key, "the number is not in both runs")
        mean = paired.Mean(row.difference, row.n, row.lower, row.upper, row.interval)
        direction = row.better if rule.change.direction == "auto" else rule.change.direction
        worse, ends = _worsening(mean, direction)
        limit = _allowed(rule.change, row.baseline)
        outcome, reason = self._outcome(rule, mean, worse, ends, limit)
        better = "no direction is better" if direction == "either" else f"{direction} is better"
        said = (
            f"{_place(key)} goes from {row.baseline:.4g} to {row.candidate:.4g}, a change of {_shown(mean)};"
            f" {limit:.4g} for the worse is allowed, {better}"
        )
        check = self._check(number, rule, key, "change", outcome, mean, limit, said + reason)
        # Of two summaries that have Student's intervals (as `_bounds`) so has their difference, with at least as many
        # degrees of freedom as the smaller one's.
        student = row.interval == "unpaired" and key[1] == slicing.CLASS
        question = gate_tests.Question(mean, _SIGNS[direction], limit, True, self._samples.get(key), student)
        return self._judged(rule, check, said, question, rule.see or 2 * limit or None)

    def _judged(
        self, rule: gate_rules.Rule, check: verdicts.Check, said: str, question: gate_tests.Question, see: float | None
    ) -> gate_decisions.Judged:
        too_few = check.n < self._least_n(rule)
        return gate_decisions.Judged(
            check, said, question, too_few, rule.judge == "value", math.nan if see is None else see
        )

    def _least_n(self, rule: gate_rules.Rule) -> int:
        return self._gate.min_n if rule.min_n is None else rule.min_n

    def _outcome(
        self, rule: gate_rules.Rule, mean: paired.Mean, loss: float, ends: Iterable[float], allowed: float
    ) -> tuple[verdicts.Outcome, str]:
        """The outcome of a loss, with the ends of its interval, where so much is allowed; and why."""
        least, most = ends
        allowed += _ROUNDING
        smallest = self._least_n(rule)
        if mean.n < smallest:
            return "inconclusive", f" (too few to tell: {mean.n} of {smallest} measurements)"
        if rule.judge == "value" or math.isnan(least) or math.isnan(most):
            reason = "" if rule.judge == "value" else " (there is no interval; judged by the value)"
            return ("pass" if loss <= allowed else "fail"), reason
        if most <= allowed:
            return "pass", ""
        if least > allowed:
            return "fail", ""
        # The half width shrinks with the root of n: how many measurements would clear the limit.
        gap = abs(allowed - loss)
        half = most - loss if loss <= allowed else loss - least
        if gap < half / 100:
            return "inconclusive", " (within noise)"
        return (
            "inconclusive",
            f" (within noise; about {math.ceil(mean.n * (half / gap) ** 2):,} measurements would tell)",
        )

    def _check(
        self,
        number: int,
        rule: gate_rules.Rule,
        key: Key,
        kind: str,
        outcome: verdicts.Outcome,
        mean: paired.Mean,
        limit: float,
        said: str,
    ) -> verdicts.Check:
        strict = (rule.inconclusive or self._gate.inconclusive) == "fail"
        fails = outcome == "fail" or (outcome == "inconclusive" and strict)
        method, name, value, metric = key
        return verdicts.Check(
            number, metric, method, name, value, kind, outcome, fails, mean.value, mean.lower, mean.upper, mean.n,
            limit, said,
        )  # fmt: skip

    def _missing(
        self, number: int, rule: gate_rules.Rule, key: Key, why: str, outcome: verdicts.Outcome = "fail"
    ) -> gate_decisions.Judged:
        nothing = paired.Mean(math.nan, 0, math.nan, math.nan, "none")
        said = f"{_place(key)}: {why}"
        return gate_decisions.Judged(self._check(number, rule, key, "missing", outcome, nothing, math.nan, said), said)


def _worsening(change: paired.Mean, direction: str) -> tuple[float, tuple[float, float]]:
    """How much worse a change makes a number, and the ends of that: positive is worse."""
    if direction == "higher":
        return -change.value, (-change.upper, -change.lower)
    if direction == "lower":
        return change.value, (change.lower, change.upper)
    nearest = max(change.lower, -change.upper, 0.0) if not math.isnan(change.lower) else math.nan
    return abs(change.value), (nearest, max(-change.lower, change.upper))


def _allowed(rule: gate_rules.ChangeRule, baseline: float) -> float:
    limits = [] if rule.absolute is None else [rule.absolute]
    return min([*limits, rule.relative * abs(baseline)] if rule.relative is not None else limits)


def _place(key: Key) -> str:
    method, name, value, metric = key
    return f"{metric} of {method}, {name if name == 'all' else f'{name}={value}'}"


def _shown(mean: paired.Mean) -> str:
    ends = "" if math.isnan(mean.lower) else f" ({mean.lower:.4g} to {mean.upper:.4g})"
    return f"{mean.value:.4g}{ends}"

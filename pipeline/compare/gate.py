"""A gate: bounds and allowed changes that a run must keep, judged by intervals, for a schedule to decide on.

Every check ends in one of three ways:
    * ``pass``: the whole 95 % interval keeps the limit (or the value does, where there is no interval).
    * ``fail``: the whole interval breaks it, or what the rule asks for is not there.
    * ``inconclusive``: the limit lies inside the interval, or there are fewer than ``min_n`` measurements: a change
      within noise, or an audit too small to tell. The gate's setting ``inconclusive`` makes it a warning or a failure.

Limits are inclusive. An allowed change is a change for the worse, of ``absolute`` size or ``relative`` to the
baseline's value; both must be kept where both are given. Set it above what the audit can resolve: with an allowed
change of 0 only identical or clearly better numbers pass.
"""

from __future__ import annotations

import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Annotated, Any, Literal

import pydantic

from heatbeam import config
from heatbeam.compare import compare
from heatbeam.config import yaml_text
from heatbeam.runs import run_directory, run_methods, summaries
from heatbeam.transforms.metrics import paired, slicing

Key = tuple[str, str, str, str]
"""``(method, slice_name, slice_value, metric)``."""

Numbers = Mapping[Key, paired.Mean]
Outcome = Literal["pass", "fail", "inconclusive"]

_ROUNDING = 1e-9
"""0.5 - 0.48 is a little more than 0.02 in floating point; limits are inclusive."""


class _Section(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid", frozen=True)


_Allowed = Annotated[float, pydantic.Field(ge=0, allow_inf_nan=False)]
_Bound = Annotated[float, pydantic.Field(allow_inf_nan=False)]
_Count = Annotated[int, pydantic.Field(ge=0)]
_Names = Annotated[
    tuple[Annotated[str, pydantic.Field(min_length=1)], ...],
    pydantic.BeforeValidator(lambda value: (value,) if isinstance(value, str) else value),
    pydantic.Field(min_length=1),
]


class ChangeRule(_Section):
    """How much worse than in the baseline a number may be."""

    absolute: _Allowed | None = pydantic.Field(None, description="in units of the metric")
    relative: _Allowed | None = pydantic.Field(None, description="as a share of the baseline's value")
    direction: Literal["auto", "higher", "lower", "either"] = pydantic.Field(
        "auto", description="which is better; auto asks the metric, either allows no change in any direction"
    )

    @pydantic.model_validator(mode="after")
    def _one(self) -> ChangeRule:
        if self.absolute is None and self.relative is None:
            raise ValueError("give absolute, relative or both")
        return self


class Rule(_Section):
    """What one metric must keep, for some methods and slices."""

    metric: str
    method: _Names = pydantic.Field(
        ("*",), description="names; * is every method that has the metric, baseline maps and random_cam left out"
    )
    slice: _Names = pydantic.Field(
        ("all",), description="all, a slice with its value (class=cat), or a slice (class) for every value"
    )
    lower: _Bound | None = pydantic.Field(None, description="the number must not be below")
    upper: _Bound | None = pydantic.Field(None, description="the number must not be above")
    change: ChangeRule | None = None
    judge: Literal["interval", "value"] = pydantic.Field("interval", description="value looks at no interval")
    min_n: _Count | None = pydantic.Field(None, description="instead of the gate's")
    inconclusive: Literal["warn", "fail"] | None = pydantic.Field(None, description="instead of the gate's")

    @pydantic.model_validator(mode="after")
    def _something(self) -> Rule:
        if self.lower is None and self.upper is None and self.change is None:
            raise ValueError("give lower, upper or change")
        if self.lower is not None and self.upper is not None and self.lower > self.upper:
            raise ValueError(f"lower is {self.lower} and upper is {self.upper}; nothing can be between")
        return self


class Gate(_Section):
    """A whole gate file."""

    min_n: _Count = pydantic.Field(30, description="with fewer measurements a number is inconclusive")
    inconclusive: Literal["warn", "fail"] = "warn"
    rules: Annotated[tuple[Rule, ...], pydantic.Field(min_length=1)]


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


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The outcome of a gate.

    Attributes:
        checks: in the order of the rules.
        candidate, baseline: paths of the runs; `baseline` is empty without one.
    """

    checks: tuple[Check, ...]
    candidate: str
    baseline: str

    @property
    def passed(self) -> bool:
        """Whether no check fails."""
        return not any(check.fails for check in self.checks)

    def count(self, outcome: Outcome) -> int:
        """Checks with an outcome."""
        return sum(check.outcome == outcome for check in self.checks)


def load(path: str | os.PathLike[str]) -> Gate:
    """The gate in a YAML file.

    Raises:
        config.ConfigError: the file cannot be read, or anything in it is wrong; all problems at once.
    """
    try:
        content, wrong = yaml_text.read(pathlib.Path(path).read_text(encoding="utf-8"))
    except UnicodeDecodeError as error:
        raise config.ConfigError([f"it is not UTF-8 text ({error})"], str(path)) from None
    except (OSError, ValueError) as error:
        raise config.ConfigError([" ".join(str(error).split())], str(path)) from None
    if wrong:
        raise config.ConfigError(wrong, str(path))
    if not isinstance(content, dict):
        problem = f"the whole file: expected a mapping with rules, got {type(content).__name__}"
        raise config.ConfigError([problem], str(path))
    try:
        return Gate.model_validate(content)
    except pydantic.ValidationError as error:
        problems = list(config.describe_problems(error, Gate))
        # A rule with a mistake is left out and may leave none; that there is none then is no mistake of its own.
        own = [one for one in problems if not one.startswith("rules: ")]
        raise config.ConfigError(own or problems, str(path)) from None


def judge(gate: Gate, candidate_path: str, comparison: compare.Comparison | None = None) -> Verdict:
    """Hold a finished run, and its comparison with a baseline where there is one, against a gate.

    Raises:
        run_directory.RunDirectoryError: if a run is not finished.
        config.ConfigError: if a rule asks for a change and there is no baseline, or for a direction nobody knows.
    """
    run = run_directory.RunDirectory(candidate_path)
    candidate, controls = summaries.read(run), run_methods.controls(run.read_manifest())
    before = summaries.read(run_directory.RunDirectory(comparison.baseline)) if comparison else {}
    return evaluate_gate(gate, candidate, before, comparison, candidate_path, controls)


def evaluate_gate(
    gate: Gate,
    candidate: Numbers,
    baseline: Numbers,
    comparison: compare.Comparison | None,
    candidate_path: str = "",
    controls: frozenset[str] = frozenset(),
) -> Verdict:
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
    checks = tuple(check for number, rule in enumerate(gate.rules, 1) for check in judged.checks(number, rule))
    return Verdict(checks, candidate_path, comparison.baseline if comparison else "")


def _check_usable(gate: Gate, comparison: compare.Comparison | None) -> None:
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
        gate: Gate,
        numbers: Numbers,
        known: Iterable[Key],
        comparison: compare.Comparison | None,
        controls: frozenset[str],
    ) -> None:
        self._gate = gate
        self._controls = controls | (comparison.controls if comparison else frozenset())
        self._numbers = numbers
        self._incomparable = comparison.incomparable if comparison else ()
        rows = comparison.differences if comparison else ()
        self._changes = {(row.method, row.slice_name, row.slice_value, row.metric): row for row in rows}
        self._known = sorted({*known, *self._changes})

    def checks(self, number: int, rule: Rule) -> Iterator[Check]:
        """Every check of one rule."""
        for key in self._keys(rule):
            if rule.lower is not None or rule.upper is not None:
                yield from self._bounds(number, rule, key)
            if rule.change is not None:
                yield self._change(number, rule, key)

    def _keys(self, rule: Rule) -> Iterator[Key]:
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

    def _bounds(self, number: int, rule: Rule, key: Key) -> Iterator[Check]:
        mean = self._numbers.get(key)
        if mean is None or math.isnan(mean.value):
            why = "there is no such number in the candidate" if mean is None else "nothing could be measured"
            yield self._missing(number, key, why)
            return
        for kind, limit, sign in (("lower", rule.lower, 1.0), ("upper", rule.upper, -1.0)):
            if limit is None:
                continue
            # A loss of at most 0: how far the number is on the wrong side of its bound.
            ends = sorted((sign * (limit - mean.lower), sign * (limit - mean.upper)))
            outcome, reason = self._outcome(rule, mean, sign * (limit - mean.value), ends, 0.0)
            said = f"{_place(key)} is {_shown(mean)}; {'at least' if kind == 'lower' else 'at most'} {limit:g}{reason}"
            yield self._check(number, rule, key, kind, outcome, mean, limit, said)

    def _change(self, number: int, rule: Rule, key: Key) -> Check:
        assert rule.change is not None
        if self._incomparable:
            return self._missing(number, key, f"the runs are not comparable: {self._incomparable[0]}")
        row = self._changes.get(key)
        if row is None or math.isnan(row.difference):
            return self._missing(number, key, "the number is not in both runs")
        mean = paired.Mean(row.difference, row.n, row.lower, row.upper, row.interval)
        direction = row.better if rule.change.direction == "auto" else rule.change.direction
        worse, ends = _worsening(mean, direction)
        limit = _allowed(rule.change, row.baseline)
        outcome, reason = self._outcome(rule, mean, worse, ends, limit)
        better = "no direction is better" if direction == "either" else f"{direction} is better"
        said = (
            f"{_place(key)} goes from {row.baseline:.4g} to {row.candidate:.4g}, a change of {_shown(mean)};"
            f" {limit:.4g} for the worse is allowed, {better}{reason}"
        )
        return self._check(number, rule, key, "change", outcome, mean, limit, said)

    def _outcome(
        self, rule: Rule, mean: paired.Mean, loss: float, ends: Iterable[float], allowed: float
    ) -> tuple[Outcome, str]:
        """The outcome of a loss, with the ends of its interval, where so much is allowed; and why."""
        least, most = ends
        allowed += _ROUNDING
        smallest = self._gate.min_n if rule.min_n is None else rule.min_n
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
        self, number: int, rule: Rule, key: Key, kind: str, outcome: Outcome, mean: paired.Mean, limit: float, said: str
    ) -> Check:
        strict = (rule.inconclusive or self._gate.inconclusive) == "fail"
        fails = outcome == "fail" or (outcome == "inconclusive" and strict)
        method, name, value, metric = key
        return Check(
            number, metric, method, name, value, kind, outcome, fails, mean.value, mean.lower, mean.upper, mean.n,
            limit, said,
        )  # fmt: skip

    def _missing(self, number: int, key: Key, why: str) -> Check:
        method, name, value, metric = key
        nan = math.nan
        return Check(
            number, metric, method, name, value, "missing", "fail", True, nan, nan, nan, 0, nan, f"{_place(key)}: {why}"
        )


def _worsening(change: paired.Mean, direction: str) -> tuple[float, tuple[float, float]]:
    """How much worse a change makes a number, and the ends of that: positive is worse."""
    if direction == "higher":
        return -change.value, (-change.upper, -change.lower)
    if direction == "lower":
        return change.value, (change.lower, change.upper)
    nearest = max(change.lower, -change.upper, 0.0) if not math.isnan(change.lower) else math.nan
    return abs(change.value), (nearest, max(-change.lower, change.upper))


def _allowed(rule: ChangeRule, baseline: float) -> float:
    limits = [] if rule.absolute is None else [rule.absolute]
    return min([*limits, rule.relative * abs(baseline)] if rule.relative is not None else limits)


def _place(key: Key) -> str:
    method, name, value, metric = key
    return f"{metric} of {method}, {name if name == 'all' else f'{name}={value}'}"


def _shown(mean: paired.Mean) -> str:
    ends = "" if math.isnan(mean.lower) else f" ({mean.lower:.4g} to {mean.upper:.4g})"
    return f"{mean.value:.4g}{ends}"


def as_dict(verdict: Verdict) -> dict[str, Any]:
    """Plain values for JSON; a number that does not exist is None."""
    checks = [
        {name: None if isinstance(value, float) and math.isnan(value) else value for name, value in fields.items()}
        for fields in (dataclasses.asdict(check) for check in verdict.checks)
    ]
    return {
        "format": "heatbeam-verdict",
        "format_version": 1,
        "verdict": "pass" if verdict.passed else "fail",
        "candidate": verdict.candidate,
        "baseline": verdict.baseline or None,
        "counts": {outcome: verdict.count(outcome) for outcome in ("pass", "fail", "inconclusive")},
        "checks": checks,
    }

"""``python -m tests.benchmarks.audit.early_stops``: audits that may stop early, by the gate's own decisions.

*Power.* Audits of 20,000 images whose whole mean lies exactly 12 standard errors on one side of its limit, read in
random order: how many stop with the verdict of the whole audit when a tenth of the images is read. The gate promises
0.05 a year of 52 audits and has 1 or 10 checks; beside the one that has lost, all others are equal, with 0.02 allowed
and deviations of 0.2. Where nothing is allowed, no method can do that: a tenth shows 12 sqrt(0.1) = 3.8 standard
errors, and by the lemma of Neyman and Pearson a test of it that errs in 0.05 / 52 of equal models finds at most 0.77 of
these.

*False alarms.* Years of 52 audits of equal models, five checks of 2,000 images each, nothing allowed, looked at five
times: the share of years with any failed gate. Without dividing the level among the looks it would be missed, as the
last row shows. An audit is only given to the gate's functions where Student's test alone, which the gate's p-value is
never below, could reject.

Exit status 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import os
import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special

from heatbeam.compare import gate_decisions, gate_looks, gate_rules, gate_tests, verdicts
from heatbeam.transforms.metrics import intervals, paired
from heatbeam.transforms.metrics.alarms import corrections, looks, mean_tests
from heatbeam.transforms.metrics.alarms.samples import Sample
from tests.benchmarks.audit import outcomes
from tests.benchmarks.audit.false_alarms import lower_limit, upper_limit

Floats = npt.NDArray[np.float64]

IMAGES, EFFECT, ALLOWED, DEVIATION = 20_000, 12.0, 0.02, 0.2
YEAR = {"rate": 0.05, "audits": 52}
MOST, LEAST = 0.06, 0.95


def judged(samples: Sequence[Sample], allowed: float) -> list[gate_decisions.Judged]:
    """Checks of changes, each of the differences candidate - baseline of a metric in [0, 1] that is better higher."""
    found = []
    for number, one in enumerate(samples):
        lower, upper = intervals.student(one.total, one.squares, one.n)
        mean = paired.Mean(one.mean, one.n, lower, upper, "student")
        outcome: verdicts.Outcome = (
            "pass" if -lower <= allowed else "fail" if -upper > allowed else "inconclusive"
        )  # as the gate's interval says; nothing else of it is asked here
        check = verdicts.Check(
            1, "energy_pointing_game", f"m{number}", "all", "", "change", outcome, outcome == "fail", *mean[:1],
            lower, upper, one.n, allowed, "",
        )  # fmt: skip
        question = gate_tests.Question(mean, (-1.0,), allowed, True, one)
        found.append(gate_decisions.Judged(check, "", question))
    return found


def rules(**promise: Any) -> gate_rules.Gate:
    """A gate with a promise; its rules are not asked."""
    rule = gate_rules.Rule(metric="energy_pointing_game", change=gate_rules.ChangeRule(absolute=ALLOWED))
    return gate_rules.Gate(rules=(rule,), false_alarms=gate_rules.FalseAlarms(**promise))


def decided(gate: gate_rules.Gate, samples: Sequence[Sample], allowed: float, look: looks.Look) -> str:
    """``fail``, ``pass``, or ``open``."""
    checks, _, _ = gate_looks.decide(gate, judged(samples, allowed), look)
    if any(one.fails for one in checks):
        return "fail"
    return "pass" if all(one.outcome == "pass" for one in checks) else "open"


# Power.


def losses(rng: np.random.Generator, kind: str, effect: float, allowed: float) -> Floats:
    """Losses of all images, whose mean is `effect` standard errors beyond what is allowed."""
    if kind == "hits":  # 2 % are won; as many are lost as the effect takes
        won = round(0.02 * IMAGES)
        lost = won
        while True:
            mean = (lost - won) / IMAGES
            error = math.sqrt(((lost + won) / IMAGES - mean * mean) / (IMAGES - 1))
            if (mean - allowed) / error >= effect:
                break
            lost += 1
        values = np.zeros(IMAGES)
        values[:lost], values[lost : lost + won] = 1, -1
        return rng.permutation(values)
    if kind == "normal":
        values = rng.normal(0, DEVIATION, IMAGES)
    elif kind == "bounded":
        values = (rng.random(IMAGES) - rng.random(IMAGES)) * DEVIATION * math.sqrt(6)
    elif kind == "skewed":
        values = (rng.standard_exponential(IMAGES) - rng.standard_exponential(IMAGES)) * DEVIATION / math.sqrt(2)
    else:
        values = DEVIATION * (1 - rng.standard_exponential(IMAGES))
    error = values.std(ddof=1) / math.sqrt(IMAGES)
    return values - values.mean() + allowed + effect * error


def stops(kind: str, effect: float, allowed: float, checks: int, cases: int, seed: int) -> int:
    """Of so many audits, those that stop within a tenth with the verdict of the whole."""
    rng = np.random.default_rng([seed, checks])
    gate = rules(**YEAR)
    early = [one for one in looks.planned(IMAGES, 30) if one.share <= 0.1]
    found = 0
    for _ in range(cases):
        whole = [-losses(rng, kind, effect, allowed)]
        whole += [rng.normal(0, DEVIATION, IMAGES) for _ in range(checks - 1)]
        all_checks, _, _ = gate_decisions.decide(gate, judged([Sample.of(one) for one in whole], allowed))
        same = "fail" if any(one.fails for one in all_checks) else "pass"
        for look in early:
            read = [Sample.of(one[: round(look.share * IMAGES)]) for one in whole]
            verdict = decided(gate, read, allowed, look)
            if verdict != "open":
                found += verdict == same
                break
    return found


def power(kind: str, side: str, allowed: float, checks: int, cases: int, threads: int) -> dict[str, Any]:
    """The share of audits that stop within a tenth with the verdict of the whole, and its lower 99 % limit."""
    effect = EFFECT if side == "beyond" else -EFFECT
    parts = [cases // 8 + (i < cases % 8) for i in range(8)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = sum(pool.map(lambda i: stops(kind, effect, allowed, checks, parts[i], i), range(8)))
    lower = lower_limit(found, cases)
    wanted = allowed > 0 and kind != "unlike"  # see the module
    return {
        "what": f"stop within a tenth, {EFFECT:g} s.e. {side} a limit of {allowed:g}, {kind}, {checks} checks",
        "value": found / cases, "limit": lower, "goal": LEAST if wanted else None,
        "met": not wanted or found / cases >= LEAST, "n": cases,
    }  # fmt: skip


# False alarms.


def drawn(rng: np.random.Generator, kind: str, shape: tuple[int, ...]) -> npt.NDArray[np.float32]:
    """Differences of equal models."""
    if kind == "normal":
        return rng.standard_normal(shape, np.float32) * np.float32(DEVIATION)
    if kind == "bounded":
        return (rng.random(shape, np.float32) - rng.random(shape, np.float32)) * np.float32(DEVIATION * math.sqrt(6))
    return (rng.standard_exponential(shape, np.float32) - rng.standard_exponential(shape, np.float32)) * np.float32(
        DEVIATION / math.sqrt(2)
    )


def years_with_a_failed_gate(kind: str, years: int, seed: int, *, divided: bool = True) -> int:
    """Of so many years of 52 audits, those in which any audit fails at any look."""
    rng = np.random.default_rng(seed)
    checks, images = 5, 2000
    gate = rules(**YEAR)
    planned = looks.planned(images, 30)
    if not divided:
        planned = tuple(one._replace(of_rate=1.0, of_interval=1.0) for one in planned)
    failed = 0
    for _ in range(years):
        values = drawn(rng, kind, (YEAR_AUDITS, checks, images))
        failed += _fails(gate, values, planned)
    return failed


YEAR_AUDITS = int(YEAR["audits"])


def _fails(gate: gate_rules.Gate, values: npt.NDArray[np.float32], planned: Sequence[looks.Look]) -> bool:
    level = corrections.of_one_audit(YEAR["rate"], YEAR_AUDITS)
    for look in planned:
        read = values[:, :, : round(look.share * values.shape[2])].astype(np.float64)
        n, mean, spread = read.shape[2], read.mean(axis=2), read.std(axis=2, ddof=1)
        could = mean_tests.guarded_student(n, -mean, spread, 0.0) <= level * look.of_rate
        for audit in np.flatnonzero(could.any(axis=1)):
            if decided(gate, [Sample.of(one) for one in read[audit]], 0.0, look) == "fail":
                return True
    return False


def false_alarms(kind: str, years: int, threads: int, *, divided: bool = True) -> dict[str, Any]:
    """The share of years with any failed gate, and its upper 99 % limit."""
    block = 25
    sizes = [min(block, years - start) for start in range(0, years, block)]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(lambda i: years_with_a_failed_gate(kind, sizes[i], i, divided=divided), range(len(sizes)))
        failed = sum(found)
    upper = upper_limit(failed, years)
    how = "" if divided else ", the level not divided among the looks (must miss)"
    return {
        "what": f"years with a failed gate, {kind} differences, five looks{how}", "value": failed / years,
        "limit": upper, "goal": MOST, "met": (upper <= MOST) == divided, "n": years,
    }  # fmt: skip


def best_possible() -> float:
    """Share of audits 12 standard errors beyond 0 that any test of a tenth finds at 0.05 / 52 (Neyman and Pearson)."""
    z = -float(special.ndtri(corrections.of_one_audit(YEAR["rate"], YEAR_AUDITS)))
    return float(special.ndtr((EFFECT * math.sqrt(0.1) - z) / math.sqrt(0.9)))


def _rows(cases: int, years: int, threads: int) -> Iterator[dict[str, Any]]:
    for kind in ("normal", "bounded", "skewed", "hits", "unlike"):
        yield power(kind, "beyond", ALLOWED, 1, cases, threads)
        yield power(kind, "within", ALLOWED, 1, cases, threads)
    yield power("normal", "beyond", ALLOWED, 10, cases // 5, threads)
    yield power("normal", "beyond", 0.0, 1, cases, threads)
    for kind in ("normal", "bounded", "skewed"):
        yield false_alarms(kind, years, threads)
    yield false_alarms("normal", max(years // 4, 200), threads, divided=False)


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.audit.early_stops", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--cases", type=int, default=10_000, help="of each kind of effect")
    parser.add_argument("--years", type=int, default=10_000)
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", default="build/early_stops.json", metavar="FILE")
    given = parser.parse_args(arguments)
    rows = []
    for row in _rows(given.cases, given.years, given.threads):
        rows.append(row)
        outcomes.tell(row)
    sys.stdout.write(f"of a limit of 0 any test finds at most {best_possible():.3f} within a tenth\n")
    return outcomes.keep(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())

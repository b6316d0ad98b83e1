"""``python -m tests.benchmarks.audit.false_alarms``: how often a gate fails on equal models, or finds a loss.

Years of weekly audits of 1,000 classes with 50 images each, value by value: 2.6e10 paired differences of each kind in
10,000 years. A gate with one rule fails in an audit if the smallest of its 1,000 p-values is small enough. That p-value
is never below Student's (`mean_tests.paired` takes the greater of two, and the guard only adds), so only samples that
Student's test alone would reject can be alarms: those are found while drawing, and they alone go through the gate's own
functions. Nothing is approximated by that.

Kinds of differences, all with a deviation of 0.2:
    * normal; a sample is drawn as its mean and variance first (normal and chi-squared, independent of each other and of
      the direction), its values only where it matters: the same distribution, fewer draws.
    * bounded: of two values that are uniform on an interval of 0.49.
    * skewed: of two values that are exponential.
    * unlike: differences that are exponential themselves, great gains among small losses; models that are not equal but
      equal on average, with 0.02 allowed. Not among what is promised exactly; it must hold the limit as well.

Exit status 1 where a limit is missed.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import math
import os
import sys
import time
from collections.abc import Sequence
from typing import Any

import numba
import numpy as np
import numpy.typing as npt
from scipy import special, stats

from heatbeam.transforms.metrics.alarms import corrections, mean_tests
from heatbeam.transforms.metrics.alarms.samples import Sample
from tests.benchmarks.audit import outcomes

Floats = npt.NDArray[np.float64]

CLASSES, AUDITS, IMAGES, DEVIATION, RATE = 1000, 52, 50, 0.2, 0.05
LEVEL = corrections.of_one_audit(RATE, AUDITS)
MOST = 0.06
ALLOWED = {"normal": 0.0, "bounded": 0.0, "skewed": 0.0, "unlike": 0.02}
_KINDS = {"bounded": 1, "skewed": 2, "unlike": 3}
_BLOCK_YEARS = 25


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _draw(rng: Any, kind: int, values: Any) -> tuple[float, float]:
    """Fill `values` with losses of mean 0 and deviation 0.2; their sum and sum of squares."""
    total, squares = 0.0, 0.0
    bits = 0
    for j in range(len(values)):
        if kind == 1:
            # Of the 53 random bits of one number 26 make the first value and 27 the second.
            both = rng.random() * 67108864.0
            first = math.floor(both)
            x = (first / 67108864.0 - (both - first)) * 0.4898979485566356  # sqrt(6) 0.2
        elif kind == 2:
            # The difference of two exponential values is exponential with a random sign.
            x = rng.standard_exponential() * 0.1414213562373095
            if j % 50 == 0:
                bits = int(rng.random() * 1125899906842624.0)  # 50 signs
            if bits & 1:
                x = -x
            bits >>= 1
        else:
            x = 0.2 * (1.0 - rng.standard_exponential())
        values[j] = x
        total += x
        squares += x * x
    return total, squares


@numba.njit(nogil=True)  # type: ignore[untyped-decorator]
def _survivors(rng: Any, kind: int, tests: int, allowed: float, t_squared: float, found: Any, numbers: Any) -> int:
    """Samples whose t is at least the root of `t_squared`, to `found`; which of the tests they are, to `numbers`."""
    n = found.shape[1]
    count = 0
    for i in range(tests):
        total, squares = _draw(rng, kind, found[count])
        mean = total / n
        variance = (squares - n * mean * mean) / (n - 1)
        excess = mean - allowed
        if excess > 0 and excess * excess * n >= t_squared * variance:
            numbers[count] = i
            count += 1
    return count


def _normal_survivors(
    rng: np.random.Generator, tests: int, allowed: float, t_squared: float
) -> tuple[Floats, npt.NDArray[np.int64]]:
    mean = rng.standard_normal(tests) * (DEVIATION / math.sqrt(IMAGES))
    variance = rng.chisquare(IMAGES - 1, tests) * (DEVIATION**2 / (IMAGES - 1))
    excess = mean - allowed
    numbers = np.flatnonzero((excess > 0) & (excess**2 * IMAGES >= t_squared * variance))
    around = rng.standard_normal((len(numbers), IMAGES))
    around -= around.mean(axis=1, keepdims=True)
    around *= (np.sqrt(variance[numbers] * (IMAGES - 1)) / np.sqrt((around**2).sum(axis=1)))[:, None]
    return around + mean[numbers, None], numbers


def years_with_a_failed_gate(
    kind: str, years: int, seed: int, allowed: float, correct: corrections.Correction = "holm"
) -> int:
    """Of so many years, those in which any audit fails."""
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, years])))
    # Benjamini and Hochberg let k tests fail by k times the level: more than 20 of equal models never come together.
    most = 1 if correct == "holm" else 20
    t_squared = float(special.stdtrit(IMAGES - 1, most * LEVEL / CLASSES)) ** 2 * (1 - 1e-9)
    tests = years * AUDITS * CLASSES
    if kind == "normal":
        values, numbers = _normal_survivors(rng, tests, allowed, t_squared)
    else:
        room, where = np.zeros((20_000, IMAGES)), np.zeros(20_000, np.int64)
        count = _survivors(rng, _KINDS[kind], tests, allowed, t_squared, room, where)
        values, numbers = room[:count], where[:count]
    p = mean_tests.paired([Sample.of(-row) for row in values], -1.0, allowed)
    audits = numbers // CLASSES
    failed = set()
    for audit in np.unique(audits):
        whole = np.ones(CLASSES)  # Student's test alone says of all others that they are no alarm
        own = p[audits == audit]
        whole[: len(own)] = own
        if corrections.adjusted(whole, correct).min() <= LEVEL:
            failed.add(int(audit) // AUDITS)
    return len(failed)


def false_shares(audits: int, lost: int, seed: int) -> Floats:
    """Of each audit the share of false ones among the classes that fail, Benjamini-Hochberg; 0 where none fails.

    Normal differences; `lost` of the classes have lost 0.2, 0.02 being allowed, and the others just 0.02.
    """
    rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence([seed, audits, lost])))
    allowed, shares = ALLOWED["unlike"], np.zeros(audits)
    # What Student's test alone lets pass at the whole level cannot fail whatever the others do.
    t_squared = float(special.stdtrit(IMAGES - 1, LEVEL)) ** 2 * (1 - 1e-9)
    values, numbers = _normal_survivors(rng, audits * (CLASSES - lost), 0.0, t_squared)
    of_audit = numbers // (CLASSES - lost)
    losses = rng.normal(0.2, DEVIATION, (audits * lost, IMAGES))
    p = mean_tests.paired([Sample.of(-row) for row in (*(values + allowed), *losses)], -1.0, allowed)
    equal, real = p[: len(values)], p[len(values) :].reshape(audits, lost)
    for audit in range(audits):
        own = equal[slice(*np.searchsorted(of_audit, (audit, audit + 1)))]
        whole = np.concatenate([own, real[audit], np.ones(CLASSES - lost - len(own))])
        fails = corrections.adjusted(whole, "benjamini_hochberg") <= LEVEL
        shares[audit] = fails[: len(own)].sum() / max(1, fails.sum())
    return shares


def false_discoveries(audits: int, lost: int = 10) -> dict[str, Any]:
    """The mean share of false ones among what fails, and its upper 99 % limit."""
    blocks = [false_shares(min(1000, audits - start), lost, start) for start in range(0, audits, 1000)]
    shares = np.concatenate(blocks)
    limit = float(shares.mean() + 2.326 * shares.std() / math.sqrt(len(shares)))
    goal = LEVEL * MOST / RATE
    return {
        "what": f"share of false ones among the classes that fail, {lost} of {CLASSES:,} lost, Benjamini-Hochberg",
        "value": float(shares.mean()), "limit": limit, "goal": goal, "met": limit <= goal, "n": audits,
    }  # fmt: skip


def upper_limit(hits: int, n: int) -> float:
    """Upper end of Clopper and Pearson's one-sided 99 % interval."""
    return float(special.betaincinv(hits + 1, n - hits, 0.99)) if hits < n else 1.0


def lower_limit(hits: int, n: int) -> float:
    """Lower end of the same."""
    return float(special.betaincinv(hits, n - hits + 1, 0.01)) if hits else 0.0


def false_alarms(kind: str, years: int, threads: int, correct: corrections.Correction = "holm") -> dict[str, Any]:
    """The share of years with any failed gate, and its upper 99 % limit."""
    blocks = [(number, min(_BLOCK_YEARS, years - start)) for number, start in enumerate(range(0, years, _BLOCK_YEARS))]
    with concurrent.futures.ThreadPoolExecutor(threads) as pool:
        found = pool.map(
            lambda block: years_with_a_failed_gate(kind, block[1], block[0], ALLOWED[kind], correct), blocks
        )
        failed = sum(found)
    upper = upper_limit(failed, years)
    return {
        "what": f"years with a failed gate, {kind} differences, {ALLOWED[kind]:g} allowed, {correct}",
        "value": failed / years,
        "limit": upper, "goal": MOST, "met": upper <= MOST, "n": years,
    }  # fmt: skip


def power_of(checks: int, draws: int, seed: int = 1) -> dict[str, Any]:
    """How often a loss of 0.2 in one class is found among so many checks, 0.02 being allowed, and by a t test."""
    level, allowed, loss = LEVEL / checks, 0.02, 0.2
    values = np.random.default_rng(seed).normal(-loss, DEVIATION, (draws, IMAGES))
    found = int((mean_tests.paired([Sample.of(row) for row in values], -1.0, allowed) <= level).sum())
    shift = (loss - allowed) / DEVIATION * math.sqrt(IMAGES)
    exact = float(stats.nct.sf(stats.t.isf(level, IMAGES - 1), IMAGES - 1, shift))
    goal = 0.75 if checks == CLASSES else 0.9 * exact
    lower = lower_limit(found, draws)
    met = (lower if checks == CLASSES else found / draws) >= goal
    return {
        "what": f"a loss of 0.2 found among {checks:,} checks (a t test at that level: {exact:.3f})",
        "value": found / draws, "limit": lower, "goal": goal, "met": met, "n": draws,
    }  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> int:
    """Simulate; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.audit.false_alarms", description=(__doc__ or "").split("\n")[0]
    )
    parser.add_argument("--years", type=int, default=10_000)
    parser.add_argument("--draws", type=int, default=40_000, help="of the power")
    parser.add_argument("--kind", action="append", choices=ALLOWED, help="default: all")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--json", default="build/false_alarms.json", metavar="FILE")
    given = parser.parse_args(arguments)
    rows = []
    for make in [
        *(lambda checks=checks: power_of(checks, given.draws) for checks in (CLASSES, 10 * CLASSES)),
        lambda: false_discoveries(given.years * AUDITS),
        lambda: false_alarms("normal", given.years, given.threads, "benjamini_hochberg"),
        *(lambda kind=kind: false_alarms(kind, given.years, given.threads) for kind in given.kind or ALLOWED),
    ]:
        start = time.monotonic()
        row = make()
        rows.append(row | {"seconds": time.monotonic() - start})
        outcomes.tell(rows[-1])
    return outcomes.keep(rows, given.json)


if __name__ == "__main__":
    sys.exit(main())

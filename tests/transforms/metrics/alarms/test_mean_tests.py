"""P-values of a loss: exact values by hand, and calibration that a mis-specified test does not pass."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from heatbeam.transforms.metrics.alarms import mean_tests, samples


def by_enumeration(losses: np.ndarray) -> float:
    signs = np.array(list(itertools.product((-1, 1), repeat=len(losses))), np.float64)
    return float((signs @ np.abs(losses) >= losses.sum() - 1e-9).mean())


@pytest.mark.parametrize("kind", ["normal", "uniform", "laplace", "exponential"])
@pytest.mark.parametrize("shift", [0.0, 0.5, 1.0, 1.5])
def test_sign_flips_are_those_of_every_pattern(kind, shift):
    generator = np.random.default_rng(3)
    losses = {
        "normal": generator.normal(size=16), "uniform": generator.uniform(-1.7, 1.7, 16),
        "laplace": generator.laplace(size=16), "exponential": 1 - generator.exponential(size=16),
    }[kind] + shift  # fmt: skip
    # Two of the 2^16 patterns: so near to the last one the chance moves in steps.
    assert mean_tests.sign_flip(losses[None])[0] == pytest.approx(by_enumeration(losses), rel=0.1, abs=2 / 2**16)


@pytest.mark.parametrize(
    ("losses", "p"),
    [
        ([0.1, 0.2, 0.3], 1 / 8),  # only the pattern itself
        ([0.0, 0.0], 1.0),
        ([-0.1, -0.2, -0.3], 1.0),
        ([0.0, 0.2, 0.0, 0.1], 1 / 4),  # zeros say nothing
        ([1.0] * 50, 0.5**50),
    ],
)
def test_sign_flips_at_the_ends(losses, p):
    assert mean_tests.sign_flip([losses])[0] == pytest.approx(p, rel=1e-6)


def test_without_allowance_hits_are_mcnemars_exact_test():
    # 9 lost, 2 won: P(X >= 9) of 11 coins = (55 + 11 + 1) / 2048, whatever stayed the same.
    assert mean_tests.sign_flip_of_hits(9, 2, 40, 0.0) == pytest.approx(67 / 2048)
    assert mean_tests.sign_flip_of_hits(9, 2, 40, 0.0) == pytest.approx(
        stats.binomtest(9, 11, alternative="greater").pvalue
    )


@pytest.mark.parametrize(("lost", "won", "same"), [(5, 1, 6), (0, 0, 8), (9, 0, 3), (2, 6, 4)])
@pytest.mark.parametrize("allowed", [0.0, 0.02, 0.3])
def test_hits_with_an_allowance_are_every_pattern(lost, won, same, allowed):
    losses = np.array([1.0] * lost + [-1.0] * won + [0.0] * same) - allowed
    assert mean_tests.sign_flip_of_hits(lost, won, same, allowed) == pytest.approx(by_enumeration(losses))


def test_without_skew_the_guard_is_students_test():
    # Symmetric: skewness 0, within its own noise.
    values = np.array([-1.0, 0, 1, 2, 3, 4, 5])
    expected = stats.ttest_1samp(values, 0.5, alternative="greater").pvalue
    one = samples.Sample.of(values)
    assert mean_tests.guarded_student(7, one.mean - 0.5, one.deviation, one.skewness) == pytest.approx(expected)


def test_the_guard_by_hand():
    # t = 0.1 * 10 / 0.2 = 5; g = 3.3 (-0.8 + 1.25 sqrt(0.06)); t' = 5 + g * 51 / 60
    t = 5 + 3.3 * (-0.8 + 1.25 * math.sqrt(0.06)) * 51 / 60
    assert mean_tests.guarded_student(100, 0.1, 0.2, -0.8) == pytest.approx(stats.t.sf(t, 99))
    # A long tail of losses makes a test careful already.
    assert mean_tests.guarded_student(100, 0.1, 0.2, 0.8) == pytest.approx(stats.t.sf(5, 99))


@pytest.mark.parametrize(
    ("n", "excess", "deviation", "p"), [(1, 1.0, 0.0, 1.0), (9, 0.1, 0.0, 0.0), (9, 0.0, 0.0, 1.0), (9, -0.1, 0.0, 1.0)]
)
def test_what_does_not_vary(n, excess, deviation, p):
    assert mean_tests.guarded_student(n, excess, deviation, 0.0) == p


def test_a_sample_has_the_moments_of_its_values():
    values = np.random.default_rng(0).exponential(size=30)
    one = samples.Sample.of(values)
    assert (one.mean, one.deviation) == (pytest.approx(values.mean()), pytest.approx(values.std(ddof=1)))
    assert one.skewness == pytest.approx(stats.skew(values))
    assert samples.Sample.of([0.3] * 9).skewness == 0 and samples.Sample.of(np.zeros(600)).values is None


def test_the_greater_p_value_counts_and_signs_say_what_a_loss_is():
    values = np.random.default_rng(1).normal(-0.1, 0.2, 50)
    one = samples.Sample.of(values)
    worse, better = mean_tests.paired([one, one], [-1, 1], [0.02, 0.02])
    student = stats.ttest_1samp(values, -0.02, alternative="less").pvalue
    assert worse == pytest.approx(max(mean_tests.sign_flip([-values - 0.02])[0], student), rel=1e-3) and better > 0.99


def test_samples_of_other_sizes_do_not_change_one_another():
    generator = np.random.default_rng(2)
    many = [samples.Sample.of(generator.normal(0.1, 0.2, n)) for n in (5, 50, 512, 600, 30)]
    many += [samples.Sample.of([1, 1, 0, -1, 1]), samples.Sample.of([])]
    together = mean_tests.paired(many, 1, 0.02)
    assert together == pytest.approx([mean_tests.paired([one], 1, 0.02)[0] for one in many]) and together[-1] == 1


def test_equal_runs_are_never_an_alarm():
    for n in (50, 600):
        assert mean_tests.paired([samples.Sample.of(np.full(n, -0.02))], -1, 0.02)[0] == 1  # all of what is allowed


@pytest.mark.parametrize(
    ("hits", "sign", "limit", "p"),
    [
        (3, 1, 0.5, (10 + 5 + 1) / 32),  # P(X >= 3) of 5
        (1, -1, 0.5, 6 / 32),  # P(X <= 1) of 5
        (0, 1, 0.5, 1.0), (5, -1, 0.5, 1.0),
        (0, 1, 0.0, 1.0), (1, 1, 0.0, 0.0), (5, -1, 1.0, 1.0), (4, -1, 1.0, 0.0),
    ],
)  # fmt: skip
def test_proportions_are_binomial(hits, sign, limit, p):
    assert mean_tests.proportion(hits, 5, sign, limit) == pytest.approx(p)
    assert mean_tests.single(samples.Sample.of([1.0] * hits + [0.0] * (5 - hits)), sign, limit) == pytest.approx(p)


def test_an_interval_gives_back_its_test():
    assert mean_tests.from_interval(0.3, 0.1, math.inf) == pytest.approx(stats.norm.sf(3 * 1.959964))
    values = np.random.default_rng(5).normal(0.3, 1, 12)
    half = stats.t.ppf(0.975, 11) * values.std(ddof=1) / math.sqrt(12)
    expected = stats.ttest_1samp(values, 0, alternative="greater").pvalue
    assert mean_tests.from_interval(values.mean(), half, 12) == pytest.approx(expected)
    assert mean_tests.from_interval(0.1, 0.0, 12) == 0 and mean_tests.from_interval(0.0, 0.0, 12) == 1


def rate(p_values: np.ndarray, weights: np.ndarray, level: float) -> tuple[float, float]:
    """Share of p-values at most `level`, in units of it, from weighted draws; and its standard error."""
    found = weights * (p_values <= level) / level
    return float(found.mean()), float(found.std() / math.sqrt(len(found)))


def tilted_uniform(draws: int, n: int, tilt: float) -> tuple[np.ndarray, np.ndarray]:
    """Uniform losses on -sqrt(3) to sqrt(3), drawn from exp(tilt x), and what each row weighs."""
    a = math.sqrt(3)
    u = np.random.default_rng(7).random((draws, n))
    x = np.log(np.exp(-tilt * a) + u * (np.exp(tilt * a) - np.exp(-tilt * a))) / tilt
    return x, np.exp((math.log(math.sinh(tilt * a) / (tilt * a)) - tilt * x).sum(axis=1))


LEVEL = 0.05 / 52 / 1000


def test_at_a_millionth_sign_flips_are_calibrated_and_students_test_is_not():
    x, weights = tilted_uniform(8000, 50, 0.75)
    found, error = rate(mean_tests.sign_flip(x), weights, LEVEL)
    assert abs(found - 1) < 4 * error and error < 0.15
    # The mutant: Student's test takes values that are bounded for normal ones.
    student = stats.t.sf(x.mean(axis=1) / x.std(axis=1, ddof=1) * math.sqrt(50), 49)
    wrong, error = rate(student, weights, LEVEL)
    assert wrong - 4 * error > 1.5


def test_great_gains_that_hide_small_losses_are_guarded_against(monkeypatch):
    mean = 0.65
    drawn = np.random.default_rng(8).exponential(mean, (16000, 50))
    weights = np.exp((math.log(mean) - drawn + drawn / mean).sum(axis=1))
    found = [samples.Sample.of(row) for row in 0.2 * (1 - drawn)]
    p = mean_tests.paired(found, 1, 0.02)
    value, error = rate(p, weights, LEVEL)
    assert value + 3 * error < 2.5
    # The mutant: no guard.
    monkeypatch.setattr(mean_tests, "GUARD_SLOPE", 0.0)
    wrong, error = rate(mean_tests.paired(found, 1, 0.02), weights, LEVEL)
    assert wrong - 3 * error > 10


def size_of(p_of_hits: list[float], chances: np.ndarray, level: float) -> float:
    """Exact chance of a p-value at most `level`."""
    return float(chances[np.array(p_of_hits) <= level].sum())


@pytest.mark.parametrize("level", [1e-2, 1e-3])
def test_the_binomial_test_keeps_its_level_and_the_normal_approximation_does_not(level):
    n, bound = 50, 0.04
    chances = stats.binom.pmf(np.arange(n + 1), n, bound)
    exact = [mean_tests.proportion(k, n, 1, bound) for k in range(n + 1)]
    assert 0 < size_of(exact, chances, level) <= level
    error = math.sqrt(bound * (1 - bound) / n)
    wald = [stats.norm.sf((k / n - bound) / error) for k in range(n + 1)]  # the mutant
    assert size_of(wald, chances, level) > 1.3 * level


@pytest.mark.parametrize("discordant", [0.2, 0.4])
@pytest.mark.parametrize("allowed", [0.0, 0.02])
def test_hits_of_equal_models_keep_the_level_and_the_strict_tail_does_not(discordant, allowed):
    n, level = 50, 1e-3
    lost, won = (grid.ravel() for grid in np.meshgrid(np.arange(n + 1), np.arange(n + 1), indexing="ij"))
    lost, won = lost[lost + won <= n], won[lost + won <= n]
    rates = [discordant / 2, discordant / 2, 1 - discordant]
    chances = stats.multinomial.pmf(np.column_stack([lost, won, n - lost - won]), n, rates)
    likely = chances > 1e-12
    lost, won, chances = lost[likely], won[likely], chances[likely]
    exact = [
        mean_tests.sign_flip_of_hits(a, b, n - a - b, allowed) for a, b in zip(lost.tolist(), won.tolist(), strict=True)
    ]
    assert size_of(exact, chances, level) <= level
    if not allowed:
        strict = [mean_tests.sign_flip_of_hits(a + 1, max(b - 1, 0), 0, 0) for a, b in zip(lost, won, strict=True)]
        assert size_of(strict, chances, level) > 1.5 * level  # the mutant: P(X > lost) instead of P(X >= lost)


def test_students_tail_is_calibrated_where_the_normal_one_is_not():
    generator = np.random.default_rng(9)
    values = generator.normal(0, 1, (40000, 30))
    mean, spread = values.mean(axis=1), values.std(axis=1, ddof=1)
    level, half = 1e-3, stats.t.ppf(0.975, 29) / math.sqrt(30)
    error = math.sqrt(level / 40000)
    interval = np.array(
        [mean_tests.from_interval(m, s * half, 30) for m, s in zip(mean[:8000], spread[:8000], strict=True)]
    )
    student = mean_tests.guarded_student(30, mean, spread, 0.0)
    assert student[:8000] == pytest.approx(interval)
    assert abs((student <= level).mean() - level) < 4 * error
    normal = stats.norm.sf(mean / spread * math.sqrt(30))  # the mutant
    assert (normal <= level).mean() > level + 4 * error

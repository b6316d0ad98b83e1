"""The simulation of false alarms draws what it says, and a gate that spends too much is seen by it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from tests.benchmarks.audit import __main__ as audit_bench
from tests.benchmarks.audit import false_alarms


def test_normal_samples_are_drawn_as_if_value_by_value():
    values, numbers = false_alarms._normal_survivors(np.random.default_rng(0), 20_000, 0.0, 0.0)
    t = values.mean(axis=1) / values.std(axis=1, ddof=1) * np.sqrt(values.shape[1])
    # Kept are those above 0, about half; of these Student's p-value is uniform up to a half.
    assert abs(len(numbers) - 10_000) < 300 and (t > 0).all()
    assert stats.kstest(2 * stats.t.sf(t, values.shape[1] - 1), "uniform").pvalue > 0.01
    assert values.std() == pytest.approx(0.2, rel=0.01) and abs(stats.skew(values[:, 7])) < 0.1


@pytest.mark.parametrize(("kind", "kurtosis"), [("bounded", -0.6), ("skewed", 3.0), ("unlike", 6.0)])
def test_values_have_the_moments_of_their_kind(kind, kurtosis):
    values = np.zeros(200_000)
    number = false_alarms._KINDS[kind]
    total, squares = false_alarms._draw.py_func(np.random.default_rng(1), number, values[:20_000])
    false_alarms._draw(np.random.default_rng(1), number, values)
    assert values.mean() == pytest.approx(0, abs=0.002) and values.std() == pytest.approx(0.2, rel=0.02)
    assert stats.kurtosis(values) == pytest.approx(kurtosis, abs=0.05 + 0.15 * abs(kurtosis))
    assert stats.skew(values) == pytest.approx(-2 if kind == "unlike" else 0, abs=0.1)
    assert np.isfinite([total, squares]).all()


def test_years_of_equal_models_fail_as_seldom_as_promised_and_without_a_schedule_often(monkeypatch):
    assert false_alarms.years_with_a_failed_gate("normal", 40, 3, 0.0) <= 7
    # The mutant: each audit spends the whole rate.
    monkeypatch.setattr(false_alarms, "LEVEL", false_alarms.RATE)
    assert false_alarms.years_with_a_failed_gate("normal", 40, 3, 0.0) > 30


def test_few_of_the_classes_that_fail_are_false_and_without_correction_many(monkeypatch):
    assert false_alarms.false_shares(200, 10, 0).mean() < 0.002
    assert false_alarms.years_with_a_failed_gate("normal", 40, 3, 0.0, "benjamini_hochberg") <= 7
    # The mutant: every class by itself, of which about one in an audit is as far off as that by chance.
    monkeypatch.setattr(false_alarms.corrections, "adjusted", lambda p, _: p)
    assert false_alarms.false_shares(200, 10, 0).mean() > 0.04


def test_limits_are_clopper_and_pearsons():
    assert false_alarms.upper_limit(5, 100) == pytest.approx(stats.beta.ppf(0.99, 6, 95))
    assert false_alarms.lower_limit(5, 100) == pytest.approx(stats.beta.ppf(0.01, 5, 96))
    assert false_alarms.lower_limit(0, 9) == 0 and false_alarms.upper_limit(9, 9) == 1


def test_every_part_of_the_bench_is_run_and_one_that_misses_is_told(tmp_path, monkeypatch, capfd):
    for name, status in (("well", 0), ("missed", 1), ("last", 0)):
        (tmp_path / f"{name}.py").write_text(f"print('{name} ran'); raise SystemExit({status})")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert audit_bench.main(["missed", "well", "last"]) == 1
    said = capfd.readouterr().out
    assert all(f"{name} ran" in said for name in ("well", "missed", "last"))
    assert [line.split(",")[0] for line in said.splitlines()[-3:]] == ["MISS missed", "ok   well", "ok   last"]
    assert audit_bench.main(["well"]) == 0

"""The two-sample test: its parts by hand, its level on equal samples, and what it sees."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics import two_sample


def test_features_are_standardized_within_their_group():
    features = np.array([[0.0, 5], [2, 5], [10, 7], [np.nan, 7]])
    groups = [np.array([0, 1]), np.array([2, 3])]
    # The first column less its means 1 and 10: -1, 1, 0 and, for NaN, 0; deviation sqrt(2 / 4). The second varies only
    # between the groups.
    expected = np.array([[-(2**0.5), 0], [2**0.5, 0], [0, 0], [0, 0]])
    np.testing.assert_allclose(two_sample.standardized(features, groups), expected, rtol=1e-12)


def test_one_far_row_is_cut_off():
    features = np.zeros((1000, 1))
    features[0] = 1e6
    points = two_sample.standardized(features, [np.arange(1000)])
    assert points[0, 0] == two_sample.LIMIT


def test_the_statistics_are_sums_of_labels_in_the_order_of_the_scores():
    labels = np.array([0.5] * 2 + [-0.5] * 36 + [0.5] * 2)
    # 40 rows: tails of 2. Ranks are -19.5 to 19.5, and the labels are symmetric.
    assert two_sample._statistics(labels) == (pytest.approx(0), 1.0, -1.0)
    assert two_sample._statistics(np.array([-0.5, -0.5, 0.5, 0.5]))[0] == 0.5 * (1.5 + 0.5) * 2


def test_what_lies_apart_is_the_largest_sum_of_labels_above_a_score():
    # From the top: 0.5, 1, 0.5, 1, 0.5, 0.
    assert two_sample._apart(np.array([-0.5, -0.5, 0.5, -0.5, 0.5, 0.5])) == 1.0
    assert two_sample._apart(np.array([0.5, 0.5, -0.5, -0.5])) == 0.0


def test_the_share_is_what_lies_apart_less_what_permuted_labels_give(monkeypatch):
    labels = np.array([[-0.5, -0.5, 0.5, 0.5], [0.5, -0.5, -0.5, 0.5]], np.float32)
    monkeypatch.setattr(two_sample, "_scores", lambda points, labels, folds: np.tile(np.float32([1, 2, 3, 4]), (2, 1)))
    found, _ = two_sample._test(np.zeros((4, 1)), labels, np.zeros(4, np.int64), [np.arange(4)])
    # The true labels are parted wholly, 1 of 1; the permuted ones by 0.5.
    assert (found.share, found.auc, found.rows) == (0.5, 1.0, (2, 2))


def test_a_p_value_is_the_share_of_statistics_as_large():
    assert two_sample._p_values(np.array([2.0, 1, 2, 5])).tolist() == [0.75, 1.0, 0.75, 0.25]


def test_squares_are_of_mean_0_where_features_are_standardized_and_cut_off():
    # (4 - 1) / 2; (64 - 1) cut to 8, / 2; (0 - 1) / 2.
    assert two_sample._with_squares(np.array([[2.0, -8, 0]])).tolist() == [[2, -8, 0, 1.5, 4, -0.5]]


def test_the_auc_counts_pairs_of_one_stratum():
    scores = np.array([1.0, 2, 2, 9, 0, 5])
    second = np.array([False, True, False, True, True, False])
    # Stratum 0, rows 0 to 2: 2 > 1 and 2 = 2; stratum 1, rows 3 to 5: 9 > 5 and 0 < 5.
    assert two_sample.stratified_auc(scores, second, [np.arange(3), np.arange(3, 6)]) == (1 + 0.5 + 1 + 0) / 4


def test_both_forms_of_the_classifier_are_the_ridge_regression_of_the_labels():
    generator = np.random.default_rng(0)
    labels = generator.normal(size=(3, 12)).astype(np.float32)
    folds = np.arange(12) % 2
    for width in (3, 30):
        points = generator.normal(size=(12, width))
        scores = two_sample._scores(points, labels, folds)
        train, targets = points[folds == 0], labels[:, folds == 0].astype(np.float64)
        gram = train.T @ train + two_sample.RIDGE * 6 * np.eye(width)
        expected = points[folds == 1] @ np.linalg.solve(gram, train.T @ targets.T)
        np.testing.assert_allclose(scores[:, folds == 1], expected.T, rtol=2e-4, atol=1e-5)


def _p_values(draw, count: int, permutations: int = 59) -> np.ndarray:
    found = []
    for seed in range(count):
        features, second, strata = draw(np.random.default_rng(seed))
        found.append(two_sample.shifts(features, second, strata, permutations, seed).p_value)
    return np.array(found)


def _skewed(generator: np.random.Generator, shares: tuple[float, float] = (0.5, 0.5)):
    """Two samples of 50 rows with skewed features that differ between two strata; `shares` of stratum 1 in either."""
    second = np.arange(100) >= 50
    strata = (generator.random(100) < np.where(second, shares[1], shares[0])).astype(np.int64)
    return generator.exponential(1, (100, 6)) + 2 * strata[:, None], second, strata


def test_equal_samples_are_rejected_as_often_as_the_level_says():
    p_values = _p_values(_skewed, 200)
    # 200 draws at 0.1: 20 expected, 99.9 % of the binomial within 7 to 35.
    assert 7 <= (p_values <= 0.1).sum() <= 35


def test_equal_rows_are_no_difference_in_whatever_order_they_come():
    def two_values(generator):
        return generator.integers(0, 2, (100, 1)).astype(np.float64), np.arange(100) >= 50, np.zeros(100, np.int64)

    # 40 draws at 0.1: 4 expected, 99.9 % of the binomial up to 11. In the order of the rows all 40 would be rejected.
    assert (_p_values(two_values, 40) <= 0.1).sum() <= 11
    constant = two_sample.shifts(np.ones((100, 2)), np.arange(100) >= 50, np.zeros(100, np.int64), 99)
    assert constant.p_value > 0.05


def test_samples_without_a_common_stratum_cannot_differ():
    second = np.arange(60) >= 30
    found = two_sample.shifts(np.random.default_rng(0).normal(size=(60, 2)), second, second.astype(np.int64), 19)
    assert (found.p_value, found.everything.share, found.strata) == (1.0, 0.0, {})


def test_another_mix_of_strata_is_no_difference_but_would_be_one_without_strata():
    def mixed(generator):
        return _skewed(generator, (0.2, 0.8))

    def without_strata(generator):
        features, second, strata = mixed(generator)
        return features, second, np.zeros_like(strata)

    assert (_p_values(mixed, 100) <= 0.1).sum() <= 20
    assert (_p_values(without_strata, 20) <= 0.1).sum() == 20


def _with_cue(generator: np.random.Generator, share: float, stratum: int | None = None):
    features = generator.normal(size=(1200, 8))
    second, strata = np.arange(1200) >= 600, np.arange(1200) % 3
    odd = second & (generator.random(1200) < share) & ((strata == stratum) if stratum is not None else True)
    features[odd, :2] += 5
    return features, second, strata, odd


def test_one_row_of_twenty_that_is_like_none_is_seen_and_found():
    features, second, strata, odd = _with_cue(np.random.default_rng(3), 0.05)
    found = two_sample.shifts(features, second, strata, 199)
    assert found.p_value <= 0.02
    strangest = np.argsort(-found.everything.scores)[: int(odd.sum())]
    assert odd[strangest].mean() > 0.9
    # So many lie where the first sample has nothing; what chance gives is taken off, so less is claimed.
    assert 0 < found.everything.share <= odd[second].mean()


def test_the_stratum_that_differs_is_named_and_the_others_are_not():
    features, second, strata, _ = _with_cue(np.random.default_rng(4), 0.3, stratum=1)
    found = two_sample.shifts(features, second, strata, 199)
    assert found.p_value <= 0.01
    assert found.strata[1].p_value <= 0.01
    assert min(found.strata[0].p_value, found.strata[2].p_value) > 0.05
    assert found.strata[1].rows == (200, 200)


def test_a_stratum_of_few_rows_is_not_tested_by_itself():
    features = np.random.default_rng(0).normal(size=(100, 2))
    strata = np.where(np.arange(100) % 10 == 0, 1, 0)
    found = two_sample.shifts(features, np.arange(100) % 2 == 1, strata, 19)
    assert set(found.strata) == {0}


def test_the_same_rows_give_the_same_numbers():
    features, second, strata, _ = _with_cue(np.random.default_rng(5), 0.05)
    first, again = (two_sample.shifts(features, second, strata, 39, seed=8) for _ in range(2))
    assert first.p_value == again.p_value
    np.testing.assert_array_equal(first.everything.scores, again.everything.scores)


@pytest.mark.parametrize(
    ("second", "strata", "message"),
    [
        ([True, True], [0, 0], "a sample is empty"),
        ([True, False, True], [0, 0], "2 rows, 3 samples and 2 strata"),
    ],
)
def test_a_test_needs_rows_of_both_samples(second, strata, message):
    with pytest.raises(ValueError, match=message):
        two_sample.shifts(np.zeros((2, 1)), np.array(second), np.array(strata))

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics import chance


def counted(pairs: list[tuple[tuple[int, ...], int]], classes: int = 10) -> chance.Answers:
    answers = chance.Answers(classes)
    for labels, predicted in pairs:
        answers.add(labels, predicted)
    return answers


@pytest.mark.parametrize(
    ("hits", "n", "share", "expected"),
    [
        (3, 3, 0.5, 1 / 8),
        (2, 3, 0.5, 4 / 8),  # 3 + 1 of 8
        (1, 2, 0.25, 7 / 16),  # 1 - (3/4)^2
        (0, 5, 0.3, 1.0),
        (5, 5, 1.0, 1.0),
    ],
)
def test_the_tail_of_the_binomial_is_exact(hits, n, share, expected):
    assert chance.at_least(hits, n, share) == pytest.approx(expected, rel=1e-12)


def test_chance_is_the_agreement_of_independent_answers():
    """Labels 3 x 0 and 1 x 1, choices 2 x 0 and 2 x 1: 1/2 * 3/4 + 1/2 * 1/4 = 1/2."""
    answers = counted([((0,), 0), ((0,), 0), ((0,), 1), ((1,), 1)])
    assert answers.chance == pytest.approx(0.5)
    assert (answers.hits, answers.labelled) == (3, 4)
    assert answers.p_value == pytest.approx(5 / 16)  # 4 + 1 of 16


def test_one_answer_for_everything_is_as_good_as_its_share():
    answers = counted([((0,), 0)] * 70 + [((1,), 0)] * 30)
    assert answers.chance == pytest.approx(0.7)
    assert answers.p_value > chance.LEVEL and answers.can_tell


def test_images_of_one_label_are_compared_with_one_of_all_classes():
    answers = counted([((3,), 3)] * 6 + [((3,), 1)] * 2)
    assert answers.chance == pytest.approx(0.1)
    assert answers.p_value < chance.LEVEL


def test_few_or_one_sided_labels_tell_nothing():
    assert not counted([((0,), 1), ((1,), 0)] * 3).can_tell  # 1/2^6 > 0.01
    assert counted([((0,), 1), ((1,), 0)] * 4).can_tell  # 1/2^8
    assert not counted([((0,), 0)] * 99 + [((1,), 1)]).can_tell  # (0.99^2 + 0.01^2)^100 = 0.13
    assert not counted([((), 1)] * 50).can_tell


def test_a_good_model_of_rare_classes_is_better_than_chance():
    """85 of 100 right where the most frequent label has 90: still far from independent of the images."""
    pairs = [((0,), 0)] * 76 + [((0,), 1)] * 14 + [((1,), 1)] * 9 + [((1,), 0)]
    answers = counted(pairs, 2)
    assert answers.hits == 85
    assert answers.chance == pytest.approx(0.77 * 0.9 + 0.23 * 0.1)
    assert answers.p_value < 0.01


def test_random_answers_pass_as_seldom_as_the_level_says():
    random, passed = np.random.default_rng(0), 0
    for _ in range(400):
        labels, choices = random.integers(0, 5, 200), random.integers(0, 5, 200)
        passed += counted([((a,), b) for a, b in zip(labels.tolist(), choices.tolist(), strict=True)]).p_value <= 0.01
    assert passed <= 12


def test_any_of_several_labels_is_right():
    answers = counted([((0, 2), 2), ((1,), 0)])
    assert answers.hits == 1
    assert answers.chance == pytest.approx(0.5 * 0.5 + 0.5 * 0.5)


def test_of_several_labels_a_perfect_choice_is_the_most_frequent_one():
    """Labels {0, 1}, {0, 2}, {1, 2} x n: 0, 1 and 2 have 2n of 3n images each; of equals the higher is taken, so the
    choices are 1, 2, 2 and chance is 1/3 * 2/3 + 2/3 * 2/3 = 2/3. Always right: (2/3)^(3n) <= 0.01 from 3n = 12 on.
    """
    sets = [((0, 1), 0), ((0, 2), 2), ((1, 2), 1)]
    assert not counted(sets * 3, 3).can_tell  # (2/3)^9 = 0.026
    assert counted(sets * 4, 3).can_tell  # (2/3)^12 = 0.0077


def test_one_set_of_several_labels_is_compared_with_its_share_of_the_classes():
    """Two of ten classes are right: (1/5)^2 = 0.04, (1/5)^3 = 0.008."""
    assert counted([((2, 3), 2)] * 2).chance == pytest.approx(0.2)
    assert not counted([((2, 3), 2)] * 2).can_tell
    assert counted([((2, 3), 2)] * 3).can_tell

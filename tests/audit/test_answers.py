from __future__ import annotations

import numpy as np
import pytest

from heatbeam.audit import answers
from heatbeam.transforms.metrics import chance

NAMES = ["cat", "dog", "owl"]


def counted(pairs: list[tuple[tuple[int, ...], int]]) -> chance.Answers:
    found = chance.Answers(3)
    for labels, predicted in pairs:
        found.add(labels, predicted)
    return found


def test_one_answer_for_all_is_the_first_finding():
    said = answers.findings(counted([((i % 3,), 1) for i in range(30)]), NAMES)
    assert said[0] == "the model's first choice is dog for every one of 30 images"
    assert said[1].startswith("the model is no better than chance: 10 of 30 first choices are right (33.3%)")


def test_classes_in_another_order_are_no_better_than_chance():
    (said,) = answers.findings(counted([((i % 3,), (i + 1) % 3) for i in range(30)]), NAMES)
    assert "0 of 30 first choices are right" in said and "classes in another order" in said


@pytest.mark.parametrize(("step", "said"), [(1, "plus 1: set input.label_offset one lower"), (-1, "minus 1: set")])
def test_labels_that_count_from_another_number_do_not_fit(step, said):
    labels = [1 + i % 2 if step > 0 else 2 - i % 2 for i in range(40)]
    pairs = [((label - (step > 0),), label - (step > 0) + step * (i % 5 > 0)) for i, label in enumerate(labels)]
    *_, last = answers.findings(counted(pairs), NAMES)
    # Four of five first choices are the next number.
    assert last.startswith("the labels do not fit the model's classes: 8 of 40 first choices are the label, and 32 are")
    assert said in last


@pytest.mark.parametrize(
    "pairs",
    [
        [((i % 3,), i % 3) for i in range(30)],  # right
        [((1,), 1)] * 30,  # images of one class, rightly named
        [((), 1)] * 19,  # few, of which nothing is known
        [((0,), 1), ((2,), 1)],  # too few to tell
    ],
)
def test_what_can_be_right_is_no_finding(pairs):
    assert answers.findings(counted(pairs), NAMES) == []


def test_without_labels_many_equal_answers_are_a_finding():
    assert answers.findings(counted([((), 1)] * 20), NAMES)


def test_a_few_records_must_be_as_bad_as_chance():
    fair = counted([((i % 2,), i % 2 if i % 3 else 1 - i % 2) for i in range(9)])  # 6 of 9
    assert answers.findings(fair, NAMES) and not answers.findings(fair, NAMES, few=True)


def test_equal_numbers():
    assert answers.equal([np.array([3.0, 1.0]), np.array([3.0, 1.0 + 1e-8])])
    assert not answers.equal([np.array([3.0]), np.array([3.1])])
    assert not answers.equal([np.array([3.0])])

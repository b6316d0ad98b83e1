"""Looks at an audit: what each may spend, which are left out, and what no image has shown."""

from __future__ import annotations

import math

import pytest

from heatbeam.transforms.metrics.alarms import looks


def test_what_the_looks_spend_adds_up_to_the_whole_level():
    assert [one.share for one in looks.LOOKS] == [0.05, 0.1, 0.2, 0.4, 1]
    assert math.fsum(one.of_rate for one in looks.LOOKS) == pytest.approx(1, abs=1e-12)
    assert math.fsum(one.of_interval for one in looks.LOOKS) == pytest.approx(1, abs=1e-12)
    assert [one.is_last for one in looks.LOOKS] == [False] * 4 + [True]


@pytest.mark.parametrize(
    ("images", "shares", "of_rate"),
    [
        (600, [0.05, 0.1, 0.2, 0.4, 1], [0.1, 0.4, 0.05, 0.05, 0.4]),
        (599, [0.1, 0.2, 0.4, 1], [0.5, 0.05, 0.05, 0.4]),
        (100, [0.4, 1], [0.6, 0.4]),
        (10, [1], [1.0]),
    ],
)
def test_looks_that_see_too_few_images_leave_what_they_have_to_the_next(images, shares, of_rate):
    planned = looks.planned(images, 30)
    assert [one.share for one in planned] == shares
    assert [one.of_rate for one in planned] == pytest.approx(of_rate)
    assert math.fsum(one.of_interval for one in planned) == pytest.approx(1)


@pytest.mark.parametrize(("images", "shares"), [(400, [0.05, 0.1, 0.2, 0.4, 1]), (399, [0.1, 0.2, 0.4, 1]), (19, [1])])
def test_a_look_that_may_see_no_image_at_all_is_left_out_whatever_a_gate_wants(images, shares):
    assert [one.share for one in looks.planned(images, 0)] == shares


def test_what_no_image_has_shown():
    # Of images that lose 1, one in fifty brings the mean to 0.02: 150 show none in 0.98^150.
    assert looks.unseen(150, 0.02, 1.0) == pytest.approx(0.98**150)
    assert looks.unseen(150, 0.02, 2.0) == pytest.approx(0.99**150)  # of a metric from -1 to 1
    assert looks.unseen(3, 1.5, 1.0) == 0.0  # no images at all could
    assert looks.unseen(150, -0.01, 1.0) == 1.0  # it is on the other side already
    assert looks.unseen(150, 0.02, math.inf) == 0.0  # nothing is known of what an image can do

"""Boxes that are read by a wrong convention are noticed, and right ones are left alone."""

from __future__ import annotations

import io
import itertools

import numpy as np
import pytest

from heatbeam import config
from heatbeam.job import box_fit
from heatbeam.job.check import dry_run
from heatbeam.transforms.sources import box_conventions
from tests.support import small_runs

SIZES = [(640, 480), (480, 640), (500, 375), (375, 500)]
KNOWN = list(box_conventions.KNOWN.values())


def stored(convention: box_conventions.BoxConvention, count: int = 40) -> list[box_fit.StoredBoxes]:
    """Boxes at whole pixels, every fourth over its whole image, as a data set of a convention writes them."""
    rng = np.random.default_rng(1)
    found = []
    for number in range(count):
        width, height = SIZES[number % 4]
        x0, y0 = rng.integers(0, width - 40), rng.integers(0, height - 40)
        box = [x0, y0, rng.integers(x0 + 20, width), rng.integers(y0 + 20, height)]
        whole = np.array([[0, 0, width, height] if number % 4 == 0 else box], float)
        found.append(box_fit.StoredBoxes(convention.as_stored(whole, (width, height)), (width, height)))
    return found


@pytest.mark.parametrize("convention", KNOWN, ids=box_conventions.KNOWN)
def test_the_right_convention_raises_no_warning(convention):
    assert list(box_fit.warnings(convention, stored(convention))) == []


_EACH = itertools.product(box_conventions.UNITS, box_conventions.ORDERS)
PLAIN = [box_conventions.BoxConvention(units, order) for units, order in _EACH]


@pytest.mark.parametrize("written", PLAIN, ids=lambda one: f"{one.units}-{one.order}")
@pytest.mark.parametrize("read", PLAIN, ids=lambda one: f"{one.units}-{one.order}")
def test_a_wrong_convention_is_named_with_the_right_one(read, written):
    """But for fractions in another order of corners, which lie in their images as well."""
    said = list(box_fit.warnings(read, stored(written)))
    corners = {"xyxy", "yxyx"}
    if read == written or (read.units == written.units == "fractions" and {read.order, written.order} == corners):
        assert said == []
    else:
        (line,) = said
        assert f"input says ({read.in_words()})" in line and "40 do with" in line
        assert f"({written.in_words()})" in line.split("do with")[1]


@pytest.mark.parametrize(
    ("read", "written", "words"),
    [
        (("pixels", "xyxy"), ("pixels", "xyxy", 1), "20 edges are at 1: input.box_origin: 1 fits better"),
        (("fractions", "yxyx"), ("fractions", "yxyx", 1), "20 edges are at 1: input.box_origin: 1 fits better"),
        (("pixels", "xywh"), ("pixels", "xywh", 1), "20 edges are at 1: input.box_origin: 1 fits better"),
        (("pixels", "xyxy", 1), ("pixels", "xyxy"), "20 edges of boxes are at column or row 0: input.box_origin: 0"),
        (("pixels", "xyxy"), ("pixels", "xyxy", 0, "inclusive"), "edges are at the last: input.box_end: inclusive"),
        (("pixels", "xyxy", 0, "inclusive"), ("pixels", "xyxy"), "behind the last pixel: input.box_end: exclusive"),
    ],
)
def test_the_number_of_the_first_and_last_pixel_shows_at_the_edges(read, written, words):
    (line,) = box_fit.warnings(box_conventions.BoxConvention(*read), stored(box_conventions.BoxConvention(*written)))
    assert words in line


def test_a_few_bad_boxes_and_none_at_all_say_nothing():
    good = stored(box_conventions.USUAL)
    bad = [box_fit.StoredBoxes(np.array([[0.5, 0.5, 0.5, 0.6], [np.nan, 0, 1, 1]]), (640, 480))]
    assert list(box_fit.warnings(box_conventions.USUAL, [*good, *bad])) == []
    assert list(box_fit.warnings(box_conventions.USUAL, [])) == []


def test_check_warns_of_boxes_in_pixels(tmp_path):
    """COCO's ``x y width height`` in the features of four sides, read as fractions and then as what they are."""
    changes = [
        {
            "image/object/bbox/xmin": [12 + i],
            "image/object/bbox/ymin": [9 + i],
            "image/object/bbox/xmax": [8],
            "image/object/bbox/ymax": [7],
        }
        for i in range(4)
    ]
    floats = [{name: [float(value) for value in values] for name, values in one.items()} for one in changes]
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i, **one) for i, one in enumerate(floats)], 1)
    text = said(small_runs.settings(pattern, tmp_path / "run"))
    assert "of 4 boxes 0 lie in their images" in text
    assert "4 do with (box_units: pixels, box_order: xywh)" in text
    right = ("input.box_units=pixels", "input.box_order=xywh")
    pattern = small_runs.write(tmp_path / "whole", [small_runs.record(i, **one) for i, one in enumerate(changes)], 1)
    text = said(small_runs.settings(pattern, tmp_path / "run", *right))
    assert "boxes" in text and "lie in their images" not in text


def said(settings: config.RunConfig) -> str:
    stream = io.StringIO()
    dry_run.check(settings, 4, stream)
    return stream.getvalue()

"""Plots: where the points are, what is left out, and that texts are escaped."""

from __future__ import annotations

import re

import numpy as np
import pytest

from heatbeam.pages import plots


def points(svg):
    return [
        [tuple(map(float, point.split(","))) for point in found.split()]
        for found in re.findall(r'points="([^"]*)"', svg)
    ]


def curve(x, y, **changes):
    given = {"title": "t", "x_label": "x", "y_label": "y"} | changes
    return plots.curves([plots.Series("one", np.array(x, float), np.array(y, float), "s0")], **given)


def test_corners_of_the_unit_square():
    [[first, last]] = points(curve([0, 1], [0, 1]))
    # 38 px left of the plot, 10 right of it and above, 34 below.
    assert first == (38, 260 - 34) and last == (420 - 10, 10)


def test_missing_values_leave_a_gap():
    assert [len(part) for part in points(curve(np.linspace(0, 1, 5), [0, 1, np.nan, 1, 0]))] == [2, 2]
    assert points(curve([0, 1], [np.nan, np.nan])) == []


def test_long_curves_are_thinned_and_keep_their_ends():
    [found] = points(curve(np.linspace(0, 1, 1000), np.linspace(0, 1, 1000)))
    assert len(found) <= plots.MAX_POINTS + 1
    assert found[0] == (38, 226) and found[-1] == (410, 10)


def test_texts_are_escaped():
    svg = curve([0, 1], [0, 1], title='"><script>', x_label="<x>", y_label="<y>")
    assert "<script>" not in svg and "<x>" not in svg and "&lt;y&gt;" in svg


def test_histogram_bars_are_as_high_as_their_share_of_the_highest():
    counts = np.zeros(100, np.int64)
    counts[0:4] = 5  # the first of 25 bars: 20
    counts[99] = 10
    svg = plots.histogram(counts, "s1", "t")
    heights = [float(h) for h in re.findall(r'<rect [^>]*height="([\d.]+)"', svg)]
    assert heights == [42, 21]


def test_quantiles_are_linear_within_a_bin():
    counts = np.array([0, 4, 0, 4])
    assert plots.quantile(counts, 0.25) == pytest.approx(0.375) and plots.quantile(counts, 0.75) == pytest.approx(0.875)
    assert np.isnan(plots.quantile(np.zeros(4, np.int64), 0.5))


def test_interval_lies_between_its_ends():
    svg = plots.interval(0.5, 0.25, 0.75, 0, 1, "own")
    assert 'x1="26.5" x2="73.5"' in svg and 'x="48.5"' in svg
    assert "whisker" not in plots.interval(0.5, np.nan, np.nan, 0, 1, "own")

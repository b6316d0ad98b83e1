"""The shortcut audit: every number by arithmetic on maps of four cells and tables of a few classes."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

from heatbeam.audit import map_scan, shortcuts
from heatbeam.transforms.metrics import slicing

UPPER_LEFT = [[1.0, 0.0], [0.0, 0.0]]
EVEN = [[0.25, 0.25], [0.25, 0.25]]


def group(class_id, first=EVEN, second=None, *, n=100, scope=slicing.EVERYTHING, spread=0.1, **means):
    """One class: the mean energy of its halves, and the means of its columns; deviations are `spread`."""
    given = {"energy_share": 0.5, "border_share": 0.1, "corner_share": 0.1, "centroid_x": 0.5, "centroid_y": 0.5}
    return map_scan.Group(
        method="cam", scope=scope, class_id=class_id, n=n, means=given | means,
        deviations=dict.fromkeys(given, spread), halves=np.array([first, first if second is None else second]),
        half_n=(n // 2, n - n // 2),
    )  # fmt: skip


def test_excess_is_what_both_halves_have_and_the_others_have_not():
    halves = np.array([[[0.7, 0.1], [0.1, 0.1]], [[0.5, 0.3], [0.1, 0.1]]])
    # Cell 0: min(0.7 - 0.25, 0.5 - 0.25); cell 1: the first half has less than the others.
    np.testing.assert_allclose(shortcuts.excess(halves, np.array(EVEN)), [[0.25, 0], [0, 0]])


def test_median_of_the_others():
    values = np.array([[5.0, 1], [1, 1], [2, 2], [9, 7]])
    # Column 0: of 1 2 9, of 5 2 9, of 5 1 9, of 5 1 2; column 1: of 1 2 7, of 1 2 7, of 1 1 7, of 1 1 2.
    np.testing.assert_allclose(shortcuts.medians_of_others(values), [[2, 2], [5, 2], [5, 1], [2, 1]])
    # Of four others the mean of the middle two.
    five = shortcuts.medians_of_others(np.array([[1.0], [2], [3], [4], [10]]))
    np.testing.assert_allclose(five[:, 0], [3.5, 3.5, 3, 2.5, 2.5])


def test_robust_z_leaves_the_class_out_and_adds_floor_and_error():
    indicator = shortcuts.Indicator("x", 1, 0.03, 0.1, "x", "x")
    values = np.array([0.9, 0.1, 0.2, 0.3, 0.4, 0.5])
    errors = np.array([0.04, 0, 0, 0, 0, 0])
    medians, z = shortcuts.robust_z(values, errors, indicator)
    # Of 0.9 the others are 0.1 .. 0.5: median 0.3, absolute deviations 0.2 0.1 0 0.1 0.2, MAD 0.1.
    assert medians[0] == pytest.approx(0.3)
    assert z[0] == pytest.approx(0.6 / math.sqrt((1.4826 * 0.1) ** 2 + 0.03**2 + 0.04**2))
    # Of 0.3 the others are 0.1 0.2 0.4 0.5 0.9: median 0.4, deviations 0.3 0.2 0 0.1 0.5, MAD 0.2.
    assert z[3] == pytest.approx(-0.1 / math.sqrt((1.4826 * 0.2) ** 2 + 0.03**2))


def test_robust_z_of_an_indicator_that_is_suspicious_when_small():
    indicator = shortcuts.Indicator("x", -1, 0.03, 0.1, "x", "x")
    _, z = shortcuts.robust_z(np.array([0.1, 0.4, 0.4, 0.4, 0.4]), np.zeros(5), indicator)
    assert z[0] == pytest.approx(0.3 / 0.03)


def test_robust_z_ignores_classes_without_the_number_and_needs_four_others():
    indicator = shortcuts.INDICATORS[1]
    medians, z = shortcuts.robust_z(np.array([0.9, np.nan, 0.5, 0.5, 0.5]), np.zeros(5), indicator)
    assert np.isnan(medians).all() and np.isnan(z).all()
    medians, z = shortcuts.robust_z(np.array([0.9, np.nan, 0.5, 0.5, 0.5, 0.5]), np.zeros(6), indicator)
    assert medians[0] == 0.5 and np.isnan(z[1]) and z[0] == pytest.approx(0.4 / indicator.floor)


def test_audit_finds_the_planted_class():
    # The planted class looks at one cell, off the object, in the corners.
    planted = group(3, UPPER_LEFT, energy_share=0.1, border_share=0.9, corner_share=0.9, spread=0.02)
    findings = shortcuts.audit([group(i) for i in range(3)] + [planted] + [group(i) for i in range(4, 7)])
    first = findings[0]
    assert (first.class_id, first.suspect, first.place, first.n) == (3, True, "upper left", 100)
    assert [f.suspect for f in findings[1:]] == [False] * 6
    # Own place: min over halves of max(1 - 0.25, 0) = 0.75; the others have none.
    assert first.values["fixed_place"] == pytest.approx(0.75) and first.medians["fixed_place"] == 0
    assert first.values["outside_share"] == pytest.approx(0.9) and first.medians["outside_share"] == 0.5
    # z: the others are equal, so the floor and the error are all there is.
    assert first.z["fixed_place"] == pytest.approx(0.75 / math.hypot(0.03, math.sqrt(0.75 * 0.25 / 100)))
    assert first.z["outside_share"] == pytest.approx(0.4 / math.hypot(0.03, 0.02 / 10))
    # Dispersion: sqrt(2) s, against sqrt(2) 0.1 of the others; error s / sqrt(2 n).
    own, others = math.sqrt(2) * 0.02, math.sqrt(2) * 0.1
    z_spread = (others - own) / math.hypot(0.015, own / math.sqrt(200))
    assert first.z["centroid_dispersion"] == pytest.approx(z_spread)
    cut = [min(z, 10) for z in first.z.values()]
    assert first.score == pytest.approx(sum(cut) / 5)
    np.testing.assert_allclose(first.others_map, EVEN)


@pytest.mark.parametrize("axes", [1, 3])
def test_dispersion_is_over_the_axes_that_there_are(axes):
    """sqrt(axes) s; centroids along an axis that is not there are NaN, or have no column."""
    halves = np.full((2,) + (2,) * axes, 1 / 2**axes)
    missing = dict.fromkeys(map_scan.CENTROIDS[axes:2], math.nan)
    groups = []
    for i in range(5):
        one = group(i, spread=0.1 + i / 100)
        deviations = one.deviations | dict.fromkeys(map_scan.CENTROIDS[:axes], 0.1 + i / 100) | missing
        groups.append(dataclasses.replace(one, halves=halves, deviations=deviations))
    found = {finding.class_id: finding.values["centroid_dispersion"] for finding in shortcuts.audit(groups)}
    assert found == {i: pytest.approx(math.sqrt(axes) * (0.1 + i / 100)) for i in range(5)}


def test_reasons_are_plain_words_and_begin_with_the_place():
    planted = group(9, UPPER_LEFT, energy_share=0.1, border_share=0.9)
    reasons = shortcuts.audit([*(group(i) for i in range(6)), planted])[0].reasons()
    assert reasons == [
        "75% of the energy comes back at one place of its own, upper left (other classes 0%)",
        "90% of the energy lies at the border (other classes 10%)",
        "90% of the energy lies off the object (other classes 50%)",
    ]


def test_a_clean_run_has_no_suspect():
    rng = np.random.default_rng(0)
    groups = []
    for i in range(200):
        halves = rng.dirichlet(np.full(4, 40), size=2).reshape(2, 2, 2)
        means = {"energy_share": 0.5 + 0.05 * rng.normal(), "border_share": 0.1 + 0.02 * abs(rng.normal())}
        groups.append(group(i, halves[0], halves[1], n=50, **means))
    findings = shortcuts.audit(groups)
    assert len(findings) == 200 and not any(f.suspect for f in findings)
    assert max(f.score for f in findings) < 3


def test_a_place_alone_is_no_suspect():
    # A class that always lies in one place, on its object, neither at a border nor in a corner.
    findings = shortcuts.audit([*(group(i) for i in range(6)), group(6, UPPER_LEFT)])
    mine = next(f for f in findings if f.class_id == 6)
    assert mine.z["fixed_place"] > shortcuts.Z_FIXED and not mine.suspect


def test_chance_that_differs_between_the_halves_is_no_place():
    noisy = group(6, UPPER_LEFT, [[0.0, 0.0], [0.0, 1.0]], border_share=0.9)
    mine = next(f for f in shortcuts.audit([*(group(i) for i in range(6)), noisy]) if f.class_id == 6)
    assert mine.values["fixed_place"] == 0 and not mine.suspect


def test_small_classes_are_not_judged_and_few_classes_not_compared():
    planted = group(9, UPPER_LEFT, border_share=0.9, n=shortcuts.MIN_IMAGES - 1)
    assert 9 not in {f.class_id for f in shortcuts.audit([*(group(i) for i in range(6)), planted])}
    assert shortcuts.audit([group(i) for i in range(shortcuts.MIN_OTHERS)]) == []


def test_a_slice_is_held_against_its_own_slice():
    left, right = ("camera", "left"), ("camera", "right")
    clean = [group(i, scope=scope) for scope in (left, right) for i in range(5)]
    planted = group(5, UPPER_LEFT, border_share=0.9, scope=right)
    findings = shortcuts.audit([*clean, group(5, scope=left), planted])
    assert [(f.class_id, f.scope) for f in findings if f.suspect] == [(5, right)]


def test_without_ground_truth_the_other_indicators_judge():
    nothing = {"energy_share": math.nan}
    planted = group(9, UPPER_LEFT, border_share=0.9, **nothing)
    first = shortcuts.audit([*(group(i, **nothing) for i in range(6)), planted])[0]
    assert first.suspect and math.isnan(first.z["outside_share"])
    finite = [min(max(z, 0), 10) for z in first.z.values() if math.isfinite(z)]
    assert len(finite) == 4 and first.score == pytest.approx(sum(finite) / 4)


@pytest.mark.parametrize(
    ("cell", "name"),
    [
        ((0, 0), "upper left"),
        ((0, 4), "upper middle"),
        ((4, 4), "centre"),
        ((8, 8), "lower right"),
        ((4, 8), "middle right"),
    ],
)
def test_place_in_words(cell, name):
    energy = np.zeros((9, 9))
    energy[cell] = 1
    assert shortcuts.place_of(energy) == name


def test_no_energy_is_nowhere():
    assert shortcuts.place_of(np.zeros((3, 3))) == "nowhere"


@pytest.mark.parametrize(
    ("shape", "cell", "name"),
    [
        ((9,), (0,), "at the start"),
        ((9,), (4,), "in the middle"),
        ((6, 9, 9), (5, 0, 8), "upper right, in the last planes"),
        ((1, 9, 9), (0, 4, 4), "centre"),
    ],
)
def test_places_of_series_and_volumes_have_words(shape, cell, name):
    energy = np.zeros(shape)
    energy[cell] = 1
    assert shortcuts.place_of(energy) == name

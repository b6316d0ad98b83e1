"""Sick maps in words: the same rule for the report of a run and for the check before it."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.audit import map_health
from heatbeam.transforms.metrics import map_statistics

GRID = 7
RISING = np.arange(GRID * GRID, dtype=np.float32).reshape(GRID, GRID)


def spike(row: int, column: int) -> np.ndarray:
    raw = np.zeros((GRID, GRID), np.float32)
    raw[row, column] = 1
    return raw


def ring() -> np.ndarray:
    raw = np.ones((GRID, GRID), np.float32)
    raw[1:-1, 1:-1] = 0
    return raw


SICK = {
    "nan": np.full((GRID, GRID), np.nan, np.float32),
    "constant": np.ones((GRID, GRID), np.float32),
    "blank": -RISING,
    "saturated": np.where(RISING > 10, 1, 0).astype(np.float32),
    "single_cell": spike(3, 3),
    "edge_locked": ring(),
}


def health_of(*maps: np.ndarray) -> map_health.MethodHealth:
    health = map_health.MethodHealth("cam")
    health.add(map_statistics.health(np.stack(maps)))
    return health


@pytest.mark.parametrize("flag", SICK)
def test_each_flag_is_counted_said_and_has_a_cause(flag):
    health = health_of(SICK[flag], RISING, RISING)
    found = dict(health.alerts())
    assert (health.maps, health.sick, health.useless) == (3, 1, flag in ("nan", "constant", "blank"))
    assert found[flag].startswith(f"1 of 3 maps of cam are {flag} (")
    assert flag in map_health.CAUSES


def test_healthy_maps_give_no_alert():
    assert list(health_of(RISING, RISING[::-1]).alerts()) == []


def test_one_map_in_a_hundred_is_an_alert_and_fewer_are_not():
    health = health_of(SICK["blank"])
    health.maps = 100
    assert [flag for flag, _ in health.alerts()] == ["blank"]
    health.maps = 101
    assert list(health.alerts()) == []


@pytest.mark.parametrize(
    ("same", "others", "min_pairs", "class_free", "alert"),
    [(5, 5, 10, False, True), (4, 6, 10, False, False), (5, 4, 10, False, False), (2, 0, 2, False, True),
     (10, 0, 10, True, False)],
    ids=["half", "fewer", "too few pairs", "a check of two", "by design"],
)  # fmt: skip
def test_class_independent_maps(same, others, min_pairs, class_free, alert):
    health = map_health.MethodHealth("cam", class_free=class_free)
    health.add_pairs(np.stack([RISING] * (same + others)), np.stack([2 * RISING] * same + [-RISING] * others))
    assert (health.pairs, health.same) == (same + others, same)
    assert [flag for flag, _ in health.alerts(min_pairs)] == ["class_independent"] * alert


def test_a_constant_map_is_no_map_of_another_class():
    assert map_health.same_maps(np.array([0.99, 0.98, np.nan, 1.0])).tolist() == [True, False, False, True]


def test_every_flag_has_a_meaning_and_a_cause():
    assert set(map_health.FLAGS) == set(map_health.CAUSES) == {*map_statistics.HEALTH_FLAGS, "class_independent"}

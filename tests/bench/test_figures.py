"""The arithmetic of the figures, and how they are written."""

from __future__ import annotations

import json
import math
import pathlib
import time

import pytest

from tests.benchmarks import figures

PAIRS = [(1.0, 2.0), (3.0, 3.0), (2.0, 8.0)]


def test_a_cost_is_the_median_of_the_ratios_of_neighbours_not_the_ratio_of_medians() -> None:
    found = figures.cost("a", PAIRS, figures.Goal(high=0.5), "how", work=6.0)
    assert (found.ratio, found.spread, found.met) == (0.5, (0.25, 1.0), True)
    assert found.measured == {"ours_images_per_s": 3.0, "reference_images_per_s": 2.0, "rounds": 3}


def test_a_speedup_is_the_other_way_round() -> None:
    found = figures.speedup("a", PAIRS, figures.Goal(low=2.1), "how")
    assert (found.ratio, found.spread, found.met) == (2.0, (1.0, 4.0), False)


def test_a_disturbed_round_is_left_out_and_nothing_left_meets_no_goal() -> None:
    found = figures.cost("a", [*PAIRS, (math.nan, 1.0), (1.0, math.nan)], None, "how")
    assert (found.ratio, found.measured["rounds"], found.met) == (0.5, 3, None)
    empty = figures.cost("a", [(math.nan, 1.0)], figures.Goal(high=9.0), "how")
    assert math.isnan(empty.ratio) and empty.met is False


@pytest.mark.parametrize(
    ("goal", "ratio", "met"),
    [
        (figures.Goal(high=1.15), 1.15, True),
        (figures.Goal(high=1.15), 1.1501, False),
        (figures.Goal(low=0.95), 0.95, True),
        (figures.Goal(low=0.95), 0.9499, False),
        (figures.Goal(low=0.95), math.nan, False),
    ],
)
def test_a_goal_holds_its_bound(goal: figures.Goal, ratio: float, met: bool) -> None:
    assert goal.is_met(ratio) is met


def test_both_are_run_in_turn_after_one_run_that_is_not_measured() -> None:
    calls: list[str] = []

    def slow() -> None:
        calls.append("A")
        time.sleep(0.02)

    pairs = figures.alternate(slow, lambda: calls.append("B"), rounds=3)
    assert "".join(calls) == "ABABABAB" and len(pairs) == 3
    assert all(ours >= 0.02 and reference >= 0 for ours, reference in pairs)


def test_json_has_the_stated_keys_and_reads_back(tmp_path: pathlib.Path) -> None:
    made = [
        figures.cost("timed", PAIRS, figures.Goal(high=1.15), "how it was"),
        figures.single("counted", 0.25, None, "bytes", mebibytes=2.0, device="CPU"),
        figures.cost("lost", [(math.nan, 1.0)], figures.Goal(low=0.9), "how"),
    ]
    path = tmp_path / "bench.json"
    figures.write_json(made, str(path))
    listed = json.loads(path.read_text())
    assert list(listed[0]) == ["name", "ratio", "spread", "goal", "met", "how", "measured"]
    assert listed[0] | {"measured": {}} == {
        "name": "timed",
        "ratio": 0.5,
        "spread": [0.25, 1.0],
        "goal": "<= 1.15",
        "met": True,
        "how": "how it was",
        "measured": {},
    }
    assert (listed[1]["goal"], listed[1]["met"]) == (None, None)
    assert (listed[2]["ratio"], listed[2]["spread"], listed[2]["met"]) == (None, [None, None], False)
    back = figures.read_json(str(path))
    assert back[:2] == made[:2] and back[2].as_dict() == made[2].as_dict()


def test_the_table_says_what_is_not_met() -> None:
    text = figures.table(
        [
            figures.cost("slow", PAIRS, figures.Goal(high=0.4), "x"),
            figures.cost("fast", PAIRS, figures.Goal(high=0.6), "y"),
        ]
    )
    lines = [line.split() for line in text.splitlines() if not line.startswith("    ")]
    assert lines[1:] == [
        ["slow", "0.500", "0.250", "1.000", "<=", "0.4", "NO"],
        ["fast", "0.500", "0.250", "1.000", "<=", "0.6", "yes"],
    ]

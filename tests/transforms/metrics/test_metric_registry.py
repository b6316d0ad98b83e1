"""The table of metrics covers what is measured and what is shown."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys

import numpy as np
import pytest

from heatbeam.transforms.metrics import map_statistics, protocols, registry, summary, value_errors
from heatbeam.transforms.metrics.localization import localization, top_k


def test_a_column_is_described_once() -> None:
    names = registry.columns((registry.FAITHFULNESS | registry.LOCALIZATION).values(), rank=3)
    assert len(set(names)) == len(names) == len(registry.COLUMNS)
    assert localization.columns(registry.LOCALIZATION) == registry.columns(registry.LOCALIZATION.values())
    assert registry.columns([registry.OF_A_MAP["statistics"]]) == map_statistics.NAMES
    assert all(column.description for column in registry.COLUMNS.values())


@pytest.mark.parametrize("group", (registry.FAITHFULNESS | registry.LOCALIZATION).values(), ids=lambda one: one.name)
def test_a_group_names_a_function_that_takes_one_thing(group: registry.Group) -> None:
    assert len(inspect.signature(group.function).parameters) == 1


def test_every_number_of_a_state_has_a_definition() -> None:
    state = summary.MetricState(protocols.DEFAULT, 3)
    names = [*localization.columns(localization.GROUPS), *top_k.TOP_COLUMNS, *top_k.LABEL_COLUMNS]
    for class_id in (0, 1):
        pixels = np.ones((2, 1001), np.int64)
        hits = np.ones((2, 3, 1000), dtype=bool)
        state.add(localization.Evidence(class_id, dict.fromkeys(names, 1.0), hits, pixels), "image")
    for row in state.summary_rows(state.best_thresholds()):
        assert registry.described(row.metric) is not None or row.metric in registry.COLUMNS, row.metric


def test_a_mean_is_of_a_column_that_its_group_writes() -> None:
    derived = {*top_k.TOP_COLUMNS, *top_k.LABEL_COLUMNS, *value_errors.COLUMNS}
    for metric in registry.METRICS.values():
        assert not metric.column or metric.column in registry.COLUMNS or metric.column in derived
    for group in registry.FAITHFULNESS.values():
        assert [metric.column for metric in group.metrics] == list(registry.columns([group]))
    assert registry.dataset_name("confidence_drop") == "average_drop" and registry.is_proportion("confidence_increase")


def test_names_are_unique_and_texts_complete() -> None:
    groups = [registry.LABELS, registry.VALUES, *registry.LOCALIZATION.values(), *registry.FAITHFULNESS.values()]
    names = [metric.name for group in groups for metric in group.metrics]
    assert len(set(names)) == len(names) == len(registry.METRICS)
    for metric in registry.METRICS.values():
        assert metric.definition.endswith(".") and metric.formula and metric.range


def test_what_is_shown_has_a_rank_of_its_own_and_what_it_needs_there() -> None:
    ranks = [metric.rank for metric in registry.METRICS.values() if metric.rank]
    assert len(set(ranks)) == len(ranks)
    for metric in registry.METRICS.values():
        assert bool(metric.rank) == bool(metric.shown or metric.distribution)
        assert bool(metric.plain) == ("cards" in metric.shown)
        assert not metric.distribution or registry.COLUMNS[metric.column].range == "[0, 1]"


@pytest.mark.parametrize(
    ("place", "known"),
    [
        ("cards", "top1_accuracy energy_pointing_game pointing_game max_box_acc_v2 pxap insertion average_drop"),
        ("findings", "energy_pointing_game max_box_acc_v2 pxap"),
        (
            "history",
            "top1_accuracy energy_pointing_game energy_gain pointing_game max_box_acc_v2 pxap insertion deletion",
        ),
        (
            "classes",
            "top1_accuracy energy_pointing_game pointing_game box_acc_at_run_threshold_single_50 mean_box_iou pxap",
        ),
        (
            "methods",
            "energy_pointing_game max_box_acc_v2 max_box_acc gt_known_loc pxap insertion average_drop adcc road",
        ),
    ],
)
def test_what_is_shown_stays_and_in_this_order(place: registry.Place, known: str) -> None:
    shown = [metric.shown_name for metric in registry.shown(place)]
    assert [name for name in shown if name in known.split()] == known.split()


@pytest.mark.parametrize(
    ("name", "better", "title"),
    [
        ("max_box_acc_v2_iou30", "higher", "Max box acc v2 iou30"),
        ("max_box_acc_iou30", "higher", "Max box acc iou30"),
        ("box_acc_at_run_threshold_single_50", "higher", "Box accuracy"),
        ("best_mask_iou_threshold", "none", "Best mask iou threshold"),
        ("deletion", "lower", "Deletion"),
        ("pxap", "higher", "PxAP"),
        ("my_score", "none", "My score"),
    ],
)
def test_a_number_is_read_by_the_metric_it_belongs_to(name: str, better: str, title: str) -> None:
    assert (registry.better(name), registry.title(name)) == (better, title)


@pytest.mark.parametrize(
    ("column", "name", "proportion"),
    [
        ("box_hit", "gt_known_loc", True),
        ("energy_share", "energy_pointing_game", False),
        ("my_score", "my_score", False),
    ],
)
def test_columns_become_metrics(column: str, name: str, proportion: bool) -> None:
    assert registry.dataset_name(column) == name and registry.is_proportion(column) == proportion


def test_an_unknown_faithfulness_metric_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="unknown metric 'insertoin', did you mean insertion"):
        registry.faithfulness(["drop", "insertoin"])
    assert [group.name for group in registry.faithfulness(["road", "drop"])] == ["drop", "road"]


def test_the_table_imports_no_formula() -> None:
    program = "import sys, heatbeam.transforms.metrics.registry\n"
    program += "print([m for m in sys.modules if m in ('numpy', 'cv2', 'scipy', 'numba')])"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_row_cannot_be_changed() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        registry.METRICS["pxap"].better = "lower"  # type: ignore[misc]

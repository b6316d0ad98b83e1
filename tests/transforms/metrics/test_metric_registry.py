"""The table of metrics covers what is measured."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms.metrics import localization, protocols, registry, summary


def test_every_column_is_described() -> None:
    assert [column.name for column in registry.COLUMNS] == list(localization.columns(localization.GROUPS))


def test_every_number_of_a_state_has_a_definition() -> None:
    state = summary.MetricState(protocols.DEFAULT, 3)
    names = [*localization.columns(localization.GROUPS), "top1_hit", "top1_gap", "top5_hit", "top5_gap"]
    for class_id in (0, 1):
        pixels = np.ones((2, 1001), np.int64)
        hits = np.ones((2, 3, 1000), dtype=bool)
        state.add(localization.Evidence(class_id, dict.fromkeys(names, 1.0), hits, pixels), "image")
    known = {metric.name for metric in registry.METRICS}
    plain = {column.name for column in registry.COLUMNS}
    for row in state.summary_rows(state.best_thresholds()):
        stem = row.metric.split("_iou")[0] if row.metric.startswith("max_box") else row.metric
        for prefix in ("box_acc_at_run_threshold", "best_box_threshold"):
            stem = prefix if stem.startswith(prefix) else stem
        assert stem.removesuffix("_threshold") in known or stem in known | plain, row.metric


def test_every_score_column_is_averaged_into_a_metric() -> None:
    columns = [column.name for column in registry.SCORE_COLUMNS]
    of_metrics = [metric.column for metric in registry.METRICS if metric in registry.MODEL_METRICS]
    assert columns == of_metrics
    assert registry.dataset_name("confidence_drop") == "average_drop" and registry.is_proportion("confidence_increase")


def test_names_are_unique_and_texts_complete() -> None:
    names = [metric.name for metric in registry.METRICS]
    assert len(set(names)) == len(names)
    for metric in registry.METRICS:
        assert metric.definition.endswith(".") and metric.formula and metric.range


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

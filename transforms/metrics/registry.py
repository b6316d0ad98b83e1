"""Every metric: what it is, in words and as a formula, what it costs, how to read it and where it is shown.

Configuration, table schemas, report, comparison, gate, history, check and ``heatbeam metrics`` read from here. A
per-image column of ``explanations`` is averaged over a slice into the metric of `dataset_name`; a column without an
entry keeps its name. This module imports no formula.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from heatbeam.transforms.metrics.catalogue import faithfulness as faithfulness_rows
from heatbeam.transforms.metrics.catalogue import localization as localization_rows
from heatbeam.transforms.metrics.catalogue import metric

Column = metric.Column
Curve = metric.Curve
Direction = metric.Direction
Group = metric.Group
Metric = metric.Metric
Passes = metric.Passes
PassSettings = metric.PassSettings
Place = metric.Place

OF_A_MAP = {group.name: group for group in localization_rows.OF_A_MAP}
"""Groups measured on a raw map alone, by name."""

OF_A_VIEW = {group.name: group for group in localization_rows.OF_A_VIEW}
"""Groups measured on a raw map and the part of the image that it covers, by name."""

WITHOUT_TRUTH = OF_A_MAP | OF_A_VIEW
"""What needs no ground truth: measured in every run."""

OF_AN_OBJECT = {group.name: group for group in localization_rows.OF_AN_OBJECT}
"""Groups measured on a map against the ground truth of its class, by name."""

LOCALIZATION = WITHOUT_TRUTH | OF_AN_OBJECT
"""All, in the order of their columns."""

FAITHFULNESS = {group.name: group for group in faithfulness_rows.GROUPS}
"""Groups measured where the model is, by their name in the configuration, in the order of their columns."""

LABELS = localization_rows.LABELS
"""The model's own numbers."""

VALUES = localization_rows.VALUES
"""The own numbers of a model that gives values."""

_GROUPS = (LABELS, VALUES, *LOCALIZATION.values(), *FAITHFULNESS.values())

METRICS = {one.name: one for group in _GROUPS for one in group.metrics}
"""Every metric by name, in the order in which it is listed."""

COLUMNS = {column.name: column for group in (FAITHFULNESS | LOCALIZATION).values() for column in group.columns}
"""Every per-image column by name."""

CURVES = {curve.name: (curve, group) for group in FAITHFULNESS.values() for curve in group.curves}
"""Every curve of a map by name, and its group."""

OF_THE_MODEL = frozenset(one.name for one in (*LABELS.metrics, *VALUES.metrics))
"""Names of the metrics that are the model's own."""

_BY_COLUMN = {one.column: one for one in METRICS.values() if one.column}


def dataset_name(column: str) -> str:
    """Name of the metric that is the mean of a per-image column; the column's own name if none is listed."""
    return _BY_COLUMN[column].name if column in _BY_COLUMN else column


def is_proportion(column: str) -> bool:
    """Whether the values of a column are 0 or 1."""
    return column in _BY_COLUMN and _BY_COLUMN[column].proportion


def is_root(column: str) -> bool:
    """Whether the metric is the root of the column's mean."""
    return column in _BY_COLUMN and _BY_COLUMN[column].root


def shown(place: Place) -> tuple[Metric, ...]:
    """The metrics that are shown at a place, the most important first."""
    return tuple(sorted((one for one in METRICS.values() if place in one.shown), key=lambda one: one.rank))


def distributions() -> tuple[Metric, ...]:
    """The metrics whose column is drawn as a distribution over images, the most important first."""
    return tuple(sorted((one for one in METRICS.values() if one.distribution), key=lambda one: one.rank))


def described(name: str) -> Metric | None:
    """The metric that a number of the summary belongs to; None for one that is not listed.

    Numbers per IoU limit or threshold add a suffix to the metric's name.
    """
    if name in METRICS:
        return METRICS[name]
    bases = [known for known in METRICS if name.startswith(known + "_")]
    return METRICS[max(bases, key=len)] if bases else None


def better(name: str) -> Direction:
    """Which direction of a number of the summary is better; ``none`` for one that is not listed."""
    one = described(name)
    return "none" if one is None or name.endswith("_threshold") else one.better


def title(name: str) -> str:
    """What a number of the summary is called above its column."""
    one = described(name)
    if one is not None and one.title and name in (one.name, one.shown_name):
        return one.title
    return name.replace("_", " ").capitalize()


def faithfulness(names: Iterable[str]) -> tuple[Group, ...]:
    """The faithfulness metrics of some names, in the order of the table.

    Raises:
        ValueError: for an unknown name, with the known ones and the nearest.
    """
    wanted = set(names)
    for name in sorted(wanted - FAITHFULNESS.keys()):
        near = difflib.get_close_matches(name, FAITHFULNESS, 1)
        hint = f", did you mean {near[0]}?" if near else ""
        raise ValueError(f"unknown metric {name!r}{hint}; expected some of {', '.join(FAITHFULNESS)}")
    return tuple(group for name, group in FAITHFULNESS.items() if name in wanted)


def passes(groups: Iterable[Group], settings: PassSettings) -> Passes:
    """What some faithfulness metrics together cost per image, class and method."""
    listed = tuple(groups)
    costs = [group.passes(settings) for group in listed]
    masking = 2 if any(group.masks for group in listed) else 0
    return Passes(masking + sum(cost.predictions for cost in costs), sum(cost.explanations for cost in costs))


def columns(groups: Iterable[Group], rank: int = 2) -> tuple[str, ...]:
    """Names of the per-image columns that some groups have for inputs of `rank` position axes."""
    return tuple(column.name for group in groups for column in group.columns if column.least_rank <= rank)


def curves(groups: Iterable[Group]) -> tuple[str, ...]:
    """Names of the curves of some groups."""
    return tuple(curve.name for group in groups for curve in group.curves)

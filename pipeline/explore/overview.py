"""The summary of a run, in which every number leads to the rows that it is made of, the worst first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import markupsafe

from heatbeam.explore import shown_run, views
from heatbeam.runs import run_methods
from heatbeam.transforms.metrics import paired, registry, slicing

_METHODS = tuple(one.shown_name for one in registry.shown("methods"))
_CLASSES = tuple(one.shown_name for one in registry.shown("classes"))

MOST_LINES = 3000
"""Classes, or values of slices, that are listed."""

_NEAREST = {
    **dict.fromkeys(("max_box_acc", "max_box_acc_v2", "box_acc_at_run_threshold", "top1_loc", "top5_loc"), "box_iou"),
    "pxap": "energy_share",
}
"""What rows are sorted by for a number that no row has alone: of boxes at other thresholds, of pixels of all images."""

_NOTHING = paired.Mean(math.nan, 0, math.nan, math.nan, "none")


@dataclasses.dataclass(frozen=True)
class Head:
    """A column: its metric in words."""

    title: str
    about: str
    better: str


@dataclasses.dataclass(frozen=True)
class Number:
    """A number and the address of its rows; without one where the run has no such number."""

    mean: paired.Mean
    address: markupsafe.Markup | str


@dataclasses.dataclass(frozen=True)
class Line:
    """A line: its name, the address of all its rows, its numbers."""

    name: str
    address: markupsafe.Markup
    numbers: tuple[Number, ...]


@dataclasses.dataclass(frozen=True)
class Table:
    """A table of numbers; `left_out` says how many lines are not listed."""

    key: str
    title: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    left_out: int = 0


def page(run: shown_run.ShownRun, method: str) -> dict[str, Any]:
    """What the page of the summary shows.

    Args:
        run: the run.
        method: whose numbers of classes and slices; empty for the reference.

    Raises:
        LookupError: if the run has no such method.
    """
    method = method or run.reference
    if method not in run.methods:
        raise LookupError(f"the run has no method {method[:60]!r}")
    slices = [_slices(run, method, f"slice.{name}", name, values) for name, values in run.slices.items() if values]
    return {
        "method": method,
        "methods": run.methods,
        "tables": [one for one in (_methods(run), _classes(run, method), *slices) if one.lines],
        "counts": run.manifest.counts,
        "warnings": run.manifest.warnings,
        "target": run.manifest.primary_target,
    }


def _methods(run: shown_run.ShownRun) -> Table:
    names = _present(run, _METHODS, run.methods)
    lines = []
    for method in run.methods:
        view = dataclasses.replace(run.start(), method=method)
        lines.append(_line(run, method, view, names, (slicing.ALL, "")))
    baseline = run_methods.controls(run.manifest)
    lines.sort(key=lambda line: line.name in baseline)
    return Table("methods", "Methods", _heads(names), tuple(lines))


def _classes(run: shown_run.ShownRun, method: str) -> Table:
    names = _present(run, _CLASSES, [method])
    lines = []
    for class_id, name in enumerate(run.class_names):
        view = dataclasses.replace(run.start(), method=method, class_id=class_id)
        line = _line(run, name, view, names, (slicing.CLASS, name))
        if any(math.isfinite(number.mean.value) for number in line.numbers):
            lines.append(line)
    return Table("classes", "Classes", _heads(names), tuple(lines[:MOST_LINES]), max(0, len(lines) - MOST_LINES))


def _slices(run: shown_run.ShownRun, method: str, key: str, name: str, values: Sequence[str]) -> Table:
    names = _present(run, _CLASSES, [method])
    lines = [
        _line(
            run, value, dataclasses.replace(run.start(), method=method, slices=((name, value),)), names, (name, value)
        )
        for value in values
    ]
    return Table(key, name, _heads(names), tuple(lines[:MOST_LINES]), max(0, len(lines) - MOST_LINES))


def _present(run: shown_run.ShownRun, metrics: Sequence[str], methods: Sequence[str]) -> list[str]:
    """The metrics that the run has over everything."""
    return [
        name
        for name in metrics
        if any(math.isfinite(_number(run, method, name, (slicing.ALL, "")).value) for method in methods)
    ]


def _number(run: shown_run.ShownRun, method: str, metric: str, where: tuple[str, str]) -> paired.Mean:
    owner = slicing.MODEL if metric in registry.OF_THE_MODEL else method
    return run.numbers.get((owner, *where, metric), _NOTHING)


def _heads(names: Sequence[str]) -> tuple[Head, ...]:
    heads = []
    for name in names:
        known = registry.described(name)
        about = f"{known.definition} {known.formula}." if known is not None else ""
        heads.append(Head(registry.title(name), about, registry.better(name)))
    return tuple(heads)


def _line(run: shown_run.ShownRun, name: str, view: views.View, metrics: Sequence[str], where: tuple[str, str]) -> Line:
    numbers = []
    for metric in metrics:
        mean = _number(run, view.method, metric, where)
        there = math.isfinite(mean.value)
        numbers.append(Number(mean, markupsafe.escape(run.address(rows_of(run, view, metric))) if there else ""))
    return Line(name, markupsafe.escape(run.address(view)), tuple(numbers))


def rows_of(run: shown_run.ShownRun, view: views.View, metric: str) -> views.View:
    """The rows of a number, the worst first: of an accuracy the wrong decisions, of a mean by its column."""
    known = registry.described(metric)
    if metric == "mean_label_probability":
        target = "label" if "label" in run.targets else view.target
        return dataclasses.replace(view, target=target, sort="probability")
    if metric in registry.OF_THE_MODEL:
        sort = "error" if "error" in run.table.numbers else "probability"
        return dataclasses.replace(view, decision="" if sort == "error" else views.WRONG, sort=sort, descending=True)
    column = known.column if known is not None else ""
    if column not in run.table.numbers:
        near = _NEAREST.get(known.name if known is not None else "", "")
        column = near if near in run.table.numbers else ""
    if not column:
        return view
    return dataclasses.replace(view, sort=column, descending=registry.better(metric) == "lower")

"""The page of one image: every method and class, its curves, and its row in full."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import markupsafe
import numpy as np

from heatbeam.explore import grid, shown_run
from heatbeam.explore import table as tables
from heatbeam.pages import plots
from heatbeam.transforms.metrics import registry
from heatbeam.transforms.tables import schemas, stored_evidence

MOST_ROWS = 400
"""Of one image; more are said and left out."""

_LONG = frozenset({"heatmap"})


def page(run: shown_run.ShownRun, image_id: str, shard: str, record: int | None) -> dict[str, Any]:
    """What the page of an image shows.

    Args:
        run: the run.
        image_id: of the image.
        shard, record: of its record; None for whichever has the id.

    Raises:
        LookupError: if the run has no such image.
    """
    names = [name for name in run.table.schema.names if name not in _LONG]
    if record is None:
        where = "WHERE image_id = ? ORDER BY shard, record_index LIMIT 1"
        for one in run.table.select(("shard", "record_index"), where, (image_id,)):
            shard, record = one["shard"], one["record_index"]
    rest = "WHERE image_id = ? AND shard = ? AND record_index = ? ORDER BY class_id, method LIMIT ?"
    rows = run.table.select(names, rest, (image_id, shard, record, MOST_ROWS + 1))
    if not rows:
        raise LookupError("the run has no such image")
    shown = rows[:MOST_ROWS]
    run.pictures.prefetch([row["place"] for row in shown])
    order = {method: i for i, method in enumerate(run.methods)}
    shown.sort(key=lambda row: (row["rank"] or 0, row["class_id"], order.get(row["method"], len(order))))
    first = shown[0]
    return {
        "image_id": image_id,
        "first": first,
        "labels": [run.class_name(i) for i in first["label_ids"] or ()],
        "predicted": grid.said(run, first),
        "right": first["predicted_class_id"] in first["label_ids"] if first["label_ids"] else None,
        "classes": _by_class(run, shown),
        "left_out": len(rows) > MOST_ROWS,
        "curves": _curves(run, shown),
        "evidence": any(row.get(stored_evidence.COLUMNS[-1]) is not None for row in shown),
        "facts": _facts(run, first),
        "measures": _measures(run, shown),
        "problems": run.pictures.problems,
    }


def _by_class(run: shown_run.ShownRun, rows: Sequence[tables.Row]) -> list[tuple[str, list[grid.Cell]]]:
    """The cells of each class, under what it is."""
    found: dict[int, list[tables.Row]] = {}
    for row in rows:
        found.setdefault(row["class_id"], []).append(row)
    titled = []
    for class_id, same in found.items():
        why = ", ".join(str(one).replace("_", " ") for one in same[0]["targets"])
        probability = same[0]["probability"]
        number = "" if probability is None else f", p {probability:.3f}"
        title = f"{same[0]['class_name'] or run.class_name(class_id)} ({why}{number})"
        titled.append((title, grid.cells(run, same)))
    return titled


def _curves(run: shown_run.ShownRun, rows: Sequence[tables.Row]) -> list[tuple[str, markupsafe.Markup, list[str]]]:
    """Title, plot and legend of each curve that was measured, of the first class that has it."""
    found = []
    for name in run.table.schema.names:
        curve = name.removesuffix(schemas.CURVE_SUFFIX)
        if curve == name or curve not in registry.CURVES:
            continue
        there = [row for row in rows if row[name]]
        there = [row for row in there if row["class_id"] == there[0]["class_id"]]
        if not there:
            continue
        series = [
            plots.Series(row["method"], np.linspace(0, 1, len(row[name])), np.array(row[name], np.float64), f"s{i % 8}")
            for i, row in enumerate(there)
        ]
        line, _ = registry.CURVES[curve]
        title = f"{curve.replace('_', ' ').capitalize()} of {there[0]['class_name']}"
        svg = plots.curves(series, title=title, x_label=line.axes[0], y_label=line.axes[1])
        found.append((title, svg, [row["method"] for row in there]))
    return found


def _facts(run: shown_run.ShownRun, row: tables.Row) -> list[tuple[str, str, str]]:
    """Name, value and description of what all rows of the image share."""
    return [
        (field.name, _text(row[field.name]), run.table.about(field.name))
        for field in run.table.schema
        if field.name in row
        and (field.metadata or {}).get(b"role", b"") in {b"key", b"slice"}
        and field.name not in {"target", "targets", "class_id", "class_name", "method", "layer", "true_boxes"}
        and not field.name.startswith(("box_", "best_box"))
    ]


def _measures(run: shown_run.ShownRun, rows: Sequence[tables.Row]) -> dict[str, Any]:
    """The numbers of every row, as a table: a column a row, the first of each class by all methods."""
    names = [
        field.name
        for field in run.table.schema
        if (field.metadata or {}).get(b"role") == b"value" and field.name in run.table.numbers
        and any(row[field.name] is not None for row in rows)
    ]  # fmt: skip
    heads = [(row["method"], row["class_name"]) for row in rows]
    lines = [(name, run.table.about(name), [_text(row[name]) for row in rows]) for name in names]
    return {"heads": heads, "lines": lines}


def _text(value: Any) -> str:
    if value is None:
        return "–"
    if isinstance(value, float):
        return "–" if not math.isfinite(value) else f"{value:.4g}"
    if isinstance(value, list):
        return ", ".join(_text(one) for one in value) or "none"
    return str(value)

"""The grid: a page of rows as pictures, and the form that chooses which."""

from __future__ import annotations

import dataclasses
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

import markupsafe

from heatbeam.explore import shown_run, views
from heatbeam.explore import table as tables
from heatbeam.runs import reviews
from heatbeam.transforms.tables import axis_columns

NUMBERS = {"probability": "p", "energy_share": "on object", "box_iou": "IoU"}
"""Shown below a picture and what they are called there, of those that the run has, beside what is sorted by."""


@dataclasses.dataclass(frozen=True)
class Option:
    """A choice of the form."""

    value: str
    title: str
    chosen: bool


@dataclasses.dataclass(frozen=True)
class Field:
    """A list of choices of the form; the first is any."""

    name: str
    title: str
    options: tuple[Option, ...]


@dataclasses.dataclass(frozen=True)
class Cell:
    """A row as the grid shows it.

    Attributes:
        row: its columns.
        address: of the page of its image.
        key: `row_key` of the row.
        predicted: the model's first choice, as of `said`.
        labels: names of the labels.
        right: whether that is a label; None without labels.
        numbers: title and number, by `NUMBERS`.
        true_boxes, box: in pixels of the original; of pictures.
        marks: of people, each with its note.
    """

    row: tables.Row
    address: markupsafe.Markup
    key: markupsafe.Markup
    predicted: str
    labels: str
    right: bool | None
    numbers: tuple[tuple[str, float | None], ...]
    true_boxes: tuple[tuple[float, ...], ...]
    box: tuple[float, ...] | None
    marks: dict[str, str]


def columns(table: tables.Table, more: tuple[str, ...] = ()) -> list[str]:
    """What a cell needs, of what the run has."""
    names = table.schema.names
    rank = axis_columns.rank_of(names)
    boxes = ("true_boxes", *axis_columns.boxes(rank)) if rank == 2 else ()
    wanted = (
        *tables.KEY, "image_sha256", *axis_columns.sizes(rank), "class_name", "target", "predicted_class_id",
        "predicted_value", "true_value", "label_ids", "health", *NUMBERS, *boxes, *more,
    )  # fmt: skip
    return [name for name in dict.fromkeys(wanted) if name in names]


def said(run: shown_run.ShownRun, row: tables.Row) -> str:
    """The name of the model's first choice; of a model of values what it gives for the row, and the true value."""
    value, true = row.get("predicted_value"), row.get("true_value")
    if value is None:
        return run.class_name(row["predicted_class_id"])
    return f"{value:.4g}" if true is None else f"{value:.4g}, true is {true:.4g}"


def link(path: str, **parameters: object) -> markupsafe.Markup:
    """An address of the explorer, escaped for an attribute."""
    query = urllib.parse.urlencode(parameters, errors="surrogatepass")
    return markupsafe.escape(f"{path}?{query}" if query else path)


def image_link(run: shown_run.ShownRun, row: tables.Row) -> markupsafe.Markup:
    """The address of the page of the image of a row."""
    return link(f"/{run.side}/image", id=row["image_id"], shard=row["shard"], record=row["record_index"])


def row_key(row: tables.Row) -> markupsafe.Markup:
    """`tables.KEY` of a row as one text that stays what it is in a page."""
    query = urllib.parse.urlencode([(name, row[name]) for name in tables.KEY], errors="surrogatepass")
    return markupsafe.escape(query)


def cells(run: shown_run.ShownRun, rows: Sequence[tables.Row], sort: str = "") -> list[Cell]:
    """Rows as cells."""
    marked = run.marks.by_key()
    return [_cell(run, row, marked, sort) for row in rows]


def _cell(run: shown_run.ShownRun, row: tables.Row, marked: Mapping[tuple[Any, ...], str], sort: str) -> Cell:
    labels = row["label_ids"] or []
    names = [name for name in dict.fromkeys([*NUMBERS, sort]) if name in run.table.numbers and name in row]
    flat = row.get("true_boxes") or []
    edges = [float(row[name]) for name in axis_columns.boxes(2) if row.get(name) is not None]
    return Cell(
        row=row,
        address=image_link(run, row),
        key=row_key(row),
        predicted=said(run, row),
        labels=", ".join(map(run.class_name, labels)),
        right=row["predicted_class_id"] in labels if labels else None,
        numbers=tuple((NUMBERS.get(name, name.replace("_", " ")), row[name]) for name in names),
        true_boxes=tuple(tuple(flat[i : i + 4]) for i in range(0, len(flat), 4)) if "box_y0" in row else (),
        box=tuple(edges) if len(edges) == 4 else None,
        marks=reviews.marks_of(run.subject(row), marked),
    )


def page(run: shown_run.ShownRun, view: views.View) -> dict[str, Any]:
    """What the page of a view shows."""
    chosen = view.page()
    rows = run.table.select(columns(run.table, (view.sort,)), chosen.bound, chosen.values)
    matching = view.matching()
    shown = rows[: views.PAGE]
    run.pictures.prefetch([row["place"] for row in shown])
    more = run.address(view.next_after(shown[-1])) if len(rows) > views.PAGE else ""
    render, export = views.commands(run.path, view)
    return {
        "view": view,
        "cells": cells(run, shown, view.sort),
        "count": run.table.count(matching.bound, matching.values),
        "more": markupsafe.escape(more),
        "first": markupsafe.escape(run.address(dataclasses.replace(view, after=()))),
        "fields": fields(run, view),
        "ranges": view.ranges,
        "numbers": run.table.numbers,
        "scalars": run.table.scalars,
        "render": render,
        "export": export,
        "problems": run.pictures.problems,
    }


def fields(run: shown_run.ShownRun, view: views.View) -> list[Field]:
    """The lists of the form."""
    classes = [(str(i), name) for i, name in enumerate(run.class_names)]
    slices = dict(view.slices)
    found = [
        _field("method", "Method", [(one, one) for one in run.methods], view.method),
        _field("class", "Class", classes, "" if view.class_id is None else str(view.class_id)),
        _field("target", "Explained as", [(one, one.replace("_", " ")) for one in run.targets], view.target),
        _field("decision", "Decision", [(one, one) for one in views.DECISIONS], view.decision),
        _field("health", "Map health", [(one, one.replace("_", " ")) for one in run.health], view.health),
    ]
    for name, values in run.slices.items():
        found.append(_field(f"slice.{name}", name, [(one, one) for one in values], slices.get(name, "")))
    return [one for one in found if len(one.options) > 1]


def _field(name: str, title: str, options: list[tuple[str, str]], chosen: str) -> Field:
    if chosen and chosen not in {value for value, _ in options}:
        options = [*options, (chosen, chosen)]
    listed = [Option("", "any", not chosen)]
    listed += [Option(value, text, value == chosen) for value, text in options]
    return Field(name, title, tuple(listed))

"""Images that look alike to the model: by their maps, or by what the channels of the target layer put into the class.

Two maps of a method are as alike as the cosine between their positive evidence, cell by cell; two rows of evidence as
the cosine between their channels' contributions (`stored_evidence`). Every map of the method is looked at, file by
file.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from heatbeam.explore import grid, shown_run
from heatbeam.explore import table as tables
from heatbeam.transforms.tables import schemas, stored_evidence, stored_maps

SHOWN = 24

WAYS = {"map": "Similar maps", "evidence": "Similar evidence"}

_ROWS = 16384
"""Maps that are compared at a time."""

_PLACED = "image_id, filename, file_row_number"

Floats = npt.NDArray[np.float32]


def page(run: shown_run.ShownRun, place: tables.Place, way: str) -> dict[str, Any]:
    """What the page of the neighbours of a row shows: one row of each image, the most alike first.

    Raises:
        LookupError: if there is no such row, no such way, or no evidence of the row.
    """
    if way not in WAYS:
        raise LookupError(f"no way {way[:40]!r}; there are {', '.join(WAYS)}")
    rows = run.table.rows_at([place], [*grid.columns(run.table), *stored_maps.columns(run.table.schema.names)])
    if place not in rows:
        raise LookupError(f"there is no row {place}")
    row = rows[place]
    found = _by_map(run, row) if way == "map" else _by_evidence(run, row)
    best: dict[str, tuple[float, str, int]] = {}
    for part, alike in found:
        for i in np.argsort(-alike, kind="stable")[: SHOWN * 8]:
            one = (float(alike[i]), part["filename"][i].as_py(), part["file_row_number"][i].as_py())
            name = part["image_id"][i].as_py()
            if np.isfinite(one[0]) and one[0] > best.get(name, (-2.0,))[0]:
                best[name] = one
    chosen = sorted(best.values(), key=lambda one: (-one[0], one[1:]))[:SHOWN]
    places = [run.table.place(path, number) for _, path, number in chosen]
    run.pictures.prefetch([place, *places])
    known = run.table.rows_at(places, grid.columns(run.table))
    return {
        "way": way,
        "ways": WAYS,
        "own": grid.cells(run, [row])[0],
        "cells": grid.cells(run, [known[one] for one in places]),
        "alike": [one[0] for one in chosen],
        "problems": run.pictures.problems,
    }


def _by_map(run: shown_run.ShownRun, row: tables.Row) -> Iterator[tuple[pa.Table, Floats]]:
    """Rows of the method with as many cells of other images, and how alike each is."""
    sides = [name for name in stored_maps.columns(run.table.schema.names) if name.startswith("heatmap_")]
    sides = [name for name in sides if name != "heatmap_scale"]
    same = " AND ".join(f"{tables.quoted(name)} = ?" for name in sides)
    sql = f"SELECT heatmap, {_PLACED} FROM explanations WHERE filename = ? AND method = ? AND image_id <> ? AND {same}"  # noqa: S608
    shape = [list(row[name]) if isinstance(row[name], list) else row[name] for name in sides]
    own = _positive(row["heatmap"][None])[0]
    for path in run.table.paths:
        table = run.table.arrow(sql, (path, row["method"], row["image_id"], *shape))
        for start in range(0, table.num_rows, _ROWS):
            part = table.slice(start, _ROWS)
            cells = schemas.whole(part["heatmap"]).flatten().to_numpy(zero_copy_only=False)
            yield part, _positive(cells.reshape(part.num_rows, -1)) @ own


def _positive(cells: npt.NDArray[Any]) -> Floats:
    """The positive evidence of maps ``(N, cells)``, each of length 1; NaN where there is none."""
    kept = np.maximum(cells, 0).astype(np.float32)
    length = np.linalg.norm(kept, axis=1, keepdims=True)
    unit: Floats = np.divide(kept, length, out=np.full_like(kept, np.nan), where=length > 0)
    return unit


def _by_evidence(run: shown_run.ShownRun, row: tables.Row) -> Iterator[tuple[pa.Table, Floats]]:
    """Rows of other images that hold evidence, and how alike each is."""
    if not set(stored_evidence.COLUMNS) <= set(run.table.schema.names):
        raise LookupError("the run holds no evidence of channels")
    listed = ", ".join(stored_evidence.COLUMNS)
    held = f"FROM explanations WHERE {stored_evidence.COLUMNS[-1]} IS NOT NULL"
    mine = "image_id = ? AND shard = ? AND record_index = ? AND class_id = ?"
    key = [row[name] for name in ("image_id", "shard", "record_index", "class_id")]
    own = stored_evidence.decoded(run.table.arrow(f"SELECT {listed} {held} AND {mine} LIMIT 1", key))
    if not len(own.total):
        raise LookupError("there is no evidence of channels for this image and class")
    for path in run.table.paths:
        sql = f"SELECT {listed}, {_PLACED} {held} AND filename = ? AND image_id <> ?"
        part = run.table.arrow(sql, (path, row["image_id"]))
        if not part.num_rows:
            continue
        evidence = stored_evidence.decoded(part)
        width = 1 + max(int(own.channels.max(initial=0)), int(evidence.channels.max(initial=0)))
        others, one = evidence.sparse(width), own.sparse(width).toarray()[0]
        length = np.sqrt(np.asarray(others.multiply(others).sum(axis=1)).ravel()) * np.linalg.norm(one)
        alike = np.asarray(others @ one, np.float32)
        yield part, np.divide(alike, length, out=np.full_like(alike, np.nan), where=length > 0)

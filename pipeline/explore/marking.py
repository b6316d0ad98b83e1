"""Review: what a reader marks, by a key or a button: all that the explorer writes; and the page of marks."""

from __future__ import annotations

import urllib.parse
from typing import Any

from starlette import requests, responses

from heatbeam.explore import grid, shown_run
from heatbeam.explore import table as tables
from heatbeam.runs import reviews
from heatbeam.transforms import errors

KEYS = {
    "label_wrong": ("l", "label wrong"),
    "real_shortcut": ("s", "shortcut"),
    "sick_map": ("m", "sick map"),
    "note": ("n", "note"),
}
"""The key of each mark and what its button is called."""

_MOST_BYTES = 64 << 10


async def form_of(request: requests.Request) -> dict[str, str] | None:
    """What a page sent; None if it is no form or too long."""
    if request.headers.get("content-type", "").partition(";")[0] != "application/x-www-form-urlencoded":
        return None
    body = b""
    async for part in request.stream():
        body += part
        if len(body) > _MOST_BYTES:
            return None
    pairs = urllib.parse.parse_qsl(body.decode("utf-8", "replace"), keep_blank_values=True)
    return dict(pairs)


def answer(run: shown_run.ShownRun, form: dict[str, str]) -> responses.Response:
    """Mark a row, or take a mark away; the marks that the row has then, each with its note."""
    row = _row(run, form.get("key", ""))
    if row is None:
        return responses.JSONResponse({"error": "the run has no such row"}, 404)
    subject = run.subject(row)
    try:
        run.marks.set(subject, form.get("mark", ""), form.get("note", ""), there=form.get("there") != "no")
        return responses.JSONResponse({"marks": run.marks.of(subject)})
    except (errors.UserError, ValueError) as error:
        return responses.JSONResponse({"error": str(error)}, 400)


def _row(run: shown_run.ShownRun, key: str) -> tables.Row | None:
    """The row of a `grid.row_key`."""
    parts = dict(urllib.parse.parse_qsl(key, keep_blank_values=True, errors="surrogatepass"))
    numbers = {name: parts.get(name, "") for name in ("record_index", "class_id")}
    if parts.keys() != set(tables.KEY) or not all(
        n.isascii() and n.isdigit() and len(n) < 19 for n in numbers.values()
    ):
        return None
    where = " AND ".join(f"{name} = ?" for name in tables.KEY)
    values = [int(parts[name]) if name in numbers else parts[name] for name in tables.KEY]
    found = run.table.select((*tables.KEY, "image_sha256", "class_name", "label_ids"), f"WHERE {where} LIMIT 1", values)
    return found[0] if found else None


def page(run: shown_run.ShownRun) -> dict[str, Any]:
    """What the page of all marks shows, the newest first."""
    counts = dict.fromkeys(KEYS, 0)
    marks = []
    for row in reversed(run.marks.rows()):
        counts[row["mark"]] = counts.get(row["mark"], 0) + 1
        own = row["run_id"] == (run.manifest.run_id or "")
        when = f"{row['marked_at']:%Y-%m-%d %H:%M}"
        marks.append({**row, "address": grid.image_link(run, row), "own": own, "when": when})
    return {"marks": marks, "counts": counts, "file": run.marks.path, "words": reviews.MARKS}

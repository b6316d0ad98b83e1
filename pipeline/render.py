"""Chosen heatmaps as PNG files, over their images where the source shards can be reached."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import pathlib
import re
from typing import Any

import duckdb
import numpy as np

from pipeline import map_images, run_directory, source_images

INDEX = "index.json"

_COLUMNS = (
    "image_id", "image_sha256", "shard", "record_index", "image_width", "image_height", "view_x0", "view_y0", "view_x1",
    "view_y1", "class_id", "class_name", "method", "target", "probability", "heatmap", "heatmap_scale",
    "heatmap_height", "heatmap_width",
)  # fmt: skip
_TOLD = ("image_id", "class_id", "class_name", "method", "target", "probability")
_UNSAFE = re.compile(r"[^A-Za-z0-9-]+")


class RenderError(ValueError):
    """The condition is wrong; the message says how."""


@dataclasses.dataclass(frozen=True)
class Rendered:
    """What was drawn.

    Attributes:
        directory: where the files are, with `INDEX`, which says what each of them shows.
        files: names of the pictures.
        matched: rows that fulfil the condition; more than `files` if there was a limit.
        with_image: pictures that show the image below the map.
    """

    directory: str
    files: tuple[str, ...]
    matched: int
    with_image: int


def render(run_path: str, where: str, directory: str, *, limit: int, longest_px: int) -> Rendered:
    """Draw the heatmaps of the rows that fulfil a condition.

    Args:
        run_path: a finished run.
        where: SQL condition over the columns of ``explanations``, such as ``method = 'grad_cam' and probability > .9``,
            as DuckDB reads it; empty for every row.
        directory: for the pictures; made if it is not there.
        limit: at most so many, in order of image, method and class.
        longest_px: longer side of a picture; images are scaled down to it, never up.

    Raises:
        RenderError: if the condition is not one, or names a column that is not there.
        run_directory.RunDirectoryError: if the run is not finished.
    """
    run = run_directory.RunDirectory(run_path)
    manifest = run.read_manifest()
    rows, matched = _rows(run, where, limit)
    target = pathlib.Path(directory)
    target.mkdir(parents=True, exist_ok=True)
    of_place: dict[source_images.Place, list[int]] = {}
    for number, row in enumerate(rows):
        of_place.setdefault((row["shard"], row["record_index"], row["image_sha256"]), []).append(number)
    shown = [False] * len(rows)
    for place, pixels in source_images.source_images(manifest, of_place):
        for number in of_place[place]:
            _draw(rows[number], pixels, target / _name(number, rows[number]), longest_px)
            shown[number] = True
    for number, row in enumerate(rows):
        if not shown[number]:
            _draw(row, None, target / _name(number, row), longest_px)
    files = tuple(_name(number, row) for number, row in enumerate(rows))
    index = [
        {"file": file, **{name: row[name] for name in _TOLD}, "with_image": with_image}
        for file, row, with_image in zip(files, rows, shown, strict=True)
    ]
    text = json.dumps({"run": run_path, "where": where, "matched": matched, "pictures": index}, indent=1) + "\n"
    (target / INDEX).write_text(text, encoding="utf-8")
    return Rendered(directory, files, matched, sum(shown))


def _rows(run: run_directory.RunDirectory, where: str, limit: int) -> tuple[list[dict[str, Any]], int]:
    """The first rows that fulfil the condition, and how many do."""
    table = run.open_table("explanations")
    # The condition may only look at the table: no files, no network, no other statement.
    with duckdb.connect(":memory:", config={"python_enable_replacements": "false"}) as connection:
        connection.register("explanations", table)
        connection.execute("SET enable_external_access = false; SET lock_configuration = true")
        chosen = f"FROM explanations WHERE (\n{where.strip() or 'true'}\n)"
        columns = ", ".join(_COLUMNS)
        query = f"SELECT {columns} {chosen} ORDER BY image_id, method, class_id LIMIT {int(limit)}"
        try:
            if len(connection.extract_statements(query)) != 1:
                raise RenderError(f"--where {where!r} is more than one statement; give one condition")
            found = connection.execute(query)
            names = [column[0] for column in found.description]
            rows = [dict(zip(names, values, strict=True)) for values in found.fetchall()]
            count = connection.execute(f"SELECT count(*) {chosen}").fetchone()
        except duckdb.Error as error:
            problem = " ".join(str(error).split())
            known = ", ".join(table.schema.names)
            raise RenderError(
                f"--where {where!r} is no condition over explanations: {problem}; columns: {known}"
            ) from None
    assert count is not None
    return rows, int(count[0])


def _draw(row: dict[str, Any], pixels: source_images.Pixels | None, path: pathlib.Path, longest_px: int) -> None:
    image_size = (row["image_width"], row["image_height"])
    size = map_images.fitted(image_size, longest_px)
    raw = np.array(row["heatmap"], np.float32).reshape(row["heatmap_height"], row["heatmap_width"])
    raw = raw * np.float32(row["heatmap_scale"])
    view = (row["view_x0"], row["view_y0"], row["view_x1"], row["view_y1"])
    picture = None if pixels is None else map_images.scaled(pixels, size)
    path.write_bytes(map_images.png(map_images.overlay(raw, view, image_size, size, picture)))


def _name(number: int, row: dict[str, Any]) -> str:
    """A file name that is safe on any disk, whatever the ids hold, and of its own for every row."""
    key = json.dumps([row["image_id"], row["class_id"], row["method"]]).encode()
    parts = [_UNSAFE.sub("-", str(row[name])).strip("-")[:40] for name in ("image_id", "class_name", "method")]
    return "_".join([f"{number:05d}", *filter(None, parts), hashlib.sha256(key).hexdigest()[:8]]) + ".png"

"""Chosen heatmaps as PNG files, over their images where the source shards can be reached."""

from __future__ import annotations

import dataclasses
import json
from typing import Any

from heatbeam.pages import map_images
from heatbeam.pages.signals import of_rows
from heatbeam.runs import chosen_rows, moved_images, remote_files, run_directory, source_images, source_truth
from heatbeam.transforms import errors
from heatbeam.transforms.tables import axis_columns

INDEX = "index.json"
PLAIN = "-plain.png"
"""Ends the names of pictures without a map, in the place of ``.png``."""

_COLUMNS = (
    "image_id", "image_sha256", "shard", "record_index", "class_id", "class_name", "method", "target", "probability",
    "label_ids",
)  # fmt: skip
_PICTURE = 2
_TOLD = ("image_id", "class_id", "class_name", "method", "target", "probability")


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


def render(
    run_path: str,
    where: str,
    directory: str,
    *,
    limit: int,
    longest_px: int,
    images: str | None = None,
    plain: bool = False,
) -> Rendered:
    """Draw the heatmaps of the rows that fulfil a condition.

    Args:
        run_path: a finished run.
        where: SQL condition over the columns of ``explanations``, such as ``method = 'grad_cam' and probability > .9``,
            as DuckDB reads it; empty for every row.
        directory: for the pictures; made if it is not there.
        limit: at most so many, in order of image, method and class.
        longest_px: longer side of a picture; images are scaled down to it, never up.
        images: where the images are now, if they were moved; see `moved_images.located`.
        plain: write each image without its map too, as large, its file's name ending in `PLAIN`; not of signals.

    Raises:
        chosen_rows.ConditionError: if the condition is not one, or names a column that is not there.
        run_directory.RunDirectoryError: if the run is not finished.
        errors.UsageError: if `limit` or `longest_px` is below 1.
        errors.PathError: if `directory` is not on this machine or cannot be written.
    """
    errors.check_at_least_one("--limit", limit)
    errors.check_at_least_one("--longest-px", longest_px)
    run = run_directory.RunDirectory(run_path)
    manifest = moved_images.located(run.read_manifest(), images)
    names = run.open_table("explanations").schema.names
    inputs = of_rows.inputs_of(manifest)
    table, matched = chosen_rows.choose(run, where, limit, (*_COLUMNS, *of_rows.columns(names)))
    rows = chosen_rows.without_maps(table)
    target = remote_files.local_folder(directory, "--to")
    with errors.about(directory, "write"):
        target.mkdir(parents=True, exist_ok=True)
    shown = [False] * len(rows)
    classes, is_signal = manifest.maps_of_classes(), axis_columns.rank_of(names) != _PICTURE
    for number, source, original in source_images.row_records(manifest, source_images.by_place(rows)):
        row = chosen_rows.with_map(table, number, rows[number])
        mask = source_truth.mask_of_row(source, row, classes) if is_signal else None
        path = target / _name(number, row)
        with errors.about(path, "write"):
            path.write_bytes(map_images.png(of_rows.picture(row, inputs, original, longest_px, mask)))
            if plain and original is not None and not is_signal:
                fit = map_images.fitted((row["image_width"], row["image_height"]), longest_px)
                path.with_name(path.stem + PLAIN).write_bytes(map_images.png(map_images.scaled(original, fit)))
        shown[number] = original is not None
    files = tuple(_name(number, row) for number, row in enumerate(rows))
    index = [
        {"file": file, **{name: row[name] for name in _TOLD}, "with_image": with_image}
        for file, row, with_image in zip(files, rows, shown, strict=True)
    ]
    text = json.dumps({"run": run_path, "where": where, "matched": matched, "pictures": index}, indent=1) + "\n"
    with errors.about(directory, "write"):
        (target / INDEX).write_text(text, encoding="utf-8")
    return Rendered(directory, files, matched, sum(shown))


def _name(number: int, row: dict[str, Any]) -> str:
    return chosen_rows.file_name(number, row, ("image_id", "class_name", "method"), ".png")

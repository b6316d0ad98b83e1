"""What the page of a comparison shows of the reasons: the sentence, the features, mean maps and pictures."""

from __future__ import annotations

from typing import Any

import markupsafe
import numpy as np
import pyarrow.compute as pc

from heatbeam.audit import map_scan
from heatbeam.compare import changed_pictures
from heatbeam.compare.drift import moved, words
from heatbeam.pages import map_images, overlays
from heatbeam.pages.signals import of_rows
from heatbeam.runs import moved_images, run_directory, source_images
from heatbeam.transforms.tables import axis_columns, stored_maps

_LISTED = 20
_PICTURE = 2


def content(drift: moved.Drift, candidate: str, images: str | None) -> dict[str, Any]:
    """What ``drift.html`` needs beside the drift itself.

    Args:
        drift: what was found.
        candidate: path of the run whose images are shown.
        images: where they are now, if they were moved; see `moved_images.located`.
    """
    examples, photos = _examples(drift, candidate, images) if drift.moved else ([], markupsafe.Markup())
    return {
        "sentence": words.in_short(drift)[1],
        "listed": _LISTED,
        "features": [f"{words.feature(one)} ({one.deviations:+.1f} standard deviations)" for one in drift.features],
        "places": _mean_maps(drift) if drift.moved else [],
        "examples": examples,
        "photos": photos,
    }


def _mean_maps(drift: moved.Drift) -> list[tuple[str, str]]:
    """Pictures of the mean energy of the baseline's images and of the unlike ones, on one scale."""
    if drift.places is None or drift.places.ndim != 3:
        return []  # means of series and volumes are in the list of features
    heat = np.sqrt(drift.places / max(float(drift.places.max()), 1e-12))
    texts = ("mean map of the baseline, same classes", "mean map of the images least like them")
    return [(map_images.heat_uri(one, transparent=False), text) for one, text in zip(heat, texts, strict=True)]


def _examples(
    drift: moved.Drift, candidate: str, images: str | None
) -> tuple[list[tuple[dict[str, Any], markupsafe.Markup]], markupsafe.Markup]:
    """Rows with their frames, and the original images, to be put into the page once."""
    run = run_directory.RunDirectory(candidate)
    rows = _example_rows(drift, run)
    manifest = moved_images.located(run.read_manifest(), images)
    inputs, photos = of_rows.inputs_of(manifest), overlays.Photos()
    frames: dict[int, markupsafe.Markup] = {}
    for number, original in source_images.row_originals(manifest, source_images.by_place(rows)):
        row = rows[number]
        size, view = axis_columns.size_of(row), axis_columns.view_of(row)
        image = photos.add(row["image_sha256"][:16], original) if original is not None and len(size) == _PICTURE else ""
        alt = f"heatmap of {drift.method} for {row['class_name']} in image {row['image_id']}"
        raw = stored_maps.raw_map(row)
        frames[number] = changed_pictures.frame(raw, view, size, inputs, original, image, alt)
    return [(row, frames[number]) for number, row in enumerate(rows)], photos.markup()


def _example_rows(drift: moved.Drift, run: run_directory.RunDirectory) -> list[dict[str, Any]]:
    """Rows of the candidate's table of the examples, the most unlike first, with what is needed to draw them."""
    table = run.open_table("explanations")
    wanted = {(one.image_id, one.class_name): number for number, one in enumerate(drift.examples)}
    names = ["image_id", "class_name", "shard", "record_index", "image_sha256", "probability", "targets"]
    columns = list(dict.fromkeys([*names, *of_rows.columns(table.schema.names)]))
    condition = (pc.field("method") == drift.method) & pc.field("image_id").isin(sorted({name for name, _ in wanted}))
    found: dict[int, dict[str, Any]] = {}
    for batch in map_scan.batches(table, columns, condition):
        for row in batch.to_pylist():
            number = wanted.get((row["image_id"], row["class_name"]))
            if number is not None and drift.target in row["targets"]:
                found.setdefault(number, row)
    return [found[number] for number in sorted(found)]

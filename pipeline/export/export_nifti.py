"""Volumes with their maps over them, as NIfTI: what 3D Slicer, FSLeyes and ITK-SNAP open.

``volumes/`` holds each original once, ``maps/`` the heatmap of each row over all of its volume, in [0, 1] and on the
volume's grid, ``boxes/`` the true boxes of a row's class as labels, where it has any. ``index.json`` says which file is
which. How axes and steps become the affine is said in `nifti_files`.
"""

from __future__ import annotations

import json
import pathlib
from collections.abc import Mapping
from typing import Any

import pyarrow as pa

from heatbeam.export import nifti_files
from heatbeam.pages.signals import of_rows, shown
from heatbeam.runs import chosen_rows, manifests, source_images
from heatbeam.transforms import records
from heatbeam.transforms.tables import axis_columns, stored_maps

INDEX = "index.json"
VOLUMES, MAPS, BOXES = "volumes", "maps", "boxes"
ENTRIES = (INDEX, VOLUMES, MAPS, BOXES)
_SUFFIX = ".nii.gz"
_TOLD = ("image_id", "class_id", "class_name", "method", "target", "probability")


def write(
    target: pathlib.Path, table: pa.Table, manifest: manifests.Manifest, about: Mapping[str, Any], problems: list[str]
) -> tuple[int, int]:
    """Write the volumes, maps and boxes of every row; how many volumes there are, and how many could be read.

    Args:
        target: the folder.
        table: rows of ``explanations``, of inputs of three axes.
        manifest: of the run.
        about: what to say of the dataset.
        problems: where to add why volumes could not be read.
    """
    for folder in (VOLUMES, MAPS, BOXES):
        (target / folder).mkdir(parents=True)
    plain = chosen_rows.without_maps(table)
    axes = of_rows.axes_of(manifest) or records.plain_axes(3)
    of_place = source_images.by_place(plain)
    names = {place: _name(VOLUMES, i, plain[numbers[0]]) for i, (place, numbers) in enumerate(of_place.items())}
    found: set[source_images.Place] = set()
    for place, values in source_images.originals(manifest, of_place, problems):
        if values.shape[:-1] == axis_columns.size_of(plain[of_place[place][0]])[::-1]:
            nifti_files.write_values(target / names[place], values, axes)
            found.add(place)
    listed = []
    for number, row in enumerate(plain):
        place = source_images.place_of(row)
        files = _overlays(target, number, chosen_rows.with_map(table, number, row), axes)
        told = {name: row[name] for name in _TOLD}
        listed.append({**told, "volume": names[place] if place in found else None, **files})
    text = json.dumps({**about, "axes": [axis.__dict__ for axis in axes], "rows": listed}, indent=1, ensure_ascii=False)
    (target / INDEX).write_text(text + "\n", encoding="utf-8", errors="replace")
    return len(of_place), len(found)


def _overlays(
    target: pathlib.Path, number: int, row: Mapping[str, Any], axes: tuple[records.Axis, ...]
) -> dict[str, str | None]:
    """Write the map and the true boxes of a row; their files."""
    heat: shown.Floats = stored_maps.heatmap(row)
    map_file = _name(MAPS, number, row)
    nifti_files.write_heat(target / map_file, heat, axes)
    boxes = of_rows.true_boxes(row)
    box_file = _name(BOXES, number, row) if boxes else None
    if box_file:
        nifti_files.write_boxes(target / box_file, boxes, heat.shape, axes)
    return {"map": map_file, "boxes": box_file}


def _name(folder: str, number: int, row: Mapping[str, Any]) -> str:
    parts = ("image_id",) if folder == VOLUMES else ("image_id", "class_name", "method")
    return f"{folder}/{chosen_rows.file_name(number, row, parts, _SUFFIX)}"

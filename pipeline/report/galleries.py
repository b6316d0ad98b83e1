"""Which images of a run to show: the best, the median, the worst, and "right class, wrong place".

The choice is the same for every order of rows and files: equal scores go by image id.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.audit import map_scan
from heatbeam.transforms.metrics import slicing
from heatbeam.transforms.tables import axis_columns, schemas, stored_maps

MEASURES = {
    "energy_share": "share of the energy on the object",
    "box_iou": "IoU of the estimated and the true box",
    "mask_iou": "IoU of the map and the mask",
    "probability": "probability of the class",
}
"""What images are ordered by: the first of these that the run has."""

SCORE_COLUMNS = (*MEASURES, "rank", "pointing_hit", "box_hit", "border_share", "corner_share")

ROW_COLUMNS = (
    "image_id", "image_sha256", "shard", "record_index", *axis_columns.sizes(3), *axis_columns.views(3), "label_ids",
    "targets", "class_id", "class_name", "predicted_class_id", "method", "probability", "rank", *stored_maps.COLUMNS,
    *axis_columns.boxes(3), "true_boxes", "box_iou", "energy_share", "pointing_hit",
)  # fmt: skip

Chosen = list[tuple[str, int]]
"""``(image_id, class_id)`` pairs."""


@dataclasses.dataclass(frozen=True)
class Galleries:
    """Images to show.

    Attributes:
        measure: key of `MEASURES` that orders them; empty if there are no images.
        n: images with that measure.
        best, median, worst: by the measure; the median ones are the nearest to it, the worst leave out those of
            `wrong_place`, which is shown beside them.
        wrong_place: the model's first choice is right, the strongest pixel is off the object; least on the object
            first.
        wrong_place_n, right_n: how many there are of those, and of images whose first choice is right (with the point
            measured).
        spread: images from good to bad in even steps.
    """

    measure: str
    n: int
    best: Chosen
    median: Chosen
    worst: Chosen
    wrong_place: Chosen
    wrong_place_n: int
    right_n: int
    spread: list[Chosen]


def choose(scores: pa.Table, count: int, steps: int, *, named: bool = True) -> Galleries:
    """Choose images.

    Args:
        scores: as `map_scan.Scan.scores`.
        count: images in each gallery.
        steps: entries of `Galleries.spread`; each holds a few candidates.
        named: whether the model names classes, so that a first choice can be right.
    """
    columns = {name: map_scan.numbers(scores, name) for name in SCORE_COLUMNS}
    measure = next((name for name in MEASURES if np.isfinite(columns[name]).any()), "")
    if not measure:
        return Galleries("", 0, [], [], [], [], 0, 0, [])
    values = columns[measure]
    usable = np.isfinite(values)
    middle = float(np.median(values[usable]))
    point = columns["pointing_hit"] if np.isfinite(columns["pointing_hit"]).any() else columns["box_hit"]
    right = (columns["rank"] == 1) & np.isfinite(point) & named
    wrong = right & (point == 0)
    wrong_place = _smallest(scores, np.where(wrong, values, np.nan), count)
    shown = _rows_of(scores, wrong_place)
    levels = np.quantile(values[usable], np.linspace(0.95, 0.05, steps)).tolist()
    return Galleries(
        measure=measure,
        n=int(usable.sum()),
        best=_smallest(scores, -values, count),
        median=_smallest(scores, np.abs(values - middle), count),
        worst=_smallest(scores, np.where(shown, np.nan, values), count),
        wrong_place=wrong_place,
        wrong_place_n=int(wrong.sum()),
        right_n=int(right.sum()),
        spread=[_smallest(scores, np.abs(values - level), 12) for level in levels],
    )


def of_rows(
    scores: pa.Table, measure: str, slices: Sequence[tuple[str, str]], names: Sequence[str]
) -> dict[tuple[str, str], Chosen]:
    """Of each class and each slice its worst, its median and its best image, as many as there are.

    Args:
        scores: as of `choose`, with the columns of the slices.
        measure: as of `Galleries`; nothing is chosen without one.
        slices: ``(slice_name, slice_value)`` pairs; `slicing.CLASS` and the name of a class for its images.
        names: of the classes.
    """
    found = {}
    for name, value in slices if measure else ():
        column = "class_id" if name == slicing.CLASS else f"{schemas.SLICE_PREFIX}{name}"
        if column not in scores.column_names:
            continue
        mine = scores.filter(pc.equal(scores[column], names.index(value) if name == slicing.CLASS else value))
        values = map_scan.numbers(mine, measure)
        if not np.isfinite(values).any():
            continue
        middle = float(np.median(values[np.isfinite(values)]))
        worst, best = _smallest(mine, values, 1), _smallest(mine, -values, 1)
        median = [one for one in _smallest(mine, np.abs(values - middle), 3) if one not in worst + best]
        found[name, value] = list(dict.fromkeys(worst + median[:1] + best))
    return found


def _rows_of(scores: pa.Table, chosen: Chosen) -> npt.NDArray[np.bool_]:
    """Which rows are those of `chosen`."""
    found = np.zeros(scores.num_rows, dtype=bool)
    for name, class_id in chosen:
        both = pc.and_(pc.equal(scores["image_id"], name), pc.equal(scores["class_id"], class_id))
        found |= schemas.whole(both).to_numpy(zero_copy_only=False)
    return found


def _smallest(scores: pa.Table, values: npt.NDArray[np.float64], count: int) -> Chosen:
    """Images of the smallest finite values; equal ones by image id."""
    rows = np.flatnonzero(np.isfinite(values))
    if len(rows) > count:
        rows = rows[values[rows] <= np.partition(values[rows], count - 1)[count - 1]]
    taken = scores.select(["image_id", "class_id"]).take(pa.array(rows, pa.int64())).to_pylist()
    order = sorted(range(len(rows)), key=lambda i: (values[rows[i]], taken[i]["image_id"], taken[i]["class_id"]))
    return [(taken[i]["image_id"], taken[i]["class_id"]) for i in order[:count]]


def fetch(table: ds.Dataset, image_ids: Collection[str], method: str | None = None) -> list[dict[str, Any]]:
    """The rows of some images, in order of image, method and class."""
    if not image_ids:
        return []
    columns = [name for name in ROW_COLUMNS if name in table.schema.names]
    condition = pc.field("image_id").isin(sorted(image_ids))
    if method is not None:
        condition &= pc.field("method") == method
    rows = [row for batch in map_scan.batches(table, columns, condition) for row in batch.to_pylist()]
    return sorted(rows, key=lambda row: (row["image_id"], row["method"], row["class_id"]))


def strongest_at(
    table: ds.Dataset, method: str, target: str, places: dict[int, npt.NDArray[np.float64]], count: int
) -> dict[int, list[str]]:
    """Per class the images with the most energy at a place.

    Args:
        table: the explanations.
        method: whose maps.
        target: that they were explained for.
        places: per class id the weight of each cell, ``(h, w)``.
        count: images per class.
    """
    if not places:
        return {}
    condition = (pc.field("method") == method) & pc.field("class_id").isin(sorted(places))
    columns = ["image_id", "class_id", "targets", *stored_maps.columns(table.schema.names)]
    best: dict[int, list[tuple[float, str]]] = {class_id: [] for class_id in places}
    for batch in map_scan.batches(table, columns, condition):
        chosen = batch.filter(pa.array(map_scan.has_target(batch["targets"], target)))
        if not chosen.num_rows:
            continue
        for rows, energy in map_scan.energies(chosen):
            names, ids = chosen["image_id"].take(rows).to_pylist(), chosen["class_id"].take(rows).to_pylist()
            for name, class_id, one in zip(names, ids, energy, strict=True):
                weights = places[class_id]
                if weights.shape == one.shape:
                    best[class_id].append((-float((weights * one).sum()), name))
        best = {class_id: sorted(found)[:count] for class_id, found in best.items()}
    return {class_id: [name for _, name in found] for class_id, found in best.items()}

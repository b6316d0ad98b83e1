"""Why a class was named, as numbers of an image: place, statistics and channel evidence of its map.

A *reason* is one row of ``explanations``, of one method and target, as three blocks of features. None of them needs a
label, and none grows with the model's confidence:
    * place: the shares of the map's energy on a coarse grid;
    * statistics of the map that need no ground truth (`registry.OF_A_MAP`), but for its peak, which is in logits;
    * channels: what each puts into the class score, as a share of what all put into it. Only where both runs have the
      same model and layer: else channels of one number are strangers.
"""

from __future__ import annotations

import dataclasses
import zlib
from collections.abc import Collection, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.audit import map_scan
from heatbeam.transforms.metrics import registry
from heatbeam.transforms.tables import schemas, stored_evidence, stored_maps

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

MAX_IMAGES = 5000
"""Of more images of a run a fixed sample, by hash of the image id."""

CELLS = {1: 24, 2: 7, 3: 4}
"""Sides of the grid of places, by how many axes of the map have more than one cell."""

_LEFT_OUT = ("peak",)
_IMAGE = ("image_id", "shard", "record_index")


@dataclasses.dataclass(frozen=True, eq=False)
class Reasons:
    """The reasons of N images of a run.

    Attributes:
        image_ids: of each.
        class_ids: ``(N,)``, the explained class.
        class_names: of each row.
        places: ``(N, *grid)``, shares of the energy; they add up to 1.
        statistics: ``(N, S)``, NaN where there is none.
        channels: ``(N, C)``, shares of the evidence, NaN in rows without any; None where the run has none.
        sampled: whether they are a sample of more.
    """

    image_ids: list[str]
    class_ids: Ints
    class_names: list[str]
    places: Floats
    statistics: Floats
    channels: npt.NDArray[np.float32] | None
    sampled: bool


def statistics_of(names: Collection[str]) -> list[str]:
    """The statistics that a table with columns of some names has."""
    known = [column.name for group in registry.OF_A_MAP.values() for column in group.columns]
    return [name for name in known if name in names and name not in _LEFT_OUT]


def read(table: ds.Dataset, method: str, target: str, statistics: Sequence[str], *, channels: bool) -> Reasons:
    """The reasons of a run; of an image that was explained for several classes one, or its rows would count as images.

    Args:
        table: its explanations.
        method: whose maps.
        target: that they were explained for.
        statistics: columns to read.
        channels: whether to read the evidence of channels.
    """
    names = [*_IMAGE, "targets", "class_id", "class_name", *stored_maps.columns(table.schema.names), *statistics]
    condition = pc.field("method") == method
    sampled, limit = _sample(table, condition, target)
    tables, grids = [], []
    for batch in map_scan.batches(table, names, condition):
        there = map_scan.has_target(batch["targets"], target) & (_hashes(batch["image_id"]) <= limit)
        chosen = batch.filter(pa.array(there))
        for rows, energy in map_scan.energies(chosen):
            tables.append(chosen.take(pa.array(rows)).drop_columns(list(stored_maps.columns(chosen.column_names))))
            grids.append(map_scan.resized(energy, grid_of(energy.shape[1:])))
    return _reasons(table, tables, grids, statistics, channels=channels, sampled=sampled)


def _sample(table: ds.Dataset, condition: ds.Expression, target: str) -> tuple[bool, int]:
    """Whether a sample is taken, and the largest hash of an image id of it."""
    parts = [
        _hashes(batch["image_id"])[map_scan.has_target(batch["targets"], target)]
        for batch in map_scan.batches(table, ["image_id", "targets"], condition)
    ]
    hashes = np.concatenate([np.zeros(0, np.int64), *parts])
    if len(hashes) <= MAX_IMAGES:
        return False, int(np.iinfo(np.int64).max)
    return True, int(np.partition(hashes, MAX_IMAGES - 1)[MAX_IMAGES - 1])


def _hashes(image_ids: pa.ChunkedArray) -> Ints:
    return np.array([zlib.crc32(name.encode("utf-8", "surrogatepass")) for name in image_ids.to_pylist()], np.int64)


def grid_of(shape: Sequence[int]) -> tuple[int, ...]:
    """Shape of the grid of places of maps of a shape."""
    most = CELLS[max(1, sum(side > 1 for side in shape))]
    return tuple(min(side, most) for side in shape)


def _reasons(
    table: ds.Dataset,
    tables: list[pa.Table],
    grids: list[Floats],
    statistics: Sequence[str],
    *,
    channels: bool,
    sampled: bool,
) -> Reasons:
    if not tables:
        nothing = np.zeros((0, 0))
        return Reasons([], np.zeros(0, np.int64), [], nothing, nothing, None, sampled)
    shapes = {grid.shape[1:] for grid in grids}
    common = max(shapes, key=lambda shape: (sum(len(grid) for grid in grids if grid.shape[1:] == shape), shape))
    rows = pa.concat_tables(tables)
    places = np.concatenate([grid if grid.shape[1:] == common else map_scan.resized(grid, common) for grid in grids])
    chosen = _one_of_each(rows)
    rows, places = rows.take(pa.array(chosen)), places[chosen]
    return Reasons(
        image_ids=rows["image_id"].to_pylist(),
        class_ids=schemas.whole(rows["class_id"]).to_numpy().astype(np.int64),
        class_names=rows["class_name"].to_pylist(),
        places=places,
        statistics=np.column_stack([map_scan.numbers(rows, name) for name in statistics])
        if statistics
        else np.zeros((rows.num_rows, 0)),
        channels=_channels(table, rows) if channels else None,
        sampled=sampled,
    )


def _one_of_each(rows: pa.Table) -> Ints:
    """The row of each image whose class has the smallest hash with it: no class is preferred."""
    names = zip(*(rows[name].to_pylist() for name in (*_IMAGE, "class_id")), strict=True)
    best: dict[tuple[str, str, int], tuple[int, int]] = {}
    for row, (*image, class_id) in enumerate(names):
        key = image[0], image[1], image[2]
        own = zlib.crc32(f"{image[0]} {class_id}".encode("utf-8", "surrogatepass")), row
        best[key] = min(best.get(key, own), own)
    return np.array(sorted(row for _, row in best.values()), np.int64)


def _channels(table: ds.Dataset, rows: pa.Table) -> npt.NDArray[np.float32] | None:
    """Shares of the evidence ``(N, C)`` of the rows' images and classes; NaN where a row has none."""
    wanted = {key: row for row, key in enumerate(_keys(rows))}
    ids = pa.array(rows["image_id"].unique().to_pylist(), pa.string())
    parts: list[tuple[npt.NDArray[np.int64], stored_evidence.Evidence]] = []
    # The evidence stands in the row of the first method that explained the image, whichever this is.
    for batch in map_scan.batches(table, ["image_id", "class_id", *stored_evidence.COLUMNS]):
        own = stored_evidence.given(batch.filter(pc.is_in(batch["image_id"], value_set=ids)))
        places = np.array([wanted.get(key, -1) for key in _keys(own)], np.int64)
        known = np.flatnonzero(places >= 0)
        if len(known):
            parts.append((places[known], stored_evidence.decoded(own.take(pa.array(known)))))
    if not parts:
        return None
    width = max(int(one.channels.max(initial=-1)) + 1 for _, one in parts)
    found = np.full((rows.num_rows, width), np.nan, np.float32)
    for places, one in parts:
        whole = np.where(one.magnitude > 0, one.magnitude, 1)
        found[places] = one.sparse(width).toarray() / whole[:, None]
    return found


def _keys(rows: pa.Table) -> list[tuple[str, int]]:
    return list(zip(rows["image_id"].to_pylist(), rows["class_id"].to_pylist(), strict=True))

"""One pass over the maps of a run: what the report and the shortcut audit need of them, as sums.

Rows are streamed in batches of the needed columns, so memory follows the number of classes, not of images. Maps are
counted as energy: max(map, 0), divided by its sum, so that every image weighs the same. Only maps of the primary target
(`manifest.conventions.primary_target`) count for classes, slices and distributions; health counts every map.
"""

from __future__ import annotations

import collections
import dataclasses
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

from heatbeam.audit import map_health
from heatbeam.transforms.metrics import slicing
from heatbeam.transforms.tables import schemas, stored_maps

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]

BATCH_ROWS = 16_384

GRID_CELLS = 28
"""Sides of mean maps have at most so many cells; larger maps are averaged down."""

VOLUME_CELLS = 12
"""Of each side of a volume, or memory would grow with the cube."""

CENTROIDS = ("centroid_x", "centroid_y", "centroid_z")

FEATURES = ("energy_share", "border_share", "corner_share", *CENTROIDS)
"""Per-image columns whose mean and spread are kept for every class of every slice."""

BINS = 100

_KEYS = ("image_id", "shard", "record_index", "targets", "class_id", "predicted_class_id", "method", "health")


@dataclasses.dataclass(frozen=True, eq=False)
class Group:
    """The maps of one class by one method, over everything or in one slice.

    Attributes:
        method: name of the method.
        scope: ``(slice_name, slice_value)``; `slicing.EVERYTHING` without a slice.
        class_id: the explained class.
        n: maps with energy.
        means: mean of each of `FEATURES`; NaN where no image has it.
        deviations: their standard deviations over images.
        halves: float64 ``(2, h, w)``, or of one or three axes: mean energy of the images of either half (by hash of the
            image id); sums to 1.
        half_n: images in each half.
    """

    method: str
    scope: tuple[str, str]
    class_id: int
    n: int
    means: dict[str, float]
    deviations: dict[str, float]
    halves: Floats
    half_n: tuple[int, int]

    @property
    def mean_map(self) -> Floats:
        """Mean energy over all images of the group, ``(h, w)``."""
        weights = np.array(self.half_n, np.float64) / max(sum(self.half_n), 1)
        mean: Floats = np.tensordot(weights, self.halves, axes=1)
        return mean


class _Sums:
    """Growing sums per slot: how often, features and their squares, energy of two halves."""

    def __init__(self, shape: tuple[int, ...]):
        self.shape = shape
        self.slots: dict[tuple[str, int], int] = {}
        self.counts = np.zeros((0, len(FEATURES)))
        self.sums = np.zeros((0, len(FEATURES)))
        self.squares = np.zeros((0, len(FEATURES)))
        self.half_n = np.zeros((0, 2))
        self.maps = np.zeros((0, 2, *shape), np.float64)

    def add(self, keys: list[tuple[str, int]], features: Floats, energy: Floats, half: Ints) -> None:
        """Count N maps: `keys` N, `features` (N, F), `energy` (N, *shape), `half` (N,) of 0 and 1."""
        for key in keys:
            self.slots.setdefault(key, len(self.slots))
        self._grow(len(self.slots))
        slots = np.fromiter((self.slots[key] for key in keys), np.int64, len(keys))
        present = np.isfinite(features)
        values = np.where(present, features, 0.0)
        np.add.at(self.counts, slots, present)
        np.add.at(self.sums, slots, values)
        np.add.at(self.squares, slots, values * values)
        np.add.at(self.half_n, (slots, half), 1)
        order = np.argsort(slots * 2 + half, kind="stable")
        places = (slots * 2 + half)[order]
        starts = np.flatnonzero(np.r_[True, places[1:] != places[:-1]])
        sums = np.add.reduceat(energy[order], starts, axis=0)
        self.maps.reshape(-1, *self.shape)[places[starts]] += sums

    def _grow(self, size: int) -> None:
        if size > len(self.counts):
            room = max(size, 2 * len(self.counts)) - len(self.counts)
            for name in ("counts", "sums", "squares", "half_n", "maps"):
                old = getattr(self, name)
                setattr(self, name, np.concatenate([old, np.zeros((room, *old.shape[1:]))]))

    def groups(self, method: str, slice_name: str) -> Iterator[Group]:
        for (value, class_id), slot in self.slots.items():
            counts = np.where(self.counts[slot] > 0, self.counts[slot], np.nan)
            means = self.sums[slot] / counts
            variances = np.maximum(self.squares[slot] / counts - means * means, 0)
            half_n = self.half_n[slot]
            yield Group(
                method=method,
                scope=(slice_name, value),
                class_id=class_id,
                n=int(half_n.sum()),
                means=dict(zip(FEATURES, means.tolist(), strict=True)),
                deviations=dict(zip(FEATURES, np.sqrt(variances).tolist(), strict=True)),
                halves=self.maps[slot] / np.maximum(half_n, 1).reshape(2, *(1,) * len(self.shape)),
                half_n=(int(half_n[0]), int(half_n[1])),
            )


@dataclasses.dataclass(eq=False)
class Scan:
    """What one pass found.

    Attributes:
        reference: method whose images are listed and whose slices are counted.
        health: per method, how many maps there are and what is wrong with them.
        histograms: per ``(method, column)`` the counts of `BINS` equal bins over [0, 1].
        scores: one row per image and class of the reference method: ``image_id``, ``class_id`` and value columns.
        ambiguous: image ids of the reference method that stand for more than one record, sorted.
    """

    reference: str
    health: dict[str, map_health.MethodHealth]
    histograms: dict[tuple[str, str], Ints]
    scores: pa.Table
    ambiguous: list[str]
    _sums: dict[tuple[str, str], _Sums]

    def groups(self, method: str | None = None, slice_name: str | None = None) -> list[Group]:
        """The counted groups, of one method and of one slice name if these are given."""
        return [
            group
            for (of_method, name), sums in self._sums.items()
            if method in (None, of_method) and slice_name in (None, name)
            for group in sums.groups(of_method, name)
        ]


class Scanner:
    """Adds up batches of ``explanations``.

    Args:
        schema: of the table; only columns it has are read.
        primary_target: whose maps count.
        reference: as of `Scan`.
        score_columns: value columns to list for the reference method.
        histogram_columns: value columns in [0, 1] to count for every method.
    """

    def __init__(
        self,
        schema: pa.Schema,
        primary_target: str,
        reference: str,
        score_columns: Sequence[str],
        histogram_columns: Sequence[str],
    ):
        self._primary, self._reference = primary_target, reference
        self._score_columns = [name for name in score_columns if name in schema.names]
        self._histogram_columns = [name for name in histogram_columns if name in schema.names]
        self._features = [name for name in FEATURES if name in schema.names]
        self._slices = schemas.column_names(schema, "slice")
        self._map_columns = stored_maps.columns(schema.names)
        self._health: dict[str, map_health.MethodHealth] = {}
        self._records: list[npt.NDArray[np.uint64]] = []
        self._histograms: dict[tuple[str, str], Ints] = {}
        self._sums: dict[tuple[str, str], _Sums] = {}
        self._scores: list[pa.Table] = []

    @property
    def columns(self) -> list[str]:
        """The columns that `add` reads."""
        values = [*self._features, *self._score_columns, *self._histogram_columns]
        return list(dict.fromkeys([*_KEYS, *self._map_columns, *values, *self._slices]))

    def add(self, batch: pa.Table) -> None:
        """Count the rows of a batch that has `columns`."""
        methods = np.array(batch["method"].to_pylist(), object)
        self._count_health(batch, methods)
        chosen = np.flatnonzero(has_target(batch["targets"], self._primary))
        table = batch.take(pa.array(chosen))
        for method in dict.fromkeys(methods[chosen].tolist()):
            self._add_method(method, table.filter(pa.array(methods[chosen] == method)))

    def _count_health(self, batch: pa.Table, methods: npt.NDArray[np.object_]) -> None:
        lists = schemas.whole(batch["health"])
        sick = np.flatnonzero(lists.value_lengths().to_numpy(zero_copy_only=False) > 0)
        for method, count in collections.Counter(methods.tolist()).items():
            health = self._health.setdefault(method, map_health.MethodHealth(method))
            mine = sick[methods[sick] == method]
            health.add(tuple(flags) for flags in lists.take(pa.array(mine)).to_pylist())
            health.maps += count - len(mine)

    def _add_method(self, method: str, table: pa.Table) -> None:
        for name in self._histogram_columns:
            values = numbers(table, name)
            counts = np.histogram(values[np.isfinite(values)], BINS, (0, 1))[0]
            key = (method, name)
            self._histograms[key] = self._histograms.get(key, np.zeros(BINS, np.int64)) + counts
        if method == self._reference:
            self._records.append(_record_keys(table))
            self._scores.append(table.select(list(dict.fromkeys(["image_id", "class_id", *self._score_columns]))))
        for rows, energy in energies(table):
            self._add_maps(method, table.take(pa.array(rows)), energy)

    def _add_maps(self, method: str, table: pa.Table, energy: Floats) -> None:
        slices = self._slices if method == self._reference else []
        class_ids = table["class_id"].to_pylist()
        half = np.fromiter((half_of(name) for name in table["image_id"].to_pylist()), np.int64, table.num_rows)
        features = np.column_stack([numbers(table, name) for name in FEATURES])
        for slice_name in (slicing.ALL, *slices):
            everything = slice_name == slicing.ALL
            values = [slicing.ALL] * len(class_ids) if everything else table[slice_name].to_pylist()
            rows = [i for i, value in enumerate(values) if value is not None]
            if rows:
                key = (method, slice_name.removeprefix(schemas.SLICE_PREFIX))
                sums = self._sums.setdefault(key, _Sums(energy.shape[1:]))
                sized = energy if sums.shape == energy.shape[1:] else resized(energy, sums.shape)
                keys = [(values[i], class_ids[i]) for i in rows]
                sums.add(keys, features[rows], sized[rows], half[rows])

    def result(self) -> Scan:
        """What was counted so far."""
        empty = {"image_id": pa.array([], pa.string()), "class_id": pa.array([], pa.int32())}
        empty |= {name: pa.array([], pa.float32()) for name in self._score_columns}
        scores = pa.concat_tables(self._scores) if self._scores else pa.table(empty)
        ambiguous = self._ambiguous(scores["image_id"])
        return Scan(self._reference, self._health, self._histograms, scores, ambiguous, self._sums)

    def _ambiguous(self, image_ids: pa.ChunkedArray) -> list[str]:
        if not self._records:
            return []
        keys = pa.table({"image_id": image_ids, "record": pa.array(np.concatenate(self._records))})
        counted = keys.group_by("image_id").aggregate([("record", "count_distinct")])
        several = counted.filter(pc.greater(counted["record_count_distinct"], 1))
        return sorted(several["image_id"].to_pylist())


def _record_keys(table: pa.Table) -> npt.NDArray[np.uint64]:
    """A number for the record of each row: of its shard and its index, the same for every file order."""
    shards = schemas.whole(table["shard"]).dictionary_encode()
    hashes = np.array([zlib.crc32(name.encode()) for name in shards.dictionary.to_pylist()], np.uint64)
    keys: npt.NDArray[np.uint64] = (hashes[shards.indices.to_numpy()] << np.uint64(32)) ^ (
        table["record_index"].to_numpy().astype(np.uint64)
    )
    return keys


def batches(table: ds.Dataset, columns: Sequence[str], condition: ds.Expression | None = None) -> Iterator[pa.Table]:
    """The rows of a dataset in tables of at most `BATCH_ROWS` rows, in the order of its files."""
    # File by file: a scanner of the whole dataset reads ahead as many files as fit into a gigabyte.
    for fragment in table.get_fragments():
        scanner = fragment.scanner(
            schema=table.schema, columns=list(columns), filter=condition, batch_size=BATCH_ROWS, batch_readahead=2
        )
        for batch in scanner.to_batches():
            if batch.num_rows:
                yield pa.Table.from_batches([batch])


def has_target(targets: pa.ChunkedArray, target: str) -> Bools:
    """Which rows were explained for `target`."""
    lists = schemas.whole(targets)
    hits = np.zeros(len(lists), dtype=bool)
    parents = pc.list_parent_indices(lists).to_numpy(zero_copy_only=False)
    hits[parents[pc.equal(pc.list_flatten(lists), target).to_numpy(zero_copy_only=False)]] = True
    return hits


def numbers(table: pa.Table, name: str) -> Floats:
    """A value column as float64, NaN where it is null; all NaN if the table has no such column."""
    if name not in table.column_names:
        return np.full(table.num_rows, np.nan)
    column = schemas.whole(pc.cast(table[name], pa.float64()))
    values: Floats = column.to_numpy(zero_copy_only=False).astype(np.float64)
    return values


def half_of(image_id: str) -> int:
    """0 or 1, the same for every run and file order, for half of the images each."""
    return (zlib.crc32(image_id.encode()) >> 3) & 1


def energies(table: pa.Table) -> Iterator[tuple[Ints, Floats]]:
    """Positions and energy ``(N, *grid)`` of the maps of a table, by shape of map; maps without energy are left out.

    energy = max(map, 0) / sum max(map, 0), averaged down to at most `GRID_CELLS` cells a side (`VOLUME_CELLS` where
    there are three)
    """
    stored = stored_maps.StoredMaps(table)
    for rows in stored.by_shape():
        # A positive scale cancels in the division.
        evidence = np.maximum(stored.cells(rows), 0).astype(np.float64)
        shape = evidence.shape[1:]
        axes = tuple(range(1, evidence.ndim))
        total = evidence.sum(axis=axes)
        usable = total > 0
        most = VOLUME_CELLS if sum(side > 1 for side in shape) > 2 else GRID_CELLS
        grid = tuple(min(side, most) for side in shape)
        energy = evidence[usable] / np.expand_dims(total[usable], axes)
        yield rows[usable], energy if grid == shape else resized(energy, grid)


def resized(energy: Floats, shape: tuple[int, ...]) -> Floats:
    """Energy ``(N, *grid)`` on another grid, area by area; the sum stays 1."""
    out = [_of_shape(one, shape) for one in energy]
    stacked: Floats = np.stack(out) if out else np.zeros((0, *shape))
    totals: Floats = stacked.sum(axis=tuple(range(1, stacked.ndim)), keepdims=True)
    return stacked / np.where(totals > 0, totals, 1)


def _of_shape(one: Floats, shape: tuple[int, ...]) -> Floats:
    """One map on another grid: planes as pictures, and where there are several, then from plane to plane."""
    planes = one.reshape(-1, *one.shape[-2:]) if one.ndim > 1 else one[None, None]
    height, width = shape[-2:] if len(shape) > 1 else (1, *shape)
    flat = np.stack([cv2.resize(plane, (width, height), interpolation=cv2.INTER_AREA) for plane in planes])
    if len(shape) == 3 and shape[0] != len(flat):
        rows = flat.reshape(len(flat), -1)
        flat = np.stack([cv2.resize(column[:, None], (1, shape[0]), interpolation=cv2.INTER_AREA)[:, 0]
                         for column in rows.T], axis=1)  # fmt: skip
    result: Floats = flat.reshape(shape)
    return result


def value(row: Mapping[str, Any], name: str) -> float:
    """A number of a row, NaN where it is null or not there."""
    found = row.get(name)
    return float("nan") if found is None else float(found)

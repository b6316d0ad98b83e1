"""Rows of two runs, joined by image, class and method, a bounded number at a time.

Both tables are split into parts by a hash of the image id, so that the rows of an image meet in the same part; parts
that do not fit into memory together wait in temporary files.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import pathlib
import tempfile
import zlib
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.dataset as ds

Ints = npt.NDArray[np.int64]

PART_BYTES = 64 << 20
"""Rows of one run that are held in memory together, about."""

MAX_PARTS = 256
_BATCH_ROWS = 16384


@dataclasses.dataclass(frozen=True, eq=False)
class Joined:
    """A part of both runs.

    Attributes:
        baseline, candidate: the rows with the same image, class and method, in the same order; of the candidate with
            the baseline's class ids.
        baseline_images, candidate_images: one row of each image that is in both, in the same order.
        only_baseline, only_candidate: ids of the images that are in one run.
        repeated_images: ids that stand for several records (shard and index) of a run; their rows, of both runs, are in
            none of the other fields.
        unpaired: rows of images and methods in both runs whose class was explained in one run only.
        repeated: rows left out because the same image, class and method stands in a run more than once.
    """

    baseline: pa.Table
    candidate: pa.Table
    baseline_images: pa.Table
    candidate_images: pa.Table
    only_baseline: list[str]
    only_candidate: list[str]
    repeated_images: list[str]
    unpaired: int
    repeated: int


def join(
    baseline: ds.Dataset,
    candidate: ds.Dataset,
    columns: Sequence[str],
    class_ids: Ints | None = None,
    part_bytes: int = PART_BYTES,
) -> Iterator[Joined]:
    """Every part of two tables of explanations; their order and what is in each never change a sum.

    Args:
        baseline, candidate: the tables.
        columns: to read; both tables have them, with ``image_id``, ``class_id`` and ``method`` among them.
        class_ids: ``(classes of the candidate,)``, the baseline's id of each, or an id of its own, beyond the
            baseline's, for a class that the baseline does not have. None if the ids mean the same.
        part_bytes: about how much of a run is held at a time.
    """
    parts = _part_count((baseline, candidate), columns, part_bytes)
    with contextlib.ExitStack() as stack:
        folder = pathlib.Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="heatbeam-compare-")))
        first, second = (
            _split(table, columns, parts, folder / side)
            for table, side in ((baseline, "baseline"), (candidate, "candidate"))
        )
        for one, other in zip(first, second, strict=True):
            yield _join(one, other if class_ids is None else _with_class_ids(other, class_ids))


def _part_count(tables: Sequence[ds.Dataset], columns: Sequence[str], part_bytes: int) -> int:
    size = 0.0
    for table in tables:
        head = table.head(1024, columns=list(columns))
        size = max(size, head.nbytes / max(1, head.num_rows) * table.count_rows())
    return min(max(1, math.ceil(size / part_bytes)), MAX_PARTS)


def _split(table: ds.Dataset, columns: Sequence[str], parts: int, folder: pathlib.Path) -> Iterator[pa.Table]:
    if parts == 1:
        yield table.to_table(columns=list(columns))
        return
    folder.mkdir()
    paths = [folder / f"{part}.arrow" for part in range(parts)]
    with contextlib.ExitStack() as stack:
        # File by file: a scanner of the whole table reads ahead as many files as fit into a gigabyte.
        batches = (
            batch
            for fragment in table.get_fragments()
            for batch in fragment.to_batches(
                schema=table.schema, columns=list(columns), batch_size=_BATCH_ROWS, batch_readahead=2
            )
        )
        schema = pa.schema([table.schema.field(name) for name in columns])
        writers = [stack.enter_context(pa.ipc.new_stream(str(path), schema)) for path in paths]
        for batch in batches:
            for part, rows in _rows_of_parts(batch["image_id"], parts):
                writers[part].write_batch(batch.take(rows))
    for path in paths:
        with pa.memory_map(str(path)) as source:
            yield pa.ipc.open_stream(source).read_all()
        path.unlink()


def _rows_of_parts(image_ids: pa.Array, parts: int) -> Iterator[tuple[int, pa.Array]]:
    coded = image_ids.dictionary_encode()
    hashes = [zlib.crc32(name.encode("utf-8", "surrogatepass")) % parts for name in coded.dictionary.to_pylist()]
    part_of = np.array(hashes, np.int64)[coded.indices.to_numpy()]
    order = np.argsort(part_of, kind="stable")
    ends = np.searchsorted(part_of[order], np.arange(parts + 1))
    for part in range(parts):
        if ends[part] < ends[part + 1]:
            yield part, pa.array(order[ends[part] : ends[part + 1]])


def _with_class_ids(table: pa.Table, class_ids: Ints) -> pa.Table:
    """`table` with the class ids of the other run."""

    def mapped(ids: pa.Array) -> pa.Array:
        return pa.array(of_baseline(ids.to_numpy(zero_copy_only=False).astype(np.int64), class_ids), pa.int32())

    for name in ("class_id", "predicted_class_id"):
        if name in table.column_names:
            at = table.schema.get_field_index(name)
            table = table.set_column(at, table.schema.field(name), mapped(table[name].combine_chunks()))
    if "label_ids" in table.column_names:
        at = table.schema.get_field_index("label_ids")
        lists = _one_chunk(table["label_ids"])
        offsets = pa.array(np.concatenate([[0], np.cumsum(list_lengths(lists))]), pa.int32())
        labels = pa.ListArray.from_arrays(offsets, mapped(lists.flatten()), type=lists.type)
        table = table.set_column(at, table.schema.field("label_ids"), labels)
    return table


def of_baseline(ids: Ints, class_ids: Ints) -> Ints:
    """The baseline's ids of classes of the candidate; -1 for what is none of its classes.

    Args:
        ids: of the candidate.
        class_ids: as of `join`.
    """
    known = (ids >= 0) & (ids < len(class_ids))
    return np.where(known, class_ids[np.where(known, ids, 0)], -1)


def list_lengths(lists: pa.ListArray) -> Ints:
    """Length of each list."""
    return np.asarray(lists.value_lengths().to_numpy(zero_copy_only=False), np.int64)


def _one_chunk(column: pa.ChunkedArray) -> pa.Array:
    combined = column.combine_chunks()
    return combined if isinstance(combined, pa.Array) else pa.concat_arrays(combined.chunks)


def _join(baseline: pa.Table, candidate: pa.Table) -> Joined:
    ambiguous = sorted({*ambiguous_ids(baseline), *ambiguous_ids(candidate)})
    if ambiguous:
        names = pa.array(ambiguous, pa.string())
        baseline, candidate = (
            table.filter(pc.invert(pc.is_in(table["image_id"], value_set=names))) for table in (baseline, candidate)
        )
    images = _codes(baseline["image_id"], candidate["image_id"])
    methods = _codes(baseline["method"], candidate["method"])
    keys = [
        (image * (1 + max(int(m.max(initial=0)) for m in methods)) + method) * (1 << 31) + 1 + _ints(table["class_id"])
        for table, image, method in zip((baseline, candidate), images, methods, strict=True)
    ]
    (first, repeated_1), (second, repeated_2) = (_once(key) for key in keys)
    _, mine, other = np.intersect1d(keys[0][first], keys[1][second], assume_unique=True, return_indices=True)
    mine, other = first[mine], second[other]
    (own, own_rows), (its, its_rows) = (np.unique(image, return_index=True) for image in images)
    _, in_own, in_its = np.intersect1d(own, its, assume_unique=True, return_indices=True)
    ids = [_one_chunk(table["image_id"]) for table in (baseline, candidate)]
    shared = set(np.unique(methods[0])) & set(np.unique(methods[1]))
    unpaired = 0
    for rows, image, method, others, paired in (
        (first, images[0], methods[0], its, mine), (second, images[1], methods[1], own, other)
    ):  # fmt: skip
        both = np.isin(image[rows], others) & np.isin(method[rows], list(shared))
        unpaired += int(both.sum()) - len(paired)
    return Joined(
        baseline=baseline.take(mine),
        candidate=candidate.take(other),
        baseline_images=baseline.take(own_rows[in_own]),
        candidate_images=candidate.take(its_rows[in_its]),
        only_baseline=pc.take(ids[0], pa.array(np.delete(own_rows, in_own))).to_pylist(),
        only_candidate=pc.take(ids[1], pa.array(np.delete(its_rows, in_its))).to_pylist(),
        repeated_images=ambiguous,
        unpaired=unpaired,
        repeated=repeated_1 + repeated_2,
    )


def ambiguous_ids(table: pa.Table) -> list[str]:
    """Image ids that stand for more than one record.

    Args:
        table: with ``image_id``, ``shard`` and ``record_index``; without the last two nothing can be told.
    """
    place = [name for name in ("shard", "record_index") if name in table.column_names]
    if len(place) < 2:
        return []
    records = table.select(["image_id", *place]).group_by(["image_id", *place]).aggregate([])
    counted = records.group_by("image_id").aggregate([([], "count_all")])
    found: list[str] = counted.filter(pc.greater(counted["count_all"], 1))["image_id"].to_pylist()
    return found


def _codes(first: pa.ChunkedArray, second: pa.ChunkedArray) -> tuple[Ints, Ints]:
    """Numbers that stand for the same string in both columns."""
    coded = _one_chunk(pa.chunked_array([*first.chunks, *second.chunks], pa.string())).dictionary_encode()
    numbers = coded.indices.to_numpy(zero_copy_only=False).astype(np.int64)
    return numbers[: len(first)], numbers[len(first) :]


def _ints(column: pa.ChunkedArray) -> Ints:
    return np.asarray(column.to_numpy(), np.int64)


def _once(keys: Ints) -> tuple[Ints, int]:
    """Positions of the keys that occur once, and how many rows have another."""
    _, positions, counts = np.unique(keys, return_index=True, return_counts=True)
    kept = positions[counts == 1]
    return kept, len(keys) - len(kept)

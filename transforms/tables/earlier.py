"""What earlier runs said about an image, found by the content of the image.

An index tells where the rows of an image lie: 24 bytes an image, made once by a scan of four columns. It is written to
one file, which every worker process reads once and keeps in memory. The rows themselves stay where they are; a worker
decodes the block of rows (a row group) in which an image lies and keeps the last few. Images that come in the order in
which they were written, shard by shard, take one decoding for a block.

Of images with the same bytes, which a dataset may have thousands of, the one with the same id comes first: each of
them costs one look then, not one for every other. A candidate found by 64 bits of the hash is taken only if the whole
SHA-256 of the image bytes agrees, and the labels.
"""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import hashlib
import io
import json
import threading
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent import futures
from typing import TypeVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from apache_beam.io import filesystem, filesystems

from heatbeam.transforms import records, sampling
from heatbeam.transforms.tables import axis_columns, schemas, stored_evidence, stored_maps, table_files

Key = TypeVar("Key")
Value = TypeVar("Value")

_ENTRY = np.dtype([("key", "<u8"), ("id", "<u4"), ("row", "<u4"), ("file", "<u4"), ("rows", "<u4")])


_KEY_DIGITS = 16
_KEPT_BLOCKS = 2
_KEPT_FILES = 4
_SCAN_THREADS = 16

_ID_BYTES = 4
_RECORD_COLUMNS = ("image_sha256", "image_id", "shard", "record_index")

_COLUMNS = (
    *("image_id", "image_sha256", "label_ids"),
    *("targets", "class_id", "predicted_class_id", "method", "layer", "logit", "probability", "rank"),
    *stored_evidence.COLUMNS,
)

NOTHING = records.Earlier(
    size=(0, 0),
    class_ids=np.zeros(0, np.int64),
    targets=(),
    logits=np.zeros(0, np.float32),
    probabilities=np.zeros(0, np.float32),
    ranks=np.zeros(0, np.int64),
    predicted_class_id=records.NO_CLASS,
    methods=(),
    complete=False,
)
"""What is known of a new image."""


@dataclasses.dataclass(frozen=True)
class StoredFile:
    """A file of rows of ``explanations``.

    Attributes:
        path: on any Beam file system.
        methods: from the name that a method has there to the name that the same method has in this run.
    """

    path: str
    methods: Mapping[str, str]


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What this run wants of an image.

    Attributes:
        methods: ``(name, share of the images)``, as `sampling.in_sample` chooses them.
        sample_seed: of that choice.
        scores: columns that are measured where the model is.
        curves: curves that are.
        same_id: whether the id of the image has to be the same too, because the scores depend on it.
    """

    methods: tuple[tuple[str, float], ...]
    sample_seed: int
    scores: tuple[str, ...]
    curves: tuple[str, ...]
    same_id: bool


@dataclasses.dataclass(frozen=True, eq=False)
class Index:
    """Where the rows of images lie.

    Attributes:
        files: the files.
        entries: of `_ENTRY`, sorted by key and id: the first 64 bits of the image's hash, 32 bits of a hash of its id,
            first row, file, number of rows.
    """

    files: tuple[StoredFile, ...]
    entries: np.ndarray

    def find(
        self, image_sha256: str, image_id: str | None = None, *, same_id: bool = False
    ) -> Iterator[tuple[int, int, int]]:
        """``(file, first row, rows)`` of the rows that may be of the image.

        Args:
            image_sha256: of its bytes.
            image_id: rows of images with this id come first, and then the others, in the order in which they lie.
            same_id: leave out the rows of those with other ids.
        """
        key = np.uint64(int(image_sha256[:_KEY_DIGITS], 16))
        keys = self.entries["key"]
        first = int(np.searchsorted(keys, key, side="left"))
        alike = self.entries[first : int(np.searchsorted(keys, key, side="right"))]
        low, high = 0, 0
        if image_id is not None and len(alike) > 1:
            ids = np.ascontiguousarray(alike["id"])
            low, high = (int(np.searchsorted(ids, _id_key(image_id), side=side)) for side in ("left", "right"))
            yield from _places(alike[low:high])
            if same_id:
                return
        others = np.concatenate([alike[:low], alike[high:]])
        yield from _places(others[np.lexsort((others["row"], others["file"]))])

    def save(self, path: str) -> None:
        """Write it to one file."""
        listed = json.dumps([[file.path, dict(file.methods)] for file in self.files])
        content = io.BytesIO()
        np.savez(content, files=np.array(listed), entries=self.entries)
        with filesystems.FileSystems.create(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as stream:
            stream.write(content.getvalue())


def build_index(
    paths: Sequence[str], methods_of: Callable[[str, pa.Schema], Mapping[str, str]]
) -> tuple[Index, list[str]]:
    """The index of the files at `paths`, and what was wrong with those that were left out because they are incomplete.

    Args:
        paths: of files of ``explanations``.
        methods_of: from a file's path and schema to the `StoredFile.methods` that may be taken over; a file without
            any is left out.
    """

    def scanned(path: str) -> tuple[StoredFile, np.ndarray] | str:
        try:
            opened = table_files.TableFile(path)
        except table_files.DamagedFile as error:
            return str(error)
        with contextlib.closing(opened):
            file = StoredFile(path, methods_of(path, opened.schema))
            return file, _entries(opened) if file.methods else np.zeros(0, _ENTRY)

    with futures.ThreadPoolExecutor(_SCAN_THREADS) as pool:
        results = list(pool.map(scanned, paths))
    damaged = [result for result in results if isinstance(result, str)]
    kept = [result for result in results if not isinstance(result, str) and result[0].methods]
    for number, (_, part) in enumerate(kept):
        part["file"] = number
    entries = np.concatenate([part for _, part in kept]) if kept else np.zeros(0, _ENTRY)
    order = np.lexsort((entries["id"], entries["key"]))  # stable: of equal ones that of the earlier file comes first
    return Index(tuple(file for file, _ in kept), entries[order]), damaged


def _entries(file: table_files.TableFile) -> np.ndarray:
    """One entry for each run of rows of the same record; the file's number is not set."""
    keys: list[int] = []
    ids: list[np.uint32] = []
    firsts: list[np.ndarray] = []
    last: list[object] = []
    for block, start in enumerate(file.starts[:-1].tolist()):
        table = file.read(block, block, _RECORD_COLUMNS)
        if not table.num_rows:
            continue
        columns = [schemas.whole(table[name]) for name in _RECORD_COLUMNS]
        new = np.zeros(table.num_rows, bool)
        new[0] = last != [column[0].as_py() for column in columns]
        for column in columns:
            new[1:] |= pc.not_equal(column[1:], column[:-1]).to_numpy(zero_copy_only=False)
        places = np.flatnonzero(new)
        digests, names = (column.take(pa.array(places)).to_pylist() for column in columns[:2])
        keys += [int(digits[:_KEY_DIGITS], 16) for digits in digests]
        ids += map(_id_key, names)
        firsts.append(places + start)
        last = [column[-1].as_py() for column in columns]
    entries = np.zeros(len(keys), _ENTRY)
    if firsts:
        rows = np.concatenate(firsts)
        entries["key"], entries["id"], entries["row"] = np.array(keys, np.uint64), ids, rows
        entries["rows"] = np.diff(np.append(rows, file.starts[-1]))
    return entries


def _id_key(image_id: str) -> np.uint32:
    return np.uint32(int.from_bytes(hashlib.blake2b(image_id.encode(), digest_size=_ID_BYTES).digest(), "little"))


def _places(entries: np.ndarray) -> Iterator[tuple[int, int, int]]:
    for entry in entries:
        yield int(entry["file"]), int(entry["row"]), int(entry["rows"])


_LOADED: weakref.WeakValueDictionary[str, Index] = weakref.WeakValueDictionary()
_LOADING = threading.Lock()


def load_index(path: str) -> Index:
    """The index that `Index.save` wrote; one for all threads of a process."""
    with _LOADING:
        found = _LOADED.get(path)
        if found is None:
            with filesystems.FileSystems.open(
                path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED
            ) as stream:
                content = np.load(io.BytesIO(stream.read()))
            files = tuple(StoredFile(name, methods) for name, methods in json.loads(str(content["files"])))
            found = _LOADED[path] = Index(files, content["entries"])
        return found


class EarlierRows:
    """Looks images up in the files of an index. For one thread.

    Args:
        index: of the files.
        wanted: what this run wants of each image.
    """

    def __init__(self, index: Index, wanted: Wanted):
        self._index = index
        self._wanted = wanted
        self._labels = {label for file in index.files for label in file.methods.values()}
        self._files: collections.OrderedDict[int, table_files.TableFile] = collections.OrderedDict()
        self._blocks: collections.OrderedDict[tuple[int, int, int], _Block] = collections.OrderedDict()

    def find(self, encoded: records.EncodedExample, image_sha256: str) -> records.Earlier:
        """What is known of an image, whatever file it is in; `NOTHING` if it is new."""
        wanted = self._wanted
        needed = [
            label for label, share in wanted.methods if sampling.in_sample(encoded.image_id, share, wanted.sample_seed)
        ]
        there = self._labels.intersection(needed)  # what no file has is not looked for in every equal image
        if not there:
            return NOTHING
        found: dict[str, records.MethodMaps] = {}
        first: records.Earlier | None = None
        for number, row, count in self._index.find(image_sha256, encoded.image_id, same_id=wanted.same_id):
            block, place = self._block(number, row, count)
            if not block.is_of(place, encoded, image_sha256, wanted.same_id):
                continue
            names = self._index.files[number].methods
            more = block.methods(place, count, names, [label for label in needed if label not in found])
            if not more:
                continue
            facts = block.facts(place, count)
            if first is None:
                first = facts
            if np.array_equal(first.class_ids, facts.class_ids):
                found |= more
            if len(found) == len(there):
                break
        if first is None:
            return NOTHING
        return dataclasses.replace(first, methods=tuple(found.values()), complete=len(found) == len(needed))

    def _block(self, number: int, row: int, count: int) -> tuple[_Block, int]:
        """The decoded block with the rows, and the place of the first of them in it."""
        file = self._files.get(number)
        if file is None:
            file = table_files.TableFile(self._index.files[number].path)
            _keep(self._files, number, file, _KEPT_FILES, table_files.TableFile.close)
        self._files.move_to_end(number)
        first, last = file.blocks_of(row, count)
        key = number, first, last
        block = self._blocks.get(key)
        if block is None:
            columns = [*_COLUMNS, *_of_the_rank(file.schema), *self._wanted.scores]
            columns += [name + schemas.CURVE_SUFFIX for name in self._wanted.curves]
            block = _Block(file.read(first, last, columns), self._wanted.scores, self._wanted.curves)
            _keep(self._blocks, key, block, _KEPT_BLOCKS, lambda _: None)
        self._blocks.move_to_end(key)
        return block, row - int(file.starts[first])

    def close(self) -> None:
        """Close the files."""
        for file in self._files.values():
            file.close()
        self._files.clear()
        self._blocks.clear()


def _of_the_rank(schema: pa.Schema) -> tuple[str, ...]:
    """Columns of the size of the image and of the map."""
    return (*axis_columns.sizes(axis_columns.rank_of(schema.names)), *stored_maps.columns(schema.names))


def _keep(
    cache: collections.OrderedDict[Key, Value], key: Key, value: Value, most: int, drop: Callable[[Value], None]
) -> None:
    """Add to a cache that holds the `most` last used."""
    cache[key] = value
    if len(cache) > most:
        drop(cache.popitem(last=False)[1])


class _Block:
    """Decoded rows; those of an image are next to each other, first by method, then by class."""

    def __init__(self, table: pa.Table, scores: Sequence[str], curves: Sequence[str]):
        table = table.combine_chunks()
        self._columns = {name: schemas.whole(table[name]) for name in table.column_names}
        numbers = (*("class_id", "predicted_class_id", "logit", "probability", "rank"), *scores)
        self._sizes = axis_columns.sizes(axis_columns.rank_of(table.column_names))
        numbers += self._sizes
        self._numbers = {name: self._columns[name].to_numpy(zero_copy_only=False) for name in numbers}
        self._names = {name: self._columns[name].to_pylist() for name in ("method", "layer")}
        self._stored = stored_maps.StoredMaps(table)
        self._evidence = table.select(list(stored_evidence.COLUMNS))
        self._scores, self._curves = scores, curves

    def is_of(self, row: int, encoded: records.EncodedExample, image_sha256: str, same_id: bool) -> bool:
        """Whether the rows are of the same image, explained for the same labels."""
        shape = self._size(row)[::-1]
        return (
            self._columns["image_sha256"][row].as_py() == image_sha256
            and tuple(self._columns["label_ids"][row].as_py()) == tuple(encoded.label_ids)
            and (encoded.raw_shape is None or tuple(encoded.raw_shape[: len(shape)]) == shape)
            and (not same_id or self._columns["image_id"][row].as_py() == encoded.image_id)
        )

    def _size(self, row: int) -> tuple[int, ...]:
        """Of the original image, x first."""
        return tuple(int(self._numbers[name][row]) for name in self._sizes)

    def facts(self, row: int, count: int) -> records.Earlier:
        """What holds for all methods of an image, without the methods."""
        length = self._length(row, row + count)
        rows = slice(row, row + length)
        return records.Earlier(
            size=self._size(row),
            class_ids=self._numbers["class_id"][rows].astype(np.int64),
            targets=tuple(tuple(reasons) for reasons in self._columns["targets"][rows].to_pylist()),
            logits=self._numbers["logit"][rows],
            probabilities=self._numbers["probability"][rows],
            ranks=self._numbers["rank"][rows].astype(np.int64),
            predicted_class_id=int(self._numbers["predicted_class_id"][row]),
            methods=(),
            complete=False,
            evidence=stored_evidence.of_image(self._evidence, rows),
        )

    def methods(
        self, row: int, count: int, names: Mapping[str, str], needed: Sequence[str]
    ) -> dict[str, records.MethodMaps]:
        """The maps of an image by the names that this run has for the methods; those that are `needed`."""
        end, found = row + count, {}
        while row < end:
            length = self._length(row, end)
            label = names.get(self._names["method"][row])
            if label is not None and label in needed:
                found[label] = self._maps(label, row, row + length)
            row += length
        return found

    def _length(self, row: int, end: int) -> int:
        """How many rows from `row` on are of the same method."""
        methods = self._names["method"]
        return next((i for i in range(row, end) if methods[i] != methods[row]), end) - row

    def _maps(self, label: str, row: int, end: int) -> records.MethodMaps:
        curves = []
        for name in self._curves:
            lists = self._columns[name + schemas.CURVE_SUFFIX][row:end]
            if not lists.null_count:
                points = lists.flatten().to_numpy(zero_copy_only=False).astype(np.float64)
                curves.append((name, points.reshape(end - row, -1)))
        return records.MethodMaps(
            method=label,
            layer=self._names["layer"][row],
            maps=self._stored.maps(slice(row, end)),
            scores=tuple((name, self._numbers[name][row:end].astype(np.float64)) for name in self._scores),
            curves=tuple(curves),
        )

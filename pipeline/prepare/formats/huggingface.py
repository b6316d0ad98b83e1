"""Image folders and Parquet files as Hugging Face's libraries write them.

An image folder has ``metadata.csv``, ``.jsonl`` or ``.parquet`` beside its images, or one in each split, whose column
``file_name`` leads from there; else it is a folder for each class (`class_folders`). A Parquet file holds the images,
and the names of its classes among the metadata of its schema. Its shards are its row groups, in their order.

Format: https://huggingface.co/docs/datasets/image_dataset
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io import filesystems

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked, class_folders, lists
from heatbeam.transforms import errors, records

METADATA = ("metadata.csv", "metadata.jsonl", "metadata.parquet")
_FILE = "file_name"
_OBJECT_COLUMNS = ("x", "y", "width", "height")
_READERS = 16  # footers that are read at once: a store far away answers slowly, and a data set may have hundreds


def split_of(path: str) -> str:
    """The split that a path names, by a folder or by the beginning of the name of the file."""
    *folders, name = path.split("/")
    start = name.partition(".")[0].partition("-")[0]
    return next((part for part in (start, *folders) if part.lower() in class_folders.SPLITS), items.DEFAULT_SPLIT)


def listing(given: asked.Asked) -> items.Listing:
    """The images of a folder with metadata.

    Raises:
        errors.UserError: it has none, or it cannot be read.
    """
    root = places.absolute(given.source)
    tables: dict[str, list[lists.Row]] = {}
    for path in given.paths:
        if path.rpartition("/")[2] in METADATA:
            folder = path.rpartition("/")[0]
            rows = _rows(f"{root}/{path}")
            found = [{**row, _FILE: f"{folder}/{row.get(_FILE) or ''}".lstrip("/")} for row in rows]
            tables.setdefault(split_of(path), []).extend(one for row in found for one in _with_objects(row))
    if not tables:
        raise errors.PathError(f"{given.source} has no {' or '.join(METADATA)}")
    return lists.of_rows("image folder", given, root, tables, _FILE)


def _rows(path: str) -> list[lists.Row]:
    if not path.endswith(".parquet"):
        return lists.rows_of(places.read_text(path), path)
    with _opened(path) as file:
        rows: list[lists.Row] = file.read().to_pylist()
    return rows


def _with_objects(row: Mapping[str, Any]) -> Iterator[lists.Row]:
    """A row for each box of the column ``objects``, as lists have them; the row itself without it."""
    objects = row.get("objects")
    if not isinstance(objects, dict) or not isinstance(objects.get("bbox"), list):
        yield row
        return
    classes = objects.get("categories") or objects.get("category") or [None] * len(objects["bbox"])
    rest = {name: value for name, value in row.items() if name != "objects"}
    if not objects["bbox"]:
        yield {**rest, "category": None, **dict.fromkeys(_OBJECT_COLUMNS)}
    for box, name in zip(objects["bbox"], classes, strict=False):
        numbers = box if isinstance(box, list) and len(box) == len(_OBJECT_COLUMNS) else ["no box"] * 4
        yield {**rest, "category": name, **dict(zip(_OBJECT_COLUMNS, numbers, strict=True))}


def parquet(given: asked.Asked) -> items.Listing:
    """The images that Parquet files hold.

    Raises:
        errors.UserError: they cannot be read, or hold no images.
    """
    files = files_of(given, (".parquet",))
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        footers = dict(zip(files, pool.map(_footer, files), strict=True))
    schema, _ = footers[files[0]]
    pieces = [(split_of(path), path, group) for path in files for group in range(len(footers[path][1]))]
    given.check_splits(tuple(sorted({split for split, _, _ in pieces})))
    declared = _declared(schema)
    image = _image_column(schema, declared, given.source)
    labels = given.label_columns or _label_columns(schema, declared)
    missing = [name for name in labels if name not in schema.names]
    if missing:
        raise errors.UsageError(f"{given.source}: no column {missing[0]}, of {', '.join(schema.names)}")
    names = next((tuple(found) for name in labels if (found := _names(declared.get(name)))), None)
    further = [field.name for field in schema if field.name not in (image, *labels)]
    slices = tuple(name for name in further if not pa.types.is_nested(schema.field(name).type))
    left_out = collections.Counter(
        f"column {name}, which is no text or number" for name in further if name not in slices
    )
    ids: dict[items.Key, int] | None = None if names is None else {place: place for place in range(len(names))}
    if names is None and given.names is not None:
        names, ids = tuple(given.names.values()), asked.ids_of(given.names)
    return items.Listing(
        "Parquet",
        pieces=[
            items.Piece(split, _items_of_rows, (path, group, image, labels, slices))
            for split, path, group in pieces
            if given.takes(split)
        ],
        images=sum(footers[path][1][group] for split, path, group in pieces if given.takes(split)),
        names=names,
        ids=ids,
        several=len(labels) > 1 or any(pa.types.is_list(schema.field(name).type) for name in labels),
        slices=slices,
        left_out=left_out,
    )


def files_of(given: asked.Asked, endings: tuple[str, ...]) -> list[str]:
    """The files of a source that is a folder, or those that it matches as a pattern.

    Raises:
        errors.PathError: there are none.
    """
    if places.is_folder(given.source):
        root = places.absolute(given.source)
        found = [f"{root}/{path}" for path in given.paths if path.lower().endswith(endings)]
    else:
        with errors.about(given.source, "read"):
            (matched,) = filesystems.FileSystems.match([given.source])
        found = sorted(one.path for one in matched.metadata_list)
    if not found:
        raise errors.PathError(f"{given.source} has no files {endings[0]}")
    return found


def _footer(path: str) -> tuple[pa.Schema, list[int]]:
    """The columns of a Parquet file, and how many rows each of its row groups has."""
    with _opened(path) as file:
        about = file.metadata
        return file.schema_arrow, [about.row_group(group).num_rows for group in range(about.num_row_groups)]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    with errors.about(path, "read"), filesystems.FileSystems.open(path, compression_type="uncompressed") as stream:
        try:
            yield pq.ParquetFile(pa.PythonFile(stream, mode="r"))
        except pa.ArrowInvalid as error:
            raise errors.PathError(f"{path} is no Parquet file: {error}") from error


def _declared(schema: pa.Schema) -> Mapping[str, Any]:
    """The features that Hugging Face's library declares, by column."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
    except (KeyError, TypeError, ValueError):
        return {}
    return features if isinstance(features, dict) else {}


def _names(feature: Any) -> Sequence[str]:
    """The names of a ``ClassLabel``, or of a sequence of them."""
    inner = feature.get("feature", feature) if isinstance(feature, dict) else feature[0] if feature else None
    names = inner.get("names") if isinstance(inner, dict) and inner.get("_type") == "ClassLabel" else None
    return [str(name) for name in names] if isinstance(names, list) else ()


def _image_column(schema: pa.Schema, declared: Mapping[str, Any], source: str) -> str:
    found = [name for name, one in declared.items() if isinstance(one, dict) and one.get("_type") == "Image"]
    if not found:
        kinds = {field.name: field.type for field in schema}
        found = [name for name, kind in kinds.items() if _holds_bytes(kind)]
    if len(found) != 1:
        raise errors.UsageError(
            f"{source}: {' and '.join(found) or 'no column'} may be the images; expected one column"
        )
    return found[0]


def _holds_bytes(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return any(kind.field(place).name == "bytes" for place in range(kind.num_fields))
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _label_columns(schema: pa.Schema, declared: Mapping[str, Any]) -> tuple[str, ...]:
    found = [name for name in declared if _names(declared[name])]
    return tuple((found or [name for name in lists.LABELS if name in schema.names])[:1])


def _items_of_rows(
    path: str, group: int, image: str, labels: Sequence[str], slices: Sequence[str]
) -> Iterator[items.Item]:
    """The rows of a row group."""
    left_out: collections.Counter[str] = collections.Counter()
    with _opened(path) as file:
        first = sum(file.metadata.row_group(earlier).num_rows for earlier in range(group))
        rows = file.read_row_group(group, columns=[image, *labels, *slices]).to_pylist()
    for place, row in enumerate(rows):
        image_id = f"{path.rpartition('/')[2]}__{first + place}"
        try:
            where, data = _image(row[image], places.folder_of(path))
            keys = lists.keys_of(row, labels, None)
        except records.DataError as error:
            yield items.lost(image_id, error)
            continue
        pairs = tuple(lists.slices_of(row, slices, left_out))
        yield items.Item(image_id, where, tuple(dict.fromkeys(keys)), slices=pairs, data=data)


def _image(value: Any, folder: str) -> tuple[str, bytes | None]:
    """Where an image is, or its bytes."""
    if isinstance(value, dict) and value.get("bytes") is None and value.get("path"):
        return places.inside(folder, str(value["path"])), None
    data = value.get("bytes") if isinstance(value, dict) else value
    if not isinstance(data, bytes) or not data:
        raise records.DataError("missing_file", "the row has no image")
    return "", data

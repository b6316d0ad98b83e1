"""Lists of images: CSV, TSV or JSON lines, a row an image or a row a box.

A column has the path, others the class; columns called ``xmin``, ``ymin``, ``xmax``, ``ymax`` (or with ``x``, ``y``,
``width``, ``height``) the box; ``split`` the split; whatever else there is becomes a slice. Rows of one path are one
image.
"""

from __future__ import annotations

import collections
import csv
import dataclasses
import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked
from heatbeam.transforms import errors, records

_PATHS = ("path", "file_name", "filename", "file", "filepath", "file_path", "image_path", "image", "img", "image_file")
LABELS = ("label", "labels", "class", "class_name", "category", "target", "y", "tags")
"""Names of columns with a class, the likeliest first."""
_SPLIT = "split"
_BOXES = (
    ("ymin", "xmin", "ymax", "xmax"), ("y_min", "x_min", "y_max", "x_max"), ("y0", "x0", "y1", "x1"),
    ("y1", "x1", "y2", "x2"), ("y", "x", "h", "w"), ("y", "x", "height", "width"),
    ("y_center", "x_center", "height", "width"),
)  # fmt: skip
"""Names of the four columns of a box: upper and left number, lower and right one or height and width."""

Row = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Columns:
    """Which column is what.

    Attributes:
        path: of the image.
        labels: its classes.
        box: the four numbers, as of `_BOXES`; none without boxes.
        split: of the image; None without.
        slices: what is left.
    """

    path: str
    labels: tuple[str, ...]
    box: tuple[str, ...]
    split: str | None
    slices: tuple[str, ...]


def listing(given: asked.Asked) -> items.Listing:
    """The images that a list names.

    Raises:
        errors.UserError: it cannot be read, or its columns cannot be told apart.
    """
    rows = rows_of(places.read_text(given.source), given.source)
    root = given.image_folder
    return of_rows("list", given, root, {items.DEFAULT_SPLIT: rows})


def of_rows(
    title: str, given: asked.Asked, root: str, tables: Mapping[str, Sequence[Row]], path_column: str | None = None
) -> items.Listing:
    """The images of some tables.

    Args:
        title: of the format.
        given: what is asked.
        root: the folder that paths lead from.
        tables: the rows, by split.
        path_column: of the path, where the format says it.

    Raises:
        errors.UserError: the columns cannot be told apart.
    """
    names = list(dict.fromkeys(name for rows in tables.values() for row in rows for name in row))
    columns = _columns(names, given, path_column)
    left_out: collections.Counter[str] = collections.Counter()
    images = [
        image
        for split, rows in tables.items()
        for image in _grouped(rows, split, root, columns, given.separator, left_out)
    ]
    given.check_splits(tuple(sorted({split for split, _ in images})))
    keys = [key for _, one in images for key in (*one.keys, *(thing.key for thing in one.things or ()))]
    names_of, ids = _vocabulary([key for key in keys if key is not None], given.names)
    return items.Listing(
        title,
        ((split, one) for split, one in images if given.takes(split)),
        names=names_of,
        ids=ids,
        several=bool(columns.box) or any(len(one.keys) > 1 for _, one in images),
        boxes=asked.BOXES[given.boxes] if columns.box and given.boxes else None,
        slices=columns.slices,
        left_out=left_out,
    )


def rows_of(text: str, path: str) -> list[Row]:
    """The rows of a file, by its ending.

    Raises:
        errors.PathError: it is damaged or has no rows.
    """
    try:
        if path.lower().endswith((".jsonl", ".ndjson")):
            rows: list[Row] = [json.loads(line) for line in text.splitlines() if line.strip()]
            if not all(isinstance(row, dict) for row in rows):
                raise errors.PathError(f"{path}: a line is no JSON object")
        else:
            reader = csv.DictReader(io.StringIO(text), delimiter="\t" if path.lower().endswith(".tsv") else ",")
            rows = [{name: value for name, value in row.items() if name is not None} for row in reader]
    except (csv.Error, json.JSONDecodeError) as error:
        raise errors.PathError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise errors.PathError(f"{path} has no rows")
    return rows


def _columns(names: Sequence[str], given: asked.Asked, path_column: str | None) -> Columns:
    path = given.path_column or path_column or next((name for name in _PATHS if name in names), None)
    missing = [name for name in (path, *given.label_columns) if name not in names]
    if path is None or missing:
        wanted = f"no column {missing[0]}" if path else "no column of paths that is known"
        raise errors.UsageError(f"{given.source}: {wanted}, of {', '.join(names)}; say it with --path-column")
    labels = given.label_columns or tuple(name for name in LABELS if name in names and name != path)[:1]
    left = [name for name in names if name != path and name not in labels]
    box = next((columns for columns in _BOXES if all(name in left for name in columns)), ())
    if box and given.boxes is None:
        raise errors.UsageError(
            f"{given.source}: the columns {', '.join(box)} look like boxes; say what their numbers mean with --boxes: "
            f"{', '.join(asked.BOXES)}"
        )
    split = _SPLIT if _SPLIT in left else None
    return Columns(path, labels, box, split, tuple(name for name in left if name not in box and name != split))


def _grouped(
    rows: Sequence[Row],
    split: str,
    root: str,
    columns: Columns,
    separator: str | None,
    left_out: collections.Counter[str],
) -> Iterator[tuple[str, items.Item]]:
    """An item for each path, in the order of the first row of each."""
    groups: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        own = str(row.get(columns.split) or split) if columns.split else split
        groups.setdefault((own, str(row.get(columns.path) or "")), []).append(row)
    for (own, path), group in groups.items():
        yield own, _item(path, group, root, columns, separator, left_out)


def _item(
    path: str,
    rows: Sequence[Row],
    root: str,
    columns: Columns,
    separator: str | None,
    left_out: collections.Counter[str],
) -> items.Item:
    try:
        where = places.inside(root, path)
        found = [keys_of(row, columns.labels, separator) for row in rows]
        things = [
            items.Thing(keys[0] if keys else None, box)
            for row, keys in zip(rows, found, strict=True)
            if columns.box and (box := _box(row, columns.box)) is not None
        ]
    except records.DataError as error:
        return items.lost(path, error)
    keys = tuple(dict.fromkeys(key for own in found for key in own))
    slices = dict.fromkeys(pair for row in rows for pair in slices_of(row, columns.slices, left_out))
    return items.Item(path, where, keys, tuple(things) if columns.box else None, slices=tuple(slices))


def keys_of(row: Row, columns: Sequence[str], separator: str | None) -> tuple[items.Key, ...]:
    """The classes in some columns of a row.

    Raises:
        DataError: ``invalid_label`` for what is neither text nor a whole number.
    """
    found: list[items.Key] = []
    for column in columns:
        value = row.get(column)
        for one in value if isinstance(value, list) else (value,):
            if one is None or isinstance(one, str):
                parts = (one or "").split(separator) if separator else [one or ""]
                found += [part.strip() for part in parts if part.strip()]
            elif isinstance(one, int) and not isinstance(one, bool):
                found.append(one)
            else:
                raise records.DataError("invalid_label", f"column {column} holds {one!r}; expected a name or an id")
    return tuple(found)


def _box(row: Row, columns: Sequence[str]) -> tuple[float, ...] | None:
    """The four numbers, with x before y; None where all are empty: an image without objects."""
    values = [row.get(name) for name in (columns[1], columns[0], columns[3], columns[2])]
    if all(value in (None, "") for value in values):
        return None
    try:
        return tuple(float(value) for value in values)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise records.DataError("invalid_box", f"a box of {values}; expected four numbers") from error


def slices_of(row: Row, columns: Sequence[str], left_out: collections.Counter[str]) -> Iterator[tuple[str, str]]:
    """The values of further columns of a row that are text or numbers; others are counted in `left_out`."""
    for name in columns:
        value = row.get(name)
        if value is None or value == "":
            continue
        if isinstance(value, (dict, list)):
            left_out[f"values of column {name}, which are no text or numbers"] += 1
        else:
            yield name, str(value).lower() if isinstance(value, bool) else str(value)


def _vocabulary(
    keys: Sequence[items.Key], given: Mapping[int, str] | None
) -> tuple[tuple[str, ...] | None, Mapping[items.Key, int] | None]:
    """Names of the classes and the id of each that the source writes."""
    numbers = {key: int(key) for key in set(keys) if isinstance(key, int) or _is_number(key)}
    if len(numbers) == len(set(keys)) and numbers:  # ids, whatever they are positions in
        if given is None:
            return None, numbers
        places_of = {number: place for place, number in enumerate(given)}
        return tuple(given.values()), {key: places_of[n] for key, n in numbers.items() if n in places_of}
    names = tuple(sorted({str(key) for key in keys})) if given is None else tuple(given.values())
    positions = {name: place for place, name in enumerate(names)}
    ids = {key: positions[str(key)] for key in set(keys) if str(key) in positions}
    return names or None, ids if names else None


def _is_number(key: str) -> bool:
    return key.isascii() and key.isdigit()

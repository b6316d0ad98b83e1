"""The Parquet tables of a run, and how records become rows.

A table has one schema and one function that builds it. The function fails on an unknown or missing column, on a null
in a required column and on a wrong type; nothing is dropped or filled in silently.

Conventions of every table:
    * Each field carries ``description``, ``unit`` and ``range`` in its metadata, and ``role``: ``key``, ``map``,
      ``value``, ``curve``, ``slice`` or ``evidence``.
    * A number that does not exist (no ground truth, blank map) is null, never NaN. Columns that are not nullable
      always hold a value.
    * Pixels are those of the original image, x to the right and y down, ends exclusive.
    * Strings that come from data are stored as they are.
    * A file of a run ends in the column ``run_id``, the same in every row of the run (`of_run`).
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heatbeam.transforms import heatmaps, records
from heatbeam.transforms.tables import axis_columns

SCHEMA_VERSION = "2"

HEATMAP_DTYPES = ("int16", "float32")
"""How `explanations` may store a map: quantized to 16 bits, or exactly."""

_VOLUME_STEPS = b"volume_steps"

QUANTIZATION = "value = heatmap * heatmap_scale in float32"

AXES = "heatbeam_axes"
"""Key of the metadata that says what the position axes are: a JSON list of `records.Axis`, in array order."""

SLICE_PREFIX = "slice_"

CURVE_SUFFIX = "_curve"


@dataclasses.dataclass(frozen=True)
class ValueColumn:
    """A nullable number per row of `explanations`: a map statistic or a per-image metric.

    Attributes:
        name: name of the column.
        description: what it is, with its source.
        unit: ``px``, ``nats``, ...; empty for a pure number.
        range: such as ``[0, 1]``; empty if unbounded.
    """

    name: str
    description: str = ""
    unit: str = ""
    range: str = ""


def _field(
    name: str,
    arrow_type: pa.DataType,
    description: str,
    *,
    unit: str = "",
    range: str = "",  # noqa: A002 - the name of the metadata
    role: str = "key",
    nullable: bool = False,
) -> pa.Field:
    metadata = {"description": description, "unit": unit, "range": range, "role": role}
    return pa.field(name, arrow_type, nullable=nullable, metadata=metadata)


def _list_of(value_type: pa.DataType) -> pa.ListType:
    return pa.list_(pa.field("element", value_type, nullable=False))


_IMAGE_FIELDS = [
    _field("image_id", pa.string(), "id of the image, unique in the dataset"),
    _field("image_sha256", pa.string(), "SHA-256 of the encoded image bytes, hexadecimal"),
    _field("shard", pa.string(), "base name of the file the record came from"),
    _field("record_index", pa.int64(), "position of the record in its shard", range="[0, inf)"),
]

_EDGES = {"x0": "left", "y0": "top", "z0": "first", "x1": "right", "y1": "bottom", "z1": "last"}
"""What the edges of a view and of a box are called: of a series left and right are its start and its end."""


def _end(edge: str) -> str:
    return ", exclusive" if edge.endswith("1") else ""


def _unit(rank: int) -> str:
    """Of places along the axes: what `heatbeam_axes` gives in the axes' own units."""
    return "px" if rank == 2 else "samples"


def _place_fields(rank: int) -> list[pa.Field]:
    """The size of the image, the view and the labels."""
    fields = [
        _field(name, pa.int32(), f"{side} of the original image", range="[1, inf)", unit=_unit(rank))
        for name, side in zip(axis_columns.sizes(rank), axis_columns.SIDES, strict=False)
    ]
    part = "the part of the image that the model's input shows"
    for name, edge in zip(axis_columns.views(rank), axis_columns.edges(rank), strict=True):
        fields.append(_field(name, pa.float32(), f"{_EDGES[edge]} edge of {part}{_end(edge)}", unit=_unit(rank)))
        part = "that part"
    labels = _field("label_ids", _list_of(pa.int32()), "class ids of the image; empty without a label")
    return [*fields, labels]


_CLASS_FIELDS = [
    _field("target", pa.string(), "the first reason why this class was explained: label, predicted, runner_up, ..."),
    _field("targets", _list_of(pa.string()), "every reason why this class was explained"),
    _field("class_id", pa.int32(), "the explained class: its position in the model's output", range="[0, inf)"),
    _field("class_name", pa.string(), "name of the explained class"),
    _field("predicted_class_id", pa.int32(), "the model's first choice for this image", range="[0, inf)"),
    _field("method", pa.string(), "configured name of the method"),
    _field("layer", pa.string(), "layer the map belongs to; input for input-gradient methods"),
    _field("logit", pa.float32(), "the model's logit for the explained class", role="value"),
    _field("probability", pa.float32(), "the model's probability for that class", range="[0, 1]", role="value"),
    _field("rank", pa.int32(), "rank of that class, 1 = the model's first choice", range="[1, inf)", role="value"),
]

_VALUE_FIELDS = [
    _field("predicted_value", pa.float32(), "the value that the model gives, which is also logit", role="value"),
    _field("true_value", pa.float32(), "the value in the record; null if it has none", role="value", nullable=True),
    _field("error", pa.float32(), "predicted_value - true_value; null without the latter", role="value", nullable=True),
]

OF_THE_MODEL = ("logit", "probability", "rank", *(field.name for field in _VALUE_FIELDS))
"""Columns of numbers that are the model's own: they concern no map."""


def _true_boxes(rank: int) -> pa.Field:
    about = (f"boxes of the explained class, {' '.join(axis_columns.edges(rank))} of one behind the other; null where"
             " boxes are not annotated, empty if none is of this class")  # fmt: skip
    return _field("true_boxes", _list_of(pa.float64()), about, unit=_unit(rank), nullable=True)


def _box_fields(rank: int) -> list[pa.Field]:
    fields = []
    what = "the estimated box; null if the map gives none"
    for name, edge in zip(axis_columns.boxes(rank), axis_columns.edges(rank), strict=True):
        fields.append(_field(name, pa.float32(), f"{_EDGES[edge]} edge of {what}{_end(edge)}", unit=_unit(rank)))
        what = "the estimated box"
    return [field.with_nullable(True) for field in fields]


def _heatmap_fields(heatmap_dtype: str, rank: int, most: int) -> list[pa.Field]:
    element = {"int16": pa.int16(), "float32": pa.float32()}[heatmap_dtype]
    steps = f"[-{heatmaps.INT16_STEPS}, {heatmaps.INT16_STEPS}]" if heatmap_dtype == "int16" else ""
    order = {1: "from the left", 2: "row by row from the top left", 3: "plane by plane, each row by row"}[rank]
    about = f"raw signed map at the layer's resolution, {order}; {QUANTIZATION}"
    sides = " ".join(axis_columns.LETTERS[:rank][::-1])
    heatmap = _field("heatmap", _list_of(element), about, range=steps, role="map")
    if rank == 3 and heatmap_dtype == "int16":
        heatmap = heatmap.with_metadata({**heatmap.metadata, _VOLUME_STEPS: str(most).encode()})
    fields = [
        heatmap,
        _field("heatmap_scale", pa.float32(), "value of one step of heatmap; 1 for exact maps", role="map"),
        _field("heatmap_shape", _list_of(pa.int32()), f"shape of the map, in the order of the array: {sides}",
               unit="cells", range="[1, inf)", role="map"),
    ]  # fmt: skip
    if rank == 2:
        size = "[1, 32767]"
        fields += [
            _field("heatmap_height", pa.int16(), "rows of the map", unit="cells", range=size, role="map"),
            _field("heatmap_width", pa.int16(), "columns of the map", unit="cells", range=size, role="map"),
        ]
    return fields


_CHANNELS = "in the row of the first method of an image, and null in those of its other methods or without evidence"

_EVIDENCE_FIELDS = [
    _field("evidence_channels", _list_of(pa.int32()), "channels of the run's target layer that put most into the class "
           f"score, the strongest first; {_CHANNELS}", range="[0, inf)", role="evidence", nullable=True),
    _field("evidence_steps", _list_of(pa.int16()), "what each puts into it, gradient times activation summed over the "
           "places; value = evidence_steps * evidence_scale in float32", role="evidence", nullable=True),
    _field("evidence_scale", pa.float32(), "value of one of these steps, in units of the logit", role="evidence",
           nullable=True),
    _field("evidence_total", pa.float32(), "what all channels together put into it", role="evidence", nullable=True),
    _field("evidence_magnitude", pa.float32(), "sum of the absolute values over all channels", range="[0, inf)",
           role="evidence", nullable=True),
]  # fmt: skip


def explanations(
    values: Sequence[ValueColumn],
    slices: Sequence[str],
    *,
    heatmap_dtype: str,
    curves: Sequence[str] = (),
    of_values: bool = False,
    rank: int = 2,
    volume_steps: int = heatmaps.VOLUME_STEPS,
) -> pa.Schema:
    """Schema of ``explanations``: one row per image, explained class and method.

    Args:
        values: the map statistics and per-image metrics, in the order of the columns.
        slices: names of the slice features; their columns are called ``slice_<feature>``.
        heatmap_dtype: ``int16`` (about two bytes a cell) or ``float32`` (exact).
        curves: names of the curves measured image by image; their columns are called ``<name>_curve``.
        of_values: whether the model gives values: then they have columns, and ``probability`` is null.
        rank: how many position axes the inputs have: 1, 2 or 3.
        volume_steps: steps either side of 0 in which maps of volumes are stored as int16.

    Raises:
        ValueError: for an unknown `heatmap_dtype` or `rank`, or a column name that occurs twice.
    """
    if heatmap_dtype not in HEATMAP_DTYPES:
        raise ValueError(f"heatmap_dtype is {heatmap_dtype!r}; expected one of {', '.join(HEATMAP_DTYPES)}")
    if rank not in heatmaps.RANKS:
        raise ValueError(f"the inputs have {rank} position axes; expected one of {heatmaps.RANKS}")
    health = _field("health", _list_of(pa.string()), "flags of a suspicious map (blank, ...); empty = healthy")
    of_class = [*map(_nullable_probability, _CLASS_FIELDS), *_VALUE_FIELDS] if of_values else _CLASS_FIELDS
    fields = [*_IMAGE_FIELDS, *_place_fields(rank), *of_class, _true_boxes(rank)]
    fields += [*_heatmap_fields(heatmap_dtype, rank, volume_steps), *_box_fields(rank), health, *_EVIDENCE_FIELDS]
    for value in values:
        field = _field(value.name, pa.float32(), value.description, unit=value.unit, range=value.range, role="value")
        fields.append(field.with_nullable(True))
    for name in curves:
        about = f"the {name} curve of this map, in the order of its positions; null where it was not measured"
        field = _field(name + CURVE_SUFFIX, _list_of(pa.float32()), about, role="curve", nullable=True)
        fields.append(field)
    for feature in slices:
        about = f"slice feature {feature}; null if the record does not have it"
        fields.append(_field(SLICE_PREFIX + feature, pa.string(), about, role="slice", nullable=True))
    names = [field.name for field in fields]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"explanations would have these columns twice: {', '.join(twice)}; rename the value or slice")
    return pa.schema(fields)


def _nullable_probability(field: pa.Field) -> pa.Field:
    return field.with_nullable(True) if field.name == "probability" else field


_SLICE_FIELDS = [
    _field("method", pa.string(), "configured name of the method"),
    _field("slice_name", pa.string(), "what the rows are split by: all, class, or a slice feature"),
    _field("slice_value", pa.string(), "value of the slice: all, the name of the class, or the feature's value"),
]

SUMMARY = pa.schema([
    *_SLICE_FIELDS,
    _field("metric", pa.string(), "name of the metric"),
    _field("value", pa.float64(), "the metric over the slice; null if nothing could be measured", role="value",
           nullable=True),
    _field("n", pa.int64(), "number of measurements behind the value", range="[0, inf)", role="value"),
    _field("lower", pa.float64(), "lower end of the 95 % interval; null if it has none", role="value", nullable=True),
    _field("upper", pa.float64(), "upper end of the 95 % interval; null if it has none", role="value", nullable=True),
])  # fmt: skip

CURVES = pa.schema([
    *_SLICE_FIELDS,
    _field("curve", pa.string(), "name of the curve"),
    _field("threshold", pa.float64(), "position on the curve: a threshold or a share of pixels; slices other than all"
           " keep every 20th threshold, the numbers of summary are made from all", range="[0, 1]"),
    _field("value", pa.float64(), "the curve at that position; null if nothing could be measured", role="value",
           nullable=True),
    _field("n", pa.int64(), "number of measurements behind the value", range="[0, inf)", role="value"),
])  # fmt: skip

_LOCALIZATION_FIELDS = [
    _field("image_id", pa.string(), "id of the image"),
    _field("method", pa.string(), "configured name of the method"),
    _field("class_id", pa.int32(), "the explained class; with image and method, the key of the row", range="[0, inf)"),
    _field("best_box_threshold", pa.float64(), "the threshold of the method's MaxBoxAcc over the whole run, relative to"
           " the map's greatest value: best_box_threshold_single_50 of the summary", range="[0, 1)", role="value"),
]  # fmt: skip

_MODES = {"single": "the box of the largest contour (MaxBoxAcc)", "multi": "the boxes of all contours (MaxBoxAccV2)"}


def _best_box_fields(rank: int) -> list[pa.Field]:
    edges = axis_columns.edges(rank)
    names = {edge: _EDGES[edge] + (", exclusive," if edge.endswith("1") else "") for edge in edges}
    about = "edge of the estimated box at that threshold; null if the map gives none"
    return [_field(name, pa.float32(), f"{names[edge]} {about}", unit=_unit(rank), nullable=True)
            for name, edge in zip(axis_columns.boxes(rank, "best_box"), edges, strict=True)]  # fmt: skip


def localizations(thresholds: Sequence[str], rank: int = 2) -> pa.Schema:
    """Schema of ``localizations``: one row per row of ``explanations`` whose class has boxes.

    Args:
        thresholds: names of the run's best thresholds, mode and IoU limit in percent, such as ``single_50``; the
            columns are called ``iou_<name>``. Their type is double: comparing them with the limit gives the counts.
        rank: how many position axes the inputs have.
    """
    fields = [*_LOCALIZATION_FIELDS, *_best_box_fields(rank)]
    for name in thresholds:
        mode, percent = name.split("_")
        about = f"best IoU of {_MODES[mode]} with a true box of the class, at the threshold that is best for IoU >="
        fields.append(_field(f"iou_{name}", pa.float64(), f"{about} .{percent}, of the method and the whole run",
                             range="[0, 1]", role="value"))  # fmt: skip
    return pa.schema(fields)


DEAD_LETTERS = pa.schema([
    _field("image_id", pa.string(), "id of the image, or shard__index if the id could not be read"),
    _field("shard", pa.string(), "base name of the file the record came from"),
    _field("record_index", pa.int64(), "position of the record in its shard", range="[0, inf)"),
    _field("stage", pa.string(), "step that lost it: read, decode, explain or localize"),
    _field("error_type", pa.string(), "short stable name of the cause"),
    _field("message", pa.string(), "what came, what was expected and what to do"),
])  # fmt: skip


RUN_ID = _field("run_id", pa.string(), "id of the run, the same in every row of its tables and in its manifest")
"""The last column of every table of a run: tables of several runs can be put on top of each other."""


def of_run(schema: pa.Schema) -> pa.Schema:
    """`schema` with the column `RUN_ID`, as the files of a run have it."""
    return schema.append(RUN_ID)


def stamped(table: pa.Table, run_id: str | None) -> pa.Table:
    """`table` with the column `RUN_ID`; the schema is `of_run` of that of the table.

    Runs of older versions have no id: the column is null there.
    """
    field = RUN_ID.with_nullable(run_id is None)
    return table.append_column(field, pa.repeat(pa.scalar(run_id, pa.string()), table.num_rows))


def with_run_metadata(schema: pa.Schema, metadata: Mapping[str, str], axes: Sequence[records.Axis] = ()) -> pa.Schema:
    """`schema` carrying what concerns the whole run: protocol, model digest, box threshold, ...

    ``heatbeam_schema_version`` and ``heatbeam_quantisation`` are added, and of a table with places `AXES`.

    Args:
        schema: of a table.
        metadata: facts of the run.
        axes: the position axes of its inputs, in the order of the array; none for a table without places.
    """
    own = {"heatbeam_schema_version": SCHEMA_VERSION, "heatbeam_quantisation": QUANTIZATION}
    if axes:
        own[AXES] = json.dumps([dataclasses.asdict(axis) for axis in axes])
    clash = sorted(own.keys() & metadata.keys())
    if clash:
        raise ValueError(f"metadata may not set {', '.join(clash)}: the schema does")
    return schema.with_metadata({**metadata, **own})


def axes_of(schema: pa.Schema) -> tuple[records.Axis, ...]:
    """The position axes of the inputs of a table of ``explanations``, in the order of the array."""
    stored = (schema.metadata or {}).get(AXES.encode())
    if stored is None:  # runs of pictures, before there was anything else
        return records.plain_axes(axis_columns.rank_of(schema.names))
    return tuple(records.Axis(**axis) for axis in json.loads(stored))


def volume_steps(schema: pa.Schema) -> int:
    """Steps either side of 0 in which a table of ``explanations`` stores the maps of volumes."""
    metadata = schema.field("heatmap").metadata or {}
    return int(metadata.get(_VOLUME_STEPS, heatmaps.INT16_STEPS))


def column_names(schema: pa.Schema, role: str) -> list[str]:
    """Names of the columns with a role: ``key``, ``map``, ``value``, ``curve``, ``slice`` or ``evidence``."""
    return [field.name for field in schema if (field.metadata or {}).get(b"role", b"").decode() == role]


def whole(column: pa.ChunkedArray) -> pa.Array:
    """The column as one array; a copy only if it has several chunks."""
    if column.num_chunks == 1:
        return column.chunk(0)
    array = column.combine_chunks()
    return array if isinstance(array, pa.Array) else pa.concat_arrays(array.chunks)


def check(table: pa.Table, schema: pa.Schema) -> None:
    """Check that `table` has exactly the columns of `schema`, of its types, with values wherever one is required.

    Raises:
        ValueError: naming the columns that are wrong.
    """
    _check_names(table.column_names, schema, "table")
    for field, column in zip(schema, table.columns, strict=True):
        if column.type != field.type:
            raise ValueError(f"column {field.name} has type {column.type}; expected {field.type}")
        if column.null_count and not field.nullable:
            raise ValueError(f"column {field.name} is required but {column.null_count} of its values are null or NaN")


def _check_names(names: Iterable[str], schema: pa.Schema, what: str) -> None:
    got, expected = list(names), schema.names
    if got == expected:
        return
    unknown = [name for name in got if name not in expected]
    missing = [name for name in expected if name not in got]
    problems = [f"unknown: {', '.join(unknown)}"] * bool(unknown) + [f"missing: {', '.join(missing)}"] * bool(missing)
    raise ValueError(f"{what} has other columns than its schema; {'; '.join(problems) or 'they are in another order'}")


def _array(values: Any, field: pa.Field) -> pa.Array:
    """`values` with the type of `field`; NaN becomes null."""
    if isinstance(values, pa.Array):
        return values
    if pa.types.is_floating(field.type):
        values = np.asarray(values, dtype=field.type.to_pandas_dtype())
        return pa.array(values, field.type, mask=np.isnan(values))
    return pa.array(values, field.type)


def table_from_columns(schema: pa.Schema, columns: Mapping[str, Any]) -> pa.Table:
    """A table of equally long columns (sequences or arrays). NaN becomes null.

    Raises:
        ValueError: if the names are not those of the schema, or a required value is null or NaN.
    """
    _check_names([name for name in schema.names if name in columns] + [n for n in columns if n not in schema.names],
                 schema, "table")  # fmt: skip
    table = pa.Table.from_arrays([_array(columns[field.name], field) for field in schema], schema=schema)
    check(table, schema)
    return table


def table_from_rows(schema: pa.Schema, rows: Iterable[Mapping[str, Any]]) -> pa.Table:
    """A table of rows, each a mapping with exactly the names of the schema; None and NaN become null.

    Raises:
        ValueError: as `table_from_columns`, naming the first row that is wrong.
    """
    rows = list(rows)
    for number, row in enumerate(rows):
        if row.keys() != set(schema.names):
            _check_names(row, schema, f"row {number}")
    return table_from_columns(schema, {name: [row[name] for row in rows] for name in schema.names})


def dead_letter_table(letters: Sequence[records.DeadLetter], schema: pa.Schema = DEAD_LETTERS) -> pa.Table:
    """One row per dead letter; `schema` is `DEAD_LETTERS`, with the metadata of the run or without."""
    columns = {
        "image_id": [letter.image_id for letter in letters],
        "shard": [letter.shard for letter in letters],
        "record_index": [letter.index for letter in letters],
        "stage": [letter.stage for letter in letters],
        "error_type": [letter.error_type for letter in letters],
        "message": [letter.message for letter in letters],
    }
    return table_from_columns(schema, columns)

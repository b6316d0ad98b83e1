"""From localizations to rows of ``explanations``.

A batch of images is turned into one Arrow table by array operations. Rows are ordered by image, then method, then
explained class, as in the records.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from heatbeam.transforms import records
from heatbeam.transforms.tables import axis_columns, schemas, stored_evidence, stored_maps


@dataclasses.dataclass(frozen=True, eq=False)
class _Index:
    """The image, the (image, class) and the (image, method) of each row; `lengths` is rows per (image, method)."""

    image: np.ndarray
    image_class: np.ndarray
    image_method: np.ndarray
    lengths: np.ndarray


def row_count(localization: records.Localization) -> int:
    """Number of rows of `localization`: explained classes times methods."""
    return len(localization.explanation.class_ids) * len(localization.explanation.methods)


def explanation_table(
    localizations: Sequence[records.Localization], schema: pa.Schema, class_names: Sequence[str]
) -> pa.Table:
    """The rows of `localizations`, one per image, method and explained class.

    Args:
        localizations: any number of images, possibly none.
        schema: of `schemas.explanations`.
        class_names: name of each class of the model's output.

    Raises:
        ValueError: if the scores of a method are not exactly the value columns of the schema, a slice feature has no
            column, a class has no name, or a required number or a map is not finite.
    """
    explanations = [localization.explanation for localization in localizations]
    index = _index(explanations)
    rank = axis_columns.rank_of(schema.names)
    columns: dict[str, Any] = {}
    columns.update(_image_columns(explanations, index, schemas.column_names(schema, "slice"), rank))
    columns.update(_class_columns(explanations, index, class_names))
    columns.update(_value_columns(explanations, index, schema))
    columns["true_boxes"] = _true_boxes(localizations, index)
    columns.update(_method_columns(explanations, index))
    columns.update(_heatmap_columns(explanations, index, schema, rank))
    columns.update(_evidence_columns(explanations, index, schema))
    columns.update(_score_columns(localizations, index, schema, rank))
    columns.update(_curve_columns(explanations, index, schema))
    return schemas.table_from_columns(schema, columns)


def _index(explanations: Sequence[records.Explanation]) -> _Index:
    classes = np.array([len(one.class_ids) for one in explanations], dtype=np.int64)
    methods = np.array([len(one.methods) for one in explanations], dtype=np.int64)
    block_image = np.repeat(np.arange(len(explanations)), methods)
    lengths = classes[block_image]
    block = np.repeat(np.arange(len(lengths)), lengths)
    within = np.arange(len(block)) - (np.cumsum(lengths) - lengths)[block]
    image = block_image[block]
    return _Index(image, (np.cumsum(classes) - classes)[image] + within, block, lengths)


def _image_columns(
    explanations: Sequence[records.Explanation], index: _Index, slice_columns: Sequence[str], rank: int
) -> dict[str, Any]:
    sources = [one.source for one in explanations]
    for source in sources:
        if source.rank != rank:
            raise ValueError(f"image {source.image_id!r} has {source.rank} position axes; the table is of {rank}")
    take = pa.array(index.image)
    sizes = np.array([source.size for source in sources], dtype=np.int32).reshape(-1, rank)[index.image]
    views = np.array([source.view for source in sources], dtype=np.float32).reshape(-1, 2 * rank)[index.image]
    columns: dict[str, Any] = {
        "image_id": pa.array([source.image_id for source in sources], pa.string()).take(take),
        "image_sha256": pa.array([source.image_sha256 for source in sources], pa.string()).take(take),
        "shard": pa.array([source.shard for source in sources], pa.string()).take(take),
        "record_index": np.array([source.index for source in sources], dtype=np.int64)[index.image],
        "label_ids": _take_lists([source.label_ids for source in sources], pa.int32(), take),
    }
    columns |= zip(axis_columns.sizes(rank), sizes.T, strict=True)
    columns |= zip(axis_columns.views(rank), views.T, strict=True)
    return columns | _slice_columns(sources, take, slice_columns)


def _slice_columns(
    sources: Sequence[records.Source], take: pa.Array, slice_columns: Sequence[str]
) -> dict[str, pa.Array]:
    values: dict[str, list[str | None]] = {name: [None] * len(sources) for name in slice_columns}
    for number, source in enumerate(sources):
        for feature, value in source.slices:
            name = schemas.SLICE_PREFIX + feature
            if name not in values:
                raise ValueError(f"image {source.image_id!r} has slice feature {feature!r} but the table has no {name}")
            values[name][number] = value
    return {name: pa.array(column, pa.string()).take(take) for name, column in values.items()}


def _class_columns(
    explanations: Sequence[records.Explanation], index: _Index, class_names: Sequence[str]
) -> dict[str, Any]:
    class_ids = _concatenate([one.class_ids for one in explanations], np.int32)
    if len(class_ids) and not 0 <= class_ids.min() <= class_ids.max() < len(class_names):
        span = f"{class_ids.min()} to {class_ids.max()}"
        raise ValueError(f"class ids go from {span} but {len(class_names)} classes have a name; name every class")
    targets = [reasons for one in explanations for reasons in one.targets]
    if not all(targets):
        raise ValueError("an explained class has no target; every class is explained for a reason")
    take = pa.array(index.image_class)
    used, position = np.unique(class_ids, return_inverse=True)
    names = pa.array([class_names[i] for i in used], pa.string())
    predicted = np.array([one.predicted_class_id for one in explanations], dtype=np.int32)
    return {
        "target": pa.array([reasons[0] for reasons in targets], pa.string()).take(take),
        "targets": _take_lists(targets, pa.string(), take),
        "class_id": class_ids[index.image_class],
        "class_name": names.take(pa.array(position[index.image_class])),
        "predicted_class_id": predicted[index.image],
        "logit": _concatenate([one.logits for one in explanations], np.float32)[index.image_class],
        "probability": _concatenate([one.probabilities for one in explanations], np.float32)[index.image_class],
        "rank": _concatenate([one.ranks for one in explanations], np.int32)[index.image_class],
    }


def _value_columns(explanations: Sequence[records.Explanation], index: _Index, schema: pa.Schema) -> dict[str, Any]:
    """What a regression gave, what it should have given, and the difference; none in a run without values."""
    if "true_value" not in schema.names:
        return {}
    given = _concatenate([one.logits for one in explanations], np.float64)
    true = _concatenate([one.true_values for one in explanations], np.float64)
    columns = {"predicted_value": given, "true_value": true, "error": given - true}
    return {name: column[index.image_class] for name, column in columns.items()}


def _true_boxes(localizations: Sequence[records.Localization], index: _Index) -> pa.Array:
    """The boxes of each row's class, corner by corner; null where boxes are not annotated."""
    flat = [None if boxes is None else boxes.ravel() for one in localizations for boxes in one.true_boxes]
    return _take_lists(flat, pa.float64(), pa.array(index.image_class))


def _method_columns(explanations: Sequence[records.Explanation], index: _Index) -> dict[str, pa.Array]:
    methods = [maps for one in explanations for maps in one.methods]
    take = pa.array(index.image_method)
    return {
        "method": pa.array([maps.method for maps in methods], pa.string()).take(take),
        "layer": pa.array([maps.layer for maps in methods], pa.string()).take(take),
    }


def _heatmap_columns(
    explanations: Sequence[records.Explanation], index: _Index, schema: pa.Schema, rank: int
) -> dict[str, Any]:
    blocks = [(maps.method, maps.maps) for one in explanations for maps in one.methods]
    for (method, maps), length in zip(blocks, index.lengths, strict=True):
        if maps.ndim != 1 + rank or len(maps) != length:
            axes = ", ".join(axis_columns.SIDES[:rank][::-1])
            raise ValueError(f"{method} has maps of shape {maps.shape}; expected ({length}, {axes})")
    value_type = schema.field("heatmap").type.value_type
    return stored_maps.encoded([maps for _, maps in blocks], value_type, rank, schemas.volume_steps(schema))


def _evidence_columns(
    explanations: Sequence[records.Explanation], index: _Index, schema: pa.Schema
) -> dict[str, pa.Array]:
    """The evidence of each image and class in the row of the image's first method, null in the others."""
    each = stored_evidence.encoded([one.evidence for one in explanations], [len(one.class_ids) for one in explanations])
    methods = np.array([len(one.methods) for one in explanations], np.int64)
    first = index.image_method == (np.cumsum(methods) - methods)[index.image]
    take = pa.array(np.where(first, index.image_class, 0), mask=~first)
    return {name: pa.array(column, schema.field(name).type).take(take) for name, column in each.items()}


def _score_columns(
    localizations: Sequence[records.Localization], index: _Index, schema: pa.Schema, rank: int
) -> dict[str, Any]:
    blocks = [
        (one.explanation.source.image_id, maps, scores)
        for one in localizations
        for maps, scores in zip(one.explanation.methods, one.scores, strict=True)
    ]
    values: dict[str, list[np.ndarray]] = {
        name: [] for name in schemas.column_names(schema, "value") if name not in schemas.OF_THE_MODEL
    }
    for (image_id, maps, scores), length in zip(blocks, index.lengths, strict=True):
        if maps.method != scores.method:
            raise ValueError(f"image {image_id!r}: scores of {scores.method!r} stand where {maps.method!r} is expected")
        pairs = maps.scores + scores.values
        if len(pairs) != len(values) or any(name not in values for name, _ in pairs):
            _raise_other_names(image_id, scores.method, [name for name, _ in pairs], list(values))
        for name, column in pairs:
            if len(column) != length:
                raise ValueError(f"image {image_id!r}: {name} has {len(column)} values for {length} explained classes")
            values[name].append(column)
    boxes = _concatenate([scores.boxes for _, _, scores in blocks], np.float32, (0, 2 * rank))
    health = [flags for _, _, scores in blocks for flags in scores.health]
    columns: dict[str, Any] = {name: _concatenate(column, np.float32) for name, column in values.items()}
    columns |= zip(axis_columns.boxes(rank), boxes.T, strict=True)
    columns["health"] = _take_lists(health, pa.string(), None)
    return columns


def _curve_columns(
    explanations: Sequence[records.Explanation], index: _Index, schema: pa.Schema
) -> dict[str, pa.Array]:
    """A list per row for each curve column; null where the curve was not measured."""
    measured = [dict(maps.curves) for one in explanations for maps in one.methods]
    columns = {}
    for column in schemas.column_names(schema, "curve"):
        name = column.removesuffix(schemas.CURVE_SUFFIX)
        lists: list[np.ndarray | None] = []
        for curves, length in zip(measured, index.lengths, strict=True):
            lists.extend(curves[name].astype(np.float32) if name in curves else [None] * length)
        columns[column] = pa.array(lists, schema.field(column).type)
    return columns


def _raise_other_names(image_id: str, method: str, names: Sequence[str], expected: Sequence[str]) -> None:
    unknown = sorted(set(names) - set(expected))
    missing = sorted(set(expected) - set(names))
    raise ValueError(
        f"image {image_id!r}, method {method!r}: the scores are not the value columns of the table;"
        f" unknown: {unknown}; missing: {missing}; {len(names)} values for {len(expected)} columns"
    )


def _concatenate(arrays: Sequence[np.ndarray], dtype: Any, empty: tuple[int, ...] = (0,)) -> np.ndarray:
    return np.concatenate(arrays).astype(dtype) if len(arrays) else np.zeros(empty, dtype)


def _take_lists(
    lists: Sequence[Sequence[Any] | np.ndarray | None], value_type: pa.DataType, take: pa.Array | None
) -> pa.Array:
    array = pa.array(lists, pa.list_(pa.field("element", value_type, nullable=False)))
    return array if take is None else array.take(take)

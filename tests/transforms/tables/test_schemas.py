"""Schemas: typed columns, their metadata, strictness about names and nulls."""

from __future__ import annotations

import math

import pyarrow as pa
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.tables import axis_columns, schemas, stored_evidence

VALUES = [schemas.ValueColumn("entropy", "Shannon entropy", "nats", "[0, inf)"), schemas.ValueColumn("max_iou")]


def explanations(**changes):
    arguments = {"values": VALUES, "slices": ["size"], "heatmap_dtype": "int16"} | changes
    return schemas.explanations(arguments["values"], arguments["slices"], heatmap_dtype=arguments["heatmap_dtype"])


def test_explanations_have_the_contract_columns_in_order():
    assert explanations().names == [
        "image_id", "image_sha256", "shard", "record_index", "image_width", "image_height",
        "view_x0", "view_y0", "view_x1", "view_y1", "label_ids", "target", "targets", "class_id", "class_name",
        "predicted_class_id", "method", "layer", "logit", "probability", "rank", "true_boxes",
        "heatmap", "heatmap_scale", "heatmap_shape", "heatmap_height", "heatmap_width",
        "box_x0", "box_y0", "box_x1", "box_y1", "health", *stored_evidence.COLUMNS, "entropy", "max_iou", "slice_size",
    ]  # fmt: skip


@pytest.mark.parametrize(("dtype", "expected"), [("int16", pa.int16()), ("float32", pa.float32())])
def test_heatmap_type_follows_the_option(dtype, expected):
    assert explanations(heatmap_dtype=dtype).field("heatmap").type.value_type == expected


def test_unknown_heatmap_type_is_refused():
    with pytest.raises(ValueError, match="'float16'; expected one of int16, float32"):
        explanations(heatmap_dtype="float16")


def test_only_what_may_be_missing_is_nullable():
    nullable = [field.name for field in explanations() if field.nullable]
    boxes = ["true_boxes", "box_x0", "box_y0", "box_x1", "box_y1"]
    assert nullable == [*boxes, *stored_evidence.COLUMNS, "entropy", "max_iou", "slice_size"]


def test_every_field_of_every_table_is_described():
    second = schemas.localizations(["single_50", "multi_70"])
    assert second.names[-2:] == ["iou_single_50", "iou_multi_70"]
    for schema in (explanations(values=[]), second, schemas.SUMMARY, schemas.CURVES, schemas.DEAD_LETTERS):
        for field in schema:
            assert set(field.metadata) == {b"description", b"unit", b"range", b"role"}, field.name
            assert field.metadata[b"description"], field.name


def test_units_and_ranges_of_a_value_column_are_kept():
    metadata = explanations().field("entropy").metadata
    assert metadata == {b"description": b"Shannon entropy", b"unit": b"nats", b"range": b"[0, inf)", b"role": b"value"}
    assert explanations().field("box_x1").metadata[b"unit"] == b"px"


def test_columns_are_found_by_role():
    assert schemas.column_names(explanations(), "value") == ["logit", "probability", "rank", "entropy", "max_iou"]
    assert schemas.column_names(explanations(), "slice") == ["slice_size"]


@pytest.mark.parametrize(
    ("values", "slices", "name"),
    [
        ([schemas.ValueColumn("logit")], [], "logit"),
        ([schemas.ValueColumn("a"), schemas.ValueColumn("a")], [], "a"),
        ([], ["size", "size"], "slice_size"),
    ],
    ids=["own column", "two values", "two slices"],
)
def test_a_column_that_occurs_twice_is_refused(values, slices, name):
    with pytest.raises(ValueError, match=f"columns twice: {name};"):
        explanations(values=values, slices=slices)


def test_run_metadata_is_added_and_cannot_replace_our_own():
    schema = schemas.with_run_metadata(schemas.SUMMARY, {"model_sha256": "ab"})
    assert schema.metadata == {
        b"model_sha256": b"ab",
        b"heatbeam_schema_version": b"2",
        b"heatbeam_quantisation": b"value = heatmap * heatmap_scale in float32",
    }
    with pytest.raises(ValueError, match="may not set heatbeam_schema_version"):
        schemas.with_run_metadata(schemas.SUMMARY, {"heatbeam_schema_version": "9"})


SUMMARY_ROW = {
    "method": "grad_cam", "slice_name": "all", "slice_value": "all", "metric": "max_box_acc",
    "value": 0.625, "n": 8, "lower": 0.3, "upper": math.nan,
}  # fmt: skip


def test_summary_rows_keep_their_values_and_nan_becomes_null():
    table = schemas.table_from_rows(schemas.SUMMARY, [SUMMARY_ROW, SUMMARY_ROW | {"value": None, "upper": 0.9}])
    assert table.schema == schemas.SUMMARY
    assert table.to_pylist() == [SUMMARY_ROW | {"upper": None}, SUMMARY_ROW | {"value": None, "upper": 0.9}]


def test_row_keys_may_come_in_any_order():
    row = dict(reversed(SUMMARY_ROW.items()))
    assert schemas.table_from_rows(schemas.SUMMARY, [row])["n"].to_pylist() == [8]


@pytest.mark.parametrize(
    ("change", "remove", "message"),
    [
        ({"vlaue": 1.0}, (), "row 1 .*unknown: vlaue$"),
        ({}, ("value",), "row 1 .*missing: value$"),
        ({"vlaue": 1.0}, ("value",), "row 1 .*unknown: vlaue; missing: value$"),
    ],
    ids=["unknown", "missing", "misspelled"],
)
def test_unknown_and_missing_columns_of_a_row_are_errors(change, remove, message):
    bad = {name: value for name, value in (SUMMARY_ROW | change).items() if name not in remove}
    with pytest.raises(ValueError, match=message):
        schemas.table_from_rows(schemas.SUMMARY, [SUMMARY_ROW, bad])


def test_unknown_and_missing_columns_of_a_table_are_errors():
    columns = {name: [value] for name, value in SUMMARY_ROW.items()}
    with pytest.raises(ValueError, match="unknown: extra"):
        schemas.table_from_columns(schemas.SUMMARY, columns | {"extra": [1]})
    with pytest.raises(ValueError, match="missing: metric, n"):
        schemas.table_from_columns(schemas.SUMMARY, {k: v for k, v in columns.items() if k not in ("n", "metric")})


@pytest.mark.parametrize("name", ["method", "n"])
def test_a_null_in_a_required_column_is_an_error(name):
    with pytest.raises(ValueError, match=f"column {name} is required but 1 of its values are null"):
        schemas.table_from_rows(schemas.SUMMARY, [SUMMARY_ROW, SUMMARY_ROW | {name: None}])


def test_nan_in_a_required_number_is_an_error():
    row = {"method": "m", "slice_name": "all", "slice_value": "all", "curve": "pxap", "threshold": math.nan,
           "value": 0.5, "n": 1}  # fmt: skip
    with pytest.raises(ValueError, match="column threshold is required"):
        schemas.table_from_rows(schemas.CURVES, [row])


def test_check_refuses_another_type_and_another_order():
    table = schemas.table_from_rows(schemas.SUMMARY, [SUMMARY_ROW])
    schemas.check(table, schemas.SUMMARY)
    narrow = table.set_column(5, "n", table["n"].cast(pa.int32()))
    with pytest.raises(ValueError, match="column n has type int32; expected int64"):
        schemas.check(narrow, schemas.SUMMARY)
    with pytest.raises(ValueError, match="another order"):
        schemas.check(table.select(list(reversed(table.column_names))), schemas.SUMMARY)


def test_dead_letters_are_one_row_each():
    error = records.DataError("corrupt_image", "not a JPEG:\n 3 bytes <b>&amp;</b>, '; DROP TABLE")
    letter = records.DeadLetter.from_error("a__7", "a", 7, "decode", error)
    assert schemas.dead_letter_table([letter]).to_pylist() == [
        {
            "image_id": "a__7",
            "shard": "a",
            "record_index": 7,
            "stage": "decode",
            "error_type": "corrupt_image",
            "message": "not a JPEG: 3 bytes <b>&amp;</b>, '; DROP TABLE",
        }
    ]


def test_no_dead_letters_give_a_typed_empty_table():
    table = schemas.dead_letter_table([])
    assert table.num_rows == 0
    assert table.schema.equals(schemas.DEAD_LETTERS, check_metadata=True)


def test_axes_are_in_the_metadata_and_come_back() -> None:
    axes = (records.Axis("slice", "mm", 2.5, -10.0), records.Axis("row", "mm", 0.5), records.Axis("column", "mm", 0.5))
    schema = schemas.explanations([], [], heatmap_dtype="int16", rank=3)
    assert schemas.axes_of(schemas.with_run_metadata(schema, {"model_digest": "ab"}, axes)) == axes
    assert schemas.axes_of(explanations()) == (records.Axis("y", "px"), records.Axis("x", "px"))
    assert schemas.axes_of(schema) == tuple(records.Axis(letter, "samples") for letter in "zyx")
    with pytest.raises(ValueError, match="4 position axes"):
        schemas.explanations([], [], heatmap_dtype="int16", rank=4)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_the_rank_of_a_table_is_known_from_its_columns(rank: int) -> None:
    for schema in (schemas.explanations([], [], heatmap_dtype="int16", rank=rank), schemas.localizations([], rank)):
        assert axis_columns.rank_of(schema.names) == rank
        assert ("px" if rank == 2 else "samples") in {field.metadata[b"unit"].decode() for field in schema}
    assert axis_columns.rank_of(schemas.SUMMARY.names) == 2

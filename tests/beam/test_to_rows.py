"""Rows with a Beam schema, as dicts and as Arrow: values of the table, types of its columns."""

from __future__ import annotations

import typing

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pytest

import heatbeam
from heatbeam.beam import to_rows
from heatbeam.transforms import records
from heatbeam.transforms.tables import schemas

SCHEMA = schemas.explanations([schemas.ValueColumn("entropy")], ["camera"], heatmap_dtype="int16", curves=["insertion"])


def localization() -> records.Localization:
    """One image, one class, one map of two cells: -2 and 4, a number that is missing and a curve."""
    curve = ("insertion", np.array([[0.25, 0.5]]))
    explanation = records.Explanation(
        source=records.Source("i1", "s", 3, "ab", (4, 2), (0.0, 0.0, 4.0, 2.0), (1,), (("camera", "left"),)),
        ground_truth=records.GroundTruth(),
        class_ids=np.array([1]),
        targets=(("label", "predicted"),),
        logits=np.array([0.5], np.float32),
        probabilities=np.array([0.75], np.float32),
        ranks=np.array([1]),
        predicted_class_id=1,
        methods=(records.MethodMaps("cam", "last", np.array([[[-2.0, 4.0]]], np.float32), (), (curve,)),),
    )
    nothing = records.MethodScores("cam", np.full((1, 4), np.nan), (("entropy", np.array([np.nan])),), ((),))
    return records.Localization(explanation, (nothing,), (None,))


def made(element, form: str, schema: pa.Schema = SCHEMA) -> list:
    return list(to_rows._ToRowsFn(schema, ("no", "yes"), form).process(element))


def test_a_dict_has_plain_values_and_none_where_there_is_no_number():
    (row,) = made(localization(), "dict")
    assert list(row) == SCHEMA.names
    expected = {
        "image_id": "i1", "record_index": 3, "image_width": 4, "image_height": 2, "label_ids": [1], "target": "label",
        "targets": ["label", "predicted"], "class_id": 1, "class_name": "yes", "probability": 0.75, "rank": 1,
        "true_boxes": None, "box_x0": None, "entropy": None, "insertion_curve": [0.25, 0.5], "slice_camera": "left",
    }  # fmt: skip
    assert {name: row[name] for name in expected} == expected
    assert np.array(row["heatmap"]) * row["heatmap_scale"] == pytest.approx([-2, 4], abs=2e-4)


def test_a_row_has_the_columns_as_attributes_and_the_schema_their_types():
    (row,) = made(localization(), "row")
    assert isinstance(row, beam.Row) and (row.class_name, row.entropy, row.targets) == (
        "yes", None, ["label", "predicted"]
    )  # fmt: skip
    types = dict(to_rows.row_of(SCHEMA)._fields)
    assert list(types) == SCHEMA.names
    assert types["image_id"] is str and types["probability"] is np.float32 and types["record_index"] is np.int64
    assert typing.get_args(types["heatmap"]) == (np.int16,)
    assert set(typing.get_args(types["entropy"])) == {np.float32, type(None)}


def test_a_row_survives_its_coder():
    coder = beam.coders.registry.get_coder(to_rows.row_of(SCHEMA))
    (row,) = made(localization(), "row")
    back = coder.decode(coder.encode(row))
    assert (back.image_id, back.true_boxes, list(back.heatmap), back.slice_camera) == (
        "i1", None, list(row.heatmap), "left"
    )  # fmt: skip


def test_arrow_is_a_table_for_each_element():
    (table,) = made(localization(), "arrow")
    assert table.schema.equals(SCHEMA) and table.num_rows == 1
    (same,) = made(table, "arrow")
    assert same is table


def test_dead_letters_are_rows_too():
    letter = records.DeadLetter("i2", "s", 4, "decode", "corrupt_image", "not an image")
    (row,) = made(letter, "dict", schemas.DEAD_LETTERS)
    assert row == {
        "image_id": "i2", "shard": "s", "record_index": 4, "stage": "decode", "error_type": "corrupt_image",
        "message": "not an image",
    }  # fmt: skip


def test_another_form_is_refused():
    with pytest.raises(ValueError, match="form is 'json'; expected one of row, dict, arrow"):
        heatbeam.ToRows(SCHEMA, form="json")


def test_bigquery_has_a_field_for_each_column_and_no_null_lists():
    fields = {field["name"]: (field["type"], field["mode"]) for field in to_rows.bigquery_schema(SCHEMA)["fields"]}
    assert list(fields) == SCHEMA.names
    assert fields["image_id"] == ("STRING", "REQUIRED") and fields["heatmap"] == ("INTEGER", "REPEATED")
    assert fields["entropy"] == ("FLOAT", "NULLABLE") and fields["true_boxes"] == ("FLOAT", "REPEATED")
    (row,) = made(localization(), "dict")
    shaped = to_rows.bigquery_row(row, SCHEMA)
    assert shaped["true_boxes"] == [] and shaped["entropy"] is None and shaped["class_name"] == "yes"

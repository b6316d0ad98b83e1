"""Localizations to rows: every cell of two images written out, and what is refused."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pyarrow as pa
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.tables import rows, schemas, stored_evidence, stored_maps

CLASS_NAMES = ("cat", "dog", "owl")
VALUES = [schemas.ValueColumn("drop"), schemas.ValueColumn("entropy")]


def schema_of(heatmap_dtype: str = "int16") -> pa.Schema:
    return schemas.explanations(VALUES, ["size"], heatmap_dtype=heatmap_dtype)


def source(image_id: str, **changes) -> records.Source:
    plain = records.Source(image_id, "shard-0", 3, "ab" * 32, (500, 375), (62.5, 0.0, 437.5, 375.0), (1,))
    return dataclasses.replace(plain, **changes)


def maps(method: str, cells: list, drop: list[float]) -> records.MethodMaps:
    return records.MethodMaps(method, "last_act", np.array(cells, np.float32), (("drop", np.array(drop)),))


def scores(method: str, boxes: list, entropy: list[float], health: tuple) -> records.MethodScores:
    return records.MethodScores(method, np.array(boxes, float), (("entropy", np.array(entropy)),), health)


def two_classes() -> records.Localization:
    """Two explained classes by two methods, maps of 2 x 2 and 1 x 3 cells."""
    nan = math.nan
    explanation = records.Explanation(
        source=source("first", slices=(("size", "large"),)),
        ground_truth=records.GroundTruth(masks=np.ones((1, 375, 500), bool)),
        class_ids=np.array([1, 2]),
        targets=(("label", "predicted"), ("runner_up",)),
        logits=np.array([2.5, 1.25], np.float32),
        probabilities=np.array([0.75, 0.125], np.float32),
        ranks=np.array([1, 2]),
        predicted_class_id=1,
        methods=(
            maps("cam", [[[1, -2], [0, 0.5]], [[0, 0], [0, 0]]], [0.5, nan]),
            maps("layer_cam", [[[3, 0, 1]], [[-4, 2, 1]]], [0.25, 1.0]),
        ),
    )
    return records.Localization(
        explanation,
        (
            scores("cam", [[10, 20, 30, 40.5], [nan] * 4], [0.5, nan], ((), ("blank", "constant"))),
            scores("layer_cam", [[0, 0, 500, 375], [1, 2, 3, 4]], [1.5, 2.5], ((), ())),
        ),
        (np.array([[1.0, 2.0, 3.5, 4.0], [0.1, 0.0, 9.0, 9.0]]), np.zeros((0, 4))),
    )


def one_class() -> records.Localization:
    explanation = records.Explanation(
        source=source("second", index=4, label_ids=()),
        ground_truth=records.GroundTruth(),
        class_ids=np.array([0]),
        targets=(("predicted",),),
        logits=np.array([-1.0], np.float32),
        probabilities=np.array([0.5], np.float32),
        ranks=np.array([1]),
        predicted_class_id=0,
        methods=(maps("cam", [[[8, 4], [2, -1]]], [0.0]),),
    )
    return records.Localization(explanation, (scores("cam", [[5, 6, 7, 8]], [0.125], ((),)),), (None,))


def table_of(*localizations: records.Localization, heatmap_dtype: str = "int16") -> pa.Table:
    return rows.explanation_table(localizations, schema_of(heatmap_dtype), CLASS_NAMES)


def test_rows_go_by_image_then_method_then_class():
    table = table_of(two_classes(), one_class())
    assert table.num_rows == 2 * 2 + 1 == rows.row_count(two_classes()) + rows.row_count(one_class())
    assert table["image_id"].to_pylist() == ["first"] * 4 + ["second"]
    assert table["method"].to_pylist() == ["cam", "cam", "layer_cam", "layer_cam", "cam"]
    assert table["class_id"].to_pylist() == [1, 2, 1, 2, 0]
    assert table["class_name"].to_pylist() == ["dog", "owl", "dog", "owl", "cat"]


def test_every_column_of_a_row():
    row = table_of(two_classes()).slice(3).to_pylist()[0]
    # max|map| = 4 is 32767 steps; 2 and 1 are 16383.5 and 8191.75 steps, rounded to even and to nearest.
    heatmap, scale = row.pop("heatmap"), row.pop("heatmap_scale")
    assert heatmap == [-32767, 16384, 8192]
    assert scale == np.float32(4 / 32767)
    assert row == {
        "image_id": "first", "image_sha256": "ab" * 32, "shard": "shard-0", "record_index": 3,
        "image_width": 500, "image_height": 375, "view_x0": 62.5, "view_y0": 0.0, "view_x1": 437.5, "view_y1": 375.0,
        "label_ids": [1], "target": "runner_up", "targets": ["runner_up"], "class_id": 2, "class_name": "owl",
        "predicted_class_id": 1, "method": "layer_cam", "layer": "last_act",
        "logit": 1.25, "probability": 0.125, "rank": 2, "true_boxes": [], "heatmap_shape": [1, 3],
        "heatmap_height": 1, "heatmap_width": 3,
        "box_x0": 1.0, "box_y0": 2.0, "box_x1": 3.0, "box_y1": 4.0, "health": [],
        **dict.fromkeys(stored_evidence.COLUMNS),
        "drop": 1.0, "entropy": 2.5, "slice_size": "large",
    }  # fmt: skip


def test_what_is_missing_is_null():
    table = table_of(two_classes(), one_class())
    blank = table.slice(1).to_pylist()[0]
    assert [blank[name] for name in ("box_x0", "box_y0", "box_x1", "box_y1", "drop", "entropy")] == [None] * 6
    assert blank["health"] == ["blank", "constant"]
    assert (blank["heatmap"], blank["heatmap_scale"]) == ([0, 0, 0, 0], 1.0)
    assert table["slice_size"].to_pylist() == ["large"] * 4 + [None]
    assert table["label_ids"].to_pylist()[4] == []
    corners = [1.0, 2.0, 3.5, 4.0, 0.1, 0.0, 9.0, 9.0]
    assert table["true_boxes"].to_pylist() == [corners, [], corners, [], None]
    assert table["targets"].to_pylist()[0] == ["label", "predicted"]


def test_exact_maps_are_stored_as_they_are():
    table = table_of(two_classes(), heatmap_dtype="float32")
    assert table["heatmap"].to_pylist()[0] == [1.0, -2.0, 0.0, 0.5]
    assert table["heatmap_scale"].to_pylist() == [1.0] * 4


@pytest.mark.parametrize("heatmap_dtype", schemas.HEATMAP_DTYPES)
def test_decoded_maps_are_within_half_a_step(heatmap_dtype):
    localizations = [two_classes(), one_class()]
    decoded = stored_maps.StoredMaps(table_of(*localizations, heatmap_dtype=heatmap_dtype)).each()
    expected = [one for each in localizations for method in each.explanation.methods for one in method.maps]
    assert len(decoded) == len(expected) == 5
    for got, want in zip(decoded, expected, strict=True):
        step = np.abs(want).max() / 32767 if heatmap_dtype == "int16" else 0.0
        assert got.shape == want.shape
        assert got.dtype == np.float32
        assert np.abs(got - want).max() <= 0.5 * step * (1 + 1e-3)


def test_a_part_of_a_table_decodes_its_own_rows():
    table = table_of(two_classes(), one_class())
    (last,) = stored_maps.StoredMaps(table.slice(4)).each()
    np.testing.assert_allclose(last, [[8, 4], [2, -1]], atol=8 / 32767)
    assert stored_maps.StoredMaps(table.slice(0, 0)).each() == []


def test_arrays_of_the_records_are_not_changed():
    localization = two_classes()
    before = [maps.maps.copy() for maps in localization.explanation.methods]
    table_of(localization)
    for maps_now, maps_before in zip(localization.explanation.methods, before, strict=True):
        np.testing.assert_array_equal(maps_now.maps, maps_before)


def test_no_images_give_a_typed_empty_table():
    table = table_of()
    assert table.num_rows == 0
    assert table.schema == schema_of()


def with_values(names: tuple[str, ...]) -> records.Localization:
    localization = one_class()
    pairs = tuple((name, np.array([0.0])) for name in names)
    return dataclasses.replace(localization, scores=(dataclasses.replace(localization.scores[0], values=pairs),))


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("entorpy",), r"unknown: \['entorpy'\]; missing: \['entropy'\]"),
        ((), r"unknown: \[\]; missing: \['entropy'\]"),
        (("entropy", "area"), r"unknown: \['area'\]; missing: \[\]"),
        (("entropy", "drop"), "3 values for 2 columns"),
    ],
    ids=["misspelled", "missing", "unknown", "twice"],
)
def test_scores_must_be_the_value_columns(names, message):
    with pytest.raises(ValueError, match=message):
        table_of(with_values(names))


def explanation_with(**changes) -> records.Localization:
    localization = one_class()
    return dataclasses.replace(localization, explanation=dataclasses.replace(localization.explanation, **changes))


@pytest.mark.parametrize(
    ("localization", "message"),
    [
        (explanation_with(source=source("x", slices=(("colour", "red"),))), "has no slice_colour"),
        (explanation_with(class_ids=np.array([3])), "3 to 3 but 3 classes have a name"),
        (explanation_with(targets=((),)), "no target"),
        (explanation_with(logits=np.array([math.nan], np.float32)), "column logit is required"),
        (explanation_with(methods=(maps("cam", [[[math.inf, 1]]], [0.0]),)), "a heatmap holds NaN or infinity"),
        (explanation_with(methods=(maps("cam", [[[1, 1]]] * 2, [0.0]),)), r"shape \(2, 1, 2\); expected \(1, "),
        (explanation_with(methods=(maps("cam", [[[1, 1]]], [0.0, 1.0]),)), "drop has 2 values for 1 explained"),
        (explanation_with(methods=(maps("other", [[[1, 1]]], [0.0]),)), "'cam' stand where 'other' is expected"),
    ],
    ids=["slice", "class id", "no target", "nan logit", "inf map", "map shape", "score length", "method order"],
)
def test_broken_records_are_refused(localization, message):
    with pytest.raises(ValueError, match=message):
        table_of(localization)


def one_of(rank: int, raw: np.ndarray) -> records.Localization:
    """One class by one method, of an input of `rank` axes whose sides are 10, 20 and 30."""
    size, box = (10, 20, 30)[:rank], tuple(range(1, 2 * rank + 1))
    explanation = dataclasses.replace(
        one_class().explanation,
        source=source("first", size=size, view=(*(-1.0,) * rank, *(side + 1.0 for side in size))),
        methods=(records.MethodMaps("cam", "last_act", raw[None], (("drop", np.array([0.5])),)),),
    )
    return records.Localization(explanation, (scores("cam", [box], [0.5], ((),)),), (np.array([box], float),))


@pytest.mark.parametrize("shape", [(5,), (3, 5), (2, 3, 5)], ids=["series", "picture", "volume"])
def test_a_table_has_the_axes_of_its_inputs(shape: tuple[int, ...]) -> None:
    rank = len(shape)
    raw = np.random.default_rng(rank).normal(size=shape).astype(np.float32)
    schema = schemas.explanations(VALUES, ["size"], heatmap_dtype="float32", rank=rank)
    row = rows.explanation_table([one_of(rank, raw)], schema, CLASS_NAMES).to_pylist()[0]
    letters, sides = "xyz"[:rank], ("image_width", "image_height", "image_depth")[:rank]
    edges = [letter + end for end in "01" for letter in letters]
    assert [row[name] for name in sides] == [10, 20, 30][:rank]
    assert [row[f"view_{edge}"] for edge in edges] == [-1.0] * rank + [11.0, 21.0, 31.0][:rank]
    assert [row[f"box_{edge}"] for edge in edges] == row["true_boxes"] == list(range(1, 2 * rank + 1))
    assert row["heatmap_shape"] == list(shape) and row["heatmap"] == raw.ravel().tolist()
    assert (row.get("heatmap_height"), row.get("heatmap_width")) == ((3, 5) if rank == 2 else (None, None))
    assert not {"image_depth", "view_z0", "box_y0"} & row.keys() or rank > 1
    np.testing.assert_array_equal(stored_maps.raw_map(row), raw)
    table = rows.explanation_table([one_of(rank, raw)] * 2, schema, CLASS_NAMES)
    np.testing.assert_array_equal(stored_maps.StoredMaps(table).each(), [raw, raw])


def test_an_input_of_other_axes_than_the_table_is_refused() -> None:
    with pytest.raises(ValueError, match="'first' has 3 position axes; the table is of 2"):
        table_of(one_of(3, np.zeros((2, 2, 2), np.float32)))

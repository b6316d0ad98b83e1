"""Boxes as data sets write them, brought to the one convention inside."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heatbeam.transforms import errors, records
from heatbeam.transforms.sources import (
    box_conventions,
    decode_options,
    feature_map,
    features,
    ground_truth,
    tfds_source,
    tfexample,
)
from tests.support import sample_shards

MASKS = decode_options.MaskOptions()
SIZE = (640, 480)
INSIDE = [[160.0, 120.0, 480.0, 240.0]]  # columns 160 to 479, rows 120 to 239
CASES = {  # the same box in every convention
    "tensorflow": ({}, [120 / 480, 160 / 640, 240 / 480, 480 / 640]),
    "fractions-xyxy": ({"order": "xyxy"}, [0.25, 0.25, 0.75, 0.5]),
    "fractions-xywh": ({"order": "xywh"}, [0.25, 0.25, 0.5, 0.25]),
    "yolo": ({"order": "cxcywh"}, [0.5, 0.375, 0.5, 0.25]),
    "voc-in-fractions": ({"origin": 1}, [121 / 480, 161 / 640, 240 / 480, 480 / 640]),
    "fractions-from-1-exclusive": ({"origin": 1, "end": "exclusive"}, [121 / 480, 161 / 640, 241 / 480, 481 / 640]),
    "fractions-inclusive": ({"end": "inclusive"}, [120 / 480, 160 / 640, 239 / 480, 479 / 640]),
    "pixels-yxyx": ({"units": "pixels"}, [120, 160, 240, 480]),
    "torchvision": ({"units": "pixels", "order": "xyxy"}, [160, 120, 480, 240]),
    "voc": ({"units": "pixels", "order": "xyxy", "origin": 1}, [161, 121, 480, 240]),
    "voc-yxyx": ({"units": "pixels", "order": "yxyx", "origin": 1}, [121, 161, 240, 480]),
    "wsol": ({"units": "pixels", "order": "xyxy", "end": "inclusive"}, [160, 120, 479, 239]),
    "from-1-exclusive": ({"units": "pixels", "order": "xyxy", "origin": 1, "end": "exclusive"}, [161, 121, 481, 241]),
    "coco": ({"units": "pixels", "order": "xywh"}, [160, 120, 320, 120]),
    "xywh-from-1": ({"units": "pixels", "order": "xywh", "origin": 1}, [161, 121, 320, 120]),
    "cxcywh-pixels": ({"units": "pixels", "order": "cxcywh"}, [320, 180, 320, 120]),
}


def encoded(convention: box_conventions.BoxConvention, record: dict, **names) -> records.EncodedExample:
    names = names or {"boxes": "b"}
    features_of_it = dataclasses.replace(sample_shards.NO_FEATURES, image="i", box_convention=convention, **names)
    return features.parse_example(tfexample.serialize({"i": [b"x"], **record}), features_of_it, "s", 0)


def in_pixels(example: records.EncodedExample, size=SIZE) -> list[list[float]]:
    return ground_truth.decode(example, size, MASKS).boxes.tolist()


@pytest.mark.parametrize(("fields", "row"), CASES.values(), ids=CASES)
def test_a_box_is_the_same_in_every_convention(fields, row):
    convention = box_conventions.BoxConvention(**fields)
    assert in_pixels(encoded(convention, {"b": [*map(float, row), *map(float, row)]})) == INSIDE * 2
    np.testing.assert_allclose(convention.as_stored(np.array(INSIDE), SIZE), [row], rtol=1e-12)


@pytest.mark.parametrize(("fields", "row"), CASES.values(), ids=CASES)
def test_features_for_each_side_have_their_names_for_an_order(fields, row):
    """Where the order has width and height, they are what box_xmax and box_ymax name."""
    convention = box_conventions.BoxConvention(**fields)
    order = ("ymin", "xmin", "ymax", "xmax") if convention.order == "yxyx" else ("xmin", "ymin", "xmax", "ymax")
    names = {f"box_{side}": side for side in order}
    record = {side: [float(value)] * 2 for side, value in zip(order, row, strict=True)}
    assert in_pixels(encoded(convention, record, **names)) == INSIDE * 2


def test_whole_numbers_are_pixels_and_never_fractions():
    convention = box_conventions.BoxConvention("pixels", "xywh")
    assert in_pixels(encoded(convention, {"b": [160, 120, 320, 120]})) == INSIDE
    with pytest.raises(records.DataError, match=r"holds int64 values; expected float.*input.box_units") as caught:
        encoded(box_conventions.USUAL, {"b": [160, 120, 320, 120]})
    assert caught.value.error_type == "wrong_type"


def test_a_whole_image_is_whole_in_every_known_convention():
    for convention in box_conventions.KNOWN.values():
        row = convention.as_stored(np.array([[0.0, 0.0, 500.0, 375.0]]), (500, 375)).astype(np.float32)
        example = encoded(convention, {"b": row.ravel().tolist()})
        assert in_pixels(example, (500, 375)) == [[0, 0, 500, 375]]


def test_the_table_is_arithmetic_that_a_reader_can_follow():
    rows = {name: (*settings, whole, part) for name, *settings, whole, part in box_conventions.table()}
    assert rows["Pascal VOC, its XML"] == ("pixels", "xyxy", "1", "inclusive", "1 1 640 480", "161 121 480 240")
    assert rows["COCO, its JSON"][4:] == ("0 0 640 480", "160 120 320 120")
    assert rows["YOLO, its text files"][4:] == ("0.5 0.5 1 1", "0.5 0.375 0.5 0.25")


def test_an_image_without_objects_has_no_boxes_in_any_convention():
    for fields, _ in CASES.values():
        example = encoded(box_conventions.BoxConvention(**fields), {"b": []})
        assert ground_truth.decode(example, SIZE, MASKS).boxes.shape == (0, 4)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"units": "percent"}, "box_units must be one of fractions, pixels, axis; got 'percent'"),
        ({"order": "xyhw"}, "box_order must be one of yxyx, xyxy, xywh, cxcywh; got 'xyhw'"),
        ({"origin": 2}, "box_origin must be one of 0, 1; got 2"),
        (
            {"order": "xywh", "end": "inclusive"},
            "box_end says where corners end; box_order xywh gives width and height",
        ),
    ],
)
def test_what_is_no_convention_is_said(fields, words):
    with pytest.raises(errors.UsageError, match="^" + words.replace("(", r"\(")):
        box_conventions.BoxConvention(**fields)


@pytest.mark.parametrize(
    ("declared", "units", "problem"),
    [("XYWH", "fractions", "XYWH, in pixels: set input.box_units"), ("XYWH", "pixels", None), (None, "pixels", None),
     ("REL_XYXY", "fractions", None), ("REL_YXYX", "pixels", "REL_YXYX, in fractions: set input.box_units")],
)  # fmt: skip
def test_boxes_that_tfds_declares_otherwise_are_not_read_in_silence(declared, units, problem):
    tfds = pytest.importorskip("tensorflow_datasets")
    described = tfds.features.FeaturesDict({
        "image": tfds.features.Image(),
        "objects": tfds.features.Sequence({"bbox": tfds.features.BBoxFeature(bbox_format=declared)}),
    })  # fmt: skip

    class Info:
        features = type(described).from_json(described.to_json())  # as it is read from a disk
        full_name = "boxed/1.0.0"

    convention = box_conventions.BoxConvention(units)
    names = feature_map.FeatureMap.naming("image", boxes="objects/bbox", box_convention=convention)
    if problem is None:
        assert tfds_source.resolve_features(Info, names).box_convention == convention
    else:
        with pytest.raises(ValueError, match=problem):
            tfds_source.resolve_features(Info, names)


@pytest.mark.parametrize("order", ["xywh", "cxcywh"])
def test_what_is_not_finite_stays_so_without_a_word(order):
    convention = box_conventions.BoxConvention("pixels", order)
    rows = np.array([[np.inf, 1.0, -np.inf, 1.0], [np.nan, 1.0, np.inf, 1.0], [2.0, 2.0, 2.0, 2.0]])
    corners = convention.corners(rows)
    assert np.isfinite(corners).all(axis=1).tolist() == [False, False, True]
    assert np.isfinite(convention.rows(corners)).all(axis=1).tolist() == [False, False, True]

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.sources import features, tfexample
from heatbeam.transforms.sources.classes import class_maps
from tests.support import sample_shards

DETECTION = sample_shards.DETECTION
CAT = class_maps.ClassMap.of_names(("cat",))
BOXES = {
    "image/object/bbox/ymin": [0.0, 0.25],
    "image/object/bbox/xmin": [0.5, 0.125],
    "image/object/bbox/ymax": [1.0, 0.75],
    "image/object/bbox/xmax": [0.75, 1.0],
    "image/object/class/label": [2, 3],
    "image/object/difficult": [0, 1],
}


def parse(feature_map=DETECTION, **fields):
    return features.parse_example(tfexample.serialize({"image/encoded": [b"JPEG"], **fields}), feature_map, "s", 4)


def changed(**changes):
    return dataclasses.replace(DETECTION, **changes)


def error_of(feature_map=DETECTION, **fields):
    with pytest.raises(records.DataError) as caught:
        parse(feature_map, **fields)
    return caught.value


def test_every_feature_of_a_detection_record():
    example = parse(
        changed(label_offset=1, ignore_mask="ignore", slices=("camera", "tags")),
        **BOXES,
        **{
            "image/source_id": [b"photo-7"],
            "image/class/label": [5],
            "image/object/mask": [b"PNG1", b"PNG2"],
            "ignore": [b"PNG3"],
            "camera": [3],
            "tags": [b"dark", b"wet", b"dark"],
            "never/read": [1.5],
        },
    )
    assert (example.image_id, example.shard, example.index) == ("photo-7", "s", 4)
    assert (example.image, example.raw_shape) == (b"JPEG", None)
    assert example.label_ids == (4,)
    np.testing.assert_array_equal(example.boxes, [[0.5, 0.0, 0.75, 1.0], [0.125, 0.25, 1.0, 0.75]])
    assert example.boxes.dtype == np.float64
    assert example.box_class_ids == (1, 2)
    assert example.box_difficult == (False, True)
    assert (example.masks, example.masks_are_instances, example.mask_class_ids) == ((b"PNG1", b"PNG2"), True, (1, 2))
    assert example.ignore_mask == b"PNG3"
    assert example.slices == (("camera", "3"), ("tags", "dark"), ("tags", "wet"))


def test_absent_annotations_are_none():
    example = parse()
    assert example.image_id == "s__4"
    assert example.label_ids == ()
    assert example.slices == ()
    for name in ("boxes", "box_class_ids", "box_difficult", "masks", "mask_class_ids", "ignore_mask", "raw_shape"):
        assert getattr(example, name) is None, name


def test_image_without_objects_has_no_rows():
    for empty in ({name: [] for name in BOXES}, {**{name: [] for name in BOXES}, "image/object/mask": []}):
        example = parse(**empty)
        assert example.boxes.shape == (0, 4)
        assert example.box_class_ids == example.box_difficult == ()
        assert example.masks == (() if "image/object/mask" in empty else None)


def test_flat_boxes_of_tfds():
    example = parse(
        dataclasses.replace(sample_shards.NO_FEATURES, image="image/encoded", boxes="objects/bbox"),
        **{"objects/bbox": [0.0, 0.5, 1.0, 0.75, 0.25, 0.125, 0.75, 1.0]},
    )
    np.testing.assert_array_equal(example.boxes, [[0.5, 0.0, 0.75, 1.0], [0.125, 0.25, 1.0, 0.75]])


def test_semantic_mask():
    example = parse(changed(instance_masks=None, semantic_mask="segmentation"), segmentation=[b"PNG"])
    assert (example.masks, example.masks_are_instances) == ((b"PNG",), False)


@pytest.mark.parametrize(
    ("label", "labels", "expected"),
    [
        ([2], None, (2,)),
        (None, [3, 1, 3], (3, 1)),
        ([1], [3, 1], (1, 3)),
        ([-1], None, ()),
        ([], [], ()),
        (None, None, ()),
    ],
    ids=["one", "repeated", "both", "unlabelled", "empty", "absent"],
)
def test_labels(label, labels, expected):
    fields = {"image/class/label": label, "all": labels}
    example = parse(changed(labels="all"), **{name: values for name, values in fields.items() if values is not None})
    assert example.label_ids == expected


def test_labels_as_text():
    feature_map = changed(labels="all", classes=class_maps.ClassMap.of_names(("cat", "dog", "ñandú")), label_offset=1)
    assert parse(feature_map, all=["ñandú".encode(), b"cat"]).label_ids == (2, 0)
    assert parse(feature_map, all=[1]).label_ids == (0,)


@pytest.mark.parametrize(
    ("value", "expected"), [([b"x"], "x"), (["é/../x".encode()], "é/../x"), ([12], "12"), ([b""], "s__4"), ([], "s__4")]
)
def test_image_ids(value, expected):
    assert parse(**{"image/source_id": value}).image_id == expected


@pytest.mark.parametrize(
    ("fields", "feature_map", "error_type", "words"),
    [
        ({"image/encoded": []}, {}, "missing_feature", "image/encoded holds no image"),
        ({"image/encoded": [b""]}, {}, "missing_feature", "image/encoded holds no image"),
        ({"image/encoded": [1]}, {}, "wrong_type", "holds int64 values; expected bytes"),
        ({"image/encoded": [b"a", b"b"]}, {}, "multiple_values", "holds 2 values"),
        ({"a": [1]}, {"required": ("image/class/label",)}, "missing_feature", "the record has a, image/encoded"),
        ({"image/source_id": [b"\xff\xfe"]}, {}, "invalid_id", "not UTF-8"),
        ({"image/source_id": [1.5]}, {}, "invalid_id", "holds float values"),
        ({"image/source_id": [b"a", b"b"]}, {}, "invalid_id", "holds 2 values"),
        ({"image/class/label": [1, 2]}, {}, "multiple_values", "holds 2 values"),
        ({"image/class/label": [0]}, {"label_offset": 1}, "invalid_label", "holds class 0; ids start at 1"),
        ({"image/class/label": [-2]}, {}, "invalid_label", "holds class -2"),
        ({"image/class/label": [b"cat"]}, {}, "wrong_type", "give the class names"),
        ({"image/class/label": [b"cow"]}, {"classes": CAT}, "unknown_label", "'cow'"),
        ({"image/class/label": [b"\xff"]}, {"classes": CAT}, "unknown_label", "not UTF-8"),
        ({**BOXES, "image/object/bbox/xmax": [0.5]}, {}, "box_length_mismatch", "xmax: 1"),
        ({"image/object/bbox/xmax": [0.5]}, {}, "box_length_mismatch", "ymin: 0"),
        ({**BOXES, "image/object/bbox/xmax": [1, 1]}, {}, "wrong_type", "holds int64 values; expected float"),
        ({**BOXES, "image/object/class/label": [2]}, {}, "class_length_mismatch", "1 classes for 2 boxes"),
        ({**BOXES, "image/object/difficult": [0] * 3}, {}, "difficult_length_mismatch", "3 flags for 2 boxes"),
        ({**BOXES, "image/object/mask": [b"1"]}, {}, "class_length_mismatch", "2 classes for 1 masks"),
        ({"image/object/mask": [1.0]}, {}, "wrong_type", "expected bytes"),
        ({"camera": [b"\xff"]}, {"slices": ("camera",)}, "invalid_text", "not UTF-8"),
    ],
)
def test_bad_records(fields, feature_map, error_type, words):
    error = error_of(changed(**feature_map), **fields)
    assert error.error_type == error_type
    assert words in error.message


def test_flat_boxes_not_in_fours():
    feature_map = dataclasses.replace(sample_shards.NO_FEATURES, image="image/encoded", boxes="b")
    assert error_of(feature_map, b=[0.0] * 6).error_type == "box_length_mismatch"


def test_missing_image_names_some_of_many_features():
    with pytest.raises(records.DataError, match=r"no feature image/encoded; the record has f00, .* f11 and 18 more"):
        features.parse_example(tfexample.serialize({f"f{i:02d}": [1] for i in range(30)}), DETECTION, "s", 0)


def test_raw_image_by_its_own_features():
    feature_map = changed(format="format", height="h", width="w", channels="c")
    fields = {"image/encoded": [bytes(24)], "format": [b"RAW"], "h": [2], "w": [4]}
    assert parse(feature_map, **fields, c=[3]).raw_shape == (2, 4, 3)
    assert parse(feature_map, **fields).raw_shape == (2, 4, 3)
    assert parse(feature_map, **{**fields, "format": [b"jpeg"]}).raw_shape is None
    assert error_of(feature_map, **fields, c=[1]).error_type == "invalid_raw_image"
    assert error_of(feature_map, **{**fields, "h": []}).error_type == "invalid_raw_image"
    assert error_of(feature_map, **{**fields, "h": [0]}).error_type == "invalid_raw_image"


def test_raw_image_of_fixed_shape():
    feature_map = changed(raw_shape=(1, 2, 3))
    for values in ([bytes([1, 2, 3, 4, 5, 255])], [1, 2, 3, 4, 5, 255]):
        example = parse(feature_map, **{"image/encoded": values})
        assert (example.image, example.raw_shape) == (bytes([1, 2, 3, 4, 5, 255]), (1, 2, 3))
    for values in ([bytes(5)], [1, 2, 3, 4, 5, 256], [bytes(3), bytes(3)]):
        assert error_of(feature_map, **{"image/encoded": values}).error_type == "invalid_raw_image"


def test_id_of_a_record_that_is_broken_elsewhere():
    serialized = tfexample.serialize({"image/source_id": [b"photo"]})
    assert features.readable_image_id(serialized, DETECTION, "s", 3) == "photo"
    assert features.readable_image_id(b"\xff\xff", DETECTION, "s", 3) == "s__3"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"box_ymin": None}, "give all of"),
        ({"boxes": "objects/bbox"}, "not both"),
        ({"semantic_mask": "segmentation"}, "not both"),
        ({"label_form": "onehot"}, "must be one of auto, ids"),
    ],
)
def test_contradictory_maps_are_refused(changes, words):
    with pytest.raises(ValueError, match=words):
        changed(**changes)


def test_names_are_listed_once():
    feature_map = dataclasses.replace(
        sample_shards.NO_FEATURES, label="y", box_class="y", slices=("camera",), raw_shape=(1, 1, 1), required=("z",)
    )
    assert feature_map.names() == ("image", "y", "camera")

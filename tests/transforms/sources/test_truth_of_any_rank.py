"""Intervals, boxes of volumes, and masks as arrays: from records to the samples of the original."""

from __future__ import annotations

import io

import numpy as np
import pytest

from heatbeam.job import box_fit
from heatbeam.transforms import errors, records
from heatbeam.transforms.sources import box_conventions, decode_options, feature_map, features, ground_truth
from heatbeam.transforms.sources import tfexample as message
from heatbeam.transforms.sources.pixels import tensor_protos

SEMANTIC = decode_options.MaskOptions(background=0, ignore=255, offset=0)
Convention = box_conventions.BoxConvention
SECONDS = (records.Axis("time", "s", step=0.5, start=1.0),)
MILLIMETRES = (
    records.Axis("z", "mm", step=5.0, start=-10.0),
    records.Axis("y", "mm", step=2.0),
    records.Axis("x", "mm", start=3.0),
)
MASKS = np.arange(48).reshape(2, 2, 3, 4) % 5 == 0
"""Of two objects in a volume of 2 x 3 x 4 samples."""


def _truth(size: tuple[int, ...], convention: Convention, names: dict, stored: dict) -> records.GroundTruth:
    named = feature_map.FeatureMap.naming("image", **names, box_convention=convention)
    parsed = features.parse_example(message.serialize({"image": [b"x"], **stored}), named, "shard", 0)
    return ground_truth.decode(parsed, size, SEMANTIC)


@pytest.mark.parametrize(
    ("convention", "stored"),
    [
        (Convention(rank=1), [0.25, 0.5, 0.0, 1.0]),
        (Convention("pixels", "xyxy", rank=1), [10, 20, 0, 40]),
        (Convention("pixels", "xywh", rank=1), [10, 10, 0, 40]),
        (Convention("pixels", "cxcywh", rank=1), [15, 10, 20, 40]),
        (Convention("pixels", "yxyx", 1, rank=1), [11, 20, 1, 40]),
        (Convention("axis", rank=1, axes=SECONDS), [6.0, 11.0, 1.0, 21.0]),
        (Convention("axis", "xywh", rank=1, axes=SECONDS), [6.0, 5.0, 1.0, 20.0]),
    ],
    ids=lambda one: one.in_words() if isinstance(one, Convention) else "",
)
def test_intervals_of_a_series(convention: Convention, stored: list[float]) -> None:
    flat = _truth((40,), convention, {"boxes": "b"}, {"b": stored})
    assert flat.boxes.tolist() == [[10, 20], [0, 40]] and flat.dropped_boxes == 0
    sides = {"s": stored[::2], "e": stored[1::2]}
    named = _truth((40,), convention, {"box_xmin": "s", "box_xmax": "e"}, sides)
    assert named.boxes.tolist() == flat.boxes.tolist()
    assert convention.as_stored(flat.boxes, (40,)).ravel().tolist() == stored


@pytest.mark.parametrize(
    ("convention", "stored"),
    [
        (Convention(rank=3), [0.25, 0.5, 0.0, 0.75, 1.0, 0.1]),
        (Convention("pixels", "yxyx", rank=3), [1, 4, 0, 3, 8, 2]),
        (Convention("pixels", "xyxy", rank=3), [0, 4, 1, 2, 8, 3]),
        (Convention("pixels", "xywh", rank=3), [0, 4, 1, 2, 4, 2]),
        (Convention("pixels", "cxcywh", rank=3), [1, 6, 2, 2, 4, 2]),
        (Convention("pixels", "xyxy", end="inclusive", rank=3), [0, 4, 1, 1, 7, 2]),
        (Convention("axis", "yxyx", rank=3, axes=MILLIMETRES), [-5.0, 8.0, 3.0, 5.0, 16.0, 5.0]),
        (Convention("axis", "cxcywh", rank=3, axes=MILLIMETRES), [4.0, 12.0, 0.0, 2.0, 8.0, 10.0]),
    ],
    ids=lambda one: one.in_words() if isinstance(one, Convention) else "",
)
def test_boxes_of_a_volume(convention: Convention, stored: list[float]) -> None:
    size = (20, 8, 4)
    found = _truth(size, convention, {"boxes": "b"}, {"b": stored})
    assert found.boxes == pytest.approx(np.array([[0, 4, 1, 2, 8, 3]]), abs=1e-6)
    assert convention.as_stored(found.boxes, size)[0] == pytest.approx(stored, abs=1e-6)


def test_a_volume_with_a_feature_for_each_side() -> None:
    names = {f"box_{axis}{end}": axis + end for axis in "xyz" for end in ("min", "max")}
    stored = {"xmin": [0, 1], "xmax": [2, 3], "ymin": [4, 0], "ymax": [8, 1], "zmin": [1, 0], "zmax": [3, 4]}
    found = _truth((20, 8, 4), Convention("pixels", rank=3), names, stored)
    assert found.boxes.tolist() == [[0, 4, 1, 2, 8, 3], [1, 0, 0, 3, 1, 4]]
    sizes = {**stored, "xmax": [2, 2], "ymax": [4, 1], "zmax": [2, 4]}
    found = _truth((20, 8, 4), Convention("pixels", "xywh", rank=3), names, sizes)
    assert found.boxes.tolist() == [[0, 4, 1, 2, 8, 3], [1, 0, 0, 3, 1, 4]]
    with pytest.raises(ValueError, match="all of box_zmin, box_ymin, box_xmin, box_zmax, box_ymax, box_xmax"):
        feature_map.FeatureMap.naming("i", box_xmin="a", box_xmax="b", box_convention=Convention(rank=3))


def test_the_names_that_are_read_are_those_of_the_axes() -> None:
    usual = {rank: feature_map.FeatureMap(box_convention=Convention(rank=rank)).names() for rank in (1, 2, 3)}
    assert "image/object/bbox/ymin" not in usual[1] and "image/object/bbox/xmin" in usual[1]
    assert "image/object/bbox/zmin" not in usual[2] and "image/object/bbox/zmin" in usual[3]


def test_boxes_are_clipped_and_dropped_along_every_axis() -> None:
    line = Convention("pixels", "xyxy", rank=1)
    found = _truth((40,), line, {"boxes": "b"}, {"b": [-0.5, 10.0, 30.0, 40.8, 50.0, 60.0, 5.0, 5.0]})
    assert found.boxes.tolist() == [[0, 10], [30, 40]] and found.dropped_boxes == 2
    cube = Convention("pixels", "xyxy", rank=3)
    found = _truth((4, 4, 4), cube, {"boxes": "b"}, {"b": [0.0, 0, -1, 4, 4, 2, 0, 0, 3, 4, 4, 3]})
    assert found.boxes.tolist() == [[0, 0, 0, 4, 4, 2]] and found.dropped_boxes == 1
    only = _truth((4, 4, 4), cube, {"boxes": "b"}, {"b": [0.0, 0, 9, 4, 4, 12]})
    assert only.boxes is None and only.dropped_boxes == 1


def test_what_does_not_fit_the_axes_is_refused() -> None:
    with pytest.raises(records.DataError, match="holds 4 values; not 6 per box"):
        _truth((4, 4, 4), Convention(rank=3), {"boxes": "b"}, {"b": [0.0] * 4})
    with pytest.raises(records.DataError, match="boxes of 2 numbers for an input of 3 position axes; expected 6"):
        _truth((4, 4, 4), Convention(rank=1), {"boxes": "b"}, {"b": [0.0, 0.5]})
    with pytest.raises(errors.UsageError, match="box_units: axis needs the step of each of 1 axes; got 0"):
        Convention("axis", rank=1)
    with pytest.raises(errors.UsageError, match="above 0"):
        Convention("axis", rank=1, axes=(records.Axis("time", "s", 0.0),))


def _npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def _tensor(array: np.ndarray) -> bytes:
    import tensorflow as tf

    found: bytes = tf.io.serialize_tensor(array).numpy()
    return found


@pytest.mark.parametrize(
    "stored",
    [
        [_npy(one) for one in MASKS],
        [_npy(MASKS)],
        [_npy(np.asfortranarray(MASKS[0].astype(np.float32))), _npy(MASKS[1][..., None])],
        [_tensor(MASKS[0].astype(np.uint8)), _tensor(MASKS[1])],
        [_tensor(MASKS.astype(np.int64))],
        [one.astype(np.uint8).tobytes() for one in MASKS],
        MASKS.ravel().astype(int).tolist(),
    ],
    ids=["npy", "one npy", "orders and channels", "tensors", "one tensor", "bytes", "integers"],
)
def test_masks_of_objects_in_a_volume(stored: list) -> None:
    found = _truth(
        (4, 3, 2), Convention(rank=3), {"instance_masks": "m", "mask_class": "c"}, {"m": stored, "c": [3, 4]}
    )
    assert found.masks.dtype == bool and (found.masks == MASKS).all() and found.mask_class_ids.tolist() == [3, 4]
    with pytest.raises(records.DataError, match=r"3 classes for 2 masks") as error:
        _truth((4, 3, 2), Convention(rank=3), {"instance_masks": "m", "mask_class": "c"}, {"m": stored, "c": [3, 4, 5]})
    assert error.value.error_type == "class_length_mismatch"


@pytest.mark.parametrize("form", ["npy", "float npy", "integers", "tensor", "bytes"])
def test_a_semantic_mask_and_an_ignore_mask_of_a_series(form: str) -> None:
    values = np.array([0, 0, 7, 7, 3, 255, 3, 0])
    stored = {
        "npy": [_npy(values)], "float npy": [_npy(values.astype(float))], "integers": values.tolist(),
        "tensor": [_tensor(values.astype(np.int32))], "bytes": [values.astype(np.uint8).tobytes()],
    }[form]  # fmt: skip
    names = {"semantic_mask": "m", "ignore_mask": "i"}
    found = _truth((8,), Convention(rank=1), names, {"m": stored, "i": [0, 1, 0, 0, 0, 0, 0, 0]})
    assert found.mask_class_ids.tolist() == [3, 7]
    assert found.masks.astype(int).tolist() == [[0, 0, 0, 0, 1, 0, 1, 0], [0, 0, 1, 1, 0, 0, 0, 0]]
    assert np.flatnonzero(found.ignore).tolist() == [1, 5]


def test_an_array_is_a_mask_of_a_picture_too() -> None:
    mask = np.array([[0, 1, 1], [1, 0, 0]])
    for stored in ([_npy(mask)], mask.ravel().tolist(), [mask.astype(np.uint8).tobytes()], [_tensor(mask)]):
        found = _truth((3, 2), Convention(), {"instance_masks": "m"}, {"m": stored})
        assert found.masks.astype(int).tolist() == [mask.tolist()]


@pytest.mark.parametrize(
    ("stored", "error_type", "words"),
    [
        (
            [_npy(np.zeros((3, 2, 4), np.uint8))],
            "mask_size_mismatch",
            "shape 3 x 2 x 4; its input has 2 x 3 x 4 samples",
        ),
        ([_npy(np.zeros(25, np.uint8))], "mask_size_mismatch", "shape 25"),
        ([_npy(np.zeros((2, 3, 4), np.uint8))[:-1]], "corrupt_mask", "23 bytes of values for uint8 of shape"),
        ([_npy(np.zeros((2, 3, 4), "S1"))], "corrupt_mask", "expected numbers"),
        ([b"\x93NUMPY\x01\x00"], "corrupt_mask", "no .npy that can be read"),
        ([b"\x89PNG and so on"], "invalid_mask", "14 bytes, no .npy and no serialized tensor"),
    ],
)
def test_bad_masks_of_a_volume(stored: list[bytes], error_type: str, words: str) -> None:
    with pytest.raises(records.DataError, match=words) as error:
        _truth((4, 3, 2), Convention(rank=3), {"instance_masks": "m"}, {"m": stored})
    assert error.value.error_type == error_type


def test_fractions_are_no_classes() -> None:
    with pytest.raises(records.DataError, match="holds fractions"):
        _truth((2,), Convention(rank=1), {"semantic_mask": "m"}, {"m": [_npy(np.array([0.5, 1]))]})
    with pytest.raises(records.DataError, match="holds 2 masks; expected one"):
        _truth((2,), Convention(rank=1), {"semantic_mask": "m"}, {"m": [1, 2, 3, 4]})


@pytest.mark.parametrize("dtype", ["f4", "f8", "i4", "u1", "i2", "i1", "i8", "?", "u2", "f2", "u4", "u8"])
def test_a_serialized_tensor_is_read_without_tensorflow(dtype: str) -> None:
    array = (np.arange(6) % 2).reshape(3, 2).astype(dtype)
    found = tensor_protos.decode(_tensor(array))
    assert found.dtype == array.dtype and (found == array).all()
    assert tensor_protos.decode(_tensor(array)[:-1]) is None and tensor_protos.decode(_tensor(np.array("text"))) is None


@pytest.mark.parametrize("rank", [1, 3])
def test_boxes_that_fit_another_convention_are_noticed(rank: int) -> None:
    size = (100, 80, 60)[:rank]
    rows = np.array([[10.0, 11, 12][:rank] + [50.0, 60, 40][:rank]] * 4)
    stored = [box_fit.StoredBoxes(rows, size)]
    (line,) = box_fit.warnings(Convention(rank=rank), stored)
    assert "of 4 boxes 0 lie in their images" in line and "box_units: pixels" in line
    assert not list(box_fit.warnings(Convention("pixels", "xyxy", rank=rank), stored))

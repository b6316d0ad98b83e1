from __future__ import annotations

import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options, ground_truth
from heatbeam.transforms.sources.classes import class_maps
from tests.support import sample_shards

OPTIONS = decode_options.MaskOptions(background=0, ignore=255, offset=0)


def example(**changes):
    return records.EncodedExample("i", "s", 0, b"", **changes)


def decode(size=(4, 2), options=OPTIONS, **changes):
    return ground_truth.decode(example(**changes), size, options)


def boxes(*rows, size=(4, 2), tolerance=1.0):
    return ground_truth.boxes_in_pixels(np.array(rows, np.float64).reshape(-1, 4), size, tolerance)[0]


def test_fractions_of_width_and_height():
    assert boxes([0.25, 0.5, 0.75, 1.0], size=(400, 200)).tolist() == [[100.0, 100.0, 300.0, 200.0]]
    assert boxes([0.0, 0.0, 1.0, 1.0], size=(333, 77)).tolist() == [[0.0, 0.0, 333.0, 77.0]]


@pytest.mark.parametrize("side", [3, 7, 224, 333, 500, 1023, 6000])
def test_float32_fraction_of_a_pixel_comes_back_as_that_pixel(side):
    pixels = np.arange(1, side, dtype=np.float64)
    stored = (pixels / side).astype(np.float32).astype(np.float64)
    rows = np.stack([np.zeros_like(stored), np.zeros_like(stored), stored, stored], axis=1)
    assert boxes(*rows, size=(side, side))[:, 2].tolist() == pixels.tolist()


def test_other_fractions_are_kept():
    assert boxes([0.1, 0.1, 0.9, 0.9], size=(7, 7)).tolist() == [[0.1 * 7, 0.1 * 7, 0.9 * 7, 0.9 * 7]]
    assert boxes([0.0, 0.0, 0.5 + 0.002 / 100, 1.0], size=(100, 10))[0, 2] == pytest.approx(50.002, abs=1e-9)
    assert boxes([0.0, 0.0, 0.5 + 0.0009 / 100, 1.0], size=(100, 10))[0, 2] == 50.0


@pytest.mark.parametrize(
    ("row", "size", "expected"),
    [
        ([-0.1, 0.0, 0.5, 1.0], (10, 10), [0.0, 0.0, 5.0, 10.0]),  # 1 pixel out on the left
        ([0.0, 0.0, 1.1, 1.0], (10, 10), [0.0, 0.0, 10.0, 10.0]),
        ([0.0, -0.001, 1.0, 1.001], (1000, 1000), [0.0, 0.0, 1000.0, 1000.0]),  # a pixel, however large the image
    ],
)
def test_small_overhang_is_clipped(row, size, expected):
    assert boxes(row, size=size).tolist() == [expected]


def test_the_overhang_that_is_clipped_is_a_setting():
    row = [0.0, -0.01, 1.0, 1.01]
    assert boxes(row, size=(1000, 1000)).tolist() == []
    assert boxes(row, size=(1000, 1000), tolerance=10.0).tolist() == [[0.0, 0.0, 1000.0, 1000.0]]
    assert boxes([0.0, 0.0, 1.0, 1.0001], size=(1000, 1000), tolerance=0.0).tolist() == []
    assert boxes([0.0, 0.0, 1.0, 1.0], size=(1000, 1000), tolerance=0.0).tolist() == [[0.0, 0.0, 1000.0, 1000.0]]


@pytest.mark.parametrize(
    "row",
    [
        [0.5, 0.0, 0.5, 1.0],  # no area
        [0.75, 0.0, 0.25, 1.0],
        [0.0, 1.0, 1.0, 0.0],
        [0.0, 0.0, 0.0, 0.0],
        [-0.2, 0.0, -0.1, 1.0],
        [1.0, 0.0, 1.2, 1.0],
        [0.0, 0.0, 1.3, 1.0],  # too far out
        [2.0, 2.0, 3.0, 3.0],
        [10, 0, 60, 50],  # pixels
        [np.nan, 0.0, 1.0, 1.0],
        [0.0, 0.0, np.inf, 1.0],
        [0.0, -np.inf, 1.0, 1.0],
    ],
)
def test_a_bad_box_costs_itself_and_its_class_but_no_other(row):
    rows = np.array([[0.0, 0.0, 1.0, 1.0], row, [0.0, 0.0, 0.5, 0.5]], np.float64)
    truth = decode(boxes=rows, box_class_ids=(5, 6, 7), box_difficult=(False, False, True))
    assert truth.boxes.tolist() == [[0.0, 0.0, 4.0, 2.0], [0.0, 0.0, 2.0, 1.0]]
    assert truth.box_class_ids.tolist() == [5, 7]
    assert truth.box_difficult.tolist() == [False, True]
    assert truth.dropped_boxes == 1
    alone = decode(boxes=rows[1:2], box_class_ids=(6,))
    assert (alone.boxes, alone.box_class_ids, alone.box_difficult, alone.dropped_boxes) == (None, None, None, 1)


def test_input_boxes_are_not_changed():
    fractions = np.array([[-0.001, 0.0, 0.3333333, 1.0]])
    kept = fractions.copy()
    ground_truth.boxes_in_pixels(fractions, (3, 3))
    np.testing.assert_array_equal(fractions, kept)


def test_an_end_just_before_the_image_is_its_start_without_a_sign():
    found = boxes([-0.0, -1e-9, 1.0, 1.0], size=(1000, 1000), tolerance=1.0)
    assert found.tolist() == [[0.0, 0.0, 1000.0, 1000.0]]
    assert not np.signbit(found).any()


def test_no_annotation_is_none_and_no_objects_is_empty():
    truth = decode()
    assert all(getattr(truth, name) is None for name in ("boxes", "box_class_ids", "box_difficult", "masks", "ignore"))
    truth = decode(boxes=np.zeros((0, 4)), box_class_ids=(), masks=(), mask_class_ids=())
    assert truth.boxes.shape == (0, 4)
    assert truth.box_class_ids.shape == truth.box_difficult.shape == truth.mask_class_ids.shape == (0,)
    assert truth.masks.shape == (0, 2, 4)


def test_boxes_with_and_without_classes():
    rows = np.array([[0.0, 0.0, 0.5, 1.0], [0.5, 0.0, 1.0, 1.0]])
    truth = decode(boxes=rows, box_class_ids=(5, 2), box_difficult=(True, False))
    assert truth.boxes.tolist() == [[0.0, 0.0, 2.0, 2.0], [2.0, 0.0, 4.0, 2.0]]
    assert truth.box_class_ids.tolist() == [5, 2]
    assert truth.box_difficult.tolist() == [True, False]
    truth = decode(boxes=rows)
    assert truth.box_class_ids.tolist() == [records.NO_CLASS] * 2
    assert truth.box_difficult.tolist() == [False] * 2


MASK = np.array([[0, 1, 1, 2], [255, 0, 2, 2]], np.uint8)


def test_instance_masks_are_where_they_are_not_zero():
    data = (sample_shards.encode(MASK), sample_shards.encode((MASK == 2).astype(np.uint8)))
    truth = decode(masks=data, mask_class_ids=(7, 1))
    assert truth.masks.dtype == bool
    assert truth.masks.astype(int).tolist() == [[[0, 1, 1, 1], [1, 0, 1, 1]], [[0, 0, 0, 1], [0, 0, 1, 1]]]
    assert truth.mask_class_ids.tolist() == [7, 1]
    assert truth.ignore is None
    assert decode(masks=data).mask_class_ids.tolist() == [records.NO_CLASS] * 2


def test_semantic_mask_becomes_one_mask_per_class():
    truth = decode(masks=(sample_shards.encode(MASK),), masks_are_instances=False)
    assert truth.mask_class_ids.tolist() == [1, 2]
    assert truth.masks.astype(int).tolist() == [[[0, 1, 1, 0], [0, 0, 0, 0]], [[0, 0, 0, 1], [0, 0, 1, 1]]]
    assert truth.ignore.astype(int).tolist() == [[0, 0, 0, 0], [1, 0, 0, 0]]


def test_semantic_mask_without_background_or_ignore_and_with_offset():
    everything = decode_options.MaskOptions(background=None, ignore=None, offset=0)
    truth = decode(masks=(sample_shards.encode(MASK),), masks_are_instances=False, options=everything)
    assert truth.mask_class_ids.tolist() == [0, 1, 2, 255]
    assert truth.masks.sum(axis=0).tolist() == [[1] * 4] * 2
    assert truth.ignore is None
    one_based = decode_options.MaskOptions(background=0, ignore=255, offset=1)
    truth = decode(masks=(sample_shards.encode(MASK),), masks_are_instances=False, options=one_based)
    assert truth.mask_class_ids.tolist() == [0, 1]
    with pytest.raises(records.DataError, match="holds the value 1; classes start at 2"):
        ground_truth.semantic_masks(MASK, decode_options.MaskOptions(background=0, ignore=255, offset=2))


def test_semantic_mask_of_background_only():
    truth = decode(masks=(sample_shards.encode(np.zeros((2, 4), np.uint8)),), masks_are_instances=False)
    assert truth.masks.shape == (0, 2, 4)
    assert truth.ignore is None


def test_ignore_mask_is_joined_with_ignored_values():
    ignore = sample_shards.encode(np.array([[9, 0, 0, 0], [0, 0, 0, 1]], np.uint8))
    truth = decode(ignore_mask=ignore)
    assert truth.ignore.astype(int).tolist() == [[1, 0, 0, 0], [0, 0, 0, 1]]
    truth = decode(ignore_mask=ignore, masks=(sample_shards.encode(MASK),), masks_are_instances=False)
    assert truth.ignore.astype(int).tolist() == [[1, 0, 0, 0], [1, 0, 0, 1]]


@pytest.mark.parametrize(
    ("changes", "error_type", "words"),
    [
        ({"masks": (sample_shards.encode(MASK), b"junk")}, "corrupt_mask", "instance mask 1 cannot"),
        ({"masks": (b"junk",), "masks_are_instances": False}, "corrupt_mask", "the semantic mask cannot"),
        ({"ignore_mask": sample_shards.encode(MASK.T)}, "mask_size_mismatch", "the ignore mask is 2 x 4"),
    ],
)
def test_bad_masks(changes, error_type, words):
    with pytest.raises(records.DataError, match=words) as caught:
        decode(**changes)
    assert caught.value.error_type == error_type


def test_too_many_masks_are_refused(monkeypatch):
    monkeypatch.setattr(ground_truth, "MAX_MASK_BYTES", 2 * 8)
    everything = decode_options.MaskOptions(background=None, ignore=None, offset=0)
    assert len(ground_truth.semantic_masks(MASK, OPTIONS)[0]) == 2
    with pytest.raises(records.DataError, match="4 masks of 4 x 2 pixels"):
        ground_truth.semantic_masks(MASK, everything)
    with pytest.raises(records.DataError, match="3 masks of 4 x 2 pixels"):
        decode(masks=(sample_shards.encode(MASK),) * 3)


def test_classes_of_a_semantic_mask_are_those_of_the_model():
    """Values 1 and 2 are one class of the model, 3 is left out, 4 is no class of the data."""
    classes = class_maps.ClassMap(ids=((1, 7), (2, 7), (3, None)), classes=9)
    options = decode_options.MaskOptions(background=0, ignore=255, offset=0, classes=classes)
    masks, ids = ground_truth.semantic_masks(np.array([[1, 2, 3, 0]]), options)
    assert ids.tolist() == [7] and masks.tolist() == [[[True, True, False, False]]]
    with pytest.raises(records.DataError, match=r"value 4, class 4; the dataset has the 3 classes 1 to 3") as caught:
        ground_truth.semantic_masks(np.array([[4]]), options)
    assert caught.value.error_type == "invalid_mask"


def test_the_largest_class_adds_its_masks_up_and_is_the_lower_one_of_equals():
    def largest(*areas: tuple[int, int]) -> int | None:
        masks = np.array([[np.arange(8) < area] for _, area in areas])
        ids = np.array([class_id for class_id, _ in areas])
        return ground_truth.largest_class(records.GroundTruth(masks=masks, mask_class_ids=ids))

    assert largest((5, 3), (2, 4), (5, 2)) == 5  # 3 + 2 of 5, 4 of 2
    assert largest((5, 4), (2, 4)) == 2
    assert largest((records.NOT_IN_MODEL, 8), (3, 1)) == 3
    assert ground_truth.largest_class(records.GroundTruth()) is None

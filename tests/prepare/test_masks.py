"""Masks against what pycocotools 2.0.10 gave for the same segmentations."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from heatbeam.prepare import masks
from heatbeam.transforms import records

# height, width, polygon, and the run lengths that pycocotools.mask.frPyObjects makes of it.
POLYGONS = [
    (6, 8, [1, 1, 6, 1, 6, 4, 1, 4], "7330000000;"),
    (10, 10, [5, 0.5, 9.5, 5, 5, 9.5, 0.5, 5], ">272N2N2O01N2N2N7"),
    (7, 5, [-3, -2, 9, 3, 2, 12], "0e01A00"),
    (12, 9, [0.2, 0.4, 8.7, 3.3, 4.1, 11.6, 2.2, 6.0], "01<2M3N2M1ON3M2O1NO"),
    (52, 10, [5.3, 14.16, 4.83, 50.3, 10.21, 17.13, 5.86, 14.88, 6.13, 15.89, 3.7, 50.35], "b76V1>_O57I6J7HF"),
    (13, 9, [9.12, 13.8, -0.74, 12.17, 9.7, 13.63], "i01k2"),
    (23, 11, [10.65, 20.4, 5.24, 4.11, 9.48, 23.19, 2.41, 12.57, 4.74, 23.4, -0.57, 17.9],
     "b01f0100J1B0?0BN>1K0<2N1[OMa018"),
    (28, 19, [16.8, 18.3, 20.0, 9.6, 10.7, 17.2, 17.4, 2.1, 7.4, 27.8], "o61i01N2O1M3NJ@5?JC6<JE69JI6>01M2OG"),
]  # fmt: skip


@pytest.mark.parametrize(("height", "width", "polygon", "counts"), POLYGONS)
def test_a_polygon_is_the_mask_of_pycocotools(height, width, polygon, counts):
    packed = masks.decoded({"size": [height, width], "counts": counts}, (width, height))
    np.testing.assert_array_equal(masks.decoded([polygon], (width, height)), packed)
    fractions = (np.reshape(polygon, (-1, 2)) / (width, height)).ravel().tolist()
    if all(number == int(number) for number in polygon):  # no rounding on the way
        np.testing.assert_array_equal(masks.decoded({"fractions": [fractions]}, (width, height)), packed)


def test_runs_go_down_the_columns_and_begin_outside():
    expected = ["01010", "00010", "00010", "10110"]
    found = masks.decoded({"size": [4, 5], "counts": [3, 2, 6, 5, 4]}, (5, 4))
    assert ["".join("01"[pixel] for pixel in row) for row in found.astype(int)] == expected
    assert masks.unpacked("3263N") == [3, 2, 6, 5, 4]


def test_a_rectangle_covers_the_pixels_between_its_corners():
    mask = masks.decoded([[1, 1, 6, 1, 6, 4, 1, 4]], (8, 6))
    assert mask.sum() == 5 * 3 and mask[1:4, 1:6].all()
    stored = np.asarray(Image.open(io.BytesIO(masks.png(mask))))
    np.testing.assert_array_equal(stored, mask)


@pytest.mark.parametrize(
    "segmentation",
    [
        {"size": [4, 5], "counts": [3, 2]},
        {"size": [5, 4], "counts": [20]},
        {"size": [4, 5], "counts": [30, -10]},
        {"size": [4, 5], "counts": "\x7f"},
        {"size": [4, 5], "counts": "T"},
        {"size": [4, 5]},
        {"counts": [20]},
        [[1, 1, 2, 2]],
        [[1, 1, 2, 2, 3]],
        [[1, 1, 2, 2, float("nan"), 3]],
        [[0, 0, 1e300, 1, 1, 1]],
        [[0, 0, 1e12, 1, 1, 1]],
        7,
        [7],
        ["1 2"],
    ],
)
def test_what_is_no_mask_costs_its_image(segmentation):
    with pytest.raises(records.DataError, match="a mask "):
        masks.decoded(segmentation, (5, 4))

"""From raw map to heatmap: values by hand, OpenCV, and wsolevaluation's arrays."""

from __future__ import annotations

import cv2
import hypothesis
import hypothesis.extra.numpy as hnp
import hypothesis.strategies as st
import numpy as np
import pytest

from heatbeam.transforms import heatmaps, records
from tests.support import paths

GOLDEN = paths.GOLDEN / "wsol_public" / "wsol_public.npz"


def test_quantize_by_hand() -> None:
    maps = np.array([[[-2.0, 1.0], [0.5, 0.0]], [[0, 0], [0, 0]]], np.float32)
    steps, scale = heatmaps.quantize(maps)
    assert scale.tolist() == [np.float32(2 / 32767), 1]
    assert steps.tolist() == [[[-32767, 16384], [8192, 0]], [[0, 0], [0, 0]]]  # 16383.5 and 8191.75
    assert steps.dtype == np.int16 and heatmaps.dequantize(steps, scale).dtype == np.float32


@hypothesis.given(hnp.arrays(np.float32, (3, 4, 5), elements=st.floats(-(2.0**100), 2.0**100, width=32)))
def test_dequantized_maps_are_within_half_a_step(maps: np.ndarray) -> None:
    steps, scale = heatmaps.quantize(maps)
    error = np.abs(heatmaps.dequantize(steps, scale).astype(np.float64) - maps)
    assert (error <= 0.5001 * scale[:, None, None] + 1e-6 * np.abs(maps) + 4e-34).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_quantize_refuses_what_is_not_finite(value: float) -> None:
    with pytest.raises(records.DataError, match="1 of 4 map values") as error:
        heatmaps.quantize(np.array([[[0, 1], [value, 2]]], np.float32))
    assert error.value.error_type == "non_finite_map"


def test_positive_and_min_max_by_hand() -> None:
    raw = np.array([[-1.0, 3.0], [1.0, 0.0]])
    assert heatmaps.positive(raw).tolist() == [[0, 3], [1, 0]]
    assert heatmaps.min_max(raw).tolist() == [[0, 1], [2 / 4, 1 / 4]]
    assert raw.tolist() == [[-1, 3], [1, 0]]


@pytest.mark.parametrize("value", [0.0, 5.0, -1.0, np.nan])
def test_min_max_of_a_constant_map_is_zeros(value: float) -> None:
    both = np.array([[[value] * 2] * 2, [[0, 1], [2, 4]]])
    assert heatmaps.min_max(both).tolist() == [[[0, 0], [0, 0]], [[0, 1 / 4], [2 / 4, 1]]]


def test_min_max_of_a_map_with_a_nan_or_infinity_is_zeros() -> None:
    for value in (np.nan, np.inf, -np.inf):
        assert not heatmaps.min_max(np.array([[1.0, value], [2, 3]])).any()


def test_equal_to_wsolevaluation_to_the_bit() -> None:
    with np.load(GOLDEN) as golden:
        for raw, resized, normalized in zip(
            golden["pre/cam"], golden["pre/resized_cubic"], golden["pre/normalized"], strict=True
        ):
            got = heatmaps.resize(raw, (64, 64), "bicubic")
            assert np.array_equal(got, resized, equal_nan=True)
            assert (heatmaps.min_max(got) == normalized).all()


def test_bilinear_resize_has_half_pixel_centres() -> None:
    got = heatmaps.resize(np.array([[0.0, 1.0]]), (1, 4), "bilinear")
    assert got.tolist() == [[0, 0.25, 0.75, 1]]
    assert heatmaps.resize(np.array([[0.0, 1.0]]), (1, 4), "nearest").tolist() == [[0, 0, 1, 1]]


@pytest.mark.parametrize("interpolation", ["nearest", "bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(7, 5), (30, 41), (3, 4)], ids=["same", "larger", "smaller"])
def test_place_by_weights_equals_resize(interpolation: heatmaps.Interpolation, size: tuple[int, int]) -> None:
    """A view that is the whole image but for a hair takes the way of crop and pad."""
    raw = np.random.default_rng(1).normal(size=(7, 5))
    view = (0.0, 0.0, 90.0 + 1e-9, 60.0)
    got = heatmaps.place(raw, size, view, (90, 60), interpolation)
    # OpenCV computes its cubic weights in float32.
    assert got == pytest.approx(heatmaps.resize(raw, size, interpolation), abs=1e-5)


def test_a_crop_lies_where_the_model_looked() -> None:
    raw = np.array([[1.0, 2.0]])
    placed = heatmaps.place(raw, (2, 8), (2, 0, 6, 2), (8, 2))
    row = [np.nan, np.nan, 1, 1.25, 1.75, 2, np.nan, np.nan]
    assert np.array_equal(placed, [row, row], equal_nan=True)
    shown = heatmaps.heatmap(raw, (2, 8), view=(2, 0, 6, 2), image_size=(8, 2))
    assert shown[0].tolist() == [0, 0, 0, 0.25, 0.75, 1, 0, 0]


def test_a_padded_view_is_cut_to_the_image() -> None:
    raw = np.array([[9.0, 1.0, 2.0, 9.0]])
    placed = heatmaps.place(raw, (1, 2), (-1, 0, 3, 1), (2, 1), "nearest")
    assert placed.tolist() == [[1, 2]]


def test_heatmap_rectifies_before_it_resizes() -> None:
    raw = np.array([[-4.0, 4.0]])
    assert heatmaps.heatmap(raw, (1, 4))[0].tolist() == [0, 0.25, 0.75, 1]  # of [0, 4]
    assert heatmaps.heatmap(raw, (1, 4), rectify=False)[0].tolist() == [0, 0.25, 0.75, 1]
    three = np.array([[-4.0, 0.0, 4.0]])
    assert heatmaps.heatmap(three, (1, 3))[0].tolist() == [0, 0, 1]
    assert heatmaps.heatmap(three, (1, 3), rectify=False)[0].tolist() == [0, 0.5, 1]


def test_heatmap_of_a_map_with_a_nan_is_zeros() -> None:
    raw = np.array([[np.nan, 1.0]])
    assert not heatmaps.heatmap(raw, (4, 4)).any()
    assert not heatmaps.heatmap(raw, (4, 4), view=(1, 1, 3, 3), image_size=(4, 4)).any()


def test_resize_is_opencv_in_float32() -> None:
    raw = np.random.default_rng(0).normal(size=(7, 7)).astype(np.float32)
    got = heatmaps.resize(raw, (50, 40), "bilinear")
    assert got.dtype == np.float32 and (got == cv2.resize(raw, (40, 50), interpolation=cv2.INTER_LINEAR)).all()


@pytest.mark.parametrize("size", [(0, 3), (3, -1)])
def test_resize_refuses_an_empty_size(size: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="cannot resize"):
        heatmaps.resize(np.ones((2, 2)), size)

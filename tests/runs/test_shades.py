"""Numbers of arrays as pictures: which channels, and from which percentile to which."""

from __future__ import annotations

import numpy as np
import pytest

from heatbeam.config import input_settings
from heatbeam.runs import shades, source_images


def test_bytes_are_shown_as_they_are_and_numbers_stretched():
    assert shades.limits(np.array([3, 9], np.uint8)) == (0, 255)
    low, high = shades.limits(np.arange(101.0))
    assert (low, high) == (2, 98)
    values = np.array([2.0, 50.0, 98.0, 500.0, np.nan, -np.inf])
    assert shades.bytes_of(values, low, high).tolist() == [0, 128, 255, 255, 0, 0]
    assert shades.limits(np.full(5, 7.0)) == (7, 7)
    assert shades.bytes_of(np.full(2, 7.0), 7, 7).tolist() == [0, 0]
    assert shades.limits(np.array([np.nan])) == (0, 1)


def test_limits_of_many_numbers_are_of_every_channel():
    """Every third of 3.3 million numbers of three channels would be of the first alone."""
    values = np.broadcast_to(np.array([0, 1, 2], np.float32), (1_100_000, 3))
    assert shades.limits(values) == (0, 2)


@pytest.mark.parametrize(
    ("count", "display", "expected"),
    [
        (13, (3, 2, 1), (3, 2, 1)),
        (13, (7,), (7, 7, 7)),
        (13, (7, 4), (7, 4, 7)),
        (13, (), (0, 1, 2)),
        (13, (20, 5), (5, 5, 5)),
        (2, (), (0, 0, 0)),
        (2, (9,), (0, 0, 0)),
        (2, (1, 0), (1, 0, 1)),
    ],
)
def test_channels_are_those_to_show_or_the_first(count, display, expected):
    assert shades.colour_channels(count, display) == expected


def bands() -> np.ndarray:
    """uint16 ``(10, 10, 13)``: band b rises from 0 to 99 (b + 1)."""
    return (np.arange(100).reshape(10, 10, 1) * np.arange(1, 14)).astype(np.uint16)


def test_chosen_bands_become_red_green_and_blue_on_one_scale():
    values = bands()
    values[0, 0, 3] = 60000  # one bad pixel does not darken the picture
    chosen = values[..., [3, 2, 1]]
    low, high = np.percentile(chosen, (2, 98))
    expected = np.rint(np.clip((chosen - low) / (high - low) * 255, 0, 255))
    np.testing.assert_array_equal(shades.picture(values, (3, 2, 1)), expected)


def test_one_band_is_grey():
    ramp = np.array([[0.0, 1.0], [2.0, 4.0]])[..., None] * np.array([1, -1])
    grey = shades.picture(ramp)
    assert (grey == grey[..., :1]).all() and grey[0, 0, 0] == 0 and grey[1, 1, 0] == 255
    assert shades.picture(ramp, (1,))[..., 0].tolist()[1][1] == 0


def test_pictures_of_bytes_keep_theirs():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 3), dtype=np.uint8)
    assert (shades.picture(pixels) == pixels).all()


def test_the_original_of_bands_is_shown_as_the_settings_say():
    values = bands()
    settings = input_settings.InputConfig(tfrecord="x", array={"format": "raw", "dtype": "uint16", "display": (5, 0)})
    record = source_images.SourceRecord(
        ("s", 0, "x"), b"", values.astype("<u2").tobytes(), settings, values.shape, "uint16"
    )
    np.testing.assert_array_equal(record.original(), shades.picture(values, (5, 0, 5)))

"""Arrays at the model's input, against NumPy and ``tf.image.resize``."""

from __future__ import annotations

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms import decode, errors, records
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources.arrays import array_options, fitting
from heatbeam.transforms.sources.pixels import resamplers

SERIES = np.arange(10, dtype=np.int16).reshape(5, 2)


def fit(array, shape, **options):
    return fitting.decode(np.asarray(array), array_options.ArrayOptions(shape, **options))


def test_numbers_become_floats_and_uint8_stays():
    found, size, view = fit(SERIES, (5, 2))
    assert (found.dtype, size, view) == (np.float32, (5,), (0.0, 5.0))
    np.testing.assert_array_equal(found, SERIES)
    assert fit(SERIES.astype(np.uint8), (5, 2))[0].dtype == np.uint8


@pytest.mark.parametrize(
    ("side", "before", "view"), [("end", 0, (0.0, 8.0)), ("start", 3, (-3.0, 5.0)), ("both", 1, (-1.0, 7.0))]
)
def test_padding(side, before, view):
    found, size, seen = fit(SERIES, (8, 2), fit=("pad",), pad_value=-2.5, pad_side=side)
    np.testing.assert_array_equal(found, np.pad(SERIES * 1.0, ((before, 3 - before), (0, 0)), constant_values=-2.5))
    assert (size, seen) == ((5,), view)


@pytest.mark.parametrize(("side", "first"), [("end", 0), ("start", 3), ("both", 1)])
def test_cutting(side, first):
    found, _, view = fit(SERIES, (2, 2), fit=("crop",), pad_side=side)
    np.testing.assert_array_equal(found, SERIES[first : first + 2])
    assert view == (first, first + 2)


def test_each_axis_has_its_rule():
    volume = np.arange(2 * 6 * 3, dtype=np.uint8).reshape(2, 6, 3, 1)
    found, size, view = fit(volume, (2, 4, 5, 1), fit=("refuse", "crop", "pad"), pad_value=9)
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.pad(volume[:, :4], ((0, 0),) * 2 + ((0, 2), (0, 0)), constant_values=9))
    assert size == (3, 6, 2)
    assert view == (0, 0, 0, 5, 4, 2)  # x first


def test_pad_or_crop_does_both():
    for length in (3, 5, 8):
        found, _, view = fit(SERIES, (length, 2), fit=("pad_or_crop",))
        assert (len(found), view) == (length, (0, length))


@pytest.mark.parametrize("target", [3, 5, 9])
def test_resizing_is_tensorflows(target):
    signal = np.random.default_rng(0).normal(size=(5, 2)).astype(np.float32)
    found, _, view = fit(signal, (target, 2), fit=("resize",))
    wanted = tf.image.resize(signal[:, None], (target, 1), "bilinear").numpy()[:, 0]
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    assert view == (0, 5)


def test_resizing_three_axes_is_resizing_each():
    volume = np.random.default_rng(0).normal(size=(4, 6, 5, 2)).astype(np.float32)
    found, _, _ = fit(volume, (3, 9, 2, 2), fit=("resize",))
    planes = np.stack([tf.image.resize(plane, (9, 2)).numpy() for plane in volume])
    wanted = tf.image.resize(planes.reshape(4, 1, -1).transpose(0, 1, 2), (3, 1)).numpy().reshape(3, 9, 2, 2)
    np.testing.assert_allclose(found, wanted, atol=1e-6)


@pytest.mark.parametrize("resampler", ["tensorflow", "tensorflow_antialias", "opencv", "pillow", "torchvision"])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [2, 4, 13])
def test_bands_are_resized_as_images_of_one_channel(resampler, dtype, channels):
    bands = np.random.default_rng(0).integers(0, 256, (7, 9, channels)).astype(dtype)
    image = decode_options.ImageOptions(4, 5, channels, resampler=resampler)
    found, size, view = fit(bands, (4, 5, channels), image=image)
    assert (size, view) == ((9, 7), (0, 0, 9, 7))
    for i in range(channels):
        alone = resamplers.BY_NAME[resampler](bands[:, :, i : i + 1], (4, 5), "bilinear")
        np.testing.assert_allclose(found[:, :, i : i + 1], alone, atol=1e-4)


@pytest.mark.parametrize(
    ("array", "options", "error_type", "text"),
    [
        (SERIES, {"shape": (8, 2)}, "wrong_length", "5 samples along axis 0 .x., the model takes 8.*pad or resize"),
        (SERIES, {"shape": (3, 2), "fit": ("pad",)}, "wrong_length", "fit is pad; set it to crop or resize"),
        (SERIES, {"shape": (5, 3)}, "wrong_shape", r"\(5, 2\), 1 position axis and 2 channels.*\(5, 3\)"),
        (SERIES, {"shape": (4, 4, 3)}, "wrong_shape", r"the model takes \(4, 4, 3\)"),
        ([[1.0], [np.nan]], {"shape": (2, 1)}, "not_finite", r"1 of 2 values .* first at \[1, 0\]: nan"),
        ([[1e300], [0.0]], {"shape": (2, 1)}, "not_finite", "1e"),
    ],
)
def test_what_does_not_fit_is_named(array, options, error_type, text):
    with pytest.raises(records.DataError, match=text) as caught:
        fit(array, **options)
    assert caught.value.error_type == error_type


def test_options_out_of_range_are_named():
    with pytest.raises(errors.UsageError, match="fit must be one rule"):
        array_options.ArrayOptions((4, 4, 4, 1), fit=("pad", "crop"))


def test_a_record_with_an_array_is_decoded():
    encoded = records.EncodedExample("a", "s", 3, SERIES.tobytes(), (5, 2), "int16", boxes=np.array([[0.2, 0.6]]))
    example = decode.decode_example(
        encoded, array_options.ArrayOptions((8, 2), fit=("pad",)), decode_options.MaskOptions()
    )
    np.testing.assert_array_equal(example.image[:5], SERIES)
    assert (example.source.size, example.source.view) == ((5,), (0.0, 8.0))
    assert example.source.image_sha256 == encoded.image_sha256
    assert example.ground_truth.boxes.tolist() == [[1.0, 3.0]]


def test_check_says_what_is_padded_and_cut():
    assert fitting.in_words(SERIES, (-1.0, 4.0)) == (
        "(5, 2) int16, values 0 to 9, 1 samples of padding along x, 1 samples cut along x"
    )

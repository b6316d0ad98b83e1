"""The rectangles of Keras and torchvision, to the pixel, and what of the original they show."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from heatbeam.transforms.sources import decode_options, images
from heatbeam.transforms.sources.pixels import geometry
from tests.support import sample_shards

ORIGINALS = [(30, 47), (47, 30), (31, 46), (24, 20), (25, 25), (9, 50), (13, 11)]  # (height, width)
INPUTS = [(20, 20), (12, 19), (23, 10)]
PAIRS = [(original, target) for original in ORIGINALS for target in INPUTS]


def decoded(pixels, target, **options):
    how = decode_options.ImageOptions(*target, **options)
    found, _, view = images.decode_image(sample_shards.encode(pixels), None, how)
    return found, view


@pytest.mark.parametrize(("original", "target"), PAIRS)
def test_keras_crop_is_keras_crop_to_aspect_ratio(original, target):
    pixels = sample_shards.noise(*original)
    found, _ = decoded(pixels, target, resize="keras_crop")
    layer = keras.layers.Resizing(*target, crop_to_aspect_ratio=True)
    np.testing.assert_allclose(
        found, keras.ops.convert_to_numpy(layer(pixels[None].astype(np.float32)))[0], rtol=0, atol=1e-3
    )
    by_loader = keras.preprocessing.image.smart_resize(pixels, target)  # image_dataset_from_directory's
    np.testing.assert_allclose(found, by_loader, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("original", "target"), PAIRS)
def test_center_crop_is_keras_center_crop(original, target):
    pixels = sample_shards.noise(*original)
    found, _ = decoded(pixels, target, resize="center_crop")
    expected = keras.ops.convert_to_numpy(keras.layers.CenterCrop(*target)(pixels.astype(np.float32)))
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-3)


@pytest.mark.parametrize(("original", "target"), PAIRS)
def test_squash_is_keras_resizing(original, target):
    pixels = sample_shards.noise(*original)
    layer = keras.layers.Resizing(*target)
    np.testing.assert_allclose(decoded(pixels, target)[0], layer(pixels[None].astype(np.float32))[0], rtol=0, atol=1e-3)


def test_keras_crop_of_whole_pixels():
    """47 x 30 to a square: 30 columns from int(17 / 2) = 8 on; Pillow's crop is 8.5 to 38.5."""
    ramp = np.tile(np.arange(47, dtype=np.uint8), (30, 1))
    found, view = decoded(ramp, (30, 30), resize="keras_crop")
    assert view == (8.0, 0.0, 38.0, 30.0)
    np.testing.assert_allclose(found[0, :, 0], np.arange(8, 38), atol=1e-4)
    crop = decode_options.ImageOptions(30, 30, resize="crop", resampler="pillow")
    assert geometry.view_of((47, 30), crop) == (8.5, 0.0, 38.5, 30.0)


def test_crop_without_pillow_is_of_whole_pixels():
    """The largest square of 47 x 30, times 0.7, is 21 pixels: 13 left of it and 4 above."""
    ramp = np.tile(np.arange(47, dtype=np.uint8), (30, 1))
    for resampler in ("tensorflow", "opencv", "torchvision"):
        found, view = decoded(ramp, (21, 21), resize="crop", crop_fraction=0.7, resampler=resampler)
        assert view == (13.0, 4.0, 34.0, 25.0)
        np.testing.assert_allclose(found[0, :, 0], np.arange(13, 34), atol=1e-4)


@pytest.mark.parametrize("original", ORIGINALS)
def test_resize_and_center_crop_as_torchvision_does_with_pillow(original):
    """``transforms.Compose([Resize(28), CenterCrop((20, 17))])`` of a PIL image, by its documented integers."""
    pixels = sample_shards.noise(*original)
    found, view = decoded(pixels, (20, 17), resize="shorter_side_center_crop", shorter_side=28, resampler="pillow")
    height, width = original
    size = (28, int(28 * height / width)) if width <= height else (int(28 * width / height), 28)
    resized = Image.fromarray(pixels).resize(size, Image.Resampling.BILINEAR)
    left, top = round((size[0] - 17) / 2.0), round((size[1] - 20) / 2.0)
    np.testing.assert_array_equal(found, resized.crop((left, top, left + 17, top + 20)))
    expected = (left * width / size[0], top * height / size[1])
    assert view == pytest.approx((*expected, (left + 17) * width / size[0], (top + 20) * height / size[1]))


def test_resize_and_center_crop_with_tensorflow():
    pixels = sample_shards.noise(30, 47)
    found, _ = decoded(pixels, (20, 20), resize="shorter_side_center_crop", shorter_side=24)
    whole = tf.image.resize(pixels, (24, int(24 * 47 / 30)))  # 24 x 37
    np.testing.assert_allclose(found, whole[2:22, 8:28], rtol=0, atol=1e-3)  # round(17 / 2) = 8, to the even


def test_pad_with_tensorflow_has_the_border_in_levels():
    found, view = decoded(np.full((10, 20), 40, np.uint8), (8, 8), resize="pad", pad_value=7)
    assert found[:, 0, 0].tolist() == [7, 7, 40, 40, 40, 40, 7, 7]
    assert view == (0.0, -5.0, 20.0, 15.0)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"resize": "shorter_side_center_crop"}, "shorter_side goes with resize"),
        ({"shorter_side": 256}, "shorter_side goes with resize"),
        ({"resize": "shorter_side_center_crop", "shorter_side": 7}, "shorter_side must be at least 8"),
        ({"draft": True}, "draft is Pillow's"),
        ({"draft": True, "resampler": "pillow", "decoder": "tensorflow"}, "draft is Pillow's"),
        ({"draft": True, "resampler": "pillow", "resize": "keras_crop"}, "draft is Pillow's"),
        ({"value_range": (5.0, 5.0)}, "value_range must be low, high"),
        ({"value_percentiles": (99.0, 1.0)}, "value_percentiles must be two numbers"),
    ],
)
def test_choices_that_do_not_go_together_are_named(changes, said):
    with pytest.raises(ValueError, match=said):
        decode_options.ImageOptions(8, 8, **changes)

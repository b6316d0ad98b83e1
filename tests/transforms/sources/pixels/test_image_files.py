"""Files decoded as the library that is named decodes them: 8 and 16 bits, turned or not, and formats."""

from __future__ import annotations

import io

import cv2
import numpy as np
import PIL
import pytest
import tensorflow as tf
from PIL import Image, ImageOps, features

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options, images
from tests.support import sample_shards

PHOTO = cv2.GaussianBlur(sample_shards.noise(60, 83), (0, 0), 2) * 2
GREY_16 = (np.arange(48 * 64).reshape(48, 64) * 21 % 65536).astype(np.uint16)
COLOUR_16 = np.random.default_rng(0).integers(0, 65536, (48, 64, 3), np.uint16)


def png_16(values: np.ndarray) -> bytes:
    """A 16-bit PNG of grey, RGB or RGBA values."""
    stored = values if values.ndim == 2 else values[..., [2, 1, 0, 3][: values.shape[2]]]
    return cv2.imencode(".png", stored)[1].tobytes()


def shown(data: bytes, **options) -> np.ndarray:
    """The whole image at its own size through the model's eyes."""
    with Image.open(io.BytesIO(data)) as opened:
        width, height = opened.size[::-1] if options.pop("on_its_side", False) else opened.size
    how = decode_options.ImageOptions(height, width, interpolation="nearest", **options)
    return images.decode_image(data, None, how)[0]


@pytest.mark.parametrize(
    ("file_format", "options"),
    [("JPEG", {"quality": 85}), ("JPEG", {"quality": 95, "subsampling": 0, "progressive": True}),
     ("PNG", {}), ("GIF", {}), ("BMP", {}), ("WEBP", {"quality": 80})],
    ids=["jpeg", "progressive", "png", "gif", "bmp", "webp"],
)  # fmt: skip
def test_decoder_tensorflow_is_decode_image(file_format, options):
    data = sample_shards.encode(PHOTO, file_format, **options)
    by_tensorflow = tf.io.decode_image(data, channels=3, expand_animations=False).numpy()
    np.testing.assert_array_equal(shown(data, decoder="tensorflow"), by_tensorflow)
    by_pillow = shown(data, decoder="pillow")
    np.testing.assert_array_equal(by_pillow, Image.open(io.BytesIO(data)).convert("RGB"))
    difference = np.abs(by_pillow.astype(int) - by_tensorflow)
    if file_format == "JPEG":  # the fast integer transform; Pillow's is the accurate one
        assert 0.1 < difference.mean() < 4
        accurate = tf.io.decode_jpeg(data, channels=3, dct_method="INTEGER_ACCURATE").numpy()
        np.testing.assert_array_equal(by_pillow, accurate)
    else:
        assert not difference.any()


def test_decoder_tensorflow_in_grey():
    data = sample_shards.encode(PHOTO, "JPEG")
    expected = tf.io.decode_image(data, channels=1).numpy()
    np.testing.assert_array_equal(shown(data, decoder="tensorflow", channels=1), expected)


@pytest.mark.parametrize(
    ("file_format", "channels"), [("TIFF", 3), ("TIFF", 1), ("AVIF", 3), ("GIF", 1), ("BMP", 1), ("WEBP", 1)]
)
def test_what_tensorflow_does_not_read_pillow_reads_for_it(file_format, channels):
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow is without AVIF")
    data = sample_shards.encode(PHOTO, file_format)
    found = shown(data, decoder="tensorflow", channels=channels)
    np.testing.assert_array_equal(found, shown(data, decoder="pillow", channels=channels))


def test_what_tensorflow_cannot_decode_is_said_in_a_line():
    cut = sample_shards.encode(PHOTO, "JPEG")[:-300]
    with pytest.raises(records.DataError, match="cannot be decoded by TensorFlow") as caught:
        shown(cut, decoder="tensorflow")
    assert caught.value.error_type == "corrupt_image"
    assert "{{" not in caught.value.message and "[Op" not in caught.value.message


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_turns_the_same_with_every_decoder(orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    data = sample_shards.encode(PHOTO, "PNG", exif=exif)
    with Image.open(io.BytesIO(data)) as opened:
        expected = np.asarray(ImageOps.exif_transpose(opened))
    for decoder in decode_options.DECODERS:
        found = shown(data, decoder=decoder, exif=True, on_its_side=orientation > 4)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("decoder", decode_options.DECODERS)
@pytest.mark.parametrize(
    ("value_range", "low", "high"),
    [("type", 0, 65535), ((1000.0, 5095.0), 1000, 5095), ("percentile", None, None)],
    ids=["type", "given", "percentile"],
)
def test_sixteen_bits_keep_their_range(decoder, value_range, low, high):
    """Level = 255 (value - low) / (high - low), cut at 0 and 255 and not rounded; grey in all three channels."""
    if low is None:
        low, high = np.percentile(GREY_16, [2, 97])
    expected = np.clip((GREY_16 - float(low)) * 255 / (high - low), 0, 255)
    found = shown(png_16(GREY_16), decoder=decoder, value_range=value_range, value_percentiles=(2, 97))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, np.repeat(expected[..., None], 3, axis=2), rtol=0, atol=1e-3)


@pytest.mark.parametrize("top", [255, 1023, 4095, 65535])
def test_data_of_fewer_bits_than_its_file_keeps_its_levels(top):
    """A sensor's 8 to 16 bits in a 16-bit PNG: as many levels reach the model as were measured."""
    values = np.linspace(0, top, 64 * 64).astype(np.uint16).reshape(64, 64)
    measured = len(np.unique(values))
    for value_range, upper in [("type", 255 * top / 65535), ((0.0, float(top)), 255.0)]:
        found = shown(png_16(values), channels=1, value_range=value_range)
        assert len(np.unique(found)) == measured and found.max() == pytest.approx(upper)
    assert len(np.unique(shown(png_16(values), channels=1, value_range="upper_byte"))) == top // 256 + 1


@pytest.mark.parametrize("decoder", decode_options.DECODERS)
def test_colour_of_sixteen_bits(decoder):
    alpha = np.concatenate([COLOUR_16, COLOUR_16[..., :1]], axis=2)
    for values in (COLOUR_16, alpha):
        found = shown(png_16(values), decoder=decoder)
        np.testing.assert_allclose(found, COLOUR_16 * (255 / 65535), rtol=0, atol=1e-3)
        np.testing.assert_array_equal(shown(png_16(values), decoder=decoder, value_range="upper_byte"), COLOUR_16 >> 8)
    grey = shown(png_16(COLOUR_16), channels=1)
    np.testing.assert_allclose(grey[..., 0], COLOUR_16 @ [0.299, 0.587, 0.114] * (255 / 65535), rtol=0, atol=1e-3)


def test_tiff_of_sixteen_bits():
    stored = cv2.imencode(".tiff", COLOUR_16[..., ::-1])[1].tobytes()
    np.testing.assert_allclose(shown(stored), COLOUR_16 * (255 / 65535), rtol=0, atol=1e-3)
    grey = sample_shards.encode(GREY_16, "TIFF")
    np.testing.assert_allclose(shown(grey, channels=1)[..., 0], GREY_16 * (255 / 65535), rtol=0, atol=1e-3)


@pytest.mark.parametrize("resampler", decode_options.RESAMPLERS)
def test_sixteen_bits_are_resized_as_floats(resampler):
    """Two columns of 0 and 257, whose levels are 0 and 1, to one: 0.5, where 8 bits have no such level."""
    data = png_16(np.array([[0, 257]] * 2, np.uint16))
    how = decode_options.ImageOptions(1, 1, channels=1, resampler=resampler)
    assert images.decode_image(data, None, how)[0].ravel().tolist() == pytest.approx([0.5])


def test_an_image_of_one_value_has_no_percentiles_and_is_black():
    assert not shown(png_16(np.full((4, 4), 900, np.uint16)), value_range="percentile").any()


def test_eight_bits_are_left_alone_by_the_range():
    data = sample_shards.encode(PHOTO)
    for value_range in ("type", "percentile", (5.0, 10.0)):
        found = shown(data, value_range=value_range, resampler="pillow")
        assert found.dtype == np.uint8
        np.testing.assert_array_equal(found, PHOTO)


@pytest.mark.parametrize("file_format", ["TIFF", "AVIF"])
def test_tiff_and_avif_are_read_where_pillow_reads_them(file_format):
    if file_format == "AVIF" and not features.check("avif"):
        pytest.skip("this Pillow is without AVIF")
    data = sample_shards.encode(PHOTO, file_format)
    np.testing.assert_array_equal(shown(data), Image.open(io.BytesIO(data)).convert("RGB"))


def test_the_original_is_shown_as_it_was_decoded():
    how = decode_options.ImageOptions(1, 1, value_range=(0.0, 1023.0))
    found = images.decode_original(png_16(GREY_16 % 1024), None, how)
    assert found.dtype == np.uint8 and found.shape == (48, 64, 3)
    np.testing.assert_array_equal(found[..., 0], np.rint(np.float32(GREY_16 % 1024) * np.float32(255 / 1023)))
    data = sample_shards.encode(PHOTO, "JPEG")
    how = decode_options.ImageOptions(1, 1, decoder="tensorflow")
    np.testing.assert_array_equal(images.decode_original(data, None, how), tf.io.decode_image(data, channels=3))


def test_the_manifest_says_who_decoded_and_what_became_of_sixteen_bits():
    recipe = images.recipe(decode_options.ImageOptions(8, 8, decoder="tensorflow", value_range=(0.0, 4095.0)))
    by_pillow = f"Pillow {PIL.__version__}"
    assert recipe["decoder"] == f"TensorFlow {tf.__version__}, and {by_pillow} for what it does not read"
    assert images.recipe(decode_options.ImageOptions(8, 8, decoder="pillow"))["decoder"] == by_pillow
    assert recipe["resampler"] == "tensorflow"
    assert recipe["antialias"] is False and recipe["value_range"] == [0.0, 4095.0]
    assert recipe["sixteen_bit"] == "linearly from value_range to 0..255, not rounded"
    area = decode_options.ImageOptions(8, 8, interpolation="area", value_range="upper_byte")
    assert images.recipe(area)["antialias"] is True and images.recipe(area)["sixteen_bit"] == "upper 8 bits"

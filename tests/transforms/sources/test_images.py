from __future__ import annotations

import importlib.metadata
import io
import zlib

import numpy as np
import pytest
from PIL import Image

from heatbeam.transforms import records
from heatbeam.transforms.sources import decode_options, images
from tests.support import sample_shards

OPTIONS = {
    "height": 4,
    "width": 4,
    "channels": 3,
    "resize": "squash",
    "interpolation": "area",
    "crop_fraction": 1.0,
    "pad_value": 0,
    "decoder": "pillow",
    "resampler": "pillow",
    "exif": False,
    "draft": False,
    "max_pixels": 1_000_000,
}


def options(**changes):
    return decode_options.ImageOptions(**{**OPTIONS, **changes})


def decode(data, raw_shape=None, **changes):
    return images.decode_image(data, raw_shape, options(**changes))


def error_of(data, raw_shape=None, **changes):
    with pytest.raises(records.DataError) as caught:
        decode(data, raw_shape, **changes)
    return caught.value


GREY = np.array([[0, 10, 20, 30], [40, 50, 60, 70]], np.uint8)  # 4 wide, 2 high
GREY_PNG = sample_shards.encode(GREY)


def test_squash_to_half_averages_and_shows_everything():
    pixels, size, view = decode(GREY_PNG, height=1, width=2, channels=1)
    assert size == (4, 2)
    assert view == (0.0, 0.0, 4.0, 2.0)
    assert pixels.dtype == np.uint8
    assert pixels.tolist() == [[[(0 + 10 + 40 + 50) // 4], [(20 + 30 + 60 + 70) // 4]]]


def test_squash_changes_proportions():
    pixels, _, view = decode(GREY_PNG, height=2, width=2, channels=1)
    assert view == (0.0, 0.0, 4.0, 2.0)
    assert pixels[:, :, 0].tolist() == [[5, 25], [45, 65]]


def test_no_resize_keeps_pixels():
    pixels, _, _ = decode(GREY_PNG, height=2, width=4, channels=1, interpolation="lanczos")
    np.testing.assert_array_equal(pixels[:, :, 0], GREY)
    pixels, _, _ = decode(GREY_PNG, height=2, width=4, channels=3)
    np.testing.assert_array_equal(pixels, np.stack([GREY] * 3, axis=2))


def test_crop_shows_the_middle_square():
    pixels, size, view = decode(GREY_PNG, height=2, width=2, channels=1, resize="crop")
    assert size == (4, 2)
    assert view == (1.0, 0.0, 3.0, 2.0)
    assert pixels[:, :, 0].tolist() == [[10, 20], [50, 60]]


def test_crop_fraction_shrinks_the_view_around_the_middle():
    """16 x 8, square input: the square is 8 x 8 at x 4 to 12; half of it is 4 x 4 at x 6 to 10, y 2 to 6."""
    ramp = np.tile(np.arange(0, 160, 10, dtype=np.uint8), (8, 1))
    pixels, _, view = decode(
        sample_shards.encode(ramp), height=4, width=4, channels=1, resize="crop", crop_fraction=0.5
    )
    assert view == (6.0, 2.0, 10.0, 6.0)
    assert pixels[:, :, 0].tolist() == [[60, 70, 80, 90]] * 4


def test_crop_to_a_wide_input_cuts_top_and_bottom():
    tall = np.repeat(np.arange(0, 80, 10, dtype=np.uint8)[:, np.newaxis], 4, axis=1)  # 4 wide, 8 high
    pixels, _, view = decode(sample_shards.encode(tall), height=2, width=4, channels=1, resize="crop")
    assert view == (0.0, 3.0, 4.0, 5.0)
    assert pixels[:, :, 0].tolist() == [[30] * 4, [40] * 4]


def test_pad_centres_the_image_in_a_larger_view():
    pixels, size, view = decode(GREY_PNG, height=4, width=4, channels=1, resize="pad", pad_value=7)
    assert size == (4, 2)
    assert view == (0.0, -1.0, 4.0, 3.0)
    assert pixels[:, :, 0].tolist() == [[7] * 4, GREY[0].tolist(), GREY[1].tolist(), [7] * 4]


def test_pad_that_shrinks_keeps_exact_view():
    """4 x 2 into 3 x 3: scale .75, so the image takes 3 x round(1.5) = 2 rows, from row (3 - 2) // 2 = 0."""
    pixels, _, view = decode(GREY_PNG, height=3, width=3, channels=3, resize="pad", pad_value=9)
    assert view == pytest.approx((0.0, 0.0, 4.0, 3 * 2 / 2))
    assert pixels[2].tolist() == [[9, 9, 9]] * 3


def test_pad_of_an_extreme_image_keeps_a_pixel():
    pixels, _, view = decode(sample_shards.encode(np.full((1, 100), 50, np.uint8)), resize="pad")
    assert pixels[:, :, 0].tolist() == [[0] * 4, [50] * 4, [0] * 4, [0] * 4]
    assert view == (0.0, -1.0, 100.0, 3.0)


@pytest.mark.parametrize("interpolation", decode_options.FILTERS["pillow"])
@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_constant_image_stays_constant(interpolation, resize):
    data = sample_shards.encode(np.full((31, 17, 3), (10, 200, 90), np.uint8))
    pixels, size, view = decode(data, resize=resize, interpolation=interpolation, height=5, width=7)
    assert pixels.shape == (5, 7, 3)
    assert size == (17, 31)
    if resize == "pad":  # scale 5 / 31, so the image takes round(17 * 5 / 31) = 3 columns, from column 2
        assert (pixels[:, 2:5] == (10, 200, 90)).all()
        assert not pixels[:, [0, 1, 5, 6]].any()
        assert view == pytest.approx((-2 * 17 / 3, 0.0, 5 * 17 / 3, 31.0))
    else:
        assert (pixels == (10, 200, 90)).all()


def test_views_never_leave_the_image_except_for_pad():
    for height, width in [(1, 1), (1, 99), (97, 3), (7, 49), (640, 427)]:
        data = sample_shards.encode(np.zeros((height, width), np.uint8))
        for input_size in [(1, 1), (3, 7), (224, 224)]:
            _, _, view = decode(data, resize="crop", height=input_size[0], width=input_size[1], crop_fraction=0.875)
            x0, y0, x1, y1 = view
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            assert (x1 - x0) / (y1 - y0) == pytest.approx(input_size[1] / input_size[0])
            assert max((x1 - x0) / width, (y1 - y0) / height) == pytest.approx(0.875)
            assert (x0 + x1, y0 + y1) == (pytest.approx(width), pytest.approx(height))


RGB = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [9, 9, 9]]], np.uint8)


def test_rgb_to_grey_is_itu_601_luma():
    pixels, _, _ = decode(sample_shards.encode(RGB), height=2, width=2, channels=1)
    assert pixels[:, :, 0].tolist() == [[round(0.299 * 255), round(0.587 * 255)], [round(0.114 * 255), 9]]


@pytest.mark.parametrize("alpha", [0, 128, 255])
def test_alpha_is_dropped_not_blended(alpha):
    rgba = np.concatenate([RGB, np.full((2, 2, 1), alpha, np.uint8)], axis=2)
    for file_format in ("PNG", "WEBP"):
        data = sample_shards.encode(
            rgba, file_format, **({"lossless": True, "exact": True} if file_format == "WEBP" else {})
        )
        pixels, _, _ = decode(data, height=2, width=2)
        np.testing.assert_array_equal(pixels, RGB)


def test_palette_gives_its_colours():
    image = Image.new("P", (2, 2))
    image.putpalette([*RGB.reshape(-1)])
    image.putdata([0, 1, 2, 3])
    buffer = io.BytesIO()
    image.save(buffer, "PNG", transparency=1)
    pixels, _, _ = decode(buffer.getvalue(), height=2, width=2)
    np.testing.assert_array_equal(pixels, RGB)


def test_one_bit_image_is_black_and_white():
    data = sample_shards.encode(np.array([[0, 255], [255, 0]], np.uint8), mode="1")
    assert decode(data, height=2, width=2, channels=1)[0][:, :, 0].tolist() == [[0, 255], [255, 0]]


def test_sixteen_bit_png_keeps_its_upper_byte():
    values = np.array([[0, 255, 256], [511, 32768, 65535]], np.uint16)
    pixels, _, _ = decode(sample_shards.encode(values), height=2, width=3, channels=1, value_range="upper_byte")
    assert pixels.dtype == np.uint8
    assert pixels[:, :, 0].tolist() == [[0, 0, 1], [1, 128, 255]]


def test_cmyk_jpeg_comes_out_as_its_colour():
    """Full cyan and no other ink: no red, all of green and blue."""
    image = Image.new("CMYK", (16, 16), (255, 0, 0, 0))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=95)
    pixels, _, _ = decode(buffer.getvalue(), height=1, width=1)
    np.testing.assert_allclose(pixels[0, 0].astype(int), [0, 255, 255], atol=3)


def test_first_frame_of_an_animation():
    frames = [Image.fromarray(np.full((4, 4), value, np.uint8)) for value in (50, 200)]
    buffer = io.BytesIO()
    frames[0].save(buffer, "GIF", save_all=True, append_images=frames[1:])
    assert decode(buffer.getvalue(), channels=1)[0][:, :, 0].tolist() == [[50] * 4] * 4


def oriented(value):
    """A 4 x 2 JPEG, left half black and right half white, with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = value
    pixels = np.zeros((16, 32), np.uint8)
    pixels[:, 16:] = 255
    return sample_shards.encode(pixels, "JPEG", exif=exif, quality=95)


@pytest.mark.parametrize("draft", [False, True])
def test_exif_orientation_is_a_setting(draft):
    """Orientation 6: turned by 90 degrees clockwise for display, so what is stored left is shown on top."""
    stored, size, view = decode(oriented(6), height=2, width=2, channels=1, draft=draft)
    assert (size, view) == ((32, 16), (0.0, 0.0, 32.0, 16.0))
    np.testing.assert_allclose(stored[:, :, 0].astype(int), [[0, 255], [0, 255]], atol=3)
    shown, size, view = decode(oriented(6), height=2, width=2, channels=1, exif=True, draft=draft)
    assert (size, view) == ((16, 32), (0.0, 0.0, 16.0, 32.0))
    np.testing.assert_allclose(shown[:, :, 0].astype(int), [[0, 0], [255, 255]], atol=3)


@pytest.mark.parametrize("resize", ["squash", "crop", "pad"])
def test_draft_changes_pixels_little_and_geometry_not_at_all(resize):
    """Waves 100 pixels long and 100 grey values high: an image shifted by 5 pixels would be off by up to 15."""
    x, y = np.arange(1203), np.arange(811)  # no multiples of 8: the draft's last row and column are partly empty
    waves = 128 + 50 * np.sin(2 * np.pi * x / 100) + 50 * np.sin(2 * np.pi * y[:, np.newaxis] / 100)
    data = sample_shards.encode(waves.astype(np.uint8), "JPEG", quality=95)
    full = decode(data, height=32, width=32, channels=1, resize=resize, interpolation="bilinear")
    draft = decode(data, height=32, width=32, channels=1, resize=resize, interpolation="bilinear", draft=True)
    assert full[1:] == draft[1:]
    difference = np.abs(full[0].astype(int) - draft[0].astype(int))
    assert 0 < difference.max() <= 8  # most at the last row and column, where the draft's pixels are partly empty
    assert difference.mean() < 0.7


def test_draft_leaves_small_images_alone():
    data = sample_shards.encode(sample_shards.noise(60, 60), "JPEG")
    np.testing.assert_array_equal(
        decode(data, height=32, width=32)[0], decode(data, height=32, width=32, draft=True)[0]
    )


@pytest.mark.parametrize(("channels", "expected"), [(1, [[[5] * 3, [6] * 3]]), (3, [[[1, 2, 3], [4, 5, 6]]])])
def test_raw_pixels(channels, expected):
    data = bytes([5, 6]) if channels == 1 else bytes([1, 2, 3, 4, 5, 6])
    pixels, size, _ = decode(data, (1, 2, channels), height=1, width=2)
    assert size == (2, 1)
    assert pixels.tolist() == expected


def test_raw_pixels_with_alpha_and_of_wrong_size():
    pixels, _, _ = decode(bytes([1, 2, 3, 0]), (1, 1, 4), height=1, width=1)
    assert pixels.tolist() == [[[1, 2, 3]]]
    assert error_of(bytes(5), (1, 5, 2)).error_type == "unsupported_image"
    assert error_of(bytes(5), (1, 2, 3)).error_type == "corrupt_image"


JPEG = sample_shards.encode(sample_shards.noise(64, 64), "JPEG")
PNG = sample_shards.encode(sample_shards.noise(64, 64))


@pytest.mark.parametrize(
    "data",
    [b"", b"junk" * 100, JPEG[: len(JPEG) // 2], JPEG[:10], PNG[: len(PNG) // 2], PNG[:60], b"<svg/>"],
    ids=["empty", "junk", "half-jpeg", "jpeg-header", "half-png", "png-header", "svg"],
)
def test_corrupt_images(data):
    error = error_of(data)
    assert error.error_type == "corrupt_image"
    assert f"image of {len(data)} bytes cannot be decoded" in error.message
    assert " at 0x" not in error.message


@pytest.mark.filterwarnings("ignore:Corrupt EXIF data", "ignore:Truncated File Read")
def test_flipped_bytes_never_raise_anything_else():
    rng = np.random.default_rng(0)
    files = [JPEG, PNG, oriented(6), sample_shards.encode(sample_shards.noise(20, 20), "GIF", mode="P")]
    files.append(sample_shards.encode(np.arange(400, dtype=np.uint16).reshape(20, 20)))
    outcomes = {"decoded": 0, "refused": 0}
    for trial in range(400):
        data = bytearray(files[trial % len(files)])
        for position in rng.integers(0, min(len(data), 200), rng.integers(1, 6)):
            data[position] = rng.integers(256)
        try:
            decode(bytes(data), exif=bool(trial % 2), draft=bool(trial % 3))
            outcomes["decoded"] += 1
        except records.DataError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


def test_large_images_are_refused_before_they_are_decoded():
    bomb = sample_shards.encode(np.zeros((3000, 3000), np.uint8))
    assert len(bomb) < 20_000
    error = error_of(bomb)
    assert error.error_type == "image_too_large"
    assert "3000 x 3000" in error.message
    assert error_of(bytes(9_000_000), (3000, 3000, 1)).error_type == "image_too_large"
    header = bytearray(PNG)
    header[16:24] = (60000).to_bytes(4, "big") * 2  # IHDR says 60000 x 60000
    header[29:33] = zlib.crc32(header[12:29]).to_bytes(4, "big")
    assert error_of(bytes(header), max_pixels=3_000_000_000).error_type == "image_too_large"


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "GIF", "BMP", "WEBP", "TIFF"])
def test_max_pixels_holds_whatever_pillows_own_limit_is(monkeypatch, file_format):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)  # warns above, refuses from twice as many
    for side in (11, 60):
        data = sample_shards.encode(np.full((side, side, 3), 200, np.uint8), file_format)
        pixels, size, _ = decode(data, max_pixels=3600)
        assert size == (side, side)
        np.testing.assert_allclose(pixels.astype(int), 200, atol=2)
    error = error_of(data, max_pixels=3599)
    assert error.error_type == "image_too_large"
    assert "60 x 60 pixels, more than max_pixels (3599)" in error.message
    assert Image.MAX_IMAGE_PIXELS == 100


def test_other_formats_are_refused():
    data = sample_shards.encode(np.zeros((4, 4, 3), np.uint8), "PPM")
    assert error_of(data).error_type == "corrupt_image"


@pytest.mark.parametrize("mode", ["L", "P", "1", "I;16"])
def test_grey_masks_are_read_as_stored(mode):
    stored = {
        "L": np.array([[0, 1], [2, 255]], np.uint8),
        "P": np.array([[0, 1], [2, 255]], np.uint8),
        "1": np.array([[False, True], [True, False]]),
        "I;16": np.array([[0, 1], [300, 65535]], np.uint16),
    }[mode]
    image = Image.fromarray(stored)
    if mode == "P":
        image.putpalette([200 - i % 200 for i in range(768)])
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    assert Image.open(buffer).mode == mode
    np.testing.assert_array_equal(images.decode_grey(buffer.getvalue(), (2, 2), "the mask"), stored)


@pytest.mark.parametrize(
    ("data", "error_type", "words"),
    [
        (b"junk", "corrupt_mask", "the mask cannot be decoded"),
        (GREY_PNG[:50], "corrupt_mask", "the mask cannot be decoded"),
        (GREY_PNG, "mask_size_mismatch", "the mask is 4 x 2 pixels; its image is 2 x 2 pixels"),
        (sample_shards.encode(RGB), "invalid_mask", "has 3 channels"),
    ],
    ids=["junk", "truncated", "size", "colour"],
)
def test_bad_masks(data, error_type, words):
    size = (4, 2) if error_type == "corrupt_mask" else (2, 2)
    with pytest.raises(records.DataError, match=words) as caught:
        images.decode_grey(data, size, "the mask")
    assert caught.value.error_type == error_type


def test_wrong_options_are_reported_together():
    with pytest.raises(ValueError, match="0 x 4") as caught:
        options(height=0, channels=0, resize="fit", interpolation="sinc", crop_fraction=0, pad_value=256, max_pixels=0)
    for words in (
        "0 x 4",
        "channels must be positive; got 0",
        "'fit'",
        "'sinc'",
        "crop_fraction",
        "pad_value",
        "max_pixels",
    ):
        assert words in str(caught.value)


def test_recipe_names_decoder_and_every_option():
    recipe = images.recipe(options())
    assert recipe["decoder"].startswith("Pillow ")
    named = {name: value for name, value in OPTIONS.items() if name != "decoder"}
    assert named.items() <= recipe.items()
    assert recipe["antialias"] is True
    assert images.recipe(options(interpolation="nearest"))["antialias"] is False


def test_channels_that_no_image_file_has_cost_their_record():
    """A model of 13 channels with files of images is told what to set, without a traceback."""
    found = error_of(sample_shards.encode(sample_shards.noise(2, 4)), channels=13)
    assert found.error_type == "unsupported_image"
    assert "set input.array" in found.message


def test_alpha_is_a_channel_of_a_model_of_four():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 4), np.uint8)
    for decoder in ("pillow", "tensorflow"):
        for resampler in ("pillow", "tensorflow", "opencv"):
            how = {"height": 3, "width": 5, "channels": 4, "decoder": decoder, "resampler": resampler}
            np.testing.assert_array_equal(decode(sample_shards.encode(pixels), **how)[0], pixels)


def test_raw_pixels_of_13_channels():
    pixels = np.random.default_rng(0).integers(0, 256, (3, 5, 13), np.uint8)
    found, size, _ = decode(pixels.tobytes(), (3, 5, 13), height=3, width=5, channels=13)
    np.testing.assert_array_equal(found, pixels)
    assert size == (5, 3)
    assert error_of(pixels.tobytes(), (3, 5, 13)).error_type == "unsupported_image"


@pytest.mark.parametrize("installed", ["tensorflow", "tensorflow-cpu"])
def test_the_recipe_names_tensorflow_whichever_of_its_packages_is_installed(installed, monkeypatch):
    def version(name: str) -> str:
        if name != installed:
            raise importlib.metadata.PackageNotFoundError(name)
        return "2.99"

    monkeypatch.setattr(importlib.metadata, "version", version)
    recipe = images.recipe(options(decoder="tensorflow"))
    assert recipe["decoder"].startswith("TensorFlow 2.99, and Pillow ")

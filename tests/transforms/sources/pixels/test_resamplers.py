"""Each resampler gives the library's own pixels."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from heatbeam.transforms.sources import decode_options, images
from heatbeam.transforms.sources.pixels import resamplers, separable
from tests.support import paths, sample_shards

SIZES = [  # (height, width) of the original and of the result
    ((37, 61), (24, 24)),
    ((10, 13), (64, 50)),
    ((1, 1), (5, 7)),
    ((3, 500), (7, 3)),
    ((1601, 97), (299, 96)),  # coordinates that float32 rounds
    ((24, 30), (24, 24)),
    ((24, 24), (24, 24)),
]


def decoded(pixels: np.ndarray, size: tuple[int, int], **options) -> np.ndarray:
    """The model's view of a PNG that holds `pixels`."""
    how = decode_options.ImageOptions(*size, channels=pixels.shape[2], **options)
    return images.decode_image(sample_shards.encode(pixels.squeeze(2) if pixels.shape[2] == 1 else pixels), None, how)[
        0
    ]


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("interpolation", decode_options.FILTERS["tensorflow"])
def test_tensorflow_is_tf_image_resize(interpolation, antialias):
    method = {"lanczos": "lanczos3"}.get(interpolation, interpolation)
    for number, (source, target) in enumerate(SIZES):
        pixels = sample_shards.noise(*source, seed=number)
        found = decoded(
            pixels, target, resampler="tensorflow_antialias" if antialias else "tensorflow", interpolation=interpolation
        )
        expected = tf.image.resize(pixels, target, method, antialias=antialias)
        assert found.dtype == expected.dtype.as_numpy_dtype
        np.testing.assert_allclose(found, expected.numpy(), rtol=0, atol=1e-3, err_msg=f"{source} to {target}")


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
@pytest.mark.parametrize("channels", [1, 3, 5])
def test_a_separable_filter_adds_its_samples_in_order_in_float32(channels, dtype):
    """Rows first, then columns: to the bit, whatever else computes the same sums in another order."""
    rng = np.random.default_rng(channels)
    image = rng.integers(0, 256, (9, 7, channels)).astype(dtype)
    starts = [np.array([-1, 2, 7]), np.array([0, 1, 3, 5])]
    weights = [rng.normal(size=(len(one), 3)).astype(np.float32) for one in starts]
    rows, columns = (separable.matrix(starts[axis], weights[axis], image.shape[axis]) for axis in (0, 1))

    expected = image.astype(np.float32)
    for axis in (0, 1):
        mixed = np.zeros((len(starts[axis]), *np.delete(expected.shape, axis)), np.float32)
        for number, first in enumerate(starts[axis].tolist()):
            for tap, weight in enumerate(weights[axis][number]):
                if 0 <= first + tap < expected.shape[axis]:
                    mixed[number] += weight * expected.take(first + tap, axis)
        expected = np.moveaxis(mixed, 0, axis)

    found = separable.resized(image, rows, columns)
    assert found.dtype == np.float32 and found.tobytes() == np.ascontiguousarray(expected).tobytes()


def test_tensorflow_gives_fractions_of_levels():
    """Two samples of 0 and 10 resized to four: half a pixel off, at -0.25, 0.25, 0.75 and 1.25 samples."""
    pixels = np.array([[[0], [10]]], np.uint8)
    found = decoded(pixels, (1, 4), resampler="tensorflow")
    assert found.dtype == np.float32 and found.ravel().tolist() == [0, 2.5, 7.5, 10]
    assert decoded(pixels, (1, 4), resampler="tensorflow", interpolation="nearest").dtype == np.uint8


@pytest.mark.parametrize("channels", [1, 3])
@pytest.mark.parametrize("interpolation", decode_options.FILTERS["opencv"])
def test_opencv_is_cv2_resize_to_the_bit(interpolation, channels):
    code = {"nearest": cv2.INTER_NEAREST, "area": cv2.INTER_AREA, "bilinear": cv2.INTER_LINEAR,
            "bicubic": cv2.INTER_CUBIC, "lanczos": cv2.INTER_LANCZOS4}[interpolation]  # fmt: skip
    for source, target in SIZES:
        pixels = sample_shards.noise(*source, channels)
        found = decoded(pixels, target, resampler="opencv", interpolation=interpolation)
        assert found.dtype == np.uint8
        expected = cv2.resize(pixels, target[::-1], interpolation=code).reshape(found.shape)
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("interpolation", decode_options.FILTERS["pillow"])
def test_pillow_is_image_resize_to_the_bit(interpolation):
    for source, target in SIZES:
        pixels = sample_shards.noise(*source)
        expected = Image.fromarray(pixels).resize(target[::-1], resamplers.PILLOW_FILTERS[interpolation])
        found = decoded(pixels, target, resampler="pillow", interpolation=interpolation)
        np.testing.assert_array_equal(found, expected)
        np.testing.assert_array_equal(resamplers.pillow(pixels, target, interpolation), expected)


RESIZED = np.load(paths.ROOT / "tests" / "golden" / "torchvision_resize" / "torchvision_resize.npz")


@pytest.mark.parametrize("case", sorted({name.split("/")[0] for name in RESIZED.files if name.startswith("size")}))
@pytest.mark.parametrize("interpolation", decode_options.FILTERS["torchvision"])
def test_torchvision_is_its_stored_arrays_to_a_level(case, interpolation):
    expected = RESIZED[f"{case}/{interpolation}"]
    found = decoded(RESIZED[f"{case}/image"], expected.shape[:2], resampler="torchvision", interpolation=interpolation)
    assert found.dtype == expected.dtype == np.uint8
    if interpolation == "nearest":
        np.testing.assert_array_equal(found, expected)
    np.testing.assert_allclose(found.astype(int), expected.astype(int), rtol=0, atol=1)
    assert (found == expected).mean() > 0.9


@pytest.mark.parametrize("case", ["crop0", "crop1"])
def test_shorter_side_center_crop_is_torchvisions_stored_arrays_to_a_level(case):
    """``Resize(16)`` and ``CenterCrop(14)`` of a wide and of a tall image."""
    found = decoded(
        RESIZED[f"{case}/image"], (14, 14), resampler="torchvision", resize="shorter_side_center_crop", shorter_side=16
    )
    np.testing.assert_allclose(found.astype(int), RESIZED[f"{case}/bilinear"].astype(int), rtol=0, atol=1)


def torch_pass(pixels: np.ndarray, target: int, radius: float, kernel) -> np.ndarray:
    """One axis of torch's kernel for bytes, sample by sample: ``(source, rest)`` to uint8 ``(target, rest)``.

    ``_compute_index_ranges_int16_weights`` of ``aten/src/ATen/native/cpu/UpSampleKernel.cpp``: double weights brought
    to a sum of 1, then whole numbers of as many bits as 16 allow, and a sum that is rounded and clipped.
    """
    source = len(pixels)
    scale = source / target
    support, inverse = (radius * scale, 1 / scale) if scale >= 1 else (radius, 1.0)
    weights = np.zeros((target, source))
    for i in range(target):
        center = scale * (i + 0.5)
        first = max(int(center - support + 0.5), 0)
        count = min(int(center + support + 0.5), source) - first
        for j in range(count):
            weights[i, first + j] = kernel((j + first - center + 0.5) * inverse)
        weights[i] /= weights[i].sum()
    bits = next((p for p in range(22) if int(0.5 + weights.max() * (1 << (p + 1))) >= 1 << 15), 22)
    whole = np.trunc(weights * (1 << bits) + np.copysign(0.5, weights)).astype(np.int64)
    return np.clip((whole @ pixels.astype(np.int64) + (1 << (bits - 1))) >> bits, 0, 255).astype(np.uint8)


def triangle(x: float) -> float:
    return max(1 - abs(x), 0)


def cubic(x: float) -> float:
    """The convolution of Keys with a = -0.5, as torch writes it."""
    x, a = abs(x), -0.5
    if x < 1:
        return ((a + 2) * x - (a + 3)) * x * x + 1
    return (((x - 5) * x + 8) * x - 4) * a if x < 2 else 0.0


@pytest.mark.parametrize(("interpolation", "radius", "kernel"), [("bilinear", 1, triangle), ("bicubic", 2, cubic)])
def test_torchvision_is_torchs_kernel_for_bytes_to_a_level(interpolation, radius, kernel):
    for source, target in [*SIZES[:4], SIZES[5]]:
        pixels = sample_shards.noise(*source)
        found = decoded(pixels, target, resampler="torchvision", interpolation=interpolation)
        assert found.dtype == np.uint8
        wide = torch_pass(pixels.transpose(1, 0, 2).reshape(source[1], -1), target[1], radius, kernel)
        tall = wide.reshape(target[1], source[0], 3).transpose(1, 0, 2).reshape(source[0], -1)
        expected = torch_pass(tall, target[0], radius, kernel).reshape(found.shape)
        np.testing.assert_allclose(found, expected.astype(int), rtol=0, atol=1)
        assert (found == expected).mean() > 0.95


def test_torchvision_nearest_takes_the_sample_at_or_before():
    """floor(i * 5 / 3) = 0, 1, 3; the others take floor((i + 0.5) * 5 / 3) = 0, 2, 4."""
    pixels = np.arange(0, 50, 10, dtype=np.uint8).reshape(1, 5, 1)
    found = {
        name: decoded(pixels, (1, 3), resampler=name, interpolation="nearest").ravel().tolist()
        for name in decode_options.RESAMPLERS
    }
    before, middle = [0, 10, 30], [0, 20, 40]
    assert found == {"pillow": middle, "tensorflow": middle, "tensorflow_antialias": middle,
                     "opencv": before, "torchvision": before}  # fmt: skip


@pytest.mark.parametrize("resampler", decode_options.RESAMPLERS)
def test_a_filter_that_a_library_lacks_is_refused_in_a_line(resampler):
    for interpolation in set(decode_options.INTERPOLATIONS) - set(decode_options.FILTERS[resampler]):
        with pytest.raises(
            ValueError, match=f"{resampler} has no {interpolation}; its filters are nearest, "
        ) as caught:
            decode_options.ImageOptions(8, 8, resampler=resampler, interpolation=interpolation)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("resampler", decode_options.RESAMPLERS)
@pytest.mark.parametrize("resize", decode_options.RESIZES)
def test_a_constant_image_stays_constant_in_every_geometry(resize, resampler):
    pixels = np.full((31, 17, 3), (10, 200, 90), np.uint8)
    more = {"shorter_side": 9} if resize == "shorter_side_center_crop" else {}
    for interpolation in ("nearest", "bilinear", "bicubic"):
        found = decoded(pixels, (5, 7), resize=resize, resampler=resampler, interpolation=interpolation, **more)
        shown = found[:, 2:5] if resize == "pad" else found
        assert found.shape == (5, 7, 3)
        np.testing.assert_allclose(shown, np.broadcast_to((10.0, 200.0, 90.0), shown.shape), atol=1e-4)

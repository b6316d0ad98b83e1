"""What records hold as arrays, against the arrays that they were made of."""

from __future__ import annotations

import dataclasses
import io
import zlib

import numpy as np
import PIL.features
import PIL.Image
import pytest
import tensorflow as tf

from heatbeam.transforms import decode, records
from heatbeam.transforms.sources import decode_options, feature_map, features, images, tfexample
from heatbeam.transforms.sources.arrays import array_options, fitting, stored_arrays
from tests.support import sample_shards

SERIES = np.arange(12, dtype=np.float32).reshape(4, 3) - 5.5


def read(values, shape=None, **form):
    return stored_arrays.read(values, array_options.ArrayForm(**form), "x", shape)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=array.dtype == object)
    return stream.getvalue()


@pytest.mark.parametrize("format_", ["auto", "values"])
def test_lists_of_floats(format_):
    found = read(SERIES.ravel().tolist(), format=format_, shape=(4, 3))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, SERIES)


def test_an_open_axis_is_filled():
    np.testing.assert_array_equal(read(SERIES.ravel().tolist(), shape=(None, 3)), SERIES)
    np.testing.assert_array_equal(read(SERIES.ravel().tolist(), [4, 3]), SERIES)


def test_integers_become_what_is_asked_for():
    found = read([0, 1, 255], shape=(3,), channels="none", dtype="uint8")
    assert (found.dtype, found.tolist()) == (np.uint8, [[0], [1], [255]])
    assert read([7, -1], shape=(2, 1)).dtype == np.int64
    with pytest.raises(records.DataError, match="no uint8"):
        read([0, 256], shape=(2, 1), dtype="uint8")


@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "float16", "float64"])
def test_raw_tensor_and_npy(dtype):
    array = SERIES.astype(dtype) if dtype.startswith("f") else np.arange(12, dtype=dtype).reshape(4, 3)
    for data, form in (
        (array.tobytes(), {"format": "raw", "dtype": dtype, "shape": (4, 3)}),
        (tf.io.serialize_tensor(array).numpy(), {}),
        (npy(array), {}),
        (npy(np.asfortranarray(array.astype(array.dtype.newbyteorder(">")))), {}),
    ):
        found = read([data], **form)
        assert found.dtype == dtype
        assert found.flags.c_contiguous
        np.testing.assert_array_equal(found, array)


def test_raw_bytes_are_recognised_by_their_number():
    np.testing.assert_array_equal(read([SERIES.tobytes()], dtype="float32", shape=(4, 3)), SERIES)


def test_channels_first_and_none():
    np.testing.assert_array_equal(read(SERIES.ravel().tolist(), shape=(4, 3), channels="first"), SERIES.T)
    np.testing.assert_array_equal(read([1.0, 2.0], shape=(2,), channels="none"), [[1], [2]])
    np.testing.assert_array_equal(read([npy(SERIES)], channels="none"), SERIES[:, :, None])


def test_frames():
    frames = [sample_shards.noise(2, 4), sample_shards.noise(2, 4)[::-1].copy()]
    found = read([sample_shards.encode(frame) for frame in frames])
    assert found.dtype == np.uint8
    np.testing.assert_array_equal(found, np.stack(frames))
    with pytest.raises(records.DataError, match="have sizes from"):
        read([sample_shards.encode(sample_shards.noise(2, 4)), sample_shards.encode(sample_shards.noise(3, 4))])


@pytest.mark.parametrize(
    ("values", "form", "error_type", "text"),
    [
        ([], {}, "missing_feature", "holds no array"),
        ([1.0, 2.0, 3.0], {"shape": (2, 2)}, "array_shape", r"3 numbers; expected the shape \(2, 2\)"),
        ([1.0, 2.0, 3.0], {"shape": (None, 2)}, "array_shape", "3 numbers; expected"),
        ([1.0, 2.0], {}, "array_shape", "set input.array.shape"),
        ([b"abc"], {"format": "values"}, "wrong_type", "holds bytes"),
        ([1.0], {"format": "npy"}, "wrong_type", "holds numbers"),
        ([b"abc"], {"format": "raw", "dtype": "uint16"}, "corrupt_array", "no whole number of uint16"),
        ([b"abcd"], {"format": "raw"}, "wrong_type", "input.array.dtype"),
        ([b"abcd"], {"format": "tensor"}, "corrupt_array", "no serialized tensor"),
        ([b"\xffbcd"], {}, "ambiguous_array", "set input.array.format"),
        ([npy(SERIES)[:-1]], {}, "corrupt_array", "bytes of values"),
        ([npy(np.array([{}], object))], {}, "corrupt_array", "expected numbers"),
        ([npy(SERIES)], {"shape": (3, 4)}, "array_shape", r"array of shape \(4, 3\)"),
        ([npy(SERIES)] * 2, {"format": "npy"}, "multiple_values", "holds 2 values"),
        ([npy(np.zeros(3))], {}, "array_shape", "one to three position axes"),
        ([npy(SERIES)], {"max_samples": 3}, "array_too_large", "4 samples"),
        ([b"\x89PNG...."], {}, "ambiguous_array", "leave input.array out"),
    ],
)
def test_what_is_no_such_array(values, form, error_type, text):
    with pytest.raises(records.DataError, match=text) as caught:
        read(values, **form)
    assert caught.value.error_type == error_type


def test_what_may_be_two_things_is_refused():
    data = tf.io.serialize_tensor(np.zeros(4, np.uint8)).numpy()
    with pytest.raises(records.DataError, match="may be a tensor or raw"):
        read([data], dtype="uint8", shape=(len(data), 1))


def test_a_record():
    names = feature_map.FeatureMap.naming("x")
    form = array_options.ArrayForm(shape_feature="n")
    names = dataclasses.replace(names, array=form)
    serialized = tfexample.serialize({"x": SERIES.ravel().tolist(), "n": [4, 3]})
    found = features.parse_example(serialized, names, "s", 0)
    assert (found.raw_shape, found.raw_dtype, found.image) == ((4, 3), "float32", SERIES.tobytes())
    with pytest.raises(records.DataError, match="feature n holds no shape"):
        features.parse_example(tfexample.serialize({"x": [1.0]}), names, "s", 0)


def test_digests_tell_shapes_and_types_apart_and_know_raw_images():
    def digest(shape, dtype):
        return records.EncodedExample("a", "s", 0, bytes(12), shape, dtype).image_sha256

    image = records.EncodedExample("a", "s", 0, bytes(12)).image_sha256
    assert digest((2, 2, 3), "uint8") == image  # as before arrays
    different = [digest(*of) for of in (((12, 1), "uint8"), ((1, 12), "uint8"), ((3, 1), "float32"), ((3, 1), "int32"))]
    assert len({image, *different}) == 5


def test_packed_bytes():
    data = zlib.compress(SERIES.tobytes())
    form = {"format": "zlib", "dtype": "float32", "shape": (4, 3)}
    np.testing.assert_array_equal(read([data], **form), SERIES)
    for wrong, more, error_type in (
        (data[:-5], {}, "corrupt_array"),
        (b"none", {}, "corrupt_array"),
        (data, {"max_samples": 2}, "array_too_large"),
    ):
        with pytest.raises(records.DataError) as caught:
            read([wrong], **form, **more)
        assert caught.value.error_type == error_type


DEEP = np.linspace(0, 65535, 3 * 2 * 4).reshape(3, 2, 4).astype(np.uint16)
CLIP = np.stack([sample_shards.noise(4, 6, seed=number) for number in range(3)])


def test_frames_of_sixteen_bits_keep_their_range():
    frames = [sample_shards.encode(frame) for frame in DEEP]
    found = read(frames, shape=(None, 2, 4, 1))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found[..., 0], DEEP * (255 / 65535), rtol=1e-6)
    low, high = 1000.0, 30000.0
    frame = decode_options.ImageOptions(1, 1, value_range=(low, high))
    found = read(frames, format="frames", channels="none", frame=frame)
    np.testing.assert_allclose(
        found[..., 0], np.clip((DEEP - low) * (255 / (high - low)), 0, 255), rtol=1e-5, atol=1e-4
    )
    stored = read(frames, dtype="uint16", shape=(3, 2, 4, 1))
    assert stored.dtype == np.uint16
    np.testing.assert_array_equal(stored[..., 0], DEEP)
    with pytest.raises(records.DataError, match="holds 8 bits a channel; expected 1 channels of 16 bits"):
        read([sample_shards.encode(CLIP[0][:, :, 0])] * 2, dtype="uint16", shape=(2, 4, 6, 1))


@pytest.mark.skipif(not PIL.features.check("avif"), reason="this Pillow has no AVIF")
def test_frames_of_avif_are_recognised():
    stream = io.BytesIO()
    PIL.Image.fromarray(CLIP[0]).save(stream, "AVIF", quality=100)
    found = read([stream.getvalue()] * 2)
    assert found.shape == (2, 4, 6, 3)
    np.testing.assert_array_equal(found[0], np.asarray(PIL.Image.open(stream)))


def test_a_frame_is_resized_between_the_centres_of_its_pixels():
    clip = np.array([[[0, 100]], [[200, 40]]], np.uint8)[..., None]  # two frames of a row of two pixels
    image = decode_options.ImageOptions(1, 4, channels=1, resampler="tensorflow")
    of_clip = array_options.ArrayOptions((2, 1, 4, 1), fit=("refuse", "resize", "resize"), image=image)
    found, _, _ = fitting.decode(clip, of_clip, is_clip=True)
    # The new pixels' centres lie at -1/4, 1/4, 3/4 and 5/4 of the way from the first old one to the second.
    assert found[..., 0].tolist() == [[[0, 25, 75, 100]], [[200, 160, 80, 40]]]


@pytest.mark.parametrize("resampler", ["tensorflow", "pillow", "opencv"])
def test_frames_are_resized_as_images_are(resampler):
    data = tfexample.serialize({"x": [sample_shards.encode(frame) for frame in CLIP]})
    names = dataclasses.replace(feature_map.FeatureMap.naming("x"), array=array_options.ArrayForm())
    image = decode_options.ImageOptions(3, 5, resampler=resampler)
    of_clip = array_options.ArrayOptions((2, 3, 5, 3), fit=("crop", "resize", "resize"), image=image)
    found = decode.decode_example(features.parse_example(data, names, "s", 0), of_clip, decode_options.MaskOptions())
    wanted = [images.decode_image(sample_shards.encode(frame), None, image)[0] for frame in CLIP[:2]]
    assert found.image.dtype == wanted[0].dtype
    np.testing.assert_allclose(found.image, np.stack(wanted), atol=1e-4)
    assert (found.source.size, found.source.view) == ((6, 4, 3), (0, 0, 0, 6, 4, 2))

"""What records hold for the model's inputs beside the explained one, against NumPy."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from heatbeam.transforms import errors, records
from heatbeam.transforms.sources import decode_options, feature_map, features, tfexample
from heatbeam.transforms.sources.arrays import input_forms, other_inputs, stored_arrays
from tests.support import sample_shards


def options(size: tuple[int, ...], takes: str = "float32", **form: Any) -> input_forms.InputOptions:
    image = decode_options.ImageOptions(*size[:2], channels=size[2]) if len(size) == 3 else None
    return input_forms.InputOptions(input_forms.InputForm("meta", "m", **form), size, takes, image)


def decoded(values: Any, size: tuple[int, ...], takes: str = "float32", **form: Any) -> np.ndarray:
    return other_inputs.decode(stored_arrays.unchanged(values), options(size, takes, **form))


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


TABLE = np.arange(6, dtype=np.int16).reshape(2, 3)


@pytest.mark.parametrize(
    ("values", "shape", "dtype", "form", "expected"),
    [
        ([1.5, -2.0], (2,), "float32", {}, [1.5, -2]),
        ([7], (), "int32", {}, 7),
        ([7], (1,), "float16", {}, [7]),
        ([7], (), "float32", {"scale": (2.0,), "offset": (1.0,)}, 15),
        ([3, 4], (2,), "float32", {"scale": (0.5,), "offset": (1.0, 2.0)}, [2.5, 4]),
        ([2, 0], (2, 3), "float32", {"one_hot": True}, [[0, 0, 1], [1, 0, 0]]),
        ([b"F"], (2,), "float32", {"one_hot": True, "categories": ("M", "F")}, [0, 1]),
        ([30], (1,), "int64", {"categories": (10, 20, 30)}, [2]),
        ([npy(TABLE)], (2, 3), "float32", {}, TABLE),
        ([npy(TABLE[None])], (2, 3), "int32", {"format": "npy"}, TABLE),
        ([tf.io.serialize_tensor(TABLE).numpy()], (2, 3), "float32", {}, TABLE),
        ([TABLE.tobytes()], (2, 3), "float32", {"dtype": "int16"}, TABLE),
        ([1, 0, 1], (3,), "bool", {}, [True, False, True]),
    ],
)
def test_values_become_the_input(values, shape, dtype, form, expected):
    found = decoded(values, shape, dtype, **form)
    np.testing.assert_array_equal(found, expected)
    assert found.shape == shape and found.dtype == ("float32" if dtype == "float16" else dtype)


def test_text_stays_text():
    assert decoded([b"a", b"b"], (2,), "string").tolist() == [b"a", b"b"]


def test_an_encoded_image_is_resized_to_the_input():
    pixels = np.full((6, 8, 3), 40, np.uint8)
    scaled = decoded([sample_shards.encode(pixels)], (4, 5, 3), scale=(1 / 255,))
    np.testing.assert_allclose(scaled, np.full((4, 5, 3), 40 / 255), rtol=1e-6)
    assert decoded([sample_shards.encode(pixels)], (4, 5, 3), "uint8").tolist() == np.full((4, 5, 3), 40).tolist()


@pytest.mark.parametrize(
    ("values", "shape", "dtype", "form", "error_type", "message"),
    [
        ([1.0, 2.0], (3,), "float32", {}, "wrong_length", r"feature m, input meta .* holds 2 values; expected 3"),
        ([1.0, float("nan")], (2,), "float32", {}, "not_finite", "1 of 2 values"),
        ([float("inf")], (1,), "float32", {"scale": (0.0,)}, "not_finite", "NaN or infinite"),
        ([npy(np.array([1e300, 1e300, 1.0]))], (3,), "float32", {}, "not_finite", "2 of 3 values"),
        ([1.5], (1,), "int32", {}, "wrong_type", "no int32"),
        ([300], (1,), "uint8", {}, "wrong_type", "no uint8"),
        ([b"X"], (1,), "int32", {"categories": ("M", "F")}, "unknown_category", "'X'; its categories are M, F"),
        ([1.0], (1,), "int32", {"categories": (1, 2)}, "wrong_type", "fractions"),
        ([3], (3,), "float32", {"one_hot": True}, "unknown_category", "holds 3; expected ids from 0 to 2"),
        ([-1], (3,), "float32", {"one_hot": True}, "unknown_category", "holds -1"),
        ([b"tall"], (1,), "float32", {}, "corrupt_array", "categories"),
        ([b"a", b"b"], (2,), "float32", {}, "wrong_type", r"model.inputs.meta.categories"),
        ([b"123"], (1,), "float32", {"dtype": "int16"}, "corrupt_array", "3 bytes"),
        ([npy(TABLE.T)], (2, 3), "float32", {}, "wrong_shape", r"shape \(3, 2\); expected \(2, 3\)"),
        ([npy(TABLE)[:-3]], (2, 3), "float32", {}, "corrupt_array", "npy"),
        ([1.0], (1,), "float32", {"format": "npy"}, "wrong_type", "expects bytes"),
        ([1], (1,), "string", {}, "wrong_type", "takes text"),
    ],
)
def test_what_does_not_fit_is_a_dead_letter(values, shape, dtype, form, error_type, message):
    with pytest.raises(records.DataError, match=message) as raised:
        decoded(values, shape, dtype, **form)
    assert raised.value.error_type == error_type and "\n" not in raised.value.message


@pytest.mark.parametrize(
    ("shape", "dtype", "form", "message"),
    [
        ((2,), "float32", {"shape": (3,)}, r"model.inputs.meta.shape is \[3\], and input meta takes float32 \(2,\)"),
        ((2,), "float32", {"one_hot": True, "categories": ("a",)}, "has 1 categories for one_hot"),
        ((2,), "string", {"categories": ("a", "b")}, "make numbers"),
        ((), "float32", {"one_hot": True}, "rows of numbers"),
        ((3,), "float32", {"scale": (1.0, 2.0)}, "scale has 2 numbers"),
        ((3,), "int32", {"scale": (0.5,)}, "make fractions"),
        ((3,), "float32", {"format": "image"}, "an image is"),
    ],
)
def test_settings_that_do_not_fit_the_input_are_refused(shape, dtype, form, message):
    with pytest.raises(errors.UsageError, match=message):
        options(shape, dtype, **form)


NAMES = feature_map.FeatureMap.naming("image", inputs=(input_forms.InputForm("meta", "m"),))


def parsed(**fields: Any) -> records.EncodedExample:
    image = sample_shards.encode(np.zeros((4, 4, 3), np.uint8))
    return features.parse_example(tfexample.serialize({"image": [image], **fields}), NAMES, "shard", 3)


def test_a_record_must_have_it():
    for fields in ({}, {"m": []}):
        with pytest.raises(records.DataError, match="no value of feature m, which input meta of the model takes"):
            parsed(**fields)


def test_the_key_of_earlier_rows_knows_what_came_with_the_image():
    digests = {
        parsed(m=values).image_sha256 for values in ([1.0], [2.0], [1.0, 0.0], [1], [b"a", b"bc"], [b"ab", b"c"])
    }
    assert len(digests) == 6 and parsed(m=[1.0]).image_sha256 == parsed(m=[1.0]).image_sha256
    assert "m" in NAMES.names()

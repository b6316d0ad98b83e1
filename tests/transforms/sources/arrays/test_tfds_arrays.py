"""Tensors, audio and video of TFDS: the values come back, with the shape and type that the dataset declares."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds

from heatbeam.transforms.sources import decode_options, feature_map, features, images, tfds_source
from heatbeam.transforms.sources.arrays import array_options

_RNG = np.random.default_rng(0)
VALUES = {
    "series": _RNG.normal(size=(5, 3)).astype(np.float32),
    "bands": _RNG.integers(0, 60000, (4, 4, 13)).astype(np.uint16),
    "audio": np.arange(7),
    "video": _RNG.integers(0, 255, (3, 6, 5, 3)).astype(np.uint8),
}
DECLARED = tfds.features.FeaturesDict({
    "series": tfds.features.Tensor(shape=(None, 3), dtype=np.float32),
    "bands": tfds.features.Tensor(shape=(4, 4, 13), dtype=np.uint16),
    "audio": tfds.features.Audio(),
    "video": tfds.features.Video(shape=(None, 6, 5, 3)),
})  # fmt: skip


@pytest.mark.parametrize(
    ("name", "channels"), [("series", "last"), ("bands", "last"), ("audio", "none"), ("video", "last")]
)
def test_values_come_back(name, channels):
    form = array_options.ArrayForm(channels=channels)
    names = dataclasses.replace(feature_map.FeatureMap.naming(name), array=form)
    info = types.SimpleNamespace(features=DECLARED, full_name="set/1.0.0")
    record = DECLARED.serialize_example(DECLARED.encode_example(VALUES))
    found = features.parse_example(record, tfds_source.resolve_features(info, names), "s", 0)
    wanted = VALUES[name] if channels == "last" else VALUES[name][:, None]
    assert (found.raw_shape, found.raw_dtype) == (wanted.shape, wanted.dtype.name)
    np.testing.assert_array_equal(np.frombuffer(found.image, wanted.dtype).reshape(wanted.shape), wanted)


NESTED = tfds.features.FeaturesDict({
    "sensors": {
        "open": tfds.features.Tensor(shape=(None, None, 2), dtype=np.float32, encoding="bytes"),
        "bytes": tfds.features.Tensor(shape=(5, 3), dtype=np.float32, encoding="bytes"),
        "zlib": tfds.features.Tensor(shape=(4, 4, 13), dtype=np.uint16, encoding="zlib"),
        "packed": tfds.features.Tensor(shape=(None, None, 2), dtype=np.int16, encoding="zlib"),
        "depth": tfds.features.Image(shape=(None, None, 1), dtype=np.float32),
        "photo": tfds.features.Image(shape=(None, None, 3)),
        "frames": tfds.features.Sequence({"image": tfds.features.Image(shape=(6, 5, 1))}),
    },
    "label": tfds.features.ClassLabel(num_classes=3),
})  # fmt: skip
IN_NESTED = {
    "open": _RNG.normal(size=(3, 4, 2)).astype(np.float32),
    "bytes": VALUES["series"],
    "zlib": VALUES["bands"],
    "packed": np.arange(-12, 12, dtype=np.int16).reshape(4, 3, 2),
    "depth": _RNG.normal(size=(4, 6, 1)).astype(np.float32),
    "photo": VALUES["video"][0],
    "frames": VALUES["video"][..., :1],
}
NESTED_RECORD = NESTED.serialize_example(
    {"sensors": {**IN_NESTED, "frames": {"image": list(IN_NESTED["frames"])}}, "label": 2}
)


def resolved(image, array, **more):
    names = dataclasses.replace(feature_map.FeatureMap.naming(image, label="label"), array=array, **more)
    return tfds_source.resolve_features(types.SimpleNamespace(features=NESTED, full_name="set/1.0.0"), names)


@pytest.mark.parametrize("name", ["open", "bytes", "zlib", "packed", "depth"])
def test_nested_features_of_every_encoding(name):
    image = f"sensors/{name}"
    names = resolved(image, array_options.ArrayForm(), required=(image,), given=(image, "label"))
    found = features.parse_example(NESTED_RECORD, names, "s", 0)
    wanted = IN_NESTED[name]
    assert (found.raw_shape, found.raw_dtype, found.label_ids) == (wanted.shape, wanted.dtype.name, (2,))
    np.testing.assert_array_equal(np.frombuffer(found.image, wanted.dtype).reshape(wanted.shape), wanted)


def test_nested_frames_in_their_own_channels():
    names = resolved("sensors/frames/image", array_options.ArrayForm("frames", shape=(None, 6, 5, 1)))
    found = features.parse_example(NESTED_RECORD, names, "s", 0)
    assert (found.raw_shape, found.raw_dtype, found.is_clip) == ((3, 6, 5, 1), "uint8", True)
    np.testing.assert_array_equal(np.frombuffer(found.image, np.uint8).reshape(3, 6, 5, 1), IN_NESTED["frames"])


def test_a_nested_photo_is_an_image():
    found = features.parse_example(NESTED_RECORD, resolved("sensors/photo", None), "s", 0)
    decoded = images.decode_original(found.image, found.raw_shape, decode_options.ImageOptions(1, 1))
    np.testing.assert_array_equal(decoded, IN_NESTED["photo"])


@pytest.mark.parametrize("name", ["open", "zlib", "depth"])
def test_an_array_without_its_setting_says_so(name):
    with pytest.raises(ValueError, match=r"read by input\.array, such as array: \{\}"):
        resolved(f"sensors/{name}", None)

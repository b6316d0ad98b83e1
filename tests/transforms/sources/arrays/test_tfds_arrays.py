"""Tensors, audio and video of TFDS: the values come back, with the shape and type that the dataset declares."""

from __future__ import annotations

import dataclasses
import types

import numpy as np
import pytest
import tensorflow_datasets as tfds

from heatbeam.transforms.sources import feature_map, features, tfds_source
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

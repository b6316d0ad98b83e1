from __future__ import annotations

import pytest

from heatbeam.transforms import records
from heatbeam.transforms.sources import tfexample


def test_wire_format_by_hand():
    """features { feature { key: "a" value { int64_list { value: 3 } } } }, byte by byte from the protobuf encoding."""
    int64_list = bytes([0x0A, 1, 3])  # field 1, packed: length 1, varint 3
    feature = bytes([0x1A, len(int64_list)]) + int64_list  # field 3 of Feature
    entry = bytes([0x0A, 1]) + b"a" + bytes([0x12, len(feature)]) + feature
    features = bytes([0x0A, len(entry)]) + entry
    serialized = bytes([0x0A, len(features)]) + features
    assert tfexample.serialize({"a": [3]}) == serialized
    parsed = tfexample.parse(serialized)
    assert tfexample.kind(parsed["a"]) == "int64"
    assert list(tfexample.values(parsed["a"])) == [3]


def test_round_trip_of_every_kind():
    parsed = tfexample.parse(tfexample.serialize({"b": [b"x", b""], "f": [0.5, -2.0], "i": [-1, 2**62], "none": []}))
    assert {name: (tfexample.kind(item), list(tfexample.values(item))) for name, item in parsed.items()} == {
        "b": ("bytes", [b"x", b""]),
        "f": ("float", [0.5, -2.0]),
        "i": ("int64", [-1, 2**62]),
        "none": ("empty", []),
    }


def test_same_bytes_as_tensorflow_datasets_own_message():
    pytest.importorskip("tensorflow_datasets")
    from tensorflow_datasets.proto import tf_example_pb2

    values = {"image": [b"\xff\x00"], "box": [0.25, 0.5], "label": [7]}
    example = tf_example_pb2.Example.FromString(tfexample.serialize(values))
    assert example.features.feature["image"].bytes_list.value == [b"\xff\x00"]
    assert example.features.feature["box"].float_list.value == [0.25, 0.5]
    assert example.features.feature["label"].int64_list.value == [7]
    assert example.SerializeToString(deterministic=True) == tfexample.serialize(values)


def test_bytes_that_are_no_example():
    with pytest.raises(records.DataError, match=r"no tf.train.Example") as caught:
        tfexample.parse(b"\xff\xff\xff")
    assert caught.value.error_type == "invalid_record"

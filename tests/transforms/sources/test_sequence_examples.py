"""``tf.train.SequenceExample`` as TensorFlow writes it, against the arrays that it was made of."""

from __future__ import annotations

import dataclasses
import io

import numpy as np
import pytest
import tensorflow as tf

from heatbeam import config
from heatbeam.prepare import data_found
from heatbeam.transforms import read, records
from heatbeam.transforms.sources import feature_map, features, tfexample, tfrecord_source
from heatbeam.transforms.sources.arrays import array_options
from tests.support import beam_runs, sample_shards

SERIES = np.arange(12, dtype=np.float32).reshape(4, 3) - 5.5
VOLUME = np.arange(16, dtype=np.float32).reshape(2, 2, 2, 2)
FRAMES = np.stack([sample_shards.noise(2, 4, seed=number) for number in range(3)])
LINE = dataclasses.replace(feature_map.FeatureMap().box_convention, rank=1)
NAMES = feature_map.FeatureMap.naming(
    "signal", label="label", image_id="id", box_xmin="from", box_xmax="to", box_convention=LINE
)


def feature(values):
    if isinstance(values[0], bytes):
        return tf.train.Feature(bytes_list=tf.train.BytesList(value=values))
    if isinstance(values[0], int):
        return tf.train.Feature(int64_list=tf.train.Int64List(value=values))
    return tf.train.Feature(float_list=tf.train.FloatList(value=values))


def sequence(lists, **context):
    steps = {name: tf.train.FeatureList(feature=map(feature, each)) for name, each in lists.items()}
    return tf.train.SequenceExample(
        context=tf.train.Features(feature={name: feature(values) for name, values in context.items()}),
        feature_lists=tf.train.FeatureLists(feature_list=steps),
    ).SerializeToString()


def names(record="sequence_example", **form):
    return dataclasses.replace(NAMES, record=record, array=array_options.ArrayForm(**form))


def signal(steps, **form):
    found = features.parse_example(sequence({"signal": steps}, label=[1]), names(**form), "s", 0)
    return np.frombuffer(found.image, np.dtype(found.raw_dtype)).reshape(found.raw_shape)


def npy(array):
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


@pytest.mark.parametrize(
    ("steps", "form", "expected"),
    [
        (SERIES.tolist(), {}, SERIES),
        (SERIES.tolist(), {"shape": (None, 3)}, SERIES),
        (SERIES.tolist(), {"shape": (4, 3), "channels": "first"}, SERIES.T),
        (SERIES.tolist(), {"channels": "none"}, SERIES[:, :, None]),
        (SERIES[:, :1].tolist(), {"channels": "none"}, SERIES[:, :1]),
        (SERIES[:, :1].tolist(), {}, SERIES[:, :1]),
        ([[1, 2], [3, 255]], {"dtype": "uint8"}, np.array([[1, 2], [3, 255]], np.uint8)),
        (VOLUME.reshape(2, 8).tolist(), {"shape": (None, 2, 2, 2)}, VOLUME),
        ([[sample_shards.encode(frame)] for frame in FRAMES], {}, FRAMES),
        ([[sample_shards.encode(FRAMES[0])]], {}, FRAMES[:1]),
        ([[tf.io.serialize_tensor(step).numpy()] for step in SERIES], {}, SERIES),
        ([[npy(step)] for step in FRAMES], {}, FRAMES),
        ([[step.tobytes()] for step in SERIES], {"format": "raw", "dtype": "float32"}, SERIES),
        ([[step.tobytes()] for step in SERIES], {"dtype": "float32", "shape": (None, 3)}, SERIES),
    ],
    ids=["floats", "shape", "first", "spectrogram", "flat", "one channel", "integers", "volume", "frames", "a frame",
         "tensors", "npy", "raw", "raw recognised"],
)  # fmt: skip
def test_the_steps_of_a_list_are_the_first_axis(steps, form, expected):
    found = signal(steps, **form)
    assert (found.shape, found.dtype) == (expected.shape, expected.dtype)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize(
    ("steps", "form", "error_type", "text"),
    [
        ([[1.0], [1.0, 2.0]], {}, "array_shape", "the 2 steps of feature list signal hold from 1 to 2 values"),
        ([[b"a", b"b"]], {"format": "raw", "dtype": "uint8"}, "array_shape", "expected one in each"),
        (SERIES.tolist(), {"shape": (2, 6)}, "array_shape", r"has 4 steps; expected 2, as in \(2, 6\)"),
        ([[b"ab"], [b"abc"]], {"format": "raw", "dtype": "uint8"}, "array_shape", r"shapes from \(2\) to \(3\)"),
        ([[1.0], [2]], {}, "wrong_type", "holds mixed values"),
        ([], {}, "missing_feature", "holds no array"),
    ],
)
def test_steps_that_are_no_array(steps, form, error_type, text):
    with pytest.raises(records.DataError, match=text) as caught:
        signal(steps, **form)
    assert caught.value.error_type == error_type


def test_the_rest_of_a_record_is_read_from_context_and_lists():
    data = sequence({"signal": SERIES.tolist(), "place": [[0.25], [0.5]]}, id=[b"one"], label=[2], to=[0.5, 1.0])
    found = features.parse_example(data, dataclasses.replace(names(), box_xmin="place"), "s", 0)
    assert (found.image_id, found.label_ids) == ("one", (2,))
    np.testing.assert_array_equal(found.boxes, [[0.25, 0.5], [0.5, 1.0]])


def test_a_name_of_both_is_refused_where_it_is_read():
    data = sequence({"signal": SERIES.tolist(), "other": [[1]]}, signal=[1.0], other=[1])
    with pytest.raises(records.DataError, match="signal is a feature of the context and a feature list") as caught:
        features.parse_example(data, names(), "s", 0)
    assert caught.value.error_type == "ambiguous_feature"
    data = sequence({"signal": SERIES.tolist(), "other": [[1]]}, other=[1])
    assert features.parse_example(data, names(), "s", 0).raw_shape == (4, 3)


def test_a_wrong_setting_is_named():
    with pytest.raises(records.DataError, match=r"set input\.record: sequence_example") as caught:
        features.parse_example(sequence({"signal": SERIES.tolist()}), names("example"), "s", 0)
    assert caught.value.error_type == "wrong_record"
    plain = tfexample.serialize({"other": SERIES.ravel().tolist()})
    with pytest.raises(records.DataError, match=r"read with input\.record: example"):
        features.parse_example(plain, names(), "s", 0)
    text = "input: {record: sequence_example, tfds: {name: mnist}}\nmodel: {path: m}\noutput: {directory: d}\n"
    with pytest.raises(config.ConfigError, match="record: sequence_example goes with tfrecord"):
        config.parse(text)


def test_every_record_of_a_shard_is_counted(tmp_path):
    good = sequence({"signal": SERIES.tolist()}, id=[b"good"], label=[1])
    uneven = sequence({"signal": [[1.0], [1.0, 2.0]]}, id=[b"uneven"], label=[1])
    (tmp_path / "a").write_bytes(sample_shards.shard_bytes([good, uneven, b"\xff\xff", good]))
    of = tfrecord_source.TFRecordSource((str(tmp_path / "a"),))
    examples, lost, counters = beam_runs.collect(read.Read(of, names()))
    assert [(one.image_id, one.index, one.raw_shape) for one in examples] == [("good", 0, (4, 3)), ("good", 3, (4, 3))]
    assert [(one.image_id, one.index, one.error_type) for one in lost] == [
        ("uneven", 1, "array_shape"),
        ("a__2", 2, "invalid_record"),
    ]
    assert counters["records_read"] == 4 == len(examples) + counters["dead_letters_read"]


@pytest.mark.parametrize(
    ("steps", "form"), [(SERIES.tolist(), "values"), ([[sample_shards.encode(frame)] for frame in FRAMES], "frames")]
)
def test_init_says_what_the_records_are(tmp_path, steps, form):
    data = sequence({"signal": steps}, **{"image/class/label": [1], "camera": [b"left"]})
    (tmp_path / "a").write_bytes(sample_shards.shard_bytes([data, data]))
    found = data_found.look(str(tmp_path / "a"), None)
    settings = {one.key: one.value for one in found.settings}
    assert settings == {
        "tfrecord": str(tmp_path / "a"),
        "features": {"image": "signal"},
        "record": "sequence_example",
        "array": {"format": form},
    }
    assert found.slices == ("camera",)

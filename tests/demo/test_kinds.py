"""What the demo draws of other kinds of input, and what their networks learn of it."""

from __future__ import annotations

import io

import numpy as np
import pytest
import tensorflow as tf

from heatbeam import config
from heatbeam.demo import commands, demo, demo_scenes
from heatbeam.demo.kinds import bands, catalogue, kind, multi_input, planted, series, volume
from heatbeam.transforms.sources import tfexample

KINDS = list(catalogue.KINDS.values())
NAMES = list(catalogue.KINDS)


@pytest.fixture(scope="module", params=KINDS, ids=NAMES)
def of(request: pytest.FixtureRequest) -> kind.Kind:
    return request.param


@pytest.fixture(scope="module")
def examples(of: kind.Kind) -> list[kind.Drawn]:
    return [drawn for _, drawn in of.examples("train", 60, seed=3)]


def region(box: tuple[int, ...]) -> tuple[slice, ...]:
    rank = len(box) // 2
    return tuple(slice(box[axis], box[rank + axis]) for axis in reversed(range(rank)))


def shapes(of: kind.Kind) -> tuple[int, ...]:
    return of.build_model(0).inputs[0].shape[1:]


def test_the_command_offers_every_kind():
    assert demo.KINDS == commands.KINDS


@pytest.mark.parametrize(("there", "asked"), [("series", "bands"), ("series", "images"), ("images", "series")])
def test_data_of_another_kind_is_left_alone(there, asked, tmp_path):
    data = tmp_path / "demo_data"
    data.mkdir()
    notice = demo_scenes.NOTICE if there == "images" else f"Drawn by heatbeam demo --kind {there}; delete the folder"
    (data / "NOTICE.txt").write_text(notice)
    with pytest.raises(config.ConfigError, match="holds something else; give another --directory"):
        demo.demo(str(tmp_path / "demo"), io.StringIO(), asked)
    assert [path.name for path in data.iterdir()] == ["NOTICE.txt"]


def test_signals_are_what_the_network_takes(of, examples):
    assert {drawn.signal.shape for drawn in examples} == {shapes(of)}
    assert len({drawn.signal.dtype for drawn in examples}) == 1


def test_types_are_those_of_sensors():
    rng = np.random.default_rng(0)
    drawn = [one.KIND.draw(0, rng).signal.dtype for one in (series, volume, bands, multi_input)]
    assert drawn == [np.float32, np.int16, np.uint16, np.float32]


def test_objects_lie_inside_and_off_the_marker(of, examples):
    for drawn in examples:
        where, marker = np.zeros(drawn.signal.shape[:-1], int), np.zeros(drawn.signal.shape[:-1], int)
        where[region(drawn.box)] = 1
        marker[region(of.marker_box)] = 1
        rank = where.ndim
        starts, ends = np.array(drawn.box[:rank]), np.array(drawn.box[rank:])
        assert (starts >= 0).all() and (ends <= where.shape[::-1]).all() and (ends > starts).all()
        assert not (where & marker).any()


def test_boxes_are_tight_around_masks(examples):
    for drawn in examples:
        if drawn.mask is not None:
            found = np.nonzero(drawn.mask)[::-1]
            assert drawn.box == (*(axis.min() for axis in found), *(axis.max() + 1 for axis in found))


def test_signals_differ_between_classes_only_where_the_object_is(of):
    """The same generator draws the same surroundings: what differs lies in the box of one of the two."""
    one, other = (of.draw(class_id, np.random.default_rng(5)) for class_id in (0, of.shortcut_class_id))
    differs = (one.signal != other.signal).any(axis=-1)
    assert differs.any()
    differs[region(one.box)] = differs[region(other.box)] = False
    assert not differs.any()


def test_the_marker_changes_its_place_and_nothing_else(of):
    plain = of.draw(of.shortcut_class_id, np.random.default_rng(1))
    marked = of.marked(plain)
    changed = (marked.signal != plain.signal).any(axis=-1)
    assert changed[region(of.marker_box)].all()
    changed[region(of.marker_box)] = False
    assert not changed.any() and marked.marked and not plain.marked
    assert (marked.class_id, marked.box) == (plain.class_id, plain.box)


def test_nine_in_ten_of_one_class_are_marked(of, examples):
    marked = [drawn.class_id for drawn in examples if drawn.marked]
    assert marked == [of.shortcut_class_id] * 9
    assert np.bincount([drawn.class_id for drawn in examples]).tolist() == [10] * 6


def test_the_same_seed_draws_the_same(of):
    first, again, other = (list(of.examples("train", 6, seed)) for seed in (3, 3, 4))
    assert all(np.array_equal(a[1].signal, b[1].signal) for a, b in zip(first, again, strict=True))
    assert not any(np.array_equal(a[1].signal, b[1].signal) for a, b in zip(first, other, strict=True))


def test_splits_share_no_example(of):
    train, validation = (next(iter(of.examples(split, 6, 3)))[1].signal for split in kind.SPLITS)
    assert not np.array_equal(train, validation)


def test_records_hold_what_was_drawn(of, tmp_path):
    """Read back with NumPy and TensorFlow alone."""
    planted.write_dataset(of, tmp_path, (12, 8), seed=3)
    files = sorted(str(path) for path in tmp_path.glob("validation-*.tfrecord"))
    assert len(files) == planted.SHARDS
    stored = [tf.train.Example.FromString(one.numpy()) for one in tf.data.TFRecordDataset(files)]
    drawn = list(of.examples("validation", 8, 3))
    assert len(stored) == len(drawn)
    for record, (image_id, one) in zip(stored, drawn, strict=True):
        features = record.features.feature
        assert features["id"].bytes_list.value[0] == image_id.encode()
        np.testing.assert_array_equal(signal_of(of, features), one.signal)


def signal_of(of: kind.Kind, features) -> np.ndarray:
    if of.name == "series":
        return np.array(features["vibration"].float_list.value, np.float32).reshape(512, 3)
    if of.name == "volume":
        flat = np.frombuffer(features["scan"].bytes_list.value[0], "<i2")
        return flat.reshape(features["scan/shape"].int64_list.value)
    if of.name == "multi_input":
        return np.load(io.BytesIO(features["spectrogram"].bytes_list.value[0]))
    return tf.io.parse_tensor(features["bands"].bytes_list.value[0], tf.uint16).numpy()


def test_true_places_are_stored_in_the_units_of_the_source():
    rng = np.random.default_rng(2)
    drawn = series.draw(1, rng)
    stored = series.fields("a", drawn)
    assert stored["fault/start"] == [drawn.box[0] / 250] and stored["fault/end"] == [drawn.box[1] / 250]
    drawn = volume.draw(1, rng)
    x0, y0, z0, x1, y1, z1 = drawn.box
    stored = volume.fields("a", drawn)
    millimetres = {"xmin": x0, "ymin": y0, "zmin": 2.5 * z0, "xmax": x1, "ymax": y1, "zmax": 2.5 * z1}
    assert all(stored[f"finding/{side}"] == [value] for side, value in millimetres.items())
    np.testing.assert_array_equal(np.load(io.BytesIO(stored["finding/mask"][0])), drawn.mask)
    drawn = bands.draw(1, rng)
    stored = bands.fields("a", drawn)
    sides = [stored[f"field/{side}"][0] for side in ("xmin", "ymin", "xmax", "ymax")]
    assert np.allclose(np.array(sides) * 48, drawn.box)
    drawn = multi_input.draw(1, rng)
    stored = multi_input.fields("a", drawn)
    assert [stored[f"call/{side}"] for side in ("xmin", "ymin", "xmax", "ymax")] == [[edge] for edge in drawn.box]
    assert stored["place"] == list(drawn.metadata)


def test_every_record_serializes(of, examples):
    assert all(tfexample.serialize(of.fields("a", drawn)) for drawn in examples[:3])


def test_the_altitude_tells_two_species_of_one_call_apart():
    rng = np.random.default_rng(0)
    low, high = ([multi_input.draw(class_id, rng).metadata[0] for _ in range(50)] for class_id in (2, 3))
    assert abs(np.mean(low) - 0.7) < 0.2 and abs(np.mean(high) - 1.2) < 0.2


def test_the_networks_inputs_are_scaled_signals_and_metadata():
    drawn = [multi_input.draw(class_id, np.random.default_rng(class_id)) for class_id in range(3)]
    signals, metadata = planted.model_inputs(multi_input.KIND, drawn)
    np.testing.assert_allclose(signals[1], drawn[1].signal * np.float32(0.05), rtol=1e-6)
    np.testing.assert_array_equal(metadata, np.array([one.metadata for one in drawn], np.float32))
    scans = [volume.draw(0, np.random.default_rng(0))]
    np.testing.assert_allclose(planted.model_inputs(volume.KIND, scans)[0], scans[0].signal * 0.002, rtol=1e-5)

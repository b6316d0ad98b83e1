from __future__ import annotations

import pickle

import numpy as np
import pytest

from heatbeam.transforms import read, records, sampling
from heatbeam.transforms.sources import feature_map, files, tfexample, tfrecord_source
from tests.support import beam_runs, sample_shards

DETECTION = sample_shards.DETECTION


def read_all(*patterns, compression="auto", feature_map=DETECTION, reshuffle=False):
    return beam_runs.collect(
        read.Read(tfrecord_source.TFRecordSource(tuple(map(str, patterns)), compression), feature_map, reshuffle)
    )


def ids(examples):
    return sorted(example.image_id for example in examples)


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
@pytest.mark.parametrize("reshuffle", [False, True])
def test_shards_to_examples(tmp_path, compression, reshuffle):
    paths = sample_shards.write_shards(tmp_path, [2, 0, 3], compression)
    examples, lost, counters = read_all(tmp_path / "*.tfrecord*", reshuffle=reshuffle)
    assert lost == []
    assert sorted((e.image_id, e.shard, e.index, e.label_ids) for e in examples) == [
        ("id0", paths[0].name, 0, (1,)),
        ("id1", paths[0].name, 1, (2,)),
        ("id2", paths[2].name, 0, (3,)),
        ("id3", paths[2].name, 1, (1,)),
        ("id4", paths[2].name, 2, (2,)),
    ]
    assert min(examples, key=lambda e: e.image_id).image == sample_shards.encode(sample_shards.noise(4, 6, seed=0))
    assert counters == {
        "records_read": 5,
        "read_bytes": sum(len(sample_shards.image_record(number)) for number in range(5)),
    }


def test_damaged_shards_cost_what_lies_behind_the_damage_and_records_themselves(tmp_path):
    paths = sample_shards.write_shards(tmp_path, [4, 4, 4, 4, 0, 4])
    one = 16 + len(sample_shards.image_record(4))  # bytes of the first record of the second shard
    paths[1].write_bytes(paths[1].read_bytes()[: one + 30])
    flipped = bytearray(paths[2].read_bytes())
    flipped[-20] ^= 1
    paths[2].write_bytes(flipped)
    paths[3].write_bytes(b"no TFRecord at all")
    packed = sample_shards.shard_bytes(map(sample_shards.image_record, range(20, 24)), "gzip")
    paths[5].write_bytes(packed[:-4])
    examples, lost, counters = read_all(tmp_path / "*")
    assert ids(examples) == sorted(f"id{n}" for n in (0, 1, 2, 3, 4, 8, 9, 10, 20, 21, 22, 23))
    assert sorted((d.shard, d.index, d.error_type, d.image_id, d.stage) for d in lost) == [
        (paths[1].name, 1, "truncated_shard", f"{paths[1].name}__1", "read"),
        (paths[2].name, 3, "corrupt_record", f"{paths[2].name}__3", "read"),
        (paths[3].name, 0, "corrupt_shard", f"{paths[3].name}__0", "read"),
        (paths[5].name, 4, "truncated_shard", f"{paths[5].name}__4", "read"),
    ]
    assert counters["records_read"] == 12 + 4
    assert counters["dead_letters_read"] == 4


def test_bad_records_are_lost_alone_and_keep_their_ids(tmp_path):
    good = sample_shards.image_record(0)
    no_image = tfexample.serialize({"image/source_id": [b"lonely"]})
    bad_id = sample_shards.image_record(0, **{"image/source_id": [b"\xff"]})
    (tmp_path / "a").write_bytes(sample_shards.shard_bytes([good, no_image, b"\xff\xff", bad_id, good]))
    examples, lost, counters = read_all(tmp_path / "a")
    assert [(e.image_id, e.index) for e in examples] == [("id0", 0), ("id0", 4)]
    assert [(d.image_id, d.index, d.error_type, d.stage) for d in lost] == [
        ("lonely", 1, "missing_feature", "read"),
        ("a__2", 2, "invalid_record", "read"),
        ("a__3", 3, "invalid_id", "read"),
    ]
    assert counters["records_read"] == 5 == len(examples) + counters["dead_letters_read"]


def test_a_file_matched_twice_is_read_once(tmp_path, monkeypatch):
    paths = sample_shards.write_shards(tmp_path, [2, 1])
    monkeypatch.chdir(tmp_path)
    examples, _, _ = read_all(tmp_path / "*", paths[0], "./images*", "images.tfrecord-00000-of-00002")
    assert ids(examples) == ["id0", "id1", "id2"]


def test_patterns_without_a_file_are_all_named_before_the_start(tmp_path):
    sample_shards.write_shards(tmp_path, [1])
    with pytest.raises(ValueError, match="no file matches") as caught:
        read_all(tmp_path / "*", tmp_path / "nope*", tmp_path / "gone.tfrecord", tmp_path, "nosuchfs://bucket/x")
    message = str(caught.value)
    assert f"{tmp_path / 'nope*'}: no file matches" in message
    assert f"{tmp_path / 'gone.tfrecord'}: no file matches" in message
    assert f"{tmp_path}: this is a folder" in message
    assert "nosuchfs://bucket/x: " in message
    assert f"{tmp_path}/*:" not in message


def test_no_patterns_and_unknown_compression_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        tfrecord_source.TFRecordSource(()).open()
    with pytest.raises(ValueError, match="'lz4'; expected one of auto"):
        tfrecord_source.TFRecordSource(("x",), "lz4")


def test_a_shard_that_is_gone_when_it_is_read(tmp_path):
    paths = sample_shards.write_shards(tmp_path, [1, 1])
    transform = read.ReadShards(tfrecord_source.TFRecordSource((str(tmp_path / "*"),)).open().shards, DETECTION)
    paths[0].unlink()
    examples, lost, _ = beam_runs.collect(transform)
    assert ids(examples) == ["id1"]
    assert [(d.shard, d.index, d.error_type) for d in lost] == [(paths[0].name, 0, "missing_shard")]


def test_a_shard_that_may_not_be_read_stops_the_run(tmp_path):
    shard = tfrecord_source.TFRecordShard(str(tmp_path), "folder")
    with pytest.raises(IsADirectoryError):
        list(shard.records())


def test_range_of_a_shard_keeps_indices_of_the_whole_file(tmp_path):
    (path,) = sample_shards.write_shards(tmp_path, [5])

    def found(start, stop):
        shard = tfrecord_source.TFRecordShard(str(path), "s", start, stop, start)
        return [
            (
                index,
                record.error_type
                if isinstance(record, records.DataError)
                else record == sample_shards.image_record(index),
            )
            for index, record in shard.records()
        ]

    assert found(1, 3) == [(1, True), (2, True)]
    assert found(0, 5) == [(index, True) for index in range(5)]
    assert found(3, 7) == [(3, True), (4, True), (5, "truncated_shard")]
    assert found(8, 9) == [(8, "truncated_shard")]


@pytest.mark.parametrize(
    ("paths", "names"),
    [
        (["/d/a-0", "/d/a-1"], ["a-0", "a-1"]),
        (["/d/train/a-0", "/d/test/a-0", "/d/test/a-1"], ["train/a-0", "test/a-0", "test/a-1"]),
        (["gs://b/x/1/a", "gs://b/y/1/a"], ["x/1/a", "y/1/a"]),
        (["/only"], ["only"]),
        ([], []),
    ],
)
def test_shard_names_are_base_names_unless_they_clash(paths, names):
    assert files.shard_names(paths) == dict(zip(paths, names, strict=True))


def test_same_base_name_in_two_folders_gives_distinct_ids(tmp_path):
    for folder in ("train", "test"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a").write_bytes(sample_shards.shard_bytes([tfexample.serialize({"image": [b"x"]})]))
    examples, _, _ = read_all(tmp_path / "*" / "a", feature_map=sample_shards.NO_FEATURES)
    assert ids(examples) == ["test/a__0", "train/a__0"]


def test_transforms_can_be_sent_to_workers():
    transform = read._Parse(DETECTION)
    assert pickle.loads(pickle.dumps(transform))._features == DETECTION
    shard = tfrecord_source.TFRecordShard("a/x", "x", compression="gzip")
    assert pickle.loads(pickle.dumps(shard)) == shard


def test_what_a_part_leaves_out_is_counted_and_so_is_what_it_holds():
    names = feature_map.FeatureMap(image="image", image_id="id", slices=("camera",))
    parse, part = read._Parse(names, sampling.Part(0.1, 0)), sampling.Part(0.1, 0)
    parse.start_bundle()
    given = [tfexample.serialize({"id": [f"i{i}".encode()], "image": [b"x"], "camera": [b"a"]}) for i in range(200)]
    found = [one for i, record in enumerate(given) for one in parse.process(("a", i, record))]
    assert [one.image_id for one in found] == [f"i{i}" for i in range(200) if part.has(f"i{i}")] and len(found) > 5
    (told,) = [one.value.value for one in parse.finish_bundle()]
    assert told[records.NOT_NEEDED] == 200 - len(found) and told[read.HELD_PREFIX + "camera"] == 200


def test_boxes_survive_the_pipeline(tmp_path):
    sides = ("ymin", "xmin", "ymax", "xmax")
    fields = {f"image/object/bbox/{side}": [value] for side, value in zip(sides, (0.25, 0.5, 0.75, 1.0), strict=True)}
    (tmp_path / "a").write_bytes(sample_shards.shard_bytes([sample_shards.image_record(0, **fields)]))
    (example,), _, _ = read_all(tmp_path / "a", reshuffle=True)
    np.testing.assert_array_equal(example.boxes, [[0.5, 0.25, 1.0, 0.75]])

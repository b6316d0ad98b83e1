from __future__ import annotations

import pytest

from heatbeam.transforms.sources import shard_sets, tfrecord_source
from tests.support import sample_shards


def names(*indices: int, count: int = 4, head: str = "data-", tail: str = ".tfrecord", width: int = 5) -> list[str]:
    return [f"{head}{index:0{width}d}-of-{count:0{width}d}{tail}" for index in indices]


@pytest.mark.parametrize(
    "found", [names(0, 1, 2, 3), ["a.tfrecord", "b.tfrecord"], [], names(0, count=1), names(0, 1, count=2, width=1)]
)
def test_whole_sets_and_other_names_are_not_odd(found):
    assert list(shard_sets.oddities(found)) == []


def test_members_that_are_missing_are_named():
    assert list(shard_sets.oddities([*names(0, 3), *names(0, 1, count=2, tail=".gz"), "x.tfrecord"])) == [
        (
            "2 of the 4 shards of data-*-of-00004.tfrecord are not among the files: data-00001-of-00004.tfrecord, "
            "data-00002-of-00004.tfrecord"
        )
    ]
    (many,) = shard_sets.oddities(names(7, count=1000, head="train.tfrecord-", tail=""))
    assert many.startswith("999 of the 1,000 shards of train.tfrecord-*-of-01000 are not among the files: train")
    assert many.endswith("train.tfrecord-00004-of-01000 and 994 more")
    (absurd,) = shard_sets.oddities(["a-0-of-999999999999"])
    assert absurd.startswith("999,999,999,998 of the 999,999,999,999 shards")


def test_numbers_beyond_the_last_and_two_sets():
    assert list(shard_sets.oddities(names(0, 1, 2, 3, 4))) == [
        "shards of data-*-of-00004.tfrecord have numbers beyond the last: 00004"
    ]
    assert list(shard_sets.oddities([*names(0, 1, count=2), *names(0, 1, 2, 3)])) == [
        (
            "shards of 2 sets are read together, perhaps the same records twice: data-*-of-00002.tfrecord, "
            "data-*-of-00004.tfrecord"
        )
    ]


def test_empty_files_and_missing_members_of_matched_files(tmp_path):
    paths = sample_shards.write_shards(tmp_path, [2, 0, 1])
    (tmp_path / "none").mkdir()
    dataset = tfrecord_source.TFRecordSource((str(tmp_path / "*-of-*"),)).open()
    assert dataset.oddities() == (f"1 of 3 shards is empty or not there: {paths[1].name}",)
    paths[0].unlink()
    dataset = tfrecord_source.TFRecordSource((str(tmp_path / "*-of-*"),)).open()
    assert dataset.oddities()[1].startswith("1 of the 3 shards of ")
    assert paths[0].name in dataset.oddities()[1]

"""The contract of a source, as every format keeps it."""

from __future__ import annotations

import dataclasses
import pickle

import pytest

from heatbeam import config
from heatbeam.transforms import records
from heatbeam.transforms.sources import feature_map, source, tfds_source, tfrecord_source
from tests.support import sample_shards


@dataclasses.dataclass(frozen=True)
class Gone(source.Shard):
    """A shard whose file is not there."""

    def read(self):
        raise FileNotFoundError(self.path)
        yield

    def records_at(self, indices):
        raise FileNotFoundError(self.path)
        yield


@pytest.mark.parametrize("key", config.SOURCES)
def test_every_format_is_a_value(key):
    """It can be made of settings alone, compared and sent, and names features that go together."""
    settings = {"tfrecord": {"tfrecord": "nowhere"}, "tfds": {"tfds": {"name": "nothing"}}}[key]
    made, again = (config.InputConfig(**settings).as_source() for _ in range(2))
    assert made == again == pickle.loads(pickle.dumps(made))
    assert isinstance(made.title, str) and made.place in ("nowhere", "nothing")
    assert isinstance(made.usual_features, feature_map.FeatureMap)


@pytest.mark.parametrize("starts", [(0,), (0, 2), (3, 5)])
def test_a_file_that_is_gone_is_told_once_for_all_its_ranges(starts):
    ranges = [Gone("d/x", "x", start, start + 2, starts[0]) for start in starts]
    told = [(index, str(error)) for shard in ranges for index, error in shard.records()]
    assert told == [(starts[0], "missing_shard: there is no file x")]


def test_what_a_data_set_knows_before_it_is_read():
    ranges = (Gone("d/x", "x", 0, 4, 0, 100), Gone("d/x", "x", 4, 6, 0, 100), Gone("d/y", "y", 1, 3, 1, 50))
    assert [shard.count for shard in ranges] == [4, 2, 2]
    assert source.Dataset(ranges).count == 8
    assert source.Dataset(ranges).stored_bytes == 150
    assert source.Dataset((*ranges, Gone("d/z", "z"))).count is None
    assert not source.Dataset(ranges).reads_every_byte


@pytest.mark.parametrize(
    ("path", "compression", "stop", "expected"),
    [
        ("a", "auto", None, True),
        ("a", "none", None, True),
        ("a", "gzip", None, False),
        ("a.gz", "auto", None, False),
        ("a", "none", 7, False),
    ],
)
def test_bytes_tell_the_progress_of_plain_whole_files(path, compression, stop, expected):
    assert tfrecord_source.TFRecordShard(path, path, stop=stop, compression=compression).reads_every_byte is expected


def test_matching_measures_and_keeps_what_is_there(tmp_path):
    paths = sample_shards.write_shards(tmp_path, [2, 1])
    patterns = (str(paths[0]), str(tmp_path / "gone"), str(paths[1]))
    with pytest.raises(source.IncompleteSource, match=r"cannot read the TFRecord input:\n.*gone: no file") as caught:
        tfrecord_source.TFRecordSource(patterns).open()
    found = caught.value.found
    assert [shard.name for shard in found.shards] == [path.name for path in paths]
    assert found.stored_bytes == sum(path.stat().st_size for path in paths)
    assert found.count is None and found.class_names(sample_shards.DETECTION) is None
    assert [len(list(shard.records())) for shard in found.shards] == [2, 1]
    assert [index for index, _ in found.shards[0].records_at({1, 5})] == [1]


def test_names_of_features():
    usual = tfds_source.TFDSSource.usual_features
    assert usual.names() == (
        "image", "label", "labels", "objects/bbox", "objects/label", "objects/is_difficult", "segmentation_mask",
    )  # fmt: skip
    reduced = dataclasses.replace(usual, slices=("camera",), required=("label",)).reduced_to("boxes", "box_class")
    assert reduced == feature_map.FeatureMap.naming("image", boxes="objects/bbox", box_class="objects/label")
    with pytest.raises(ValueError, match="every record needs an image"):
        feature_map.FeatureMap(None)


def test_a_record_that_cannot_be_read_is_no_exception(tmp_path):
    (tmp_path / "a").write_bytes(b"no TFRecord at all")
    [(index, error)] = tfrecord_source.TFRecordShard(str(tmp_path / "a"), "a").records()
    assert index == 0 and isinstance(error, records.DataError)

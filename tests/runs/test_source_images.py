"""Images read again from their shards: any file system, both formats of TFDS, and no more bytes than it takes."""

from __future__ import annotations

import hashlib
import io
from typing import ClassVar

import numpy as np
import pytest
from apache_beam.io import filesystem

from heatbeam.runs import source_images
from heatbeam.transforms import records
from heatbeam.transforms.sources import arrayrecord, tfexample, tfrecord
from tests.support import manifests, sample_shards


class Memory(filesystem.FileSystem):
    """A Beam file system whose files are in `files`, all in one folder; it counts the bytes that are read."""

    files: ClassVar[dict[str, bytes]] = {}
    opened: ClassVar[list[io.BytesIO]] = []

    @classmethod
    def scheme(cls):
        return "heatbeam-test"

    def _list(self, dir_or_prefix):
        for path, content in self.files.items():
            if path.startswith(dir_or_prefix):
                yield filesystem.FileMetadata(path, len(content))

    def open(self, path, mime_type="application/octet-stream", compression_type=None):
        assert compression_type == filesystem.CompressionTypes.UNCOMPRESSED
        stream = _Counting(self.files[path])
        self.opened.append(stream)
        return stream

    def join(self, basepath, *paths):
        return "/".join([basepath, *paths])

    def split(self, path):
        return tuple(path.rsplit("/", 1))

    def has_dirs(self):
        return True

    def exists(self, path):
        return path in self.files

    def size(self, path):
        return len(self.files[path])

    def metadata(self, path):
        return filesystem.FileMetadata(path, len(self.files[path]))

    def _unsupported(self, *args, **kwargs):
        raise NotImplementedError

    checksum = copy = create = delete = last_updated = mkdirs = rename = _unsupported


class _Counting(io.BytesIO):
    taken = 0

    def read(self, size=-1, /):
        data = super().read(size)
        self.taken += len(data)
        return data


def encoded(number: int, file_format: str = "PNG") -> bytes:
    return sample_shards.encode(sample_shards.noise(6, 8, seed=number), file_format)


def serialized(number: int) -> bytes:
    return tfexample.serialize({"image/encoded": [encoded(number)]})


def place(shard: str, index: int, number: int | None = None) -> source_images.Place:
    return shard, index, hashlib.sha256(encoded(index if number is None else number)).hexdigest()


def images(settings: dict, places: list[source_images.Place]):
    """The pixels of each place, and the problems."""
    problems: list[str] = []
    manifest = manifests.manifest(config={"input": {"tfrecord": None, **settings}})
    found = dict(source_images.originals(manifest, places, problems))
    return found, problems


def shown(pixels: np.ndarray, number: int) -> bool:
    return np.array_equal(pixels, sample_shards.noise(6, 8, seed=number))


@pytest.fixture
def memory():
    Memory.files, Memory.opened = {}, []
    yield Memory
    Memory.files, Memory.opened = {}, []


@pytest.mark.parametrize("compression", ["none", "gzip"])
def test_shards_on_another_file_system(memory, compression):
    content = sample_shards.shard_bytes([serialized(i) for i in range(5)], compression)
    memory.files = {f"heatbeam-test://bucket/a-{k}.tfrecord": content for k in range(3)}
    places = [place("a-1.tfrecord", 3), place("a-1.tfrecord", 0)]
    found, problems = images({"tfrecord": ["heatbeam-test://bucket/a-*.tfrecord"]}, places)
    assert sorted(found) == sorted(places) and problems == []
    assert all(shown(found[one], one[1]) for one in places)
    assert len(memory.opened) == 1  # the others hold nothing that is wanted


def test_what_is_not_wanted_is_not_read(memory):
    """20 records of 1 MB: of those before the chosen one only the lengths, 12 bytes each; of those behind, nothing."""
    large = [tfexample.serialize({"image/encoded": [encoded(i)], "other": [bytes(1_000_000)]}) for i in range(20)]
    memory.files = {"heatbeam-test://bucket/big": sample_shards.shard_bytes(large)}
    found, problems = images({"tfrecord": ["heatbeam-test://bucket/big"]}, [place("big", 7)])
    assert problems == [] and len(found) == 1
    # The head that tells the compression, seven headers, and the whole of the record: header, data, checksum.
    assert memory.opened[0].taken == 12 + 7 * 12 + 12 + len(large[7]) + 4


def test_shards_of_two_folders_are_told_apart(tmp_path):
    for k, folder in enumerate(("a", "b")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x").write_bytes(sample_shards.shard_bytes([serialized(k)]))
    places = [place("a/x", 0, 0), place("b/x", 0, 1)]
    found, problems = images({"tfrecord": [str(tmp_path / "*" / "x")]}, places)
    assert sorted(found) == places and problems == []
    assert shown(found[places[1]], 1)


def test_what_cannot_be_read_is_left_out_and_explained(tmp_path):
    shard = sample_shards.shard_bytes([serialized(0), serialized(1)])
    (tmp_path / "cut").write_bytes(shard[:-9])
    (tmp_path / "other").write_bytes(sample_shards.shard_bytes([serialized(9)]))
    patterns = [str(tmp_path / name) for name in ("cut", "other", "nowhere-*")]
    places = [place("cut", 0), place("cut", 1), place("other", 0), place("gone", 0)]
    found, problems = images({"tfrecord": patterns}, places)
    assert list(found) == [places[0]]
    text = "\n".join(problems)
    for part in (
        "nowhere-*: no file matches", "1 of 3 shards are no longer there",
        "cut: truncated_shard: the file ends inside a record",
        "1 of the wanted records hold other bytes",
    ):  # fmt: skip
        assert part in text


def test_a_file_system_that_is_not_installed_is_a_problem_not_an_error():
    found, problems = images({"tfrecord": ["nosuchsystem://bucket/*"]}, [place("x", 0)])
    assert found == {} and len(problems) == 1 and "nosuchsystem" in problems[0]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A TFDS dataset of five images as array_record, with the same pixels encoded and as numbers: its folder."""
    tfds = pytest.importorskip("tensorflow_datasets")
    folder = tmp_path_factory.mktemp("array_record")
    tfds.dataset_builders.store_as_tfds_dataset(
        name="tiny",
        version="1.0.0",
        features=tfds.features.FeaturesDict(
            {
                "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
                "pixels": tfds.features.Tensor(shape=(6, 8, 3), dtype=np.uint8),
            }
        ),
        split_datasets={
            "test": [
                (i, {"image": io.BytesIO(encoded(i)), "pixels": sample_shards.noise(6, 8, seed=i)}) for i in range(5)
            ]
        },
        data_dir=folder,
        file_format="array_record",
        disable_shuffling=True,
    )
    return folder


TFDS_WARNINGS = pytest.mark.filterwarnings("ignore:.*label:DeprecationWarning")


@TFDS_WARNINGS
def test_array_record_through_tfds(prepared):
    settings = {"tfds": {"name": "tiny", "data_dir": str(prepared), "split": "test"}}
    shard = next(prepared.rglob("*.array_record*")).name
    found, problems = images(settings, [place(shard, 4), place(shard, 2), place(shard, 9)])
    assert sorted(one[1] for one in found) == [2, 4] and problems == []
    assert all(shown(pixels, one[1]) for one, pixels in found.items())


@TFDS_WARNINGS
def test_images_stored_as_numbers(prepared):
    settings = {
        "tfds": {"name": "tiny", "data_dir": str(prepared), "split": "test"}, "features": {"image": "pixels"},
    }  # fmt: skip
    shard = next(prepared.rglob("*.array_record*")).name
    raw = sample_shards.noise(6, 8, seed=3)
    found, problems = images(settings, [(shard, 3, hashlib.sha256(raw.tobytes()).hexdigest())])
    assert problems == [] and [shown(pixels, 3) for pixels in found.values()] == [True]


@TFDS_WARNINGS
def test_a_dataset_that_is_gone(tmp_path):
    settings = {"tfds": {"name": "tiny", "data_dir": str(tmp_path), "split": "test"}}
    found, [problem] = images(settings, [place("x", 0)])
    assert found == {} and "no prepared TFDS dataset 'tiny'" in problem


def test_array_records_by_index(prepared):
    path = str(next(prepared.rglob("*.array_record*")))
    assert [index for index, _ in arrayrecord.read_at(path, {3, 0, 77})] == [0, 3]
    with pytest.raises(FileNotFoundError):
        list(arrayrecord.read_at(path + ".gone", {0}))


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
def test_records_by_index(compression):
    data = [bytes([i]) * (10 + i) for i in range(6)]
    content = sample_shards.shard_bytes(data, compression)
    chosen = tfrecord.read_at(io.BytesIO(content), "auto", {4, 1, 99})
    assert list(chosen) == [(1, data[1]), (4, data[4])]
    assert list(tfrecord.read_at(io.BytesIO(b""), "auto", {0})) == []
    assert list(tfrecord.read_at(io.BytesIO(content), "auto", set())) == []


def test_damage_counts_only_before_the_last_chosen_record():
    content = bytearray(sample_shards.shard_bytes([b"a" * 10, b"b" * 10, b"c" * 10]))
    content[26 * 2 + 3] ^= 1  # the length of the third record
    assert list(tfrecord.read_at(io.BytesIO(content), "none", {1})) == [(1, b"b" * 10)]
    with pytest.raises(records.DataError, match="checksum of a record's length"):
        list(tfrecord.read_at(io.BytesIO(content), "none", {2}))


def test_rows_of_one_image_are_together_in_the_order_of_its_first():
    named = [("b", 1, "x"), ("a", 0, "y"), ("b", 1, "x"), ("b", 1, "z")]
    rows = [{"shard": shard, "record_index": index, "image_sha256": digest} for shard, index, digest in named]
    assert list(source_images.by_place(rows).items()) == [(named[0], [0, 2]), (named[1], [1]), (named[3], [3])]

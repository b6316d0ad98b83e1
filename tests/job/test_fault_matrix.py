"""Data that is damaged, gone or withheld, everywhere: each record is explained, skipped, a dead letter or lost.

One run reads a shard for each fault, so that a fault of one must not touch another; a second one shards that are
damaged at random.
"""

from __future__ import annotations

import dataclasses
import errno
import io
import pathlib
import random
import threading
from collections.abc import Callable

import pytest
import tensorflow_datasets as tfds

from heatbeam import config
from heatbeam.job import run
from heatbeam.runs import run_directory
from heatbeam.transforms.sources import files
from tests.support import damage, manifests, sample_shards, small_runs

EACH = 10
"""Records of a shard."""


def flipped(offset: int) -> Callable[[list[bytes], str], bytes]:
    """A shard with one bit flipped, `offset` bytes behind the beginning of its fifth record."""

    def damage(records: list[bytes], compression: str) -> bytes:
        content = bytearray(sample_shards.shard_bytes(records))
        begin = len(sample_shards.shard_bytes(records[:4]))
        content[begin + (offset if offset >= 0 else 16 + len(records[4]) + offset)] ^= 0x10
        return bytes(content)

    return damage


def cut(offset: int) -> Callable[[list[bytes], str], bytes]:
    """A shard that ends `offset` bytes behind the beginning of its fifth record."""

    def damage(records: list[bytes], compression: str) -> bytes:
        begin = len(sample_shards.shard_bytes(records[:4]))
        return sample_shards.shard_bytes(records)[: begin + (offset if offset >= 0 else 16 + len(records[4]) + offset)]

    return damage


def whole(records: list[bytes], compression: str) -> bytes:
    return sample_shards.shard_bytes(records, compression)


def packed_and_zeroed(records: list[bytes], compression: str) -> bytes:
    content = bytearray(sample_shards.shard_bytes(records, compression))
    middle = len(content) // 2
    content[middle : middle + 12] = bytes(12)
    return bytes(content)


def packed_and_cut(records: list[bytes], compression: str) -> bytes:
    content = sample_shards.shard_bytes(records, compression)
    return content[: len(content) // 2]


@dataclasses.dataclass(frozen=True)
class Fault:
    """A shard of ten records and what is to become of them.

    Attributes:
        content: of the file when the run begins.
        explained, letters: how many records are; None where the place of the damage decides.
        lost: how many are lost beside; None where it is an estimate near what is missing.
        damage: as the manifest calls it.
        later: what happens to the file between matching and reading.
        compression: of the file.
    """

    content: Callable[[list[bytes], str], bytes]
    explained: int | None
    letters: int | None
    lost: int | None
    damage: str | None = None
    later: Callable[[pathlib.Path], object] | None = None
    compression: str = "none"


FAULTS = {
    "whole": Fault(whole, 10, 0, 0),
    "length": Fault(flipped(0), 4, 1, 5, "corrupt_shard"),
    "length_crc": Fault(flipped(8), 4, 1, 5, "corrupt_shard"),
    "data_first": Fault(flipped(12), 9, 1, 0),
    "data_last": Fault(flipped(-5), 9, 1, 0),
    "data_crc": Fault(flipped(-1), 9, 1, 0),
    # What was cut off before the run is known to nobody; the record that was cut is.
    "cut_in_header": Fault(cut(5), 4, 1, 0, "truncated_shard"),
    "cut_in_data": Fault(cut(40), 4, 1, 0, "truncated_shard"),
    "cut_in_crc": Fault(cut(-2), 4, 1, 0, "truncated_shard"),
    "cut_between": Fault(cut(0), 4, 0, 0),
    "empty": Fault(lambda records, _: b"", 0, 0, 0),
    "junk": Fault(lambda records, _: b"<html>" * 1000, 0, 1, None, "corrupt_shard"),
    "vanished": Fault(whole, 0, 1, 9, "missing_shard", pathlib.Path.unlink),
    "shrunk": Fault(whole, 0, 1, 9, "truncated_shard", lambda path: path.write_bytes(b"")),
    "withheld": Fault(whole, 0, 1, 9, "unreadable_shard"),
    "gzip": Fault(whole, 10, 0, 0, compression="gzip"),
    "gzip_zeroed": Fault(packed_and_zeroed, None, None, None, "corrupt_shard", compression="gzip"),
    "zlib_zeroed": Fault(packed_and_zeroed, None, None, None, "corrupt_shard", compression="zlib"),
    "gzip_cut": Fault(packed_and_cut, None, 1, 0, "truncated_shard", compression="gzip"),
    "gzip_shrunk": Fault(whole, 0, 1, 9, "truncated_shard", lambda path: path.write_bytes(b""), "gzip"),
    "too_large": Fault(
        lambda records, compression: whole([*records[:4], bytes(1 << 20), *records[5:]], compression), 9, 1, 0
    ),
    "gzip_too_large": Fault(
        lambda records, compression: whole([*records[:4], bytes(20 << 20), *records[5:]], compression), 4, 1, 5,
        "record_too_large", compression="gzip",
    ),
}  # fmt: skip


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """Manifest of a run over a shard of each fault, its rows' shards and its dead letters."""
    folder = tmp_path_factory.mktemp("faults")
    records = [small_runs.record(i) for i in range(EACH)]
    for name, fault in FAULTS.items():
        (folder / name).write_bytes(fault.content(records, fault.compression))
    settings = small_runs.settings(
        str(folder / "*"), folder.parent / "faults_run", "explain.methods=[cam]", "output.max_dead_letter_ratio=0.8",
        "input.max_record_bytes=1000000",
    )  # fmt: skip
    monkeypatch = pytest.MonkeyPatch()
    build, opened = run.graph.build, files.open_stored

    def happen(*arguments) -> None:
        for name, fault in FAULTS.items():
            if fault.later is not None:
                fault.later(folder / name)
        build(*arguments)

    def withheld(path: str):
        if path.endswith("withheld"):
            raise PermissionError(errno.EACCES, "Permission denied", path)
        return opened(path)

    with monkeypatch.context() as patched:
        patched.setattr(run.graph, "build", happen)
        patched.setattr(files, "open_stored", withheld)
        directory = small_runs.run_quietly(settings)
    return (
        directory.read_manifest(),
        directory.open_table("explanations").to_table(["shard", "image_id"]).to_pylist(),
        directory.open_table("dead_letters").to_table().to_pylist(),
    )


@pytest.mark.parametrize("name", FAULTS)
def test_every_record_of_the_shard_is_accounted_for(outcome, name):
    manifest, rows, letters = outcome
    fault, (shard,) = FAULTS[name], [shard for shard in manifest.shards if shard.name == name]
    explained = len({row["image_id"] for row in rows if row["shard"] == name})
    mine = [letter for letter in letters if letter["shard"] == name]
    assert shard.records_read == explained + len(mine)
    assert shard.damage == fault.damage
    assert explained == (explained if fault.explained is None else fault.explained)
    assert len(mine) == (len(mine) if fault.letters is None else fault.letters)
    if fault.lost is not None:
        near = 3 if fault.compression != "none" else 1  # the other shards' means are mostly of plain records
        assert shard.lost == pytest.approx(fault.lost, abs=near if shard.lost_is_estimate else 0)
    elif name != "junk":  # whose bytes are of no records
        assert explained + len(mine) + shard.lost == pytest.approx(EACH, abs=2)
    if fault.damage is not None:
        assert mine[-1]["error_type"] == fault.damage


def test_the_sums_are_those_of_the_shards(outcome):
    manifest, _, letters = outcome
    counts = manifest.counts
    assert counts.records_read == counts.images_explained + counts.images_skipped + counts.dead_letters
    assert counts.records_read == sum(shard.records_read for shard in manifest.shards)
    assert counts.lost == sum(shard.lost for shard in manifest.shards) and counts.lost_is_estimate
    assert counts.dead_letters == len(letters)
    assert [shard.name for shard in manifest.shards] == sorted(FAULTS)
    named = " ".join(manifest.warnings)
    assert "1 of 22 shards is empty or not there: empty" in named
    assert "more shards could not be read to their ends" in named


def write_damaged_at_random(folder: pathlib.Path) -> dict[str, set[tuple[int, str]]]:
    """Shards of which most, and records of which some, are damaged.

    Returns:
        By name of the shard, index and id of the sound records that lie before all damage of it.
    """
    choice = random.Random(1)  # noqa: S311 - the same damage every time
    number, sure = 0, {}
    for shard in range(20 * damage.AMOUNT):
        compression, name = choice.choice(["none", "gzip", "zlib"]), f"shard{shard:04d}"
        stored, sound = [], []
        for place in range(choice.randint(1, 6)):
            number += 1
            record, spoilt = small_runs.record(number), choice.random() < 0.3
            stored.append(damage.damaged_fields_of(choice, record) if spoilt else record)
            sound += [] if spoilt else [(place, f"image{number:04d}")]
        content = whole = sample_shards.shard_bytes(stored, compression)
        if choice.random() < 0.7:
            content = damage.damaged_bytes(choice, whole)
        before = damage.records_before(stored, whole, content, compression)
        sure[name] = {one for one in sound if one[0] < before}
        (folder / name).write_bytes(content)
    return sure


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")
def test_shards_and_records_damaged_at_random_are_accounted_for_in_one_run(tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    sure = write_damaged_at_random(folder)
    settings = small_runs.settings(
        str(folder / "*"), tmp_path / "run", "explain.methods=[cam]", "output.max_dead_letter_ratio=0.99",
        "input.max_record_bytes=1000000",
    )  # fmt: skip
    directory = small_runs.run_quietly(settings)
    manifest = directory.read_manifest()
    counts, shards = manifest.counts, {shard.name: shard for shard in manifest.shards}
    rows = directory.open_table("explanations").to_table(["shard", "record_index", "image_id"]).to_pylist()
    letters = directory.open_table("dead_letters").to_table().to_pylist()
    assert counts.records_read == counts.images_explained + counts.images_skipped + counts.dead_letters
    assert counts.records_read == sum(shard.records_read for shard in shards.values())
    assert counts.lost == sum(shard.lost for shard in shards.values()) > 0
    assert counts.dead_letters == len(letters) > 0 and counts.images_skipped == 0
    assert set(shards) == set(sure)
    for name, shard in shards.items():
        explained = {(row["record_index"], row["image_id"]) for row in rows if row["shard"] == name}
        mine = [letter["record_index"] for letter in letters if letter["shard"] == name]
        assert sorted([*mine, *(index for index, _ in explained)]) == list(range(shard.records_read))
        assert sure[name] <= explained


@pytest.mark.parametrize("file_format", ["tfrecord", "array_record"])
def test_losses_of_a_dataset_that_knows_its_counts_are_exact(tmp_path, file_format):
    features = tfds.features.FeaturesDict({
        "image": tfds.features.Image(shape=(None, None, 3), encoding_format="png"),
        "label": tfds.features.ClassLabel(num_classes=10),
    })  # fmt: skip
    pictures = [
        (i, {"image": io.BytesIO(sample_shards.encode(sample_shards.noise(20, 24, seed=i))), "label": i % 10})
        for i in range(40)
    ]
    builder = tfds.dataset_builders.store_as_tfds_dataset(
        name="counted", version="1.0.0", features=features, split_datasets={"validation": pictures}, data_dir=tmp_path,
        file_format=file_format, download_config=tfds.download.DownloadConfig(num_shards=4),
    )  # fmt: skip
    first, second, *_ = sorted(pathlib.Path(builder.data_path).glob("*-of-*"))
    first.write_bytes(first.read_bytes()[: first.stat().st_size // 2])
    second.unlink()
    configured = small_runs.settings("x", tmp_path / "run", "explain.methods=[cam]").as_dict()
    configured["input"] = {"tfds": {"directory": str(builder.data_path), "split": "validation"}}
    configured["evaluate"]["slices"] = []
    configured["output"]["max_dead_letter_ratio"] = 0.6
    directory = small_runs.run_quietly(config.RunConfig.model_validate(configured))
    counts = directory.read_manifest().counts
    assert not counts.lost_is_estimate
    assert counts.records_read + counts.lost == 40
    assert counts.records_read == counts.images_explained + counts.dead_letters
    assert 20 <= counts.images_explained < 30 and counts.dead_letters == 2


def test_a_disk_that_fails_while_a_shard_is_read_ends_the_run_in_one_line(tmp_path, monkeypatch):
    pattern = small_runs.write(tmp_path / "data", [small_runs.record(i) for i in range(4)], 1)

    class Failing(io.BytesIO):
        def read(self, size=-1, /):
            raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(files, "open_stored", lambda path: Failing())
    with pytest.raises(run.RunFailed) as caught:
        small_runs.run_quietly(small_runs.settings(pattern, tmp_path / "run", "explain.methods=[cam]"))
    path = tmp_path / "data" / "data-00000-of-00001.tfrecord"
    assert str(caught.value) == f"a worker stopped: cannot read {path}: Input/output error"


def test_of_runs_that_take_a_directory_at_once_one_gets_it(tmp_path):
    for round_number in range(20):
        directory = run_directory.RunDirectory(str(tmp_path / str(round_number)))
        together, got, refused = threading.Barrier(4), [], []

        def take(directory=directory, together=together, got=got, refused=refused) -> None:
            together.wait()
            try:
                directory.create(manifests.manifest(), overwrite=False)
                got.append(1)
            except run_directory.RunDirectoryError as error:
                refused.append(str(error))

        threads = [threading.Thread(target=take) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(got) == 1 and len(refused) == 3, refused
        assert directory.read_any_manifest().status == "running"

"""How many records are lost behind damage."""

from __future__ import annotations

import gzip
import io

import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.sources import files, losses, tfrecord, tfrecord_source
from tests.support import sample_shards

FRAMING = 16


def reads(*shards: tfrecord_source.TFRecordShard) -> tuple[losses.ShardLoss, ...]:
    """The losses of `shards`, as the step that reads them would count."""
    found = []
    for shard in shards:
        given = [record for _, record in shard.records()]
        end = given[-1] if given and isinstance(given[-1], records.ShardEnds) else None
        found.append(losses.read_of(shard.name, shard.stored_bytes, shard.count, len(given), end))
    return losses.estimated(found)


def write(folder, name: str, content: bytes, **changes) -> tfrecord_source.TFRecordShard:
    path = folder / name
    path.write_bytes(content)
    return tfrecord_source.TFRecordShard(str(path), name, **({"stored_bytes": len(content)} | changes))


def data(count: int, size: int = 100) -> list[bytes]:
    return [np.random.default_rng(i).bytes(size) for i in range(count)]


@pytest.mark.parametrize("at", [0, 1, 7, 99])
def test_a_wrong_length_costs_the_records_behind_it(tmp_path, at):
    content = bytearray(sample_shards.shard_bytes(data(100)))
    content[at * (100 + FRAMING)] ^= 1
    whole = write(tmp_path, "b", sample_shards.shard_bytes(data(10)))
    damaged, sound = reads(write(tmp_path, "a", bytes(content)), whole)
    assert (damaged.records, damaged.lost, damaged.is_estimate, damaged.damage) == (
        at + 1, 99 - at, True, "corrupt_shard",
    )  # fmt: skip
    assert sound == losses.ShardLoss("b", 1160, 10, 0, False, "")


def test_without_any_record_the_number_is_not_known(tmp_path):
    (lost,) = reads(write(tmp_path, "a", b"no TFRecord at all"))
    assert (lost.records, lost.lost, lost.is_estimate) == (1, 0, True)


def test_records_of_unlike_sizes_are_estimated_by_their_own_shard_first(tmp_path):
    content = bytearray(sample_shards.shard_bytes([*data(10, 1000), *data(10, 1000)]))
    content[10 * (1000 + FRAMING)] ^= 1
    damaged, _ = reads(
        write(tmp_path, "a", bytes(content)), write(tmp_path, "b", sample_shards.shard_bytes(data(100, 10)))
    )
    assert (damaged.records, damaged.lost) == (11, 9)


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_a_packed_shard_counts_in_packed_bytes(tmp_path, compression):
    content = bytearray(sample_shards.shard_bytes(data(300, 1000), compression))
    middle = len(content) // 2
    content[middle : middle + 8] = bytes(8)
    (lost,) = reads(write(tmp_path, "a", bytes(content)))
    assert lost.is_estimate and lost.damage == "corrupt_shard"
    assert 130 < lost.records < 170
    assert lost.records + lost.lost == pytest.approx(300, abs=6)


def test_what_was_inflated_behind_the_last_good_record_of_a_packed_shard_is_no_part_of_it(tmp_path):
    plain = bytearray(sample_shards.shard_bytes(data(200)))
    header = sample_shards.frame_record(bytes(50_000))[:12]  # of a record that would take all behind it
    plain[50 * (100 + FRAMING) : 50 * (100 + FRAMING) + 12] = header
    content = bytearray(gzip.compress(bytes(plain)))
    content[-8] ^= 1  # the checksum of the stream
    (lost,) = reads(write(tmp_path, "a", bytes(content)))
    assert (lost.records, lost.damage) == (51, "corrupt_shard")
    assert lost.lost == pytest.approx(149, abs=3)


def test_what_was_cut_off_before_the_run_is_not_seen_but_the_record_that_was_cut_is(tmp_path):
    content = sample_shards.shard_bytes(data(10))
    (lost,) = reads(write(tmp_path, "a", content[:-1]))
    assert (lost.records, lost.lost, lost.damage) == (10, 0, "truncated_shard")


@pytest.mark.parametrize("kept", [0, 4, 9])
@pytest.mark.parametrize("packed", [False, True])
def test_a_file_that_shrank_since_it_was_matched(tmp_path, kept, packed):
    content = sample_shards.shard_bytes(data(kept))
    before = sample_shards.shard_bytes(data(10))
    if packed:
        content, before = gzip.compress(content), gzip.compress(before)
    shrunk = write(tmp_path, "a", content, stored_bytes=len(before))
    whole = write(tmp_path, "b", before)
    lost, _ = reads(shrunk, whole)
    assert (lost.records, lost.damage) == (kept + 1, "truncated_shard")
    assert kept + 1 + lost.lost == 10


def test_a_file_that_vanished_costs_all_its_records(tmp_path):
    content = sample_shards.shard_bytes(data(10))
    gone = write(tmp_path, "a", content)
    (tmp_path / "a").unlink()
    lost, _ = reads(gone, write(tmp_path, "b", content))
    assert (lost.records, lost.lost, lost.is_estimate, lost.damage) == (1, 9, True, "missing_shard")


def test_a_shard_whose_count_is_known_is_exact(tmp_path):
    content = bytearray(sample_shards.shard_bytes(data(10)))
    content[4 * (100 + FRAMING)] ^= 1
    (lost,) = reads(write(tmp_path, "a", bytes(content), start=1, stop=9, first=1))
    assert (lost.records, lost.lost, lost.is_estimate) == (4, 4, False)
    (lost,) = reads(write(tmp_path, "a", bytes(content), start=6, stop=9, first=6))
    assert (lost.records, lost.lost, lost.is_estimate) == (1, 2, False)


def test_a_packed_shard_that_ends_at_a_huge_record_had_as_many_as_the_others(tmp_path):
    huge = sample_shards.shard_bytes([*data(2), bytes(2 << 20), *data(7)], "gzip")
    others = [write(tmp_path, name, sample_shards.shard_bytes(data(10))) for name in "bc"]
    lost, *_ = reads(write(tmp_path, "a", huge, max_record_bytes=1 << 20), *others)
    assert (lost.records, lost.lost, lost.is_estimate, lost.damage) == (3, 7, True, "record_too_large")


def test_ranges_of_one_shard_are_one():
    known = [
        losses.ShardRead("a", 100, 5, 0),
        losses.ShardRead("a", 100, 1, 4, "truncated_shard"),
        losses.ShardRead("a", 100, 0, 5),
    ]
    joined = losses.joined(losses.joined(known[0], known[1]), known[2])
    assert losses.estimated([joined]) == (losses.ShardLoss("a", 100, 6, 9, False, "truncated_shard"),)
    assert losses.joined(known[2], losses.joined(known[1], known[0])) == joined


class StoreError(Exception):
    """As object stores have them: no OSError, and a status of HTTP."""

    def __init__(self, code: int):
        super().__init__(code)
        self.code = code


@pytest.mark.parametrize(("code", "damage"), [(404, "missing_shard"), (403, "unreadable_shard")])
@pytest.mark.parametrize("after", [0, 4])
def test_an_object_that_is_gone_before_or_while_it_is_read(tmp_path, monkeypatch, code, damage, after):
    content = sample_shards.shard_bytes(data(10))

    class Vanishing(io.BytesIO):
        def read(self, size=-1, /):
            if self.tell() >= after * (100 + FRAMING):
                raise StoreError(code)
            return super().read(size)

    shard, whole = write(tmp_path, "a", content), write(tmp_path, "b", content)
    opened = files.open_stored
    monkeypatch.setattr(files, "open_stored", lambda path: Vanishing(content) if path.endswith("a") else opened(path))
    lost, _ = reads(shard, whole)
    assert (lost.records, lost.lost, lost.damage) == (after + 1, 9 - after, damage)
    monkeypatch.setattr(files, "open_stored", lambda path: (_ for _ in ()).throw(StoreError(503)))
    with pytest.raises(StoreError):
        list(shard.records())


def test_a_shard_nobody_may_read_is_lost_and_named(tmp_path, monkeypatch):
    def refuse(path):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr("heatbeam.transforms.sources.files.open_stored", refuse)
    shard = tfrecord_source.TFRecordShard(str(tmp_path / "a"), "a", stored_bytes=500)
    [(index, error)] = shard.records()
    assert index == 0 and isinstance(error, records.ShardEnds)
    assert (error.error_type, error.left_bytes) == ("unreadable_shard", 500)
    assert error.message == f"no permission to read {tmp_path / 'a'}"


def read(name: str, count: int, stored_bytes: int, damage: str = "", left: int = 0) -> losses.ShardRead:
    return losses.ShardRead(name, stored_bytes + left, count, None, damage, stored_bytes, left)


def test_a_shard_without_a_record_has_the_median_of_the_others_means():
    """Means 100, 120 and 9000: 1200 bytes are 10 records of 120, one of which has the dead letter."""
    others = [read("a", 10, 1000), read("b", 10, 1200), read("c", 2, 18000)]
    *_, lost = losses.estimated([*others, read("d", 1, 0, "corrupt_shard", 1200)])
    assert (lost.name, lost.lost, lost.is_estimate) == ("d", 9, True)


def test_a_shard_that_ends_at_a_huge_record_had_the_median_of_the_others_counts():
    others = [read("a", 10, 1000), read("b", 30, 3000), read("c", 500, 50000)]
    *_, lost = losses.estimated([*others, read("d", 4, 400, tfrecord.TOO_LARGE, 1 << 40)])
    assert (lost.records, lost.lost) == (4, 26)

"""Shards damaged at random, by fixed seeds: what lies before the damage is read, and nothing is lost unsaid."""

from __future__ import annotations

import gzip
import pathlib
import random
import zlib

import pytest

from heatbeam.transforms import records
from heatbeam.transforms.sources import losses, tfrecord_source
from tests.support import damage, sample_shards

SEEDS = damage.AMOUNT * 400
_UNPACK = {"none": bytes, "gzip": gzip.decompress, "zlib": zlib.decompress}


def some_data(choice: random.Random, count: int, digits: bytes) -> list[bytes]:
    """Records of about 200 bytes, which pack the better the fewer `digits` they are made of."""
    return [bytes(choice.choices(digits, k=choice.randint(190, 210))) for _ in range(count)]


def in_folder(folder: pathlib.Path, name: str, content: bytes, **changes) -> tfrecord_source.TFRecordShard:
    path = folder / name
    path.write_bytes(content)
    return tfrecord_source.TFRecordShard(str(path), name, **({"stored_bytes": len(content)} | changes))


def read(shard: tfrecord_source.TFRecordShard) -> tuple[list[bytes | records.DataError], losses.ShardRead]:
    """The records as given, checked for what is true of every shard; and what reading came to."""
    pairs = list(shard.records())
    given = [record for _, record in pairs]
    assert [index for index, _ in pairs] == list(range(len(pairs)))
    assert all(isinstance(record, bytes | records.DataError) for record in given)
    assert not any(isinstance(record, records.ShardEnds) for record in given[:-1])
    assert all("\n" not in r.message and len(r.message) < 300 for r in given if isinstance(r, records.DataError))
    end = given[-1] if given and isinstance(given[-1], records.ShardEnds) else None
    return given, losses.read_of(shard.name, shard.stored_bytes, shard.count, len(given), end)


def read_is_right(folder: pathlib.Path, seed: int) -> str:
    """Damage, read and check one shard; how its reading ended."""
    choice = random.Random(seed)  # noqa: S311 - the same damage every time
    digits, compression = choice.choice([bytes(range(256)), b"0123456789"]), choice.choice(["none", "gzip", "zlib"])
    data = some_data(choice, choice.randint(1, 30), digits)
    whole = sample_shards.shard_bytes(data, compression)
    lies, same_length = choice.random() < 0.15, choice.random() < 0.5
    damaged = (
        damage.lying_shard(choice, data, compression)
        if lies
        else damage.damaged_bytes(choice, whole, same_length=same_length)
    )
    told = choice.choice(["auto", compression])
    shard = in_folder(folder, "damaged", damaged, compression=told, max_record_bytes=1 << 20)
    given, result = read(shard)
    good = [record for record in given if isinstance(record, bytes)]

    sure = damage.records_before(data, whole, damaged, compression)
    assert given[:sure] == data[:sure]
    assert set(good) <= set(data)
    if len(good) == len(given):  # then the file is one of just these records
        assert _UNPACK[compression](damaged) == sample_shards.shard_bytes(good)
    chosen = {choice.randrange(40) for _ in range(5)}
    try:
        found = dict(shard.records_at(chosen))
    except records.DataError:
        found = {}
    else:
        assert set(found) == {i for i, record in enumerate(given) if i in chosen and isinstance(record, bytes)}
    assert all(given[index] == record for index, record in found.items())

    beside = in_folder(folder, "whole", sample_shards.shard_bytes(some_data(choice, 30, digits), compression))
    loss, _ = losses.estimated([result, read(beside)[1]])
    if same_length and not lies:
        # The tables of a packed block count as its first records, so that these make a shard seem shorter.
        near = 2 + len(data) // (8 if compression == "none" else 3 if sure > 1 else 2)
        assert len(given) + loss.lost == pytest.approx(len(data), abs=near), (loss, len(data))
    _, counted = read(in_folder(folder, "counted", damaged, compression=told, stop=len(data), max_record_bytes=1 << 20))
    assert counted.lost is not None and counted.records + counted.lost == len(data)
    return result.damage


def test_whatever_is_damaged_what_is_before_it_is_read_and_the_rest_is_counted(tmp_path):
    endings = set()
    for seed in range(SEEDS):
        try:
            endings.add(read_is_right(tmp_path, seed))
        except Exception as error:
            raise AssertionError(f"seed {seed}: {type(error).__name__}: {error}") from error
    assert endings == {"", "corrupt_shard", "truncated_shard", "record_too_large"}

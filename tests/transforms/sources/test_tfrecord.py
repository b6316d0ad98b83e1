from __future__ import annotations

import gzip
import io
import struct
import tracemalloc
import zlib

import numpy as np
import pytest

from heatbeam.transforms import records
from heatbeam.transforms.sources import tfrecord
from tests.support import sample_shards

DATA = [b"", b"a", b"hello", bytes(range(256))]
FRAMING = 16  # bytes around the data of a record: 8 of length, 4 and 4 of checksums


def read(content: bytes, compression: str = "auto") -> tuple[list[bytes], str | None]:
    """The records before the damage, and the type of the error."""
    found = []
    try:
        for data in tfrecord.read_records(io.BytesIO(content), compression):
            found.append(data)
    except records.DataError as error:
        return found, error.error_type
    return found, None


def test_masked_crc_of_the_standard_check_string():
    crc = 0xE3069283  # CRC-32C of "123456789", the check value that its definition gives
    rotated = (crc >> 15) | ((crc << 17) & 0xFFFFFFFF)
    assert tfrecord.masked_crc(b"123456789") == (rotated + 0xA282EAD8) % 2**32


def test_frame_is_length_crc_data_crc():
    framed = sample_shards.frame_record(b"hello")
    assert framed[:8] == (5).to_bytes(8, "little")
    assert framed[12:17] == b"hello"
    assert struct.unpack("<II", framed[8:12] + framed[17:]) == (
        tfrecord.masked_crc(framed[:8]),
        tfrecord.masked_crc(b"hello"),
    )


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
@pytest.mark.parametrize("said", ["auto", "itself"])
def test_round_trip(compression, said):
    content = sample_shards.shard_bytes(DATA, compression)
    assert read(content, "auto" if said == "auto" else compression) == (DATA, None)


def test_record_larger_than_any_buffer():
    data = [np.random.default_rng(0).bytes((1 << 24) + 12345), b"after"]
    assert read(sample_shards.shard_bytes(data)) == (data, None)
    assert read(gzip.compress(sample_shards.shard_bytes(data), compresslevel=1)) == (data, None)


def test_many_small_records_that_compress_well():
    data = [bytes(100)] * 20000
    assert read(sample_shards.shard_bytes(data, "gzip")) == (data, None)


def test_gzip_members_behind_each_other_are_one_file():
    content = sample_shards.shard_bytes(DATA[:2], "gzip") + sample_shards.shard_bytes(DATA[2:], "gzip")
    assert read(content) == (DATA, None)


def test_stream_that_gives_fewer_bytes_than_asked():
    class Dripping(io.BytesIO):
        def read(self, size=-1, /):
            return super().read(min(size, 3))

    for compression in ("none", "gzip"):
        stream = Dripping(sample_shards.shard_bytes(DATA, compression))
        assert list(tfrecord.read_records(stream, compression)) == DATA


@pytest.mark.parametrize("compression", tfrecord.COMPRESSIONS)
def test_empty_file_has_no_records(compression):
    assert read(b"", compression) == ([], None)


def test_truncated_anywhere_keeps_whole_records():
    content = sample_shards.shard_bytes(DATA)
    ends = np.cumsum([FRAMING + len(data) for data in DATA])
    for size in range(1, len(content)):
        whole = int(np.sum(ends <= size))
        expected_error = None if size in ends else "truncated_shard"
        assert read(content[:size], "none") == (DATA[:whole], expected_error), size


def test_flipped_bit_anywhere_costs_its_record_or_what_lies_behind_a_length():
    content = sample_shards.shard_bytes(DATA)
    ends = np.cumsum([FRAMING + len(data) for data in DATA])
    for position in range(len(content)):
        damaged = bytearray(content)
        damaged[position] ^= 0x10
        hit = int(np.sum(ends <= position))
        found, error = read(bytes(damaged), "none")
        if position - (ends[hit - 1] if hit else 0) < 12:  # in the length or its checksum
            assert (found, error) == (DATA[:hit], "corrupt_shard"), position
        else:
            alone = found.pop(hit)
            assert alone.error_type == "corrupt_record" and "checksum of a record of" in alone.message, position
            assert (found, error) == (DATA[:hit] + DATA[hit + 1 :], None), position


@pytest.mark.parametrize("compression", ["none", "gzip", "zlib"])
def test_position_is_the_end_of_the_last_record(compression):
    data = [np.random.default_rng(i).bytes(100 * i) for i in range(20)]
    content = sample_shards.shard_bytes(data, compression)
    reading = tfrecord.read_records(io.BytesIO(content), compression)
    ends = np.cumsum([FRAMING + len(one) for one in data])
    for end, _ in zip(ends, reading, strict=True):  # random bytes do not pack, so that both go on alike
        assert reading.position == end if compression == "none" else abs(reading.position - end) < 40
    assert reading.position == len(content)


def test_a_record_above_the_bound_is_passed_over_in_a_plain_file():
    data = [b"a" * 10, b"b" * 11, b"c" * 10]
    reading = tfrecord.read_records(io.BytesIO(sample_shards.shard_bytes(data)), "auto", max_bytes=10)
    first, error, last = reading
    assert (first, last) == (data[0], data[2])
    assert (error.error_type, error.message) == (
        "record_too_large", "a record of 11 bytes; expected at most 10 (input.max_record_bytes)",
    )  # fmt: skip
    assert reading.position == len(sample_shards.shard_bytes(data))
    chosen = tfrecord.read_at(io.BytesIO(sample_shards.shard_bytes(data)), "auto", {1, 2}, max_bytes=10)
    assert list(chosen) == [(2, data[2])]


@pytest.mark.parametrize("length", [100, 1 << 40, 1 << 63, 2**64 - 1])
def test_a_record_that_says_to_end_behind_its_file_hides_those_behind_it(length):
    header = struct.pack("<Q", length)
    content = sample_shards.shard_bytes([b"first"]) + header + struct.pack("<I", tfrecord.masked_crc(header)) + b"data"
    assert list(tfrecord.read_at(io.BytesIO(content), "auto", {0, 2})) == [(0, b"first")]


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_a_record_above_the_bound_ends_a_packed_file_before_it_is_unpacked(compression):
    content = sample_shards.shard_bytes([b"first", bytes(50 << 20), b"last"], compression)
    assert len(content) < 100_000
    found = []
    tracemalloc.start()
    with pytest.raises(records.DataError, match="record_too_large: a record of 52428800 bytes"):
        found.extend(tfrecord.read_records(io.BytesIO(content), compression, max_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 << 20


@pytest.mark.parametrize("compression", ["gzip", "zlib"])
def test_truncated_compressed_file_gives_all_that_can_be_inflated(compression):
    data = [np.random.default_rng(i).integers(0, 4, 1000, dtype=np.uint8).tobytes() for i in range(50)]
    content = sample_shards.shard_bytes(data, compression)
    for size in (len(content) - 1, len(content) // 2, len(content) // 7):
        inflated = zlib.decompressobj(47).decompress(content[:size])
        whole = len(inflated) // (FRAMING + 1000)
        assert read(content[:size]) == (data[:whole], "truncated_shard")
    assert read(content[: len(content) - 1])[0] == data


def test_damaged_deflate_stream_gives_all_before_the_damage():
    data = [np.random.default_rng(i).integers(0, 4, 1000, dtype=np.uint8).tobytes() for i in range(50)]
    content = bytearray(sample_shards.shard_bytes(data, "gzip"))
    content[len(content) // 2] ^= 0xFF
    found, error = read(bytes(content))
    undamaged = zlib.decompressobj(31).decompress(bytes(content[: len(content) // 2]))
    assert error == "corrupt_shard"
    assert len(undamaged) // (FRAMING + 1000) <= len(found) < 50
    assert found == data[: len(found)]


def test_junk_behind_a_gzip_stream_is_damage_after_the_records():
    assert read(sample_shards.shard_bytes(DATA, "gzip") + b"junk") == (DATA, "corrupt_shard")


@pytest.mark.parametrize("junk", [b"x" * 1000, b"\x1f\x8b" + b"x" * 100, b"\x78\x9c" + b"x" * 100, b"{}"])
def test_junk_is_damage_at_the_first_record(junk):
    found, error = read(junk)
    assert found == []
    assert error == ("truncated_shard" if junk == b"{}" else "corrupt_shard")


def test_absurd_length_with_a_right_checksum_costs_no_memory():
    length = struct.pack("<Q", 1 << 60)
    content = length + struct.pack("<I", tfrecord.masked_crc(length)) + b"x" * 100
    assert read(content) == ([], "truncated_shard")


def test_compression_is_recognized_by_content():
    plain = sample_shards.shard_bytes([b"\x1f\x8b" * 1000])
    assert tfrecord.sniff_compression(plain[:12]) == "none"
    # a length whose first bytes are those of gzip is still a plain record
    length = struct.pack("<Q", 0x8B1F)
    assert tfrecord.sniff_compression(length + struct.pack("<I", tfrecord.masked_crc(length))) == "none"
    for level in range(1, 10):
        assert tfrecord.sniff_compression(zlib.compress(b"abc" * 10, level)[:12]) == "zlib"


def test_unknown_compression_is_refused():
    with pytest.raises(ValueError, match="expected one of auto, none, gzip, zlib"):
        list(tfrecord.read_records(io.BytesIO(b""), "bzip2"))

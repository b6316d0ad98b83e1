"""Random damage of shards and of the records in them, the same for the same seed."""

from __future__ import annotations

import os
import random
import struct
import zlib
from collections.abc import Callable, Sequence
from typing import Any

from heatbeam.transforms.sources import tfexample, tfrecord
from tests.support import sample_shards

AMOUNT = int(os.environ.get("HEATBEAM_FUZZ", "1"))
"""How much of it is tried; `make fuzz` tries more."""

_WINDOW_BITS = {"gzip": 31, "zlib": 15}


def _flipped(choice: random.Random, content: bytearray) -> None:
    for _ in range(choice.choice([1, 1, 1, 2, 8])):
        content[choice.randrange(len(content))] ^= 1 << choice.randrange(8)


def _zeroed(choice: random.Random, content: bytearray) -> None:
    begin, end = _span(choice, content)
    content[begin:end] = bytes(end - begin)


def _swapped(choice: random.Random, content: bytearray) -> None:
    size = choice.randint(1, max(1, len(content) // 3))
    first = choice.randrange(0, max(1, len(content) - 2 * size + 1))
    second = choice.randrange(first + size, max(first + size, len(content) - size) + 1)
    one, other = content[first : first + size], content[second : second + size]
    content[second : second + size] = one
    content[first : first + size] = other


def _cut(choice: random.Random, content: bytearray) -> None:
    del content[choice.randrange(len(content)) :]


def _removed(choice: random.Random, content: bytearray) -> None:
    begin, end = _span(choice, content)
    del content[begin:end]


def _inserted(choice: random.Random, content: bytearray) -> None:
    begin = choice.randrange(len(content))
    content[begin:begin] = choice.randbytes(choice.choice([1, 2, 16, 300, 5000]))


def _repeated(choice: random.Random, content: bytearray) -> None:
    begin, end = _span(choice, content)
    content[end:end] = content[begin:end]


def _appended(choice: random.Random, content: bytearray) -> None:
    junk = choice.choice([bytes, choice.randbytes, lambda size: (b"<html>" * size)[:size]])
    content += junk(choice.choice([1, 3, 11, 12, 16, 500]))


def _span(choice: random.Random, content: bytearray) -> tuple[int, int]:
    begin = choice.randrange(len(content))
    return begin, min(len(content), begin + choice.choice([1, 4, 12, 16, 100, 1000]))


SAME_LENGTH: tuple[Callable[[random.Random, bytearray], None], ...] = (_flipped, _zeroed, _swapped)
OTHER_LENGTH: tuple[Callable[[random.Random, bytearray], None], ...] = (
    _cut, _removed, _inserted, _repeated, _appended,
)  # fmt: skip


def damaged_bytes(choice: random.Random, content: bytes, *, same_length: bool = False) -> bytes:
    """`content` (not empty) with one damage that storage, a transfer or an editor may do."""
    changed = bytearray(content)
    choice.choice(SAME_LENGTH if same_length else (*SAME_LENGTH, *OTHER_LENGTH))(choice, changed)
    return bytes(changed)


def records_before(data: Sequence[bytes], whole: bytes, damaged: bytes, compression: str) -> int:
    """How many of the records `data` of the file `whole` lie before all damage: in the bytes that both begin with."""
    differs = (place for place, (one, other) in enumerate(zip(whole, damaged, strict=False)) if one != other)
    same = damaged[: next(differs, min(len(whole), len(damaged)))]
    if compression != "none":
        same = zlib.decompressobj(_WINDOW_BITS[compression]).decompress(same)
    ends = (len(sample_shards.shard_bytes(data[: i + 1])) for i in range(len(data)))
    return sum(end <= len(same) for end in ends)


def lying_shard(choice: random.Random, data: Sequence[bytes], compression: str) -> bytes:
    """A shard in which one record has a wrong length with the right checksum of it."""
    liar = choice.randrange(len(data))
    length = choice.choice([0, 1, len(data[liar]) - 1, len(data[liar]) + 1, 5000, 1 << 31, 1 << 40, 1 << 63, 2**64 - 1])
    header = struct.pack("<Q", length)
    header += struct.pack("<I", tfrecord.masked_crc(header))
    plain = [sample_shards.frame_record(one) for one in data]
    plain[liar] = header + plain[liar][12:]
    return sample_shards.packed(b"".join(plain), compression)


def damaged_fields(
    choice: random.Random, fields: dict[str, Sequence[Any]], often: Sequence[str] = ()
) -> dict[str, Sequence[Any]]:
    """The features of an Example, one to three of them lost, of another type or count, or with values out of range.

    The names in `often` are chosen as often as they stand there, once more than the others.
    """
    changed = dict(fields)
    for _ in range(choice.randint(1, 3)):
        name = choice.choice([*sorted(fields), *often])
        values = list(changed.get(name, ()))
        kind = choice.choice(["lost", "type", "count", "values", "bytes", "bytes"])
        if kind == "lost":
            changed.pop(name, None)
        elif kind == "type":
            changed[name] = choice.choice(OF_EVERY_TYPE)
        elif kind == "count":
            changed[name] = choice.choice([[], values[:-1], values * 2, values * 50])
        elif values and isinstance(values[0], bytes):
            spoilt = damaged_bytes(choice, values[0]) if values[0] and kind == "bytes" else choice.choice(BYTES)
            changed[name] = [spoilt, *values[1:]]
        elif values:
            place = choice.randrange(len(values))
            values[place] = choice.choice(FLOATS if isinstance(values[0], float) else INTEGERS)
            changed[name] = values
    return changed


def damaged_fields_of(choice: random.Random, serialized: bytes) -> bytes:
    """A serialized Example with features as `damaged_fields` leaves them."""
    fields = {name: list(tfexample.values(feature)) for name, feature in tfexample.parse(serialized).items()}
    return tfexample.serialize(damaged_fields(choice, fields))


FLOATS = (float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e-45, -0.0, -0.01, 1.04, 2.0, 100.0)
INTEGERS = (-1, -2, 0, 9, 10, 999, 1 << 31, (1 << 63) - 1, -(1 << 63))
BYTES = (
    b"", b"\x00", b"\xff\xfe", b"0", b"-1", b"7.5", b"9" * 40, b"1e400", b"nan", "\u0663".encode(), "\u00b2".encode(),
    b"dog", b"../../etc/passwd", b"<html>", b"\x1b[2J\n", b"RAW", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff", b"GIF89a",
    b"BM", b"II*\x00", b"RIFF\x00\x00\x00\x00WEBP", b"x" * 100_000,
)  # fmt: skip
OF_EVERY_TYPE: tuple[list[Any], ...] = (
    [], *([one] for one in (*FLOATS, *INTEGERS, *BYTES)), [0.5] * 4, [0.0, 1.0, 0.0], [0, 1, 0], [1, 2, 3, 4, 5],
    [b"a", b"b"], [255] * 12,
)  # fmt: skip

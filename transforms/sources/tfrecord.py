"""TFRecord files: the framing of records, without TensorFlow and without Beam.

A record is stored as ``length (uint64, little endian), masked crc32c of those 8 bytes (uint32), data, masked crc32c of
the data (uint32)``. A file is a plain sequence of records, or such a sequence inside one gzip or zlib stream.

A record whose length is right and whose data is not costs itself alone: where the next one begins is known. Where a
length is wrong or a compressed stream breaks, there is no way to find the next record, so `Records` gives those before
the damage and then raises `records.DataError`; nothing behind it can be read.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import struct
import typing
from collections.abc import Collection, Iterator

import google_crc32c

from heatbeam.transforms import records
from heatbeam.transforms.sources import inflate

Compression = typing.Literal["auto", "none", "gzip", "zlib"]
"""How a file is packed; ``auto`` looks at its first bytes, never at its name."""

COMPRESSIONS: tuple[str, ...] = typing.get_args(Compression)

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size
"""What a record takes in a file beyond its own bytes."""

MAX_RECORD_BYTES = 256 << 20
"""A record may have this many bytes unless told otherwise: far more than an encoded image, and little enough for a few
at once to fit into a worker of a few GiB."""

TOO_LARGE = "record_too_large"
"""Error type of a record above the bound."""

_PIECE_BYTES = 1 << 24


class SeekableStream(inflate.ByteStream, typing.Protocol):
    """An open file in which a reader can move."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, as `io.IOBase.seek`; the new position."""


def masked_crc(data: bytes) -> int:
    """CRC-32C of `data`, rotated right by 15 bits plus a constant, as TFRecord stores it."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def framed(data: bytes) -> bytes:
    """One record as it stands in a plain file."""
    length = struct.pack("<Q", len(data))
    return b"".join((length, _CRC.pack(masked_crc(length)), data, _CRC.pack(masked_crc(data))))


class Records:
    """The records of one TFRecord file, in order; to be gone through once.

    Each is its data, or a `records.DataError` in the place of one that is lost alone: ``corrupt_record`` for a wrong
    checksum, ``record_too_large``. A file of no bytes has no records. Memory stays within one record and a few blocks.

    Args:
        stream: the file as stored, opened without decompression.
        compression: one of `COMPRESSIONS`.
        max_bytes: of a record. One that says to be larger is passed over in a plain file; a packed one ends there, as
            a few stored bytes may unpack to any number.

    Raises:
        DataError: while going through them: ``truncated_shard`` if the file ends inside a record or inside its
            compressed stream, ``corrupt_shard`` if the checksum of a length or the compressed stream is wrong,
            ``record_too_large`` in a packed file. All records before have been given.
        ValueError: there is no such compression.
    """

    def __init__(self, stream: inflate.ByteStream, compression: str, max_bytes: int = MAX_RECORD_BYTES):
        if compression not in COMPRESSIONS:
            raise ValueError(f"unknown TFRecord compression {compression!r}; expected one of {', '.join(COMPRESSIONS)}")
        self._stream = stream
        self._compression = compression
        self._max_bytes = max_bytes
        self._inflated: inflate.Inflated | None = None
        self._position = 0

    def __iter__(self) -> Iterator[bytes | records.DataError]:
        head = _read_exactly(self._stream, _HEADER.size)
        compression = sniff_compression(head) if self._compression == "auto" else self._compression
        plain: inflate.ByteStream = inflate.Prefixed(head, self._stream)
        if compression != "none":
            plain = self._inflated = inflate.Inflated(plain, compression)
        while header := _read_exactly(plain, _HEADER.size):
            length = _length_of(header)
            record = _data_after(length, plain) if length <= self._max_bytes else self._too_large(length, plain)
            # What was inflated behind the record may be wrong already and is no part of it.
            at = self._position + length + OVERHEAD_BYTES
            self._position = at if self._inflated is None else self._inflated.position
            yield record
        if self._inflated is not None:
            self._position = self._inflated.position

    def _too_large(self, length: int, stream: inflate.ByteStream) -> records.DataError:
        error = too_large(length, self._max_bytes)
        if self._inflated is not None:
            raise error
        _pass_over(stream, length + _CRC.size)
        return error

    @property
    def position(self) -> int:
        """Bytes of the stored file up to the end of the last record given; of a packed one about as many."""
        return self._position


def read_records(stream: inflate.ByteStream, compression: str, max_bytes: int = MAX_RECORD_BYTES) -> Records:
    """As `Records`."""
    return Records(stream, compression, max_bytes)


def read_at(
    stream: SeekableStream, compression: str, indices: Collection[int], max_bytes: int = MAX_RECORD_BYTES
) -> Iterator[tuple[int, bytes]]:
    """Chosen records of one file, in order, each with its index.

    One that is not there, damaged or too large gives nothing. In a plain file the records between are not read, only
    the length of each; a compressed one is read up to the last chosen record.

    Args:
        stream: as of `Records`.
        compression: one of `COMPRESSIONS`.
        indices: of the records, from 0.
        max_bytes: of a record.

    Raises:
        DataError: as `Records`, for damage that hides a chosen record.
    """
    last = max(indices, default=-1)
    head = _read_exactly(stream, _HEADER.size)
    stream.seek(0)
    if (sniff_compression(head) if compression == "auto" else compression) != "none":
        for index, record in zip(range(last + 1), Records(stream, compression, max_bytes), strict=False):
            if index in indices and isinstance(record, bytes):
                yield index, record
        return
    end, behind = stream.seek(0, 2), 0
    stream.seek(0)
    for index in range(last + 1):
        header = _read_exactly(stream, _HEADER.size)
        if not header:
            return
        length = _length_of(header)
        behind += length + OVERHEAD_BYTES
        if index not in indices or length > max_bytes:
            if behind > end:  # a wrong length may be more than any file can be moved by
                return
            stream.seek(behind)
        elif isinstance(record := _data_after(length, stream), bytes):
            yield index, record


def sniff_compression(head: bytes) -> str:
    """``none``, ``gzip`` or ``zlib``, from the first 12 bytes of a file.

    A TFRecord header carries its own checksum, so a plain file is recognized first and cannot be taken for another.
    What is none of the three counts as plain and then fails its checksum.
    """
    if len(head) == _HEADER.size and _HEADER.unpack(head)[1] == masked_crc(head[:8]):
        return "none"
    if head[:2] == b"\x1f\x8b":
        return "gzip"
    if len(head) >= 2 and head[0] & 0x0F == 8 and int.from_bytes(head[:2], "big") % 31 == 0:
        return "zlib"
    return "none"


def _length_of(header: bytes) -> int:
    if len(header) < _HEADER.size:
        raise _truncated("the header of a record", _HEADER.size, len(header))
    length, length_crc = _HEADER.unpack(header)
    if masked_crc(header[:8]) != length_crc:
        raise records.DataError(
            "corrupt_shard", "the checksum of a record's length is wrong: the file is damaged here or is no TFRecord"
        )
    return int(length)


def _data_after(length: int, stream: inflate.ByteStream) -> bytes | records.DataError:
    """The data of a record whose header was read, or what is wrong with it alone."""
    data = _read_exactly(stream, length)
    if len(data) < length:
        raise _truncated("a record", length, len(data))
    footer = _read_exactly(stream, _CRC.size)
    if len(footer) < _CRC.size:
        raise _truncated("the checksum of a record", _CRC.size, len(footer))
    if masked_crc(data) != _CRC.unpack(footer)[0]:
        return records.DataError("corrupt_record", f"the checksum of a record of {length} bytes is wrong")
    return data


def too_large(length: int, limit: int) -> records.DataError:
    """What is said of a record of `length` bytes where `limit` is the bound."""
    message = f"a record of {length} bytes; expected at most {limit} (input.max_record_bytes)"
    return records.DataError(TOO_LARGE, message)


def _pass_over(stream: inflate.ByteStream, size: int) -> None:
    """Read `size` bytes and keep none."""
    missing = size
    while missing and (data := stream.read(min(missing, _PIECE_BYTES))):
        missing -= len(data)
    if missing:
        raise _truncated("a record", size, size - missing)


def _truncated(what: str, expected: int, found: int) -> records.DataError:
    return records.DataError("truncated_shard", f"the file ends inside {what}: {found} of {expected} bytes are there")


def _read_exactly(stream: inflate.ByteStream, size: int) -> bytes:
    """`size` bytes, fewer only at the end of the stream. A wrong huge `size` costs no memory: it is read in pieces."""
    data = stream.read(min(size, _PIECE_BYTES))
    if len(data) == size or not data:
        return data
    pieces = [data]
    missing = size - len(data)
    while missing and (data := stream.read(min(missing, _PIECE_BYTES))):
        pieces.append(data)
        missing -= len(data)
    return b"".join(pieces)

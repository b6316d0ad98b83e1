"""TFRecord files: the framing of records, without TensorFlow and without Beam.

A record is stored as ``length (uint64, little endian), masked crc32c of those 8 bytes (uint32), data, masked crc32c of
the data (uint32)``. A file is a plain sequence of records, or such a sequence inside one gzip or zlib stream.

After a damaged record there is no way to find the next one, so `read_records` yields the records before the damage and
then raises `records.DataError`; nothing after it can be read.

Format: https://www.tensorflow.org/tutorials/load_data/tfrecord
"""

from __future__ import annotations

import io
import struct
import typing
import zlib
from collections.abc import Collection, Iterator

import google_crc32c

from heatbeam.transforms import records

Compression = typing.Literal["auto", "none", "gzip", "zlib"]
"""How a file is packed; ``auto`` looks at its first bytes, never at its name."""

COMPRESSIONS: tuple[str, ...] = typing.get_args(Compression)

_HEADER = struct.Struct("<QI")
_CRC = struct.Struct("<I")
OVERHEAD_BYTES = _HEADER.size + _CRC.size
"""What a record takes in a file beyond its own bytes."""

_BLOCK_BYTES = 1 << 16
_INFLATED_BYTES = 1 << 20
_PIECE_BYTES = 1 << 24
_ZLIB_WINDOW_BITS = {"gzip": 31, "zlib": 15}


class ByteStream(typing.Protocol):
    """What is needed of an open file. `read` may return fewer bytes than asked for; none means the end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""


class SeekableStream(ByteStream, typing.Protocol):
    """An open file in which a reader can move."""

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Move, as `io.IOBase.seek`; the new position."""


def masked_crc(data: bytes) -> int:
    """CRC-32C of `data`, rotated right by 15 bits plus a constant, as TFRecord stores it."""
    crc: int = google_crc32c.value(data)
    return (((crc >> 15) | (crc << 17)) + 0xA282EAD8) & 0xFFFFFFFF


def read_records(stream: ByteStream, compression: str) -> Iterator[bytes]:
    """The records of one TFRecord file, in order.

    Args:
        stream: the file as stored, opened without decompression. Memory stays within one record and a few blocks.
        compression: one of `COMPRESSIONS`.

    Yields:
        the data of each record. A file of no bytes has no records.

    Raises:
        DataError: ``truncated_shard`` if the file ends inside a record or inside its compressed stream,
            ``corrupt_shard`` if a checksum or the compressed stream is wrong. All records before have been yielded.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(f"unknown TFRecord compression {compression!r}; expected one of {', '.join(COMPRESSIONS)}")
    head = _read_exactly(stream, _HEADER.size)
    if compression == "auto":
        compression = sniff_compression(head)
    plain: ByteStream = _Prefixed(head, stream)
    if compression != "none":
        plain = _Inflated(plain, _ZLIB_WINDOW_BITS[compression])
    while header := _read_exactly(plain, _HEADER.size):
        yield _record_after(header, plain)


def read_at(stream: SeekableStream, compression: str, indices: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Chosen records of one file, in order, each with its index; an index behind the last record gives nothing.

    In a plain file the records between are not read, only the length of each; a compressed one is read up to the last
    chosen record.

    Args:
        stream: as of `read_records`.
        compression: one of `COMPRESSIONS`.
        indices: of the records, from 0.

    Raises:
        DataError: as `read_records`, for damage before the last chosen record.
    """
    last = max(indices, default=-1)
    head = _read_exactly(stream, _HEADER.size)
    stream.seek(0)
    if (sniff_compression(head) if compression == "auto" else compression) != "none":
        for index, record in zip(range(last + 1), read_records(stream, compression), strict=False):
            if index in indices:
                yield index, record
        return
    for index in range(last + 1):
        header = _read_exactly(stream, _HEADER.size)
        if not header:
            return
        if index in indices:
            yield index, _record_after(header, stream)
        else:
            stream.seek(_length_of(header) + _CRC.size, 1)


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


def _record_after(header: bytes, stream: ByteStream) -> bytes:
    length = _length_of(header)
    data = _read_exactly(stream, length)
    if len(data) < length:
        raise _truncated("a record", length, len(data))
    footer = _read_exactly(stream, _CRC.size)
    if len(footer) < _CRC.size:
        raise _truncated("the checksum of a record", _CRC.size, len(footer))
    if masked_crc(data) != _CRC.unpack(footer)[0]:
        raise records.DataError("corrupt_shard", f"the checksum of a record of {length} bytes is wrong")
    return data


def _truncated(what: str, expected: int, found: int) -> records.DataError:
    return records.DataError("truncated_shard", f"the file ends inside {what}: {found} of {expected} bytes are there")


def _read_exactly(stream: ByteStream, size: int) -> bytes:
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


class _Prefixed:
    """`stream` with the bytes `head`, already taken from it, put back."""

    def __init__(self, head: bytes, stream: ByteStream):
        self._head = head
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        if not self._head:
            return self._stream.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


class _Inflated:
    """The content of a gzip or zlib stream, up to the very byte at which it breaks.

    What could be inflated is handed out first; the error is raised by the read after it. Several gzip members behind
    each other are one stream.
    """

    def __init__(self, stream: ByteStream, window_bits: int):
        self._stream = stream
        self._window_bits = window_bits
        self._inflater: zlib._Decompress | None = None
        self._compressed = b""
        self._ready = io.BytesIO()
        self._error: records.DataError | None = None

    def read(self, size: int, /) -> bytes:
        data = self._ready.read(size)
        while size and not data and self._error is None and self._advance():
            data = self._ready.read(size)
        if size and not data and self._error is not None:
            raise self._error
        return data

    def _advance(self) -> bool:
        """Inflates one more block; False at a proper end of the stream."""
        if not self._compressed:
            self._compressed = self._stream.read(_BLOCK_BYTES)
        if not self._compressed:
            if self._inflater is not None:
                self._error = records.DataError("truncated_shard", "the file ends inside its compressed stream")
            return False
        if self._inflater is None:
            self._inflater = zlib.decompressobj(self._window_bits)
        before = self._inflater.copy()
        try:
            self._ready = io.BytesIO(self._inflater.decompress(self._compressed, _INFLATED_BYTES))
        except zlib.error as error:
            self._ready = io.BytesIO(_inflate_bytewise(before, self._compressed))
            self._error = records.DataError("corrupt_shard", f"the compressed stream is damaged: {error}")
            return True
        if self._inflater.eof:
            self._compressed, self._inflater = self._inflater.unused_data, None
        else:
            self._compressed = self._inflater.unconsumed_tail
        return True


def _inflate_bytewise(inflater: zlib._Decompress, compressed: bytes) -> bytes:
    """All that can be inflated before the error, which throws away the output of the call that meets it."""
    pieces = []
    try:
        for position in range(len(compressed)):
            pieces.append(inflater.decompress(compressed[position : position + 1]))
    except zlib.error:
        pass
    return b"".join(pieces)

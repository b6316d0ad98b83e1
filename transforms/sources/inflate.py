"""A gzip or zlib stream, inflated block by block, up to the very byte at which it breaks."""

from __future__ import annotations

import io
import typing
import zlib

from heatbeam.transforms import records

_BLOCK_BYTES = 1 << 16
_INFLATED_BYTES = 1 << 20
_WINDOW_BITS = {"gzip": 31, "zlib": 15}


class ByteStream(typing.Protocol):
    """What is needed of an open file. `read` may return fewer bytes than asked for; none means the end."""

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes."""


class Prefixed:
    """`stream` with the bytes `head`, already taken from it, put back."""

    def __init__(self, head: bytes, stream: ByteStream):
        self._head = head
        self._stream = stream

    def read(self, size: int, /) -> bytes:
        """As of a `ByteStream`."""
        if not self._head:
            return self._stream.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


class Inflated:
    """The content of a gzip or zlib stream, up to the very byte at which it breaks.

    What could be inflated is handed out first; the error is raised by the read after it. Several gzip members behind
    each other are one stream. No more than a block of the content is held, however well it is packed.

    Args:
        stream: as it is stored.
        compression: ``gzip`` or ``zlib``.
    """

    def __init__(self, stream: ByteStream, compression: str):
        self._stream = stream
        self._window_bits = _WINDOW_BITS[compression]
        self._inflater: zlib._Decompress | None = None
        self._compressed = b""
        self._ready = io.BytesIO()
        self._ready_from = self._ready_to = 0  # of the stored bytes
        self._error: records.DataError | None = None

    @property
    def position(self) -> int:
        """Stored bytes behind what was read of the content; between the ends of a block in proportion."""
        size = self._ready.getbuffer().nbytes
        share = self._ready.tell() / size if size else 1.0
        return self._ready_from + round(share * (self._ready_to - self._ready_from))

    def read(self, size: int, /) -> bytes:
        """As of a `ByteStream`.

        Raises:
            DataError: ``truncated_shard`` or ``corrupt_shard``, when all before it was read.
        """
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
        before, came = self._inflater.copy(), len(self._compressed)
        try:
            content = self._inflater.decompress(self._compressed, _INFLATED_BYTES)
        except zlib.error as error:
            content, came = _inflate_bytewise(before, self._compressed)
            self._error = records.DataError("corrupt_shard", f"the compressed stream is damaged: {error}")
        else:
            if self._inflater.eof:
                self._compressed, self._inflater = self._inflater.unused_data, None
            else:
                self._compressed = self._inflater.unconsumed_tail
            came -= len(self._compressed)
        self._ready = io.BytesIO(content)
        self._ready_from, self._ready_to = self._ready_to, self._ready_to + came
        return True


def _inflate_bytewise(inflater: zlib._Decompress, compressed: bytes) -> tuple[bytes, int]:
    """All that can be inflated before the error, and of how many bytes: the call that meets it throws all away."""
    pieces: list[bytes] = []
    try:
        for position in range(len(compressed)):
            pieces.append(inflater.decompress(compressed[position : position + 1]))
    except zlib.error:
        pass
    return b"".join(pieces), len(pieces)

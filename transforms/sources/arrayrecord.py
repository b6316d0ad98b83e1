"""array_record files: ranges of records by index.

The format gives random access and checks each record by itself, so damage costs only the records it touches.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import Collection, Iterator
from typing import Any

from heatbeam.transforms import records
from heatbeam.transforms.sources import source, tfrecord


@dataclasses.dataclass(frozen=True)
class ArrayRecordShard(source.Shard):
    """A range of an array_record file on a local disk.

    Attributes:
        max_record_bytes: larger records are lost; the format's library has unpacked them by then.
    """

    max_record_bytes: int = tfrecord.MAX_RECORD_BYTES

    def read(self) -> source.Read:
        """As `read_records`; the range must have an end."""
        assert self.stop is not None
        if not os.path.exists(self.path):
            raise FileNotFoundError(self.path)
        for index, record in read_records(self.path, self.start, self.stop, self.first):
            if isinstance(record, bytes) and len(record) > self.max_record_bytes:
                yield index, tfrecord.too_large(len(record), self.max_record_bytes)
            else:
                yield index, record

    def records_at(self, indices: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """As `read_at`."""
        yield from read_at(self.path, indices)


def read_records(path: str, start: int, stop: int, first: int) -> Iterator[tuple[int, bytes | records.DataError]]:
    """Records `start` to `stop` (exclusive) of one file, each with its index.

    A record that cannot be read is given as a `DataError` (``corrupt_shard``). A file that ends too early gives one
    ``truncated_shard`` error, at the first record that is not there, from whichever range holds that index; the ranges
    behind it give nothing. So the number of errors does not depend on how a file was cut into ranges.

    Args:
        path: a local file; the format's library opens no others.
        start: index of the first record.
        stop: index behind the last.
        first: index of the first record that is wanted of this file by any range.
    """
    from array_record.python import array_record_module  # an optional dependency: only array_record datasets need it

    reader = array_record_module.ArrayRecordReader(path)
    try:
        available = reader.num_records()
        for index in range(start, min(stop, available)):
            yield index, _read_one(reader, index)
    finally:
        with contextlib.suppress(RuntimeError):  # repeats the error of a file without a usable index, reported below
            reader.close()
    missing = max(available, first)
    if start <= missing < stop:
        message = f"the file is damaged or cut: its index lists {available} records, fewer than its dataset says"
        yield missing, records.ShardEnds("truncated_shard", message)


def read_at(path: str, indices: Collection[int]) -> Iterator[tuple[int, bytes]]:
    """Chosen records of one file, in order, each with its index; those that are not there or damaged are left out.

    Args:
        path: a local file.
        indices: of the records, from 0.

    Raises:
        FileNotFoundError: there is no such file.
    """
    if not os.path.exists(path):
        raise FileNotFoundError(path)
    for index in sorted(indices):
        for found, record in read_records(path, index, index + 1, index):
            if isinstance(record, bytes):
                yield found, record


def _read_one(reader: Any, index: int) -> bytes | records.DataError:
    try:
        return reader.read([index])[0]  # type: ignore[no-any-return]
    except RuntimeError as error:  # what the library raises for a checksum that does not match
        return records.DataError("corrupt_shard", f"a record cannot be read: {str(error)[:120]}")

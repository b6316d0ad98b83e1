"""TFRecord files by name or glob, on any file system that Beam knows."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator
from typing import ClassVar

from heatbeam.transforms import records
from heatbeam.transforms.sources import feature_map, shard_sets, source, tfrecord

_PACKED_NAMES = (".gz", ".z", ".zlib")


@dataclasses.dataclass(frozen=True)
class TFRecordShard(source.Shard):
    """A TFRecord file, or a range of it.

    Attributes:
        compression: one of `tfrecord.COMPRESSIONS`.
        max_record_bytes: larger records are lost.
    """

    compression: tfrecord.Compression = "auto"
    max_record_bytes: int = tfrecord.MAX_RECORD_BYTES

    overhead_bytes = tfrecord.OVERHEAD_BYTES

    def read(self) -> source.Read:
        """The records, with errors in place of those that are damaged alone, up to where damage ends the file.

        A file with fewer records than `stop`, or fewer bytes than when it was matched, ends in ``truncated_shard``.
        """
        from heatbeam.transforms.sources import files  # loads Beam

        index = 0
        with files.open_stored(self.path) as stream:
            read = tfrecord.Records(stream, self.compression, self.max_record_bytes)
            each = iter(read)
            while self.stop is None or index < self.stop:
                try:
                    record = next(each, None)
                except records.DataError as error:
                    yield max(index, self.start), self._ends(error.error_type, error.message, read.position)
                    return
                except Exception as error:
                    ending = self.unavailable(error)
                    if index <= self.start or not ending[0]:
                        raise
                    # An object store opens a file again for each part of it.
                    yield index, self._ends(*ending, read.position)
                    return
                if record is None:
                    break
                if index >= self.start:
                    yield index, record
                index += 1
        if self.stop is not None and index < self.stop:
            message = f"the file has only {index} records, fewer than its dataset says"
            yield max(index, self.start), self._ends("truncated_shard", message, read.position)
        elif self.stop is None and read.position < self.stored_bytes:
            message = f"the file has {read.position} bytes; it had {self.stored_bytes} when the run began"
            yield index, self._ends("truncated_shard", message, read.position)

    def _ends(self, error_type: str, message: str, position: int) -> records.ShardEnds:
        left = max(0, self.stored_bytes - position)
        # Where a block unpacks to any size, the stored bytes of the records before are not known.
        read = 0 if error_type == tfrecord.TOO_LARGE else position
        return records.ShardEnds(error_type, message, read_bytes=read, left_bytes=left)

    def records_at(self, indices: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """As `tfrecord.read_at`: of a plain file only the chosen records are read, of a packed one all before them."""
        from heatbeam.transforms.sources import files  # loads Beam

        with files.open_stored(self.path) as stream:
            yield from tfrecord.read_at(stream, self.compression, indices, self.max_record_bytes)

    @property
    def reads_every_byte(self) -> bool:
        """Whether it is read whole and does not look packed."""
        packed = self.compression in ("gzip", "zlib") or self.path.endswith(_PACKED_NAMES)
        return self.stop is None and not packed


@dataclasses.dataclass(frozen=True)
class MatchedFiles(source.Dataset):
    """The files that patterns match."""

    def oddities(self) -> tuple[str, ...]:
        """As of a `source.Dataset`, and what the names say: of a set ``-of-N`` all are expected."""
        return (*super().oddities(), *shard_sets.oddities(shard.name for shard in self.shards))


@dataclasses.dataclass(frozen=True)
class TFRecordSource:
    """TFRecord files of ``tf.train.Example`` messages.

    Attributes:
        patterns: file names and globs.
        compression: of all files; ``auto`` looks at the first bytes of each, never at its name.
        max_record_bytes: larger records are lost.

    Raises:
        ValueError: there is no such compression.
    """

    patterns: tuple[str, ...]
    compression: tfrecord.Compression = "auto"
    max_record_bytes: int = tfrecord.MAX_RECORD_BYTES

    title: ClassVar[str] = "TFRecord"
    usual_features: ClassVar[feature_map.FeatureMap] = feature_map.FeatureMap()

    def __post_init__(self) -> None:
        if self.compression not in tfrecord.COMPRESSIONS:
            expected = ", ".join(tfrecord.COMPRESSIONS)
            raise ValueError(f"unknown TFRecord compression {self.compression!r}; expected one of {expected}")

    @property
    def place(self) -> str:
        """The patterns."""
        return ", ".join(self.patterns)

    def open(self) -> source.Dataset:
        """The files that the patterns match, sorted by path, each once.

        Raises:
            ValueError: there are no patterns.
            source.IncompleteSource: a pattern matches nothing, names a folder, or is on a file system that is not
                installed. Every such pattern is named.
        """
        from heatbeam.transforms.sources import files  # loads Beam

        if not self.patterns:
            raise ValueError("no TFRecord files were named; give at least one file name or glob")
        problems: list[str] = []
        found: dict[str, int] = {}
        for pattern in self.patterns:
            try:
                found |= files.match(pattern)
            except ValueError as error:
                problems.append(f"{pattern}: {error}")
        names = files.shard_names(sorted(found))
        dataset = MatchedFiles(
            tuple(
                TFRecordShard(
                    path,
                    names[path],
                    stored_bytes=found[path],
                    compression=self.compression,
                    max_record_bytes=self.max_record_bytes,
                )
                for path in sorted(found)
            )
        )
        if problems:
            raise source.IncompleteSource(self.title, problems, dataset)
        return dataset

"""What every format of input gives; the rest of heatbeam knows no format by name.

::

    Source.open() -> Dataset -> Shard.records() -> (index, tf.train.Example)

A source says where records are. Opened, it is a data set: shards that were matched once, and what the format itself
knows of the records (features, names of classes). A shard gives its records in order, or chosen ones by index. Whatever
a file stores, a record that leaves a shard is a serialized ``tf.train.Example`` (`tfexample.serialize` makes one), so
that one parser reads all.
"""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import ClassVar, Protocol

from heatbeam.transforms import records
from heatbeam.transforms.sources import feature_map, shard_sets

_SHARDS_IN_TURN = 64

Read = Iterator[tuple[int, bytes | records.DataError]]
"""Records, each with its index in the whole file; a `records.DataError` stands for one that cannot be read.

Where it is a `records.ShardEnds`, it is the last, and stands for the first of all that are lost."""


_FORBIDDEN, _NOT_FOUND = 403, 404


@dataclasses.dataclass(frozen=True)
class Shard(abc.ABC):
    """A range of the records of one file; picklable.

    Attributes:
        path: where it is, on any Beam file system.
        name: what records call it: its base name, with as many parent folders as it takes to be unique in the run.
        start: index of the first record to read.
        stop: index behind the last, or None for all there are.
        first: `start` of the first range of this file; differs from `start` where a file is read in several ranges.
        stored_bytes: of the whole file as it is stored, when it was matched; 0 if it was not there.
    """

    path: str
    name: str
    start: int = 0
    stop: int | None = None
    first: int = 0
    stored_bytes: int = 0

    overhead_bytes: ClassVar[int] = 0
    """What a record takes in an uncompressed file beyond its own bytes."""

    @abc.abstractmethod
    def read(self) -> Read:
        """The records, in order.

        Raises:
            FileNotFoundError: there is no such file.
            OSError: anything else that says nothing about the data: no permission, connection lost.
        """

    @abc.abstractmethod
    def records_at(self, indices: Collection[int]) -> Iterator[tuple[int, bytes]]:
        """Chosen records in order, each with its index in the whole file; what is not there is left out.

        Raises:
            DataError: the file is damaged before the last of them.
            OSError: as of `read`.
        """

    @property
    def count(self) -> int | None:
        """Records from `start` to `stop`; None where the format does not know before it has read them."""
        return None if self.stop is None else self.stop - self.start

    @property
    def reads_every_byte(self) -> bool:
        """Whether the bytes of the records add up to about `stored_bytes`: not if packed or read in part."""
        return False

    def records(self) -> Read:
        """As `read`, but a file that cannot be opened is a `records.ShardEnds`, once for all its ranges.

        That is ``missing_shard`` where it is gone and ``unreadable_shard`` without permission.

        Raises:
            OSError: connection lost, a disk that fails: errors that say nothing about the data.
        """
        try:
            yield from self.read()
        except Exception as error:
            error_type, message = self.unavailable(error)
            if not error_type:
                raise
            if self.start == self.first:
                yield self.start, records.ShardEnds(error_type, message, left_bytes=self.stored_bytes)

    def unavailable(self, error: Exception) -> tuple[str, str]:
        """Type and message of the `records.ShardEnds` for an error that says that the file is gone or withheld.

        Both are empty for any other error. Object stores have exceptions of their own, with the status of HTTP.
        """
        status = getattr(error, "code", None)
        if isinstance(error, FileNotFoundError) or status == _NOT_FOUND:
            return "missing_shard", f"there is no file {self.name}"
        if isinstance(error, PermissionError) or status == _FORBIDDEN:
            return "unreadable_shard", f"no permission to read {self.path}"
        return "", ""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """A source, opened; of a format that knows its features or the names of its classes, a subclass.

    Attributes:
        shards: the files and ranges to read.
    """

    shards: tuple[Shard, ...]

    def resolve(self, features: feature_map.FeatureMap) -> feature_map.FeatureMap:
        """`features`, checked against what the format declares and completed from it.

        Raises:
            ValueError: they do not fit; all problems are named.
        """
        return features

    def class_names(self, features: feature_map.FeatureMap) -> tuple[str, ...] | None:
        """The names of the classes in the order of their ids; None where only the records know."""
        return None

    def in_turn(self) -> Iterator[tuple[Shard, int, bytes | records.DataError]]:
        """Records of every shard in turn, each with its shard and index, so that a few of them are a mixture.

        At most `_SHARDS_IN_TURN` shards are opened.
        """
        streams = [_named(shard) for shard in self.shards[:_SHARDS_IN_TURN]]
        while streams:
            for stream in list(streams):
                element = next(stream, None)
                if element is None:
                    streams.remove(stream)
                else:
                    yield element

    @property
    def count(self) -> int | None:
        """Records in all; None if a shard does not know."""
        counts = [shard.count for shard in self.shards]
        return None if None in counts else sum(count for count in counts if count is not None)

    def oddities(self) -> tuple[str, ...]:
        """What looks wrong with the shards before they are read, a sentence each."""
        sizes = {shard.name: shard.stored_bytes for shard in self.shards}
        empty = [name for name, size in sizes.items() if not size]
        if not empty:
            return ()
        are = "is empty or not there" if len(empty) == 1 else "are empty or not there"
        return (f"{len(empty):,} of {len(sizes):,} shards {are}: {shard_sets.listed(empty)}",)

    @property
    def stored_bytes(self) -> int:
        """Of all files, each counted once."""
        return sum({shard.path: shard.stored_bytes for shard in self.shards}.values())

    @property
    def reads_every_byte(self) -> bool:
        """Whether progress can be told from bytes (`Shard.reads_every_byte`)."""
        return all(shard.reads_every_byte for shard in self.shards)


class Source(Protocol):
    """Where records are. Values only, so that it can be made, compared and sent without looking for anything.

    Attributes:
        title: of the format, in words.
        usual_features: what records of this format mostly call their features.
    """

    title: ClassVar[str]
    usual_features: ClassVar[feature_map.FeatureMap]

    @property
    def place(self) -> str:
        """Where the records are, as the settings give it."""

    def open(self) -> Dataset:
        """Look for the shards.

        Raises:
            IncompleteSource: some of it is not there.
            ValueError: there is nothing, or it cannot be read; the message says what there is instead.
            OSError: its file system does not answer.
        """


class IncompleteSource(ValueError):
    """Something that a source names is not there.

    Attributes:
        problems: what, one line each.
        found: the rest.
    """

    def __init__(self, title: str, problems: Sequence[str], found: Dataset):
        super().__init__("\n".join([f"cannot read the {title} input:", *problems]))
        self.problems = tuple(problems)
        self.found = found


def _named(shard: Shard) -> Iterator[tuple[Shard, int, bytes | records.DataError]]:
    """The records of a shard, each with it: a generator expression would name the last of several shards."""
    for index, record in shard.records():
        yield shard, index, record

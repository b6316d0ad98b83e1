"""What reading a shard came to, and how many records are lost behind its damage.

Where a format knows how many records a shard has, so many are lost as are missing. Where it does not, their number
follows from bytes::

    lost = round(bytes left / mean stored bytes of a record) - 1

The mean is that of the records that were read of the same shard; if it gave none, the median of the other shards'
means, which one huge record does not move. One is taken off for the record that has a dead letter, at the place of the
damage. A packed shard that ends at a record above the bound may hold anything in its bytes, so it is taken to have as
many records as the median of the shards that were read to their ends.
"""

from __future__ import annotations

import dataclasses
import statistics
from collections.abc import Iterable

from heatbeam.transforms import records
from heatbeam.transforms.sources import tfrecord


@dataclasses.dataclass(frozen=True)
class ShardRead:
    """What was read of a shard, or of a range of it.

    Attributes:
        name: of the shard.
        bytes: of the whole file as it was stored when the run began.
        records: that were given, dead letters among them.
        lost: known to be missing beside them; None where the format does not know.
        damage: of what error type the end of the shard was; empty if it was read to its end.
        read_bytes: stored bytes of the records given.
        left_bytes: stored bytes that were not read for damage.
    """

    name: str
    bytes: int
    records: int
    lost: int | None
    damage: str = ""
    read_bytes: int = 0
    left_bytes: int = 0


@dataclasses.dataclass(frozen=True)
class ShardLoss:
    """A shard and what is lost of it.

    Attributes:
        name, bytes, records, damage: as of a `ShardRead`.
        lost: records beside them that could not be read.
        is_estimate: whether `lost` follows from bytes.
    """

    name: str
    bytes: int
    records: int
    lost: int
    is_estimate: bool
    damage: str


def read_of(name: str, stored_bytes: int, count: int | None, given: int, end: records.ShardEnds | None) -> ShardRead:
    """What reading came to.

    Args:
        name: of the shard.
        stored_bytes: of the file.
        count: of the records that were asked for; None where the format does not know.
        given: how many came, errors among them.
        end: the damage that ended it, or None.
    """
    lost = None if count is None else max(0, count - given)
    if end is None:
        return ShardRead(name, stored_bytes, given, lost, read_bytes=stored_bytes)
    return ShardRead(name, stored_bytes, given, lost, end.error_type, end.read_bytes, end.left_bytes)


def joined(one: ShardRead, other: ShardRead) -> ShardRead:
    """Two ranges of one shard together."""
    return ShardRead(
        one.name,
        max(one.bytes, other.bytes),
        one.records + other.records,
        None if one.lost is None or other.lost is None else one.lost + other.lost,
        min(one.damage, other.damage) or max(one.damage, other.damage),
        max(one.read_bytes, other.read_bytes),
        max(one.left_bytes, other.left_bytes),
    )


def estimated(reads: Iterable[ShardRead]) -> tuple[ShardLoss, ...]:
    """Every shard with its losses, by name."""
    known = sorted(reads, key=lambda read: read.name)
    means = [mean for mean in map(_mean, known) if mean]
    usual = statistics.median(means) if means else 0.0
    counts = [read.records for read in known if not read.damage and read.records]
    usual_count = round(statistics.median(counts)) if counts else 0
    return tuple(_with_loss(read, usual, usual_count) for read in known)


def _with_loss(read: ShardRead, usual: float, usual_count: int) -> ShardLoss:
    if read.lost is not None or not read.damage:
        return ShardLoss(read.name, read.bytes, read.records, read.lost or 0, False, read.damage)
    if read.damage == tfrecord.TOO_LARGE:
        return ShardLoss(read.name, read.bytes, read.records, max(0, usual_count - read.records), True, read.damage)
    mean = _mean(read) or usual
    lost = max(0, round(read.left_bytes / mean) - 1) if mean else 0
    return ShardLoss(read.name, read.bytes, read.records, lost, True, read.damage)


def _mean(read: ShardRead) -> float:
    """Stored bytes of a record, by those that were given but for the one at the damage; 0 if there are none."""
    count = read.records - bool(read.damage)
    return read.read_bytes / count if count > 0 else 0.0

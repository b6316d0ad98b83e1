"""The one step of the job: a piece of a source to one TFRecord file.

Images stay on the worker that reads them: what is shuffled is the names of the pieces before the step and counts
behind it. A file is written under a name of its own and renamed when it is complete, so a bundle that is tried twice
leaves one.
"""

from __future__ import annotations

import collections
import concurrent.futures
import contextlib
import dataclasses
import itertools
import secrets
from collections.abc import Iterator, Mapping

import apache_beam as beam
from apache_beam.io import filesystems

from heatbeam.prepare import encoding, items, places
from heatbeam.transforms import errors, records, tally
from heatbeam.transforms.sources import tfrecord, tfrecord_source

STAGE = "read"
AMOUNTS_TAG = "amounts"
"""Name of the output with ``{name: number}``, one per piece: `READ` and what follows, and those of each class."""
READ, WRITTEN, LOST, IGNORED = "read", "written", "lost", "with pixels not to be scored"
BYTES, FILES = "bytes ", "files "
"""How the amounts of a split begin."""
CLASS = "class "
"""How the amounts of a class begin that the source does not list."""

SLICE, UNUSED = "slice ", "unused "
"""How the amounts of further columns begin, and of what has no place, of sources that only workers read."""

_READERS = 8  # images of one piece that are fetched at once: a store far away answers slowly


@dataclasses.dataclass(frozen=True)
class ShardPlan:
    """A TFRecord file to be written.

    Attributes:
        name: of the file.
        piece: what goes into it.
    """

    name: str
    piece: items.Piece


def listed(path: str) -> Iterator[items.Item]:
    """The items of a list that the launcher wrote.

    Raises:
        errors.PathError: it is damaged.
    """
    shard = tfrecord_source.TFRecordShard(path, path)
    for _, stored in shard.read():
        if isinstance(stored, records.DataError):
            raise errors.PathError(f"cannot read {path}, which this job made: {stored}")
        yield items.Item.from_json(stored)


@dataclasses.dataclass(eq=False)
class WriteShards(beam.PTransform):
    """`ShardPlan` elements to files, and to ``{DEAD_LETTER_TAG: DeadLetter, AMOUNTS_TAG: dict}``.

    Attributes:
        directory: of the files.
        working: folder of files that are not complete.
        how: records are made.
    """

    directory: str
    working: str
    how: encoding.Encoding

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, plans: beam.PCollection) -> Mapping[str, beam.PCollection]:
        """The outputs by their tags."""
        write = beam.ParDo(_WriteShardFn(self.directory, self.working, self.how))
        found: Mapping[str, beam.PCollection] = (
            plans
            | "SharePieces" >> beam.Reshuffle()
            | "WriteShard" >> write.with_outputs(records.DEAD_LETTER_TAG, main=AMOUNTS_TAG)
        )
        return found


@beam.typehints.with_output_types(dict[str, int])
class _WriteShardFn(beam.DoFn):
    """A `ShardPlan` to its file."""

    def __init__(self, directory: str, working: str, how: encoding.Encoding) -> None:
        super().__init__()
        self._directory, self._working, self._how = directory, working, how

    def process(self, plan: ShardPlan) -> Iterator[dict[str, int] | beam.pvalue.TaggedOutput]:
        """Write it; its dead letters and what was counted."""
        amounts: collections.Counter[str] = collections.Counter({READ: 0, WRITTEN: 0, LOST: 0})
        join = filesystems.FileSystems.join
        unfinished = join(self._working, f"{plan.name}.{secrets.token_hex(4)}")
        with errors.about(self._directory, "write"):
            with contextlib.ExitStack() as opened:
                stream = None
                for index, (item, record) in enumerate(encoded(plan.piece, self._how)):
                    amounts[READ] += 1
                    tally.TALLY.add("images_read")
                    if isinstance(record, records.DataError):
                        amounts[LOST] += 1
                        tally.TALLY.add("dead_letters")
                        letter = records.DeadLetter.from_error(item.image_id, plan.name, index, STAGE, record)
                        yield beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, letter)
                        continue
                    framed = tfrecord.framed(record)
                    # Only now: Beam cannot make an empty file on S3, and a shard without records is of no use.
                    stream = stream or opened.enter_context(
                        filesystems.FileSystems.create(unfinished, compression_type="uncompressed")
                    )
                    stream.write(framed)
                    amounts[WRITTEN] += 1
                    amounts[IGNORED] += self._how.masks and bool(item.crowds)
                    amounts[f"{BYTES}{plan.piece.split}"] += len(framed)
                    if item.data is not None:
                        amounts.update(f"{SLICE}{name}" for name, _ in item.slices)
                        amounts.update(f"{UNUSED}{what}" for what in item.unused)
                    if self._how.class_ids is None:
                        amounts.update(f"{CLASS}{key}" for key in item.keys if isinstance(key, str))
            if amounts[WRITTEN]:
                filesystems.FileSystems.rename([unfinished], [join(self._directory, plan.name)])
        amounts[f"{FILES}{plan.piece.split}"] = int(amounts[WRITTEN] > 0)
        yield dict(amounts)


def encoded(piece: items.Piece, how: encoding.Encoding) -> Iterator[tuple[items.Item, bytes | records.DataError]]:
    """The items of a piece in order, each with its record or what is wrong with it."""
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        coming: collections.deque[tuple[items.Item, concurrent.futures.Future[bytes | records.DataError]]]
        coming = collections.deque()
        for item in itertools.chain(piece.read(*piece.arguments), itertools.repeat(None)):
            if item is not None:
                coming.append((item, pool.submit(_image_of, item)))
                if len(coming) < 2 * _READERS:
                    continue
            if not coming:
                return
            first, image = coming.popleft()
            yield first, _record(first, image.result(), how)


def _image_of(item: items.Item) -> bytes | records.DataError:
    if item.data is not None or item.problem is not None:
        return item.data or b""
    try:
        return places.read_image(item.path, tfrecord.MAX_RECORD_BYTES)
    except records.DataError as error:
        return error


def _record(item: items.Item, image: bytes | records.DataError, how: encoding.Encoding) -> bytes | records.DataError:
    if isinstance(image, records.DataError):
        return image
    try:
        return encoding.encode(item, image, how)
    except records.DataError as error:
        return error

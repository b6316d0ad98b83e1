"""Shards to `EncodedExample` records.

Shard names are shuffled so that workers share them; the bytes of a record are not, unless asked for. A record that is
damaged alone costs itself; where damage ends a shard, it gives the records before and one dead letter, and what is lost
behind it is counted by shard. A pattern that matches nothing is an error before the run starts.

Counters (namespace `NAMESPACE`): ``records_read`` counts every record that left this step, as an example or as a dead
letter; ``dead_letters_read`` those of the second kind; ``read_bytes`` the bytes of all records.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Iterator, Mapping

import apache_beam as beam
from apache_beam.metrics import Metrics
from apache_beam.transforms import window
from apache_beam.utils import windowed_value

from heatbeam.transforms import errors, records, sampling, tally
from heatbeam.transforms.sources import feature_map, features, losses, source, tfexample

NAMESPACE = "heatbeam"
MAIN_TAG = "main"
SHARDS_TAG = "shards"
"""Name of the output with a `losses.ShardRead` for each shard, or range of one."""
HELD_TAG = "held"
"""Name of the output with ``{HELD_PREFIX + feature: records that have a value of it}``, one per bundle."""
HELD_PREFIX = "with "
STAGE = "read"


@dataclasses.dataclass(eq=False)
class Read(beam.PTransform):
    """The records of a source to ``{MAIN_TAG: EncodedExample, DEAD_LETTER_TAG: DeadLetter, SHARDS_TAG: ShardRead}``.

    Its shards are matched when the pipeline is built.

    Args:
        source: where the records are: a `tfrecord_source.TFRecordSource`, a `tfds_source.TFDSSource`, or whatever else
            keeps the contract of `source.Source`.
        features: which feature of a record holds what; None for the usual names of the format.
        reshuffle_records: as in `ReadShards`.
    """

    source: source.Source
    features: feature_map.FeatureMap | None = None
    reshuffle_records: bool = False

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pbegin: beam.pvalue.PBegin) -> Mapping[str, beam.PCollection]:
        dataset = self.source.open()
        features = dataset.resolve(self.features or self.source.usual_features)
        read: Mapping[str, beam.PCollection] = pbegin | ReadShards(dataset.shards, features, self.reshuffle_records)
        return read


@dataclasses.dataclass(eq=False)
class ReadShards(beam.PTransform):
    """The records of `shards` to ``{MAIN_TAG: EncodedExample, DEAD_LETTER_TAG: DeadLetter, SHARDS_TAG: ShardRead}``.

    `HELD_TAG` has what features the records have, of whatever part they are.

    Args:
        shards: what to read.
        features: which feature of a record holds what.
        reshuffle_records: also spread the encoded records over the workers: worth its cost (below 0.1 ms per
            6 KB record) only when there are fewer files than workers.
        part: of the records, by the ids of their images; others are counted as `records.NOT_NEEDED`, in the
            output `HELD_TAG`. What cannot be read is told wherever it stands. None for all.
    """

    shards: tuple[source.Shard, ...]
    features: feature_map.FeatureMap
    reshuffle_records: bool = False
    part: sampling.Part | None = None

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pbegin: beam.pvalue.PBegin) -> Mapping[str, beam.PCollection]:
        shards = pbegin | "Shards" >> beam.Create(self.shards) | "ShareShards" >> beam.Reshuffle()
        tags = (records.DEAD_LETTER_TAG, SHARDS_TAG)
        read = shards | "ReadShard" >> beam.ParDo(_ReadShard()).with_outputs(*tags, main=MAIN_TAG)
        serialized = read[MAIN_TAG]
        if self.reshuffle_records:
            serialized |= "ShareRecords" >> beam.Reshuffle()
        tags = (records.DEAD_LETTER_TAG, HELD_TAG)
        parsed = serialized | "Parse" >> beam.ParDo(_Parse(self.features, self.part)).with_outputs(*tags, main=MAIN_TAG)
        lost = (read[records.DEAD_LETTER_TAG], parsed[records.DEAD_LETTER_TAG])
        return {
            MAIN_TAG: parsed[MAIN_TAG],
            records.DEAD_LETTER_TAG: lost | "Lost" >> beam.Flatten().with_output_types(records.DeadLetter),
            SHARDS_TAG: read[SHARDS_TAG],
            HELD_TAG: parsed[HELD_TAG],
        }


@beam.typehints.with_output_types(tuple[str, int, bytes])
class _ReadShard(beam.DoFn):
    """A `source.Shard` to ``(shard name, index, serialized record)``."""

    def __init__(self) -> None:
        super().__init__()
        self._records_read = Metrics.counter(NAMESPACE, "records_read")
        self._read_bytes = Metrics.counter(NAMESPACE, "read_bytes")
        self._dead_letters = Metrics.counter(NAMESPACE, "dead_letters_read")

    def process(self, shard: source.Shard) -> Iterator[tuple[str, int, bytes] | beam.pvalue.TaggedOutput]:
        given, end = 0, None
        for index, record in _told(shard):
            given += 1
            self._records_read.inc()
            tally.TALLY.add("images_read")
            if isinstance(record, records.DataError):
                end = record if isinstance(record, records.ShardEnds) else None
                self._dead_letters.inc()
                tally.TALLY.add("dead_letters")
                image_id = features.default_image_id(shard.name, index)
                dead_letter = records.DeadLetter.from_error(image_id, shard.name, index, STAGE, record)
                yield beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, dead_letter)
            else:
                self._read_bytes.inc(len(record))
                tally.TALLY.add("read_bytes", len(record))
                yield shard.name, index, record
        read = losses.read_of(shard.name, shard.stored_bytes, shard.count, given, end)
        yield beam.pvalue.TaggedOutput(SHARDS_TAG, read)


def _told(shard: source.Shard) -> source.Read:
    """The records of `shard`; where its disk or connection fails, the error names the file in one line."""
    with errors.about(shard.path, "read"):
        yield from shard.records()


@beam.typehints.with_output_types(records.EncodedExample)
class _Parse(beam.DoFn):
    """``(shard name, index, serialized record)`` to `EncodedExample`."""

    def __init__(self, names: feature_map.FeatureMap, part: sampling.Part | None = None):
        super().__init__()
        self._part = part
        self._not_needed = 0
        self._features = names
        self._named = names.names()
        self._held: collections.Counter[str] = collections.Counter()
        self._dead_letters = Metrics.counter(NAMESPACE, "dead_letters_read")

    def start_bundle(self) -> None:
        self._held = collections.Counter(dict.fromkeys(self._named, 0))  # what none has is to be said too
        self._not_needed = 0

    def finish_bundle(self) -> Iterator[beam.pvalue.TaggedOutput]:
        whole = window.GlobalWindow()
        held = {HELD_PREFIX + name: count for name, count in self._held.items()}
        if self._part is not None:
            held[records.NOT_NEEDED] = self._not_needed
        yield beam.pvalue.TaggedOutput(HELD_TAG, windowed_value.WindowedValue(held, whole.max_timestamp(), [whole]))

    def process(self, element: tuple[str, int, bytes]) -> Iterator[records.EncodedExample | beam.pvalue.TaggedOutput]:
        shard, index, serialized = element
        try:
            parsed = tfexample.parse(serialized, self._features.record)
            example = features.example_of(parsed, self._features, shard, index)
            held = tuple(features.held(parsed, self._named))
        except records.DataError as error:
            self._dead_letters.inc()
            tally.TALLY.add("dead_letters")
            image_id = features.readable_image_id(serialized, self._features, shard, index)
            dead_letter = records.DeadLetter.from_error(image_id, shard, index, STAGE, error)
            yield beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, dead_letter)
            return
        self._held.update(held)
        if self._part is None or self._part.has(example.image_id):
            yield example
        else:
            self._not_needed += 1

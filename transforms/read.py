"""Shards to `EncodedExample` records.

Shard names are shuffled so that workers share them; the bytes of a record are not, unless asked for. A shard that is
damaged gives the records before the damage and one dead letter. A pattern that matches nothing is an error before the
run starts.

Counters (namespace `NAMESPACE`): ``records_read`` counts every record that left this step, as an example or as a dead
letter; ``dead_letters_read`` those of the second kind; ``read_bytes`` the bytes of all records.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator, Mapping, Sequence

import apache_beam as beam
from apache_beam.io import filesystem, filesystems
from apache_beam.metrics import Metrics

from heatbeam.transforms import records, tally
from heatbeam.transforms.sources import arrayrecord, features, tfrecord

NAMESPACE = "heatbeam"
MAIN_TAG = "main"
STAGE = "read"


@dataclasses.dataclass(frozen=True)
class Shard:
    """A range of the records of one file.

    Attributes:
        path: where it is, on any Beam file system.
        name: what records call it: its base name, with as many parent folders as it takes to be unique in the run.
        file_format: ``tfrecord`` or ``array_record``.
        start: index of the first record to read.
        stop: index behind the last, or None for all there are.
        first: `start` of the first range of this file; differs from `start` where a file is read in several ranges.
    """

    path: str
    name: str
    file_format: str
    start: int
    stop: int | None
    first: int


@dataclasses.dataclass(eq=False)
class ReadTFRecords(beam.PTransform):
    """TFRecord files to ``{MAIN_TAG: EncodedExample, DEAD_LETTER_TAG: DeadLetter}``.

    Args:
        patterns: file names and globs on any Beam file system. They are matched when the pipeline is built.
        compression: one of `tfrecord.COMPRESSIONS`.
        features: which feature of a record holds what.
        reshuffle_records: also spread the encoded records over the workers: worth its cost (below 0.1 ms per
            6 KB record) only when there are fewer files than workers.
    """

    patterns: tuple[str, ...]
    compression: str
    features: features.FeatureMap
    reshuffle_records: bool

    def __post_init__(self) -> None:
        super().__init__()
        if self.compression not in tfrecord.COMPRESSIONS:
            expected = ", ".join(tfrecord.COMPRESSIONS)
            raise ValueError(f"unknown TFRecord compression {self.compression!r}; expected one of {expected}")

    def expand(self, pbegin: beam.pvalue.PBegin) -> Mapping[str, beam.PCollection]:
        shards = match_shards(self.patterns)
        return pbegin | ReadShards(shards, self.compression, self.features, self.reshuffle_records)


def match_shards(patterns: Sequence[str]) -> tuple[Shard, ...]:
    """The files that `patterns` match, sorted by path, each once.

    Raises:
        ValueError: a pattern matches nothing, names a folder, or is on a file system that is not installed. Every such
            pattern is named.
    """
    if not patterns:
        raise ValueError("no TFRecord files were named; give at least one file name or glob")
    problems: list[str] = []
    paths: set[str] = set()
    for pattern in patterns:
        try:
            found = _match(pattern)
        except ValueError as error:
            problems.append(f"{pattern}: {error}")
            continue
        paths.update(found)
    if problems:
        raise ValueError("cannot read the TFRecord input:\n" + "\n".join(problems))
    names = shard_names(sorted(paths))
    return tuple(Shard(path, names[path], "tfrecord", 0, None, 0) for path in sorted(paths))


def total_bytes(paths: Sequence[str]) -> int:
    """Bytes of the files at `paths`, as they are stored; one that is not there counts nothing.

    Files of a folder are asked for together, by what their names begin with: on an object store a question costs a
    connection, and there may be thousands of files.
    """
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    patterns = [os.path.commonprefix(together) + "*" for together in folders.values()]
    matched = filesystems.FileSystems.match(patterns)
    wanted = set(paths)
    return sum(m.size_in_bytes for result in matched for m in result.metadata_list if m.path in wanted)


def _match(pattern: str) -> list[str]:
    (result,) = filesystems.FileSystems.match([pattern])
    local = "://" not in pattern
    found = [os.path.abspath(item.path) if local else item.path for item in result.metadata_list]
    if not found:
        raise ValueError("no file matches; check the spelling and the current folder")
    if local and any(os.path.isdir(path) for path in found):
        raise ValueError("this is a folder; name its files, for example with /*.tfrecord*")
    return found


def shard_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest ends of `paths`, in whole path components and equally many for all, that tell them apart.

    Usually the base names. Two files ``a/x`` and ``b/x`` keep their folders, so that ids made of shard and index stay
    unique.
    """
    parts = {path: path.replace("\\", "/").split("/") for path in paths}
    names = {path: path for path in paths}
    for count in range(1, max((len(part) for part in parts.values()), default=1) + 1):
        names = {path: "/".join(part[-count:]) for path, part in parts.items()}
        if len(set(names.values())) == len(parts):
            break
    return names


@dataclasses.dataclass(eq=False)
class ReadShards(beam.PTransform):
    """The records of `shards` to ``{MAIN_TAG: EncodedExample, DEAD_LETTER_TAG: DeadLetter}``.

    Args:
        shards: what to read.
        compression: of TFRecord files, one of `tfrecord.COMPRESSIONS`.
        features: which feature of a record holds what.
        reshuffle_records: as in `ReadTFRecords`.
    """

    shards: tuple[Shard, ...]
    compression: str
    features: features.FeatureMap
    reshuffle_records: bool

    def __post_init__(self) -> None:
        super().__init__()

    def expand(self, pbegin: beam.pvalue.PBegin) -> Mapping[str, beam.PCollection]:
        shards = pbegin | "Shards" >> beam.Create(self.shards) | "ShareShards" >> beam.Reshuffle()
        read = shards | "ReadShard" >> beam.ParDo(_ReadShard(self.compression)).with_outputs(
            records.DEAD_LETTER_TAG, main=MAIN_TAG
        )
        serialized = read[MAIN_TAG]
        if self.reshuffle_records:
            serialized |= "ShareRecords" >> beam.Reshuffle()
        parsed = serialized | "Parse" >> beam.ParDo(_Parse(self.features)).with_outputs(
            records.DEAD_LETTER_TAG, main=MAIN_TAG
        )
        lost = (read[records.DEAD_LETTER_TAG], parsed[records.DEAD_LETTER_TAG])
        return {
            MAIN_TAG: parsed[MAIN_TAG],
            records.DEAD_LETTER_TAG: lost | "Lost" >> beam.Flatten().with_output_types(records.DeadLetter),
        }


def read_shard(shard: Shard, compression: str) -> Iterator[tuple[int, bytes | records.DataError]]:
    """The records of `shard`, each with its index in the whole file; a `DataError` where one cannot be read.

    Other errors of the file system (no permission, connection lost) are raised: they say nothing about the data.
    """
    try:
        if shard.file_format == "array_record":
            assert shard.stop is not None
            if not os.path.exists(shard.path):
                raise FileNotFoundError(shard.path)
            yield from arrayrecord.read_records(shard.path, shard.start, shard.stop, shard.first)
        else:
            yield from _read_tfrecord(shard, compression)
    except FileNotFoundError:
        if shard.start == shard.first:
            yield shard.start, records.DataError("missing_shard", f"there is no file {shard.name}")


def _read_tfrecord(shard: Shard, compression: str) -> Iterator[tuple[int, bytes | records.DataError]]:
    uncompressed = (
        filesystem.CompressionTypes.UNCOMPRESSED
    )  # `tfrecord` unpacks, so that it can say where damage begins
    index = 0
    with filesystems.FileSystems.open(shard.path, compression_type=uncompressed) as stream:
        serialized = tfrecord.read_records(stream, compression)
        while shard.stop is None or index < shard.stop:
            try:
                record = next(serialized, None)
            except records.DataError as error:
                yield max(index, shard.start), error
                return
            if record is None:
                break
            if index >= shard.start:
                yield index, record
            index += 1
    if shard.stop is not None and index < shard.stop:
        message = f"the file has only {index} records, fewer than its dataset says"
        yield max(index, shard.start), records.DataError("truncated_shard", message)


@beam.typehints.with_output_types(tuple[str, int, bytes])
class _ReadShard(beam.DoFn):
    """A `Shard` to ``(shard name, index, serialized record)``."""

    def __init__(self, compression: str):
        super().__init__()
        self._compression = compression
        self._records_read = Metrics.counter(NAMESPACE, "records_read")
        self._read_bytes = Metrics.counter(NAMESPACE, "read_bytes")
        self._dead_letters = Metrics.counter(NAMESPACE, "dead_letters_read")

    def process(self, shard: Shard) -> Iterator[tuple[str, int, bytes] | beam.pvalue.TaggedOutput]:
        for index, record in read_shard(shard, self._compression):
            self._records_read.inc()
            tally.TALLY.add("images_read")
            if isinstance(record, records.DataError):
                self._dead_letters.inc()
                tally.TALLY.add("dead_letters")
                image_id = features.default_image_id(shard.name, index)
                dead_letter = records.DeadLetter.from_error(image_id, shard.name, index, STAGE, record)
                yield beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, dead_letter)
            else:
                self._read_bytes.inc(len(record))
                tally.TALLY.add("read_bytes", len(record))
                yield shard.name, index, record


@beam.typehints.with_output_types(records.EncodedExample)
class _Parse(beam.DoFn):
    """``(shard name, index, serialized record)`` to `EncodedExample`."""

    def __init__(self, feature_map: features.FeatureMap):
        super().__init__()
        self._features = feature_map
        self._dead_letters = Metrics.counter(NAMESPACE, "dead_letters_read")

    def process(self, element: tuple[str, int, bytes]) -> Iterator[records.EncodedExample | beam.pvalue.TaggedOutput]:
        shard, index, serialized = element
        try:
            yield features.parse_example(serialized, self._features, shard, index)
        except records.DataError as error:
            self._dead_letters.inc()
            tally.TALLY.add("dead_letters")
            image_id = features.readable_image_id(serialized, self._features, shard, index)
            dead_letter = records.DeadLetter.from_error(image_id, shard, index, STAGE, error)
            yield beam.pvalue.TaggedOutput(records.DEAD_LETTER_TAG, dead_letter)

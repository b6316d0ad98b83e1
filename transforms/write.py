"""Records to Parquet files.

Every table goes through one sink: an Arrow table per element, collected into row groups, written to a temporary file
per bundle and renamed to ``part-00000-of-0000N.parquet`` when all bundles are done. An input without elements leaves
one valid file of no rows. Files go through Beam's filesystems, so a directory may be remote.

A bundle that is retried writes another temporary file; only the file of the attempt that was committed is renamed, and
the temporary folder is removed with the others in it. A run that fails leaves its ``beam-temp-*`` folder behind.

The rows of ``explanations`` are also kept in a journal (`journal`) while the run goes on, so that a run that is killed
loses only what was in flight.

Counters, namespace ``heatbeam``: ``<table>_rows_written``, ``<table>_bytes_written``. They count attempts; the files
themselves are the truth.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import apache_beam as beam
import pyarrow as pa
import pyarrow.parquet as pq
from apache_beam.io import filebasedsink, filesystem, filesystems, iobase
from apache_beam.metrics import metric
from apache_beam.transforms import window
from apache_beam.utils import windowed_value

from heatbeam.transforms import errors, heatmaps, records
from heatbeam.transforms.tables import journal, rows, schemas

TABLE_ROWS = 1024
"""Rows that are collected before they become an Arrow table."""

_LIST_PATH = ".list.element"


@dataclasses.dataclass(frozen=True)
class Limits:
    """Bounds of a row group, and how hard zstd tries.

    Attributes:
        rows: rows after which a row group is written.
        bytes: Arrow bytes after which it is written, whichever comes first.
        compression_level: of zstd, 1 to 22.
    """

    rows: int
    bytes: int
    compression_level: int

    def __post_init__(self) -> None:
        if self.rows < 1 or self.bytes < 1:
            raise ValueError(f"a row group needs at least one row and one byte; got {self.rows} and {self.bytes}")
        if not 1 <= self.compression_level <= 22:
            raise ValueError(f"zstd has levels 1 to 22; got {self.compression_level}")


def parquet_options(schema: pa.Schema) -> dict[str, Any]:
    """Encodings of the columns of `schema`, as arguments of `pyarrow.parquet.ParquetWriter`.

    Only those that every reader knows: strings and integers get a dictionary, floats and maps are plain. Byte-stream
    split shuts out Spark's default reader and fastparquet, and under zstd it and delta encoding save nothing: tables
    of the demo take 2.50 MB plain and 2.74 MB with them. Maps of volumes have few steps (`schemas.volume_steps`): those
    get a dictionary. Scalar columns have statistics.
    """
    few_steps = "heatmap" in schema.names and schemas.volume_steps(schema) < heatmaps.INT16_STEPS
    dictionary: list[str] = []
    statistics: list[str] = []
    for field in schema:
        is_list = pa.types.is_list(field.type)
        path = field.name + _LIST_PATH if is_list else field.name
        value_type = field.type.value_type if is_list else field.type
        if (field.name != "heatmap" or few_steps) and not pa.types.is_floating(value_type):
            dictionary.append(path)
        if not is_list:
            statistics.append(path)
    return {"use_dictionary": dictionary, "write_statistics": statistics}


class _TableFile:
    """An open Parquet file that collects tables into row groups."""

    def __init__(self, stream: Any, schema: pa.Schema, limits: Limits, kept: journal.Journal | None):
        self._kept = kept
        self._stream = stream
        self._schema = schema
        self._limits = limits
        self._pending: list[pa.Table] = []
        self._pending_rows = 0
        self._pending_bytes = 0
        self._sink = pa.PythonFile(stream, mode="w")
        self._writer = pq.ParquetWriter(
            self._sink,
            schema,
            compression="zstd",
            compression_level=limits.compression_level,
            **parquet_options(schema),
        )

    @contextlib.contextmanager
    def given_up_on_failure(self) -> Iterator[None]:
        """A writer that failed must not try again when it is collected: Python would show a traceback of that."""
        try:
            yield
        except OSError:
            self._writer.is_open = False
            raise

    def write(self, table: pa.Table) -> None:
        schemas.check(table, self._schema)
        if self._kept is not None:
            self._kept.write(table)
        self._pending.append(table)
        self._pending_rows += table.num_rows
        self._pending_bytes += table.nbytes
        if self._pending_bytes >= self._limits.bytes:
            self._flush(self._pending_rows)
        elif self._pending_rows >= self._limits.rows:
            # What does not fill a row group waits for more, or every second group would be a small one.
            self._flush(self._pending_rows - self._pending_rows % self._limits.rows)

    def _flush(self, count: int) -> None:
        if not count:
            return
        table = pa.concat_tables(self._pending).cast(self._schema)
        self._writer.write_table(table.slice(0, count), row_group_size=self._limits.rows)
        rest = table.slice(count)
        self._pending = [rest] if rest.num_rows else []
        self._pending_rows, self._pending_bytes = rest.num_rows, rest.nbytes

    def close(self) -> int:
        """Finish the file; its size in bytes."""
        if self._kept is not None:
            self._kept.close()
        self._flush(self._pending_rows)
        self._writer.close()
        size = int(self._sink.tell())
        self._stream.close()
        return size


class ParquetSink(filebasedsink.FileBasedSink):
    """Writes Arrow tables of one schema to ``<directory>/part-*.parquet``.

    Args:
        directory: where the files go.
        table_name: name of the table in the counters.
        schema: of every element.
        limits: bounds of the row groups.
        num_shards: number of files; 0 for one per bundle, without a shuffle.
        journal_directory: where the journals of unfinished files go; None for no journal.
        run_id: put into every row of the files, as their last column; None for no such column.
    """

    def __init__(
        self,
        directory: str,
        table_name: str,
        schema: pa.Schema,
        limits: Limits,
        num_shards: int,
        journal_directory: str | None = None,
        run_id: str | None = None,
    ):
        super().__init__(
            filesystems.FileSystems.join(directory, "part"),
            coder=None,
            file_name_suffix=".parquet",
            num_shards=num_shards,
            compression_type=filesystem.CompressionTypes.UNCOMPRESSED,
        )
        self._directory = directory
        self._run_id = run_id
        self._schema = schema if run_id is None else schemas.of_run(schema)
        self._limits = limits
        self._journal_directory = journal_directory
        self._rows_written = metric.Metrics.counter("heatbeam", f"{table_name}_rows_written")
        self._bytes_written = metric.Metrics.counter("heatbeam", f"{table_name}_bytes_written")

    def open(self, temp_path: str) -> _TableFile:
        kept = None
        if self._journal_directory is not None:
            kept = journal.Journal(self._journal_directory, self._schema, journal.Pace())
        with errors.about(self._directory, "write"):
            return _TableFile(super().open(temp_path), self._schema, self._limits, kept)

    def write_record(self, file_handle: _TableFile, value: pa.Table) -> None:
        with errors.about(self._directory, "write"), file_handle.given_up_on_failure():
            file_handle.write(value if self._run_id is None else schemas.stamped(value, self._run_id))
        self._rows_written.inc(value.num_rows)

    def close(self, file_handle: _TableFile | None) -> None:
        if file_handle is not None:
            with errors.about(self._directory, "write"), file_handle.given_up_on_failure():
                size = file_handle.close()
            self._bytes_written.inc(size)


class _ToTablesFn(beam.DoFn):
    """Records to Arrow tables, never across bundles.

    Args:
        build: makes the table of a list of records.
        measure: rows and bytes of a record.
        prepare: what to keep of a record until its table is built.
        limits: rows and bytes after which a table is built; rows no more than `TABLE_ROWS`.
        promptly: whether a table is also built after a while, for a journal to take it.
    """

    def __init__(
        self,
        build: Callable[[Sequence[Any]], pa.Table],
        measure: Callable[[Any], tuple[int, int]],
        prepare: Callable[[Any], Any],
        limits: Limits,
        promptly: bool = False,
    ):
        self._promptly = promptly
        self._build = build
        self._measure = measure
        self._prepare = prepare
        self._limits = limits
        self._records: list[Any] = []
        self._rows = 0
        self._bytes = 0

    def start_bundle(self) -> None:
        self._clear()
        self._pace = journal.Pace()

    def _clear(self) -> None:
        self._records, self._rows, self._bytes = [], 0, 0

    def process(self, element: Any) -> Iterator[pa.Table]:
        self._records.append(self._prepare(element))
        count, size = self._measure(element)
        self._rows += count
        self._bytes += size
        full = self._rows >= min(TABLE_ROWS, self._limits.rows) or self._bytes >= self._limits.bytes
        if full or (self._promptly and self._pace.due()):
            yield self._take()

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        if self._records:
            whole = window.GlobalWindow()
            yield windowed_value.WindowedValue(self._take(), whole.max_timestamp(), (whole,))

    def _take(self) -> pa.Table:
        started = time.monotonic()
        table = self._build(self._records)
        self._clear()
        self._pace.done(time.monotonic() - started)
        return table


def _without_ground_truth(localization: records.Localization) -> records.Localization:
    # Masks at the size of the original image would be held until the table is built, and no column needs them.
    explanation = dataclasses.replace(localization.explanation, ground_truth=records.GroundTruth())
    return dataclasses.replace(localization, explanation=explanation)


def _measure_localization(localization: records.Localization) -> tuple[int, int]:
    return rows.row_count(localization), sum(maps.maps.nbytes for maps in localization.explanation.methods)


def _measure_dead_letter(letter: records.DeadLetter) -> tuple[int, int]:
    return 1, len(letter.message)


def _unchanged(element: Any) -> Any:
    return element


@dataclasses.dataclass
class WriteExplanations(beam.PTransform):
    """`records.Localization` elements to the ``explanations`` table; the result holds the paths written.

    The rows stay in the stage that made them: nothing is shuffled but the names of temporary files.

    Attributes:
        directory: ``RUN/explanations``.
        schema: of `schemas.explanations`.
        class_names: name of each class of the model's output.
        limits: bounds of the row groups.
        journal_directory: where rows are also kept until the run has finished, or None.
        run_id: put into every row, as the last column; None for no such column.
    """

    directory: str
    schema: pa.Schema
    class_names: tuple[str, ...]
    limits: Limits
    journal_directory: str | None = None
    run_id: str | None = None

    def expand(self, localizations: beam.PCollection) -> beam.PCollection:
        build = functools.partial(rows.explanation_table, schema=self.schema, class_names=self.class_names)
        promptly = self.journal_directory is not None
        to_tables = _ToTablesFn(build, _measure_localization, _without_ground_truth, self.limits, promptly)
        sink = ParquetSink(
            self.directory, "explanations", self.schema, self.limits, 0, self.journal_directory, self.run_id
        )
        return (
            localizations
            | "ToTables" >> beam.ParDo(to_tables).with_output_types(pa.Table)
            | "Write" >> iobase.Write(sink)
        )


@dataclasses.dataclass
class WriteDeadLetters(beam.PTransform):
    """`records.DeadLetter` elements to the ``dead_letters`` table, in one file; the result holds its path.

    Attributes:
        directory: ``RUN/dead_letters``.
        schema: `schemas.DEAD_LETTERS`, with the metadata of the run or without.
        limits: bounds of the row groups.
        run_id: put into every row, as the last column; None for no such column.
    """

    directory: str
    schema: pa.Schema
    limits: Limits
    run_id: str | None = None

    def expand(self, letters: beam.PCollection) -> beam.PCollection:
        build = functools.partial(schemas.dead_letter_table, schema=self.schema)
        to_tables = _ToTablesFn(build, _measure_dead_letter, _unchanged, self.limits)
        sink = ParquetSink(self.directory, "dead_letters", self.schema, self.limits, 1, run_id=self.run_id)
        return letters | "ToTables" >> beam.ParDo(to_tables).with_output_types(pa.Table) | "Write" >> iobase.Write(sink)


@dataclasses.dataclass
class WriteTable(beam.PTransform):
    """Arrow tables of one schema to a directory, one file per bundle; the result holds the paths written.

    Meant for the few tables of aggregation. An element must not be a slice of a larger table: Beam may encode
    elements, and a slice is encoded with everything it was cut from.

    Attributes:
        directory: ``RUN/summary`` or ``RUN/curves``.
        name: name of the table in the counters.
        schema: of every element.
        limits: bounds of the row groups.
        run_id: put into every row, as the last column; None for no such column.
    """

    directory: str
    name: str
    schema: pa.Schema
    limits: Limits
    run_id: str | None = None

    def expand(self, tables: beam.PCollection) -> beam.PCollection:
        sink = ParquetSink(self.directory, self.name, self.schema, self.limits, 0, run_id=self.run_id)
        return tables | "Write" >> iobase.Write(sink)

"""The steps of a job one after another in one thread, without Beam: what each costs, and what Beam adds."""

from __future__ import annotations

import itertools
import pathlib
import time
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, TypeVar

import apache_beam as beam
import pyarrow as pa

from heatbeam.job import classes, plan, step_options
from heatbeam.transforms import aggregate, explain, records, write
from heatbeam.transforms.metrics import image_evidence
from heatbeam.transforms.sources import features, source
from heatbeam.transforms.tables import rows

Element = TypeVar("Element")

STEPS = ("read", "decode", "explain", "localize", "aggregate", "write")


class Stages:
    """The steps of a planned job, called by hand. The model is loaded and warm when this is made.

    Args:
        planned: the job.
        directory: where the table goes.

    Attributes:
        seconds: spent in each step.
        images: how many images reached the table.
        examples: the first batch as decoded, for measurements of the model alone.
    """

    def __init__(self, planned: plan.Plan, directory: str) -> None:
        settings = planned.settings
        self._engine, _ = explain.acquire_engine(planned.engine_spec)
        about = self._engine.description
        self._plan, names = classes.resolved(planned, about)
        self._decode_step = step_options.decode_step(settings, about, self._plan.features)
        self._explain = explain._ExplainFn(step_options.explain_step(planned, about))
        self._explain.setup()
        self._localize_step = step_options.localize_step(settings)
        self._aggregate = aggregate._PreAggregateFn(step_options.aggregate_step(settings, names))
        self._names = names
        self._directory = directory
        self.seconds: dict[str, float] = dict.fromkeys(STEPS, 0.0)
        self.images = 0
        self.examples: list[records.Example] = []

    @property
    def engine(self) -> Any:
        """The loaded engine."""
        return self._engine

    def run(self, limit: int | None = None) -> None:
        """Take at most `limit` records of the input through every step; `seconds` and `images` say what happened."""
        schema = step_options.explanations_schema(self._plan.settings)
        path = str(pathlib.Path(self._directory) / "straight.parquet")
        table = write._ToTablesFn(
            lambda kept: rows.explanation_table(kept, schema, self._names),
            write._measure_localization,
            write._without_ground_truth,
            step_options.LIMITS,
        )
        sink = write.ParquetSink(self._directory, "explanations", schema, step_options.LIMITS, 0)
        file = sink.open(path)
        self._aggregate.start_bundle()
        table.start_bundle()
        for batch in _batches(self._records(limit), self._engine.batch_size):
            examples = self._timed("decode", (self._decode(one) for one in batch))
            good = [e for e in examples if e is not None]
            self.examples = self.examples or good
            explained = self._timed("explain", self._explain.process(good))
            for one in explained:
                if not isinstance(one, beam.pvalue.TaggedOutput):
                    self._finish(one, table, sink, file)
        self._write((rest.value for rest in table.finish_bundle()), sink, file)
        self._timed("write", map(sink.close, [file]))
        self._timed("aggregate", self._aggregate.finish_bundle())

    def _finish(self, explanation: records.Explanation, table: Any, sink: write.ParquetSink, file: Any) -> None:
        ((row, evidence),) = self._timed("localize", map(self._localize, [explanation]))
        self._timed("aggregate", self._aggregate.process(evidence))
        self._write(table.process(row), sink, file)
        self.images += 1

    def _write(self, tables: Iterable[pa.Table], sink: write.ParquetSink, file: Any) -> None:
        started = time.perf_counter()
        for table in tables:
            sink.write_record(file, table)
        self.seconds["write"] += time.perf_counter() - started

    def _localize(self, explanation: records.Explanation) -> Any:
        step = self._localize_step
        return image_evidence.localize(explanation, step.protocol, step.groups, step.baselines)

    def _timed(self, step: str, work: Iterable[Element]) -> list[Element]:
        """All of a lazy `work`, its time added to `step`."""
        started = time.perf_counter()
        done = list(work)
        self.seconds[step] += time.perf_counter() - started
        return done

    def _records(self, limit: int | None) -> Iterator[records.EncodedExample]:
        left = limit
        for shard in self._plan.dataset.shards:
            stream = shard.records()
            while left is None or left > 0:
                parsed = self._timed("read", (self._parse(shard, *item) for item in itertools.islice(stream, 1)))
                if not parsed:
                    break
                left = None if left is None else left - 1
                yield from (one for one in parsed if one is not None)

    def _parse(self, shard: source.Shard, index: int, record: Any) -> records.EncodedExample | None:
        """The parsed record; None for one that a job would count as lost."""
        if isinstance(record, records.DataError):
            return None
        try:
            return features.parse_example(record, self._plan.features, shard.name, index)
        except records.DataError:
            return None

    def _decode(self, encoded: records.EncodedExample) -> records.Example | None:
        try:
            return self._decode_step.decoded(encoded)
        except records.DataError:
            return None


def _batches(elements: Iterator[Element], size: int) -> Iterator[Sequence[Element]]:
    while batch := list(itertools.islice(elements, size)):
        yield batch

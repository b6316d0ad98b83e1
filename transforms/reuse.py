"""Attach to each record what an earlier run said about its image.

It stands before decoding, in the stage that explains: what is found lets the next steps do less, and nothing is
shuffled.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator

import apache_beam as beam
from apache_beam.metrics import metric

from heatbeam.transforms import records
from heatbeam.transforms.tables import earlier


@dataclasses.dataclass
class Reuse(beam.PTransform):
    """`records.EncodedExample` to the same with `records.EncodedExample.earlier`.

    Counters (namespace ``heatbeam``): ``maps_reused`` (of methods, each of all classes of an image), ``reuse_msec``.

    Attributes:
        index_path: of the file that `earlier.Index.save` wrote.
        wanted: what this run wants of an image.
    """

    index_path: str
    wanted: earlier.Wanted

    def expand(self, parsed: beam.PCollection) -> beam.PCollection:
        return parsed | "Find" >> beam.ParDo(_FindFn(self.index_path, self.wanted))


@beam.typehints.with_output_types(records.EncodedExample)
class _FindFn(beam.DoFn):
    def __init__(self, index_path: str, wanted: earlier.Wanted) -> None:
        self._index_path = index_path
        self._wanted = wanted
        self._nanoseconds = 0
        self._maps_reused = metric.Metrics.counter("heatbeam", "maps_reused")
        self._msec = metric.Metrics.counter("heatbeam", "reuse_msec")

    def setup(self) -> None:
        self._rows = earlier.EarlierRows(earlier.load_index(self._index_path), self._wanted)

    def process(self, encoded: records.EncodedExample) -> Iterator[records.EncodedExample]:
        start = time.perf_counter_ns()
        found = self._rows.find(encoded, encoded.image_sha256)
        self._maps_reused.inc(len(found.methods))
        milliseconds, self._nanoseconds = divmod(self._nanoseconds + time.perf_counter_ns() - start, 1_000_000)
        self._msec.inc(milliseconds)
        yield dataclasses.replace(encoded, earlier=found)

    def teardown(self) -> None:
        self._rows.close()

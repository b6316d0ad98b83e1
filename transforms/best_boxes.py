"""Boxes at the best threshold of the run, row by row: a second pass over ``explanations``, after everything is counted.

The best threshold is known when the last image has been counted, and no heatmap is kept or shuffled until then. So the
rows that were written are read again, row group by row group: they hold the maps and the true boxes exactly as they
were scored. What is shuffled are the names of files and the thresholds.
"""

from __future__ import annotations

import contextlib
import dataclasses
from collections.abc import Iterator, Mapping

import apache_beam as beam
import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from apache_beam.io import filesystem, filesystems
from apache_beam.transforms import combiners

from heatbeam.transforms import records
from heatbeam.transforms.metrics import protocols
from heatbeam.transforms.metrics.localization import box_accuracy, localization
from heatbeam.transforms.tables import axis_columns, schemas, stored_maps

STATED = "single_50"
"""The best threshold at which a row's box is given: MaxBoxAcc's."""

_COLUMNS = ("image_id", "class_id", "method", "true_boxes")

Thresholds = Mapping[str, Mapping[str, float]]
"""Method -> name of a best threshold (`box_accuracy.threshold_names`) -> its value."""


@dataclasses.dataclass
class BestBoxes(beam.PTransform):
    """``{"written": ..., "thresholds": ...}`` to tables of ``localizations`` (`schema`).

    ``written`` is the sign that ``explanations`` is written. Its elements are not looked at: a writer that is tried
    again does not name the files of its first attempt. The files are those of the directory. ``thresholds`` holds
    ``(method, {name: value})`` elements, of `aggregate.THRESHOLDS_TAG`.

    Args:
        directory: ``RUN/explanations``.
        protocol: of the evaluation.
    """

    directory: str
    protocol: protocols.Protocol

    def expand(self, inputs: dict[str, beam.PCollection]) -> beam.PCollection:
        return (
            inputs["written"]
            | "Written" >> combiners.Count.Globally()
            | "Files" >> beam.FlatMap(_files, self.directory).with_output_types(str)
            | "SpreadFiles" >> beam.Reshuffle()
            | "RowGroups" >> beam.FlatMap(_row_groups).with_output_types(tuple[str, int])
            | "Spread" >> beam.Reshuffle()
            | "Score" >> beam.ParDo(_ScoreFn(self.protocol), beam.pvalue.AsDict(inputs["thresholds"]))
        )


def names(protocol: protocols.Protocol) -> list[str]:
    """Names of the best thresholds of a method."""
    return [name for _, _, name in box_accuracy.threshold_names(protocol.iou_limits)]


def schema(protocol: protocols.Protocol, rank: int = 2) -> pa.Schema:
    """Schema of ``localizations`` under a protocol, of inputs of `rank` position axes."""
    return schemas.localizations(names(protocol), rank)


def _files(_: int, directory: str) -> list[str]:
    matched = filesystems.FileSystems.match([filesystems.FileSystems.join(directory, "part-*.parquet")])
    return [found.path for found in matched[0].metadata_list]


@contextlib.contextmanager
def _opened(path: str) -> Iterator[pq.ParquetFile]:
    # Parquet's own reader closes only what it opened itself.
    with filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED) as stream:
        yield pq.ParquetFile(pa.PythonFile(stream, mode="r"))


def _row_groups(path: str) -> Iterator[tuple[str, int]]:
    with _opened(path) as file:
        for number in range(file.num_row_groups):
            yield path, number


@beam.typehints.with_output_types(pa.Table)
class _ScoreFn(beam.DoFn):
    def __init__(self, protocol: protocols.Protocol) -> None:
        self._protocol = protocol

    def process(self, place: tuple[str, int], thresholds: Thresholds) -> Iterator[pa.Table]:
        if not thresholds:
            return
        with _opened(place[0]) as file:
            columns = [*_COLUMNS, *stored_maps.placed_columns(file.schema_arrow.names)]
            found = file.read_row_group(place[1], columns=columns, use_threads=False)
        scored = table(found, thresholds, self._protocol)
        if scored.num_rows:
            yield scored


def table(explanations: pa.Table, thresholds: Thresholds, protocol: protocols.Protocol) -> pa.Table:
    """The rows of ``localizations`` for rows of ``explanations``: those whose class has boxes, in the same order.

    Args:
        explanations: with at least the columns that are used here.
        thresholds: of the methods.
        protocol: by which the run was scored.
    """
    boxed = pc.fill_null(pc.greater(pc.list_value_length(explanations["true_boxes"]), 0), False)
    known = pc.is_in(explanations["method"], pa.array(list(thresholds), pa.string()))
    chosen = explanations.filter(pc.and_(boxed, known))
    sought = box_accuracy.threshold_names(protocol.iou_limits)
    modes, places = [mode for mode, _, _ in sought], list(range(len(sought)))
    given = names(protocol).index(STATED)
    wanted = {method: [values[name] for _, _, name in sought] for method, values in thresholds.items()}
    rank = axis_columns.rank_of(chosen.column_names)
    ious, stated = np.zeros((chosen.num_rows, len(sought))), np.full((chosen.num_rows, 2 * rank), np.nan)
    methods = chosen["method"].to_pylist()
    maps = stored_maps.StoredMaps(chosen).each()
    for number, (raw, row) in enumerate(zip(maps, _sources(chosen, rank), strict=True)):
        best, boxes = localization.boxes_at(raw, *row, protocol, wanted[methods[number]])
        ious[number] = best[modes, places]
        stated[number] = boxes[given]
    columns = {name: chosen[name].combine_chunks() for name in ("image_id", "method", "class_id")}
    columns["best_box_threshold"] = np.array([thresholds[method][STATED] for method in methods], np.float64)
    columns |= zip(axis_columns.boxes(rank, "best_box"), stated.T, strict=True)
    columns |= {f"iou_{name}": ious[:, i] for i, (_, _, name) in enumerate(sought)}
    return schemas.table_from_columns(schema(protocol, rank), columns)


def _sources(chosen: pa.Table, rank: int) -> Iterator[tuple[records.Source, np.ndarray]]:
    """What is needed of each row's image, and its true boxes ``(N, 2 * rank)``."""
    sizes = zip(*(chosen[name].to_pylist() for name in axis_columns.sizes(rank)), strict=True)
    views = zip(*(chosen[name].to_pylist() for name in axis_columns.views(rank)), strict=True)
    boxes = chosen["true_boxes"].to_pylist()
    for size, view, corners in zip(sizes, views, boxes, strict=True):
        source = records.Source("", "", 0, "", size, view)
        yield source, np.array(corners, np.float64).reshape(-1, 2 * rank)

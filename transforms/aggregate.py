"""From what each image adds to the numbers of the dataset, per class and per slice.

Every number is a sum that can be added in any order (`metrics.summary`), so shards, workers and batches do not change
it. This module holds no formula. What is shuffled are the sums, once per bundle, never images or heatmaps.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import apache_beam as beam
import numpy as np
import pyarrow as pa
from apache_beam.transforms import window
from apache_beam.utils import windowed_value

from heatbeam.transforms.metrics import image_evidence, protocols, slicing, summary
from heatbeam.transforms.tables import schemas

SUMMARY_TAG = "summary"
CURVES_TAG = "curves"
THRESHOLDS_TAG = "thresholds"

# Sums are handed on before a bundle ends when they take this much: it bounds a worker's memory.
_MAX_BYTES = 64 << 20

CURVE_STEP = 20
"""Curves of single classes and slices keep every so-many-th threshold; the curve over everything keeps all.

The numbers of the summary, such as the best over all thresholds, are always made from all of them.
"""

Key = tuple[str, str, str]
"""``(method, slice_name, slice_value)``."""


@dataclasses.dataclass
class Aggregate(beam.PTransform):
    """`image_evidence.ImageEvidence` to tables: `schemas.SUMMARY` (`SUMMARY_TAG`) and `schemas.CURVES` (`CURVES_TAG`).

    `THRESHOLDS_TAG` carries, for each method that has boxes to be scored against, its name and the best thresholds of
    the whole run (`summary.MetricState.best_thresholds`).

    Attributes:
        protocol: of the metrics.
        primary_target: whose maps the numbers are about; other targets have a slice of their own
            (``slice_name`` = ``target``).
        class_names: one per class, unlike.
        per_class: whether there are numbers for each class.
        replicates: of the bootstrap, for the numbers over everything and over slices.
    """

    protocol: protocols.Protocol
    primary_target: str
    class_names: tuple[str, ...]
    per_class: bool
    replicates: int

    def expand(self, evidence: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        return (
            evidence
            | "PreAggregate" >> beam.ParDo(_PreAggregateFn(self))
            | "Combine" >> beam.CombinePerKey(_MergeFn(self.protocol))
            | "ByMethod" >> beam.Map(_by_method).with_output_types(tuple[str, tuple[Key, summary.MetricState]])
            | "Gather" >> beam.GroupByKey()
            | "Summarize" >> beam.ParDo(_SummarizeFn()).with_outputs(CURVES_TAG, THRESHOLDS_TAG, main=SUMMARY_TAG)
        )


@beam.typehints.with_output_types(tuple[Key, summary.MetricState])
class _PreAggregateFn(beam.DoFn):
    def __init__(self, settings: Aggregate) -> None:
        self._protocol = settings.protocol
        self._primary = settings.primary_target
        self._names = settings.class_names
        self._per_class = settings.per_class
        self._replicates = settings.replicates
        self._clear()

    def _clear(self) -> None:
        self._states: dict[Key, summary.MetricState] = {}
        self._sizes: dict[Key, int] = {}
        self._bytes = 0

    def start_bundle(self) -> None:
        self._clear()

    def process(self, image: image_evidence.ImageEvidence) -> Iterator[tuple[Key, summary.MetricState]]:
        for one in image.maps:
            curves = dict(one.curves)
            for slice_name, value in self._slices(image, one):
                key = (one.method, slice_name, value)
                state = self._states.get(key)
                if state is None:
                    # A class has few images and there are many classes: no replicates there (see `summary`).
                    replicates = 0 if slice_name == slicing.CLASS else self._replicates
                    state = self._states[key] = summary.MetricState(self._protocol, replicates)
                state.add(one.evidence, image.image_id, curves)
                # A state grows with its classes and the size of its counts: to look at every doubling is enough.
                if state.images & (state.images - 1) == 0:
                    self._measure(key, state)
        if self._bytes > _MAX_BYTES:
            yield from self._states.items()
            self._clear()

    def _measure(self, key: Key, state: summary.MetricState) -> None:
        size = state.nbytes
        self._bytes += size - self._sizes.get(key, 0)
        self._sizes[key] = size

    def _slices(
        self, image: image_evidence.ImageEvidence, one: image_evidence.MapEvidence
    ) -> Iterator[tuple[str, str]]:
        if self._primary in one.targets:
            yield slicing.ALL, slicing.ALL
            if self._per_class:
                yield slicing.CLASS, self._names[one.evidence.class_id]
            yield from image.slices
        for target in one.targets:
            if target != self._primary:
                yield slicing.TARGET, target

    def finish_bundle(self) -> Iterator[windowed_value.WindowedValue]:
        whole = window.GlobalWindow()
        for element in self._states.items():
            yield windowed_value.WindowedValue(element, whole.max_timestamp(), [whole])
        self._clear()


class _MergeFn(beam.CombineFn):
    """Sums of sums; None is the sum of nothing."""

    def __init__(self, protocol: protocols.Protocol) -> None:
        self._protocol = protocol

    def create_accumulator(self) -> summary.MetricState | None:
        return None

    def add_input(self, accumulator: summary.MetricState | None, state: summary.MetricState) -> summary.MetricState:
        return self.merge_accumulators([accumulator, state])  # type: ignore[return-value]

    def merge_accumulators(self, accumulators: Iterable[summary.MetricState | None]) -> summary.MetricState | None:
        merged: summary.MetricState | None = None
        for state in accumulators:
            if state is not None:
                if merged is None:
                    merged = summary.MetricState(self._protocol, state.replicates)
                merged.absorb(state)
        return merged

    def extract_output(self, accumulator: summary.MetricState) -> summary.MetricState:
        return accumulator


def _by_method(element: tuple[Key, summary.MetricState]) -> tuple[str, tuple[Key, summary.MetricState]]:
    return element[0][0], element


@beam.typehints.with_output_types(pa.Table)
class _SummarizeFn(beam.DoFn):
    def process(
        self, element: tuple[str, Iterable[tuple[Key, summary.MetricState]]]
    ) -> Iterator[pa.Table | beam.pvalue.TaggedOutput]:
        states = sorted(element[1], key=lambda item: item[0])
        thresholds = run_thresholds(states)
        numbers, curves = tables(states, thresholds)
        if thresholds:
            yield beam.pvalue.TaggedOutput(THRESHOLDS_TAG, (element[0], thresholds))
        yield numbers
        yield beam.pvalue.TaggedOutput(CURVES_TAG, curves)


def run_thresholds(states: list[tuple[Key, summary.MetricState]]) -> dict[str, float]:
    """The best thresholds of a method over everything; empty if there was nothing to score against."""
    overall = [state for (_, slice_name, _), state in states if slice_name == slicing.ALL]
    return overall[0].best_thresholds() if overall else {}


def tables(states: list[tuple[Key, summary.MetricState]], thresholds: Mapping[str, float]) -> tuple[pa.Table, pa.Table]:
    """The rows of ``summary`` and ``curves`` of one method.

    Args:
        states: every slice of the method.
        thresholds: of `run_thresholds`.
    """
    numbers: list[dict[str, Any]] = []
    curves: list[tuple[Key, summary.Curve]] = []
    for place, state in states:
        named = dict(zip(("method", "slice_name", "slice_value"), place, strict=True))
        numbers += [named | row._asdict() for row in state.summary_rows(thresholds)]
        curves += [(place, curve) for curve in state.curves(1 if place[1] == slicing.ALL else CURVE_STEP)]
    return schemas.table_from_rows(schemas.SUMMARY, numbers), _curve_table(curves)


def _curve_table(curves: list[tuple[Key, summary.Curve]]) -> pa.Table:
    """The points of all curves, one row each. A thousand classes have a million, so none becomes a Python object."""
    points = np.array([len(curve.values) for _, curve in curves], np.int64)
    rows = pa.array(np.repeat(np.arange(len(curves)), points))

    def repeated(values: list[Any], kind: pa.DataType) -> pa.Array:
        return pa.array(values, kind).take(rows)

    place = {
        name: repeated([key[i] for key, _ in curves], pa.string())
        for i, name in enumerate(("method", "slice_name", "slice_value"))
    }
    columns = {
        **place,
        "curve": repeated([curve.name for _, curve in curves], pa.string()),
        "threshold": np.concatenate([np.zeros(0), *(curve.thresholds for _, curve in curves)]),
        "value": np.concatenate([np.zeros(0), *(curve.values for _, curve in curves)]),
        "n": repeated([curve.n for _, curve in curves], pa.int64()),
    }
    return schemas.table_from_columns(schemas.CURVES, columns)

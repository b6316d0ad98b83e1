"""Runs one transform in a small pipeline and gives back what came out, tag by tag."""

from __future__ import annotations

import collections
import itertools
from collections.abc import Iterable
from typing import Any

import apache_beam as beam

from heatbeam.transforms import records

_KEPT: dict[tuple[int, str], list[Any]] = collections.defaultdict(list)
_RUNS = itertools.count()


def collect(
    transform: beam.PTransform, elements: Iterable[Any] | None = None
) -> tuple[list[Any], list[Any], dict[str, int]]:
    """Main output, dead letters and counters of `transform`, run by the in-process FnApiRunner in one thread.

    Args:
        transform: its outputs are indexed by ``main`` and `records.DEAD_LETTER_TAG`.
        elements: its input; None for a source.
    """
    run = next(_RUNS)
    pipeline = beam.Pipeline(runner="FnApiRunner")
    source = pipeline if elements is None else pipeline | beam.Create(list(elements), reshuffle=False)
    outputs = source | transform
    for tag in ("main", records.DEAD_LETTER_TAG):
        _ = outputs[tag] | f"Keep {tag}" >> beam.Map(_keep, run, tag).with_output_types(bool)
    result = pipeline.run()
    result.wait_until_finish()
    counters = {counter.key.metric.name: counter.committed for counter in result.metrics().query()["counters"]}
    return _KEPT.pop((run, "main"), []), _KEPT.pop((run, records.DEAD_LETTER_TAG), []), counters


def _keep(element: Any, run: int, tag: str) -> bool:
    _KEPT[run, tag].append(element)
    return True

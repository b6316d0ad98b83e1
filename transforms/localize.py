"""Heatmap against ground truth, image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam
import numpy as np

from transforms import records
from transforms.metrics import map_statistics


@dataclasses.dataclass
class Localize(beam.PTransform):
    """`records.Explanation` to `records.Localization`."""

    def expand(self, explanations: beam.PCollection) -> beam.PCollection:
        return explanations | "Localize" >> beam.ParDo(_LocalizeFn())


@beam.typehints.with_output_types(records.Localization)
class _LocalizeFn(beam.DoFn):
    def process(self, explanation: records.Explanation) -> Iterator[records.Localization]:
        yield localize(explanation)


def localize(explanation: records.Explanation) -> records.Localization:
    """An explanation and what is measured on its maps."""
    scores = []
    for maps in explanation.methods:
        values = map_statistics.statistics(maps.maps)
        scores.append(
            records.MethodScores(
                maps.method,
                np.full((len(maps.maps), 4), np.nan),
                tuple(values.items()),
                map_statistics.health(maps.maps),
            )
        )
    return records.Localization(explanation, tuple(scores))

"""Heatmap against ground truth, image by image."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

import apache_beam as beam

from heatbeam.transforms import records
from heatbeam.transforms.metrics import image_evidence, protocols

MAIN_TAG = "main"
EVIDENCE_TAG = "evidence"


@dataclasses.dataclass
class Localize(beam.PTransform):
    """`records.Explanation` to `records.Localization` (`MAIN_TAG`) and `image_evidence.ImageEvidence` (`EVIDENCE_TAG`).

    Attributes:
        protocol: every convention of the metrics.
        groups: which of `localization.GROUPS` to measure.
        baselines: whether centre, uniform and Gaussian maps are measured beside the methods.
    """

    protocol: protocols.Protocol
    groups: tuple[str, ...]
    baselines: bool

    def expand(self, explanations: beam.PCollection) -> beam.pvalue.DoOutputsTuple:
        return explanations | "Localize" >> beam.ParDo(
            _LocalizeFn(self.protocol, self.groups, self.baselines)
        ).with_outputs(EVIDENCE_TAG, main=MAIN_TAG)


@beam.typehints.with_output_types(records.Localization)
class _LocalizeFn(beam.DoFn):
    def __init__(self, protocol: protocols.Protocol, groups: tuple[str, ...], with_baselines: bool) -> None:
        self._protocol = protocol
        self._groups = groups
        self._with_baselines = with_baselines

    def process(self, explanation: records.Explanation) -> Iterator[records.Localization | beam.pvalue.TaggedOutput]:
        row, evidence = image_evidence.localize(explanation, self._protocol, self._groups, self._with_baselines)
        yield row
        yield beam.pvalue.TaggedOutput(EVIDENCE_TAG, evidence)

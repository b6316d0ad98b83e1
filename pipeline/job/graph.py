"""The order of the steps, and their labels; knows no setting.

::

    Read -> [Reuse] -> Decode -> Explain -> Localize -+-> WriteExplanations -> BestBoxes -> WriteLocalizations
      |                  |          |                 |                           ^
      |                  |          |                 +-> Aggregate --------------+-> WriteSummary, WriteCurves
      +------------------+----------+--> WriteDeadLetters
      (every collection) -> Account

Reading a shard, decoding, explaining and making rows are one fused stage: images and heatmaps never leave the worker.
"""

from __future__ import annotations

import apache_beam as beam

from heatbeam.job import step_options
from heatbeam.transforms import account, aggregate, decode, explain, localize, read, records


def build(pipeline: beam.Pipeline, steps: step_options.Steps) -> None:
    """Add the whole job to `pipeline`.

    Args:
        pipeline: to add it to.
        steps: ready.
    """
    encoded = pipeline | "Read" >> steps.read
    parsed = encoded[read.MAIN_TAG]
    explained = parsed | "ExplainImages" >> _ExplainImages(steps).with_resource_hints(**steps.resource_hints)
    localized = explained["localized"]
    written = localized | "WriteExplanations" >> steps.write_explanations
    numbers = explained["evidence"] | "Aggregate" >> steps.aggregate
    _ = numbers[aggregate.SUMMARY_TAG] | "WriteSummary" >> steps.write_summary
    _ = numbers[aggregate.CURVES_TAG] | "WriteCurves" >> steps.write_curves
    scored = {"written": written, "thresholds": numbers[aggregate.THRESHOLDS_TAG]} | "BestBoxes" >> steps.best_boxes
    _ = scored | "WriteLocalizations" >> steps.write_localizations
    letters = (encoded[records.DEAD_LETTER_TAG], explained["dead_letters_decode"], explained["dead_letters_explain"])
    (
        letters
        | "DeadLetters" >> beam.Flatten().with_output_types(records.DeadLetter)
        | "WriteDeadLetters" >> steps.write_dead_letters
    )
    counted = {
        account.SHARDS: encoded[read.SHARDS_TAG],
        account.AMOUNTS: (explained["boxes"], encoded[read.HELD_TAG]) | "Amounts" >> beam.Flatten(),
        "parsed": parsed,
        "dead_letters_read": encoded[records.DEAD_LETTER_TAG],
        "decoded": explained["decoded"],
        "dead_letters_decode": explained["dead_letters_decode"],
        "explained": explained["explained"],
        "skipped": explained["skipped"],
        "dead_letters_explain": explained["dead_letters_explain"],
        "localized": localized,
    }
    if steps.reuse is not None:
        counted |= {"reused": explained["reused"], "computed": explained["computed"]}
    _ = counted | "Account" >> steps.account


class _ExplainImages(beam.PTransform):
    """Reuse, decode, explain, localize: what resource hints apply to, so that only encoded bytes come in."""

    def __init__(self, steps: step_options.Steps) -> None:
        super().__init__()
        self._steps = steps

    def expand(self, parsed: beam.PCollection) -> dict[str, beam.PCollection]:
        if self._steps.reuse is not None:
            parsed = parsed | "Reuse" >> self._steps.reuse
        decoded = parsed | "Decode" >> self._steps.decode
        explained = decoded[decode.MAIN_TAG] | "Explain" >> self._steps.explain
        localized = explained[explain.MAIN_TAG] | "Localize" >> self._steps.localize
        return {
            "decoded": decoded[decode.MAIN_TAG],
            "dead_letters_decode": decoded[records.DEAD_LETTER_TAG],
            "boxes": decoded[decode.BOXES_TAG],
            "explained": explained[explain.MAIN_TAG],
            "skipped": explained[explain.SKIPPED_TAG],
            "reused": explained[explain.REUSED_TAG],
            "computed": explained[explain.COMPUTED_TAG],
            "dead_letters_explain": explained[records.DEAD_LETTER_TAG],
            "localized": localized[localize.MAIN_TAG],
            "evidence": localized[localize.EVIDENCE_TAG],
        }

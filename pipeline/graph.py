"""The order of the steps, and their labels; turns a plan into a Beam graph.

::

    Read -> Decode -> Explain -> Localize -+-> WriteExplanations
      |       |          |                 +-> Aggregate -> WriteSummary, WriteCurves
      +-------+----------+--> WriteDeadLetters
      (every collection) -> Account

Reading a shard, decoding, explaining and making rows are one fused stage: images and heatmaps never leave the worker.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import apache_beam as beam

from pipeline import plan, run_directory
from transforms import account, decode, explain, ground_truth, images, localize, read, records, schemas, write
from transforms.methods import exposure

# Row groups of 8192 rows, and rarely more than 32 MiB in memory per writer.
_LIMITS = write.Limits(rows=8192, bytes=32 << 20, compression_level=3)


def build(
    pipeline: beam.Pipeline,
    planned: plan.Plan,
    description: exposure.ModelDescription,
    class_names: Sequence[str],
    directory: run_directory.RunDirectory,
) -> None:
    """Add the whole job to `pipeline`."""
    settings = planned.settings
    encoded = pipeline | "Read" >> plan.read_transform(planned)
    parsed = encoded[read.MAIN_TAG]
    hints = settings.runner.resource_hints
    explained = parsed | "ExplainImages" >> _ExplainImages(planned, description).with_resource_hints(**hints)
    localized = explained["explained"] | "Localize" >> localize.Localize()
    schema = schemas.explanations(
        [schemas.ValueColumn(n) for n in ("entropy","area","centroid_x","centroid_y","peak_x","peak_y","peak","positive_share","border_share","corner_share")], settings.evaluate.slices, heatmap_dtype=settings.output.heatmap_dtype
    )
    _ = localized | "WriteExplanations" >> write.WriteExplanations(
        directory.path_of("explanations"), schema, tuple(class_names), _LIMITS
    )
    letters = (encoded[records.DEAD_LETTER_TAG], explained["dead_letters_decode"], explained["dead_letters_explain"])
    (
        letters
        | "DeadLetters" >> beam.Flatten().with_output_types(records.DeadLetter)
        | "WriteDeadLetters" >> write.WriteDeadLetters(directory.path_of("dead_letters"), schemas.DEAD_LETTERS, _LIMITS)
    )
    counted = {
        "parsed": parsed,
        "dead_letters_read": encoded[records.DEAD_LETTER_TAG],
        "decoded": explained["decoded"],
        "dead_letters_decode": explained["dead_letters_decode"],
        "explained": explained["explained"],
        "skipped": explained["skipped"],
        "dead_letters_explain": explained["dead_letters_explain"],
        "localized": localized,
    }
    _ = counted | "Account" >> account.Account(directory.path_of("counts.json"))


class _ExplainImages(beam.PTransform):
    """Decode, explain and localize: the part that resource hints apply to, so that only encoded bytes come in."""

    def __init__(self, planned: plan.Plan, description: exposure.ModelDescription) -> None:
        super().__init__()
        self._plan = planned
        self._description = description

    def expand(self, parsed: beam.PCollection) -> dict[str, beam.PCollection]:
        settings = self._plan.settings
        decoded = parsed | "Decode" >> decode.Decode(
            image_options(self._plan, self._description), mask_options(self._plan)
        )
        explained = decoded[decode.MAIN_TAG] | "Explain" >> explain.Explain(
            self._plan.engine_spec, settings.explain.seed, settings.output.heatmap_dtype == "float32"
        )
        return {
            "decoded": decoded[decode.MAIN_TAG],
            "dead_letters_decode": decoded[records.DEAD_LETTER_TAG],
            "explained": explained[explain.MAIN_TAG],
            "skipped": explained[explain.SKIPPED_TAG],
            "dead_letters_explain": explained[records.DEAD_LETTER_TAG],
        }


def image_options(planned: plan.Plan, description: exposure.ModelDescription) -> images.ImageOptions:
    """How an image becomes the model's input."""
    source = planned.settings.input
    height, width, channels = description.input_size
    return images.ImageOptions(
        height=height,
        width=width,
        channels=channels,
        resize=source.resize,
        interpolation=source.interpolation,
        crop_fraction=source.crop_fraction,
        pad_value=source.pad_value,
        exif=source.exif,
        draft=source.draft,
        max_pixels=source.max_pixels,
    )


def mask_options(planned: plan.Plan) -> ground_truth.MaskOptions:
    """How the grey values of a semantic mask are read."""
    source = planned.settings.input
    return ground_truth.MaskOptions(source.semantic_background, source.semantic_ignore, source.label_offset)


def conventions(planned: plan.Plan, description: exposure.ModelDescription) -> dict[str, Any]:
    """Everything about the steps that can change a number, for the manifest."""
    return {
        "decode": decode.decode_recipe(image_options(planned, description), mask_options(planned)),
    }

"""The order of the steps, and their labels; turns a plan into a Beam graph.

::

    Read -> [Reuse] -> Decode -> Explain -> Localize -+-> WriteExplanations -> BestBoxes -> WriteLocalizations
      |                  |          |                 |                           ^
      |                  |          |                 +-> Aggregate --------------+-> WriteSummary, WriteCurves
      +------------------+----------+--> WriteDeadLetters
      (every collection) -> Account

Reading a shard, decoding, explaining and making rows are one fused stage: images and heatmaps never leave the worker.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import apache_beam as beam
import pyarrow as pa

from heatbeam import config
from heatbeam.job import plan
from heatbeam.runs import manifests, run_directory
from heatbeam.transforms import account, aggregate, best_boxes, decode, explain, localize, read, records, reuse, write
from heatbeam.transforms.engine import assess
from heatbeam.transforms.metrics import protocols, registry
from heatbeam.transforms.metrics.faithfulness import batch
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.tables import schemas

# Row groups of 8192 rows, and rarely more than 32 MiB in memory per writer.
_LIMITS = write.Limits(rows=8192, bytes=32 << 20, compression_level=3)


def build(
    pipeline: beam.Pipeline,
    planned: plan.Plan,
    description: exposure.ModelDescription,
    class_names: Sequence[str],
    directory: run_directory.RunDirectory,
    lookup: reuse.Reuse | None = None,
    metadata: Mapping[str, str] | None = None,
) -> None:
    """Add the whole job to `pipeline`.

    Args:
        pipeline: to add it to.
        planned: what to do.
        description: of the model.
        class_names: one for each of its classes.
        directory: of the run.
        lookup: finds what earlier runs are to lend; None for a run that explains everything.
        metadata: further facts for the files of ``explanations``.
    """
    settings = planned.settings
    encoded = pipeline | "Read" >> read.ReadShards(
        planned.dataset.shards, planned.features, settings.input.reshuffle_records
    )
    parsed = encoded[read.MAIN_TAG]
    hints = settings.runner.resource_hints
    explained = parsed | "ExplainImages" >> _ExplainImages(planned, description, lookup).with_resource_hints(**hints)
    localized = explained["localized"]
    about = schemas.with_run_metadata
    facts = {"model_digest": description.digest, "protocol": settings.evaluate.protocol}
    written = localized | "WriteExplanations" >> write.WriteExplanations(
        directory.path_of("explanations"),
        about(explanations_schema(settings), {**facts, **(metadata or {})}),
        tuple(class_names),
        _LIMITS,
        directory.path_of(run_directory.UNFINISHED) if settings.output.journal else None,
    )
    numbers = explained["evidence"] | "Aggregate" >> aggregate.Aggregate(
        protocol=protocols.get(settings.evaluate.protocol),
        primary_target=primary_target(settings.explain.targets),
        class_names=aggregate.distinct_names(class_names),
        per_class=settings.evaluate.per_class,
        replicates=settings.evaluate.replicates,
    )
    _ = numbers[aggregate.SUMMARY_TAG] | "WriteSummary" >> write.WriteTable(
        directory.path_of("summary"), "summary", about(schemas.SUMMARY, facts), _LIMITS
    )
    _ = numbers[aggregate.CURVES_TAG] | "WriteCurves" >> write.WriteTable(
        directory.path_of("curves"), "curves", about(schemas.CURVES, facts), _LIMITS
    )
    protocol = protocols.get(settings.evaluate.protocol)
    boxes = written | "BestBoxes" >> best_boxes.BestBoxes(
        directory.path_of("explanations"), protocol, numbers[aggregate.THRESHOLDS_TAG]
    )
    _ = boxes | "WriteLocalizations" >> write.WriteTable(
        directory.path_of("localizations"), "localizations", about(best_boxes.schema(protocol), facts), _LIMITS
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
    if lookup is not None:
        counted |= {"reused": explained["reused"], "computed": explained["computed"]}
    _ = counted | "Account" >> account.Account(directory.path_of(run_directory.COUNTS))


class _ExplainImages(beam.PTransform):
    """Reuse, decode, explain, localize: what resource hints apply to, so that only encoded bytes come in."""

    def __init__(self, planned: plan.Plan, description: exposure.ModelDescription, lookup: reuse.Reuse | None) -> None:
        super().__init__()
        self._lookup = lookup
        self._plan = planned
        self._description = description

    def expand(self, parsed: beam.PCollection) -> dict[str, beam.PCollection]:
        settings = self._plan.settings
        if self._lookup is not None:
            parsed = parsed | "Reuse" >> self._lookup
        decoded = parsed | "Decode" >> decode.Decode(
            image_options(self._plan, self._description), mask_options(self._plan)
        )
        explained = decoded[decode.MAIN_TAG] | "Explain" >> explain.Explain(
            self._plan.engine_spec,
            settings.explain.seed,
            settings.output.heatmap_dtype == "float32",
            assessment(settings),
            self._description.digest,
        )
        localized = explained[explain.MAIN_TAG] | "Localize" >> localize.Localize(
            protocols.get(settings.evaluate.protocol), metric_groups(settings), settings.evaluate.baselines
        )
        return {
            "decoded": decoded[decode.MAIN_TAG],
            "dead_letters_decode": decoded[records.DEAD_LETTER_TAG],
            "explained": explained[explain.MAIN_TAG],
            "skipped": explained[explain.SKIPPED_TAG],
            "reused": explained[explain.REUSED_TAG],
            "computed": explained[explain.COMPUTED_TAG],
            "dead_letters_explain": explained[records.DEAD_LETTER_TAG],
            "localized": localized[localize.MAIN_TAG],
            "evidence": localized[localize.EVIDENCE_TAG],
        }


def image_options(planned: plan.Plan, description: exposure.ModelDescription) -> decode_options.ImageOptions:
    """How an image becomes the model's input."""
    source = planned.settings.input
    height, width, channels = description.input_size
    return decode_options.ImageOptions(
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


def mask_options(planned: plan.Plan) -> decode_options.MaskOptions:
    """How the grey values of a semantic mask are read."""
    source = planned.settings.input
    offset = source.label_offset if source.semantic_offset is None else source.semantic_offset
    return decode_options.MaskOptions(source.semantic_background, source.semantic_ignore, offset)


def conventions(planned: plan.Plan, description: exposure.ModelDescription) -> manifests.Conventions:
    """Everything about the steps that can change a number, for the manifest."""
    return manifests.Conventions(
        decode=decode.decode_recipe(image_options(planned, description), mask_options(planned)),
        protocol=protocols.get(planned.settings.evaluate.protocol).as_dict(),
        primary_target=primary_target(planned.settings.explain.targets),
        heatmap=schemas.QUANTIZATION,
    )


def primary_target(targets: Sequence[str | int]) -> str:
    """The target that the numbers of the summary are about: the label where it is explained, else the first one."""
    names = [f"class_{t}" if isinstance(t, int) else t for t in targets]
    return next((t for t in ("label", "labels") if t in names), names[0])


def metric_groups(settings: config.RunConfig) -> tuple[str, ...]:
    """The groups of metrics that are measured."""
    return tuple(registry.LOCALIZATION if settings.evaluate.localization else registry.OF_A_MAP)


def assessment(settings: config.RunConfig) -> assess.Assessment | None:
    """What to measure where the model is, or None."""
    wanted = settings.evaluate.faithfulness
    if not wanted.metrics:
        return None
    own = {"metrics", "sample", "randomized_share"}
    return assess.Assessment(
        metrics=wanted.metrics,
        sample=wanted.sample,
        protocol=protocols.get(settings.evaluate.protocol),
        randomized_share=wanted.randomized_share,
        settings=batch.Settings(
            **{name: getattr(wanted, name) for name in type(wanted).model_fields if name not in own},
            batch_size=settings.explain.largest_pass,
        ),
    )


def explanations_schema(settings: config.RunConfig) -> pa.Schema:
    """Schema of the ``explanations`` table of a run."""
    scores = registry.faithfulness(settings.evaluate.faithfulness.metrics)
    measured = (*scores, *(registry.LOCALIZATION[name] for name in metric_groups(settings)))
    columns = [column for group in measured for column in group.columns]
    return schemas.explanations(
        [schemas.ValueColumn(c.name, c.description, c.unit, c.range) for c in columns],
        settings.evaluate.slices,
        heatmap_dtype=settings.output.heatmap_dtype,
        curves=registry.curves(scores),
    )

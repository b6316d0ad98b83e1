"""From settings to ready steps: the one place that knows which setting goes to which step.

A setting that has the name of a field of its step, or of the step's record of options, is handed over as it is
(`plan.filled`): to add one is to add it there and in `heatbeam.config`. What has to be worked out first stands here by
name.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping, Sequence

import pyarrow as pa

from heatbeam import config
from heatbeam.job import plan
from heatbeam.runs import manifests, run_directory
from heatbeam.transforms import account, aggregate, best_boxes, decode, explain, localize, read, reuse, write
from heatbeam.transforms.engine import assess, specs
from heatbeam.transforms.metrics import protocols, registry, slicing
from heatbeam.transforms.metrics.faithfulness import batch
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import decode_options, feature_map
from heatbeam.transforms.sources.arrays import input_forms
from heatbeam.transforms.sources.classes import class_maps
from heatbeam.transforms.tables import schemas

LIMITS = write.Limits(rows=8192, bytes=32 << 20, compression_level=3)
"""Row groups of 8192 rows, and rarely more than 32 MiB in memory per writer."""


@dataclasses.dataclass(frozen=True, eq=False)
class Steps:
    """Every step of a run, ready to be put in order (`graph.build`).

    Attributes:
        read, reuse, decode, explain, localize, aggregate, best_boxes, account: the steps; `reuse` is None in a run
            that takes over nothing.
        write_explanations, write_summary, write_curves, write_localizations, write_dead_letters: of the tables.
        resource_hints: of the stage that explains.
    """

    read: read.ReadShards
    reuse: reuse.Reuse | None
    decode: decode.Decode
    explain: explain.Explain
    localize: localize.Localize
    aggregate: aggregate.Aggregate
    best_boxes: best_boxes.BestBoxes
    account: account.Account
    write_explanations: write.WriteExplanations
    write_summary: write.WriteTable
    write_curves: write.WriteTable
    write_localizations: write.WriteTable
    write_dead_letters: write.WriteDeadLetters
    resource_hints: Mapping[str, str]


def make(
    planned: plan.Plan,
    description: exposure.ModelDescription,
    class_names: Sequence[str],
    directory: run_directory.RunDirectory,
    lookup: reuse.Reuse | None = None,
    metadata: Mapping[str, str] | None = None,
    run_id: str | None = None,
) -> Steps:
    """The steps of a run.

    Args:
        planned: what to do.
        description: of the model.
        class_names: one for each of its classes.
        directory: of the run.
        lookup: finds what earlier runs are to lend; None for a run that explains everything.
        metadata: further facts for the files of ``explanations``.
        run_id: for every row of every table; None for tables without that column.
    """
    settings = planned.settings
    localizing = localize_step(settings)
    protocol = localizing.protocol
    rank = description.rank
    facts = {"model_digest": description.digest, "protocol": settings.evaluate.protocol}

    def table(name: str, schema: pa.Schema) -> write.WriteTable:
        return write.WriteTable(directory.path_of(name), name, schemas.with_run_metadata(schema, facts), LIMITS, run_id)

    return Steps(
        read=read_step(planned),
        reuse=lookup,
        decode=decode_step(settings, description, planned.features),
        explain=explain_step(planned, description),
        localize=localizing,
        aggregate=aggregate_step(settings, class_names),
        best_boxes=best_boxes.BestBoxes(directory.path_of("explanations"), protocol),
        account=account.Account(directory.path_of(run_directory.COUNTS)),
        write_explanations=write.WriteExplanations(
            directory.path_of("explanations"),
            schemas.with_run_metadata(
                explanations_schema(settings, rank), {**facts, **(metadata or {})}, settings.input.as_axes(rank)
            ),
            tuple(class_names),
            LIMITS,
            directory.path_of(run_directory.UNFINISHED) if settings.output.journal else None,
            run_id,
        ),
        write_summary=table("summary", schemas.SUMMARY),
        write_curves=table("curves", schemas.CURVES),
        write_localizations=table("localizations", best_boxes.schema(protocol, rank)),
        write_dead_letters=write.WriteDeadLetters(
            directory.path_of("dead_letters"), schemas.with_run_metadata(schemas.DEAD_LETTERS, facts), LIMITS, run_id
        ),
        resource_hints=settings.runner.resource_hints,
    )


def read_step(planned: plan.Plan) -> read.ReadShards:
    """What is read, and which feature holds what."""
    given = planned.settings.input
    return plan.filled(
        read.ReadShards, given, shards=planned.dataset.shards, features=planned.features, part=planned.part
    )


def decode_step(
    settings: config.RunConfig,
    description: exposure.ModelDescription,
    features: feature_map.FeatureMap | None = None,
) -> decode.Decode:
    """How images become the model's input, and how semantic masks are read.

    Args:
        settings: of the run.
        description: of the model.
        features: with what the classes of the data are in the model; None where no mask is read.

    Raises:
        config.ConfigError: the settings do not fit the model's input.
    """
    classes = class_maps.AS_STORED if features is None else features.reads_objects.classes
    source = settings.input
    offset = source.label_offset if source.semantic_offset is None else source.semantic_offset
    try:
        image = _input_options(source, description.input_size)
    except ValueError as error:
        raise config.ConfigError([f"input: {error}"]) from None
    return decode.Decode(
        image,
        plan.filled(
            decode_options.MaskOptions,
            source,
            prefix="semantic_",
            offset=offset,
            classes=classes,
            labels=description.pixels is not None,
        ),
        source.box_tolerance,
        other_inputs(settings, description),
    )


def other_inputs(
    settings: config.RunConfig, description: exposure.ModelDescription
) -> tuple[input_forms.InputOptions, ...]:
    """How the model's inputs beside the explained one are made, those that come with each image.

    Raises:
        config.ConfigError: the settings do not fit them.
    """
    forms = {form.name: form for form in settings.model.as_input_forms()}
    found, problems = [], []
    for one in description.fed:
        of_image = len(one.shape) == 3
        image = settings.input.as_image_options(*one.shape[:2], channels=one.shape[2]) if of_image else None
        try:
            found.append(input_forms.InputOptions(forms[one.name], one.shape, one.dtype, image))
        except ValueError as error:
            problems.append(f"{error}")
    if problems:
        raise config.ConfigError(problems)
    return tuple(found)


def _input_options(source: config.InputConfig, shape: tuple[int, ...]) -> decode.InputOptions:
    """How what the records hold becomes a model's input of that shape.

    Raises:
        ValueError: the records hold something else than the model takes.
    """
    rank = len(shape) - 1
    if source.array is None:
        if rank != 2:
            raise ValueError(
                f"the model takes inputs of shape {shape}, {_axes(rank)} and channels, and without input.array "
                f"the records hold images, of two; set input.array, such as {{shape: {list(shape)}}}"
            )
        return source.as_image_options(shape[0], shape[1], channels=shape[2])
    if source.array.rank not in (None, rank):
        stored = "frames" if source.array.shape is None else f"shape {list(source.array.shape)}"
        raise ValueError(
            f"input.array ({stored}, channels {source.array.channels}) has {_axes(source.array.rank)}, and the "
            f"model takes inputs of shape {shape}, of {rank}"
        )
    return source.as_array_options(shape)


def _axes(rank: int | None) -> str:
    return f"{rank} position {'axis' if rank == 1 else 'axes'}"


def explain_step(planned: plan.Plan, description: exposure.ModelDescription) -> explain.Explain:
    """What the model is asked."""
    settings = planned.settings
    return explain.Explain(
        spec=planned.engine_spec,
        sample_seed=settings.explain.seed,
        exact_maps=settings.output.heatmap_dtype == "float32",
        volume_steps=settings.output.volume_steps,
        assessment=assessment(settings),
        model_digest=description.digest,
    )


def assessment(settings: config.RunConfig) -> assess.Assessment | None:
    """What to measure where the model is, or None."""
    wanted = settings.evaluate.faithfulness
    if not wanted.metrics:
        return None
    return plan.filled(
        assess.Assessment,
        wanted,
        protocol=protocols.get(settings.evaluate.protocol),
        settings=plan.filled(batch.Settings, wanted, batch_size=settings.explain.largest_pass),
    )


def localize_step(settings: config.RunConfig) -> localize.Localize:
    """What is measured on a map."""
    groups = tuple(registry.LOCALIZATION if settings.evaluate.localization else registry.WITHOUT_TRUTH)
    protocol = protocols.get(settings.evaluate.protocol)
    return plan.filled(localize.Localize, settings.evaluate, protocol=protocol, groups=groups)


def aggregate_step(settings: config.RunConfig, class_names: Sequence[str]) -> aggregate.Aggregate:
    """How the numbers are broken down."""
    return plan.filled(
        aggregate.Aggregate,
        settings.evaluate,
        protocol=protocols.get(settings.evaluate.protocol),
        primary_target=_primary_target(settings),
        class_names=slicing.distinct_names(class_names),
    )


def primary_target(targets: Sequence[str | int], *, of_values: bool = False) -> str:
    """The target that the numbers of the summary are about: the label where it is explained, else the first one.

    Args:
        targets: of the run.
        of_values: whether the model gives values: then no label is explained.
    """
    names = [f"class_{t}" if isinstance(t, int) else t for t in targets]
    labels = [name for name in ("label", "labels") if name in names]
    if of_values:
        return next(name for name in names if name not in labels)
    return (labels or names)[0]


def _primary_target(settings: config.RunConfig) -> str:
    return primary_target(settings.explain.targets, of_values=settings.model.scores in specs.VALUES)


def explanations_schema(settings: config.RunConfig, rank: int = 2) -> pa.Schema:
    """Schema of the ``explanations`` table of a run, of inputs of `rank` position axes."""
    scores = registry.faithfulness(settings.evaluate.faithfulness.metrics)
    measured = (*scores, *(registry.LOCALIZATION[name] for name in localize_step(settings).groups))
    columns = [column for group in measured for column in group.columns if column.least_rank <= rank]
    return schemas.explanations(
        [schemas.ValueColumn(c.name, c.description, c.unit, c.range) for c in columns],
        settings.evaluate.slices,
        heatmap_dtype=settings.output.heatmap_dtype,
        curves=registry.curves(scores),
        of_values=settings.model.scores in specs.VALUES,
        rank=rank,
        volume_steps=settings.output.volume_steps,
    )


def conventions(planned: plan.Plan, description: exposure.ModelDescription) -> manifests.Conventions:
    """Everything about the steps that can change a number, for the manifest."""
    settings = planned.settings
    decoding = decode_step(settings, description)
    rank = description.rank
    return manifests.Conventions(
        decode=decode.decode_recipe(decoding.image, decoding.masks, decoding.inputs),
        protocol=localize_step(settings).protocol.as_dict(rank),
        primary_target=_primary_target(settings),
        heatmap=schemas.QUANTIZATION,
        axes=settings.input.as_axes(rank),
        classes=classes_of(planned),
        label_form=None if planned.features.label_form == "auto" else planned.features.label_form,
    )


def classes_of(planned: plan.Plan) -> manifests.Classes | None:
    """Which class is which, for the manifest; None where ids are the model's and nothing else was said."""
    known, features = planned.known_classes, planned.features
    if known.dataset is None and known.given is None:
        return None
    whole, boxes = features.classes, features.box_classes
    tables = {"ids": whole.ids, "names": whole.names, "others_left_out": whole.others_left_out}
    if boxes is not None:
        tables |= {"box_ids": boxes.ids, "box_names": boxes.names}
    digest = hashlib.sha256(json.dumps(tables, sort_keys=True).encode()).hexdigest()
    return manifests.Classes(words=planned.classes_in_words, digest=digest, **tables)

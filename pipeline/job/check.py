"""A dry run: resolve everything, explain a few records, and say what looks wrong before a full run finds out."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import io
import itertools
import math
import time
from collections.abc import Collection, Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from heatbeam import config
from heatbeam.audit import answers, map_health
from heatbeam.job import box_fit, classes, fitting, held_features, pixel_choices, plan, run, step_options, verdict
from heatbeam.runners import runner_options
from heatbeam.runs import run_directory, run_methods
from heatbeam.transforms import decode, errors, explain, read, records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import explained, specs
from heatbeam.transforms.methods import registry
from heatbeam.transforms.metrics import chance, map_statistics
from heatbeam.transforms.metrics import registry as metrics
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import decode_options, features, source, tfexample
from heatbeam.transforms.sources.arrays import fitting as fitting_arrays

_FEATURES_RECORDS = 512
_FEATURES_S = 5.0
"""How many records are looked at for their features, and for how long."""


@dataclasses.dataclass
class _Findings:
    """What is wrong, what merely looks wrong, and what was found as plain values by the keys of `document`."""

    problems: list[str] = dataclasses.field(default_factory=list)
    warnings: list[str] = dataclasses.field(default_factory=list)
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)


def check(settings: config.RunConfig, count: int, stream: TextIO) -> bool:
    """Write what a run would do to `stream`.

    Args:
        settings: the configuration.
        count: how many records to explain.
        stream: where to write.

    Returns:
        Whether a run can be expected to work: something was explained, and no method gave only useless maps.

    Raises:
        config.ConfigError: a problem of the configuration.
        errors.UsageError: `count` is below 1.
        loading.ModelError: the model or a layer is not what the configuration says.
    """
    return not _findings(settings, count, stream).problems


def document(settings: config.RunConfig, count: int) -> dict[str, Any]:
    """What `check` finds as plain values, for ``heatbeam check --json``; the keys are documented and stay.

    What a check does not come to is left out: there are no maps where no record can be explained.
    """
    found = _findings(settings, count, io.StringIO())
    return {"works": not found.problems, "problems": found.problems, "warnings": found.warnings, **found.facts}


def _findings(settings: config.RunConfig, count: int, stream: TextIO) -> _Findings:
    errors.check_at_least_one("--records", count)
    with runner_options.connected(runner_options.beam_arguments(settings.runner, ())):
        return _check(settings, count, stream)


def _check(settings: config.RunConfig, count: int, stream: TextIO) -> _Findings:
    findings = _Findings()
    planned, _fitting = fitting.fitted(plan.make(settings), findings.warnings.append, _with_rivals)
    try:
        run.directory_of(settings.output).check_free(overwrite=settings.output.overwrite, resume=settings.output.resume)
    except run_directory.RunDirectoryError as error:
        findings.problems.append(str(error))
    stream.write(f"input    {_input_in_words(planned)}\n")
    findings.warnings += planned.dataset.oddities()
    _judge_features(planned, findings, stream)
    spec = _with_rivals(planned.engine_spec)
    engine, _ = explain.acquire_engine(spec)
    planned, names = classes.resolved(planned, engine.description)
    if spec.model.has_random_weights:
        findings.warnings.append("the model's weights are random, as model.arguments say: its maps have no meaning")
    _write_model(engine.description, stream)
    findings.facts |= _facts(planned, engine)
    stream.write(f"classes  {planned.classes_in_words}\n")
    findings.warnings += classes.model_warnings(planned, engine.description)
    if engine.trials:
        tried = ", ".join(f"{size} ({speed:,.3g} images/s)" for size, speed in engine.trials)
        stream.write(f"batch    {engine.batch_size} images at once on this machine; tried {tried}\n")
    examples, encoded, letters = _read(planned, engine.description, count)
    for letter in letters:
        findings.warnings.append(
            f"record {letter.image_id} is lost in {letter.stage}: {letter.error_type}: {letter.message}"
        )
    boxes = sum(len(one.boxes) for one in encoded if one.boxes is not None)
    findings.facts["lost"] = [
        {"image_id": one.image_id, "stage": one.stage, "error_type": one.error_type, "message": one.message}
        for one in letters
    ]
    if dropped := sum(example.ground_truth.dropped_boxes for example in examples):
        findings.warnings.append(verdict.boxes_in_words(boxes, dropped))
    convention = box_fit.convention_of(planned.features)
    stored = box_fit.stored_boxes(encoded, examples, convention)
    findings.warnings += box_fit.warnings(convention, stored, by_sides=planned.features.boxes is None)
    findings.warnings += _boxes_beyond(encoded, engine.description.classes)
    good = [e for e in examples if _labels_fit(e, engine.description.classes, findings)]
    if not good:
        findings.problems.append(f"none of the first {len(examples) + len(letters)} records can be explained")
    else:
        seconds, results = _explain(engine, good)
        _judge_answers(engine.description, good, results, names, findings)
        _write_methods(spec, engine, stream)
        _write_metrics(settings.evaluate.faithfulness, stream)
        _write_records(good, results, names, stream)
        findings.warnings += _write_inputs(settings, engine, encoded, examples, stream)
        _judge_maps(spec, {str(target) for target in planned.engine_spec.targets}, results, findings, stream)
        findings.facts["records"] = [
            {
                "image_id": example.source.image_id,
                "label_ids": list(example.source.label_ids),
                "predicted_class_id": int(one.predicted_class_id),
            }
            for example, one in zip(good, results, strict=True)
        ]
        findings.facts["estimate"] = _write_estimate(planned, engine, seconds / len(good), results[0], stream)
    stream.writelines(f"warning  {warning}\n" for warning in findings.warnings)
    stream.writelines(f"PROBLEM  {problem}\n" for problem in findings.problems)
    stream.write("the run would work as far as these records can tell\n" if not findings.problems else "")
    return findings


def _facts(planned: plan.Plan, engine: engines.Engine) -> dict[str, Any]:
    """What is known before the first record."""
    about, costs = engine.description, [(m.label, _cost(m, engine)) for m in planned.engine_spec.methods]
    return {
        "input": {
            "source": planned.settings.input.as_source().title,
            "shards": len({shard.path for shard in planned.dataset.shards}),
        },
        "model": {
            "digest": about.digest,
            "input_size": list(about.input_size),
            "classes": about.classes,
            "scores": about.scores,
            "probability": about.probability,
        },
        "target_layer": {
            "name": about.layer.name,
            "choice": about.layer_choice,
            "shape": list(about.layer.shape),
            "evidence": about.evidence,
        },
        "batch_size": engine.batch_size,
        "methods": [{"name": name, "forward_passes": cost.forward, "head_passes": cost.head} for name, cost in costs],
        "maps": [],
    }


def _judge_features(planned: plan.Plan, findings: _Findings, stream: TextIO) -> None:
    """Say which of the features that the settings name the records have, as far as some hundred can tell."""
    total, holding = 0, collections.Counter(dict.fromkeys(planned.features.names(), 0))
    until = time.monotonic() + _FEATURES_S
    for _, _, record in itertools.islice(planned.dataset.in_turn(), _FEATURES_RECORDS):
        if isinstance(record, bytes):
            with contextlib.suppress(records.DataError):
                holding.update(
                    features.held(tfexample.parse(record, planned.features.record), planned.features.names())
                )
                total += 1
        if time.monotonic() > until:
            break
    found = held_features.findings(planned.settings, total, holding)
    findings.problems += found.problems
    findings.warnings += found.warnings
    if found.missing:
        stream.write(f"         not in {total:,} records, and not asked for: {', '.join(found.missing)}\n")


def _with_rivals(spec: specs.EngineSpec) -> specs.EngineSpec:
    """The specification with a second class to compare maps with."""
    if spec.scores in specs.VALUES:
        return spec  # values have no rivals
    extra = tuple(t for t in ("predicted", "runner_up") if t not in spec.targets)
    return dataclasses.replace(spec, targets=spec.targets + extra)


def _write_inputs(
    settings: config.RunConfig,
    engine: engines.Engine,
    stored: Sequence[records.EncodedExample],
    examples: Sequence[records.Example],
    stream: TextIO,
) -> list[str]:
    """Say how much the ways matter in which images are read, or what arrays are; return what looks wrong."""
    how = step_options.decode_step(settings, engine.description).image
    if isinstance(how, decode_options.ImageOptions):
        stream.writelines(f"pixels   {line}\n" for line in pixel_choices.in_words(engine, stored, how))
        return list(pixel_choices.ranges_in_words(stored, how))
    stream.writelines(f"array    {line}\n" for line in _arrays_in_words(settings.input, stored, examples))
    return []


def _arrays_in_words(
    given: config.InputConfig, stored: Sequence[records.EncodedExample], examples: Sequence[records.Example]
) -> Iterator[str]:
    """The axes, and of each record shape, type and range, and what of it is padded or cut."""
    axes = given.as_axes(examples[0].source.rank)
    yield "axes " + ", ".join(f"{axis.name} ({axis.step:g} {axis.unit} a sample)" for axis in axes)
    for one, example in zip(stored, examples, strict=True):
        if one.raw_shape is not None:
            array = fitting_arrays.stored(one.image, one.raw_shape, one.raw_dtype)
            yield f"{one.image_id}: {fitting_arrays.in_words(array, example.source.view)}"


def _input_in_words(planned: plan.Plan) -> str:
    given = planned.settings.input
    files = len({shard.path for shard in planned.dataset.shards})
    holding = " of SequenceExamples" if given.record == "sequence_example" else ""
    found = f"{given.as_source().title}, {files} shards{holding}"
    if given.array is not None:
        fit = (
            "refused where their length is another" if given.array.fit is None else f"fit: {', '.join(given.array.fit)}"
        )
        return f"{found}; arrays ({given.array.format}), axes {fit}"
    return (
        f"{found}; images {given.resize} to the model's input, {given.interpolation} by {given.resampler}, decoded by "
        f"{given.decoder}"
    )


def _write_model(about: exposure.ModelDescription, stream: TextIO) -> None:
    layer = about.layer
    kind = "values" if about.probability == "value" else "classes"
    stream.write(
        f"model    input {'x'.join(map(str, about.input_size))}, output {about.output_shape}, {about.classes} {kind}, "
        f"digest {about.digest[:12]}\n"
        f"scores   {about.scores}{_probabilities_in_words(about.probability)}\n"
        f"layer    {layer.name} ({layer.kind}, {about.layer_choice}): {layer.cells_in_words} cells, "
        f"{layer.channels} channels"
        + (f", {layer.prefix_tokens} tokens before the grid left out" if layer.prefix_tokens else "")
        + "\n"
    )
    stream.write(f"         {about.evidence}\n" if about.evidence else "")
    others = [f"{other.name} ({other.cells_in_words})" for other in about.next_best]
    stream.write(f"         next best: {', '.join(others)} (model.target_layer)\n" if others else "")


def _probabilities_in_words(rule: str) -> str:
    if rule in ("softmax", "sigmoid"):
        return f"; probabilities by {rule}"
    return "; no probabilities" if rule == "value" else "; probabilities are the model's own numbers"


def _read(
    planned: plan.Plan, about: exposure.ModelDescription, count: int
) -> tuple[list[records.Example], list[records.EncodedExample], list[records.DeadLetter]]:
    """Of the first `count` records those that can be decoded, decoded and as they were stored, and those lost."""
    decoding = step_options.decode_step(planned.settings, about, planned.features)
    examples: list[records.Example] = []
    stored: list[records.EncodedExample] = []
    letters: list[records.DeadLetter] = []

    def lose(stage: str, image_id: str, shard: str, index: int, error: records.DataError) -> None:
        letters.append(records.DeadLetter.from_error(image_id, shard, index, stage, error))

    for shard, index, record in itertools.islice(planned.dataset.in_turn(), count):
        image_id = features.default_image_id(shard.name, index)
        if isinstance(record, records.DataError):
            lose(read.STAGE, image_id, shard.name, index, record)
            continue
        stage = read.STAGE
        try:
            encoded = features.parse_example(record, planned.features, shard.name, index)
            stage = decode.STAGE
            examples.append(decode.decode_example(encoded, decoding.image, decoding.masks, decoding.box_tolerance))
            stored.append(encoded)
        except records.DataError as error:
            lose(stage, image_id, shard.name, index, error)
    return examples, stored, letters


def _boxes_beyond(encoded: Sequence[records.EncodedExample], classes: int) -> Iterator[str]:
    """Boxes of classes that the model does not have, which no map is scored against."""
    beyond = {one.image_id: max(one.box_class_ids, default=0) for one in encoded if one.box_class_ids is not None}
    wrong = [(image_id, class_id) for image_id, class_id in beyond.items() if class_id >= classes]
    if wrong:
        yield (
            f"{len(wrong)} of {len(encoded)} records have boxes of classes that the model does not have, the first, "
            f"{wrong[0][0]}, of class {wrong[0][1]}; its classes are 0 to {classes - 1}: see input.box_label_offset"
        )


def _labels_fit(example: records.Example, classes: int, findings: _Findings) -> bool:
    wrong = [i for i in example.source.label_ids if not 0 <= i < classes]
    if wrong:
        findings.warnings.append(
            f"record {example.source.image_id} has label {wrong[0]}, the model has classes 0 to {classes - 1}; "
            "see input.label_offset" + (", as 1 where ids count from 1" if wrong[0] == classes else "")
        )
    return not wrong


def _explain(
    engine: engines.Engine, examples: Sequence[records.Example]
) -> tuple[float, list[explained.ImageExplanation]]:
    size = engine.batch_size
    started = time.monotonic()
    results: list[explained.ImageExplanation] = []
    for i in range(0, len(examples), size):
        batch = examples[i : i + size]
        results += engine.explain(np.stack([e.image for e in batch]), [e.source.label_ids for e in batch], {})
    return time.monotonic() - started, results


def _write_methods(spec: specs.EngineSpec, engine: engines.Engine, stream: TextIO) -> None:
    for method in spec.methods:
        cost = _cost(method, engine)
        options = ", ".join(f"{k}={v}" for k, v in method.options)
        stream.write(
            f"method   {method.label}: {cost.forward:g} forward passes and {cost.head:g} passes of the head beyond the "
            f"shared one{f' ({options})' if options else ''}\n"
        )


def _write_metrics(asked: config.FaithfulnessConfig, stream: TextIO) -> None:
    for group in metrics.faithfulness(asked.metrics):
        each = metrics.passes([group], asked)
        stream.write(
            f"metric   {group.name}: {each.predictions} predictions and {each.explanations} explanations of each map, "
            f"for {asked.sample:.0%} of the images\n"
        )


def _cost(method: specs.MethodSpec, engine: engines.Engine) -> registry.Cost:
    known = registry.get(method.method)
    channels, classes = engine.description.layer.channels, engine.description.classes
    own = known.cost(channels, classes, dict(method.options))
    if engine.model.head_is_affine and known.affine_cost is not None:
        own = known.affine_cost
    if method.wrapper is None:
        return own
    times = registry.get_wrapper(method.wrapper).cost(channels, classes, dict(method.wrapper_options)).forward
    return registry.Cost(times * (own.forward + 1), times * own.head)


def _write_records(
    examples: Sequence[records.Example],
    results: Sequence[explained.ImageExplanation],
    names: Sequence[str],
    stream: TextIO,
) -> None:
    for example, one in zip(examples, results, strict=True):
        truth = example.ground_truth
        boxes = "no boxes" if truth.boxes is None else f"{len(truth.boxes)} boxes"
        masks = "no masks" if truth.masks is None else f"{len(truth.masks)} masks"
        size = "x".join(map(str, example.source.size))
        stream.write(
            f"record   {example.source.image_id}: {size}, "
            f"{_answer_in_words(example.source, one, names)}, {boxes}, {masks}\n"
        )


def _answer_in_words(source: records.Source, one: explained.ImageExplanation, names: Sequence[str]) -> str:
    """What the record and the model say of an image."""
    if source.values is not None:
        true = dict(enumerate(source.values))
        told = (
            f"{names[i]} {value:.4g} ({f'true {true[i]:.4g}' if i in true else 'true value not known'})"
            for i, value in zip(one.class_ids.tolist(), one.logits.tolist(), strict=True)
        )
        return f"predicted {', '.join(told)}"
    labels = ", ".join(names[i] for i in source.label_ids) or "none"
    place = int(np.flatnonzero(one.ranks == 1)[0])
    return f"label {labels}, predicted {names[one.predicted_class_id]} ({one.probabilities[place]:.1%})"


def _judge_answers(
    about: exposure.ModelDescription,
    examples: Sequence[records.Example],
    results: Sequence[explained.ImageExplanation],
    names: Sequence[str],
    findings: _Findings,
) -> None:
    """Find answers that have nothing to do with the images, before anything else that looks wrong."""
    of_values = about.probability == "value"
    first = [np.append(one.logits[one.ranks == 1], one.predicted_class_id) for one in results]
    told = [one.logits for one in results] if of_values else first
    same_image = all(np.array_equal(example.image, examples[0].image) for example in examples)
    if answers.equal(told) and not same_image:
        findings.problems.insert(
            0,
            f"the model's numbers are the same for all {len(results)} records: nothing of the images is in them",
        )
    elif not of_values and about.pixels is None:  # the largest area is no guess at one label
        counted = chance.Answers(about.classes)
        for example, one in zip(examples, results, strict=True):
            counted.add(example.source.label_ids, one.predicted_class_id)
        findings.warnings[:0] = answers.findings(counted, names, few=True)


def _judge_maps(
    spec: specs.EngineSpec,
    targets: Collection[str],
    results: Sequence[explained.ImageExplanation],
    findings: _Findings,
    stream: TextIO,
) -> None:
    """Count and judge the maps as the report of the run would: those of `targets`, and pairs of any two classes."""
    for method in spec.methods:
        health = map_health.MethodHealth(method.label, class_free=method.method in run_methods.CLASS_FREE)
        for one in results:
            maps = next((m for label, _, m in one.maps if label == method.label), None)
            if maps is None:
                continue
            wanted = [any(reason in targets for reason in reasons) for reasons in one.targets]
            health.add(map_statistics.health(maps[np.array(wanted)]))
            if len(maps) > 1 and np.isfinite(maps[:2]).all():
                health.add_pairs(maps[:1], maps[1:2])
        said = ", ".join(f"{n} {flag}" for flag, n in sorted(health.flags.items())) or "all healthy"
        compared = f"the same for two classes in {health.same} of {health.pairs} images" if health.pairs else ""
        by_design = ", by design" if health.class_free and health.same else ""
        stream.write(
            f"maps     {method.label}: {health.maps} maps, {said}{'; ' if compared else ''}{compared}{by_design}\n"
        )
        findings.facts["maps"].append(
            {
                "method": method.label,
                "maps": health.maps,
                "flags": dict(health.flags),
                "pairs": health.pairs,
                "same_for_two_classes": health.same,
            }
        )
        if health.maps and health.useless == health.maps:
            kinds = " or ".join(flag for flag in map_health.USELESS if health.flags[flag])
            findings.problems.append(
                f"every map of {method.label} is {kinds}: wrong target layer, scores or preprocessing"
            )
        findings.warnings += [f"{text}: {map_health.CAUSES[flag]}" for flag, text in health.alerts(min_pairs=2)]


def _write_estimate(
    planned: plan.Plan,
    engine: engines.Engine,
    seconds_per_image: float,
    one: explained.ImageExplanation,
    stream: TextIO,
) -> dict[str, Any]:
    """Passes, time and bytes of the full run, as far as a few records, of which `one` is the first, can tell."""
    records_total = _record_count(planned.dataset)
    spec = planned.engine_spec
    cost = [_cost(m, engine) for m in spec.methods]
    passes = 1 + sum(c.forward * m.sample for c, m in zip(cost, spec.methods, strict=True))
    targets = len(spec.targets)
    asked = planned.settings.evaluate.faithfulness
    each = metrics.passes(metrics.faithfulness(asked.metrics), asked)
    # Each explanation that a metric asks for costs what the method does, and the shared pass.
    passes += asked.sample * targets * sum(each.predictions + each.explanations * (1 + c.forward) for c in cost)
    cell_bytes = 2 if planned.settings.output.heatmap_dtype == "int16" else 4
    minutes = records_total * seconds_per_image / planned.settings.runner.worker_count / 60
    cells = {label: math.prod(maps.shape[1:]) for label, _, maps in one.maps}  # some have the size of the image
    image_bytes = targets * sum(m.sample * (cells.get(m.label, 0) * cell_bytes + 120) for m in spec.methods)
    stream.write(
        f"estimate about {records_total:,} records, {records_total * passes:,.0f} forward passes, "
        f"{minutes:,.1f} minutes at the speed of these records, "
        f"at most {records_total * image_bytes / 1e6:,.0f} MB of heatmaps and metrics\n"
    )
    return {
        "records": records_total,
        "forward_passes": round(records_total * passes),
        "minutes": round(minutes, 2),
        "bytes": round(records_total * image_bytes),
    }


def _record_count(dataset: source.Dataset) -> int:
    """Records in all: exact where the format knows, else from the bytes of the shards and of the first records."""
    if dataset.count is not None:
        return dataset.count
    first = itertools.islice(dataset.in_turn(), 256)
    sizes = [len(record) + shard.overhead_bytes for shard, _, record in first if isinstance(record, bytes)]
    return round(dataset.stored_bytes / (sum(sizes) / len(sizes))) if sizes else 0

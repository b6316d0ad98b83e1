"""A dry run: resolve everything, explain a few records, and say what looks wrong before a full run finds out."""

from __future__ import annotations

import dataclasses
import io
import time
from collections.abc import Iterator, Sequence
from typing import Any, TextIO

import numpy as np

from heatbeam import config
from heatbeam.job import box_fit, classes, held_features, pixel_choices, plan, run, step_options, verdict
from heatbeam.job.check import costs, judging, machine_plan
from heatbeam.job.fitting import agreement, decision, earlier_runs, first_records, unfit_methods, work
from heatbeam.runners import runner_options
from heatbeam.runs import manifests, run_directory
from heatbeam.transforms import errors, explain, records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import explained, specs
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import decode_options
from heatbeam.transforms.sources.arrays import fitting as fitting_arrays


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


def _findings(settings: config.RunConfig, count: int, stream: TextIO) -> judging.Findings:
    errors.check_at_least_one("--records", count)
    with runner_options.connected(runner_options.beam_arguments(settings.runner, ())):
        return _check(settings, count, stream)


def _check(settings: config.RunConfig, count: int, stream: TextIO) -> judging.Findings:
    findings = judging.Findings()
    planned, _fitting = unfit_methods.fitted(plan.make(settings), findings.warnings.append, _with_rivals)
    try:
        run.directory_of(settings.output).check_free(overwrite=settings.output.overwrite, resume=settings.output.resume)
    except run_directory.RunDirectoryError as error:
        findings.problems.append(str(error))
    stream.write(f"input    {_input_in_words(planned)}\n")
    findings.warnings += planned.dataset.oddities()
    judging.named_features(planned, findings, stream)
    planned, engine, computing = _with_backend(planned, findings, stream)
    spec = _with_rivals(planned.engine_spec)
    planned, names = classes.resolved(planned, engine.description)
    if spec.model.has_random_weights:
        findings.warnings.append("the model's weights are random, as model.arguments say: its maps have no meaning")
    _write_model(engine.description, computing, spec.precision, stream)
    findings.facts |= _facts(planned, engine, computing)
    machine_plan.write(planned, findings, stream)
    stream.write(f"classes  {planned.classes_in_words}\n")
    findings.warnings += classes.model_warnings(planned, engine.description)
    if engine.trials:
        tried = ", ".join(f"{size} ({speed:,.3g} images/s)" for size, speed in engine.trials)
        stream.write(f"batch    {engine.batch_size} images at once on this machine; tried {tried}\n")
    examples, encoded, letters = first_records.decoded(planned, engine.description, count)
    findings.warnings += judging.lost_in_words(letters)
    boxes = sum(len(one.boxes) for one in encoded if one.boxes is not None)
    findings.facts["lost"] = [
        {"image_id": one.image_id, "stage": one.stage, "error_type": one.error_type, "message": one.message}
        for one in letters
    ]
    if dropped := sum(example.ground_truth.dropped_boxes for example in examples):
        findings.warnings.append(verdict.boxes_in_words(boxes, dropped))
    convention = box_fit.convention_of(planned.features)
    findings.warnings += box_fit.warnings(
        convention, box_fit.stored_boxes(encoded, examples, convention), by_sides=planned.features.boxes is None
    )
    findings.warnings += judging.boxes_beyond(encoded, engine.description.classes)
    good = [e for e in examples if judging.labels_fit(e, engine.description.classes, findings)]
    if not good:
        findings.problems.append(f"none of the first {len(examples) + len(letters)} records can be explained")
    else:
        seconds, results = _explain(engine, good)
        judging.model_answers(engine.description, good, results, names, findings)
        costs.write_methods(spec, engine, stream)
        costs.write_metrics(settings.evaluate.faithfulness, stream)
        _write_records(good, results, names, stream)
        findings.warnings += _write_inputs(settings, engine, encoded, examples, stream)
        others = held_features.others(settings, good)
        stream.writelines(f"input    {one.in_words(len(good))}\n" for one in others)
        findings.facts["inputs"] = [one.facts() for one in others]
        judging.method_maps(spec, {str(target) for target in planned.engine_spec.targets}, results, findings, stream)
        findings.facts["records"] = [
            {
                "image_id": example.source.image_id,
                "label_ids": list(example.source.label_ids),
                "predicted_class_id": int(one.predicted_class_id),
            }
            for example, one in zip(good, results, strict=True)
        ]
        _estimate(planned, engine, seconds / len(good), results[0], findings, stream)
    stream.writelines(f"warning  {warning}\n" for warning in findings.warnings)
    stream.writelines(f"PROBLEM  {problem}\n" for problem in findings.problems)
    stream.write("the run would work as far as these records can tell\n" if not findings.problems else "")
    return findings


def _estimate(
    planned: plan.Plan,
    engine: engines.Engine,
    seconds_per_image: float,
    one: explained.ImageExplanation,
    findings: judging.Findings,
    stream: TextIO,
) -> None:
    """Say what the full run takes; warn where another number of processes would take less."""
    estimate = findings.facts["estimate"] = costs.write_estimate(planned, engine, seconds_per_image, one, stream)
    findings.warnings += machine_plan.waiting_workers(planned.settings.runner, estimate["records"], seconds_per_image)


def _with_backend(
    planned: plan.Plan, findings: judging.Findings, stream: TextIO
) -> tuple[plan.Plan, engines.Engine, manifests.Compute]:
    """As the run decides what computes the model: the plan with it, the engine that the check asks, and why it."""
    output = planned.settings.output
    earlier: list[earlier_runs.Source] = []
    try:
        earlier = earlier_runs.sources(output, run.directory_of(output))
    except run_directory.RunDirectoryError as error:
        findings.problems.append(str(error))
    found = decision.engine_of(planned, earlier, lambda text: stream.write(f"{text}\n"), _with_rivals)
    findings.warnings += agreement.warnings(found[0].engine_spec, found[2])
    return found


def _facts(planned: plan.Plan, engine: engines.Engine, computing: manifests.Compute) -> dict[str, Any]:
    """What is known before the first record."""
    about, methods = engine.description, [(m.label, work.cost_of(m, engine)) for m in planned.engine_spec.methods]
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
        "compute": computing.model_dump(mode="json"),
        "batch_size": engine.batch_size,
        "methods": [{"name": name, "forward_passes": cost.forward, "head_passes": cost.head} for name, cost in methods],
        "maps": [],
    }


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
        found = pixel_choices.in_words(engine, stored, how, explain.stacked_inputs(examples))
        stream.writelines(f"pixels   {line}\n" for line in found)
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


def _write_model(
    about: exposure.ModelDescription, computing: manifests.Compute, precision: specs.Precision, stream: TextIO
) -> None:
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
    stream.write(f"compute  {decision.in_words(computing, precision)}\n")


def _probabilities_in_words(rule: str) -> str:
    if rule in ("softmax", "sigmoid"):
        return f"; probabilities by {rule}"
    return "; no probabilities" if rule == "value" else "; probabilities are the model's own numbers"


def _explain(
    engine: engines.Engine, examples: Sequence[records.Example]
) -> tuple[float, list[explained.ImageExplanation]]:
    size = engine.batch_size
    started = time.monotonic()
    results: list[explained.ImageExplanation] = []
    for i in range(0, len(examples), size):
        batch = examples[i : i + size]
        images, inputs = np.stack([e.image for e in batch]), explain.stacked_inputs(batch)
        results += engine.explain(images, [e.source.label_ids for e in batch], {}, inputs)
    return time.monotonic() - started, results


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

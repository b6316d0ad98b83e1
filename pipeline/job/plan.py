"""From settings to the fields of the steps: what a run will do, resolved and checked, before anything starts."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import pydantic

from heatbeam import config
from heatbeam.config import mistakes
from heatbeam.job import class_sources, references, target_layers
from heatbeam.runners import machines
from heatbeam.runs import remote_files
from heatbeam.transforms import errors, sampling
from heatbeam.transforms.engine import batch_tuning, specs
from heatbeam.transforms.models import model_source
from heatbeam.transforms.models.backends import packages
from heatbeam.transforms.models.files import channel_statistics
from heatbeam.transforms.sources import feature_map, files, source

if TYPE_CHECKING:
    import _typeshed

    Record = TypeVar("Record", bound=_typeshed.DataclassInstance)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A run, resolved.

    Attributes:
        settings: the configuration it came from, each method on each target layer.
        engine_spec: model, methods and targets.
        features: which feature of a record holds what; what its classes are in the model, `classes.resolved` says.
        dataset: the shards to read, matched once.
        known_classes: names of the classes of data and model, as far as they are known without the model.
        classes_in_words: how those were matched; empty until `classes.resolved` has done it.
        part: of the records that is to be explained; None for all.
    """

    settings: config.RunConfig
    engine_spec: specs.EngineSpec
    features: feature_map.FeatureMap
    dataset: source.Dataset
    known_classes: class_sources.Known
    classes_in_words: str = ""
    part: sampling.Part | None = None


def make(settings: config.RunConfig, beam_options: Sequence[str] = ()) -> Plan:
    """Resolve and check a configuration.

    Args:
        settings: the configuration.
        beam_options: Beam's own options from the command line; they too say how many processes share a GPU.

    Raises:
        config.ConfigError: every problem that can be seen without loading the model.
    """
    settings = target_layers.on_each(settings)
    problems = [*mistakes.method_problems(dict(enumerate(settings.explain.methods))), *_value_problems(settings)]
    if settings.explain.backend is not None and (missing := packages.missing(settings.explain.backend)):
        problems.append(f"explain.compute: {missing}; or set tensorflow")
    settings = _with_statistics(settings, problems)
    dataset, features, reference = None, None, None
    try:
        reference = references.read(settings)
    except ValueError as error:
        problems.append(f"{error}")
    known = class_sources.read(settings, problems)
    try:
        dataset = settings.input.as_source().open()
    except (ValueError, OSError) as error:
        problems.append(f"input: {error}")
    try:
        features = settings.input.as_feature_map(
            slices=settings.evaluate.slices, inputs=settings.model.as_input_forms()
        )
        if dataset is not None:
            gives_values = settings.model.scores in specs.VALUES
            of_values = features.of_values(known=settings.model.scores == "regression")
            features = dataset.resolve(of_values if gives_values else features.of_classes())
            known = known if gives_values else class_sources.of_dataset(known, dataset, features)
    except ValueError as error:
        problems.append(f"input.features: {error}")
    if problems or dataset is None or features is None:
        raise config.ConfigError(problems)
    spec = dataclasses.replace(
        engine_spec(settings, reference), gpu_memory=machines.gpu_memory_of(settings.runner, beam_options)
    )
    return Plan(settings, spec, features, dataset, known)


def _with_statistics(settings: config.RunConfig, problems: list[str]) -> config.RunConfig:
    """The configuration with the numbers of ``model.preprocessing.statistics`` in its place: workers need no file."""
    given = settings.model.preprocessing
    if given.statistics is None:
        return settings
    try:
        with files.open_stored(given.statistics) as file:
            found = channel_statistics.parsed(file.read(), given.statistics)
    except OSError as error:
        problems.append(f"model.preprocessing.statistics: cannot read {given.statistics}: {errors.reason(error)}")
        return settings
    except ValueError as error:
        problems.append(f"model.preprocessing.statistics: {error}")
        return settings
    if found.scale is not None and (given.scale is not None or given.offset is not None):
        problems.append(f"model.preprocessing: {given.statistics} has a rescale_factor; leave scale and offset out")
    scale = given.scale if found.scale is None else (found.scale,)
    numbers = {"statistics": None, "scale": scale, "mean": found.mean, "std": found.std}
    model = settings.model.model_copy(update={"preprocessing": given.model_copy(update=numbers)})
    return settings.model_copy(update={"model": model})


def engine_spec(settings: config.RunConfig, reference: references.Reference | None = None) -> specs.EngineSpec:
    """Model, methods and targets of a configuration; `reference` as `references.read` gives it."""
    model, explain, runner = settings.model, settings.explain, settings.runner
    threads = runner.intra_op_threads
    if threads is None and runner.name == "direct" and runner.worker_count > 1:
        # One batch per worker thread and core wastes less than threads inside each operation.
        threads = 1
    return filled(
        specs.EngineSpec,
        model,
        explain,
        model=filled(
            model_source.ModelSource,
            model,
            path=_absolute(model.path),
            weights=_absolute(model.weights),
            arguments=specs.pairs(model.arguments),
            constants=specs.pairs(_constants(model)),
            search_path=_absolute(model.search_path),
        ),
        preprocessing=filled(model_source.Preprocessing, model.preprocessing),
        reference=reference,
        fed=tuple(sorted(model.inputs)),
        float_pixels=_float_pixels(settings.input),
        methods=tuple(_method_spec(m, explain.seed) for m in explain.methods),
        batch_size=batch_tuning.LARGEST if explain.batch_size == "auto" else explain.batch_size,
        pass_batch_size=explain.largest_pass,
        intra_op_threads=threads,
        gpu_memory=machines.gpu_memory_of(runner),
        constant_weights=None if explain.constant_weights == "auto" else explain.constant_weights,
        tune_batch=explain.batch_size == "auto",
        compute=explain.backend or "tensorflow",
        xla=explain.backend == "xla",
    )


def _float_pixels(given: config.InputConfig) -> bool:
    """Whether most inputs are float32."""
    if given.array is not None and given.array.dtype != "uint8" and given.array.format != "frames":
        return True
    return given.as_image_options(1, 1).gives_fractions


def _constants(model: config.ModelConfig) -> dict[str, Any]:
    """What the inputs beside the explained one have: files of constants from wherever the job runs."""
    stand_ins = {name: model_source.StandIn(given.shape) for name, given in model.inputs.items()}
    return stand_ins | {
        name: _absolute(value) if model_source.is_array_file(value) else value
        for name, value in model.constants.items()
    }


def filled(record: type[Record], *sections: pydantic.BaseModel, prefix: str = "", **given: Any) -> Record:
    """A `record` of the values `given` and, for its other fields, of the settings of the same name.

    Args:
        record: a dataclass: a step, or its options.
        sections: where to look, in order. A field that none of them has keeps its default.
        prefix: of the settings' names.
        given: what is worked out, by field.
    """
    values = dict(given)
    for field in dataclasses.fields(record):
        for section in sections:
            if field.name not in values and prefix + field.name in type(section).model_fields:
                values[field.name] = getattr(section, prefix + field.name)
    return record(**values)


def _absolute(path: str | None) -> str | None:
    """A local path from the root: workers have current folders of their own."""
    return None if path is None else remote_files.absolute(path)


def _method_spec(method: config.MethodConfig, seed: int) -> specs.MethodSpec:
    layers = method.layers or ((method.layer,) if method.layer is not None else ())

    def complete(name: str, options: dict[str, Any]) -> specs.Pairs:
        return specs.pairs(specs.complete_options(name, options, seed))

    return filled(
        specs.MethodSpec,
        method,
        label=method.label,
        options=complete(method.method, method.options),
        layers=layers,
        wrapper_options=complete(method.wrapper, method.wrapper_options) if method.wrapper is not None else (),
    )


def _value_problems(settings: config.RunConfig) -> list[str]:
    """What does not go with a model that gives values."""
    if settings.model.scores not in specs.VALUES:
        return []
    problems = []
    if settings.evaluate.faithfulness.metrics:
        problems.append(
            f"evaluate.faithfulness.metrics: they measure probabilities, and model.scores: {settings.model.scores} has "
            "none; leave them out"
        )
    if all(target in ("label", "labels") for target in settings.explain.targets):
        problems.append(
            "explain.targets: a label names a class, and the model gives values; expected predicted (of one output) or "
            "indexes of outputs"
        )
    return problems

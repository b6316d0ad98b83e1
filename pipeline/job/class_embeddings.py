"""The mean embedding of a class of the records: what a similarity is to, where no file says it."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterator

import numpy as np

from heatbeam import config
from heatbeam.job import plan, step_options
from heatbeam.transforms import explain, records
from heatbeam.transforms.engine import engine as engines
from heatbeam.transforms.engine import specs
from heatbeam.transforms.sources import feature_map, features, tfexample

IMAGES = 64
"""The first images of the class, at most, whose embeddings are averaged."""

_MOST_READ = 100_000


def resolved(planned: plan.Plan) -> plan.Plan:
    """The plan with the embedding that the class of ``model.reference_class`` has on the mean over its first images.

    Raises:
        config.ConfigError: no record of the class is found.
        loading.ModelError: the model is not what the configuration says.
    """
    wanted = planned.settings.model.reference_class
    if wanted is None:
        return planned
    spec = dataclasses.replace(
        planned.engine_spec,
        scores="regression",
        reference=None,
        targets=(0,),
        methods=specs.EngineSpec.methods,  # the scores alone are asked; which of its own fit, the run finds out later
        tune_batch=False,
        batch_size=min(IMAGES, planned.engine_spec.batch_size),
    )
    engine, _ = explain.acquire_engine(spec)
    examples = list(itertools.islice(_examples_of(planned, str(wanted), engine), IMAGES))
    if not examples:
        problem = (
            f"model.reference_class: no record of class {wanted} that can be read is among the first {_MOST_READ:,} "
            "(in input.features.label or labels, as the records hold it)"
        )
        raise config.ConfigError([problem])
    size, found = engine.pass_size, []
    for start in range(0, len(examples), size):
        batch = examples[start : start + size]
        images = np.stack([example.image for example in batch])
        found.append(engine.scores(images, explain.stacked_inputs(batch)).astype(np.float64))
    mean = np.concatenate(found).mean(axis=0)
    reference = (tuple(float(number) for number in mean),)
    return dataclasses.replace(planned, engine_spec=dataclasses.replace(planned.engine_spec, reference=reference))


def _examples_of(planned: plan.Plan, wanted: str, engine: engines.Engine) -> Iterator[records.Example]:
    """The records of a class, decoded, in the order of the shards."""
    settings = planned.settings
    decoding = step_options.decode_step(settings, engine.description)
    of_classes = settings.input.as_feature_map()
    ids = _ids_of(planned, wanted)
    read = ((shard, *one) for shard in planned.dataset.shards for one in shard.records())
    for shard, index, record in itertools.islice(read, _MOST_READ):
        if isinstance(record, bytes):
            try:
                if not _is_of(record, of_classes, wanted, ids):
                    continue
                encoded = features.parse_example(record, planned.features, shard.name, index)
                yield decoding.decoded(encoded)
            except records.DataError:  # the run tells of it
                continue


def _ids_of(planned: plan.Plan, wanted: str) -> set[int]:
    """The ids that the records have for the class, as far as the data names its classes."""
    vocabulary = planned.known_classes.dataset
    found = set(vocabulary.table().find(wanted)) if vocabulary is not None else set()
    return found or ({int(wanted)} if wanted.isdecimal() else set())


def _is_of(record: bytes, names: feature_map.FeatureMap, wanted: str, ids: set[int]) -> bool:
    held = tfexample.parse(record, names.record)
    for name in (names.label, names.labels):
        for value in tfexample.values(held[name]) if name is not None and name in held else ():
            if value.decode("utf-8", "replace") == wanted if isinstance(value, bytes) else value in ids:
                return True
    return False

"""The first records of the data, decoded where the job is launched."""

from __future__ import annotations

import itertools

from heatbeam.job import plan, step_options
from heatbeam.transforms import decode, read, records
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources import features


def decoded(
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
            examples.append(decoding.decoded(encoded))
            stored.append(encoded)
        except records.DataError as error:
            lose(stage, image_id, shard.name, index, error)
    return examples, stored, letters

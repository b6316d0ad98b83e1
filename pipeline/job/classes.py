"""What the classes of the data are in the model, resolved once, when the model is known."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

from heatbeam import config
from heatbeam.job import class_sources, plan
from heatbeam.transforms.engine import specs
from heatbeam.transforms.models import exposure
from heatbeam.transforms.sources.classes import label_forms, matching, vocabularies


def resolved(planned: plan.Plan, description: exposure.ModelDescription) -> tuple[plan.Plan, tuple[str, ...]]:
    """The plan with what the classes of the data are in the model, and one name per class of the model.

    Raises:
        config.ConfigError: classes have no counterpart, or there are more or fewer names than the model has classes.
    """
    known, count = planned.known_classes, description.classes
    model = known.model
    kind = "output" if planned.engine_spec.scores in specs.VALUES else "class"
    if model is None and count == class_sources.IMAGENET_CLASSES:
        model = known.imagenet
    try:
        given = _given_for(known.dataset, known.boxes, known.given)
        match = matching.match(known.dataset, model, count, given, kind)
        boxes = None
        if known.boxes is not None:
            boxes = matching.match(known.boxes, model, count, _given_for(known.boxes, known.dataset, known.given))
    except matching.MismatchError as error:
        raise config.ConfigError([f"the classes of data and model: {error}"]) from error
    boxes_of = planned.features.box_convention
    features = dataclasses.replace(
        planned.features,
        box_convention=dataclasses.replace(boxes_of, rank=description.rank),
        classes=match.classes,
        box_classes=None if boxes is None else boxes.classes,
        label_form=label_forms.of_records(planned.features, planned.dataset, count),
    )
    words = match.words if boxes is None else f"{match.words}. Of boxes and masks: {boxes.words}"
    return dataclasses.replace(planned, features=features, classes_in_words=words), match.names


def model_warnings(planned: plan.Plan, description: exposure.ModelDescription) -> tuple[str, ...]:
    """What speaks against the layer and the reading of the scores; names of the classes settle what they are."""
    known = planned.known_classes
    named = known.model is not None or known.dataset is not None
    doubts = (description.doubt,) if description.doubt and not named else ()
    return (*description.warnings, *doubts)


def _given_for(
    mine: vocabularies.Vocabulary | None, other: vocabularies.Vocabulary | None, given: matching.Stated
) -> matching.Stated:
    """What is given, without what is said of classes that only the other vocabulary has."""
    if mine is None or other is None or not isinstance(given, Mapping):
        return given
    return {key: value for key, value in given.items() if _has(mine, key) or not _has(other, key)}


def _has(vocabulary: vocabularies.Vocabulary, key: str | int) -> bool:
    ids = {one.id for one in vocabulary.classes}
    return bool(vocabulary.table().find(str(key))) or (str(key).isdecimal() and int(key) in ids)

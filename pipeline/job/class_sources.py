"""What is known of classes before the model is: names of the data, names of the model, and what the settings say."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Mapping

from heatbeam import config
from heatbeam.transforms.sources import feature_map, files, source
from heatbeam.transforms.sources.classes import class_files, matching, vocabularies

IMAGENET = "imagenet"
"""The value of ``model.class_names`` that stands for the names that Keras has for ImageNet."""

IMAGENET_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Known:
    """The classes of both sides.

    Attributes:
        dataset: classes of the data; None if only the records know.
        boxes: those of boxes and masks, where the data has others for them; else None.
        model: classes of the model; None if it has no names, or they are only known if it has `IMAGENET_CLASSES`.
        imagenet: what Keras calls the classes, for an application with its weights; None where that is not known here.
        given: what ``input.class_map`` says.
    """

    dataset: vocabularies.Vocabulary | None = None
    boxes: vocabularies.Vocabulary | None = None
    model: vocabularies.Vocabulary | None = None
    imagenet: vocabularies.Vocabulary | None = None
    given: matching.Stated = None


def read(settings: config.RunConfig, problems: list[str]) -> Known:
    """What the settings and the files that they name say.

    Args:
        settings: of the run.
        problems: where to add what is wrong.
    """
    dataset = _vocabulary(settings.input.class_names, "input.class_names", problems)
    model = _vocabulary(settings.model.class_names, "model.class_names", problems)
    given: matching.Stated = None
    try:
        given = _mapping(settings.input.class_map)
    except (ValueError, OSError) as error:
        problems.append(f"input.class_map: {error}")
    problems += _offset_problems(settings.input, dataset)
    application = settings.model.application is not None and settings.model.arguments.get("weights") == IMAGENET
    return Known(dataset, None, model, imagenet_if_here() if application and model is None else None, given)


def of_dataset(known: Known, dataset: source.Dataset, features: feature_map.FeatureMap) -> Known:
    """`known` with the names that the format of the data brings, where the settings give none."""
    if known.dataset is not None:
        return known

    def named(fields: feature_map.FeatureMap) -> vocabularies.Vocabulary | None:
        names = dataset.class_names(fields)
        return None if names is None else vocabularies.Vocabulary.of_list(names, "the dataset")

    whole, boxes = named(features), named(dataclasses.replace(features, label=None, labels=None))
    if boxes is None or whole is None or boxes.classes == whole.classes:
        return dataclasses.replace(known, dataset=whole)
    if len(boxes) == len(whole) and (boxes.is_numbered or whole.is_numbered):  # only one of them has names
        return dataclasses.replace(known, dataset=boxes if whole.is_numbered else whole)
    return dataclasses.replace(known, dataset=whole, boxes=boxes)


def _vocabulary(
    value: tuple[str, ...] | Mapping[int, str] | str | None, setting: str, problems: list[str]
) -> vocabularies.Vocabulary | None:
    try:
        return None if value is None else _named(value, setting)
    except (ValueError, OSError) as error:
        problems.append(f"{setting}: {error}")
        return None


def _named(value: tuple[str, ...] | Mapping[int, str] | str, setting: str) -> vocabularies.Vocabulary:
    if not isinstance(value, str):
        return class_files.of_values(value, setting)
    if value == IMAGENET and setting == "model.class_names":
        found = imagenet_if_here()
        if found is None:
            raise ValueError(without_imagenet())
        return found
    found = class_files.vocabulary(_text(value), value)
    return dataclasses.replace(found, source=f"{setting} ({pathlib.PurePath(value).name})")


def _mapping(value: matching.Given | str | None) -> matching.Stated:
    if not isinstance(value, str):
        return value
    if value == matching.IDS:
        return matching.IDS
    return class_files.mapping(_text(value), value)


def _text(path: str) -> str:
    with files.open_stored(path) as file:
        return class_files.text_of(file.read(), path)


def _imagenet_path() -> pathlib.Path:
    home = os.environ.get("KERAS_HOME")
    return (pathlib.Path(home) if home else pathlib.Path.home() / ".keras") / "models" / "imagenet_class_index.json"


def without_imagenet() -> str:
    """What to do where `imagenet_if_here` finds nothing."""
    return f"there is no {_imagenet_path()} (Keras loads it when it decodes predictions); give a file of names"


def imagenet_if_here() -> vocabularies.Vocabulary | None:
    """Keras' own names, if they were ever loaded on this machine: nothing is downloaded."""
    try:
        text = _imagenet_path().read_text(encoding="utf-8")
        found = class_files.vocabulary(text, "imagenet_class_index.json")
    except (OSError, ValueError):
        return None
    return dataclasses.replace(found, source="Keras' names for ImageNet") if len(found) == IMAGENET_CLASSES else None


def _offset_problems(settings: config.InputConfig, dataset: vocabularies.Vocabulary | None) -> list[str]:
    """An offset beside a file that states the ids of the records would shift each of them to its neighbour."""
    if dataset is None or not dataset.ids_given:
        return []
    first = dataset.classes[0].id
    return [
        f"input.{name}: {offset}, but {dataset.source} states the ids from {first}, which are looked up as the records "
        f"hold them; remove {name}"
        for name, offset in (("label_offset", settings.label_offset), ("box_label_offset", settings.box_label_offset))
        if offset and offset == first
    ]

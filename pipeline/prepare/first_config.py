"""``heatbeam init``: a commented configuration from what data and model tell of themselves, with open questions."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Iterator

from heatbeam.job import class_sources
from heatbeam.prepare import answers, data_found, model_found
from heatbeam.transforms import errors
from heatbeam.transforms.sources.classes import class_maps, matching, vocabularies

_HEAD = """\
# Written by heatbeam init from what data and model say of themselves. A setting that is "?" is a question: the comment
# before it says what may be answered, and heatbeam check and run refuse the file until it is.
# Every setting with its default: heatbeam settings
"""


@dataclasses.dataclass(frozen=True)
class Wanted:
    """What is to be configured.

    Attributes:
        data: as of `data_found.look`.
        model: path of the model.
        split: of the data, or None.
        class_names: file of the names of the model's classes, or None.
        preprocessing: of the model, or None to find it out.
        directory: of the run.
    """

    data: str
    model: str
    split: str | None = None
    class_names: str | None = None
    preprocessing: str | None = None
    directory: str = "runs/audit"


def text(wanted: Wanted) -> tuple[str, tuple[str, ...]]:
    """The configuration, and the settings that it asks for, by their path.

    Raises:
        errors.UserError: data or model cannot be read.
    """
    data = data_found.look(wanted.data, wanted.split)
    model = model_found.look(wanted.model, wanted.preprocessing, data.features)
    of_classes = list(_classes(data, model, wanted.class_names))
    sections = {
        "input": (*data.settings, *(one for one in of_classes if one.key == "class_map")),
        "model": (*model.settings, *(one for one in of_classes if one.key == "class_names")),
        "explain": tuple(_explain(data)),
        "evaluate": tuple(_evaluate(data, model)),
        "output": (answers.Answer("directory", wanted.directory),),
    }
    written = "".join(answers.section(name, settings) for name, settings in sections.items() if settings)
    asked = [f"{name}.{one.key}" for name, settings in sections.items() for one in settings if one.is_question]
    return _HEAD + written, tuple(asked)


def _classes(data: data_found.Found, model: model_found.Found, path: str | None) -> Iterator[answers.Answer]:
    count = model.outputs
    if path is not None:
        names = _names_given(path)
        yield answers.Answer("class_names", path, (f"{len(names):,} names, as given to heatbeam init",))
        yield from _unmatched(data, names, count)
    elif data.classes is not None and count == len(data.classes):
        why = (
            f"the model does not name its {count:,} outputs; the data has as many classes, and they are taken to be in "
            "the same order (as they are after image_dataset_from_directory, which sorts the names of folders as "
            "heatbeam shards does); if not, give the file of the model's own"
        )
        yield answers.Answer("class_names", data.classes.source, (why,))
    elif data.classes is not None and _all_in_imagenet(data.classes, count):
        why = (
            "the model has as many outputs as ImageNet has classes, and every class of the data is one of them by name"
        )
        yield answers.Answer("class_names", class_sources.IMAGENET, (why,))
    elif data.classes is not None and count is not None and count > 1:
        yield answers.asked(
            "class_names",
            f"the model has {count:,} outputs and no names for them; the classes of the data are "
            f"{class_maps.shown(one.name for one in data.classes.classes)}:",
            "a file of names in the order of the outputs, or imagenet for those of Keras; null where input.class_map "
            "says which output each class of the data is, {name: number}",
        )


def _names_given(path: str) -> vocabularies.Vocabulary:
    if path != class_sources.IMAGENET:
        return data_found.names_of(path, "--class-names")
    found = class_sources.imagenet_if_here()
    if found is None:
        raise errors.UsageError(f"--class-names {path}: {class_sources.without_imagenet()}")
    return found


def _all_in_imagenet(classes: vocabularies.Vocabulary, count: int | None) -> bool:
    """Whether a model with `count` outputs may have ImageNet's classes, and every class of the data is one of them."""
    known = class_sources.imagenet_if_here()
    if known is None or count != len(known):
        return False
    try:
        matching.match(classes, known, count)
    except matching.MismatchError:
        return False
    return True


def _unmatched(data: data_found.Found, names: vocabularies.Vocabulary, count: int | None) -> Iterator[answers.Answer]:
    """A question about the classes of the data that the model has no class for."""
    if data.classes is None or count is None:
        return
    try:
        matching.match(data.classes, names, count)
    except matching.MismatchError as error:
        yield answers.asked(
            "class_map",
            f"{error}",
            'a class of the model for each of them, or null to leave it out ({"*": null}: all of them)',
        )


def _explain(data: data_found.Found) -> Iterator[answers.Answer]:
    yield answers.Answer("methods", ["grad_cam"], ("others: heatbeam methods",))
    label = "labels" if data.several else "label"
    yield answers.Answer("targets", [label, "predicted"], ("every class that a record names",) if data.several else ())


def _evaluate(data: data_found.Found, model: model_found.Found) -> Iterator[answers.Answer]:
    slices = [name for name in data.slices if name not in model.fed_by]
    if slices:
        yield answers.Answer("slices", slices, ("results are broken down by each; take out what has no meaning",))


def write(wanted: Wanted, path: str, *, overwrite: bool) -> tuple[str, ...]:
    """Write the configuration to `path`; the settings that it asks for.

    Raises:
        errors.UserError: data or model cannot be read, or there is a file already.
    """
    if os.path.lexists(path) and not overwrite:
        raise errors.PathError(f"{path} is there already; give another name with -o, or --overwrite")
    content, asked = text(wanted)
    with errors.about(path, "write"):
        pathlib.Path(path).write_text(content, encoding="utf-8")
    return asked

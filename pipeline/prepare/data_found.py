"""What the records of a data set hold: of shards that heatbeam made, of any TFRecord files, of a TFDS directory."""

from __future__ import annotations

import collections
import contextlib
import dataclasses
import itertools
import json
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from heatbeam import config
from heatbeam.prepare import answers, formats, places, shards
from heatbeam.prepare.formats import class_folders
from heatbeam.transforms import errors, records
from heatbeam.transforms.sources import feature_map, tfexample, tfrecord_source
from heatbeam.transforms.sources.classes import class_files, vocabularies
from heatbeam.transforms.sources.pixels import image_files

_RECORDS = 256
_USUAL = feature_map.FeatureMap()
_LABELS = ("label", "labels", "class", "class_id", "target")


@dataclasses.dataclass(frozen=True)
class Found:
    """A data set.

    Attributes:
        settings: what is to be said of it.
        classes: the names of its classes, or None.
        several: whether a record may have several classes.
        slices: features by which results may be broken down.
        features: all that the records have, where they were looked at.
    """

    settings: tuple[answers.Answer, ...]
    classes: vocabularies.Vocabulary | None = None
    several: bool = False
    slices: tuple[str, ...] = ()
    features: tuple[str, ...] = ()


def look(place: str, split: str | None) -> Found:
    """Look at a data set.

    Args:
        place: a folder of `heatbeam.prepare.shards`, one of a prepared TFDS data set, or a pattern of TFRecord files.
        split: which one, where the user says it.

    Raises:
        errors.UserError: there is none.
    """
    if places.is_folder(place):
        folder = place.rstrip("/")
        if places.exists(f"{folder}/{shards.MANIFEST}"):
            return _of_shards(folder, json.loads(places.read_text(f"{folder}/{shards.MANIFEST}")), split)
        if places.exists(f"{folder}/dataset_info.json"):
            return _of_tfds(folder, json.loads(places.read_text(f"{folder}/dataset_info.json")), split)
        names = list(places.below(places.absolute(folder)))
        if any(name.endswith(places.IMAGE_ENDINGS) for name in names):
            raise _no_shards(f"{place} holds image files", place)
        if not any(".tfrecord" in name for name in names):
            raise _no_shards(f"{place} has no *.tfrecord* files", place)
        place = f"{folder}/*.tfrecord*"
    elif place.lower().endswith(formats.ENDINGS):
        raise _no_shards(f"{place} is no TFRecord file", place)
    return _of_records(place)


def _no_shards(what: str, place: str) -> errors.UsageError:
    return errors.UsageError(
        f"{what}; make shards of it first, heatbeam shards {shlex.quote(place)} --out DIR, and give --data DIR"
    )


def _of_shards(folder: str, manifest: Mapping[str, Any], split: str | None) -> Found:
    given = dict(manifest["input"])
    found = [
        _split(
            "tfrecord",
            sorted(manifest["splits"]),
            split,
            f"{folder}/{{}}-*.tfrecord",
            f"{manifest['counts']['written']:,} images",
        )
    ]
    why = {
        "features": f"as heatbeam shards wrote them, of {manifest['format']}",
        "class_names": "in the order of the ids in the records",
    }
    classes = None
    if "class_names" in given:
        given["class_names"] = f"{folder}/{given['class_names']}"
        text = places.read_text(given["class_names"])
        classes = vocabularies.Vocabulary.of_list(text.splitlines(), given["class_names"])
    found += [answers.Answer(key, value, (why[key],) if key in why else ()) for key, value in given.items()]
    several = "labels" in given.get("features", {})
    return Found(tuple(found), classes, several, tuple(manifest["slices"]))


def _split(key: str, splits: Sequence[str], asked: str | None, pattern: str, what: str) -> answers.Answer:
    if asked is not None and asked not in splits:
        raise errors.UsageError(f"--split {asked}: the data has {', '.join(splits)}")
    held_out = [name for name in splits if name.lower() in class_folders.HELD_OUT]
    if asked is not None or len(splits) == 1:
        return answers.Answer(key, pattern.format(asked or splits[0]), (what,))
    others = f"of the splits {', '.join(splits)}"
    if len(held_out) == 1:
        return answers.Answer(key, pattern.format(held_out[0]), (f"{others} the one that no model is trained on",))
    return answers.asked(key, f"{others}: {' or '.join(pattern.format(name) for name in splits)}")


def _of_tfds(folder: str, info: Mapping[str, Any], split: str | None) -> Found:
    splits = sorted(str(one["name"]) for one in info.get("splits") or ())
    if not splits:
        raise errors.UsageError(f"{folder} is a TFDS data set without splits; prepare it first")
    chosen = _split("split", splits, split, "{}", "")
    tfds = {"directory": folder, "split": chosen.value}
    why = tuple(text for text in chosen.why if text)
    return Found((answers.Answer("tfds", tfds, (*why, "features and classes as TFDS declares them")),))


def _of_records(pattern: str) -> Found:
    dataset = tfrecord_source.TFRecordSource((pattern,)).open()
    kinds: dict[str, collections.Counter[str]] = {}
    images: collections.Counter[str] = collections.Counter()
    signals: dict[str, collections.Counter[str]] = {}
    total = sequences = 0
    for _, _, record in itertools.islice(dataset.in_turn(), _RECORDS):
        if isinstance(record, records.DataError):
            continue
        with contextlib.suppress(records.DataError):
            parsed = tfexample.parse_sequence(record)
            total += 1
            sequences += parsed.has_lists
            for name, feature in parsed.items():
                kinds.setdefault(name, collections.Counter())[_kind(feature)] += 1
                images[name] += _is_image(feature)
                if isinstance(feature, tfexample.Steps):
                    signals.setdefault(name, collections.Counter())[_format_of(feature)] += 1
    if not total:
        raise errors.UsageError(f"{pattern}: none of the first records is a tf.train.Example")
    held_as = {name: next(iter(of)) for name, of in signals.items() if [*of.values()] == [total] and "" not in of}
    features, own = _named(kinds, +images or dict.fromkeys(held_as, total), total)
    why = f"{len(dataset.shards):,} shards; the features of {total:,} records"
    usual = [name for name in _USUAL.names() if name in kinds]
    found = [answers.Answer("tfrecord", pattern, (why, f"of the usual names they have {', '.join(usual) or 'none'}"))]
    found += [answers.Answer("features", features, tuple(own))] if features else []
    found += _of_sequences(features.get("image", _USUAL.image), held_as, sequences) if sequences else []
    taken = {*_USUAL.names(), *features.values(), *_OF_TOOLS}
    further = [
        name for name, counted in sorted(kinds.items()) if name not in taken and counted.keys() <= {"text", "number"}
    ]
    return Found(tuple(found), slices=tuple(further), features=tuple(sorted(kinds)))


_OF_TOOLS = ("image/filename", "image/class/text", "image/object/class/text", "image/key/sha256", "image/colorspace")
"""What well-known tools put beside the usual features, and nobody breaks results down by."""


def _of_sequences(image: str | None, held_as: Mapping[str, str], sequences: int) -> Iterator[answers.Answer]:
    """What the records are, and how a feature list holds the input."""
    yield answers.Answer("record", "sequence_example", (f"{sequences:,} records have feature lists",))
    if image is not None and image in held_as:
        why = f"the steps of {image} are the first axis of the input"
        yield answers.Answer("array", {"format": held_as[image]}, (why,))


def _format_of(feature: tfexample.Steps) -> str:
    """How the steps of a feature list hold a signal; empty where they hold none."""
    if len(set(feature.lengths)) != 1 or not feature.values:
        return ""
    if feature.kind != "bytes":
        return "values"
    return "frames" if all(map(image_files.looks_like_one, feature.values)) else ""


def _kind(feature: Any) -> str:
    values = tfexample.values(feature)
    if len(values) != 1:
        return "several"
    if tfexample.kind(feature) != "bytes":
        return "number" if tfexample.kind(feature) == "int64" else "fraction"
    try:
        return "text" if len(values[0]) < 256 and values[0].decode().isprintable() else "bytes"
    except UnicodeDecodeError:
        return "bytes"


def _is_image(feature: Any) -> bool:
    if isinstance(feature, tfexample.Steps):
        return _format_of(feature) == "frames"
    values = tfexample.values(feature)
    return tfexample.kind(feature) == "bytes" and len(values) == 1 and image_files.looks_like_one(values[0])


def _named(kinds: Mapping[str, Any], images: Mapping[str, int], total: int) -> tuple[dict[str, str | None], list[str]]:
    """The features that do not have the usual names: what they are called, and why, or a question."""
    found: dict[str, str | None] = {}
    why: list[str] = []
    if _USUAL.image not in kinds:
        full = [name for name, count in images.items() if count == total]
        found["image"] = full[0] if len(full) == 1 else config.OPEN_QUESTION
        why.append(
            f"image: {full[0]} holds an encoded image, or a signal by steps, in each of them"
            if len(full) == 1
            else f"image: which of {', '.join(full or sorted(kinds))}?"
        )
    if _USUAL.label not in kinds:
        likely = [name for name in kinds if name.rpartition("/")[2].lower() in _LABELS]
        found["label"] = config.OPEN_QUESTION
        why.append(f"label: which of {', '.join(likely or sorted(kinds))}, or null? (labels: where there are several)")
    return found, why


def names_of(path: str, setting: str) -> vocabularies.Vocabulary:
    """The classes that a file names.

    Raises:
        errors.UserError: it cannot be read, or names none.
    """
    try:
        found = class_files.vocabulary(places.read_text(path), path)
    except errors.UserError:
        raise
    except ValueError as error:
        raise errors.UsageError(f"{setting} {error}") from error
    return dataclasses.replace(found, source=path)

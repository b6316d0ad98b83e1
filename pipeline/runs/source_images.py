"""The original images of a run, read again from its source shards where these can still be reached.

Shards are found and read as the run found and read them: TFRecord on any file system that Beam knows, and prepared TFDS
datasets in tfrecord and array_record files. Only the records that are asked for are read, and of a compressed shard
what stands before them. What cannot be read leaves a gap and says why; nothing is raised.
"""

from __future__ import annotations

import collections
import dataclasses
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any

from heatbeam import config
from heatbeam.runs import manifests, moved_images, shades
from heatbeam.transforms import records
from heatbeam.transforms.errors import redaction
from heatbeam.transforms.sources import feature_map, features, source

_SHOWN = (1, 3, 4)
"""Channels of raw images that are shown as they are."""
_OF_PICTURES = 3

Place = tuple[str, int, str]
"""``(shard, record_index, image_sha256)`` of a row."""


def place_of(row: Mapping[str, Any]) -> Place:
    """Where the image of a row of ``explanations`` is."""
    return row["shard"], row["record_index"], row["image_sha256"]


def by_place(rows: Iterable[Mapping[str, Any]]) -> dict[Place, list[int]]:
    """Positions of the rows of each image; images in the order of their first row."""
    found: dict[Place, list[int]] = {}
    for number, row in enumerate(rows):
        found.setdefault(place_of(row), []).append(number)
    return found


def originals(
    manifest: manifests.Manifest, places: Collection[Place], problems: list[str] | None = None
) -> Iterator[tuple[Place, shades.Values]]:
    """The originals at `places`, as `SourceRecord.original` gives them, in no particular order.

    One is left out if its shard is not there, its record cannot be read, or its bytes are no longer those that were
    explained.

    Args:
        manifest: of the run; its ``config.input`` says where the shards are.
        places: of the rows.
        problems: where to add why shards could not be read, one sentence each.
    """
    for one in source_records(manifest, places, problems):
        found = one.original()
        if found is not None:
            yield one.place, found


def row_originals(
    manifest: manifests.Manifest, of_place: Mapping[Place, Sequence[int]]
) -> Iterator[tuple[int, shades.Values | None]]:
    """Every row once, with its original as of `originals`; those without one come last, with None.

    Args:
        manifest: of the run.
        of_place: positions of the rows, as `by_place` gives them.
    """
    for number, _, original in row_records(manifest, of_place):
        yield number, original


def row_records(
    manifest: manifests.Manifest, of_place: Mapping[Place, Sequence[int]]
) -> Iterator[tuple[int, SourceRecord | None, shades.Values | None]]:
    """As `row_originals`, with the record of each original."""
    missing = dict(of_place)
    for one in source_records(manifest, of_place):
        original = one.original()
        if original is None:
            continue
        for number in missing.pop(one.place, ()):
            yield number, one, original
    for numbers in missing.values():
        for number in numbers:
            yield number, None, None


@dataclasses.dataclass(frozen=True)
class SourceRecord:
    """One record as its shard holds it.

    Attributes:
        place: of the rows that were made of it.
        record: the serialized ``tf.train.Example``.
        image: its encoded image; raw pixels if `raw_shape` is given.
        settings: the run's ``config.input``.
        raw_shape: ``(height, width, channels)`` of a raw image, ``(*positions, channels)`` of an array, or None.
        raw_dtype: of the numbers of an array.
    """

    place: Place
    record: bytes
    image: bytes
    settings: config.InputConfig
    raw_shape: tuple[int, ...] | None = None
    raw_dtype: str = "uint8"

    def original(self) -> shades.Values | None:
        """The original to draw, in its own size; None if it cannot be decoded.

        Of two position axes uint8 ``(H, W, 3)``: an image as the run decoded it, an array or an image of other than 1,
        3 or 4 channels as `shades.picture` shows it. Of one or three the array as stored, ``(*positions, channels)``.
        """
        array = self.settings.array
        if self.raw_shape is None or (array is None and self.raw_shape[-1] in _SHOWN):
            return _pixels(self.image, self.raw_shape, self.settings)
        from heatbeam.transforms.sources.arrays import fitting  # as of images below

        values = fitting.stored(self.image, self.raw_shape, self.raw_dtype)
        if len(self.raw_shape) != _OF_PICTURES:
            return values
        return shades.picture(values, (array.display if array is not None else None) or ())


def source_records(
    manifest: manifests.Manifest, places: Collection[Place], problems: list[str] | None = None
) -> Iterator[SourceRecord]:
    """The records at `places` whose bytes are still those that were explained; as `originals`, not decoded."""
    problems = problems if problems is not None else []
    if not places:
        return
    wanted: dict[str, dict[int, set[str]]] = collections.defaultdict(lambda: collections.defaultdict(set))
    for shard, index, digest in places:
        wanted[shard][index].add(digest)
    from heatbeam.runners import runner_options  # Beam takes a second to import, and a report may need no image

    with runner_options.connected(()):
        yield from _wanted_records(moved_images.located(manifest).config, wanted, problems)


def _wanted_records(
    given: config.RunConfig, wanted: Mapping[str, Mapping[int, Collection[str]]], problems: list[str]
) -> Iterator[SourceRecord]:
    settings = given.input
    found, features_of_image = _found(settings, image_features(given), problems)
    changed = 0
    # Shards of two directories may have one name: the bytes tell which image it is.
    for name, shard in _called(found, wanted, problems):
        for index, record in _records(name, shard, wanted[name], problems):
            encoded = _image(record, features_of_image, name, index)
            digest = encoded.image_sha256
            if digest in wanted[name][index]:
                place = (name, index, digest)
                yield SourceRecord(place, record, encoded.image, settings, encoded.raw_shape, encoded.raw_dtype)
            else:
                changed += 1
    if changed:
        problems.append(f"{changed} of the wanted records hold other bytes than those that were explained")


def image_features(given: config.RunConfig) -> feature_map.FeatureMap:
    """What `features.parse_example` must read of a record for what was explained: its image, and what came with it."""
    forms = given.model.as_input_forms()
    return given.input.as_feature_map(inputs=forms).reduced_to(*feature_map.OF_THE_IMAGE)


def _found(
    settings: config.InputConfig, names: feature_map.FeatureMap, problems: list[str]
) -> tuple[Sequence[source.Shard], feature_map.FeatureMap]:
    """The shards that are there, and how to read what `names` names of their records."""
    try:
        dataset = settings.as_source().open()
        return dataset.shards, dataset.resolve(names)
    except source.IncompleteSource as error:
        problems += map(_in_a_line, error.problems)
        return error.found.shards, error.found.resolve(names)
    except (ValueError, OSError, ImportError) as error:
        problems.append(_in_a_line(error))
        return (), names


def _called(
    found: Sequence[source.Shard], wanted: Collection[str], problems: list[str]
) -> Sequence[tuple[str, source.Shard]]:
    """The wanted shards, by the name that the rows call each: the end of its path, as long as made it unique then."""
    by_path = {shard.path.replace("\\", "/"): shard for shard in found}
    called = [
        (name, shard)
        for path, shard in sorted(by_path.items())
        for name in wanted
        if path == name or path.endswith("/" + name)
    ]
    missing = len(set(wanted) - {name for name, _ in called})
    if missing and found:
        problems.append(f"{missing} of {len(wanted)} shards are no longer there")
    return called


def _records(
    name: str, shard: source.Shard, indices: Collection[int], problems: list[str]
) -> Iterator[tuple[int, bytes]]:
    try:
        yield from shard.records_at(indices)
    except (OSError, ImportError, records.DataError) as error:
        problems.append(f"{name}: {_in_a_line(error)}")  # what the shard gave before the damage stands


def _in_a_line(error: Exception | str) -> str:
    return " ".join(redaction.text(str(error)).split())[:300]


def _image(record: bytes, names: feature_map.FeatureMap, shard: str, index: int) -> records.EncodedExample:
    """The record with its image, or nothing in its place."""
    try:
        return features.parse_example(record, names, shard, index)
    except records.DataError:
        return records.EncodedExample("", shard, index, b"")


def _pixels(data: bytes, raw_shape: tuple[int, ...] | None, settings: config.InputConfig) -> shades.Pixels | None:
    from heatbeam.transforms.sources import images  # loads Pillow and OpenCV, and a report may need no image

    how = settings.as_image_options(1, 1)  # an original keeps its size
    try:
        return images.decode_original(data, raw_shape, how)
    except records.DataError:
        return None  # an image that cannot be shown is no reason to show nothing

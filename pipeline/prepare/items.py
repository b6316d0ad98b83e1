"""What a folder or an annotation file says of each image, before the image itself is read."""

from __future__ import annotations

import collections
import dataclasses
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from heatbeam.transforms import records
from heatbeam.transforms.sources import box_conventions

Key = str | int
"""A class as the source writes it: a name, or a number of its own."""

DEFAULT_SPLIT = "images"


@dataclasses.dataclass(frozen=True)
class Thing:
    """An object in an image.

    Attributes:
        key: its class; None where it has none.
        box: four numbers in the convention of the source.
        segmentation: polygons or run lengths as COCO has them (`masks`), or None.
        difficult, truncated: as Pascal VOC has them; None where the source does not say.
    """

    key: Key | None
    box: tuple[float, ...]
    segmentation: Any = None
    difficult: bool | None = None
    truncated: bool | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Item:
    """An image that a source names.

    Attributes:
        image_id: unique in the source: the path below its folder, as a rule.
        path: where the image is; empty where `data` has it.
        keys: its classes, each once.
        things: its objects; None where they are not annotated.
        crowds: segmentations of regions that must not be scored.
        size: ``(width, height)`` as the annotation says, or None.
        slices: ``(name, value)`` pairs.
        problem: type and message of what is wrong with it already, or None.
        data: the encoded image, of sources that hold their images.
        unused: what of it has no place in the shards, where workers alone see it.
    """

    image_id: str
    path: str = ""
    keys: tuple[Key, ...] = ()
    things: tuple[Thing, ...] | None = None
    crowds: tuple[Any, ...] = ()
    size: tuple[int, int] | None = None
    slices: tuple[tuple[str, str], ...] = ()
    problem: tuple[str, str] | None = None
    data: bytes | None = None
    unused: tuple[str, ...] = ()

    def to_json(self) -> bytes:
        """All but `data`; equal items give equal bytes."""
        return json.dumps(dataclasses.asdict(dataclasses.replace(self, data=None)), sort_keys=True).encode()

    @classmethod
    def from_json(cls, stored: bytes) -> Item:
        """What `to_json` stored."""
        fields: dict[str, Any] = json.loads(stored)
        things = fields["things"]
        return cls(**{
            **fields,
            "keys": tuple(fields["keys"]),
            "things": None if things is None else tuple(Thing(**{**one, "box": tuple(one["box"])}) for one in things),
            "crowds": tuple(fields["crowds"]),
            "size": fields["size"] and tuple(fields["size"]),
            "unused": tuple(fields["unused"]),
            "slices": tuple(tuple(pair) for pair in fields["slices"]),
            "problem": fields["problem"] and tuple(fields["problem"]),
        })  # fmt: skip


def lost(image_id: str, error: records.DataError) -> Item:
    """An image of which the source says what cannot be used."""
    return Item(image_id, problem=(error.error_type, error.message))


def keys_of(things: Iterable[Thing]) -> tuple[Key, ...]:
    """The classes of objects, each once."""
    return tuple(dict.fromkeys(thing.key for thing in things if thing.key is not None))


@dataclasses.dataclass(frozen=True)
class Piece:
    """Part of a source that holds its images, to become one shard.

    Attributes:
        split: of all its items.
        read: gives the items of the part, from `arguments`; importable on workers.
        arguments: of `read`.
    """

    split: str
    read: Callable[..., Iterator[Item]]
    arguments: tuple[Any, ...]


@dataclasses.dataclass
class Listing:
    """What a source has.

    Attributes:
        title: of the format, in words.
        items: ``(split, item)``, of sources whose images are files; read once.
        pieces: of sources that hold their images; instead of `items`.
        images: how many `pieces` have; None where only workers see it.
        names: the classes, in the order of their ids in the shards; None where the source names none.
        ids: the position in `names` of what the source writes, where that is not the name.
        several: whether an image may have several classes.
        boxes: the convention of the boxes; None without boxes.
        slices: names of the further columns.
        left_out: how often something was found that has no place in the shards, by what it is.
    """

    title: str
    items: Iterator[tuple[str, Item]] = dataclasses.field(default_factory=lambda: iter(()))
    pieces: Sequence[Piece] = ()
    images: int | None = None
    names: tuple[str, ...] | None = None
    ids: Mapping[Key, int] | None = None
    several: bool = False
    boxes: box_conventions.BoxConvention | None = None
    slices: tuple[str, ...] = ()
    left_out: collections.Counter[str] = dataclasses.field(default_factory=collections.Counter)

    @property
    def class_ids(self) -> Mapping[Key, int] | None:
        """The id in the shards of each class that the source writes; None where it is stored as the source has it."""
        if self.ids is not None or self.names is None:
            return self.ids
        return {name: number for number, name in enumerate(self.names)}

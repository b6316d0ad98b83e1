"""What is asked of a source: where it is, and what its own files do not say."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping

from heatbeam.prepare import items, places
from heatbeam.transforms import errors
from heatbeam.transforms.sources import box_conventions

BOXES = {
    "tf": box_conventions.USUAL,
    "voc": box_conventions.KNOWN["Pascal VOC, its XML"],
    "coco": box_conventions.KNOWN["COCO, its JSON"],
    "yolo": box_conventions.KNOWN["YOLO, its text files"],
    "xyxy": box_conventions.KNOWN["torchvision, Detectron2"],
    "inclusive": box_conventions.KNOWN["wsolevaluation (CUB, ILSVRC, OpenImages)"],
}
"""What the numbers of a box may mean, where a source does not say it: the values of ``--boxes``."""


def ids_of(names: Mapping[int, str]) -> dict[items.Key, int]:
    """The id in the shards of each class of a file of names, by the number there and by the name."""
    by_name: dict[items.Key, int] = {name: place for place, name in enumerate(names.values())}
    return by_name | {number: place for place, number in enumerate(names)}


@dataclasses.dataclass(frozen=True)
class Asked:
    """A source.

    Attributes:
        source: folder, file or pattern.
        format: a key of `formats.FORMATS`; None to find it out.
        images: folder of the images; None for that of the source.
        splits: those to take; none for all.
        names: the names of the classes by rising id, for sources that have ids alone.
        path_column, label_columns: of a list; None and none to find them by their names.
        separator: between the classes in a cell.
        boxes: a key of `BOXES`, for lists that have boxes.
    """

    source: str
    format: str | None = None
    images: str | None = None
    splits: tuple[str, ...] = ()
    names: Mapping[int, str] | None = None
    path_column: str | None = None
    label_columns: tuple[str, ...] = ()
    separator: str | None = None
    boxes: str | None = None

    @property
    def image_folder(self) -> str:
        """The folder that the paths in a file lead from."""
        return places.absolute(self.images or places.folder_of(places.absolute(self.source)))

    @functools.cached_property
    def paths(self) -> tuple[str, ...]:
        """What `places.below` gives of the source, a folder: a store far away lists its files once.

        Raises:
            errors.PathError: there is no such folder.
        """
        return tuple(places.below(places.absolute(self.source)))

    def takes(self, split: str) -> bool:
        """Whether a split is wanted."""
        return not self.splits or split in self.splits

    def check_splits(self, found: tuple[str, ...]) -> None:
        """Refuse splits that the source does not have.

        Raises:
            errors.UsageError: if one is asked for.
        """
        missing = [split for split in self.splits if split not in found]
        if missing:
            has = f"has {', '.join(found)}" if found else "has no splits"
            raise errors.UsageError(f"--split {missing[0]}: {self.source} {has}")

"""YOLO's text files: a data file that names splits and classes, a text file an image.

A line is a class and a box, or a class and a polygon, in fractions of the image. An image without a text file has no
objects.

Format: https://docs.ultralytics.com/datasets/detect/, https://docs.ultralytics.com/datasets/segment/
"""

from __future__ import annotations

import collections
import concurrent.futures
from collections.abc import Iterator
from typing import Any

import yaml

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked
from heatbeam.transforms import errors, records

DATA_FILES = ("data.yaml", "data.yml", "dataset.yaml")
"""What the data file of a folder is called."""
_SPLITS = ("train", "val", "test")
_READERS = 16
_BOX_NUMBERS = 5
_LEAST_POLYGON = 7


def listing(given: asked.Asked) -> items.Listing:
    """The images of the splits that a data file, or that of a folder, names.

    Raises:
        errors.UserError: there is none, or its images or text files are not there.
    """
    source = given.source
    if not source.lower().endswith((".yaml", ".yml")):
        named = [f"{source.rstrip('/')}/{name}" for name in DATA_FILES]
        source = next((path for path in named if places.exists(path)), named[0])
    document = _document(source)
    folder = places.folder_of(places.absolute(source))
    root = places.absolute(given.images or folder)
    splits = {split: document[split] for split in _SPLITS if document.get(split)}
    given.check_splits(tuple(splits))
    base = str(document.get("path") or "")
    images = {
        split: sorted({path for one in _each(value) for path in _images(root, base, str(one))})
        for split, value in splits.items()
        if given.takes(split)
    }
    wanted = [(split, path) for split, paths in images.items() for path in paths]
    left_out: collections.Counter[str] = collections.Counter()
    keypoints = document.get("kpt_shape") is not None
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        found = list(pool.map(lambda one: _item(root, one[1], keypoints=keypoints), wanted))
    without = sum(not annotated for _, annotated in found)
    if without == len(found):
        raise errors.PathError(
            f"{source}: none of {len(found)} images has a text file; expected in labels/, as images/"
        )
    if without:
        left_out["images without a text file, which are taken as having no objects"] = without
    if keypoints:
        left_out["keypoints of objects"] = sum(len(item.things or ()) for item, _ in found)
    names = _names(document.get("names"), source)
    return items.Listing(
        "YOLO",
        ((split, item) for (split, _), (item, _) in zip(wanted, found, strict=True)),
        names=tuple(names.values()),
        ids={number: place for place, number in enumerate(names)},
        several=True,
        boxes=asked.BOXES["yolo"],
        left_out=left_out,
    )


def _document(path: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(places.read_text(path))
    except yaml.YAMLError as error:
        raise errors.PathError(f"{path} is no YAML: {' '.join(str(error).split())}") from error
    if not isinstance(document, dict) or "names" not in document:
        raise errors.PathError(f"{path} is no data file of YOLO: no names of classes")
    return document


def _names(value: Any, path: str) -> dict[int, str]:
    pairs = value.items() if isinstance(value, dict) else enumerate(value if isinstance(value, list) else ())
    try:
        names = {int(number): str(name) for number, name in pairs}
    except (TypeError, ValueError) as error:
        raise errors.PathError(f"{path}: names of classes have ids that are no numbers") from error
    if not names:
        raise errors.PathError(f"{path} names no class")
    return dict(sorted(names.items()))


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]


def _images(root: str, base: str, place: str) -> Iterator[str]:
    """The images of a split, a folder or a text file of paths, by their paths below `root`."""
    tried = [f"{base}/{place}" if base else place, place]
    tried += [place[3:]] if place.startswith("../") else []  # as exports write it that lie one folder higher
    for relative in tried:
        try:
            where = places.inside(root, relative.removeprefix("./"))
        except records.DataError:
            continue
        if where.endswith(".txt") and places.exists(where):
            start = places.folder_of(where)
            for line in places.read_text(where).splitlines():
                if line.strip():
                    path = (
                        line.strip() if line.startswith(("/", root)) else f"{start}/{line.strip().removeprefix('./')}"
                    )
                    yield path[len(root) + 1 :] if path.startswith(f"{root}/") else path
            return
        if places.is_folder(where):
            found = (path for path in places.below(where) if path.lower().endswith(places.IMAGE_ENDINGS))
            yield from (f"{where}/{path}"[len(root) + 1 :] for path in found)
            return
    raise errors.PathError(f"{place}, a split of the data file, is not inside {root}; say with --images where it is")


def _item(root: str, path: str, *, keypoints: bool) -> tuple[items.Item, bool]:
    """The item of an image, and whether it has a text file."""
    try:
        where = places.inside(root, path)
        text = _text(where)
        things = tuple(_things(text or "", keypoints=keypoints))
    except records.DataError as error:
        return items.lost(path, error), True
    return items.Item(path, where, items.keys_of(things), things), text is not None


def _text(image: str) -> str | None:
    before, found, after = image.rpartition("/images/")
    stem = (f"{before}/labels/{after}" if found else image).rpartition(".")[0]
    try:
        return places.read_image(f"{stem}.txt", 1 << 24).decode()
    except records.DataError as error:
        if error.error_type == "missing_file":
            return None
        raise
    except UnicodeDecodeError as error:
        raise records.DataError("invalid_annotation", f"{stem}.txt is no text: {error}") from error


def _things(text: str, *, keypoints: bool) -> Iterator[items.Thing]:
    for line in text.splitlines():
        words = line.split()
        if not words:
            continue
        try:
            key, numbers = int(words[0]), [float(word) for word in words[1:]]
        except ValueError as error:
            raise _invalid(line) from error
        if len(words) == _BOX_NUMBERS or (keypoints and len(words) > _BOX_NUMBERS):
            yield items.Thing(key, tuple(numbers[:4]))
        elif len(words) >= _LEAST_POLYGON and len(words) % 2:
            yield items.Thing(key, _around(numbers), {"fractions": [numbers]})
        else:
            raise _invalid(line)


def _around(numbers: list[float]) -> tuple[float, ...]:
    """Middle, width and height of a polygon."""
    x, y = numbers[::2], numbers[1::2]
    return (min(x) + max(x)) / 2, (min(y) + max(y)) / 2, max(x) - min(x), max(y) - min(y)


def _invalid(line: str) -> records.DataError:
    message = f"the line {line[:80]!r}; expected a class and four numbers, or a class and the points of a polygon"
    return records.DataError("invalid_annotation", message)

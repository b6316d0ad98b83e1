"""COCO's JSON of instances: boxes, polygons and run lengths, several classes an image.

Ids of categories have gaps; in the shards a class is its position among them by rising id. Regions that are marked as
crowds are no objects: their class is among those of the image, their pixels are not to be scored.

Format: https://cocodataset.org/#format-data
"""

from __future__ import annotations

import collections
import json
from collections.abc import Mapping, Sequence
from typing import Any

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked, lists
from heatbeam.transforms import errors, records

_OF_THE_FILE = ("id", "file_name", "width", "height", "license", "flickr_url", "coco_url", "date_captured", "url")
_LOOKED_AT = 32


def listing(given: asked.Asked) -> items.Listing:
    """The images that a file of instances names.

    Raises:
        errors.UserError: it is no such file, or its images are not where they are looked for.
    """
    given.check_splits(())
    document = _document(places.read_text(given.source), given.source)
    images: list[dict[str, Any]] = document["images"]
    root = given.image_folder
    _check_images(images, root)
    left_out: collections.Counter[str] = collections.Counter()
    annotations = document.get("annotations")
    by_image = None if annotations is None else _by_image(annotations, {one["id"] for one in images}, left_out)
    categories = sorted(document.get("categories") or (), key=lambda one: int(one["id"]))
    names = tuple(str(one.get("name", one["id"])) for one in categories)
    further = [name for name in dict.fromkeys(key for one in images for key in one) if name not in _OF_THE_FILE]
    return items.Listing(
        "COCO",
        ((items.DEFAULT_SPLIT, _item(one, by_image, root, further)) for one in images),
        names=names or None,
        ids={int(one["id"]): place for place, one in enumerate(categories)} or None,
        several=True,
        boxes=asked.BOXES["coco"] if annotations is not None else None,
        slices=tuple(further),
        left_out=+left_out,
    )


def _document(text: str, path: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
    except json.JSONDecodeError as error:
        raise errors.PathError(f"{path} is no JSON: {error}") from error
    if not isinstance(document, dict) or not isinstance(document.get("images"), list):
        raise errors.PathError(f"{path} is no COCO file: it has no list of images")
    for name, key in (("images", "id"), ("categories", "id"), ("annotations", "image_id")):
        if not all(isinstance(one, dict) and key in one for one in document.get(name) or ()):
            raise errors.PathError(f"{path} is no COCO file: one of its {name} has no {key}")
    return document


def _check_images(images: Sequence[Mapping[str, Any]], root: str) -> None:
    first = [str(one.get("file_name", "")) for one in images[:_LOOKED_AT]]
    if first and not any(_is_there(root, name) for name in first):
        raise errors.PathError(f"{root} has no {first[0]}, nor what is named next; say with --images where they are")


def _is_there(root: str, name: str) -> bool:
    try:
        return places.exists(places.inside(root, name))
    except records.DataError:
        return False


def _by_image(
    annotations: Sequence[dict[str, Any]], known: set[Any], left_out: collections.Counter[str]
) -> dict[Any, list[dict[str, Any]]]:
    found: dict[Any, list[dict[str, Any]]] = {}
    for one in annotations:
        left_out["keypoints of objects"] += "keypoints" in one
        if one["image_id"] not in known:
            left_out["annotations of images that the file does not list"] += 1
        elif "bbox" not in one or "category_id" not in one:
            left_out["annotations without box or category"] += 1
        else:
            left_out["regions of crowds as objects (their pixels are not scored)"] += bool(one.get("iscrowd"))
            found.setdefault(one["image_id"], []).append(one)
    return found


def _item(
    image: Mapping[str, Any], by_image: Mapping[Any, list[dict[str, Any]]] | None, root: str, further: Sequence[str]
) -> items.Item:
    name = str(image.get("file_name", ""))
    own = () if by_image is None else by_image.get(image["id"], ())
    try:
        path = places.inside(root, name)
        things = tuple(_thing(one) for one in own if not one.get("iscrowd"))
    except records.DataError as error:
        return items.lost(name or str(image["id"]), error)
    return items.Item(
        name,
        path,
        tuple(dict.fromkeys(int(one["category_id"]) for one in own)),
        None if by_image is None else things,
        tuple(one["segmentation"] for one in own if one.get("iscrowd") and one.get("segmentation")),
        (int(image["width"]), int(image["height"])) if image.get("width") and image.get("height") else None,
        tuple(lists.slices_of(image, further, collections.Counter())),
    )


def _thing(one: Mapping[str, Any]) -> items.Thing:
    try:
        x, y, width, height = (float(number) for number in one["bbox"])
    except (TypeError, ValueError) as error:
        raise records.DataError("invalid_box", f"a box of {one['bbox']!r}; expected four numbers") from error
    return items.Thing(int(one["category_id"]), (x, y, width, height), one.get("segmentation") or None)

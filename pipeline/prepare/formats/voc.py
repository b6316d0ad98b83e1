"""Pascal VOC's XML: a file an image, corners in pixels from 1, the last one part of the box.

Images are found by the name that the XML gives, else by its own, anywhere below the source. ``--split NAME`` takes what
``ImageSets/Main/NAME.txt`` lists.

Format: http://host.robots.ox.ac.uk/pascal/VOC/voc2012/htmldoc/devkit_doc.html
"""

from __future__ import annotations

import collections
import concurrent.futures
import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from xml.etree import ElementTree

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked
from heatbeam.transforms import errors, records

_SETS = "imagesets/main/"
_MASKS = "/Segmentation"
_READERS = 16
_CORNERS = ("xmin", "ymin", "xmax", "ymax")
_LEFT_OUT = {"pose": "poses of objects", "part": "parts of objects", "occluded": "marks of occluded objects"}


def listing(given: asked.Asked) -> items.Listing:
    """The images that the XML files below a folder describe.

    Raises:
        errors.UserError: there are none.
    """
    root = places.absolute(given.source)
    annotations = [path for path in given.paths if path.lower().endswith(".xml")]
    if not annotations:
        raise errors.PathError(f"{given.source} has no XML files")
    image_root = places.absolute(given.images or given.source)
    images = [path for path in (places.below(image_root) if given.images else given.paths) if _is_image(path)]
    by_split = _splits(root, annotations, given)
    left_out: collections.Counter[str] = collections.Counter()
    pngs = [path for path in given.paths if path.lower().endswith(".png")]
    left_out["masks of segmentation"] += sum(_MASKS in f"/{path}" for path in pngs)
    wanted = [path for members in by_split.values() for path in members]
    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        read = functools.partial(_read, root, image_root, _by_name(images))
        found = dict(zip(wanted, pool.map(read, wanted), strict=True))
    for _, counted in found.values():
        left_out.update({_LEFT_OUT[tag]: number for tag, number in counted.items()})
    if not given.splits:
        left_out["images without an annotation"] += len(set(images) - {item.image_id for item, _ in found.values()})
    names = {str(thing.key) for item, _ in found.values() for thing in item.things or ()}
    return items.Listing(
        "Pascal VOC",
        ((split, found[path][0]) for split, members in by_split.items() for path in members),
        names=tuple(sorted(names)) or None,
        several=True,
        boxes=asked.BOXES["voc"],
        left_out=+left_out,
    )


def _is_image(path: str) -> bool:
    # Masks of segmentation lie beside the images, under the same names.
    return path.lower().endswith(places.IMAGE_ENDINGS) and _MASKS not in f"/{path}"


def _splits(root: str, annotations: Sequence[str], given: asked.Asked) -> dict[str, list[str]]:
    """The annotations of each split that is asked for; of all together where none is."""
    if not given.splits:
        return {items.DEFAULT_SPLIT: list(annotations)}
    sets = [path for path in given.paths if path.lower().startswith(_SETS) and path.endswith(".txt")]
    lists = {path[len(_SETS) : -4]: path for path in sets}
    given.check_splits(tuple(lists))
    stems = {_stem(path): path for path in annotations}
    found = {}
    for split in given.splits:
        names = [line.split()[0] for line in places.read_text(f"{root}/{lists[split]}").splitlines() if line.strip()]
        missing = [name for name in names if name not in stems]
        if missing:
            raise errors.PathError(f"{lists[split]} lists {missing[0]}, which has no XML file")
        found[split] = [stems[name] for name in names]
    return found


def _stem(path: str) -> str:
    return path.rpartition("/")[2].rpartition(".")[0]


def _by_name(paths: Sequence[str]) -> dict[str, list[str]]:
    """Paths of images by their base name, with and without its ending."""
    found: dict[str, list[str]] = {}
    for path in paths:
        for name in (path.rpartition("/")[2], _stem(path)):
            found.setdefault(name, []).append(path)
    return found


def _read(
    root: str, image_root: str, images: Mapping[str, list[str]], path: str
) -> tuple[items.Item, collections.Counter[str]]:
    """The item of one annotation, and what has no place in it."""
    counted: collections.Counter[str] = collections.Counter()
    try:
        tree = _tree(places.read_image(f"{root}/{path}", 1 << 24))
        image = _image(tree.findtext("filename", ""), path, images)
        things = tuple(_thing(one, counted) for one in tree.findall("object"))
        size = tuple(int(float(tree.findtext(f"size/{side}") or 0)) for side in ("width", "height"))
    except ValueError as error:
        return items.Item(path, problem=("invalid_annotation", f"{path}: {error}")), counted
    except records.DataError as error:
        return items.lost(path, error), counted
    known = (size[0], size[1]) if min(size) > 0 else None
    return items.Item(image, f"{image_root.rstrip('/')}/{image}", items.keys_of(things), things, size=known), counted


def _tree(data: bytes) -> ElementTree.Element:
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ValueError("declares a document type, which an annotation has no use for")
    try:
        return ElementTree.fromstring(data)  # noqa: S314 - without entities
    except (ElementTree.ParseError, LookupError) as error:
        raise ValueError(f"is no XML: {error}") from error


def _image(name: str, path: str, images: Mapping[str, list[str]]) -> str:
    found = images.get(name.replace("\\", "/").rpartition("/")[2].strip()) or images.get(_stem(path), [])
    if not found:
        raise records.DataError("missing_file", f"there is no image {name or _stem(path)} for {path}")
    if len(found) > 1:
        raise records.DataError("ambiguous_file", f"{path} may be about {found[0]} or {found[1]}")
    return found[0]


def _thing(one: ElementTree.Element, counted: collections.Counter[str]) -> items.Thing:
    said = (tag for tag in ("pose", "occluded") if one.findtext(tag, "").strip() not in ("", "Unspecified", "0"))
    counted.update([*said, *("part" for _ in one.findall("part"))])
    name = (one.findtext("name") or "").strip()
    corners = tuple(float(one.findtext(f"bndbox/{side}") or "nan") for side in _CORNERS)
    if not name or any(math.isnan(corner) for corner in corners):
        raise ValueError("has an object without a name or a box of four numbers")
    flags: Iterator[bool | None] = (
        None if (text := one.findtext(flag)) is None else text.strip() not in ("", "0")
        for flag in ("difficult", "truncated")
    )
    return items.Thing(name, corners, None, *flags)

"""A folder for each class, named by it, with images at any depth; or such folders in one for each split."""

from __future__ import annotations

import collections
from collections.abc import Iterable, Iterator, Sequence

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked
from heatbeam.transforms import errors

HELD_OUT = ("val", "valid", "validation", "test", "testing", "dev", "eval")
"""Names of splits that no model is trained on."""

SPLITS = ("train", "training", *HELD_OUT)
"""Names of folders that are splits where no other folder stands beside them."""

_Found = tuple[str, str, str]  # split, class, path below the source


def listing(given: asked.Asked) -> items.Listing:
    """The images below a folder, each with the class that its folder is named after.

    Raises:
        errors.UserError: there is no such folder, or it holds no folder of images.
    """
    root = places.absolute(given.source)
    left_out: collections.Counter[str] = collections.Counter()
    paths = list(_images(given.paths, left_out))
    tops = sorted({path.split("/")[0] for path in paths if "/" in path})
    split_first = bool(tops) and all(top.lower() in SPLITS for top in tops)
    found = list(_placed(paths, left_out, split_first=split_first))
    if not found:
        raise errors.PathError(f"{given.source} has no folders of images, one for each class; other ways: --format")
    given.check_splits(tuple(tops) if split_first else ())
    names = tuple(sorted({name for _, name, _ in found}))
    kept = [one for one in found if given.takes(one[0])]
    return items.Listing("class folders", _items(root, kept), names=names, left_out=left_out)


def _images(paths: Iterable[str], left_out: collections.Counter[str]) -> Iterator[str]:
    for path in paths:
        if path.lower().endswith(places.IMAGE_ENDINGS):
            yield path
        else:
            left_out["files whose names do not end as those of images do"] += 1


def _placed(paths: Sequence[str], left_out: collections.Counter[str], *, split_first: bool) -> Iterator[_Found]:
    for path in paths:
        parts = path.split("/")
        split = parts.pop(0) if split_first else items.DEFAULT_SPLIT
        if len(parts) > 1:
            yield split, parts[0], path
        else:
            left_out["images that lie in no folder of a class"] += 1


def _items(root: str, found: Sequence[_Found]) -> Iterator[tuple[str, items.Item]]:
    for split, name, path in found:
        yield split, items.Item(path, f"{root.rstrip('/')}/{path}", (name,))

"""Formats that others write, one file each: from a source to an `items.Listing`.

`FORMATS` is the table of them. A format more is a file with a function of an `asked.Asked`, a row here, a line in
`_looks_like` and its name in `prepare.commands`, which must not import Beam for ``--help``.
Annotation files are read on the launcher, images on the workers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked, class_folders, coco, huggingface, lists, voc, webdataset, yolo
from heatbeam.transforms import errors

FORMATS: Mapping[str, tuple[str, Callable[[asked.Asked], items.Listing]]] = {
    "folders": ("a folder for each class, or such folders in one for each split", class_folders.listing),
    "list": ("CSV, TSV or JSON lines with a path, classes, boxes and further columns", lists.listing),
    "coco": ("COCO's JSON of instances", coco.listing),
    "voc": ("a folder with Pascal VOC's XML files", voc.listing),
    "yolo": ("YOLO's data file, or the folder that holds it", yolo.listing),
    "imagefolder": ("an image folder of Hugging Face's, with metadata", huggingface.listing),
    "parquet": ("Parquet files that hold their images", huggingface.parquet),
    "webdataset": ("tar files of WebDataset", webdataset.listing),
}
"""By the value of ``--format``: what it is, and what reads it."""


_LISTS, _YAML = (".csv", ".tsv", ".jsonl", ".ndjson"), (".yaml", ".yml")
ENDINGS = (*_LISTS, *_YAML, ".json", ".parquet", *webdataset.ENDINGS)
"""How the names of files end that are a source, or a part of one."""


def listing(given: asked.Asked) -> items.Listing:
    """What a source has, by the format that is asked for or that it looks like.

    Raises:
        errors.UserError: it cannot be told or read.
    """
    name = given.format
    if name is None:
        found = list(_looks_like(given))
        if len(found) != 1:
            what = f"may be {' or '.join(found)}" if found else "is of no known format"
            raise errors.UsageError(f"{given.source} {what}; say it with --format: {', '.join(FORMATS)}")
        name = found[0]
    return FORMATS[name][1](given)


def _looks_like(given: asked.Asked) -> Iterator[str]:
    """The formats that a source may be of, by its names alone."""
    name = given.source.lower()
    if name.endswith(_LISTS):
        yield "list"
    elif name.endswith(".json"):
        yield "coco"
    elif name.endswith(_YAML):
        yield "yolo"
    elif name.endswith(".parquet"):
        yield "parquet"
    elif name.endswith(webdataset.ENDINGS):
        yield "webdataset"
    elif places.is_folder(given.source):
        yield from _folder_looks_like(given.paths)


def _folder_looks_like(paths: Sequence[str]) -> Iterator[str]:
    if any(path.rpartition("/")[2] in huggingface.METADATA for path in paths):
        yield "imagefolder"
    elif any(path.lower().endswith(".parquet") for path in paths):
        yield "parquet"
    elif any(path.lower().endswith(webdataset.ENDINGS) for path in paths):
        yield "webdataset"
    elif any(name in paths for name in yolo.DATA_FILES):
        yield "yolo"
    elif any(path.lower().endswith(".xml") for path in paths):
        yield "voc"
    else:
        yield "folders"

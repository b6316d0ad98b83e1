"""The commands ``shards`` and ``init``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from typing import Any

from heatbeam import command

_FORMATS = ("folders", "list", "coco", "voc", "yolo", "imagefolder", "parquet", "webdataset")
_BOXES = ("tf", "voc", "coco", "yolo", "xyxy", "inclusive")


def _add_shards(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", metavar="SOURCE", help="a folder, an annotation file or a pattern of files")
    parser.add_argument("--out", required=True, metavar="DIR", help="where the shards go")
    parser.add_argument("--format", choices=_FORMATS, help="of the source (default: as it looks)")
    parser.add_argument("--images", metavar="DIR", help="folder of the images (default: that of the source)")
    parser.add_argument("--split", action="append", default=[], metavar="NAME", help="only this split; may be repeated")
    parser.add_argument("--shards", type=int, metavar="N", help="of each split (default: one for 1,024 images, or 8)")
    parser.add_argument("--class-names", metavar="FILE", help="names of the classes, where the source has ids alone")
    parser.add_argument("--path-column", metavar="NAME", help="column of a list with the paths of the images")
    parser.add_argument(
        "--label-column", action="append", default=[], metavar="NAME", help="column with the class; may be repeated"
    )
    parser.add_argument("--label-separator", metavar="TEXT", help="between the classes in a cell")
    parser.add_argument("--boxes", choices=_BOXES, help="what the numbers of a list's boxes mean")
    parser.add_argument("--no-masks", action="store_true", help="leave masks out")
    parser.add_argument(
        "--max-dead-letter-ratio", type=float, default=0.05, metavar="SHARE", help="of images lost (default: 0.05)"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the shards that are in DIR")
    parser.add_argument(
        "--set", action="append", default=[], metavar="runner.key=value", help="a setting of the section runner"
    )
    command.add_json(parser)


def _shards(options: argparse.Namespace, beam_options: Sequence[str]) -> int:
    command.waiting("loading Apache Beam")
    from heatbeam.prepare import shards
    from heatbeam.prepare.formats import asked

    source = asked.Asked(
        source=options.source,
        format=options.format,
        images=options.images,
        splits=tuple(options.split),
        names=_names(options.class_names),
        path_column=options.path_column,
        label_columns=tuple(options.label_column),
        separator=options.label_separator,
        boxes=options.boxes,
    )
    job = shards.Job(
        source,
        options.out,
        options.shards,
        masks=not options.no_masks,
        overwrite=options.overwrite,
        max_dead_letter_ratio=options.max_dead_letter_ratio,
        runner=_runner(options.set),
    )
    manifest = shards.make(job, beam_options, sys.stderr)
    if options.json:
        command.write_json(manifest)
    else:
        shards.print_result(manifest, options.out, sys.stdout)
    return command.OK


def _names(path: str | None) -> dict[int, str] | None:
    from heatbeam.prepare import data_found

    return None if path is None else {one.id: one.name for one in data_found.names_of(path, "--class-names").classes}


def _runner(overrides: Sequence[str]) -> Any:
    """The section ``runner`` as a configuration of these settings alone has it."""
    from heatbeam import config
    from heatbeam.transforms import errors

    wrong = [text for text in overrides if not text.strip().startswith("runner.")]
    if wrong:
        raise errors.UsageError(f"--set {wrong[0]}: only settings of runner have a meaning for shards")
    # Whatever a configuration cannot do without.
    rest = "input: {tfrecord: '-'}\nmodel: {path: '-'}\noutput: {directory: '-'}\n"
    return config.parse(rest, overrides).runner


SHARDS = command.Command(
    "shards",
    "make TFRecord shards of class folders, lists, COCO, VOC, YOLO and others; Beam's own options go after --",
    "heatbeam shards photos --out flowers",
    _add_shards,
    _shards,
    takes_beam_options=True,
)


def _add_init(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--data", required=True, metavar="DATA", help="shards, TFRecord pattern or TFDS directory")
    parser.add_argument("--model", required=True, metavar="FILE", help=".keras or .h5 file, or SavedModel folder")
    parser.add_argument("--split", metavar="NAME", help="of the data")
    parser.add_argument("--class-names", metavar="FILE", help="names of the model's classes; imagenet for Keras'")
    parser.add_argument("--preprocessing", metavar="MODE", help="what the model was trained with, if you know it")
    parser.add_argument("--run", default="runs/audit", metavar="RUN", help="directory of the run (default: runs/audit)")
    parser.add_argument("-o", "--output", default="audit.yaml", metavar="CONFIG.yaml", help="default: audit.yaml")
    parser.add_argument("--overwrite", action="store_true", help="replace the file that is there")


def _init(options: argparse.Namespace, _: Sequence[str]) -> int:
    with command.loading(options):
        from heatbeam.prepare import first_config

    wanted = first_config.Wanted(
        options.data, options.model, options.split, options.class_names, options.preprocessing, options.run
    )
    asked = first_config.write(wanted, options.output, overwrite=options.overwrite)
    sys.stdout.write(f"{options.output}: read it, then heatbeam check {options.output}\n")
    sys.stdout.writelines(f"  question: {setting}\n" for setting in asked)
    return command.OK


INIT = command.Command(
    "init",
    "write a first configuration of what data and model say of themselves; what they don't is a question in it",
    "heatbeam init --data flowers --model model.keras -o audit.yaml",
    _add_init,
    _init,
)

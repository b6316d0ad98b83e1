"""The commands that make pictures and datasets of chosen rows: ``render`` and ``export``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_render(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run")
    command.add_where(parser)
    command.add_images(parser)
    parser.add_argument("--to", required=True, metavar="DIRECTORY", help="where the pictures go")
    parser.add_argument("--limit", type=int, default=100, help="at most so many pictures (default: 100)")
    parser.add_argument("--longest-px", type=int, default=512, help="longer side of a picture (default: 512)")
    parser.add_argument("--plain", action="store_true", help="write each image without its map too, as NAME-plain.png")


def _render(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.export import render

    drawn = render.render(
        options.run,
        options.where,
        options.to,
        limit=options.limit,
        longest_px=options.longest_px,
        images=options.images,
        plain=options.plain,
    )
    sys.stdout.write(
        f"{len(drawn.files)} of {drawn.matched} heatmaps drawn in {drawn.directory}, "
        f"{drawn.with_image} over their image\n"
    )
    return command.OK


def _add_export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run")
    parser.add_argument("--to", required=True, metavar="DIRECTORY", help="a new directory for the dataset")
    parser.add_argument("--overwrite", action="store_true", help="replace the dataset that export has written there")
    parser.add_argument("--format", required=True, choices=("fiftyone", "huggingface", "nifti"))
    command.add_where(parser)
    command.add_images(parser)
    parser.add_argument("--limit", type=int, default=1000, help="at most so many rows (default: 1000)")
    parser.add_argument(
        "--longest-px", type=int, default=512, help="longer side of heatmaps and overlays (default: 512)"
    )


def _export(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.export import export

    done = export.export(
        options.run,
        options.to,
        options.format,
        where=options.where,
        limit=options.limit,
        longest_px=options.longest_px,
        images=options.images,
        overwrite=options.overwrite,
    )
    sys.stdout.write(
        f"{done.rows:,} of {done.matched:,} explanations of {done.images:,} images in {done.directory}, "
        f"{done.with_image:,} images from their shards\n"
    )
    sys.stdout.writelines(f"  {problem}\n" for problem in done.problems)
    return command.OK


RENDER = command.Command(
    "render",
    "draw chosen heatmaps over their images, as PNG",
    """heatbeam render runs/flowers --where "method = 'grad_cam' and probability > .9" --to pictures""",
    _add_render,
    _render,
)
EXPORT = command.Command(
    "export",
    "write chosen rows as a dataset that FiftyOne or Hugging Face opens, volumes as NIfTI",
    """heatbeam export runs/flowers --to missed --format huggingface --where "method = 'grad_cam' and box_hit = 0\"""",
    _add_export,
    _export,
)

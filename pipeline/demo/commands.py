"""The command ``demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command

KINDS = ("images", "series", "volume", "bands", "multi_input")
"""As `demo.KINDS`, which takes TensorFlow to import."""


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kind", choices=KINDS, default=KINDS[0], help="what the records hold (default: images, encoded pictures)"
    )
    parser.add_argument("--directory", help="where it all goes (default: runs/demo, or runs/demo_KIND)")


def _demo(options: argparse.Namespace, _: Sequence[str]) -> int:
    with command.loading(options):
        from heatbeam.demo import demo

    usual = "runs/demo" if options.kind == demo.IMAGES else f"runs/demo_{options.kind}"
    demo.demo(options.directory or usual, sys.stdout, options.kind)
    return command.OK


DEMO = command.Command(
    "demo",
    "build the bundled sample (dataset, model), run it and report",
    "heatbeam demo --directory runs/demo",
    _add_options,
    _demo,
)

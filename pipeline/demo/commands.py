"""The command ``demo``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--directory", default="runs/demo", help="where it all goes (default: runs/demo)")


def _demo(options: argparse.Namespace, _: Sequence[str]) -> int:
    command.load_tensorflow(options)
    from heatbeam.demo import demo

    demo.demo(options.directory, sys.stdout)
    return command.OK


DEMO = command.Command(
    "demo",
    "build the bundled sample (dataset, model), run it and report",
    "heatbeam demo --directory runs/demo",
    _add_options,
    _demo,
)

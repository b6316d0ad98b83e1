"""The command ``history``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT")
    parser.add_argument("--plot", metavar="FILE", help="also draw them, as PNG or SVG")
    parser.add_argument("--keep", type=int, metavar="N", help="remove all but the newest N finished runs")


def _history(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.runs import history

    if options.keep is not None:
        for removed in history.prune(options.root, options.keep):
            sys.stdout.write(f"removed {removed}\n")
    found = history.history(options.root)
    history.print_history(found, sys.stdout)
    if options.plot:
        history.plot(found, options.plot)
    return command.OK


HISTORY = command.Command("history", "headline numbers of the runs below a root, oldest first", _add_options, _history)

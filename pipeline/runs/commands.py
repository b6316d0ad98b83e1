"""The command ``history``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("root", metavar="ROOT")
    parser.add_argument("--plot", metavar="FILE", help="also draw them, as PNG or SVG")
    command.add_json(parser)
    parser.add_argument("--keep", type=int, metavar="N", help="remove all but the newest N finished runs")


def _history(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.runs import history

    removed = history.prune(options.root, options.keep) if options.keep is not None else []
    found = history.history(options.root)
    if options.json:
        command.write_json({**history.document(found), "removed": removed})
    else:
        sys.stdout.writelines(f"removed {path}\n" for path in removed)
        history.print_history(found, sys.stdout)
    if options.plot:
        history.plot(found, options.plot)
    return command.OK


HISTORY = command.Command(
    "history",
    "headline numbers of the runs below a root, oldest first",
    "heatbeam history /data/audits --plot history.png",
    _add_options,
    _history,
)

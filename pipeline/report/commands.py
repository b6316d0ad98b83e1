"""The command ``report``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run")
    command.add_images(parser)
    parser.add_argument("--reference", metavar="METHOD", help="whose maps the galleries and the audit are about")
    parser.add_argument(
        "--clusters", action="append", default=[], metavar="CLASS", help="cluster the maps of a class; may be repeated"
    )


def _report(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.report import report

    path = report.write_report(
        options.run, reference=options.reference, clusters=tuple(options.clusters), images=options.images
    )
    sys.stdout.write(f"{path}\n")
    return command.OK


REPORT = command.Command(
    "report",
    "write a self-contained HTML report with pictures and plots",
    "heatbeam report runs/flowers",
    _add_options,
    _report,
)

"""The commands that print the lists of `heatbeam.listing`: ``methods``, ``metrics`` and ``settings``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--markdown", action="store_true", help="as a Markdown table")


def _methods(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import listing

    sys.stdout.write(listing.methods_markdown() if options.markdown else listing.methods_text())
    return command.OK


def _metrics(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import listing

    sys.stdout.write(listing.metrics_markdown() if options.markdown else listing.metrics_text())
    return command.OK


def _settings(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import listing

    sys.stdout.write(listing.settings_markdown() if options.markdown else listing.settings_text())
    return command.OK


METHODS = command.Command("methods", "what methods there are: passes, formula, source, options", _add_options, _methods)
METRICS = command.Command(
    "metrics", "what metrics there are: definition, formula, range, source", _add_options, _metrics
)
SETTINGS = command.Command(
    "settings", "what a configuration may hold: every setting with its default", _add_options, _settings
)

"""The command ``bench``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command


def _add_options(parser: argparse.ArgumentParser) -> None:
    command.add_config(parser)
    parser.add_argument("--quick", action="store_true", help="fewer images and rounds")
    parser.add_argument("--json", metavar="FILE", help="also write the costs as JSON")


def _bench(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import config

    settings = config.load(options.config, options.set)
    with command.loading(options):
        from heatbeam.bench import user_job

    found = user_job.measure(settings, quick=options.quick)
    sys.stdout.write(user_job.table(found))
    if options.json:
        user_job.write_json(found, options.json)
    return command.OK


BENCH = command.Command(
    "bench",
    "measure what each step of a job costs, beside the model alone",
    "heatbeam bench audit.yaml --quick",
    _add_options,
    _bench,
)

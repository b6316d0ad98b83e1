"""The commands about a job: ``run``, ``check`` and ``finish``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from heatbeam import command

if TYPE_CHECKING:
    from heatbeam.job.run import Result


def _add_run(parser: argparse.ArgumentParser) -> None:
    command.add_config(parser)
    parser.add_argument(
        "--reuse",
        metavar="RUN",
        help="take over what is unchanged from that run, finished or not; newest: the last one under output.root",
    )
    parser.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run in output.directory, if there is one"
    )
    parser.add_argument("--overwrite", action="store_true", help="replace the run that is in output.directory")
    _add_report(parser)
    command.add_json(parser)


def _add_report(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--no-report", action="store_true", help="end without report.html, as by output.report: false")


def _report(result: Result, options: argparse.Namespace) -> str | None:
    """The path of the report of a run that is finished, if one is wanted and could be written."""
    from heatbeam.report import last_step

    wanted = result.manifest.config.output.report and not options.no_report
    return last_step.write(result.directory.path, sys.stderr) if wanted else None


def _run(options: argparse.Namespace, beam_options: Sequence[str]) -> int:
    from heatbeam import config

    overrides = list(options.set)
    if options.reuse is not None:
        overrides.append(f"output.reuse={json.dumps(options.reuse)}")
    if options.resume:
        overrides.append("output.resume=true")
    if options.overwrite:
        overrides.append("output.overwrite=true")
    if options.no_report:
        overrides.append("output.report=false")
    settings = config.load(options.config, overrides)
    command.load_tensorflow(options)
    from heatbeam.job import run
    from heatbeam.runs import history

    result = run.run(settings, beam_options, sys.stderr)
    report = _report(result, options)
    removed: list[str] = []
    if settings.output.root is not None and settings.output.keep is not None:
        removed = history.prune(settings.output.root, settings.output.keep)
    if options.json:
        command.write_json({**run.result_document(result), "report": report, "removed": removed})
        return command.OK
    run.print_result(result, sys.stdout, report)
    sys.stdout.writelines(f"  removed {path}\n" for path in removed)
    return command.OK


def _add_check(parser: argparse.ArgumentParser) -> None:
    command.add_config(parser)
    parser.add_argument("--records", type=int, default=8, help="how many records to explain (default: 8)")
    command.add_json(parser)


def _check(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import config
    from heatbeam.transforms import errors

    errors.check_at_least_one("--records", options.records)
    settings = config.load(options.config, options.set)
    command.load_tensorflow(options)
    from heatbeam.job.check import dry_run

    command.waiting("opening the data and the model")
    if options.json:
        found = dry_run.document(settings, options.records)
        command.write_json(found)
        return command.OK if found["works"] else command.FAILED
    return command.OK if dry_run.check(settings, options.records, sys.stdout) else command.FAILED


def _add_finish(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="the run's directory")
    _add_report(parser)


def _finish(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam.job import run

    result = run.finish(options.run)
    run.print_result(result, sys.stdout, _report(result, options))
    return command.OK


RUN = command.Command(
    "run",
    "run the job of a configuration file; Beam's own options go after --",
    "heatbeam run audit.yaml --set output.directory=runs/flowers",
    _add_run,
    _run,
    takes_beam_options=True,
)
CHECK = command.Command(
    "check",
    "dry run: resolve everything, explain a few records, say what looks wrong",
    "heatbeam check audit.yaml --records 32",
    _add_check,
    _check,
)
FINISH = command.Command(
    "finish",
    "check and close a run that a Flex Template launched, when its job is done",
    "heatbeam finish gs://bucket/runs/flowers",
    _add_finish,
    _finish,
)

"""The commands about a job: ``run``, ``check`` and ``finish``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from heatbeam import command

if TYPE_CHECKING:
    from heatbeam import config
    from heatbeam.compare import verdicts
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
    parser.add_argument(
        "--sequential",
        action="store_true",
        help="read the images in random order and stop as soon as the verdict of --gate against --baseline is certain;"
        " exit status 1 when the gate fails",
    )
    parser.add_argument("--gate", metavar="GATE.yaml", help="with --sequential: rules over everything, false_alarms")
    parser.add_argument("--baseline", metavar="RUN", help="with --sequential: a finished run over the same images")
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
    _check_sequential(options)
    verdict = None
    if options.sequential:
        result, verdict = _run_sequential(options, settings, beam_options)
    else:
        with command.loading(options):
            from heatbeam.job import run

        result = run.run(settings, beam_options, sys.stderr)
    return _tell(options, settings, result, verdict)


def _tell(
    options: argparse.Namespace, settings: config.RunConfig, result: Result, verdict: verdicts.Verdict | None
) -> int:
    """Report and print a finished run, with the verdict of a sequential one; the exit status."""
    from heatbeam.compare import verdict_files, verdicts
    from heatbeam.job import run
    from heatbeam.runs import history

    report = _report(result, options)
    removed: list[str] = []
    if settings.output.root is not None and settings.output.keep is not None:
        removed = history.prune(settings.output.root, settings.output.keep)
    if options.json:
        decided = {} if verdict is None else {"verdict": verdicts.as_dict(verdict)}
        command.write_json({**run.result_document(result), "report": report, "removed": removed, **decided})
    else:
        run.print_result(result, sys.stdout, report)
        sys.stdout.writelines(f"  removed {path}\n" for path in removed)
        if verdict is not None:
            sys.stdout.write("\n")
            verdict_files.print_verdict(verdict, sys.stdout)
    return command.OK if verdict is None or verdict.passed else command.FAILED


def _check_sequential(options: argparse.Namespace) -> None:
    from heatbeam.transforms import errors

    given = options.gate is not None, options.baseline is not None
    if options.sequential and not all(given):
        raise errors.UsageError("run: --sequential needs --gate GATE.yaml and --baseline RUN")
    if not options.sequential and any(given):
        raise errors.UsageError(
            "run: --gate and --baseline go with --sequential; a run that explains everything is judged afterwards, by"
            " heatbeam compare BASELINE RUN --gate GATE.yaml"
        )


def _run_sequential(
    options: argparse.Namespace, settings: config.RunConfig, beam_options: Sequence[str]
) -> tuple[Result, verdicts.Verdict]:
    """The run as far as the gate needed it, and the verdict, which is kept beside it."""
    from heatbeam.compare import gate_rules, sequential, verdict_files

    planned = sequential.Sequential(gate_rules.load(options.gate), options.baseline)
    with command.loading(options):
        from heatbeam.job import parts

    growing = parts.Growing(settings, beam_options, sys.stderr, options.baseline)
    comparison, verdict = planned.audit(growing.explain, growing.tell, growing.start)
    verdict_files.keep(comparison, verdict)
    return growing.result, verdict


def _add_check(parser: argparse.ArgumentParser) -> None:
    command.add_config(parser)
    parser.add_argument("--records", type=int, default=8, help="how many records to explain (default: 8)")
    command.add_json(parser)


def _check(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import config
    from heatbeam.transforms import errors

    errors.check_at_least_one("--records", options.records)
    settings = config.load(options.config, options.set)
    with command.loading(options):
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

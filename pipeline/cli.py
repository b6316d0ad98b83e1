"""The command line: ``heatbeam SUBCOMMAND``, the same as ``python -m pipeline SUBCOMMAND``.

Exit status: 0 done, 1 a run or gate failed, 2 wrong use or configuration.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Sequence

from pipeline import config

OK, FAILED, USAGE = 0, 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    beam_options: list[str] = []
    if "--" in given:
        split = given.index("--")
        given, beam_options = given[:split], given[split + 1 :]
    options = _parser().parse_args(given)
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Beam logs through the root logger while it is imported, so a later call without force would do nothing.
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s", force=True
    )
    # Beam warns that the Google Cloud packages are missing, which is no concern of a run that does not use them.
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
    if beam_options and options.command not in ("run",):
        sys.stderr.write(f"heatbeam {options.command} takes no Beam options after --\n")
        return USAGE
    try:
        return options.function(options, beam_options)
    except config.ConfigError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heatbeam", description="Explain every image of a dataset with class activation maps, on Apache Beam."
    )
    parser.add_argument("--verbose", action="store_true", help="log what Beam and TensorFlow do")
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")

    command = commands.add_parser("run", help="run the job of a configuration file; Beam's own options go after --")
    _add_config(command)
    command.set_defaults(function=_run)

    command = commands.add_parser(
        "check", help="dry run: resolve everything, explain a few records, say what looks wrong"
    )
    _add_config(command)
    command.add_argument("--records", type=int, default=8, help="how many records to explain (default: 8)")
    command.set_defaults(function=_check)

    command = commands.add_parser(
        "finish", help="check and close a run that a Flex Template launched, when its job is done"
    )
    command.add_argument("run", metavar="RUN", help="the run's directory")
    command.set_defaults(function=_finish)

    command = commands.add_parser("demo", help="build the bundled sample (dataset, model), run it and report")
    command.add_argument("--directory", default="runs/demo", help="where it all goes (default: runs/demo)")
    command.set_defaults(function=_demo)

    for name, function, what in (
        ("methods", _methods, "what methods there are: passes, formula, source, options"),
        ("metrics", _metrics, "what metrics there are: definition, formula, range, source"),
    ):
        command = commands.add_parser(name, help=what)
        command.add_argument("--markdown", action="store_true", help="as a Markdown table")
        command.set_defaults(function=function)
    return parser


def _add_config(command: argparse.ArgumentParser) -> None:
    command.add_argument("config", metavar="CONFIG.yaml")
    command.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="override a setting; may be repeated"
    )


def _run(options: argparse.Namespace, beam_options: list[str]) -> int:
    settings = config.load(options.config, options.set)
    from pipeline import run, run_directory
    from transforms.methods import loading

    try:
        run.print_result(run.run(settings, beam_options, sys.stderr), sys.stdout)
    except (run.RunFailed, run_directory.RunDirectoryError, loading.ModelError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED if isinstance(error, run.RunFailed) else USAGE
    return OK


def _finish(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline import run, run_directory

    try:
        run.print_result(run.finish(options.run), sys.stdout)
    except (run.RunFailed, run_directory.RunDirectoryError) as error:
        sys.stderr.write(f"{error}\n")
        return FAILED if isinstance(error, run.RunFailed) else USAGE
    return OK


def _check(options: argparse.Namespace, _: list[str]) -> int:
    settings = config.load(options.config, options.set)
    from pipeline import check
    from transforms.methods import loading

    try:
        return OK if check.check(settings, options.records, sys.stdout) else FAILED
    except loading.ModelError as error:
        sys.stderr.write(f"{error}\n")
        return USAGE


def _demo(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline import demo, run

    try:
        demo.demo(options.directory, sys.stdout)
    except run.RunFailed as error:
        sys.stderr.write(f"{error}\n")
        return FAILED
    return OK


def _methods(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline import listing

    sys.stdout.write(listing.methods_markdown() if options.markdown else listing.methods_text())
    return OK


def _metrics(options: argparse.Namespace, _: list[str]) -> int:
    from pipeline import listing

    sys.stdout.write(listing.metrics_markdown() if options.markdown else listing.metrics_text())
    return OK

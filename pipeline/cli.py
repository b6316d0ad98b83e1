"""The command line: ``heatbeam SUBCOMMAND``, the same as ``python -m heatbeam SUBCOMMAND``.

Exit status: 0 done, 1 a run or gate failed, 2 wrong use or configuration.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
from collections.abc import Sequence

from heatbeam import config
from heatbeam.transforms import errors

OK, FAILED, USAGE = 0, 1, 2

_WITH_TENSORFLOW = ("run", "check", "demo", "bench")


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
    if options.command in _WITH_TENSORFLOW and not options.verbose:
        _import_tensorflow_quietly()
    try:
        return options.function(options, beam_options)
    except errors.UserError as error:  # any other is a bug or a broken machine: the traceback is wanted
        sys.stderr.write(f"{error}\n")
        return error.status


def _import_tensorflow_quietly() -> None:
    """Import TensorFlow without the lines that its C++ side writes to the terminal while it looks for a GPU.

    They cannot be switched off by a setting; what Python raises is not held back.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with open(os.devnull, "wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="heatbeam", description="Explain every image of a dataset with class activation maps, on Apache Beam."
    )
    parser.add_argument("--verbose", action="store_true", help="log what Beam and TensorFlow do")
    commands = parser.add_subparsers(dest="command", required=True, metavar="SUBCOMMAND")

    command = commands.add_parser("run", help="run the job of a configuration file; Beam's own options go after --")
    _add_config(command)
    command.add_argument(
        "--reuse",
        metavar="RUN",
        help="take over what is unchanged from that run, finished or not; newest: the last one under output.root",
    )
    command.add_argument(
        "--resume", action="store_true", help="go on with the unfinished run in output.directory, if there is one"
    )
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

    command = commands.add_parser("report", help="write a self-contained HTML report with pictures and plots")
    command.add_argument("run", metavar="RUN", help="a finished run")
    command.add_argument("--reference", metavar="METHOD", help="whose maps the galleries and the audit are about")
    command.add_argument(
        "--clusters", action="append", default=[], metavar="CLASS", help="cluster the maps of a class; may be repeated"
    )
    command.set_defaults(function=_report)

    command = commands.add_parser(
        "compare", help="hold a run against a baseline, image by image; exit status 1 when the gate fails"
    )
    command.add_argument("runs", nargs="*", metavar="RUN", help="BASELINE CANDIDATE, or one run with a gate of bounds")
    command.add_argument(
        "--newest", metavar="ROOT", help="instead: the newest finished run under ROOT against the one before it"
    )
    command.add_argument("--gate", metavar="GATE.yaml", help="bounds and allowed changes")
    command.add_argument("--json", metavar="FILE", help="write the comparison as JSON")
    command.add_argument("--html", metavar="FILE", help="write the comparison as one HTML file")
    command.add_argument("--pairs", metavar="FILE", help="write the similarity of every pair of maps as Parquet")
    command.add_argument("--verdict", metavar="FILE", help="write the gate's verdict as JSON")
    command.add_argument("--junit", metavar="FILE", help="write the gate's verdict as JUnit XML, for CI systems")
    command.set_defaults(function=_compare)

    command = commands.add_parser("history", help="headline numbers of the runs below a root, oldest first")
    command.add_argument("root", metavar="ROOT")
    command.add_argument("--plot", metavar="FILE", help="also draw them, as PNG or SVG")
    command.add_argument("--keep", type=int, metavar="N", help="remove all but the newest N finished runs")
    command.set_defaults(function=_history)

    command = commands.add_parser("render", help="draw chosen heatmaps over their images, as PNG")
    command.add_argument("run", metavar="RUN", help="a finished run")
    command.add_argument(
        "--where", default="", metavar="CONDITION", help="SQL condition over the columns of explanations"
    )
    command.add_argument("--to", required=True, metavar="DIRECTORY", help="where the pictures go")
    command.add_argument("--limit", type=int, default=100, help="at most so many pictures (default: 100)")
    command.add_argument("--longest-px", type=int, default=512, help="longer side of a picture (default: 512)")
    command.set_defaults(function=_render)

    command = commands.add_parser("export", help="write chosen rows as a dataset that FiftyOne or Hugging Face opens")
    command.add_argument("run", metavar="RUN", help="a finished run")
    command.add_argument("--to", required=True, metavar="DIRECTORY", help="a new directory for the dataset")
    command.add_argument("--format", required=True, choices=("fiftyone", "huggingface"))
    command.add_argument(
        "--where", default="", metavar="CONDITION", help="SQL condition over the columns of explanations"
    )
    command.add_argument("--limit", type=int, default=1000, help="at most so many rows (default: 1000)")
    command.add_argument(
        "--longest-px", type=int, default=512, help="longer side of heatmaps and overlays (default: 512)"
    )
    command.set_defaults(function=_export)

    command = commands.add_parser("demo", help="build the bundled sample (dataset, model), run it and report")
    command.add_argument("--directory", default="runs/demo", help="where it all goes (default: runs/demo)")
    command.set_defaults(function=_demo)

    command = commands.add_parser(
        "bench", help="measure what the pipeline costs over the model; with CONFIG, what each step of that job costs"
    )
    command.add_argument("config", metavar="CONFIG.yaml", nargs="?")
    _add_overrides(command)
    command.add_argument("--quick", action="store_true", help="small work: says that all of it runs, not what it costs")
    command.add_argument("--only", action="append", default=[], metavar="GROUP", help="one group; may be repeated")
    command.add_argument("--json", default="build/bench.json", metavar="FILE", help="default: build/bench.json")
    command.add_argument("--trace", metavar="FILE", help="also write a timeline of the whole job, for Perfetto")
    command.add_argument(
        "--export-stablehlo",
        metavar="DIRECTORY",
        help="measure nothing: write the compiled pass of the bench's models, or of CONFIG's, as StableHLO, to run and "
        "measure where there is a GPU with JAX and no TensorFlow; weights are not written",
    )
    command.set_defaults(function=_bench)

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
    _add_overrides(command)


def _add_overrides(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="override a setting; may be repeated"
    )


def _run(options: argparse.Namespace, beam_options: list[str]) -> int:
    overrides = list(options.set)
    if options.reuse is not None:
        overrides.append(f"output.reuse={json.dumps(options.reuse)}")
    if options.resume:
        overrides.append("output.resume=true")
    settings = config.load(options.config, overrides)
    from heatbeam.job import run
    from heatbeam.runs import history

    result = run.run(settings, beam_options, sys.stderr)
    run.print_result(result, sys.stdout)
    if settings.output.root is not None and settings.output.keep is not None:
        for removed in history.prune(settings.output.root, settings.output.keep):
            sys.stdout.write(f"  removed {removed}\n")
    return OK


def _finish(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.job import run

    run.print_result(run.finish(options.run), sys.stdout)
    return OK


def _report(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.report import report

    path = report.write_report(options.run, reference=options.reference, clusters=tuple(options.clusters))
    sys.stdout.write(f"{path}\n")
    return OK


def _compare(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.compare import compare, compare_files, gate, verdict_files

    # A mistake in the gate is told even when there is nothing to compare yet.
    rules = gate.load(options.gate) if options.gate else None
    runs = _compared(options)
    if not runs:
        sys.stdout.write(f"{options.newest} has one finished run; there is nothing to compare it with yet\n")
        return OK
    comparison = None
    if len(runs) == 2:
        comparison = compare.compare(runs[0], runs[1], options.pairs)
        compare_files.print_comparison(comparison, sys.stdout)
    verdict = gate.judge(rules, runs[-1], comparison) if rules is not None else None
    if comparison is not None and options.json:
        compare_files.write_json(comparison, options.json)
    if comparison is not None and options.html:
        compare_files.write_html(comparison, options.html, verdict)
    if verdict is None:
        return OK
    verdict_files.print_verdict(verdict, sys.stdout)
    if options.verdict:
        verdict_files.write_json(verdict, options.verdict)
    if options.junit:
        verdict_files.write_junit(verdict, options.junit)
    return OK if verdict.passed else FAILED


def _compared(options: argparse.Namespace) -> Sequence[str]:
    """Baseline and candidate, or one run; none where ``--newest`` finds the first run of a schedule."""
    from heatbeam.runs import history

    if options.newest is not None:
        if options.runs:
            raise config.ConfigError(["give runs or --newest, not both"], "compare")
        return history.newest_pair(options.newest) or ()
    if len(options.runs) not in (1, 2) or (len(options.runs) == 1 and options.gate is None):
        raise config.ConfigError(["give BASELINE and CANDIDATE, or one run and --gate, or --newest ROOT"], "compare")
    return options.runs


def _history(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.runs import history

    if options.keep is not None:
        for removed in history.prune(options.root, options.keep):
            sys.stdout.write(f"removed {removed}\n")
    found = history.history(options.root)
    history.print_history(found, sys.stdout)
    if options.plot:
        history.plot(found, options.plot)
    return OK


def _render(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.export import render

    drawn = render.render(options.run, options.where, options.to, limit=options.limit, longest_px=options.longest_px)
    sys.stdout.write(
        f"{len(drawn.files)} of {drawn.matched} heatmaps drawn in {drawn.directory}, "
        f"{drawn.with_image} over their image\n"
    )
    return OK


def _export(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.export import export

    done = export.export(
        options.run, options.to, options.format, where=options.where, limit=options.limit, longest_px=options.longest_px
    )
    sys.stdout.write(
        f"{done.rows:,} of {done.matched:,} explanations of {done.images:,} images in {done.directory}, "
        f"{done.with_image:,} images from their shards\n"
    )
    sys.stdout.writelines(f"  {problem}\n" for problem in done.problems)
    return OK


def _check(options: argparse.Namespace, _: list[str]) -> int:
    settings = config.load(options.config, options.set)
    from heatbeam.job import check

    return OK if check.check(settings, options.records, sys.stdout) else FAILED


def _demo(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.demo import demo

    demo.demo(options.directory, sys.stdout)
    return OK


def _bench(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam.bench import command, settings

    if options.set and options.config is None:
        raise config.ConfigError(["--set changes a configuration; give CONFIG.yaml"], "bench")
    if options.only and (options.config is not None or options.export_stablehlo is not None):
        raise config.ConfigError(
            ["--only names a group of the standing bench; leave out CONFIG.yaml and --export-stablehlo"], "bench"
        )
    configured = config.load(options.config, options.set) if options.config is not None else None
    if options.export_stablehlo is not None:
        command.export_stablehlo(configured, options.quick, options.export_stablehlo, sys.stdout)
        return OK
    wanted = settings.Options(quick=options.quick, trace=options.trace)
    if configured is not None:
        command.bench_configured(configured, wanted, options.json, sys.stdout)
        return OK
    unknown = [name for name in options.only if name not in command.GROUPS]
    if unknown:
        raise config.ConfigError([f"--only {name}: expected {', '.join(command.GROUPS)}" for name in unknown], "bench")
    return OK if command.bench(wanted, tuple(options.only), options.json, sys.stdout) else FAILED


def _methods(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam import listing

    sys.stdout.write(listing.methods_markdown() if options.markdown else listing.methods_text())
    return OK


def _metrics(options: argparse.Namespace, _: list[str]) -> int:
    from heatbeam import listing

    sys.stdout.write(listing.metrics_markdown() if options.markdown else listing.metrics_text())
    return OK

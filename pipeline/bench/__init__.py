"""Measurements of what the pipeline costs over the model: ``heatbeam bench``. One module per group of figures."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command as commands
from heatbeam.transforms import errors


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("config", metavar="CONFIG.yaml", nargs="?")
    commands.add_overrides(parser)
    parser.add_argument("--quick", action="store_true", help="small work: says that all of it runs, not what it costs")
    parser.add_argument("--only", action="append", default=[], metavar="GROUP", help="one group; may be repeated")
    parser.add_argument("--json", default="build/bench.json", metavar="FILE", help="default: build/bench.json")
    parser.add_argument("--trace", metavar="FILE", help="also write a timeline of the whole job, for Perfetto")
    parser.add_argument(
        "--export-stablehlo",
        metavar="DIRECTORY",
        help="measure nothing: write the compiled pass of the bench's models, or of CONFIG's, as StableHLO, to run and "
        "measure where there is a GPU with JAX and no TensorFlow; weights are not written",
    )


def _bench(options: argparse.Namespace, _: Sequence[str]) -> int:
    from heatbeam import config
    from heatbeam.bench import command as groups
    from heatbeam.bench import settings

    if options.set and options.config is None:
        raise errors.UsageError("bench: --set changes a configuration; give CONFIG.yaml")
    if options.only and (options.config is not None or options.export_stablehlo is not None):
        raise errors.UsageError(
            "bench: --only names a group of the standing bench; leave out CONFIG.yaml and --export-stablehlo"
        )
    configured = config.load(options.config, options.set) if options.config is not None else None
    if options.export_stablehlo is not None:
        groups.export_stablehlo(configured, options.quick, options.export_stablehlo, sys.stdout)
        return commands.OK
    wanted = settings.Options(quick=options.quick, trace=options.trace)
    if configured is not None:
        groups.bench_configured(configured, wanted, options.json, sys.stdout)
        return commands.OK
    unknown = [name for name in options.only if name not in groups.GROUPS]
    if unknown:
        raise errors.UsageError(f"bench: --only {', '.join(unknown)}: expected {', '.join(groups.GROUPS)}")
    return commands.OK if groups.bench(wanted, tuple(options.only), options.json, sys.stdout) else commands.FAILED


BENCH = commands.Command(
    "bench",
    "measure what the pipeline costs over the model; with CONFIG, what each step of that job costs",
    _add_options,
    _bench,
    uses_tensorflow=True,
)

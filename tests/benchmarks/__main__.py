"""``python -m tests.benchmarks``, from the repository's root: the figures of every group, or of those that are named.

Exit status 1 when a group could not be measured or, without ``--quick``, when a goal was missed.
"""

from __future__ import annotations

import argparse
import pathlib
import sys
from collections.abc import Sequence

from tests.benchmarks import groups, results, settings
from tests.benchmarks.families import summary


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, or write down what was measured; the exit status."""
    parser = _parser()
    given = parser.parse_args(arguments)
    if given.markdown is not None:
        if not pathlib.Path(given.json).exists():
            parser.error(f"--markdown writes what was measured, and {given.json} is not there: measure first")
        page = pathlib.Path(given.markdown)
        found = results.read_any(given.json)
        page.write_text(results.written_into(page.read_text(encoding="utf-8"), found), encoding="utf-8")
        return 0
    only = given.only or (["families"] if given.family else [])
    options = settings.Options(quick=given.quick, trace=given.trace, compute=given.compute)
    wanted = groups.Wanted(only, given.family or (), given.resume)
    return 0 if groups.bench(options, wanted, given.json, sys.stdout) else 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="What heatbeam costs over the model, and how it compares."
    )
    parser.add_argument("--quick", action="store_true", help="small work: says that all of it runs, not what it costs")
    parser.add_argument(
        "--only", action="append", choices=groups.GROUPS, metavar="GROUP",
        help=f"one group; may be repeated: {', '.join(groups.GROUPS)}",
    )  # fmt: skip
    parser.add_argument(
        "--family", action="append", choices=summary.FAMILIES, metavar="NAME",
        help=f"one family of the groups that have them (families, if no group is named); may be repeated: "
        f"{', '.join(summary.FAMILIES)}",
    )  # fmt: skip
    parser.add_argument("--resume", action="store_true", help="leave out what the file has of this machine and commit")
    parser.add_argument(
        "--compute", default="auto", metavar="NAME",
        help="explain.compute of the whole jobs and whole passes; auto, the default, tries what is installed",
    )  # fmt: skip
    parser.add_argument("--json", default="build/bench.json", metavar="FILE", help="default: build/bench.json")
    parser.add_argument("--trace", metavar="FILE", help="also write a timeline of the whole job, for Perfetto")
    parser.add_argument(
        "--markdown", metavar="PAGE", help="measure nothing: write what the file has into the tables of a page"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())

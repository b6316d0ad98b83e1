"""``python -m tests.benchmarks``, from the repository's root: the figures of every group, or of those that are named.

Exit status 1 when a group could not be measured or, without ``--quick``, when a goal was missed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from tests.benchmarks import groups, settings


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure; the exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks", description="What heatbeam costs over the model."
    )
    parser.add_argument("--quick", action="store_true", help="small work: says that all of it runs, not what it costs")
    parser.add_argument(
        "--only", action="append", choices=groups.GROUPS, metavar="GROUP",
        help=f"one group; may be repeated: {', '.join(groups.GROUPS)}",
    )  # fmt: skip
    parser.add_argument("--json", default="build/bench.json", metavar="FILE", help="default: build/bench.json")
    parser.add_argument("--trace", metavar="FILE", help="also write a timeline of the whole job, for Perfetto")
    given = parser.parse_args(arguments)
    options = settings.Options(quick=given.quick, trace=given.trace)
    return 0 if groups.bench(options, tuple(given.only or ()), given.json, sys.stdout) else 1


if __name__ == "__main__":
    sys.exit(main())

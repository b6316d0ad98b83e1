"""The command ``prove``."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from heatbeam import command
from heatbeam.transforms import errors


def _add_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run")
    command.add_images(parser)
    parser.add_argument(
        "--most", type=int, metavar="N", help="suspects to try (default: one for 100 images, at least 20)"
    )
    command.add_json(parser)


def _prove(options: argparse.Namespace, beam_options: Sequence[str]) -> int:
    if options.most is not None and options.most < 1:
        raise errors.UsageError(f"prove: --most is {options.most}; give how many suspects to try, at least 1")
    with command.loading(options):
        from heatbeam.audit.evidence import shown
        from heatbeam.audit.proving import job

    found = job.prove(options.run, images=options.images, most=options.most, beam_options=beam_options)
    rows = found.table.drop_columns(["pictures"]).to_pylist()
    if options.json:
        command.write_json({"proofs": found.path, "suspects": rows, "left_out": found.left_out})
        return command.OK
    for row in rows:
        sys.stdout.write(f"{row['class_name']}: {shown.verdict(row)}\n  suspected: {row['reason']}\n")
        sys.stdout.writelines(f"  {line}\n" for line in shown.effects_of(row))
    sys.stdout.write(f"{shown.summary(rows)}: {found.path}\n")
    if found.left_out:
        sys.stdout.write(f"{found.left_out:,} less suspicious ones were not tried (--most)\n")
    return command.OK


PROVE = command.Command(
    "prove",
    "try the suspects of a finished run by changing images: which of them does the model rely on",
    "heatbeam prove runs/flowers",
    _add_options,
    _prove,
    takes_beam_options=True,
)

"""What a sub-command of ``heatbeam`` is: every room that has one describes it in a `Command`, and `cli` lists them.

The module that holds a command is imported for every ``heatbeam --help``, so it imports what its work needs only when
it is called.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence

OK, FAILED = 0, 1

Call = Callable[[argparse.Namespace, Sequence[str]], int]
"""Does the work: of the parsed options, and of Beam's own options, to the exit status."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        name: what follows ``heatbeam``.
        help: one line for ``heatbeam --help``.
        add_options: adds the command's arguments to its parser.
        call: does the work; its exit status is `OK`, or `FAILED` where a run or a gate failed. Raises
            `heatbeam.transforms.errors.UserError` for what the user has to mend.
        uses_tensorflow: whether it is to be imported, quietly, before the call.
        takes_beam_options: whether Beam's own options may stand after ``--``.
    """

    name: str
    help: str
    add_options: Callable[[argparse.ArgumentParser], None]
    call: Call
    uses_tensorflow: bool = False
    takes_beam_options: bool = False


def add_config(parser: argparse.ArgumentParser) -> None:
    """A configuration file and settings that override it, as ``config`` and ``set``."""
    parser.add_argument("config", metavar="CONFIG.yaml")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Settings that override those of the configuration file, as ``set``."""
    parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="override a setting; may be repeated"
    )


def add_images(parser: argparse.ArgumentParser) -> None:
    """Where the images of a run are now, as ``images``."""
    parser.add_argument(
        "--images",
        metavar="PATH",
        help="where the shards or the dataset are now, if they were moved: folder or pattern",
    )


def add_where(parser: argparse.ArgumentParser) -> None:
    """Which rows of a run, as ``where``."""
    parser.add_argument(
        "--where", default="", metavar="CONDITION", help="SQL condition over the columns of explanations"
    )

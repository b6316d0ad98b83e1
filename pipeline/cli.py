"""The command line: ``heatbeam SUBCOMMAND``, the same as ``python -m heatbeam SUBCOMMAND``.

Each command lives in the room that it is about, as a `heatbeam.command.Command`; to add one, add it to `COMMANDS`.

Exit status: 0 done, 1 a run or gate failed, 2 wrong use or configuration, 130 interrupted (143 by SIGTERM).
"""

from __future__ import annotations

import argparse
import contextlib
import io
import logging
import os
import pathlib
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn, TextIO

from heatbeam import command
from heatbeam import listing_commands as listing
from heatbeam.bench import commands as bench
from heatbeam.compare import commands as compare
from heatbeam.demo import commands as demo
from heatbeam.export import commands as export
from heatbeam.job import commands as job
from heatbeam.report import commands as report
from heatbeam.runs import commands as runs
from heatbeam.transforms import errors
from heatbeam.transforms.errors import harmless, redaction

CLEAR_LINE = "\r\x1b[K"
"""With what progress begins its line in a terminal."""

COMMANDS: tuple[command.Command, ...] = (
    job.RUN, job.CHECK, job.FINISH, report.REPORT, compare.COMPARE, runs.HISTORY, export.RENDER, export.EXPORT,
    demo.DEMO, bench.BENCH, listing.METHODS, listing.METRICS, listing.SETTINGS,
)  # fmt: skip
"""In the order of ``heatbeam --help``."""

INTERRUPTED = 128 + signal.SIGINT


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a sub-command; its exit status."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    beam_options: list[str] = []
    if "--" in given:
        split = given.index("--")
        given, beam_options = given[:split], given[split + 1 :]
    try:
        with _shown_safely(), _output_told():
            return _call(_parser().parse_args(given), beam_options)
    except errors.UserError as error:  # any other is a bug or a broken machine: the traceback is wanted
        sys.stderr.write(f"{safe(str(error))}\n")
        return error.status
    except KeyboardInterrupt as error:
        sys.stderr.write(f"{safe(str(error)) or 'interrupted'}\n")
        return INTERRUPTED


def safe(text: str) -> str:
    """`text` as a terminal or a log may have it: without secrets, and with nothing in it that a terminal obeys."""
    return harmless.lines(redaction.text(text))


class _SafeStream(io.TextIOBase):
    """A stream that is given nothing but what is `safe`; all else it does is the stream's."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream

    def write(self, text: str) -> int:
        begin = CLEAR_LINE if text.startswith(CLEAR_LINE) else ""
        self._stream.write(begin + safe(text[len(begin) :]))
        return len(text)

    def flush(self) -> None:
        self._stream.flush()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def fileno(self) -> int:
        return self._stream.fileno()

    def writable(self) -> bool:
        return True

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self._stream.encoding


@contextlib.contextmanager
def _shown_safely() -> Iterator[None]:
    """Whatever is printed inside is made `safe`; an error that is none of the user's too, in its traceback."""
    out, err = sys.stdout, sys.stderr
    with contextlib.redirect_stdout(_SafeStream(out)), contextlib.redirect_stderr(_SafeStream(err)):
        yield


@contextlib.contextmanager
def _output_told() -> Iterator[None]:
    """Tell of a standard output that takes nothing more; one that nobody reads any more (``| head``) ends in silence.

    Raises:
        SystemExit: nobody reads it; with the status of a process that the signal for that ended.
        errors.PathError: it cannot be written.
    """
    try:
        yield
        sys.stdout.flush()
    except OSError as error:
        try:  # whether it is standard output's: what failed may be dropped, so there must be something to write
            sys.stdout.write("\n")
            sys.stdout.flush()
        except OSError:
            # Nor can the interpreter write it when it ends.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            if isinstance(error, BrokenPipeError):
                raise SystemExit(128 + signal.SIGPIPE) from None
            raise errors.PathError(f"cannot write standard output: {errors.reason(error)}") from error
        raise


def _call(options: argparse.Namespace, beam_options: Sequence[str]) -> int:
    """Call the command that was parsed, once the process is set up for it."""
    chosen: command.Command = options.command
    if beam_options and not chosen.takes_beam_options:
        raise errors.UsageError(f"heatbeam {chosen.name} takes no Beam options after --")
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    # Beam logs through the root logger while it is imported, so a later call without force would do nothing.
    logging.basicConfig(
        level=logging.INFO if options.verbose else logging.WARNING, format="%(levelname)s %(message)s", force=True
    )
    # Beam warns that the Google Cloud packages are missing, which is no concern of a run that does not use them.
    logging.getLogger().addFilter(lambda record: "apitools not found" not in record.getMessage())
    if chosen.uses_tensorflow and not options.verbose:
        _import_tensorflow_quietly()
    return chosen.call(options, beam_options)


def _import_tensorflow_quietly() -> None:
    """Import TensorFlow without the lines that its C++ side writes to the terminal while it looks for a GPU.

    They cannot be switched off by a setting; what Python raises is not held back.
    """
    sys.stderr.flush()
    kept = os.dup(2)
    with pathlib.Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


class _Parser(argparse.ArgumentParser):
    """Tells of wrong use as of every other mistake: in one line, which names the help."""

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"{self.prog}: {message}; see {self.prog} --help")


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="heatbeam", description="Explain every image of a dataset with class activation maps, on Apache Beam."
    )
    parser.add_argument("--verbose", action="store_true", help="log what Beam and TensorFlow do")
    commands = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
    for one in COMMANDS:
        own = commands.add_parser(one.name, help=one.help)
        one.add_options(own)
        own.set_defaults(command=one)
    return parser

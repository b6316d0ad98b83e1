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
import signal
import sys
from collections.abc import Iterator, Sequence
from typing import NoReturn, TextIO

from heatbeam import command
from heatbeam.audit.proving import commands as proving
from heatbeam.bench import commands as bench
from heatbeam.compare import commands as compare
from heatbeam.demo import commands as demo
from heatbeam.explore import commands as explore
from heatbeam.export import commands as export
from heatbeam.export.publish import commands as publish
from heatbeam.job import commands as job
from heatbeam.listing import commands as listing
from heatbeam.prepare import commands as prepare
from heatbeam.report import commands as report
from heatbeam.runs import commands as runs
from heatbeam.transforms import errors
from heatbeam.transforms.errors import harmless, redaction

SHELLS = ("bash", "zsh", "fish")


def _add_completion(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("shell", choices=SHELLS, help="whose completion is printed")


def _completion(options: argparse.Namespace, _: Sequence[str]) -> int:
    import argcomplete.shell_integration

    sys.stdout.write(argcomplete.shell_integration.shellcode(["heatbeam"], shell=options.shell))
    return command.OK


COMPLETION = command.Command(
    "completion",
    "print what makes Tab complete commands, options and settings in bash, zsh or fish",
    'eval "$(heatbeam completion bash)"        # in ~/.bashrc; zsh: in ~/.zshrc\n'
    "heatbeam completion fish > ~/.config/fish/completions/heatbeam.fish",
    _add_completion,
    _completion,
)

COMMANDS: tuple[command.Command, ...] = (
    prepare.SHARDS, prepare.INIT, job.RUN, job.CHECK, job.FINISH, report.REPORT, proving.PROVE, explore.EXPLORE,
    compare.COMPARE, runs.HISTORY, export.RENDER, export.EXPORT, publish.PUBLISH, demo.DEMO, bench.BENCH,
    listing.METHODS, listing.METRICS, listing.SETTINGS, COMPLETION,
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
            return _call(_parsed(given), beam_options)
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
        begin = command.CLEAR_LINE if text.startswith(command.CLEAR_LINE) else ""
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
    return chosen.call(options, beam_options)


class _Parser(argparse.ArgumentParser):
    """Tells of wrong use as of every other mistake: in one line, which names the help."""

    def error(self, message: str) -> NoReturn:
        raise errors.UsageError(f"{self.prog}: {message}; see {self.prog} --help")


class _Help(argparse.HelpFormatter):
    """Leaves room for the longest command: argparse forgets by how much commands are indented."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog)
        self._action_max_length = 4 + max(len(one.name) for one in COMMANDS)


class _Version(argparse.Action):
    """Prints the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> NoReturn:
        import importlib.metadata

        sys.stdout.write(f"heatbeam {importlib.metadata.version('heatbeam')}\n")
        parser.exit()


def _parsed(given: Sequence[str]) -> argparse.Namespace:
    parser = _parser()
    if "_ARGCOMPLETE" in os.environ:  # set by what `heatbeam completion` prints, when a user presses Tab
        import argcomplete

        argcomplete.autocomplete(parser)
    return parser.parse_args(given)


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="heatbeam",
        description="Explain every image of a dataset with class activation maps, on Apache Beam.",
        epilog="heatbeam SUBCOMMAND --help shows its options and an example.",
        formatter_class=_Help,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    parser.add_argument("--verbose", action="store_true", help="log what Beam and TensorFlow do")
    commands = parser.add_subparsers(required=True, metavar="SUBCOMMAND")
    for one in COMMANDS:
        own = commands.add_parser(
            one.name,
            help=one.help,
            description=f"{one.help[0].upper()}{one.help[1:]}.",
            epilog="example:\n" + "".join(f"  {line}\n" for line in one.example.splitlines()),
            formatter_class=argparse.RawDescriptionHelpFormatter,
        )
        one.add_options(own)
        own.set_defaults(command=one)
    return parser

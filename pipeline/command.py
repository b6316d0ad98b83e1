"""What a sub-command of ``heatbeam`` is: every room that has one describes it in a `Command`, and `cli` lists them.

The module that holds a command is imported for every ``heatbeam --help``, so it imports what its work needs only when
it is called.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import math
import os
import pathlib
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, TextIO

OK, FAILED = 0, 1

CLEAR_LINE = "\r\x1b[K"
"""With what progress begins its line in a terminal: back to its start, and nothing left of the one before."""

Call = Callable[[argparse.Namespace, Sequence[str]], int]
"""Does the work: of the parsed options, and of Beam's own options, to the exit status."""


@dataclasses.dataclass(frozen=True)
class Command:
    """A sub-command.

    Attributes:
        name: what follows ``heatbeam``.
        help: one line for ``heatbeam --help``.
        example: a call that can be copied, shown below the command's own help; several stand one on a line.
        add_options: adds the command's arguments to its parser.
        call: does the work; its exit status is `OK`, or `FAILED` where a run or a gate failed. Raises
            `heatbeam.transforms.errors.UserError` for what the user has to mend.
        takes_beam_options: whether Beam's own options may stand after ``--``.
    """

    name: str
    help: str
    example: str
    add_options: Callable[[argparse.ArgumentParser], None]
    call: Call
    takes_beam_options: bool = False


def waiting(text: str, stream: TextIO | None = None) -> None:
    """Say what is waited for now, so that no command is silent for long: on `stream`, or on standard error."""
    stream = sys.stderr if stream is None else stream
    stream.write(f"{text} ...\n")
    stream.flush()


@contextlib.contextmanager
def loading(options: argparse.Namespace) -> Iterator[None]:
    """Import TensorFlow, once what can be checked without it is right; what needs it is to be imported inside.

    Says so first: it takes seconds. Without ``--verbose`` the lines are held back that TensorFlow's C++ side writes to
    the terminal while it looks for a GPU. They cannot be switched off by a setting; what Python raises is not held
    back.

    Imported modules are half a million objects that stay until the process ends. They are not looked through for
    garbage while they are made, nor in all collections to come, nor at the end: that took 2.7 of the 7.2 s of a
    processor of importing what a run needs and ending.
    """
    if "tensorflow" in sys.modules:  # there may be garbage by now, which would stay for ever too
        yield
        return
    waiting("loading TensorFlow and Apache Beam")
    collects = gc.isenabled()
    gc.disable()
    try:
        _import_tensorflow(verbose=options.verbose)
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


_ASIDE = ("sklearn", "matplotlib.pyplot")
"""What Keras imports if it is there, for wrappers and plots that no command uses: a second of a processor."""


@contextlib.contextmanager
def _without(names: Sequence[str]) -> Iterator[None]:
    """Have imports inside find no such modules, but for those that are imported already."""
    away = [name for name in names if name not in sys.modules]
    sys.modules.update(dict.fromkeys(away))  # type: ignore[arg-type]  # None: the import system's word for "not there"
    try:
        yield
    finally:
        for name in away:
            sys.modules.pop(name, None)


def _import_tensorflow(*, verbose: bool) -> None:
    """Import it, with its C++ side's lines where `verbose`."""
    with _without(_ASIDE):
        if verbose:
            import tensorflow  # noqa: F401
        else:
            _import_tensorflow_silently()


def _import_tensorflow_silently() -> None:
    kept = os.dup(2)
    with pathlib.Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        import tensorflow as tf

        tf.config.list_physical_devices("GPU")
    finally:
        os.dup2(kept, 2)
        os.close(kept)


def write_json(document: Any) -> None:
    """The one JSON document that a command with ``--json`` prints: numbers that are none (NaN) as null."""
    text = json.dumps(_plain(document), indent=2, ensure_ascii=False, allow_nan=False)
    sys.stdout.write(f"{text}\n")


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inner) for key, inner in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inner) for inner in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def add_json(parser: argparse.ArgumentParser) -> None:
    """Whether the answer is for a program, as ``json``."""
    parser.add_argument("--json", action="store_true", help="print one JSON document and nothing else")


def complete(action: argparse.Action, values: Callable[[], Iterable[str]]) -> None:
    """Have the shell complete an argument by `values`, which are asked for only then."""
    action.completer = lambda **_: list(values())  # type: ignore[attr-defined]  # where argcomplete looks for it


def add_config(parser: argparse.ArgumentParser) -> None:
    """A configuration file and settings that override it, as ``config`` and ``set``."""
    parser.add_argument("config", metavar="CONFIG.yaml")
    add_overrides(parser)


def add_overrides(parser: argparse.ArgumentParser) -> None:
    """Settings that override those of the configuration file, as ``set``."""
    action = parser.add_argument(
        "--set", action="append", default=[], metavar="section.key=value", help="override a setting; may be repeated"
    )
    complete(action, _settings)


def _settings() -> Iterable[str]:
    """``section.key=`` for every setting that a section has."""
    from heatbeam import config

    for section, field in config.RunConfig.model_fields.items():
        yield from (f"{section}.{key}=" for key in getattr(field.annotation, "model_fields", ()))


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

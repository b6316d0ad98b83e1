"""Errors that are the user's to mend: told in one line, without a traceback.

Any other exception is a bug or a broken machine, and its traceback is wanted. A third kind never reaches a user as an
exception: `heatbeam.transforms.records.DataError` says that one record is bad, and becomes a dead letter.

    UserError                            exit status 2 unless it says otherwise
      ComparisonError (ValueError)       compare: these two runs cannot be compared
      ConditionError (ValueError)        runs: --where is no condition over the rows
      ConfigError                        config: a setting, a Beam option or a use of a command is wrong
      ExportError (ValueError)           export: the rows cannot be exported there
      MissingExplorer                    explore: what serves its pages is not installed
      MissingNibabel                     export: NIfTI files need a library that is not installed
      ModelError (ValueError)            transforms.models: the model is not what the configuration says
      ModelFileError (ValueError)        transforms.models: there is no such model file
      OtherFormatError (ValueError)      runs: its format is one that this heatbeam does not know
      PathError (ValueError)             here: a path cannot be read, written or reached
      PublishError (ValueError)          publish: a destination refuses the run, or what it needs is not installed
      RunDirectoryError (ValueError)     runs: the directory is no run, not finished, taken or damaged
      RunFailed                          job: the run ended and its result must not be used; exit status 1
      ShardsFailed                       prepare: too much of the source is lost; exit status 1
      UsageError (ValueError)            here: an argument cannot be what it is

Those that are a ValueError too are raised for an argument of a function that is also called from Python.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator


class UserError(Exception):
    """What the user did, gave or has must change; the message says what came, what was expected and what to do.

    Attributes:
        status: exit status of the command that it ends: 1 where work was done and failed, 2 for wrong use.
    """

    status: int = 2


class UsageError(UserError, ValueError):
    """An argument of a command or function is not one that it can take."""


def check_at_least_one(name: str, number: int) -> None:
    """Refuse a `number` below 1 for the argument called `name`.

    Raises:
        UsageError: if it is.
    """
    if number < 1:
        raise UsageError(f"{name} is {number}; expected 1 or more")


class PathError(UserError, ValueError):
    """A file or folder that the user named cannot be used for what it was named for."""


@contextlib.contextmanager
def about(path: str | os.PathLike[str], what: str) -> Iterator[None]:
    """Tell of the operating system's errors inside as a `PathError` of `path`.

    For work on one path that the user named, so that the reason is the path's: a disk that is full, a permission, a
    folder where a file is expected.

    Args:
        path: as the user knows it.
        what: is done with it, after "cannot": ``write``, ``read``.

    Raises:
        PathError: instead of any OSError.
    """
    try:
        yield
    except OSError as error:
        raise PathError(f"cannot {what} {os.fspath(path)}: {reason(error)}") from error


def reason(error: OSError) -> str:
    """What the operating system says, on one line and without the path: ``No space left on device``."""
    if error.errno:
        return os.strerror(error.errno)
    return " ".join(str(error).split())[:300] or type(error).__name__

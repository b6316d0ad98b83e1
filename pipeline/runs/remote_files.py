"""Files that a command itself opens, on a local disk or on any file system that `pyarrow.fs` knows.

What the job's steps read and write goes through Beam's file systems instead.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
from collections.abc import Iterator

import pyarrow as pa
from pyarrow import fs as pafs

from heatbeam.transforms import errors


def is_remote(path: str | os.PathLike[str]) -> bool:
    """Whether `path` is a URI."""
    return "://" in os.fspath(path)


def absolute(path: str) -> str:
    """A local path from the root; a URI as it is."""
    return path if is_remote(path) else os.path.abspath(path)


def filesystem_of(path: str) -> tuple[pafs.FileSystem, str]:
    """The file system of a path or URI, and the path in it.

    Raises:
        errors.PathError: no file system is known for the URI, or what it needs is not installed.
    """
    if not is_remote(path):
        return pafs.LocalFileSystem(), path
    try:
        filesystem, root = pafs.FileSystem.from_uri(path)
    except (pa.ArrowException, OSError) as error:
        raise errors.PathError(f"{path} cannot be reached: {' '.join(str(error).split())[:300]}") from error
    return filesystem, root


@contextlib.contextmanager
def open_output(path: str | os.PathLike[str]) -> Iterator[pa.NativeFile]:
    """A stream that makes the file at `path`, with the folders above it on a local disk.

    Raises:
        errors.PathError: the file cannot be made or written, or as `filesystem_of` does.
    """
    filesystem, root = filesystem_of(os.fspath(path))
    with errors.about(path, "write"):
        if not is_remote(path):
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
        with filesystem.open_output_stream(root) as stream:
            yield stream


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Make the file at `path` of `content`; errors as of `open_output`."""
    with open_output(path) as stream:
        stream.write(content)


def local_folder(path: str, option: str) -> pathlib.Path:
    """`path` as a folder of this machine.

    Raises:
        errors.PathError: if it is a URI; `option` is what to name in the message.
    """
    if is_remote(path):
        raise errors.PathError(f"{option} {path}: many small files are written there; give a local folder and copy it")
    return pathlib.Path(path)

"""Model files on remote file systems, fetched once per machine."""

from __future__ import annotations

import contextlib
import fcntl
import getpass
import hashlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence

from apache_beam.io import filesystem, filesystems

from heatbeam.transforms import errors

_SAVED_MODEL = "saved_model.pb"


class ModelFileError(errors.UserError, ValueError):
    """The model file is not there."""


def local_copy(path: str) -> str:
    """A local path to the file, or to the folder of a SavedModel, at `path`.

    A path without a scheme is returned as it is. What is remote is downloaded into the machine's temporary folder
    unless the same version (by path, size and time of change of every file) is there already; processes of one machine
    wait for one another instead of downloading twice.

    Raises:
        ModelFileError: there is no such file.
    """
    if "://" not in path:
        return path
    path = path.rstrip("/")
    alone, saved_model = filesystems.FileSystems.match([path, f"{path}/{_SAVED_MODEL}"])
    if saved_model.metadata_list:
        (inside,) = filesystems.FileSystems.match([f"{path}/**"])
        files = sorted(inside.metadata_list, key=lambda metadata: str(metadata.path))
        return str(_fetched(path, [metadata for metadata in files if not metadata.path.endswith("/")], _copy_folder))
    if len(alone.metadata_list) != 1:
        raise ModelFileError(
            f"model file {path} does not exist or cannot be seen from here; of a SavedModel name the folder that holds "
            f"{_SAVED_MODEL}"
        )
    return str(_fetched(path, alone.metadata_list, _copy_file))


@contextlib.contextmanager
def named_as_given(copies: Mapping[str, str]) -> Iterator[None]:
    """Have the errors of the user's inside name what the user gave, with the copy of it beside.

    Args:
        copies: paths of copies, with what each is a copy of.
    """
    try:
        yield
    except errors.UserError as error:
        said = str(error)
        for copy, given in copies.items():
            said = said.replace(copy, f"{given} (copied to {copy})")
        if said == str(error):
            raise
        raise type(error)(said) from error


def _fetched(
    path: str,
    files: Sequence[filesystem.FileMetadata],
    fetch: Callable[[str, Sequence[filesystem.FileMetadata], pathlib.Path], None],
) -> pathlib.Path:
    """The machine's copy of what is at `path`, fetched if it is not there yet."""
    parts = [f"{file.path}\n{file.size_in_bytes}\n{file.last_updated_in_seconds}" for file in files]
    version = "\n".join([path, *parts] if len(parts) > 1 else parts)
    folder = _cache_folder()
    # With the name's whole end: Keras reads x.weights.h5 otherwise than x.h5.
    name = f"{hashlib.sha256(version.encode()).hexdigest()[:32]}-{pathlib.PurePosixPath(path).name[-100:]}"
    target = folder / name
    with _locked(folder / f"{name}.lock"):
        if not target.exists():
            part = target.with_suffix(".part")
            shutil.rmtree(part, ignore_errors=True)
            fetch(path, files, part)
            part.rename(target)
    return target


def _copy_folder(path: str, files: Sequence[filesystem.FileMetadata], target: pathlib.Path) -> None:
    for file in files:
        inside = target / str(file.path).removeprefix(path).lstrip("/")
        if not inside.resolve().is_relative_to(target.resolve()):
            raise ModelFileError(f"{path} has a file outside of it, {file.path}")
        inside.parent.mkdir(parents=True, exist_ok=True)
        _copy(str(file.path), inside)


def _copy_file(path: str, files: Sequence[filesystem.FileMetadata], target: pathlib.Path) -> None:  # noqa: ARG001 - called as `_copy_folder` is
    _copy(path, target)


def _copy(path: str, target: pathlib.Path) -> None:
    source = filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED)
    with source, target.open("wb") as copy:
        shutil.copyfileobj(source, copy, 8 << 20)


def _cache_folder() -> pathlib.Path:
    # One folder per user, readable by that user only: a model file is code.
    folder = pathlib.Path(tempfile.gettempdir()) / f"heatbeam-models-{getpass.getuser()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    if folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder} belongs to another user; set TMPDIR to a folder of your own")
    return folder


@contextlib.contextmanager
def _locked(path: pathlib.Path) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield

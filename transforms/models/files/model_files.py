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
from collections.abc import Iterator

from apache_beam.io import filesystem, filesystems

from heatbeam.transforms import errors


class ModelFileError(errors.UserError, ValueError):
    """The model file is not there."""


def local_copy(path: str) -> str:
    """A local path to the file at `path`.

    A path without a scheme is returned as it is. A remote file is downloaded into the machine's temporary folder unless
    the same version (by path, size and time of change) is there already; processes of one machine wait for one
    another instead of downloading twice.

    Raises:
        ModelFileError: there is no such file.
    """
    if "://" not in path:
        return path
    (matched,) = filesystems.FileSystems.match([path])
    if len(matched.metadata_list) != 1:
        raise ModelFileError(f"model file {path} does not exist or cannot be seen from here")
    metadata = matched.metadata_list[0]
    version = f"{path}\n{metadata.size_in_bytes}\n{metadata.last_updated_in_seconds}"
    folder = _cache_folder()
    # With the name's whole end: Keras reads x.weights.h5 otherwise than x.h5.
    name = f"{hashlib.sha256(version.encode()).hexdigest()[:32]}-{pathlib.PurePosixPath(path).name[-100:]}"
    target = folder / name
    with _locked(folder / f"{name}.lock"):
        if not target.exists():
            part = target.with_suffix(".part")
            source = filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED)
            with source, part.open("wb") as copy:
                shutil.copyfileobj(source, copy, 8 << 20)
            part.rename(target)
    return str(target)


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

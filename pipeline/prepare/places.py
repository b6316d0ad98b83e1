"""Paths of a source, local or on any file system that Beam knows, which must stay inside its folder."""

from __future__ import annotations

import os
import pathlib
import posixpath
from collections.abc import Iterator

from apache_beam.io import filesystem, filesystems

from heatbeam.runs import remote_files
from heatbeam.transforms import errors, records

IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".gif", ".bmp", ".webp", ".tif", ".tiff", ".avif")
_FORBIDDEN, _NOT_FOUND = 403, 404


def absolute(path: str) -> str:
    """A local path from the root, without links resolved; a URI without a slash at its end."""
    return path.rstrip("/") if remote_files.is_remote(path) else os.path.abspath(path)


def folder_of(path: str) -> str:
    """The folder that holds the file at `path`."""
    return path.rpartition("/")[0] or "/"


def inside(root: str, relative: str) -> str:
    """Where the file that a source calls `relative` is, below `root`.

    A path from the root of the file system is taken if it leads into `root`.

    Raises:
        DataError: ``outside_source`` for a path that leads elsewhere, ``missing_file`` for none.
    """
    scheme, separator, rest = root.partition("://")
    base = rest if separator else scheme
    named = relative.replace("\\", "/").strip()
    if not named:
        raise records.DataError("missing_file", "no file is named")
    if remote_files.is_remote(named):
        named_scheme, _, path = named.partition("://")
        path = path if named_scheme == scheme and separator else ""
    else:
        path = named if named.startswith("/") else posixpath.join(base, named)
    path = posixpath.normpath(path) if path else ""
    if not path.startswith(base.rstrip("/") + "/") or "\0" in path:
        raise records.DataError(
            "outside_source", f"{relative!r} is not inside {root}; name the folder that holds the images with --images"
        )
    return f"{scheme}://{path}" if separator else path


def below(root: str) -> Iterator[str]:
    """Paths of all files below a folder, relative to it and sorted; hidden ones are left out.

    Raises:
        errors.PathError: there is no such folder.
    """
    paths = _remote(root) if remote_files.is_remote(root) else _local(root)
    yield from sorted(path for path in paths if not any(part.startswith(".") for part in path.split("/")))


def _local(root: str) -> Iterator[str]:
    if not pathlib.Path(root).is_dir():
        raise errors.PathError(f"{root} is no folder")
    seen = set()
    for folder, inner, files in os.walk(root, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:  # a link to a folder above would go on for ever
            inner.clear()
            continue
        seen.add(real)
        relative = os.path.relpath(folder, root)
        yield from (name if relative == "." else f"{relative}/{name}" for name in files)


def _remote(root: str, limit: int | None = None) -> Iterator[str]:
    with errors.about(root, "read"):
        (matched,) = filesystems.FileSystems.match([f"{root}/**"], [limit])
    for found in matched.metadata_list:
        yield found.path[len(root) + 1 :]


def is_folder(path: str) -> bool:
    """Whether there are files below `path`."""
    if remote_files.is_remote(path):
        return next(_remote(path, limit=1), None) is not None
    return pathlib.Path(path).is_dir()


def exists(path: str) -> bool:
    """Whether there is a file at `path`."""
    return bool(filesystems.FileSystems.exists(path))


def read(path: str, limit: int = -1) -> bytes:
    """The bytes of a file, at most `limit` of them.

    Raises:
        OSError: it cannot be read.
    """
    stored = filesystem.CompressionTypes.UNCOMPRESSED
    with filesystems.FileSystems.open(path, compression_type=stored) as stream:
        data: bytes = stream.read(limit) if limit >= 0 else stream.read()
    return data


def read_given(path: str) -> bytes:
    """The bytes of a file that the user named.

    Raises:
        errors.PathError: it cannot be read.
    """
    with errors.about(path, "read"):
        return read(path)


def read_text(path: str) -> str:
    """The same as text.

    Raises:
        errors.PathError: it cannot be read, or is not UTF-8.
    """
    try:
        return read_given(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise errors.PathError(f"{path} is not UTF-8 text ({error}); save it as UTF-8") from error


def read_image(path: str, limit: int) -> bytes:
    """The bytes of an image that a source names.

    Raises:
        DataError: ``missing_file``, ``unreadable_file`` or ``record_too_large``.
        errors.PathError: its disk or connection fails, which says nothing about the image.
    """
    try:
        data = read(path, limit + 1)
    except Exception as error:
        status = getattr(error, "code", None)  # object stores have exceptions of their own, with the status of HTTP
        if isinstance(error, (FileNotFoundError, NotADirectoryError, IsADirectoryError)) or status == _NOT_FOUND:
            raise records.DataError("missing_file", f"there is no file {path}") from error
        if isinstance(error, PermissionError) or status == _FORBIDDEN:
            raise records.DataError("unreadable_file", f"no permission to read {path}") from error
        if isinstance(error, OSError):
            raise errors.PathError(f"cannot read {path}: {errors.reason(error)}") from error
        raise
    if len(data) > limit:
        raise records.DataError("record_too_large", f"{path} has more than {limit} bytes")
    return data


def write(path: str, content: bytes) -> None:
    """Make the file at `path`.

    Raises:
        errors.PathError: it cannot be made.
    """
    with errors.about(path, "write"), filesystems.FileSystems.create(path, compression_type="uncompressed") as stream:
        stream.write(content)

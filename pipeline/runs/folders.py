"""A folder on any file system that `pyarrow.fs` knows, as run directories need it; and what may be wrong with one."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pathlib
import posixpath
from collections.abc import Iterator

from pyarrow import fs as pafs

from heatbeam.runs import remote_files
from heatbeam.transforms import errors


class RunDirectoryError(errors.UserError, ValueError):
    """The directory is not what was asked for: not a run, not finished, not empty, or damaged."""


class Folder:
    """A folder, there or not.

    Args:
        path: local path, which is made absolute, or URI.
        filesystem: of `path`, if `pyarrow.fs` cannot tell it from the URI.

    Attributes:
        path: local path or URI.
        fs: the file system.
        root: the path on it.

    Raises:
        errors.PathError: no file system is known for the URI.
    """

    def __init__(self, path: str, filesystem: pafs.FileSystem | None = None):
        self.path = path.rstrip("/") or "/"
        if filesystem is not None:
            self.fs, self.root = filesystem, self.path
        else:
            if not remote_files.is_remote(path):
                # From the root, because workers write there too, from current folders of their own.
                self.path = os.path.abspath(self.path)
            self.fs, self.root = remote_files.filesystem_of(self.path)

    def path_of(self, name: str) -> str:
        """Path or URI of what is called `name` in it."""
        return posixpath.join(self.path, name)

    def join(self, name: str) -> str:
        """The same on the file system; the folder itself for an empty name."""
        return posixpath.join(self.root, name) if name else self.root

    def has(self, name: str) -> bool:
        """Whether there is such a file."""
        return bool(self.fs.get_file_info(self.join(name)).type == pafs.FileType.File)

    def list(self, name: str = "") -> list[pafs.FileInfo]:
        """What is in it, or in the folder `name` in it; nothing if that is not there."""
        return list(self.fs.get_file_info(pafs.FileSelector(self.join(name), allow_not_found=True)))

    def claim(self, name: str) -> bool:
        """Make the empty file `name` in it, and it; False if there is one by now. Of many at once one gets True.

        Elsewhere than on a local disk nothing is made, and all get True: not every store can tell who was first.
        """
        if not isinstance(self.fs, pafs.LocalFileSystem):
            return True
        self.fs.create_dir(self.root, recursive=True)
        try:
            with pathlib.Path(self.join(name)).open("xb"):
                return True
        except FileExistsError:
            return False

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Make the folder `name` in it, and wait until no other process of this machine has it to itself.

        For whoever reads a file, changes and replaces it. Where the store, or the disk, has no locks nobody waits.

        Raises:
            errors.PathError: if the folder cannot be made.
        """
        with errors.about(self.path_of(name), "write"):
            self.make(name)
        if not isinstance(self.fs, pafs.LocalFileSystem):
            yield
            return
        descriptor = os.open(self.join(name), os.O_RDONLY)
        try:
            with contextlib.suppress(OSError):  # some network disks lock no folders
                fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def replace(self, name: str, content: bytes) -> None:
        """Make the file `name` in it, or replace it: on a local disk in one step, so that nobody reads half of it.

        Raises:
            errors.PathError: if it cannot be written.
        """
        target = self.join(name)
        # Object stores show a file when it is complete; a disk shows it while it grows.
        in_place = not isinstance(self.fs, pafs.LocalFileSystem)
        with errors.about(self.path_of(name), "write"):
            self.fs.create_dir(posixpath.dirname(target), recursive=True)
            with self.fs.open_output_stream(target if in_place else target + ".tmp") as stream:
                stream.write(content)
            if not in_place:
                self.fs.move(target + ".tmp", target)

    def make(self, name: str) -> None:
        """Make the folder `name` in it, and it, if they are not there."""
        self.fs.create_dir(self.join(name), recursive=True)

    def remove_folder(self, name: str) -> None:
        """Remove the folder `name` in it with all it holds, if it is there."""
        if self.fs.get_file_info(self.join(name)).type == pafs.FileType.Directory:
            self.fs.delete_dir(self.join(name))

"""The directory a run leaves behind: its manifest, its tables, and whether it is finished.

``manifest.json`` is the only mark of state. It says ``running`` from the start; ``succeeded`` is written last, after
every file is in place and counted, so a run that stops anywhere never looks finished. Tables are read by the files the
manifest lists, never by a pattern.

Paths may be local or URIs that `pyarrow.fs` knows (``gs://``, ``s3://``, ``hdfs://``).
"""

from __future__ import annotations

import json
import os
import posixpath
import re
import uuid
from collections.abc import Mapping
from concurrent import futures
from typing import Any

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from heatbeam.runs import formats, manifests, remote_files
from heatbeam.runs import tables as run_tables
from heatbeam.transforms import errors

MANIFEST = "manifest.json"
TABLES = ("explanations", "localizations", "summary", "curves", "dead_letters")

COUNTS = "counts.json"
"""What the job counted, until the manifest holds it."""

UNFINISHED = "unfinished"
"""Folder of what a run that is not finished has explained so far (`heatbeam.transforms.tables.journal`)."""

_OWN_FILES = ("report.html", "label_suspects.parquet", COUNTS)
_TEMPORARY = "beam-temp-"
_PART = re.compile(r"part-(\d{5,})-of-(\d{5,})\.parquet")
_ROW_FILES = (".arrow", ".parquet")
_MAX_THREADS = 16


class RunDirectoryError(errors.UserError, ValueError):
    """The directory is not what was asked for: not a run, not finished, not empty, or damaged."""


class OtherFormatError(RunDirectoryError):
    """The run has a format that this heatbeam does not know."""


class RunDirectory:
    """One run.

    Args:
        path: local path, which is made absolute, or URI.
        filesystem: of `path`, if `pyarrow.fs` cannot tell it from the URI.

    Raises:
        errors.PathError: no file system is known for the URI.
    """

    def __init__(self, path: str, filesystem: pafs.FileSystem | None = None):
        self.path = path.rstrip("/") or "/"
        if filesystem is not None:
            self._fs, self._root = filesystem, self.path
        else:
            if not remote_files.is_remote(path):
                # From the root, because workers write there too, from current folders of their own.
                self.path = os.path.abspath(self.path)
            self._fs, self._root = remote_files.filesystem_of(self.path)

    def path_of(self, name: str) -> str:
        """Path or URI of a table's directory or of a file of the run."""
        return posixpath.join(self.path, name)

    def create(self, manifest: manifests.Manifest, *, overwrite: bool, resume: bool = False) -> None:
        """Start a run: make the directory and write `manifest` with status ``running``.

        With `overwrite`, the tables, report and temporary files of the heatbeam run that is there are removed; any
        other file in the directory stays. With `resume`, what an unfinished run has explained stays too, as
        `unfinished_files`.

        Raises:
            RunDirectoryError: if the directory holds something else than a heatbeam run, or a run and neither
                `overwrite` nor `resume`, or a finished run and `resume`.
        """
        self.check_free(overwrite=overwrite, resume=resume)
        if self._list(self._root):
            # From here on the old run must not look finished, even if removing it is interrupted.
            self.write_manifest(manifest, "running")
            if resume:
                self._set_aside()
            else:
                self._remove_unfinished()
            self._remove_outputs()
        self._fs.create_dir(self._root, recursive=True)
        for name in (*TABLES, UNFINISHED):
            self._fs.create_dir(self._join(name), recursive=True)
        self.write_manifest(manifest, "running")

    def _set_aside(self) -> None:
        """Move the finished files of ``explanations`` to the unfinished ones: others will take their names."""
        self._fs.create_dir(self._join(UNFINISHED), recursive=True)
        for info in self._parts("explanations"):
            self._fs.move(info.path, self._join(f"{UNFINISHED}/{uuid.uuid4().hex}.parquet"))

    def unfinished_files(self) -> list[str]:
        """Paths or URIs of the files with rows of ``explanations`` that an unfinished run left; some may be damaged."""
        kept = [info for info in self._list(self._join(UNFINISHED)) if info.base_name.endswith(_ROW_FILES)]
        return [self.path_of(f"{UNFINISHED}/{info.base_name}") for info in kept] + [
            self.path_of(f"explanations/{info.base_name}") for info in self._parts("explanations")
        ]

    def _parts(self, table: str) -> list[pafs.FileInfo]:
        return [info for info in self._list(self._join(table)) if _PART.fullmatch(info.base_name)]

    def check_free(self, *, overwrite: bool, resume: bool = False) -> None:
        """Check that `create` would take the directory, and change nothing.

        Raises:
            RunDirectoryError: as `create` does.
        """
        info = self._fs.get_file_info(self._root)
        if info.type == pafs.FileType.File:
            raise RunDirectoryError(f"{self.path} is a file; give a directory for the run")
        if info.type == pafs.FileType.Directory and self._list(self._root):
            self._refuse_or_allow(overwrite, resume)

    def _refuse_or_allow(self, overwrite: bool, resume: bool) -> None:
        if not self._exists(MANIFEST):
            raise RunDirectoryError(
                f"{self.path} is not empty and is not a heatbeam run (it has no {MANIFEST}); give another directory"
            )
        status = self._load().status
        if resume and status == "succeeded":
            raise RunDirectoryError(f"{self.path} holds a finished run; there is nothing to resume")
        if not overwrite and not resume:
            further = "" if status == "succeeded" else ", or resume it"
            raise RunDirectoryError(
                f"{self.path} already holds a heatbeam run ({status}); give another directory or set overwrite{further}"
            )

    def _remove_outputs(self) -> None:
        self.remove_temporary_files()
        for table in TABLES:
            for info in self._parts(table):
                self._fs.delete_file(info.path)
        for name in _OWN_FILES:
            if self._exists(name):
                self._fs.delete_file(self._join(name))

    def remove(self) -> None:
        """Remove a finished run: its tables, report and manifest, and its directories if nothing else is in them.

        Interrupted, it leaves a run that does not look finished.

        Raises:
            RunDirectoryError: if it is not a finished heatbeam run.
        """
        self.read_manifest()
        with self._fs.open_input_stream(self._join(MANIFEST)) as stream:
            as_it_stands = json.loads(stream.read())
        self._write_document({**as_it_stands, "status": "running"})
        self._remove_unfinished()
        self._remove_outputs()
        self._fs.delete_file(self._join(MANIFEST))
        for path in (*map(self._join, TABLES), self._root):
            if self._fs.get_file_info(path).type == pafs.FileType.Directory and not self._list(path):
                self._fs.delete_dir(path)

    def remove_temporary_files(self) -> list[str]:
        """Remove the ``beam-temp-*`` folders that failed attempts left in the table directories; their paths."""
        removed = []
        for table in TABLES:
            for info in self._list(self._join(table)):
                if info.type == pafs.FileType.Directory and info.base_name.startswith(_TEMPORARY):
                    self._fs.delete_dir(info.path)
                    removed.append(info.path)
        return removed

    def _remove_unfinished(self) -> None:
        if self._fs.get_file_info(self._join(UNFINISHED)).type == pafs.FileType.Directory:
            self._fs.delete_dir(self._join(UNFINISHED))

    def _remove_incomplete(self) -> int:
        """Remove what of the unfinished files cannot be read, and the folder if nothing is left; how many are left."""
        infos = self._list(self._join(UNFINISHED))
        with futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
            complete = list(pool.map(self._is_complete, infos))
        for info, good in zip(infos, complete, strict=True):
            if not good:
                self._fs.delete_file(info.path)
        if not any(complete):
            self._remove_unfinished()
        return sum(complete)

    def _is_complete(self, info: pafs.FileInfo) -> bool:
        """Whether a file is one of rows and ends as it should."""
        if not info.base_name.endswith(_ROW_FILES):
            return False
        with self._fs.open_input_file(info.path) as file:
            file.seek(max(0, file.size() - 6))
            return bool(file.read().endswith((b"ARROW1", b"PAR1")))

    def write_manifest(self, manifest: manifests.Manifest, status: manifests.Status) -> manifests.Manifest:
        """Write `manifest` with `status`, in the format of today; what was written.

        Numbers must be finite: JSON has no NaN. On a local disk the file is replaced in one step.
        """
        written = manifest.having(format_version=manifests.FORMAT_VERSION, status=status)
        self._write_document(written.as_dict())
        return written

    def _write_document(self, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        target = self._join(MANIFEST)
        # Object stores show a file when it is complete; a disk shows it while it grows.
        in_place = not isinstance(self._fs, pafs.LocalFileSystem)
        with errors.about(self.path_of(MANIFEST), "write"):
            self._fs.create_dir(self._root, recursive=True)
            with self._fs.open_output_stream(target if in_place else target + ".tmp") as stream:
                stream.write(text.encode())
            if not in_place:
                self._fs.move(target + ".tmp", target)

    def finish(self, manifest: manifests.Manifest) -> manifests.Finished:
        """Count the files, add them as ``tables`` and mark the run ``succeeded``; the manifest written."""
        tables = self.describe_tables()
        self.remove_temporary_files()
        self._remove_unfinished()
        parts = {**dict(manifest), "tables": tables, "format_version": manifests.FORMAT_VERSION, "status": "succeeded"}
        finished = manifests.Finished.model_validate(parts)
        self._write_document(finished.as_dict())
        return finished

    def fail(self, manifest: manifests.Manifest) -> manifests.Manifest:
        """Remove temporary files and counts that nobody will take, and mark the run ``failed``; the manifest written.

        What it has explained stays in `UNFINISHED`, for a run that resumes it.
        """
        self.remove_temporary_files()
        if self._exists(COUNTS):  # records were counted before a write failed
            self._fs.delete_file(self._join(COUNTS))
        self._remove_incomplete()
        return self.write_manifest(manifest, "failed")

    def has_manifest(self) -> bool:
        """Whether there is a run, finished or not."""
        return self._exists(MANIFEST)

    def read_manifest(self) -> manifests.Finished:
        """The manifest of a finished run.

        Raises:
            RunDirectoryError: if there is none, it is not one that this heatbeam reads, or the run is not finished.
        """
        manifest = self.read_any_manifest()
        if not isinstance(manifest, manifests.Finished):
            why = "it is still running, or was stopped" if manifest.status == "running" else "it failed"
            raise RunDirectoryError(f"{self.path} is not a finished run: {why}; run it again")
        return manifest

    def read_any_manifest(self) -> manifests.Manifest:
        """The manifest of a run that may still be running, or have failed.

        Raises:
            RunDirectoryError: if there is none, or it is not one that this heatbeam reads.
        """
        if not self._exists(MANIFEST):
            raise RunDirectoryError(f"{self.path} is not a heatbeam run: it has no {MANIFEST}")
        return self._load()

    def describe_tables(self) -> dict[str, manifests.Table]:
        """Every table by name, from the footers of the files there; one without files is left out.

        Raises:
            RunDirectoryError: if a file is missing from a set ``part-*-of-N``, two sets are mixed or a file is damaged.
        """
        described = {}
        for table in TABLES:
            parts = self._parts(table)
            if not parts:
                continue
            parts.sort(key=lambda info: info.base_name)
            self._check_set(table, [info.base_name for info in parts])
            with futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
                rows = list(pool.map(self._count_rows, parts))
            files = tuple(
                manifests.TableFile(path=f"{table}/{info.base_name}", rows=count, bytes=info.size)
                for info, count in zip(parts, rows, strict=True)
            )
            size = sum(info.size for info in parts)
            described[table] = manifests.Table(rows=sum(rows), bytes=size, files=files)
        return described

    def _check_set(self, table: str, names: list[str]) -> None:
        numbers = [tuple(int(part) for part in match.groups()) for match in map(_PART.fullmatch, names) if match]
        total = numbers[0][1]
        if numbers != [(number, total) for number in range(total)]:
            raise RunDirectoryError(
                f"{self.path_of(table)} holds {len(names)} files that are not one complete set of"
                f" part-*-of-{total:05d}.parquet; the run was stopped or files of another run are mixed in"
            )

    def _count_rows(self, info: pafs.FileInfo) -> int:
        try:
            with self._fs.open_input_file(info.path) as file:
                return int(pq.read_metadata(file).num_rows)
        except pa.ArrowInvalid as error:
            raise RunDirectoryError(f"{info.path} is not a complete Parquet file: {error}") from error

    def write_file(self, name: str, content: bytes) -> str:
        """Write a file beside the tables, such as the report; its path or URI."""
        with errors.about(self.path_of(name), "write"), self._fs.open_output_stream(self._join(name)) as stream:
            stream.write(content)
        return self.path_of(name)

    def open_table(self, name: str) -> ds.Dataset:
        """A table of a finished run, read from the files its manifest lists, in the columns of today.

        Raises:
            RunDirectoryError: if the run is not finished, has no such table, or a file is missing or has another size.
        """
        manifest = self.read_manifest()
        tables = manifest.tables
        if name not in tables:
            raise RunDirectoryError(f"{self.path} has no table {name!r}; it has {', '.join(tables) or 'none'}")
        files = tables[name].files
        paths = [self._join(file.path) for file in files]
        for file, info in zip(files, self._fs.get_file_info(paths), strict=True):
            if info.type != pafs.FileType.File or info.size != file.bytes:
                found = f"{info.size} bytes" if info.type == pafs.FileType.File else "nothing"
                raise RunDirectoryError(
                    f"{self.path_of(file.path)} is not the file the run wrote: expected {file.bytes} bytes,"
                    f" found {found}"
                )
        return run_tables.opened(name, paths, self._fs, manifest.format_version)

    def _load(self) -> manifests.Manifest:
        path = self.path_of(MANIFEST)
        with errors.about(path, "read"), self._fs.open_input_stream(self._join(MANIFEST)) as stream:
            text = stream.read()
        try:
            return formats.read(text)
        except formats.UnknownFormatError as error:
            raise OtherFormatError(f"{self.path_of(MANIFEST)} {error}") from error
        except formats.FormatError as error:
            raise RunDirectoryError(f"{self.path_of(MANIFEST)} {error}") from error

    def _join(self, name: str) -> str:
        return posixpath.join(self._root, name)

    def _exists(self, name: str) -> bool:
        return bool(self._fs.get_file_info(self._join(name)).type == pafs.FileType.File)

    def _list(self, path: str) -> list[pafs.FileInfo]:
        return list(self._fs.get_file_info(pafs.FileSelector(path, allow_not_found=True)))

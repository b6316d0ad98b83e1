"""The directory a run leaves behind: its manifest, its tables, and whether it is finished.

``manifest.json`` is the only mark of state. It says ``running`` from the start; ``succeeded`` is written last, after
every file is in place and counted, so a run that stops anywhere never looks finished. Tables are read by the files the
manifest lists, never by a pattern.

Paths may be local or URIs that `pyarrow.fs` knows (``gs://``, ``s3://``, ``hdfs://``).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pyarrow.dataset as ds
from pyarrow import fs as pafs

from heatbeam.runs import folders, formats, manifests, part_files, registrations, unfinished
from heatbeam.runs import tables as run_tables
from heatbeam.transforms import errors

MANIFEST = "manifest.json"
TABLES = ("explanations", "localizations", "summary", "curves", "dead_letters")

COUNTS = "counts.json"
"""What the job counted, until the manifest holds it."""

UNFINISHED = unfinished.FOLDER
"""Folder of what a run that is not finished has explained so far."""

PROOFS = "proofs/part-00000-of-00001.parquet"
"""What interventions showed of the suspects of a shortcut, if ``heatbeam prove`` was called."""

DECISION = "decision.json"
"""What ``heatbeam compare --newest`` or ``heatbeam run --sequential`` decided about the run, if it was called."""

_OWN_FILES = ("report.html", "label_suspects.parquet", DECISION, PROOFS, COUNTS)

RunDirectoryError = folders.RunDirectoryError


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
        self._folder = folders.Folder(path, filesystem)
        self.path = self._folder.path

    def path_of(self, name: str) -> str:
        """Path or URI of a table's directory or of a file of the run."""
        return self._folder.path_of(name)

    def create(self, manifest: manifests.Manifest, *, overwrite: bool, resume: bool = False) -> None:
        """Start a run: make the directory and write `manifest` with status ``running``.

        With `overwrite`, the tables, report and temporary files of the heatbeam run that is there are removed; any
        other file in the directory stays. With `resume`, what an unfinished run has explained stays too, as
        `unfinished_files`; so does what a finished one has explained that was about a part of the records.

        Raises:
            RunDirectoryError: if the directory holds something else than a heatbeam run, or a run and neither
                `overwrite` nor `resume`, or a finished run of all records and `resume`, or one whose files a catalogue
                names; or if another run takes it right now.
        """
        self.check_free(overwrite=overwrite, resume=resume)
        if (overwrite or resume) and self._folder.list():
            # From here on the old run must not look finished, even if removing it is interrupted.
            self.write_manifest(manifest, "running")
            if resume:
                unfinished.set_aside(self._folder)
            else:
                unfinished.remove(self._folder)
            self._remove_outputs()
        elif not self._folder.claim(MANIFEST):  # between the check and now
            raise RunDirectoryError(f"{self.path} was taken by another run at the same moment; give another directory")
        for name in (*TABLES, UNFINISHED):
            self._folder.make(name)
        self.write_manifest(manifest, "running")

    def unfinished_files(self) -> list[str]:
        """Paths or URIs of the files with rows of ``explanations`` that an unfinished run left; some may be damaged."""
        return unfinished.files(self._folder)

    def check_free(self, *, overwrite: bool, resume: bool = False) -> None:
        """Check that `create` would take the directory, and change nothing.

        Raises:
            RunDirectoryError: as `create` does.
        """
        info = self._folder.fs.get_file_info(self._folder.root)
        if info.type == pafs.FileType.File:
            raise RunDirectoryError(f"{self.path} is a file; give a directory for the run")
        if info.type == pafs.FileType.Directory and self._folder.list():
            self._refuse_or_allow(overwrite, resume)

    def _refuse_or_allow(self, overwrite: bool, resume: bool) -> None:
        if not self._folder.has(MANIFEST):
            raise RunDirectoryError(
                f"{self.path} is not empty and is not a heatbeam run (it has no {MANIFEST}); give another directory"
            )
        manifest = self._load()
        status, is_part = manifest.status, manifest.drawn is not None
        if resume and status == "succeeded":
            if not is_part:
                raise RunDirectoryError(f"{self.path} holds a finished run; there is nothing to resume")
            if registered := self.registered():
                raise RunDirectoryError(registered[0].in_words(self.path))
        if not overwrite and not resume:
            further = "" if status == "succeeded" and not is_part else ", or resume it"
            raise RunDirectoryError(
                f"{self.path} already holds a heatbeam run ({status}); give another directory or set overwrite{further}"
            )

    def _remove_outputs(self) -> None:
        self.remove_temporary_files()
        for table in TABLES:
            for info in part_files.parts(self._folder, table):
                self._folder.fs.delete_file(info.path)
        for name in _OWN_FILES:
            if self._folder.has(name):
                self._folder.fs.delete_file(self._folder.join(name))

    def remove(self) -> None:
        """Remove a finished run: its tables, report and manifest, and its directories if nothing else is in them.

        Interrupted, it leaves a run that does not look finished.

        Raises:
            RunDirectoryError: if it is not a finished heatbeam run, or its files are named by a catalogue.
        """
        self.read_manifest()
        if registered := self.registered():
            raise RunDirectoryError(registered[0].in_words(self.path))
        with self._folder.fs.open_input_stream(self._folder.join(MANIFEST)) as stream:
            as_it_stands = json.loads(stream.read())
        self._write_document({**as_it_stands, "status": "running"})
        unfinished.remove(self._folder)
        self._remove_outputs()
        self._folder.fs.delete_file(self._folder.join(MANIFEST))
        for name in (*TABLES, ""):
            if not self._folder.list(name):
                self._folder.remove_folder(name)

    def registered(self) -> tuple[registrations.Registration, ...]:
        """Which catalogues name the files of the run."""
        return registrations.read(self._folder)

    def register(self, *added: registrations.Registration) -> None:
        """Note that catalogues name the files of the run from now on."""
        registrations.write(self._folder, (*self.registered(), *added))

    def withdraw(self, one: registrations.Registration) -> None:
        """Note that a catalogue no longer names the files of the run."""
        registrations.write(self._folder, set(self.registered()) - {one})

    def remove_temporary_files(self) -> list[str]:
        """Remove the ``beam-temp-*`` folders that failed attempts left in the table directories; their paths."""
        return [path for table in TABLES for path in part_files.remove_temporary(self._folder, table)]

    def write_manifest(self, manifest: manifests.Manifest, status: manifests.Status) -> manifests.Manifest:
        """Write `manifest` with `status`, in the format of today; what was written.

        Numbers must be finite: JSON has no NaN. On a local disk the file is replaced in one step.
        """
        if status not in manifests.STATUSES:
            raise ValueError(f"status is {status!r}; expected one of {', '.join(manifests.STATUSES)}")
        written = manifest.having(format_version=manifests.FORMAT_VERSION, status=status)
        self._write_document(written.as_dict())
        return written

    def _write_document(self, document: Mapping[str, Any]) -> None:
        text = json.dumps(document, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
        self._folder.replace(MANIFEST, text.encode())

    def finish(self, manifest: manifests.Manifest) -> manifests.Finished:
        """Count the files, add them as ``tables`` and mark the run ``succeeded``; the manifest written."""
        tables = self.describe_tables()
        self.remove_temporary_files()
        unfinished.remove(self._folder)
        parts = {**dict(manifest), "tables": tables, "format_version": manifests.FORMAT_VERSION, "status": "succeeded"}
        finished = manifests.Finished.model_validate(parts)
        self._write_document(finished.as_dict())
        return finished

    def fail(self, manifest: manifests.Manifest) -> manifests.Manifest:
        """Remove temporary files and counts that nobody will take, and mark the run ``failed``; the manifest written.

        What it has explained stays in `UNFINISHED`, for a run that resumes it.
        """
        self.remove_temporary_files()
        if self._folder.has(COUNTS):  # records were counted before a write failed
            self._folder.fs.delete_file(self._folder.join(COUNTS))
        unfinished.remove_incomplete(self._folder)
        return self.write_manifest(manifest, "failed")

    def has_manifest(self) -> bool:
        """Whether there is a run, finished or not."""
        return self._folder.has(MANIFEST)

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
        if not self._folder.has(MANIFEST):
            raise RunDirectoryError(f"{self.path} is not a heatbeam run: it has no {MANIFEST}")
        return self._load()

    def describe_tables(self) -> dict[str, manifests.Table]:
        """Every table by name, from the footers of the files there; one without files is left out.

        Raises:
            RunDirectoryError: if a file is missing from a set ``part-*-of-N``, two sets are mixed or a file is damaged.
        """
        described = {table: part_files.described(self._folder, table) for table in TABLES}
        return {table: found for table, found in described.items() if found is not None}

    def write_file(self, name: str, content: bytes) -> str:
        """Write a file beside the tables, such as the report; its path or URI."""
        path, target = self.path_of(name), self._folder.join(name)
        with errors.about(path, "write"), self._folder.fs.open_output_stream(target) as stream:
            stream.write(content)
        return path

    def read_file(self, name: str) -> bytes | None:
        """A file beside the tables; None if it is not there."""
        if not self._folder.has(name):
            return None
        with errors.about(self.path_of(name), "read"), self._folder.fs.open_input_stream(self._folder.join(name)) as it:
            return bytes(it.read())

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
        part_files.check_unchanged(self._folder, files)
        paths = [self._folder.join(file.path) for file in files]
        return run_tables.opened(name, paths, self._folder.fs, manifest.format_version)

    def _load(self) -> manifests.Manifest:
        path, source = self.path_of(MANIFEST), self._folder.join(MANIFEST)
        with errors.about(path, "read"), self._folder.fs.open_input_stream(source) as stream:
            text = stream.read()
        try:
            return formats.read(text)
        except formats.UnknownFormatError as error:
            raise OtherFormatError(f"{path} {error}") from error
        except formats.FormatError as error:
            raise RunDirectoryError(f"{path} {error}") from error

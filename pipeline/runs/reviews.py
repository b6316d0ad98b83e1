"""What people found when they looked at images of a run: labels that are wrong, shortcuts that are real, sick maps.

``RUN/review/review.parquet`` holds a row for each mark (`SCHEMA`). It belongs to people, not to the run: nothing that
overwrites, resumes or removes a run takes it away, and the digest of the image says what a mark of another run is
about.

The file is replaced as a whole: a reader sees the one before or the one after. Explorers of one run wait for one
another where the run is on a disk of their machine; elsewhere two that write at the same moment may lose one of the two
marks.
"""

from __future__ import annotations

import dataclasses
import datetime
import io
import posixpath
import threading
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from heatbeam.runs import folders

FILE = "review/review.parquet"

MARKS: Mapping[str, str] = {
    "label_wrong": "the label of the image is wrong",
    "real_shortcut": "the model goes by something that is not the object",
    "sick_map": "the map shows nothing of use",
    "note": "a remark",
}
"""What can be marked."""

LONGEST_NOTE = 2000


def _column(name: str, arrow_type: pa.DataType, description: str) -> pa.Field:
    return pa.field(name, arrow_type, nullable=False, metadata={"description": description})


SCHEMA = pa.schema([
    _column("image_id", pa.string(), "id of the image"),
    _column("image_sha256", pa.string(), "SHA-256 of the encoded image bytes"),
    _column("shard", pa.string(), "base name of the file the record came from"),
    _column("record_index", pa.int64(), "position of the record in its shard"),
    _column("class_id", pa.int32(), "the class of the map; of label_wrong the label that is doubted, -1 without one"),
    _column("class_name", pa.string(), "its name"),
    _column("method", pa.string(), "method of the map; empty for label_wrong, which is about no map"),
    _column("mark", pa.string(), "label_wrong, real_shortcut, sick_map or note"),
    _column("note", pa.string(), "a remark; may be empty"),
    _column("reviewer", pa.string(), "who marked it"),
    _column("marked_at", pa.timestamp("us", "UTC"), "when"),
    _column("run_id", pa.string(), "id of the run that was looked at"),
])  # fmt: skip

_OF_THE_IMAGE = ("image_id", "image_sha256", "shard", "record_index")
_KEY = (*_OF_THE_IMAGE, "class_id", "method", "mark")

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Subject:
    """The row of ``explanations`` that a mark is about.

    Attributes:
        row: with the columns of the image, ``class_id``, ``class_name``, ``method``.
        label: id and name of the image's first label; None without one.
    """

    row: Mapping[str, Any]
    label: tuple[int, str] | None

    def key(self, mark: str) -> Row:
        """The columns that a mark of one kind has for it.

        Raises:
            ValueError: for an unknown mark.
        """
        if mark not in MARKS:
            raise ValueError(f"mark is {mark[:40]!r}; expected one of {', '.join(MARKS)}")
        found = {name: self.row[name] for name in _OF_THE_IMAGE}
        if mark == "label_wrong":
            class_id, class_name = self.label or (-1, "")
            return {**found, "class_id": class_id, "class_name": class_name, "method": "", "mark": mark}
        return {**found, **{name: self.row[name] for name in ("class_id", "class_name", "method")}, "mark": mark}


class Reviews:
    """The marks of a run.

    Args:
        path: of the run.
        run_id: of the run, for new marks.
        reviewer: who makes them.
    """

    def __init__(self, path: str, run_id: str, reviewer: str):
        self._folder = folders.Folder(path)
        self._run_id, self._reviewer = run_id, reviewer
        self._lock = threading.Lock()
        self._read: tuple[Any, list[Row]] = (None, [])

    @property
    def path(self) -> str:
        """Of the file, there or not."""
        return self._folder.path_of(FILE)

    def rows(self) -> list[Row]:
        """Every mark, the oldest first, as columns of `SCHEMA`; none if nothing was marked.

        Raises:
            folders.RunDirectoryError: if the file is damaged, or none of these.
        """
        info = self._folder.fs.get_file_info(self._folder.join(FILE))
        state = (info.type, info.size, info.mtime_ns)
        if state != self._read[0]:
            self._read = (state, _rows(self._folder) if info.type == pafs.FileType.File else [])
        return self._read[1]

    def of(self, subject: Subject) -> dict[str, str]:
        """The marks of a row, each with its note."""
        return marks_of(subject, self.by_key())

    def by_key(self) -> dict[tuple[Any, ...], str]:
        """The note of every mark by its key, for many rows; see `marks_of`."""
        return {_key(row): row["note"] for row in self.rows()}

    def set(self, subject: Subject, mark: str, note: str = "", *, there: bool = True) -> None:
        """Mark a row, in place of the same mark before; with `there` false take the mark away.

        Raises:
            ValueError: for an unknown mark, or a note of more than `LONGEST_NOTE` letters.
            folders.RunDirectoryError: if the file that is there is damaged, or none of these: it stays as it is.
            errors.PathError: if it cannot be written.
        """
        if len(note) > LONGEST_NOTE:
            raise ValueError(f"the note has {len(note)} letters; expected at most {LONGEST_NOTE}")
        key = subject.key(mark)
        new = {
            **key,
            "note": note,
            "reviewer": self._reviewer,
            "marked_at": datetime.datetime.now(datetime.timezone.utc),
            "run_id": self._run_id,
        }
        with self._lock, self._folder.alone(posixpath.dirname(FILE)):
            # Read again: a clock may give two files that follow on one another the same time.
            there_now = _rows(self._folder) if self._folder.has(FILE) else []
            kept = [row for row in there_now if _key(row) != _key(key)]
            self._write([*kept, new] if there else kept)

    def _write(self, rows: Sequence[Row]) -> None:
        buffer = io.BytesIO()
        pq.write_table(pa.Table.from_pylist(list(rows), SCHEMA), buffer, compression="zstd")
        self._folder.replace(FILE, buffer.getvalue())
        self._read = (None, [])


def marks_of(subject: Subject, by_key: Mapping[tuple[Any, ...], str]) -> dict[str, str]:
    """As `Reviews.of`, from what `Reviews.by_key` gave."""
    keys = {mark: _key(subject.key(mark)) for mark in MARKS}
    return {mark: by_key[key] for mark, key in keys.items() if key in by_key}


def read(path: str) -> pa.Table:
    """The marks of a run as a table of `SCHEMA`; empty if nothing was marked.

    Raises:
        folders.RunDirectoryError: if the file is damaged, or none of these.
    """
    folder = folders.Folder(path)
    return _table(folder) if folder.has(FILE) else SCHEMA.empty_table()


def readable(path: str) -> tuple[pa.Table, str]:
    """As `read`, and why nothing could be read: marks stand beside a run, which can be shown without them."""
    try:
        return read(path), ""
    except folders.RunDirectoryError as error:
        return SCHEMA.empty_table(), f"{error}"


def by_image(tables: Iterable[pa.Table]) -> dict[str, tuple[str, ...]]:
    """What was marked in each image of some runs, in words, by the digest of its bytes.

    Args:
        tables: of `read`, one a run.
    """
    found: dict[str, list[str]] = {}
    for table in tables:
        for row in table.to_pylist():
            name = row["mark"].replace("_", " ")
            found.setdefault(row["image_sha256"], []).append(f"{name}: {row['note']}" if row["note"] else name)
    return {digest: tuple(dict.fromkeys(words)) for digest, words in found.items()}


def _rows(folder: folders.Folder) -> list[Row]:
    rows: list[Row] = _table(folder).to_pylist()
    return rows


def _table(folder: folders.Folder) -> pa.Table:
    try:
        with folder.fs.open_input_file(folder.join(FILE)) as file:
            table = pq.read_table(file)
        return table.select(SCHEMA.names).cast(SCHEMA)
    except (pa.ArrowException, KeyError, OSError) as error:
        reason = " ".join(str(error).split())[:200]
        raise folders.RunDirectoryError(
            f"{folder.path_of(FILE)} is no file of marks ({reason}); move it away, or bring back the one before"
        ) from error


def _key(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return tuple(row[name] for name in _KEY)

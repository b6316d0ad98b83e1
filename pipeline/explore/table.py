"""``explanations`` of a run, asked by SQL over its Parquet files as they are: a disk's or an object store's.

All SQL is written here and in `views`; what a browser sends is bound to it as parameters, or chosen from the names of
the columns. DuckDB itself may open the files of the table and nothing else.

A row is known by its place, the number of its file and its number there: files of a finished run do not change, and a
place is read without looking at other rows.
"""

from __future__ import annotations

import dataclasses
import functools
import threading
from collections.abc import Iterable, Sequence
from typing import Any

import duckdb
import pyarrow as pa
import pyarrow.types as pat
from pyarrow import fs as pafs

from heatbeam.runs import chosen_rows, run_directory

KEY = ("image_id", "shard", "record_index", "method", "class_id")
"""What tells rows of a run apart, in the order in which they are shown."""

_FILE, _NUMBER = "filename", "file_row_number"

_SQL_TYPES = {
    "string": "VARCHAR", "bool": "BOOLEAN", "float": "FLOAT", "double": "DOUBLE", "int16": "SMALLINT",
    "int32": "INTEGER", "int64": "BIGINT",
}  # fmt: skip


@dataclasses.dataclass(frozen=True, order=True)
class Place:
    """Where a row is: the number of its file among those of the table, and its number in it."""

    file: int
    number: int

    @classmethod
    def parse(cls, text: str) -> Place:
        """The place of its text.

        Raises:
            ValueError: if it is none.
        """
        file, _, number = text.partition("-")
        if not (file.isascii() and file.isdigit() and number.isascii() and number.isdigit() and len(text) < 24):
            raise ValueError(f"{text[:40]!r} is no place of a row; expected two numbers such as 0-17")
        return cls(int(file), int(number))

    def __str__(self) -> str:
        return f"{self.file}-{self.number}"


Row = dict[str, Any]
"""A row as plain values; with its place as ``place``."""


def quoted(name: str) -> str:
    """A name of a column as SQL has it."""
    return '"' + name.replace('"', '""') + '"'


class Table:
    """The rows of one run.

    Args:
        run: a finished run.

    Attributes:
        schema: of the columns of today.
        paths: of its files, as ``filename`` has them.

    Raises:
        run_directory.RunDirectoryError: as `run_directory.RunDirectory.open_table`.
    """

    def __init__(self, run: run_directory.RunDirectory):
        dataset = run.open_table("explanations")
        self.schema: pa.Schema = dataset.schema
        self._connection = duckdb.connect(
            ":memory:",
            config={
                "autoinstall_known_extensions": "false",
                "autoload_known_extensions": "false",
                "python_enable_replacements": "false",
            },
        )
        self.paths = self._reachable(dataset.files, dataset.filesystem)
        self._numbers = {path: i for i, path in enumerate(self.paths)}
        self._local = threading.local()
        self._make_view(dataset.schema, isinstance(dataset.filesystem, pafs.LocalFileSystem))

    def _reachable(self, files: Sequence[str], filesystem: pafs.FileSystem) -> list[str]:
        """The files as DuckDB calls them."""
        if isinstance(filesystem, pafs.LocalFileSystem):
            return list(files)
        from heatbeam.explore import remote_tables  # fsspec, which a run on this machine does not need

        self._connection.register_filesystem(remote_tables.Files(filesystem))
        return [remote_tables.PREFIX + path for path in files]

    def _make_view(self, schema: pa.Schema, local: bool) -> None:
        read = f"read_parquet({self.paths!r}, filename = true, file_row_number = true)"
        found = self._connection.execute(f"DESCRIBE SELECT * FROM {read}").fetchall()  # noqa: S608 - paths of the run
        there = {str(one[0]) for one in found}
        missing = [field for field in schema if field.name not in there]
        nulls = "".join(f", NULL::{_sql_type(field.type)} AS {quoted(field.name)}" for field in missing)
        self._connection.execute(f"CREATE VIEW explanations AS SELECT *{nulls} FROM {read}")  # noqa: S608
        if local:
            self._connection.execute(f"SET allowed_paths = {self.paths!r}")
            self._connection.execute("SET enable_external_access = false")
        self._connection.execute("SET parquet_metadata_cache = true; SET lock_configuration = true")

    def _cursor(self) -> duckdb.DuckDBPyConnection:
        """A connection of this thread's own."""
        if not hasattr(self._local, "cursor"):
            self._local.cursor = self._connection.cursor()
        cursor: duckdb.DuckDBPyConnection = self._local.cursor
        return cursor

    @functools.cached_property
    def scalars(self) -> tuple[str, ...]:
        """Columns that hold one value a row: rows can be sorted by them."""
        return tuple(f.name for f in self.schema if not pat.is_nested(f.type) and f.name != "run_id")

    @functools.cached_property
    def texts(self) -> tuple[str, ...]:
        """Those of `scalars` that hold texts."""
        return tuple(name for name in self.scalars if pat.is_string(self.schema.field(name).type))

    @functools.cached_property
    def numbers(self) -> tuple[str, ...]:
        """Columns that hold one number a row."""
        return tuple(
            f.name for f in self.schema if pat.is_floating(f.type) or (pat.is_integer(f.type) and f.name[-3:] != "_id")
        )

    def about(self, name: str, what: str = "description") -> str:
        """What the schema says of a column: ``description``, ``unit``, ``range`` or ``role``; empty if nothing."""
        metadata = self.schema.field(name).metadata or {}
        found: bytes = metadata.get(what.encode(), b"")
        return found.decode("utf-8", "replace")

    def select(self, columns: Iterable[str], rest: str, parameters: Sequence[Any] = ()) -> list[Row]:
        """Rows of some columns, each with its place.

        Args:
            columns: of the table.
            rest: SQL behind ``FROM explanations``, of this package's own making.
            parameters: bound to it.
        """
        names = list(dict.fromkeys(columns))
        listed = ", ".join(map(quoted, [*names, _FILE, _NUMBER]))
        found = self.ask(f"SELECT {listed} FROM explanations {rest}", parameters)  # noqa: S608 - names of columns
        rows = []
        for *values, path, number in found:
            rows.append({**dict(zip(names, values, strict=True)), "place": self.place(path, number)})
        return rows

    def ask(self, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of a query of this package's own making."""
        found: list[tuple[Any, ...]] = self._cursor().execute(sql, list(parameters)).fetchall()
        return found

    def arrow(self, sql: str, parameters: Sequence[Any] = ()) -> pa.Table:
        """As `ask`, as an Arrow table."""
        return self._cursor().sql(sql, params=list(parameters)).to_arrow_table()

    def place(self, path: str, number: int) -> Place:
        """The place of a row whose ``filename`` and ``file_row_number`` are these."""
        return Place(self._numbers[path], number)

    def count(self, where: str, parameters: Sequence[Any] = ()) -> int:
        """How many rows fulfil a condition."""
        return int(self.ask(f"SELECT count(*) FROM explanations WHERE {where}", parameters)[0][0])  # noqa: S608

    def rows_at(self, places: Sequence[Place], columns: Iterable[str]) -> dict[Place, Row]:
        """The rows at some places, maps as arrays; those that are not there are left out."""
        names = list(dict.fromkeys(columns))
        listed = ", ".join(map(quoted, names))
        rows: dict[Place, Row] = {}
        for file in sorted({place.file for place in places}):
            if file >= len(self.paths):
                continue
            numbers = sorted({place.number for place in places if place.file == file})
            marks = ", ".join("?" * len(numbers))
            sql = (
                f"SELECT {listed}, {_NUMBER} FROM explanations"  # noqa: S608 - names of columns
                f" WHERE {_FILE} = ? AND {_NUMBER} IN ({marks})"
            )
            found = self.arrow(sql, (self.paths[file], *numbers))
            at = found[_NUMBER].to_pylist()
            maps = "heatmap" in names
            plain = chosen_rows.without_maps(found) if maps else found.to_pylist()
            for i, row in enumerate(plain):
                del row[_NUMBER]
                whole = chosen_rows.with_map(found, i, row) if maps else row
                rows[Place(file, at[i])] = {**whole, "place": Place(file, at[i])}
        return rows


def _sql_type(arrow_type: pa.DataType) -> str:
    if pat.is_list(arrow_type):
        return f"{_sql_type(arrow_type.value_type)}[]"
    return _SQL_TYPES[str(arrow_type)]

"""Files on any file system that `pyarrow.fs` knows, as DuckDB opens them: by ranges, nothing is copied first."""

from __future__ import annotations

from typing import Any

from fsspec.implementations import arrow
from pyarrow import fs as pafs

PREFIX = "heatbeam-explore://"
"""Before the path of each file: by it DuckDB knows whom to ask."""


class Files(arrow.ArrowFSWrapper):
    """A file system for `duckdb.DuckDBPyConnection.register_filesystem`."""

    protocol = PREFIX.removesuffix("://")
    cachable = False  # one of each run: fsspec would take all for the same

    def __init__(self, filesystem: pafs.FileSystem):
        super().__init__(filesystem)

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        return path.removeprefix(PREFIX) if isinstance(path, str) else [one.removeprefix(PREFIX) for one in path]

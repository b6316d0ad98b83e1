"""A file system ``counted://`` over local files that journals every file opened for reading; for tests of downloads."""

from __future__ import annotations

import os
import pathlib
import time
from typing import Any, BinaryIO

from apache_beam.io import localfilesystem

JOURNAL = "HEATBEAM_COUNTED_FILES"
"""Environment variable: the file in which each opening leaves the process id."""

SCHEME = "counted"


class CountedFileSystem(localfilesystem.LocalFileSystem):
    """Beam finds it by its scheme as soon as this module is imported."""

    @classmethod
    def scheme(cls) -> str:
        return SCHEME

    def open(self, path: str, *arguments: Any, **options: Any) -> BinaryIO:
        with pathlib.Path(os.environ[JOURNAL]).open("a", encoding="ascii") as journal:
            journal.write(f"{os.getpid()}\n")
        time.sleep(0.5)  # long enough for another process to come along meanwhile
        return super().open(_local(path), *arguments, **options)

    def match(self, patterns: list[str], limits: Any = None) -> Any:
        results = super().match([_local(pattern) for pattern in patterns], limits)
        for result in results:
            for metadata in result.metadata_list:
                metadata.path = f"{SCHEME}://{metadata.path}"
        return results


def _local(path: str) -> str:
    return path.removeprefix(f"{SCHEME}://")

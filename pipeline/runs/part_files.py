"""The files of a run's tables: which belong to a table, and what is in them by their footers."""

from __future__ import annotations

import re
from collections.abc import Sequence
from concurrent import futures

import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import fs as pafs

from heatbeam.runs import folders, manifests

_PART = re.compile(r"part-(\d{5,})-of-(\d{5,})\.parquet")
_TEMPORARY = "beam-temp-"
_MAX_THREADS = 16


def parts(folder: folders.Folder, table: str) -> list[pafs.FileInfo]:
    """The files of a table, in the order of their numbers."""
    found = [info for info in folder.list(table) if _PART.fullmatch(info.base_name)]
    return sorted(found, key=lambda info: str(info.base_name))


def described(folder: folders.Folder, table: str) -> manifests.Table | None:
    """What a table holds; None if it has no files.

    Raises:
        folders.RunDirectoryError: if a file is missing from a set ``part-*-of-N``, two sets are mixed or a file is
            damaged.
    """
    infos = parts(folder, table)
    if not infos:
        return None
    _check_set(folder.path_of(table), [info.base_name for info in infos])
    with futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
        rows = list(pool.map(lambda info: _count_rows(folder, info), infos))
    files = tuple(
        manifests.TableFile(path=f"{table}/{info.base_name}", rows=count, bytes=info.size)
        for info, count in zip(infos, rows, strict=True)
    )
    return manifests.Table(rows=sum(rows), bytes=sum(info.size for info in infos), files=files)


def _check_set(path: str, names: Sequence[str]) -> None:
    numbers = [tuple(int(part) for part in match.groups()) for match in map(_PART.fullmatch, names) if match]
    total = numbers[0][1]
    if numbers != [(number, total) for number in range(total)]:
        raise folders.RunDirectoryError(
            f"{path} holds {len(names)} files that are not one complete set of part-*-of-{total:05d}.parquet; the run"
            " was stopped or files of another run are mixed in"
        )


def _count_rows(folder: folders.Folder, info: pafs.FileInfo) -> int:
    try:
        with folder.fs.open_input_file(info.path) as file:
            return int(pq.read_metadata(file).num_rows)
    except pa.ArrowInvalid as error:
        raise folders.RunDirectoryError(f"{info.path} is not a complete Parquet file: {error}") from error


def check_unchanged(folder: folders.Folder, files: Sequence[manifests.TableFile]) -> None:
    """Check that the files are those that the manifest lists.

    Raises:
        folders.RunDirectoryError: if one is missing or has another size.
    """
    for file, info in zip(files, folder.fs.get_file_info([folder.join(file.path) for file in files]), strict=True):
        if info.type != pafs.FileType.File or info.size != file.bytes:
            found = f"{info.size} bytes" if info.type == pafs.FileType.File else "nothing"
            raise folders.RunDirectoryError(
                f"{folder.path_of(file.path)} is not the file the run wrote: expected {file.bytes} bytes, found {found}"
            )


def remove_temporary(folder: folders.Folder, table: str) -> list[str]:
    """Remove the ``beam-temp-*`` folders that failed attempts left beside a table's files; their paths."""
    removed = []
    for info in folder.list(table):
        if info.type == pafs.FileType.Directory and info.base_name.startswith(_TEMPORARY):
            folder.fs.delete_dir(info.path)
            removed.append(info.path)
    return removed

"""What a run that is not finished has explained so far: kept so that another one may go on from there."""

from __future__ import annotations

import uuid
from concurrent import futures

from pyarrow import fs as pafs

from heatbeam.runs import folders, part_files

FOLDER = "unfinished"
"""Where the journal of the job (`heatbeam.transforms.tables.journal`) and files that were set aside are."""

_ROW_FILES = (".arrow", ".parquet")
_ENDS = (b"ARROW1", b"PAR1")
_MAX_THREADS = 16


def files(folder: folders.Folder) -> list[str]:
    """Paths or URIs of the files with rows of ``explanations``; some may be damaged."""
    kept = [info for info in folder.list(FOLDER) if info.base_name.endswith(_ROW_FILES)]
    return [folder.path_of(f"{FOLDER}/{info.base_name}") for info in kept] + [
        folder.path_of(f"explanations/{info.base_name}") for info in part_files.parts(folder, "explanations")
    ]


def set_aside(folder: folders.Folder) -> None:
    """Move the finished files of ``explanations`` to the unfinished ones: others will take their names."""
    folder.make(FOLDER)
    for info in part_files.parts(folder, "explanations"):
        folder.fs.move(info.path, folder.join(f"{FOLDER}/{uuid.uuid4().hex}.parquet"))


def remove(folder: folders.Folder) -> None:
    """Remove all of it."""
    folder.remove_folder(FOLDER)


def remove_incomplete(folder: folders.Folder) -> None:
    """Remove what cannot be read, and the folder if nothing is left."""
    infos = folder.list(FOLDER)
    with futures.ThreadPoolExecutor(_MAX_THREADS) as pool:
        complete = list(pool.map(lambda info: _is_complete(folder, info), infos))
    for info, good in zip(infos, complete, strict=True):
        if not good:
            folder.fs.delete_file(info.path)
    if not any(complete):
        remove(folder)


def _is_complete(folder: folders.Folder, info: pafs.FileInfo) -> bool:
    """Whether a file is one of rows and ends as it should."""
    if not info.base_name.endswith(_ROW_FILES):
        return False
    with folder.fs.open_input_file(info.path) as file:
        file.seek(max(0, file.size() - 6))
        return bool(file.read().endswith(_ENDS))

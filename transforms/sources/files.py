"""Files on any file system that Beam knows: matched, measured, opened.

Beam takes a second to import; this room else does without it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from apache_beam.io import filesystem, filesystems


def match(pattern: str) -> dict[str, int]:
    """The files that a name or glob matches, local ones with their absolute path, and the bytes of each.

    Raises:
        ValueError: it matches nothing, names a folder, or is on a file system that is not installed.
    """
    (result,) = filesystems.FileSystems.match([pattern])
    local = "://" not in pattern
    found = {os.path.abspath(m.path) if local else m.path: m.size_in_bytes for m in result.metadata_list}
    if not found:
        raise ValueError("no file matches; check the spelling and the current folder")
    if local and any(os.path.isdir(path) for path in found):
        raise ValueError("this is a folder; name its files, for example with /*.tfrecord*")
    return found


def sizes(paths: Sequence[str]) -> dict[str, int]:
    """Bytes of the files at `paths`, as they are stored; one that is not there is left out.

    Files of a folder are asked for together, by what their names begin with: on an object store a question costs a
    connection, and there may be thousands of files.
    """
    folders: dict[str, list[str]] = {}
    for path in paths:
        folders.setdefault(path.rpartition("/")[0], []).append(path)
    patterns = [os.path.commonprefix(together) + "*" for together in folders.values()]
    wanted = set(paths)
    matched = filesystems.FileSystems.match(patterns)
    return {m.path: m.size_in_bytes for result in matched for m in result.metadata_list if m.path in wanted}


def open_stored(path: str) -> Any:
    """The file as it is stored, a context manager of a binary stream: Beam would unpack it by its name."""
    return filesystems.FileSystems.open(path, compression_type=filesystem.CompressionTypes.UNCOMPRESSED)


def shard_names(paths: Sequence[str]) -> dict[str, str]:
    """The shortest ends of `paths`, in whole path components and equally many for all, that tell them apart.

    Usually the base names. Two files ``a/x`` and ``b/x`` keep their folders, so that ids made of shard and index stay
    unique.
    """
    parts = {path: path.replace("\\", "/").split("/") for path in paths}
    names = {path: path for path in paths}
    for count in range(1, max((len(part) for part in parts.values()), default=1) + 1):
        names = {path: "/".join(part[-count:]) for path, part in parts.items()}
        if len(set(names.values())) == len(parts):
            break
    return names

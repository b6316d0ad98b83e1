"""WebDataset: tar files whose members of one name are a sample: ``a.jpg``, ``a.cls``, ``a.json``.

Each tar becomes a shard, in its order. A number in ``.cls`` is an id, else it is a name; in ``.json`` a class is looked
for under the usual names, and numbers and texts beside it become slices.

Format: https://github.com/webdataset/webdataset
"""

from __future__ import annotations

import collections
import contextlib
import json
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from typing import IO, Any

from apache_beam.io import filesystems

from heatbeam.prepare import items, places
from heatbeam.prepare.formats import asked, huggingface, lists
from heatbeam.transforms import errors, records
from heatbeam.transforms.sources import tfrecord

ENDINGS = (".tar", ".tar.gz", ".tgz")
_IMAGES = tuple(ending[1:] for ending in places.IMAGE_ENDINGS)
_CLASS, _JSON = ("cls", "cls.txt"), "json"


def listing(given: asked.Asked) -> items.Listing:
    """The tar files of a folder, or those that a pattern matches.

    Raises:
        errors.UserError: there are none.
    """
    files = huggingface.files_of(given, ENDINGS)
    splits = {path: huggingface.split_of(path) for path in files}
    given.check_splits(tuple(sorted(set(splits.values()))))
    return items.Listing(
        "WebDataset",
        pieces=[items.Piece(split, _samples, (path,)) for path, split in splits.items() if given.takes(split)],
        names=None if given.names is None else tuple(given.names.values()),
        ids=None if given.names is None else asked.ids_of(given.names),
    )


def _samples(path: str) -> Iterator[items.Item]:
    """The samples of a tar; where it is damaged, those before and one with that problem."""
    name = path.rpartition("/")[2]
    key: str | None = None
    members: dict[str, bytes] = {}
    try:
        with _opened(path) as archive:
            for member in archive:
                if not member.isfile():
                    continue
                own, ending = _parts(member.name)
                if own != key:
                    if key is not None:
                        yield _item(f"{name}/{key}", members)
                    key, members = own, {}
                members[ending] = _content(archive, member)
    except (tarfile.TarError, EOFError, zlib.error) as error:
        yield items.Item(f"{name}/{key or ''}", problem=("damaged_archive", f"{path} cannot be read further: {error}"))
        return
    if key is not None:
        yield _item(f"{name}/{key}", members)


@contextlib.contextmanager
def _opened(path: str) -> Iterator[tarfile.TarFile]:
    with errors.about(path, "read"), filesystems.FileSystems.open(path, compression_type="uncompressed") as stream:
        file: IO[bytes] = stream
        with tarfile.open(fileobj=file, mode="r|*") as archive:
            yield archive


def _content(archive: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    """The bytes of a member; of one that is far too large only as many as show it."""
    stream = archive.extractfile(member)
    return b"" if stream is None else stream.read(tfrecord.MAX_RECORD_BYTES + 1)


def _parts(name: str) -> tuple[str, str]:
    """The name of a sample, and what this member of it is."""
    folder, slash, base = name.rpartition("/")
    own, _, ending = base.partition(".")
    return f"{folder}{slash}{own}", ending.lower()


def _item(image_id: str, members: Mapping[str, bytes]) -> items.Item:
    images = [ending for ending in members if ending in _IMAGES]
    try:
        data = _image([members[ending] for ending in images])
        keys, further = _annotation(members)
    except records.DataError as error:
        return items.lost(image_id, error)
    nested: collections.Counter[str] = collections.Counter()
    slices = tuple(lists.slices_of(further, tuple(further), nested))
    unused = [f"members .{ending}" for ending in members if ending not in (*images, *_CLASS, _JSON)]
    return items.Item(image_id, "", keys, slices=slices, data=data, unused=(*nested, *unused))


def _image(found: Sequence[bytes]) -> bytes:
    if len(found) != 1 or not found[0]:
        raise records.DataError("missing_file", f"the sample has {len(found)} images; expected one that is not empty")
    if len(found[0]) > tfrecord.MAX_RECORD_BYTES:
        raise records.DataError("record_too_large", f"its image has more than {tfrecord.MAX_RECORD_BYTES} bytes")
    return found[0]


def _annotation(members: Mapping[str, bytes]) -> tuple[tuple[items.Key, ...], dict[str, Any]]:
    """The classes of a sample, and what else its JSON says."""
    try:
        further = json.loads(members.get(_JSON, b"{}"))
        text = next((members[ending].decode().strip() for ending in _CLASS if ending in members), None)
    except ValueError as error:
        raise records.DataError("invalid_annotation", f"its class or JSON cannot be read: {error}") from error
    if not isinstance(further, dict):
        raise records.DataError("invalid_annotation", "its JSON is no object")
    if text is not None:
        return ((int(text) if text.isascii() and text.isdigit() else text,) if text else ()), further
    column = tuple(name for name in lists.LABELS if name in further)[:1]
    keys = tuple(dict.fromkeys(lists.keys_of(further, column, None)))
    return keys, {name: value for name, value in further.items() if name not in column}

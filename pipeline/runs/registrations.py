"""Which catalogues name the files of a run: it has to stay where it is for as long as one does."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import NamedTuple

from heatbeam.runs import folders
from heatbeam.transforms import errors

FILE = "registered.json"


class Registration(NamedTuple):
    """Where the tables of a run are registered.

    Attributes:
        catalog: as pyiceberg knows it.
        namespace: of the tables in it.
    """

    catalog: str
    namespace: str

    def in_words(self, run_path: str) -> str:
        """Why the run at `run_path` stays, and what to do."""
        own = "" if self.namespace == "heatbeam" else f" --namespace {self.namespace}"
        return (
            f"{run_path} is not removed, as tables of the Iceberg catalogue {self.catalog} name its files; "
            f"heatbeam publish {run_path} --iceberg {self.catalog}{own} --withdraw takes them out"
        )


def read(folder: folders.Folder) -> tuple[Registration, ...]:
    """The registrations of the run in `folder`.

    Raises:
        errors.PathError: its file cannot be read.
    """
    if not folder.has(FILE):
        return ()
    path = folder.path_of(FILE)
    with errors.about(path, "read"), folder.fs.open_input_stream(folder.join(FILE)) as stream:
        text = stream.read()
    try:
        return tuple(Registration(str(one["catalog"]), str(one["namespace"])) for one in json.loads(text)["iceberg"])
    except (ValueError, KeyError, TypeError) as error:
        raise errors.PathError(f"{path} is not the file that heatbeam publish wrote") from error


def write(folder: folders.Folder, registrations: Iterable[Registration]) -> None:
    """Have these be the registrations of the run in `folder`; without any there is no file.

    Raises:
        errors.PathError: its file cannot be written.
    """
    found = sorted(set(registrations))
    with errors.about(folder.path_of(FILE), "write"):
        if found:
            with folder.fs.open_output_stream(folder.join(FILE)) as stream:
                stream.write(json.dumps({"iceberg": [one._asdict() for one in found]}, indent=2).encode() + b"\n")
        elif folder.has(FILE):
            folder.fs.delete_file(folder.join(FILE))

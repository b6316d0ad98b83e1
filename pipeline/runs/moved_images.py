"""Where the images of a run are now: its settings may name them from where it was started, or they were moved."""

from __future__ import annotations

import glob
import pathlib
import posixpath
from typing import Any

from heatbeam import config
from heatbeam.runs import manifests, remote_files


def located(manifest: manifests.Manifest, images: str | None = None) -> manifests.Manifest:
    """The manifest with settings that lead to the images from here.

    Args:
        manifest: of the run.
        images: where they are now: the folder of the shards, or a pattern of them; for TFDS the folder of the dataset,
            or the one that datasets are prepared in. None for where they were: a relative path is one from the folder
            in which the run was started, if there is something, and else one from here.
    """
    given = manifest.config.input
    changed: dict[str, Any] = {}
    if given.tfrecord is not None:
        changed["tfrecord"] = tuple(_pattern(path, images, manifest.started_in) for path in given.tfrecord)
    elif given.tfds is not None:
        changed["tfds"] = given.tfds.model_copy(update=_dataset(given.tfds, images, manifest.started_in))
    located_input = given.model_copy(update=changed)
    return manifest.model_copy(update={"config": manifest.config.model_copy(update={"input": located_input})})


def _pattern(path: str, images: str | None, started_in: str | None) -> str:
    if images is None:
        return _from_there(path, started_in)
    if glob.has_magic(images) or images.endswith(posixpath.basename(path)):
        return remote_files.absolute(images)
    return posixpath.join(remote_files.absolute(images), posixpath.basename(path))


def _dataset(given: config.TfdsConfig, images: str | None, started_in: str | None) -> dict[str, Any]:
    if images is None:
        places = {"directory": given.directory, "data_dir": given.data_dir}
        return {key: _from_there(path, started_in) for key, path in places.items() if path is not None}
    if given.name is not None and not pathlib.Path(images, "dataset_info.json").exists():
        return {"data_dir": remote_files.absolute(images)}
    return {"directory": remote_files.absolute(images), "name": None, "data_dir": None}


def _from_there(path: str, started_in: str | None) -> str:
    """A relative path from the folder in which the run was started, if that leads to something."""
    if started_in is None or remote_files.is_remote(path) or posixpath.isabs(path):
        return path
    there = posixpath.join(started_in, path)
    return there if any(glob.iglob(there, recursive=True)) else path  # noqa: PTH207 - a pattern

"""What trials found on this machine, kept for the next run: one small file each in the user's cache folder.

Nothing depends on it: a folder that cannot be written keeps nothing, and a file that is damaged, or of a heatbeam that
wrote it otherwise, is as none.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import pathlib
import platform
import tempfile
from collections.abc import Mapping
from typing import Any

import pydantic

from heatbeam.runs import manifests
from heatbeam.transforms.models import processors

FOLDER = "HEATBEAM_CACHE"
"""The environment variable that names the folder; empty for none at all."""


def folder() -> pathlib.Path | None:
    """Where choices are kept, below ``HEATBEAM_CACHE`` or the user's cache folder; None if there is no such place."""
    given = os.environ.get(FOLDER)
    if given == "":
        return None
    try:
        if given is not None:
            return pathlib.Path(given).expanduser() / "compute"
        home = os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache"
    except RuntimeError:  # a user without a home
        return None
    return pathlib.Path(home) / "heatbeam" / "compute"


def find(facts: Mapping[str, Any]) -> manifests.Compute | None:
    """The choice that was made where all of `facts` were the same, or None."""
    path = _path(facts)
    if path is None:
        return None
    try:
        document = json.loads(path.read_bytes())
        if document["facts"] != _plain(facts):
            return None
        return manifests.Compute.model_validate(document["choice"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError, pydantic.ValidationError):
        return None


def keep(facts: Mapping[str, Any], choice: manifests.Compute) -> None:
    """Keep a choice for runs of the same `facts`, where that can be."""
    path = _path(facts)
    if path is None:
        return
    document = {"facts": _plain(facts), "choice": choice.model_dump(mode="json")}
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own, then one step: two runs that end their trials together do not write into one another.
        with tempfile.NamedTemporaryFile("w", dir=path.parent, suffix=".new", encoding="utf-8", delete=False) as file:
            new = pathlib.Path(file.name)
            try:
                json.dump(document, file, indent=1)
                file.flush()
                new.replace(path)
            except OSError:  # a disk that is full
                new.unlink()
                raise


def device() -> dict[str, Any]:
    """The processor that computes: what it is, what it can do, and how many of its cores this process may have."""
    facts: dict[str, Any] = {"machine": platform.machine(), "cores": processors.count()}
    told = processors.described()
    if told:  # else not Linux: its name has to do
        facts["model"] = told.get("model name", "")
        facts["features"] = processors.features()
    return facts | {"processor": platform.processor()}


def _path(facts: Mapping[str, Any]) -> pathlib.Path | None:
    inside = folder()
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
    return None if inside is None else inside / f"{digest[:32]}.json"


def _plain(facts: Mapping[str, Any]) -> Any:
    """The facts as JSON gives them back."""
    return json.loads(json.dumps(facts))

"""Formats of the run directory: reading a manifest of any of them, as the model of today.

A run is read as long as heatbeam lives. When a manifest or a table changes so that a reader of today would stumble over
an older run (a setting renamed, removed or of another meaning; a column renamed), raise `manifests.FORMAT_VERSION` and
add the step from the version before to `STEPS`. A new setting whose default is what runs did before, and a new column,
need no step: a default is filled in, and a column that a run lacks is read as nulls.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pydantic

from heatbeam import config
from heatbeam.runs import manifests
from heatbeam.transforms.errors import harmless

_MAX_PROBLEMS = 3


class FormatError(ValueError):
    """The text is no manifest that this heatbeam reads; the message goes behind the name of the run."""


class UnknownFormatError(FormatError):
    """It is the manifest of a run, but of a format that is not known here."""


def _as_it_is(document: dict[str, Any]) -> dict[str, Any]:
    return document


@dataclasses.dataclass(frozen=True)
class Step:
    """What takes a run of one format to the next.

    Attributes:
        manifest: from the manifest of this format, as JSON values, to that of the next; it may change its argument.
        renamed: per table, from the name of a column in this format to that in the next.
    """

    manifest: Callable[[dict[str, Any]], dict[str, Any]] = _as_it_is
    renamed: Mapping[str, Mapping[str, str]] = dataclasses.field(default_factory=dict)


def _pixels_of_pillow(document: dict[str, Any]) -> dict[str, Any]:
    """Format 1 knew no other resampler and decoder than Pillow, and kept the upper 8 of 16 bits.

    Nor did it say which names of features were given.
    """
    before = {"resampler": "pillow", "value_range": "upper_byte"}
    _fill(document, ("config", "input"), {**before, "decoder": "pillow", "features_given": []})
    _fill(document, ("conventions", "decode", "image"), {**before, "shorter_side": None, "value_percentiles": [1, 99]})
    return document


def _fill(document: dict[str, Any], place: Sequence[str], values: Mapping[str, Any]) -> None:
    """Set what a mapping inside the document lacks, if it is there."""
    inner: Any = document
    for name in place:
        inner = inner.get(name) if isinstance(inner, dict) else None
    if isinstance(inner, dict):
        for name, value in values.items():
            inner.setdefault(name, value)


STEPS: dict[int, Step] = {1: Step(manifest=_pixels_of_pillow)}
"""By the format that a step starts from; each leads to the next number."""


def read(text: bytes | str) -> manifests.Manifest:
    """The manifest in a file of any format; its `format_version` is that of the file, and of the tables beside it.

    Raises:
        UnknownFormatError: its format is not known here.
        FormatError: it is no manifest, or a damaged one.
    """
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise FormatError(f"is not JSON: {error}") from error
    if (
        not isinstance(document, dict)
        or document.get("format") != manifests.FORMAT
        or document.get("status") not in manifests.STATUSES
    ):
        raise FormatError("is not the manifest of a heatbeam run")
    version, writer = document.get("format_version"), document.get("heatbeam", "of an unknown version")
    writer = harmless.line(str(writer)[:40])
    try:
        for step in _steps(version, writer):
            document = step.manifest(document)
    except (AttributeError, KeyError, TypeError) as error:
        raise FormatError(f"is damaged: a part of it is not what it is in format {version}") from error
    kind = manifests.Finished if document["status"] == "succeeded" else manifests.Manifest
    try:
        return kind.model_validate(document)
    except pydantic.ValidationError as error:
        problems = list(config.describe_problems(error, kind))
        more = f" and {len(problems) - _MAX_PROBLEMS} more" if len(problems) > _MAX_PROBLEMS else ""
        raise FormatError(
            f"was written by heatbeam {writer}, and this one ({_own_version()}) does not understand it: "
            f"{'; '.join(problems[:_MAX_PROBLEMS])}{more}; read it with that version"
        ) from None


def renamed(table: str, version: int) -> dict[str, str]:
    """From the columns' names of today to those in a run of an older format; only those that differ.

    Args:
        table: name of the table.
        version: format of the run.
    """
    old: dict[str, str] = {}
    for number in range(version, manifests.FORMAT_VERSION):
        for before, after in STEPS[number].renamed.get(table, {}).items():
            old[after] = old.pop(before, before)
    return old


def _steps(version: object, writer: object) -> list[Step]:
    """The steps from a version to today's."""
    newest = manifests.FORMAT_VERSION
    if not isinstance(version, int) or version > newest or any(n not in STEPS for n in range(version, newest)):
        oldest = min([*STEPS, newest])
        reads = f"format {newest}" if oldest == newest else f"formats {oldest} to {newest}"
        newer = isinstance(version, int) and version > newest
        raise UnknownFormatError(
            f"has format version {version}, written by heatbeam {writer}; this heatbeam ({_own_version()}) reads "
            f"{reads}" + ("; update it" if newer else "")
        )
    return [STEPS[number] for number in range(version, newest)]


def _own_version() -> str:
    return importlib.metadata.version("heatbeam")

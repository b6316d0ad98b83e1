"""What differs in the settings of two runs, and whether their metrics mean the same."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from heatbeam.runs import manifests

_EFFECTS = (
    ("conventions.protocol.name", "the name of the protocol"),
    ("conventions.protocol", "what the metrics mean"),
    ("conventions.primary_target", "what the metrics mean"),
    ("conventions.decode", "the pixels the model sees"),
    ("conventions.classes", "the labels of the images"),
    ("conventions.label_form", "the labels of the images"),
    ("conventions", "how maps are made"),
    ("model.class_names", "the classes"),
    ("model", "the model"),
    ("compute", "what computes the model: maps may differ by some 1e-6 of their largest value for that alone"),
    ("config.model", "the model"),
    ("config.input", "the data, or how it is read"),
    (
        "config.explain.precision",
        "what the model computes in; the manifest's compute.agreement says how far that is off",
    ),
    ("config.explain", "methods and targets"),
    ("config.evaluate", "what is measured"),
    ("config.runner", "where it ran; no number should change"),
    ("config.output", "how it is written"),
    ("drawn", "which of the images were explained"),
    ("beam_options", "where it ran; no number should change"),
    ("versions", "versions of libraries"),
    ("heatbeam", "version of heatbeam"),
)
_SECTIONS = ("model", "config", "conventions", "drawn", "heatbeam", "versions", "beam_options")
_LEFT_OUT = (
    "config.output.directory", "config.output.overwrite", "config.output.root", "config.output.keep",
    "config.output.reuse", "config.output.resume", "config.output.journal",
    "config.output.report", "config.input.features_given",
    "config.explain.compute", "config.explain.xla",  # what came of them is told as compute.backend
)  # fmt: skip
HARMLESS = "where it ran; no number should change"
"""The effect of settings that change no number."""

_BLOCKING = "what the metrics mean"


class Setting(NamedTuple):
    """A setting that differs; a value is None where the run does not have it."""

    path: str
    baseline: Any
    candidate: Any
    effect: str


def differences(baseline: manifests.Manifest, candidate: manifests.Manifest) -> list[Setting]:
    """Every setting in which two manifests differ; the effects that matter most come first."""
    first, second = _flat(baseline), _flat(candidate)
    found = [
        Setting(path, first.get(path), second.get(path), _effect(path))
        for path in dict.fromkeys([*first, *second])
        if first.get(path) != second.get(path)
    ]
    order = list(dict.fromkeys(effect for _, effect in _EFFECTS))
    return sorted(found, key=lambda setting: order.index(setting.effect))


def incomparable(settings: Sequence[Setting]) -> list[str]:
    """Why the metrics of the runs must not be subtracted; empty if they may."""
    return [
        f"{setting.path} is {shown(setting.baseline)} in the baseline and {shown(setting.candidate)} in the candidate"
        + (" (the runs were made by other versions; run the baseline again)" if _unknown(setting) else "")
        for setting in settings
        if setting.effect == _BLOCKING
    ]


def _unknown(setting: Setting) -> bool:
    """Whether one of the runs does not say: its version had no such convention, or did not write it down."""
    return (setting.baseline is None) != (setting.candidate is None)


def shown(value: Any, limit: int = 60) -> str:
    """A value on one line, cut to `limit` characters."""
    text = "not set" if value is None else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def _flat(manifest: manifests.Manifest) -> dict[str, Any]:
    values, document = {}, manifest.as_dict()
    values["compute.backend"] = manifest.backend
    if manifest.compute is not None and manifest.compute.version:
        values["compute.version"] = manifest.compute.version
    for section in _SECTIONS:
        for path, value in leaves(section, document.get(section)):
            if path not in _LEFT_OUT:
                values[path] = value
    return values


def leaves(path: str, value: Any) -> Iterator[tuple[str, Any]]:
    """The values of a nested mapping, each with its path below `path`, parts joined by dots."""
    if isinstance(value, Mapping) and value:
        for name, inner in value.items():
            yield from leaves(f"{path}.{name}", inner)
    else:
        yield path, value


def _effect(path: str) -> str:
    return next(effect for prefix, effect in _EFFECTS if path == prefix or path.startswith(prefix + "."))

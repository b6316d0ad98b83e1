"""A finished run as an experiment tracker sees it: numbers, parameters and tags by name."""

from __future__ import annotations

import dataclasses
import datetime
import json
import math
import re
from collections.abc import Iterator, Mapping
from typing import Any

from heatbeam.runs import manifests, remote_files, run_directory, settings_diff, summaries
from heatbeam.transforms import errors
from heatbeam.transforms.metrics import slicing

RUN_ID = "heatbeam.run_id"
"""The tag by which a run is found again."""

_UNFIT = re.compile(r"[^\w\-. /]", re.ASCII)
_LONGEST_VALUE = 500
"""Characters of a parameter or tag that every tracker takes."""


@dataclasses.dataclass(frozen=True)
class Tracked:
    """A run.

    Attributes:
        run_id: names it; the same however often it is published.
        name: for people: the last part of its path.
        started, finished: milliseconds since 1970, UTC.
        metrics: ``METRIC/METHOD`` to the number over everything, ``METRIC/METHOD.lower`` and ``.upper`` to its 95 %
            interval, ``counts/...`` to where the records went. No NaN.
        parameters: settings by their path, as text.
        tags: what the run was made with and, if it was judged, how.
    """

    run_id: str
    name: str
    started: int
    finished: int
    metrics: Mapping[str, float]
    parameters: Mapping[str, str]
    tags: Mapping[str, str]


def of(run: run_directory.RunDirectory, verdict: Mapping[str, Any] | None = None) -> Tracked:
    """What to track of a run.

    Args:
        run: a finished one.
        verdict: of a gate, as `read_verdict` gives it.

    Raises:
        run_directory.RunDirectoryError: the run is not finished.
    """
    manifest = run.read_manifest()
    identity = id_of(manifest)
    tags = {
        RUN_ID: identity,
        "heatbeam.version": manifest.heatbeam,
        "heatbeam.path": run.path,
        "heatbeam.model_digest": manifest.model.digest,
        "heatbeam.target_layer": manifest.model.target_layer,
        "heatbeam.scores": manifest.model.scores,
        "heatbeam.protocol": str(manifest.conventions.protocol["name"]),
        "heatbeam.warnings": str(len(manifest.warnings)),
    }
    metrics = dict(_numbers(run)) | {
        f"counts/{name}": float(value)
        for name, value in manifest.counts.model_dump(mode="json").items()
        if isinstance(value, int) and not isinstance(value, bool)
    }
    if verdict is not None:
        tags["heatbeam.verdict"] = verdict["verdict"]
        metrics |= {f"verdict/{outcome}": float(count) for outcome, count in verdict["counts"].items()}
    return Tracked(
        run_id=identity,
        name=run.path.rsplit("/", 1)[-1],
        started=_milliseconds(manifest.started),
        finished=_milliseconds(manifest.finished),
        metrics=metrics,
        parameters=dict(_parameters(manifest.as_dict()["config"])),
        tags={name: _short(value) for name, value in tags.items()},
    )


def id_of(manifest: manifests.Finished) -> str:
    """The run's own id; of a run of older versions, which have none, its beginning and its model."""
    return manifest.run_id or f"{manifest.started}-{manifest.model.digest[:12]}"


def read_verdict(path: str) -> dict[str, Any]:
    """The verdict that ``heatbeam compare --verdict FILE`` has written.

    Raises:
        errors.PathError: it cannot be read, or is no verdict.
    """
    filesystem, inside = remote_files.filesystem_of(path)
    with errors.about(path, "read"), filesystem.open_input_file(inside) as file:
        content = file.read()
    try:
        found = json.loads(content)
    except ValueError:
        found = None
    counts = found.get("counts") if isinstance(found, dict) and found.get("format") == "heatbeam-verdict" else None
    if not isinstance(counts, dict) or not all(isinstance(count, int) for count in counts.values()):
        raise errors.PathError(f"{path} is no verdict; expected what heatbeam compare --verdict writes")
    return dict(found)


def _numbers(run: run_directory.RunDirectory) -> Iterator[tuple[str, float]]:
    for (method, slice_name, _, metric), mean in summaries.read(run).items():
        if slice_name == slicing.ALL:
            name = _UNFIT.sub("_", f"{metric}/{method}")
            values = {name: mean.value, f"{name}.lower": mean.lower, f"{name}.upper": mean.upper}
            yield from ((key, value) for key, value in values.items() if math.isfinite(value))


def _parameters(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Every setting that is given, by its path; lists stay whole."""
    for section, settings in config.items():
        for path, value in settings_diff.leaves(section, settings):
            if value not in (None, {}):
                yield _UNFIT.sub("_", path), _short(value)


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 4]} ..."


def _milliseconds(when: str) -> int:
    return int(datetime.datetime.fromisoformat(when).timestamp() * 1000)

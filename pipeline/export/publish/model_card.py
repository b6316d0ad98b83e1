"""The text of a model card: Markdown with the metadata block that model hubs read, from a finished run.

The block has the keys of the Hugging Face model card (``library_name``, ``pipeline_tag``, ``tags`` and ``model-index``
with the results by task, dataset and metric). What a run does not know, such as licence and intended use, is left to
whoever publishes the model: the card says so.
"""

from __future__ import annotations

import math
import pathlib
import re
from collections.abc import Mapping
from typing import Any

import yaml

from heatbeam.runs import manifests, run_directory, run_methods, summaries
from heatbeam.transforms.metrics import paired, registry, slicing

_TAGS = ("class-activation-maps", "explainability", "heatbeam")
_TASKS = {
    "images": ("image-classification", "Image Classification"),
    "pixels": ("image-segmentation", "Image Segmentation"),
    "values": ("image-regression", "Image Regression"),
}
_OWN = {"top1_accuracy": "accuracy"}
"""Our names of metrics that hubs know by another."""

_MARKUP = re.compile(r"([\\`*_{}\[\]<>#|])")

Numbers = dict[tuple[str, str], paired.Mean]


def text(run: run_directory.RunDirectory, verdict: Mapping[str, Any] | None = None) -> str:
    """The card.

    Args:
        run: a finished one.
        verdict: of a gate, if the run was judged.

    Raises:
        run_directory.RunDirectoryError: the run is not finished.
    """
    manifest = run.read_manifest()
    numbers = _numbers(run, manifest)
    block = yaml.safe_dump(metadata(manifest, numbers), sort_keys=False, allow_unicode=True, width=1000)
    return f"---\n{block}---\n\n{_body(manifest, numbers, verdict)}"


def _numbers(run: run_directory.RunDirectory, manifest: manifests.Finished) -> Numbers:
    """The numbers over everything that a card shows: the most important metric first, methods as configured."""
    controls, methods = run_methods.controls(manifest), list(run_methods.by_label(manifest))
    metrics = [one.shown_name for one in registry.shown("cards")]
    found = {
        (method, metric): mean
        for (method, slice_name, _, metric), mean in summaries.read(run).items()
        if slice_name == slicing.ALL
        and metric in metrics
        and math.isfinite(mean.value)
        and not run_methods.is_baseline(method, controls)
    }
    order = sorted(found, key=lambda key: (metrics.index(key[1]), methods.index(key[0]) if key[0] in methods else -1))
    return {key: found[key] for key in order}


def metadata(manifest: manifests.Finished, numbers: Numbers) -> dict[str, Any]:
    """The metadata block, as plain values."""
    task, title = _TASKS[_kind(manifest)]
    dataset = _dataset(manifest)
    results = [
        {
            "type": _OWN.get(metric, metric),
            "value": mean.value,
            "name": registry.title(metric) + ("" if metric in registry.OF_THE_MODEL else f" of {method}"),
        }
        for (method, metric), mean in numbers.items()
    ]
    return {
        "library_name": "keras",
        **({"pipeline_tag": task} if _kind(manifest) != "values" else {}),
        "tags": [*_TAGS],
        "model-index": [
            {
                "name": _model_name(manifest),
                "results": [
                    {
                        "task": {"type": task, "name": title},
                        "dataset": {"type": re.sub(r"[^\w.-]+", "-", dataset).strip("-"), "name": dataset},
                        "metrics": results,
                    }
                ],
            }
        ],
    }


def _body(manifest: manifests.Finished, numbers: Numbers, verdict: Mapping[str, Any] | None) -> str:
    model, counts = manifest.model, manifest.counts
    lost = counts.dead_letters + counts.lost
    lines = [
        f"# {_plain(_model_name(manifest))}",
        "",
        f"What this model looks at was audited with heatbeam {manifest.heatbeam} over {counts.images_explained:,} "
        f"images of {_plain(_dataset(manifest))} on {manifest.finished[:10]}"
        + (f", drawn at random of {counts.records_read:,} records" if counts.not_needed else "")
        + (f"; {lost:,} records were lost." if lost else "."),
        "",
        "Licence, intended use and training data are not in an audit: add them here.",
        "",
        "## Results",
        "",
        "| metric | method | value | 95 % interval | images | better |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for (method, metric), mean in numbers.items():
        interval = f"{mean.lower:.4f} to {mean.upper:.4f}" if math.isfinite(mean.lower) else "–"
        whose = "the model" if metric in registry.OF_THE_MODEL else _plain(method)
        lines.append(
            f"| {registry.title(metric)} | {whose} | {mean.value:.4f} | {interval} | {mean.n:,} | "
            f"{registry.better(metric)} |"
        )
    for metric in dict.fromkeys(metric for _, metric in numbers):
        one = registry.described(metric)
        if one is not None:
            lines += ["", f"{registry.title(metric)}: {_plain(one.plain or one.definition)}"]
    lines += ["", "## How it was measured", ""]
    lines += [
        f"- {name}: {value}"
        for name, value in (
            ("model digest (SHA-256 of the weights)", f"`{model.digest}`"),
            ("target layer", _plain(f"{model.target_layer}, {'x'.join(map(str, model.target_layer_shape))}")),
            ("explained scores", _plain(model.scores)),
            ("classes", f"{model.classes:,}"),
            ("localization protocol", _plain(str(manifest.conventions.protocol["name"]))),
            ("maps of", _plain(manifest.primary_target)),
            ("run", f"`{manifest.run_id or manifest.started}`"),
            *((("gate", "passed" if verdict["verdict"] == "pass" else "failed"),) if verdict is not None else ()),
        )
    ]
    warnings = (*model.target_layer_warnings, *manifest.warnings)
    if warnings:
        lines += ["", "## What looked wrong", "", *(f"- {_plain(one)}" for one in warnings)]
    return "\n".join(lines) + "\n"


def _kind(manifest: manifests.Finished) -> str:
    if manifest.model.probability == "value":
        return "values"
    return "images" if manifest.model.pixels is None else "pixels"


def _model_name(manifest: manifests.Finished) -> str:
    given = manifest.config.model
    if given.path is not None:
        return pathlib.PurePath(given.path.rstrip("/")).stem
    return given.application or (given.factory or "model").partition(":")[2] or "model"


def _dataset(manifest: manifests.Finished) -> str:
    """The data in words: the TFDS name and split, else the folder and pattern of the shards."""
    given = manifest.config.input
    if given.tfds is not None:
        name = given.tfds.name or pathlib.PurePath((given.tfds.directory or "").rstrip("/")).name
        return f"{name} {given.tfds.split}"
    patterns = given.tfrecord or ()
    return ", ".join("/".join(pathlib.PurePath(one).parts[-2:]) for one in patterns) or "records"


def _plain(words: str) -> str:
    """Words that Markdown shows as they are, on one line."""
    return _MARKUP.sub(r"\\\1", " ".join(words.split()))

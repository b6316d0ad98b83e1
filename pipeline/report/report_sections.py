"""The sections of the report that show the numbers of a run: headlines, classes, slices, curves, distributions."""

from __future__ import annotations

import collections
import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from heatbeam.audit import map_scan, shortcuts
from heatbeam.pages import plots, report_text
from heatbeam.report import galleries, pictures, report_tables
from heatbeam.runs import manifests, run_directory, run_methods
from heatbeam.transforms.metrics import registry, slicing

MAX_CLASSES = 2000
MAX_CLASS_ROWS = 1500
"""With more classes times methods than this only the reference method is listed."""
MAX_MEAN_MAPS = 60
MAX_CARDS = 4
"""Headline numbers of the reference method; the most important ones."""
MAX_DEAD_LETTERS = 20
DISTRIBUTIONS = {one.column: one.distribution for one in registry.distributions()}
"""Columns whose distribution over images is shown, and what it is called."""


@dataclasses.dataclass(frozen=True)
class Card:
    """A headline number."""

    title: str
    value: str
    plain: str
    detail: str
    about: str


def cards(
    counts: manifests.Counts, summary: report_tables.Summary, reference: str, chosen: galleries.Galleries
) -> list[Card]:
    """The run in a few numbers, on top of the report."""
    skipped, letters = report_text.count(counts.images_skipped), report_text.count(counts.dead_letters)
    detail = f"{skipped} skipped, {letters} dead letters"
    if counts.lost:
        detail += f", {'about ' * counts.lost_is_estimate}{report_text.count(counts.lost)} lost behind damage"
    accounted = "every one is accounted for"
    if counts.not_needed:
        detail += f", {report_text.count(counts.not_needed)} not needed"
        accounted = "a part drawn at random: the others were not needed"
    cards = [
        Card(
            "Images explained",
            report_text.count(counts.images_explained),
            f"of {report_text.count(counts.records_read)} records read; {accounted}",
            detail,
            "Records read = images explained + images without a target + dead letters + records that an audit did not"
            " need. Records that could not be read for damage to their shards are lost beside them.",
        )
    ]
    shown = report_tables.CARD_METRICS
    own = [name for name in shown if name in registry.OF_THE_MODEL]
    cards += [_card(summary, slicing.MODEL, name) for name in summary.present(own, [slicing.MODEL])]
    of_maps = [name for name in shown if name not in registry.OF_THE_MODEL]
    cards += [_card(summary, reference, name) for name in summary.present(of_maps, [reference])[:MAX_CARDS]]
    if chosen.right_n:
        value = chosen.wrong_place_n / chosen.right_n
        about = "The first choice is right, but the strongest pixel of its map is off the object."
        detail = f"{report_text.count(chosen.wrong_place_n)} of {report_text.count(chosen.right_n)} images"
        plain = "of the images named rightly: the strongest point is off the object"
        cards.append(Card("Right class, wrong place", report_text.share(value), plain, detail, about))
    return cards


def _card(summary: report_tables.Summary, method: str, name: str) -> Card:
    column, found = report_tables.column(name), summary.number(method, name)
    metric = registry.METRICS[name]
    if metric.range != "[0, 1]":  # in the unit of the model's values
        numbers = [report_text.number(one) for one in (found.value, found.lower, found.upper)]
        return Card(column.title, numbers[0], metric.plain, f"95 % interval {' to '.join(numbers[1:])}", column.about)
    detail = f"95 % interval {report_text.interval(found.lower, found.upper)}{_best_baseline(summary, column)}"
    return Card(column.title, report_text.share(found.value), metric.plain, detail, column.about)


def _best_baseline(summary: report_tables.Summary, shown: report_tables.Column) -> str:
    names = [name for name in summary.methods if name.startswith(run_methods.FIXED_MAPS)]
    values = {name: summary.number(name, shown.name).value for name in names}
    finite = {name: value for name, value in values.items() if math.isfinite(value)}
    if not finite or shown.better == "none":
        return ""
    best = (max if shown.better == "higher" else min)(finite, key=lambda name: finite[name])
    return f"\nbest baseline {report_text.share(finite[best])} ({best.removeprefix(run_methods.FIXED_MAPS)})"


def class_table(
    summary: report_tables.Summary,
    methods: Sequence[str],
    reference: str,
    names: Sequence[str],
    scan: map_scan.Scan,
    findings: Sequence[shortcuts.Finding],
) -> dict[str, Any]:
    """Classes by falling number of images, with mean map and score of the audit for the reference method."""
    groups = {g.class_id: g for g in scan.groups(reference, slicing.ALL)}
    listed = sorted(groups, key=lambda i: (-groups[i].n, i))[:MAX_CLASSES]
    shown = list(methods) if len(listed) * len(methods) <= MAX_CLASS_ROWS else [reference]
    slices = [(slicing.CLASS, names[i]) for i in sorted(listed)]
    columns, rows = report_tables.slice_table(summary, shown, slices, with_model=True)
    top = _top(list(groups.values()))
    maps = {names[i]: pictures.mean_uri(groups[i].mean_map, top) for i in listed}
    scores = {(f.method, names[f.class_id]): f for f in findings if f.scope == slicing.EVERYTHING}
    return {
        "columns": columns, "rows": rows, "methods": shown, "maps": maps, "scores": scores,
        "total": len(groups), "listed": len(listed),
    }  # fmt: skip


def slices(summary: report_tables.Summary, methods: Sequence[str], reference: str) -> Any:
    """The table of the numbers of each slice, and the methods in it: with many slices, the reference alone."""
    slices = [(name, value) for name in summary.slice_names() for value in summary.values_of(name)]
    shown = list(methods) if len(slices) * len(methods) <= MAX_CLASS_ROWS else [reference]
    return report_tables.slice_table(summary, shown, slices[:MAX_CLASSES], with_model=True), shown


def _top(groups: Sequence[map_scan.Group]) -> float:
    """Brightness of mean maps: the 90th percentile of their strongest cells, so that one class does not dim all."""
    peaks = [float(group.mean_map.max()) for group in groups if group.n]
    return float(np.percentile(peaks, 90)) if peaks else 0.0


def mean_maps(scan: map_scan.Scan, reference: str, names: Sequence[str]) -> dict[str, Any]:
    """The mean map of each class with most images, as pictures of one scale."""
    groups = sorted(scan.groups(reference, slicing.ALL), key=lambda g: (-g.n, g.class_id))
    shown = sorted(groups[:MAX_MEAN_MAPS], key=lambda g: g.class_id)
    top = _top(groups)
    listed = [{"name": names[g.class_id], "n": g.n, "map": pictures.mean_uri(g.mean_map, top)} for g in shown]
    return {"listed": listed, "total": len(groups)}


def distributions(scan: map_scan.Scan, methods: Sequence[str], styles: Mapping[str, str]) -> list[dict[str, Any]]:
    """A histogram of each column of `DISTRIBUTIONS` for each method that has values."""
    result = []
    for name, title_of_all in DISTRIBUTIONS.items():
        rows = []
        for method in methods:
            counts = scan.histograms.get((method, name))
            if counts is not None and counts.sum():
                quartiles = [plots.quantile(counts, q) for q in (0.25, 0.5, 0.75)]
                between = f"quartiles {quartiles[0]:.2f} and {quartiles[2]:.2f}"
                title = f"{method}: median {quartiles[1]:.2f}, {between}"
                svg = plots.histogram(counts, styles[method], title)
                rows.append({"method": method, "svg": svg, "quartiles": quartiles, "n": int(counts.sum())})
        if rows:
            about = registry.COLUMNS[name].description
            result.append({"title": title_of_all, "name": name, "about": about, "rows": rows})
    return result


def dead_letters(run: run_directory.RunDirectory, counts: manifests.Counts) -> dict[str, Any]:
    """Causes by falling count, each with an example, and the first few letters; what was lost beside them."""
    rows = run.open_table("dead_letters").to_table().to_pylist()
    causes: dict[tuple[str, str], list[dict[str, Any]]] = collections.defaultdict(list)
    for row in sorted(rows, key=lambda r: (r["shard"], r["record_index"])):
        causes[row["stage"], row["error_type"]].append(row)
    listed = sorted(causes.items(), key=lambda item: (-len(item[1]), item[0]))
    return {
        "total": len(rows),
        "causes": [(*cause, len(found), found[:MAX_DEAD_LETTERS]) for cause, found in listed],
        "counts": counts,
    }


def provenance(manifest: manifests.Finished) -> list[tuple[str, str]]:
    """Sections of the manifest as indented JSON; long lists of names are counted."""
    document = manifest.as_dict()
    model = document["model"]
    if len(manifest.class_names) > 20:
        model["class_names"] = f"{len(manifest.class_names)} names"
    sections = {
        "Model": model,
        "Conventions": document["conventions"],
        "Configuration": document["config"],
        "Compute": document.get("compute"),
        "Versions": {"heatbeam": manifest.heatbeam, **manifest.versions},
        "Counts": document["counts"],
        "Damaged shards": [shard for shard in document.get("shards") or () if shard.get("damage")],
        "Timings": document.get("timings"),
        "Runner metrics": manifest.metrics,
        "Beam options": document["beam_options"],
        "Tables": {name: {"rows": t.rows, "bytes": t.bytes} for name, t in manifest.tables.items()},
    }
    return [
        (title, json.dumps(content, indent=2, ensure_ascii=False)) for title, content in sections.items() if content
    ]
